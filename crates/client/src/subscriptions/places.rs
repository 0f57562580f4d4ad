//! The places of the filters that the server has (MQTT 5): of several copies of a message the one for the first counts.

use crosspoint_protocol::{
    TopicFilter,
    packet::{RetainHandling, SubscribedFilter, SubscriptionOptions},
};

use super::{AtServer, Subscriptions};

/// The place of a filter among those that match a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Of two that are alike the lower counts.
    order: u64,
    /// Filters subscribed together, whose retained messages overlap.
    batch: u64,
    options: SubscriptionOptions,
}

impl Place {
    /// Tells whether a copy for this place comes whenever one for the other does, is as good in everything, and is
    /// the first of both. Of two copies none of which is so both count: better twice than never.
    ///
    /// With No Local there is no copy of our own messages; and while we are away a server keeps none at QoS 0.
    fn comes_before(&self, other: &Self) -> bool {
        let rank =
            |place: &Self| (!place.options.no_local, place.options.qos, place.options.retain_as_published);
        let (ours, theirs) = (rank(self), rank(other));
        let is_as_good = ours.0 >= theirs.0 && ours.1 >= theirs.1 && ours.2 >= theirs.2;
        is_as_good && (ours != theirs || self.order < other.order)
    }
}

impl Subscriptions {
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
        let mut is_second = false;
        self.places.for_each_match(topic, |&id, place| {
            let is_rival = !is_snapshot
                || (place.batch == own.batch && place.options.retain_handling != RetainHandling::DoNotSend);
            is_second |= is_rival && !ids.contains(&id) && place.comes_before(own);
        });
        !is_second
    }

    pub(super) fn note_subscribing(&mut self, wanted: &SubscribedFilter, id: Option<u32>) {
        if self.at_server.get(&wanted.filter).is_some_and(|before| before.id != id) {
            self.forget_place(&wanted.filter);
        }
        let entry = AtServer::new(wanted.options, id);
        self.at_server.insert(wanted.filter.clone(), entry);
        if let Some(id) = id {
            // Subscribed again it keeps its place, but its retained messages come with the new batch.
            let order = self.place_of.get(&id).map(|place| place.order);
            self.set_place(&wanted.filter, id, wanted.options, order);
        }
    }

    pub(super) fn restore_places(&mut self) {
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

    pub(super) fn forget_place(&mut self, filter: &TopicFilter) {
        if let Some(id) = self.at_server.get(filter).and_then(|at_server| at_server.id) {
            self.places.remove(filter.topic_part(), &id);
            self.place_of.remove(&id);
        }
    }
}
