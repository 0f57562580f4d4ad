//! Which sessions there are, who has them, and how they end.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use bytestring::ByteString;
use crosspoint_protocol::{
    Message, Now, ReasonCode, packet::PublishPropertyValues, packet::Will, session::SessionState,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    counters::count,
    mailbox::{Command, Mailbox, Receiver},
    session::{PendingWill, Session},
    shared::Shared,
};

/// How long a new connection waits until the old one of the same client has gone.
const TAKEOVER_DEADLINE: Duration = Duration::from_secs(10);

/// Every session, by client identifier.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_client_id: Mutex<HashMap<ByteString, Arc<Session>>>,
    last_key: AtomicU64,
}

/// What a connection needs to open its session.
#[derive(Debug, Clone)]
pub(crate) struct OpenSession {
    pub(crate) client_id: ByteString,
    pub(crate) username: Option<ByteString>,
    pub(crate) clean_start: bool,
    pub(crate) receiver: Receiver,
}

/// A session that a connection owns until it calls [`Shared::close_session`].
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) exchanges: SessionState,
    pub(crate) is_present: bool,
}

/// What is left to do with a session when its connection has ended.
#[derive(Debug)]
pub(crate) struct CloseSession {
    pub(crate) exchanges: SessionState,
    pub(crate) will: Option<Box<Will>>,
    /// Seconds for which the session goes on; 0 ends it.
    pub(crate) expiry_s: u32,
}

enum Attempt {
    Opened(Opened),
    /// Its owner has been told to go.
    Busy(oneshot::Receiver<()>),
    /// It was there, offline, and a clean start is asked for: nobody can find it any more.
    Stale(Arc<Session>),
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.by_client_id.lock().len()
    }

    /// Tells every owner to end its connection.
    pub(crate) fn disconnect_all(&self, reason: ReasonCode) {
        for session in self.all() {
            let mut mailbox = session.mailbox.lock();
            let waker = if mailbox.is_online { mailbox.give(Command::Disconnect(reason)) } else { None };
            drop(mailbox);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Returns every session there is now, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.by_client_id.lock().values().cloned().collect();
        all.sort_unstable_by_key(|session| session.key);
        all
    }

    fn next_key(&self) -> u64 {
        self.last_key.fetch_add(1, Relaxed) + 1
    }
}

impl Shared {
    /// Opens a session for a connection: a new one, or one that is resumed. Another connection that has it is told
    /// to go, and is gone before this returns [MQTT-3.1.4-3].
    ///
    /// # Errors
    /// Another user has the session, or its connection does not end in time.
    pub(crate) async fn open_session(&self, open: OpenSession) -> Result<Opened, ReasonCode> {
        loop {
            match self.try_open(&open)? {
                Attempt::Opened(opened) => return Ok(opened),
                Attempt::Stale(session) => self.clear_session(&session, self.clock.now()),
                Attempt::Busy(gone) => {
                    // A sender that was dropped has gone as well.
                    let waited = tokio::time::timeout(TAKEOVER_DEADLINE, gone).await;
                    waited.map_err(|_| ReasonCode::ServerBusy)?.unwrap_or_default();
                }
            }
        }
    }

    fn try_open(&self, open: &OpenSession) -> Result<Attempt, ReasonCode> {
        let mut sessions = self.sessions.by_client_id.lock();
        let Some(session) = sessions.get(&open.client_id) else {
            let client_id = crate::compact(&open.client_id);
            let username = open.username.as_ref().map(crate::compact);
            let mailbox = Mailbox::new(self.options.queue, open.receiver);
            let session = Session::new(self.sessions.next_key(), client_id.clone(), username, mailbox);
            sessions.insert(client_id, session.clone());
            return Ok(Attempt::Opened(attach(session, open, false)));
        };
        if session.username != open.username {
            return Err(ReasonCode::NotAuthorized);
        }
        let mut mailbox = session.mailbox.lock();
        if mailbox.is_online {
            let (gone, is_gone) = oneshot::channel();
            mailbox.successors.push(gone);
            let waker = mailbox.give(Command::Disconnect(ReasonCode::SessionTakenOver));
            drop(mailbox);
            waker.into_iter().for_each(Waker::wake);
            return Ok(Attempt::Busy(is_gone));
        }
        drop(mailbox);
        let session = session.clone();
        if open.clean_start {
            sessions.remove(&open.client_id);
            return Ok(Attempt::Stale(session));
        }
        let opened = attach(session, open, true);
        self.remind(&opened.session);
        Ok(Attempt::Opened(opened))
    }

