//! What the program wants subscribed, what the server has, and the requests that bring the second to the first.
//!
//! It also decides which copy of a message counts when several filters match it (product: overlapping filters).
//! Pure: the engine sends what [`Subscriptions::next_request`] gives and brings the answers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crosspoint_protocol::{
    PacketId, ReasonCode, TopicFilter,
    packet::{RetainHandling, SubscribedFilter, SubscriptionOptions},
    topic::FilterTree,
};
use tokio::sync::oneshot;

use crate::{ServerLimits, StoredSubscription, SubscriptionStatus, shared::Reasons};

/// The most filters in one SUBSCRIBE or UNSUBSCRIBE.
const FILTERS_PER_REQUEST_MAX: usize = 100;

/// The most requests without an answer.
const REQUESTS_MAX: usize = 64;

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

#[derive(Debug)]
pub(crate) struct Subscriptions {
    wanted: HashMap<TopicFilter, Wanted>,
    at_server: BTreeMap<TopicFilter, AtServer>,
    /// Filters in requests without an answer, or planned.
    busy: HashSet<TopicFilter>,
    planned: VecDeque<Request>,
    requested: HashMap<PacketId, Request>,
    waiters: Vec<Waiter>,
    /// 3.x: which filter stands for one that is not subscribed itself.
    covered_by: HashMap<TopicFilter, TopicFilter>,
    /// MQTT 5: the places of the filters that the server has, by identifier.
    places: FilterTree<u32, Place>,
    place_of: HashMap<u32, Place>,
    /// Of the connection; `None` while there is none.
    limits: Option<ServerLimits>,
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
}

/// The place of a filter among those that match a message.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The lowest that matches counts.
    order: u64,
    /// Filters subscribed together, whose retained messages overlap.
    batch: u64,
    options: SubscriptionOptions,
}

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe { filters: Vec<SubscribedFilter>, id: Option<u32> },
    Unsubscribe(Vec<TopicFilter>),
}

