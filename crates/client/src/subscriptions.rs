//! What the program wants subscribed, what the server has, and the requests that bring the second to the first.
//!
//! It also decides which copy of a message counts when several filters match it (product: overlapping filters).
//! Pure: the engine sends what [`Subscriptions::next_request`] gives and brings the answers.

mod answers;
mod places;
mod planning;
mod request;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crosspoint_protocol::{
    PacketId, ReasonCode, TopicFilter,
    packet::{SubscribedFilter, SubscriptionOptions, UserProperties},
    topic::FilterTree,
};
use tokio::sync::oneshot;

use crate::{ServerLimits, StoredSubscription, SubscriptionStatus, shared::Reasons};

pub(crate) use request::Request;
use {
    answers::{Waiter, WaitsFor},
    places::Place,
};

/// The most requests without an answer.
const REQUESTS_MAX: usize = 64;

/// Identifiers from here on are the caller's to give: none of them is ever made up.
pub const CALLER_SUBSCRIPTION_IDS: u32 = 1 << 27;

/// What the server has of our subscriptions when a connection opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All of them.
    All,
    /// None.
    None,
    /// MQTT 3.1 does not say.
    Unknown,
}

/// What a connection's server can do with subscriptions.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) limits: ServerLimits,
    /// Whether SUBSCRIBE can say more than the QoS.
    pub(crate) knows_options: bool,
    /// Whether the server takes us for a bridge, which stands for two of those options.
    pub(crate) is_bridge: bool,
}

impl Terms {
    /// Returns what becomes of options at this server.
    fn apply(&self, options: SubscriptionOptions) -> SubscriptionOptions {
        if self.knows_options {
            return options;
        }
        SubscriptionOptions { no_local: self.is_bridge, retain_as_published: self.is_bridge, ..options }
    }
}

#[derive(Debug)]
pub(crate) struct Subscriptions {
    wanted: HashMap<TopicFilter, Wanted>,
    at_server: BTreeMap<TopicFilter, AtServer>,
    /// Filters in requests without an answer, or planned.
    busy: HashSet<TopicFilter>,
    planned: VecDeque<Request>,
    requested: HashMap<PacketId, Request>,
    waiters: Vec<Waiter>,
    /// What UNSUBSCRIBE says for filters that are on their way out, where it says anything.
    leaving: HashMap<TopicFilter, UserProperties>,
    /// 3.x: which filter stands for one that is not subscribed itself.
    covered_by: HashMap<TopicFilter, TopicFilter>,
    /// MQTT 5: the places of the filters that the server has, by identifier.
    places: FilterTree<u32, Place>,
    place_of: HashMap<u32, Place>,
    /// Of the connection; `None` while there is none.
    terms: Option<Terms>,
    next_order: u64,
    next_id: u32,
    batch: u64,
    needs_plan: bool,
    has_changed: bool,
    has_news: bool,
}

#[derive(Debug)]
struct Wanted {
    options: SubscriptionOptions,
    order: u64,
    id: u32,
    user_properties: UserProperties,
    /// Known at the start: kept when the server refuses it.
    is_permanent: bool,
    status: Option<ReasonCode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AtServer {
    options: SubscriptionOptions,
    id: Option<u32>,
    /// To be subscribed again although nothing seems different.
    is_stale: bool,
    /// It was to be cleared, and may still be there with other options, or not be there.
    is_unclear: bool,
}

impl AtServer {
    const fn new(options: SubscriptionOptions, id: Option<u32>) -> Self {
        Self { options, id, is_stale: false, is_unclear: false }
    }

