//! What the server says to requests, and who waits to hear it.

use crosspoint_protocol::{ReasonCode, TopicFilter};
use tokio::sync::oneshot;

use super::{Subscriptions, request::Request};
use crate::shared::Reasons;

#[derive(Debug)]
pub(super) struct Waiter {
    kind: WaitsFor,
    filters: Vec<TopicFilter>,
    reasons: Vec<Option<ReasonCode>>,
    reply: oneshot::Sender<Reasons>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    Suback,
    Unsuback,
}

impl Subscriptions {
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

    pub(super) fn wait(
        &mut self,
        kind: WaitsFor,
        filters: Vec<TopicFilter>,
        reply: oneshot::Sender<Reasons>,
    ) {
        let reasons = vec![None; filters.len()];
        self.waiters.push(Waiter { kind, filters, reasons, reply });
    }

    pub(super) fn on_answer(&mut self, request: Request, reasons: &[ReasonCode]) {
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
            // What comes behind it says how it went.
            Request::Clear { .. } => {}
            Request::Unsubscribe { filters, .. } => {
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

    /// Tells whether the server has granted a filter on this connection.
    pub(crate) fn is_granted(&self, filter: &TopicFilter) -> bool {
        self.terms.is_some() && self.status(filter).is_some_and(|reason| !reason.is_error())
    }

    /// Returns what the server said to a filter, or to the one that covers it.
    pub(super) fn status(&self, filter: &TopicFilter) -> Option<ReasonCode> {
        let asked = self.covered_by.get(filter).unwrap_or(filter);
        if self.busy.contains(asked) {
            return None;
        }
        self.wanted.get(asked)?.status
    }

    fn reason_for(&self, kind: WaitsFor, filter: &TopicFilter) -> Option<ReasonCode> {
        match kind {
            WaitsFor::Suback => self.status(filter),
            WaitsFor::Unsuback if self.terms.is_none() || self.needs_plan => None,
            WaitsFor::Unsuback => {
                let is_open = self.busy.contains(filter) || self.at_server.contains_key(filter);
                (!is_open).then_some(ReasonCode::Success)
            }
        }
    }
}