#[derive(Debug)]
struct Waiter {
    kind: WaitsFor,
    filters: Vec<TopicFilter>,
    reasons: Vec<Option<ReasonCode>>,
    reply: oneshot::Sender<Reasons>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    Suback,
    Unsuback,
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
            covered_by: HashMap::new(),
            places: FilterTree::new(),
            place_of: HashMap::new(),
            limits: None,
            next_order: 0,
            next_id: 1,
            batch: 0,
            needs_plan: false,
            has_changed: false,
            has_news: true,
        };
        for kept in stored {
            if let Some(id) = kept.subscription_id {
                this.next_id = this.next_id.max(id + 1);
            }
            let entry = AtServer { options: kept.options, id: kept.subscription_id, is_stale: false };
            this.at_server.insert(kept.filter, entry);
        }
        for SubscribedFilter { filter, options } in permanent {
            this.want(filter.clone(), *options, true);
        }
        this
    }

    // --- what the program asks for ---

    pub(crate) fn subscribe(&mut self, filters: Vec<SubscribedFilter>, reply: oneshot::Sender<Reasons>) {
        self.batch += 1;
        let names: Vec<TopicFilter> = filters.iter().map(|wanted| wanted.filter.clone()).collect();
        for SubscribedFilter { filter, options } in filters {
            if let Some(at_server) = self.at_server.get_mut(&filter) {
                at_server.is_stale = true;
            }
            self.want(filter, options, false);
        }
        self.wait(WaitsFor::Suback, names, reply);
    }

    pub(crate) fn unsubscribe(&mut self, filters: Vec<TopicFilter>, reply: oneshot::Sender<Reasons>) {
        for filter in &filters {
            let wanted = self.wanted.remove(filter);
            // What we know nothing of may come from another life of this client id: asked to go all the same.
            if wanted.is_none() && !self.at_server.contains_key(filter) {
                let unknown = AtServer { options: SubscriptionOptions::default(), id: None, is_stale: true };
                self.at_server.insert(filter.clone(), unknown);
            }
        }
        self.needs_plan = true;
        self.has_news = true;
        self.wait(WaitsFor::Unsuback, filters, reply);
    }

    // --- the connection ---

    pub(crate) fn on_connected(&mut self, limits: ServerLimits, kept: Kept) {
        self.limits = Some(limits);
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
        self.limits = None;
        self.planned.clear();
        for (_, request) in self.requested.drain() {
            // Whether the server got it is not known: ask again.
            for filter in request.filters() {
                if let Some(at_server) = self.at_server.get_mut(filter) {
                    at_server.is_stale = true;
                }
            }
        }
        self.busy.clear();
    }

    /// Returns the next request to send; it is to be confirmed with `on_sent` or `on_unsendable`.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        if self.limits.is_none() || self.requested.len() >= REQUESTS_MAX {
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
            Request::Subscribe { filters, id } => {
                for wanted in filters {
                    self.note_subscribing(wanted, *id);
                }
            }
            Request::Unsubscribe(filters) => filters.iter().for_each(|filter| self.forget_place(filter)),
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

    /// Answers whoever waits for what is known now.
    pub(crate) fn answer_waiters(&mut self) {
        if !self.has_news {
            return;
        }
        for mut waiter in std::mem::take(&mut self.waiters) {
            for (filter, reason) in waiter.filters.iter().zip(&mut waiter.reasons) {
                *reason = reason.or_else(|| self.reason_for(waiter.kind, filter));
            }
            match waiter.reasons.iter().copied().collect::<Option<Reasons>>() {
                // Whoever asked may have gone.
                Some(reasons) => drop(waiter.reply.send(reasons)),
                None => self.waiters.push(waiter),
            }
        }
    }

    // --- questions ---

    /// Tells whether a copy of a message counts: whether it bears the identifier of the first filter that matches.
    pub(crate) fn counts(&self, topic: &str, ids: &[u32], is_retained: bool) -> bool {
        if self.place_of.len() < 2 {
            return true;
        }
        // Without an identifier that we know, it is for a filter on its way out, or the server knows none: better
        // twice than never.
        let Some(own) = ids.iter().find_map(|id| self.place_of.get(id)) else { return true };
        // A retained message comes once for each filter when that is subscribed: only filters that were subscribed
        // together give copies of the same.
        let is_snapshot = is_retained && !own.options.retain_as_published;
        // With No Local there is no copy of our own messages: such a filter is first only among its like.
        let mut first: Option<((bool, u64), u32)> = None;
        self.places.for_each_match(topic, |&id, place| {
            let is_rival = !is_snapshot
                || (place.batch == own.batch && place.options.retain_handling != RetainHandling::DoNotSend);
            let rank = (place.options.no_local, place.order);
            if is_rival && first.is_none_or(|(lowest, _)| rank < lowest) {
                first = Some((rank, id));
            }
        });
        first.is_none_or(|(_, id)| ids.contains(&id))
    }

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

    fn want(&mut self, filter: TopicFilter, options: SubscriptionOptions, is_permanent: bool) {
        self.needs_plan = true;
        self.has_news = true;
        if let Some(wanted) = self.wanted.get_mut(&filter) {
            wanted.options = options;
            wanted.status = None;
            wanted.is_permanent |= is_permanent;
            return;
        }
        let kept_id = self.at_server.get(&filter).and_then(|at_server| at_server.id);
        let id = kept_id.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id - 1
        });
        self.next_order += 1;
        let wanted = Wanted { options, order: self.next_order, id, is_permanent, status: None };
        self.wanted.insert(filter, wanted);
    }

    fn wait(&mut self, kind: WaitsFor, filters: Vec<TopicFilter>, reply: oneshot::Sender<Reasons>) {
        let reasons = vec![None; filters.len()];
        self.waiters.push(Waiter { kind, filters, reasons, reply });
    }

    fn plan(&mut self) {
        let desired = self.desired();
        let mut subscribe = Vec::new();
        for (wanted, id) in &desired {
            if self.busy.contains(&wanted.filter) {
                continue;
            }
            let target = AtServer { options: wanted.options, id: *id, is_stale: false };
            if self.at_server.get(&wanted.filter) != Some(&target) {
                subscribe.push((wanted.clone(), *id));
            }
        }
        let desired: HashSet<&TopicFilter> = desired.iter().map(|(wanted, _)| &wanted.filter).collect();
        let unsubscribe: Vec<TopicFilter> = self
            .at_server
            .keys()
            .filter(|filter| !desired.contains(filter) && !self.busy.contains(*filter))
            .cloned()
            .collect();
        // First what is new, so that nothing is missed between the two.
        self.plan_subscribes(subscribe);
        for filters in unsubscribe.chunks(FILTERS_PER_REQUEST_MAX) {
            self.put(Request::Unsubscribe(filters.to_vec()));
        }
    }

    fn plan_subscribes(&mut self, subscribe: Vec<(SubscribedFilter, Option<u32>)>) {
        let mut together = Vec::new();
        for (wanted, id) in subscribe {
            match id {
                // An identifier holds for all filters of its SUBSCRIBE, so each filter gets one of its own.
                Some(_) => self.put(Request::Subscribe { filters: vec![wanted], id }),
                None => together.push(wanted),
            }
        }
        for filters in together.chunks(FILTERS_PER_REQUEST_MAX) {
            self.put(Request::Subscribe { filters: filters.to_vec(), id: None });
        }
    }

    fn put(&mut self, request: Request) {
        self.busy.extend(request.filters().cloned());
        self.planned.push_back(request);
    }

    /// Returns what the server is to have, in order.
    fn desired(&mut self) -> Vec<(SubscribedFilter, Option<u32>)> {
        let Some(limits) = self.limits.clone() else { return Vec::new() };
        let mut all: Vec<(u64, SubscribedFilter, u32)> = Vec::new();
        for (filter, wanted) in &mut self.wanted {
            if let Some(reason) = not_available(filter, &limits) {
                wanted.status = Some(reason);
            }
            if wanted.status.is_none_or(|reason| !reason.is_error()) {
                let subscribed = SubscribedFilter { filter: filter.clone(), options: wanted.options };
                all.push((wanted.order, subscribed, wanted.id));
            }
        }
        all.sort_by_key(|(order, ..)| *order);
        self.covered_by.clear();
        if limits.subscription_ids {
            return all.into_iter().map(|(_, subscribed, id)| (subscribed, Some(id))).collect();
        }
        self.uncovered(all.into_iter().map(|(_, subscribed, _)| subscribed).collect())
    }

    /// Leaves out filters that another one covers, which then takes the higher QoS of both.
    fn uncovered(&mut self, all: Vec<SubscribedFilter>) -> Vec<(SubscribedFilter, Option<u32>)> {
        let wide: Vec<usize> = (0..all.len()).filter(|&i| all.get(i).is_some_and(is_wide)).collect();
        let mut kept: Vec<SubscribedFilter> = Vec::new();
        for at in 0..all.len() {
            let Some(wanted) = all.get(at) else { continue };
            match widest(&all, &wide, at).and_then(|cover| all.get(cover)) {
                Some(cover) => drop(self.covered_by.insert(wanted.filter.clone(), cover.filter.clone())),
                None => kept.push(wanted.clone()),
            }
        }
        for SubscribedFilter { filter, options } in &all {
            if let Some(cover) = self.covered_by.get(filter)
                && let Some(kept) = kept.iter_mut().find(|kept| kept.filter == *cover)
            {
                kept.options.qos = kept.options.qos.max(options.qos);
            }
        }
        kept.into_iter().map(|subscribed| (subscribed, None)).collect()
    }

    fn note_subscribing(&mut self, wanted: &SubscribedFilter, id: Option<u32>) {
        let entry = AtServer { options: wanted.options, id, is_stale: false };
        self.at_server.insert(wanted.filter.clone(), entry);
        if let Some(id) = id {
            // Subscribed again it keeps its place, but its retained messages come with the new batch.
            let order = self.place_of.get(&id).map(|place| place.order);
            self.set_place(&wanted.filter, id, wanted.options, order);
        }
    }

    fn restore_places(&mut self) {
        let mut kept: Vec<(u64, TopicFilter, SubscriptionOptions, u32)> = Vec::new();
        for (filter, at_server) in &self.at_server {
            if let (Some(id), Some(wanted)) = (at_server.id, self.wanted.get(filter)) {
                kept.push((wanted.order, filter.clone(), at_server.options, id));
            }
        }
        kept.sort_by_key(|(order, ..)| *order);
        for (_, filter, options, id) in kept {
            if !self.place_of.contains_key(&id) {
                self.set_place(&filter, id, options, None);
            }
        }
    }

    fn set_place(&mut self, filter: &TopicFilter, id: u32, options: SubscriptionOptions, order: Option<u64>) {
        if filter.is_shared() {
            // A copy may go to another member of the group, so it says nothing about the other copies.
            return;
        }
        let order = order.unwrap_or_else(|| {
            self.next_order += 1;
            self.next_order
        });
        let place = Place { order, batch: self.batch, options };
        self.places.insert(filter.topic_part(), id, place);
        self.place_of.insert(id, place);
    }

    fn forget_place(&mut self, filter: &TopicFilter) {
        if let Some(id) = self.at_server.get(filter).and_then(|at_server| at_server.id) {
            self.places.remove(filter.topic_part(), &id);
            self.place_of.remove(&id);
        }
    }

    fn on_answer(&mut self, request: Request, reasons: &[ReasonCode]) {
        self.has_news = true;
        self.needs_plan = true;
        let reasons = reasons.iter().copied().map(Some).chain(std::iter::repeat(None));
        match request {
            Request::Subscribe { filters, .. } => {
                for (wanted, reason) in filters.into_iter().zip(reasons) {
                    self.busy.remove(&wanted.filter);
                    self.on_subscribed(&wanted.filter, reason.unwrap_or(ReasonCode::UnspecifiedError));
                }
            }
            Request::Unsubscribe(filters) => {
                for (filter, reason) in filters.into_iter().zip(reasons) {
                    self.busy.remove(&filter);
                    // 3.1 and 3.1.1 give no reasons: then it succeeded.
                    self.on_unsubscribed(&filter, reason.unwrap_or(ReasonCode::Success));
                }
            }
        }
    }

    fn on_subscribed(&mut self, filter: &TopicFilter, reason: ReasonCode) {
        if let Some(wanted) = self.wanted.get_mut(filter) {
            wanted.status = Some(reason);
        }
        if !reason.is_error() {
            return;
        }
        tracing::warn!(%filter, %reason, "The server refused a subscription.");
        self.forget_place(filter);
        self.at_server.remove(filter);
        self.has_changed = true;
        self.tell(WaitsFor::Suback, filter, reason);
        if self.wanted.get(filter).is_some_and(|wanted| !wanted.is_permanent) {
            self.wanted.remove(filter);
        }
    }

    fn on_unsubscribed(&mut self, filter: &TopicFilter, reason: ReasonCode) {
        // Refused or not, it is not asked again on this connection.
        self.at_server.remove(filter);
        self.has_changed = true;
        self.tell(WaitsFor::Unsuback, filter, reason);
    }

    fn tell(&mut self, kind: WaitsFor, filter: &TopicFilter, reason: ReasonCode) {
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.kind == kind) {
            for (name, slot) in waiter.filters.iter().zip(&mut waiter.reasons) {
                if name == filter {
                    slot.get_or_insert(reason);
                }
            }
        }
    }

    /// Returns what the server said to a filter, or to the one that covers it.
    fn status(&self, filter: &TopicFilter) -> Option<ReasonCode> {
        let asked = self.covered_by.get(filter).unwrap_or(filter);
        if self.busy.contains(asked) {
            return None;
        }
        self.wanted.get(asked)?.status
    }

    fn reason_for(&self, kind: WaitsFor, filter: &TopicFilter) -> Option<ReasonCode> {
        match kind {
            WaitsFor::Suback => self.status(filter),
            WaitsFor::Unsuback if self.limits.is_none() || self.needs_plan => None,
            WaitsFor::Unsuback => {
                let is_open = self.busy.contains(filter) || self.at_server.contains_key(filter);
                (!is_open).then_some(ReasonCode::Success)
            }
        }
    }
}

