//! How sessions are given back, and how they end.

use std::{collections::HashMap, sync::Arc};

use bytestring::ByteString;
use crosspoint_protocol::Now;

use super::{CloseSession, stored::Consumed};
use crate::{
    counters::count,
    durable::{Away, Changes, SESSIONS, SUBSCRIPTIONS, SubscriptionRecord, WILLS, WillRecord},
    session::{Parked, PendingWill, Session},
    shared::Shared,
    will::Testament,
};

impl Shared {
    /// Gives a session back when its connection has ended.
    pub(crate) fn close_session(&self, opened: &Arc<Session>, close: CloseSession, now: Now) {
        let CloseSession { exchanges, undecided, will, expiry_s } = close;
        let goes_on = expiry_s != 0;
        {
            let mut state = opened.state.lock();
            state.exchanges = exchanges;
            state.undecided.extend(undecided);
            state.ends_at_ms = (goes_on && expiry_s != u32::MAX).then(|| later(now, expiry_s));
            self.record_away(opened, expiry_s, now);
            self.leave_will(opened, &mut state, will, expiry_s, now);
            if !goes_on {
                self.owe_will(opened, &mut state);
            }
        }
        self.begin_reading(opened, Consumed::Here);
        // Detached and removed as one: nobody resumes a session that is ending.
        let detached = {
            let mut sessions = self.sessions.by_client_id.lock();
            if !goes_on {
                self.remove(&mut sessions, opened);
            }
            opened.mailbox.lock().detach()
        };
        self.count_dropped(detached.dropped);
        if goes_on {
            self.remind(opened);
        } else {
            self.clear_session(opened);
        }
        drop(detached.successors);
    }

    fn record_away(&self, session: &Session, expiry_s: u32, now: Now) {
        let Some(number) = session.number.filter(|_| expiry_s != 0) else { return };
        let away = Away { left_s: expiry_s, at_wall_ms: now.wall_ms };
        let mut changes = Changes::default();
        changes.put_session(&session.client_id, &session.record(number, expiry_s, Some(away)));
        self.commit_lazily(&mut changes);
    }

    /// Publishes the Will of a connection that has ended, lets its delay run, or drops it.
    fn leave_will(
        &self,
        session: &Session,
        state: &mut Parked,
        will: Option<Arc<Testament>>,
        expiry_s: u32,
        now: Now,
    ) {
        if self.is_stopping() && state.has_stored_will && will.is_some() {
            // After the next start it waits for its client, which did not go of itself.
            return;
        }
        let Some(will) = will else {
            if std::mem::take(&mut state.has_stored_will) {
                let mut changes = Changes::default();
                changes.delete(WILLS, session.store_key());
                self.commit(&mut changes);
            }
            return;
        };
        let delay_s = will.delay_s.min(expiry_s);
        if delay_s == 0 {
            if !self.publish_will(session, state, &will, now) {
                state.will = Some(PendingWill { at_ms: later(now, 1), will, waits_for_client: false });
            }
            return;
        }
        if state.has_stored_will {
            let due_wall_ms = now.wall_ms.saturating_add(u64::from(delay_s) * 1_000);
            let mut changes = Changes::default();
            changes.put(WILLS, session.store_key(), WillRecord::encode(&will, Some(due_wall_ms)));
            self.commit_lazily(&mut changes);
        }
        state.will = Some(PendingWill { at_ms: later(now, delay_s), will, waits_for_client: false });
    }

    pub(super) fn count_dropped(&self, messages: usize) {
        count(&self.counters(usize::MAX).dropped_receiver_gone, messages);
    }

    /// Does what has come due for a session: publishes its Will, ends it.
    pub(crate) fn look_after(&self, session: &Arc<Session>, now: Now) {
        {
            let mut state = session.state.lock();
            state.reminder_ms = None;
            if let Some(pending) = state.will.take_if(|pending| pending.at_ms <= now.monotonic_ms)
                && !self.publish_will(session, &mut state, &pending.will, now)
            {
                state.will = Some(PendingWill { at_ms: later(now, 1), ..pending });
            }
        }
        let is_over = |state: &Parked| state.ends_at_ms.is_some_and(|at_ms| at_ms <= now.monotonic_ms);
        if !self.end_if(session, is_over, now) {
            self.remind(session);
        }
    }

