//! What happens to clients that are in when users or rules change.

use std::{sync::Arc, task::Waker};

use crosspoint_protocol::TopicFilter;

use crate::{
    access::{Permissions, Subscribing},
    counters::count,
    durable::{Changes, SUBSCRIPTIONS, SubscriptionRecord},
    mailbox::Command,
    session::Session,
    shared::Shared,
};

impl Shared {
    /// Brings every session up to what its user may do now: Subscriptions that are not allowed any more end, what
    /// waits and may not be received goes, and a client whose user is gone goes with its session.
    pub(crate) fn reauthorize(&self) {
        for session in self.sessions.all().into_iter().filter(|session| !session.is_local()) {
            if session.state.lock().is_ghost {
                continue;
            }
            let permissions = self.access.permissions_for(session.username.as_deref(), &session.client_id);
            if let Some(permissions) = &permissions {
                self.narrow(&session, permissions);
            }
            let command = if permissions.is_some() { Command::Reauthorize } else { Command::Expel };
            let waker = session.mailbox.lock().give(command);
            waker.into_iter().for_each(Waker::wake);
            if permissions.is_none() {
                self.end_if_offline(&session, self.clock.now());
            }
        }
    }

    fn narrow(&self, session: &Arc<Session>, permissions: &Arc<Permissions>) {
        let mut state = session.state.lock();
        let mut router = self.router.write();
        let mut denied: Vec<TopicFilter> = Vec::new();
        for filter in state.filters.keys() {
            match permissions.may_subscribe(filter) {
                Subscribing::Granted => router.limit(session.key, filter, None),
                Subscribing::Filtered => router.limit(session.key, filter, Some(permissions.clone())),
                Subscribing::Denied => denied.push(filter.clone()),
            }
        }
        let mut changes = Changes::default();
        for filter in &denied {
            router.unsubscribe(session.key, filter);
            state.filters.remove(filter);
            if let Some(number) = session.number {
                changes.delete(SUBSCRIPTIONS, SubscriptionRecord::key(number, filter));
            }
        }
        drop(router);
        self.commit(&mut changes);
        let dropped = session.mailbox.lock().retain(|entry| permissions.may_receive(entry.message.topic()));
        drop(state);
        count(&self.counters(usize::MAX).dropped_not_authorized, dropped);
        self.settle(session);
    }
}