    /// Tells whether the server has it by a bridge's rules and shall not, or the other way round. Mosquitto 2.0 changes no
    /// more than the QoS when it is subscribed again.
    fn is_to_be_cleared(&self, terms: &Terms) -> bool {
        !terms.knows_options && (self.is_unclear || self.options != terms.apply(self.options))
    }
}

impl Subscriptions {
    pub(crate) fn new(permanent: &[SubscribedFilter], stored: Vec<StoredSubscription>) -> Self {
        let mut this = Self {
            wanted: HashMap::new(),
            at_server: BTreeMap::new(),
            busy: HashSet::new(),
            planned: VecDeque::new(),
            requested: HashMap::new(),
            waiters: Vec::new(),
            leaving: HashMap::new(),
            covered_by: HashMap::new(),
            places: FilterTree::new(),
            place_of: HashMap::new(),
            terms: None,
            next_order: 0,
            next_id: 1,
            batch: 0,
            needs_plan: false,
            has_changed: false,
            has_news: true,
        };
        for kept in stored {
            if let Some(id) = kept.subscription_id.filter(|id| *id < CALLER_SUBSCRIPTION_IDS) {
                this.next_id = this.next_id.max(id + 1);
            }
            let entry = AtServer::new(kept.options, kept.subscription_id);
            this.at_server.insert(kept.filter, entry);
        }
        for SubscribedFilter { filter, options } in permanent {
            this.want(filter.clone(), *options, None, UserProperties::new());
            if let Some(wanted) = this.wanted.get_mut(filter) {
                wanted.is_permanent = true;
            }
        }
        this
    }

    // --- what the program asks for ---

    pub(crate) fn subscribe(
        &mut self,
        filters: Vec<(SubscribedFilter, Option<u32>)>,
        user_properties: &UserProperties,
        reply: oneshot::Sender<Reasons>,
    ) {
        self.batch += 1;
        let names: Vec<TopicFilter> = filters.iter().map(|(wanted, _)| wanted.filter.clone()).collect();
        for (SubscribedFilter { filter, options }, id) in filters {
            if let Some(at_server) = self.at_server.get_mut(&filter) {
                at_server.is_stale = true;
            }
            self.want(filter, options, id, user_properties.clone());
        }
        self.wait(WaitsFor::Suback, names, reply);
    }

    pub(crate) fn unsubscribe(
        &mut self,
        filters: Vec<TopicFilter>,
        user_properties: &UserProperties,
        reply: oneshot::Sender<Reasons>,
    ) {
        for filter in &filters {
            if !user_properties.is_empty() {
                self.leaving.insert(filter.clone(), user_properties.clone());
            }
            let wanted = self.wanted.remove(filter);
            // What we know nothing of may come from another life of this client id: asked to go all the same.
            if wanted.is_none() && !self.at_server.contains_key(filter) {
                let unknown = AtServer::new(SubscriptionOptions::default(), None);
                self.at_server.insert(filter.clone(), AtServer { is_stale: true, ..unknown });
            }
        }
        self.needs_plan = true;
        self.has_news = true;
        self.wait(WaitsFor::Unsuback, filters, reply);
    }

    // --- the connection ---

    pub(crate) fn on_connected(&mut self, terms: Terms, kept: Kept) {
        self.terms = Some(terms);
        if kept == Kept::None {
            self.at_server.clear();
            self.places = FilterTree::new();
            self.place_of.clear();
            self.has_changed = true;
        }
        if kept != Kept::All {
            self.batch += 1;
            for at_server in self.at_server.values_mut() {
                at_server.is_stale = true;
            }
        }
        for (filter, wanted) in &mut self.wanted {
            let is_kept =
                kept == Kept::All && self.at_server.get(filter).is_some_and(|entry| !entry.is_stale);
            wanted.status = match wanted.status {
                Some(reason) if is_kept && !reason.is_error() => Some(reason),
                _ if is_kept => Some(ReasonCode::granted(wanted.options.qos)),
                _ => None,
            };
        }
        if kept == Kept::All {
            self.restore_places();
        }
        self.needs_plan = true;
        self.has_news = true;
    }

    pub(crate) fn on_disconnected(&mut self) {
        self.terms = None;
        self.planned.clear();
        for (_, request) in self.requested.drain() {
            // Whether the server got it is not known: ask again.
            for filter in request.filters() {
                if let Some(at_server) = self.at_server.get_mut(filter) {
                    at_server.is_stale = true;
                    at_server.is_unclear |= matches!(request, Request::Clear { .. });
                }
            }
        }
        self.busy.clear();
    }

