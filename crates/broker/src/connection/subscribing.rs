//! SUBSCRIBE and UNSUBSCRIBE.

use crosspoint_protocol::{
    Now, ReasonCode,
    packet::{Subscribe, Unsubscribe},
};

use super::{Connection, Stage, mail::Backlog, owed::Answer};
use crate::{
    access::Subscribing,
    counters::count,
    durable::{SUBSCRIPTIONS, SubscriptionRecord},
    router::NewSubscription,
    turn::Turn,
};

/// While more retained messages wait for a client, it is granted no further Subscription: its requests are short,
/// and what it asks for may not be.
const BACKLOG_MESSAGES_MAX: usize = 1_000_000;

impl Connection {
    pub(super) fn on_subscribe(&mut self, subscribe: &Subscribe, turn: &mut Turn<'_>, now: Now) {
        turn.release_table();
        let Stage::Open(member) = &self.stage else { return };
        let id = subscribe.properties.subscription_id.unwrap_or(0);
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut is_stored = false;
        let mut state = member.session.state.lock();
        let mut router = self.shared.router.write();
        let filters_max = self.shared.options.subscriptions_max;
        let mut waiting: usize = self.backlog.iter().map(|backlog| backlog.messages.len()).sum();
        let number = member.session.number;
        let is_full = number.is_some() && self.shared.is_store_full();
        for wanted in &subscribe.filters {
            let is_new = !state.filters.contains_key(&wanted.filter);
            if is_full || waiting > BACKLOG_MESSAGES_MAX || (is_new && state.filters.len() >= filters_max) {
                reasons.push(ReasonCode::QuotaExceeded);
                continue;
            }
            let only = match member.permissions.may_subscribe(&wanted.filter) {
                Subscribing::Granted => None,
                Subscribing::Filtered => Some(member.permissions.clone()),
                Subscribing::Denied => {
                    reasons.push(ReasonCode::NotAuthorized);
                    continue;
                }
            };
            let mut options = wanted.options;
            // A bridge of 3.1.1 gets what MQTT 5 has options for.
            options.no_local |= member.is_bridge;
            options.retain_as_published |= member.is_bridge;
            let new = NewSubscription { filter: &wanted.filter, options, id, only };
            let mut retained = router.subscribe(&member.session, new, now);
            match state.filters.get_mut(&wanted.filter) {
                Some(known) => *known = id,
                None => _ = state.filters.insert(wanted.filter.compact(), id),
            }
            if let Some(number) = number {
                let key = SubscriptionRecord::key(number, &wanted.filter);
                let record = SubscriptionRecord { options, id };
                turn.changes().put(SUBSCRIPTIONS, key, record.encode());
                turn.changes().hurry();
                self.shared.keep_retained(&member.session, &mut retained, record, turn.changes());
                is_stored = true;
            }
            waiting += retained.len();
            turn.spend(retained.len());
            if !retained.is_empty() {
                self.backlog.push_back(Backlog { messages: retained.into_iter(), qos: options.qos, id });
            }
            reasons.push(ReasonCode::granted(options.qos));
        }
        // Handed over while nothing can be published between.
        turn.flush();
        drop(router);
        drop(state);
        if is_stored && self.waits_for_disk() {
            self.owe(Answer::SubAck(subscribe.packet_id, reasons));
        } else {
            self.core.suback(subscribe.packet_id, reasons);
        }
    }

    pub(super) fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe, turn: &mut Turn<'_>) {
        turn.release_table();
        let Stage::Open(member) = &self.stage else { return };
        let session = member.session.clone();
        let mut state = session.state.lock();
        let mut router = self.shared.router.write();
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        let mut is_stored = false;
        for filter in &unsubscribe.filters {
            let was_known = state.filters.remove(filter).is_some();
            if let Some(number) = session.number.filter(|_| was_known) {
                turn.changes().delete(SUBSCRIPTIONS, SubscriptionRecord::key(number, filter));
                turn.changes().hurry();
                is_stored = true;
            }
            let was_there = router.unsubscribe(session.key, filter);
            reasons.push(if was_there { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
        }
        drop(router);
        // What was left before the table changed goes out before UNSUBACK, or not at all: nothing arrives after it.
        let is_wanted = |topic: &str| {
            !unsubscribe.filters.iter().any(|filter| filter.matches(topic))
                || state.filters.keys().any(|filter| filter.matches(topic))
        };
        let dropped = session.mailbox.lock().retain(|entry| is_wanted(entry.message.topic()));
        count(&self.shared.counters(self.worker).dropped_unsubscribed, dropped);
        for backlog in &mut self.backlog {
            backlog.messages = backlog
                .messages
                .by_ref()
                .filter(|message| is_wanted(message.topic()))
                .collect::<Vec<_>>()
                .into_iter();
        }
        self.backlog.retain(|backlog| !backlog.messages.as_slice().is_empty());
        drop(state);
        self.shared.settle(&session);
        if is_stored && self.waits_for_disk() {
            return self.owe(Answer::UnsubAck(unsubscribe.packet_id, reasons));
        }
        self.unsubacks.push((unsubscribe.packet_id, reasons));
        if self.backlog.is_empty() {
            self.send_direct(&session);
            self.send_unsubacks();
        }
    }
}