impl Request {
    fn filters(&self) -> Box<dyn Iterator<Item = &TopicFilter> + '_> {
        match self {
            Self::Subscribe { filters, .. } => Box::new(filters.iter().map(|wanted| &wanted.filter)),
            Self::Unsubscribe(filters) => Box::new(filters.iter()),
        }
    }
}

/// Returns why a filter cannot be asked for at this server, if it cannot.
fn not_available(filter: &TopicFilter, limits: &ServerLimits) -> Option<ReasonCode> {
    if filter.is_shared() && !limits.shared_subscriptions {
        Some(ReasonCode::SharedSubscriptionsNotSupported)
    } else if filter.has_wildcards() && !limits.wildcards {
        Some(ReasonCode::WildcardSubscriptionsNotSupported)
    } else {
        None
    }
}

fn is_wide(wanted: &SubscribedFilter) -> bool {
    wanted.filter.has_wildcards() && !wanted.filter.is_shared()
}

/// Returns the place of the filter that covers the one at `at` and is covered by none itself.
fn widest(all: &[SubscribedFilter], wide: &[usize], at: usize) -> Option<usize> {
    let mut cover = None;
    while let Some(next) = wide.iter().copied().find(|&next| is_cover(all, next, cover.unwrap_or(at))) {
        cover = Some(next);
    }
    cover
}

/// Tells whether the filter at `wide` may stand for the one at `narrow`. Of two that cover each other the first does,
/// so that no two stand for each other.
fn is_cover(all: &[SubscribedFilter], wide: usize, narrow: usize) -> bool {
    let (Some(a), Some(b)) = (all.get(wide), all.get(narrow)) else { return false };
    let same_options = SubscriptionOptions { qos: b.options.qos, ..a.options } == b.options;
    wide != narrow
        && same_options
        && !b.filter.is_shared()
        && a.filter.covers(&b.filter)
        && (wide < narrow || !b.filter.covers(&a.filter))
}

#[cfg(test)]
mod tests;