    /// Gives a session back when its connection has ended.
    pub(crate) fn close_session(&self, opened: &Arc<Session>, close: CloseSession, now: Now) {
        let CloseSession { exchanges, will, expiry_s } = close;
        let delay_s = will.as_ref().and_then(|will| will.properties.delay_s).unwrap_or(0).min(expiry_s);
        let goes_on = expiry_s != 0;
        let (pending, at_once) = match will {
            Some(will) if delay_s != 0 => (Some(PendingWill { at_ms: later(now, delay_s), will }), None),
            will => (None, will),
        };
        let ends_at_ms = (goes_on && expiry_s != u32::MAX).then(|| later(now, expiry_s));
        {
            let mut state = opened.state.lock();
            state.exchanges = exchanges;
            state.will = pending;
            state.ends_at_ms = ends_at_ms;
        }
        if let Some(will) = at_once {
            self.publish_will(&will, now);
        }
        // Detached and removed as one: nobody resumes a session that is ending.
        let detached = {
            let mut sessions = self.sessions.by_client_id.lock();
            if !goes_on {
                remove(&mut sessions, opened);
            }
            opened.mailbox.lock().detach()
        };
        self.count_dropped(detached.dropped);
        if goes_on {
            self.remind(opened);
        } else {
            self.clear_session(opened, now);
        }
        drop(detached.successors);
    }

    /// Keeps the schedule in step with what is due for a session.
    fn remind(&self, session: &Arc<Session>) {
        let mut state = session.state.lock();
        let next_ms = state.next_ms();
        let before_ms = std::mem::replace(&mut state.reminder_ms, next_ms);
        self.schedule.remind(session, before_ms, next_ms);
    }

    fn count_dropped(&self, messages: usize) {
        count(&self.counters(usize::MAX).dropped_receiver_gone, messages);
    }

    /// Does what has come due for a session: publishes its Will, ends it.
    pub(crate) fn look_after(&self, session: &Arc<Session>, now: Now) {
        let will = {
            let mut state = session.state.lock();
            state.reminder_ms = None;
            let is_due = state.will.as_ref().is_some_and(|pending| pending.at_ms <= now.monotonic_ms);
            if is_due { state.will.take() } else { None }
        };
        if let Some(pending) = will {
            self.publish_will(&pending.will, now);
        }
        if self.remove_if_over(session, now) {
            self.clear_session(session, now);
        } else {
            self.remind(session);
        }
    }

    /// Ends a session at once, unless a connection has it.
    pub(crate) fn end_if_offline(&self, session: &Arc<Session>, now: Now) {
        let is_removed = {
            let mut sessions = self.sessions.by_client_id.lock();
            !session.mailbox.lock().is_online && remove(&mut sessions, session)
        };
        if is_removed {
            self.clear_session(session, now);
        }
    }

    /// Takes a session out of the table if its time is over and nobody has it.
    fn remove_if_over(&self, session: &Arc<Session>, now: Now) -> bool {
        let mut sessions = self.sessions.by_client_id.lock();
        let is_over = session.state.lock().ends_at_ms.is_some_and(|at_ms| at_ms <= now.monotonic_ms);
        is_over && !session.mailbox.lock().is_online && remove(&mut sessions, session)
    }

    /// Clears a session that nobody can find any more: its Subscriptions go, what waits goes, and a Will whose delay
    /// still runs is published [MQTT-3.1.3-9].
    fn clear_session(&self, session: &Arc<Session>, now: Now) {
        let (filters, will) = {
            let mut state = session.state.lock();
            self.count_dropped(std::mem::take(&mut state.exchanges).outgoing.len());
            state.ends_at_ms = None;
            (std::mem::take(&mut state.filters), state.will.take())
        };
        self.remind(session);
        if !filters.is_empty() {
            let mut router = self.router.write();
            for filter in &filters {
                router.unsubscribe(session.key, filter);
            }
        }
        let dropped = session.mailbox.lock().retain(|_| false);
        self.count_dropped(dropped);
        if let Some(pending) = will {
            self.publish_will(&pending.will, now);
        }
    }

    fn publish_will(&self, will: &Will, now: Now) {
        let properties = &will.properties;
        let values = PublishPropertyValues {
            payload_is_utf8: properties.payload_is_utf8,
            message_expiry_s: properties.message_expiry_s,
            response_topic: properties.response_topic.clone(),
            correlation_data: properties.correlation_data.clone(),
            content_type: properties.content_type.clone(),
            user_properties: properties.user_properties.clone(),
        };
        let properties =
            crosspoint_protocol::packet::PublishProperties::from_values(&values).unwrap_or_default();
        let message = Message::new(&will.topic, &will.payload, will.qos, will.retain, &properties, now);
        self.publish(&message, now);
    }
}

fn remove(sessions: &mut HashMap<ByteString, Arc<Session>>, session: &Arc<Session>) -> bool {
    let is_same = sessions.get(&session.client_id).is_some_and(|known| Arc::ptr_eq(known, session));
    if is_same {
        sessions.remove(&session.client_id);
    }
    is_same
}

fn attach(session: Arc<Session>, open: &OpenSession, is_present: bool) -> Opened {
    let exchanges = {
        let mut state = session.state.lock();
        state.will = None;
        state.ends_at_ms = None;
        std::mem::take(&mut state.exchanges)
    };
    session.mailbox.lock().attach(open.receiver);
    Opened { session, exchanges, is_present }
}

fn later(now: Now, seconds: u32) -> u64 {
    now.monotonic_ms.saturating_add(u64::from(seconds) * 1_000)
}
