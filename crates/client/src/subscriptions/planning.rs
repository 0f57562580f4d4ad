//! Which requests bring what the server has to what is wanted.
//!
//! With subscription identifiers each filter is subscribed for itself; without them, as in 3.x, a filter that another
//! one covers is left out, so that no message comes twice.

use std::collections::HashSet;

use crosspoint_protocol::{
    ReasonCode, TopicFilter,
    packet::{SubscribedFilter, SubscriptionOptions, UserProperties},
};

use super::{AtServer, Subscriptions, request::Request};
use crate::ServerLimits;

/// The most filters in one SUBSCRIBE or UNSUBSCRIBE: as many as AWS IoT Core takes, the least of the known brokers. More
/// requests cost little, since none waits for the answer to another.
const FILTERS_PER_REQUEST_MAX: usize = 8;

impl Subscriptions {
    pub(super) fn plan(&mut self) {
        let desired = self.desired();
        let Some(terms) = self.terms.clone() else { return };
        let (mut clear, mut subscribe) = (Vec::new(), Vec::new());
        for (wanted, id) in &desired {
            if self.busy.contains(&wanted.filter) {
                continue;
            }
            let at_server = self.at_server.get(&wanted.filter);
            if at_server.is_some_and(|at_server| at_server.is_to_be_cleared(&terms)) {
                clear.push(wanted.filter.clone());
            }
            if at_server != Some(&AtServer::new(wanted.options, *id)) {
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
        for filters in clear.chunks(FILTERS_PER_REQUEST_MAX) {
            self.planned.push_back(Request::Clear { filters: filters.to_vec() });
        }
        // First what is new, so that nothing is missed between the two.
        self.plan_subscribes(subscribe);
        self.plan_unsubscribes(unsubscribe);
    }

    fn plan_subscribes(&mut self, subscribe: Vec<(SubscribedFilter, Option<u32>)>) {
        let mut together = Vec::new();
        for (wanted, id) in subscribe {
            let said = self.wanted.get(&wanted.filter).map(|wanted| wanted.user_properties.clone());
            let user_properties = said.unwrap_or_default();
            // An identifier and properties hold for all filters of their SUBSCRIBE, so each filter gets one of its own.
            if id.is_some() || !user_properties.is_empty() {
                self.put(Request::Subscribe { filters: vec![wanted], id, user_properties });
            } else {
                together.push(wanted);
            }
        }
        for filters in together.chunks(FILTERS_PER_REQUEST_MAX) {
            let user_properties = UserProperties::new();
            self.put(Request::Subscribe { filters: filters.to_vec(), id: None, user_properties });
        }
    }

    fn plan_unsubscribes(&mut self, unsubscribe: Vec<TopicFilter>) {
        let mut together = Vec::new();
        for filter in unsubscribe {
            match self.leaving.remove(&filter) {
                Some(user_properties) => {
                    self.put(Request::Unsubscribe { filters: vec![filter], user_properties });
                }
                None => together.push(filter),
            }
        }
        for filters in together.chunks(FILTERS_PER_REQUEST_MAX) {
            let user_properties = UserProperties::new();
            self.put(Request::Unsubscribe { filters: filters.to_vec(), user_properties });
        }
    }

    fn put(&mut self, request: Request) {
        self.busy.extend(request.filters().cloned());
        self.planned.push_back(request);
    }

    /// Returns what the server is to have, in order.
    fn desired(&mut self) -> Vec<(SubscribedFilter, Option<u32>)> {
        let Some(terms) = self.terms.clone() else { return Vec::new() };
        let mut all: Vec<(u64, SubscribedFilter, u32)> = Vec::new();
        for (filter, wanted) in &mut self.wanted {
            if let Some(reason) = not_available(filter, &terms.limits) {
                wanted.status = Some(reason);
            }
            if wanted.status.is_none_or(|reason| !reason.is_error()) {
                let subscribed =
                    SubscribedFilter { filter: filter.clone(), options: terms.apply(wanted.options) };
                all.push((wanted.order, subscribed, wanted.id));
            }
        }
        all.sort_by_key(|(order, ..)| *order);
        self.covered_by.clear();
        if terms.limits.subscription_ids {
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