    /// Ends a session at once, unless a connection has it, or its Will finds no room on the disk now; tells whether it
    /// has.
    pub(crate) fn end_if_offline(&self, session: &Arc<Session>, now: Now) -> bool {
        self.end_if(session, |_| true, now)
    }

    /// Ends a session that nobody has, if it is to end. A Will whose delay still runs is published [MQTT-3.1.3-9].
    fn end_if(&self, session: &Arc<Session>, is_over: impl Fn(&Parked) -> bool, now: Now) -> bool {
        loop {
            {
                let mut state = session.state.lock();
                if session.mailbox.lock().is_online || !is_over(&state) {
                    return false;
                }
                if let Some(pending) = state.will.take()
                    && !self.publish_will(session, &mut state, &pending.will, now)
                {
                    // It ends when there is room for what it leaves.
                    state.will = Some(PendingWill { at_ms: later(now, 1), ..pending });
                    state.ends_at_ms = Some(later(now, 1));
                    return false;
                }
            }
            let mut sessions = self.sessions.by_client_id.lock();
            let state = session.state.lock();
            let is_as_before = is_over(&state) && state.will.is_none();
            drop(state);
            if session.mailbox.lock().is_online {
                return false;
            }
            if is_as_before {
                let is_removed = self.remove(&mut sessions, session);
                drop(sessions);
                if is_removed {
                    self.clear_session(session);
                }
                return is_removed;
            }
        }
    }

    /// Takes a session out of the table and the store. Its client's next one comes after that.
    fn remove(&self, sessions: &mut HashMap<ByteString, Arc<Session>>, session: &Arc<Session>) -> bool {
        let is_same = sessions.get(&session.client_id).is_some_and(|known| Arc::ptr_eq(known, session));
        if is_same {
            sessions.remove(&session.client_id);
            self.forget(session);
        }
        is_same
    }

    /// Takes out of the store what it has of a session.
    fn forget(&self, session: &Session) {
        let mut changes = Changes::default();
        let mut state = session.state.lock();
        if let (Some(number), Some(queue)) = (session.number, session.queue()) {
            changes.delete(SESSIONS, session.store_key());
            for filter in state.filters.keys() {
                changes.delete(SUBSCRIPTIONS, SubscriptionRecord::key(number, filter));
            }
            for id in state.exchanges.incoming.recorded() {
                changes.delete_incoming(number, id.packet_id());
            }
            let mut mailbox = session.mailbox.lock();
            if let Some(stored) = &mut mailbox.stored {
                stored.is_over = true;
                stored.recorded().for_each(|position| changes.delete_outgoing(number, position));
            }
            changes.remove_queue(queue);
        }
        if std::mem::take(&mut state.has_stored_will) && !self.is_stopping() {
            changes.delete(WILLS, session.store_key());
        }
        self.commit(&mut changes);
    }

    /// Clears a session that nobody can find any more: its Subscriptions go, what waits goes.
    fn clear_session(&self, session: &Arc<Session>) {
        let filters = {
            let mut state = session.state.lock();
            self.count_dropped(std::mem::take(&mut state.exchanges).outgoing.len());
            state.ends_at_ms = None;
            std::mem::take(&mut state.filters)
        };
        self.remind(session);
        if !filters.is_empty() {
            let mut router = self.router.write();
            for filter in filters.keys() {
                router.unsubscribe(session.key, filter);
            }
        }
        let dropped = session.mailbox.lock().clear();
        self.count_dropped(dropped);
    }
}

fn later(now: Now, seconds: u32) -> u64 {
    now.monotonic_ms.saturating_add(u64::from(seconds) * 1_000)
}