    /// Returns the next request to send; it is to be confirmed with `on_sent` or `on_unsendable`.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        if self.terms.is_none() || self.requested.len() >= REQUESTS_MAX {
            return None;
        }
        if self.needs_plan {
            self.needs_plan = false;
            self.plan();
        }
        self.planned.pop_front()
    }

    pub(crate) fn on_sent(&mut self, packet_id: PacketId, request: Request) {
        match &request {
            Request::Subscribe { filters, id, .. } => {
                for wanted in filters {
                    self.note_subscribing(wanted, *id);
                }
            }
            Request::Clear { filters } => {
                for filter in filters {
                    if let Some(at_server) = self.at_server.get_mut(filter) {
                        at_server.is_unclear = true;
                    }
                }
            }
            Request::Unsubscribe { filters, .. } => {
                filters.iter().for_each(|filter| self.forget_place(filter));
            }
        }
        self.has_changed = true;
        self.requested.insert(packet_id, request);
    }

    /// Notes that a request could not be sent now; it is the next one again.
    pub(crate) fn on_unsent(&mut self, request: Request) {
        self.planned.push_front(request);
    }

    /// Notes that a request is larger than the server accepts.
    pub(crate) fn on_unsendable(&mut self, request: Request) {
        let reasons = vec![ReasonCode::PacketTooLarge; request.filters().count()];
        self.on_answer(request, &reasons);
    }

    pub(crate) fn on_suback(&mut self, packet_id: PacketId, reasons: &[ReasonCode]) {
        if let Some(request) = self.requested.remove(&packet_id) {
            self.on_answer(request, reasons);
        }
    }

    /// Tells whether an answer of the server is awaited.
    pub(crate) fn awaits_answer(&self) -> bool {
        !self.requested.is_empty()
    }

    // --- questions ---

    /// Returns what the server may have, when it has changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Option<Vec<StoredSubscription>> {
        if !std::mem::take(&mut self.has_changed) {
            return None;
        }
        let stored = self.at_server.iter().map(|(filter, at_server)| StoredSubscription {
            filter: filter.clone(),
            options: at_server.options,
            subscription_id: at_server.id,
        });
        Some(stored.collect())
    }

    /// Returns the state of all subscriptions, when it has changed since the last call.
    pub(crate) fn take_news(&mut self) -> Option<Vec<SubscriptionStatus>> {
        if !std::mem::take(&mut self.has_news) {
            return None;
        }
        let mut all: Vec<(&TopicFilter, &Wanted)> = self.wanted.iter().collect();
        all.sort_by_key(|(_, wanted)| wanted.order);
        let statuses = all.into_iter().map(|(filter, wanted)| SubscriptionStatus {
            filter: filter.clone(),
            options: wanted.options,
            subscription_id: wanted.id,
            granted: self.status(filter),
        });
        Some(statuses.collect())
    }

    // --- parts ---

    fn want(
        &mut self,
        filter: TopicFilter,
        options: SubscriptionOptions,
        given: Option<u32>,
        user_properties: UserProperties,
    ) {
        self.needs_plan = true;
        self.has_news = true;
        let known = self.wanted.get(&filter).map(|wanted| wanted.id);
        let kept = known.or_else(|| self.at_server.get(&filter).and_then(|at_server| at_server.id));
        // One that a caller gave once says what that caller meant by it, and is nobody else's.
        let ours = kept.filter(|id| *id < CALLER_SUBSCRIPTION_IDS);
        let id = given.or(ours).unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id - 1
        });
        if let Some(wanted) = self.wanted.get_mut(&filter) {
            *wanted = Wanted { options, id, user_properties, status: None, ..*wanted };
            return;
        }
        self.next_order += 1;
        let order = self.next_order;
        let wanted = Wanted { options, order, id, user_properties, is_permanent: false, status: None };
        self.wanted.insert(filter, wanted);
    }
}

#[cfg(test)]
mod tests;
