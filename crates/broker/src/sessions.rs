//! Which sessions there are, who has them, and how they are opened.
//!
//! [`ending`] gives them back and ends them, [`owed`] is the Wills that find no room on the disk, [`stored`] is what the
//! store has of them.

mod ending;
mod owed;
mod stored;

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
    ReasonCode,
    session::{SessionState, Token},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    durable::{Changes, Commit, Ended, Outcome, WILLS, WillRecord},
    mailbox::{Command, Mailbox, Receiver, StoredQueue},
    session::Session,
    shared::Shared,
    will::Testament,
};

pub(crate) use owed::Owed;
use stored::Consumed;
pub(crate) use stored::Reading;

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
    /// Seconds for which the session outlives the connection.
    pub(crate) expiry_s: u32,
    pub(crate) will: Option<Arc<Testament>>,
    /// Whether what is new of it is kept in the store, if there is one.
    pub(crate) is_kept: bool,
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
    /// Incoming messages at QoS 2 whose batch is on its way.
    pub(crate) undecided: Vec<(Token, Arc<Commit>)>,
    pub(crate) will: Option<Arc<Testament>>,
    /// Seconds for which the session goes on; 0 ends it.
    pub(crate) expiry_s: u32,
}

enum Attempt {
    Opened(Opened, Option<Arc<Commit>>),
    /// Its owner has been told to go.
    Busy(oneshot::Receiver<()>),
    /// It is there, offline, and a clean start is asked for.
    Stale(Arc<Session>),
}

/// A session that was opened and that nobody has been given yet: given back when dropped.
struct Unclaimed<'a> {
    shared: &'a Shared,
    opened: Option<Opened>,
    expiry_s: u32,
}

impl Drop for Unclaimed<'_> {
    fn drop(&mut self) {
        let Some(Opened { session, exchanges, .. }) = self.opened.take() else { return };
        let close = CloseSession { exchanges, undecided: Vec::new(), will: None, expiry_s: self.expiry_s };
        self.shared.close_session(&session, close, self.shared.clock.now());
    }
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.by_client_id.lock().len()
    }

    /// Tells every owner to end its connection.
    pub(crate) fn disconnect_all(&self, reason: ReasonCode) {
        self.disconnect(reason, |_| true);
    }

    /// Tells the owners of durable sessions to end their connections: nothing more reaches them.
    pub(crate) fn disconnect_durable(&self, reason: ReasonCode) {
        self.disconnect(reason, |session| session.number.is_some());
    }

    fn disconnect(&self, reason: ReasonCode, is_meant: impl Fn(&Session) -> bool) {
        for session in self.all().into_iter().filter(|session| is_meant(session)) {
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

    /// Adds sessions that were loaded.
    pub(crate) fn add(&self, sessions: impl IntoIterator<Item = Arc<Session>>) {
        let named = sessions.into_iter().map(|session| (session.client_id.clone(), session));
        self.by_client_id.lock().extend(named);
    }

    pub(crate) fn next_key(&self) -> u64 {
        self.last_key.fetch_add(1, Relaxed) + 1
    }
}

impl Shared {
    /// Opens a session for a connection: a new one, or one that is resumed. Another connection that has it is told
    /// to go, and is gone before this returns [MQTT-3.1.4-3]. What the store keeps of it is durable when this returns.
    ///
    /// # Errors
    /// Another user has the session, its connection does not end in time, or the store does not take it.
    ///
    /// # Cancel safety
    /// When dropped before it is done, the session is given back.
    pub(crate) async fn open_session(&self, open: OpenSession) -> Result<Opened, ReasonCode> {
        let (opened, commit) = self.take_session(&open).await?;
        let is_new = !opened.is_present;
        let mut unclaimed = Unclaimed { shared: self, opened: Some(opened), expiry_s: open.expiry_s };
        if let Some(commit) = commit {
            let refused = match Ended(commit).await {
                Outcome::Durable => None,
                Outcome::Full => Some(ReasonCode::QuotaExceeded),
                Outcome::Broken => Some(ReasonCode::ServerUnavailable),
            };
            if let Some(reason) = refused {
                // One that nobody has been told of is not kept.
                unclaimed.expiry_s = if is_new { 0 } else { open.expiry_s };
                return Err(reason);
            }
        }
        if let Some(opened) = &mut unclaimed.opened {
            self.read_exchanges(opened).await?;
        }
        unclaimed.opened.take().ok_or(ReasonCode::ServerUnavailable)
    }

    async fn take_session(&self, open: &OpenSession) -> Result<(Opened, Option<Arc<Commit>>), ReasonCode> {
        loop {
            match self.try_open(open)? {
                Attempt::Opened(opened, commit) => return Ok((opened, commit)),
                Attempt::Stale(session) => {
                    if !self.end_if_offline(&session, self.clock.now()) && self.is_store_full() {
                        return Err(ReasonCode::QuotaExceeded);
                    }
                }
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
        let ghost = sessions.get(&open.client_id).filter(|session| session.state.lock().is_ghost).cloned();
        if ghost.is_some() {
            sessions.remove(&open.client_id);
        }
        let Some(session) = sessions.get(&open.client_id) else {
            let session = self.new_session(open);
            if let Some(ghost) = ghost {
                // Its client is back, so that the Will is not published.
                ghost.state.lock().will = None;
                self.remind(&ghost);
                session.state.lock().has_stored_will = true;
            }
            sessions.insert(session.client_id.clone(), session.clone());
            let (opened, commit) = self.attach(session, open, false);
            return Ok(Attempt::Opened(opened, commit));
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
            // A Will from before a restart has waited for its client, which is back.
            session.state.lock().will.take_if(|pending| pending.waits_for_client);
            return Ok(Attempt::Stale(session));
        }
        let (opened, commit) = self.attach(session, open, true);
        self.remind(&opened.session);
        Ok(Attempt::Opened(opened, commit))
    }

    fn new_session(&self, open: &OpenSession) -> Arc<Session> {
        let client_id = crate::compact(&open.client_id);
        let username = open.username.as_ref().map(crate::compact);
        let durable = self.durable.as_ref().filter(|_| open.is_kept && open.expiry_s != 0);
        let number = durable.map(|durable| durable.new_number());
        let mut mailbox = Mailbox::new(self.options.queue, open.receiver);
        mailbox.stored = number.map(|_| Box::new(StoredQueue::new()));
        Session::new(self.sessions.next_key(), client_id, username, number, mailbox)
    }

    /// Gives a session to a connection, and returns the batch that has to be durable before its client hears of it.
    fn attach(
        &self,
        session: Arc<Session>,
        open: &OpenSession,
        is_present: bool,
    ) -> (Opened, Option<Arc<Commit>>) {
        let mut state = session.state.lock();
        state.will = None;
        state.ends_at_ms = None;
        let exchanges = std::mem::take(&mut state.exchanges);
        let mut changes = Changes::default();
        if let Some(number) = session.number {
            changes.put_session(&session.client_id, &session.record(number, open.expiry_s, None));
        }
        let keeps_will = self.durable.is_some() && open.is_kept;
        match open.will.as_ref().filter(|_| keeps_will) {
            Some(will) => {
                state.has_stored_will = true;
                changes.put(WILLS, session.store_key(), WillRecord::encode(will, None));
            }
            None if std::mem::take(&mut state.has_stored_will) => changes.delete(WILLS, session.store_key()),
            None => {}
        }
        let commit = self.commit(&mut changes).filter(|_| open.is_kept);
        drop(state);
        self.begin_reading(&session, Consumed::Outside);
        session.mailbox.lock().attach(open.receiver);
        (Opened { session, exchanges, is_present }, commit)
    }

    /// Hands changes over that somebody waits for.
    pub(crate) fn commit(&self, changes: &mut Changes) -> Option<Arc<Commit>> {
        let durable = self.durable.as_ref().filter(|_| !changes.is_empty())?;
        changes.hurry();
        Some(durable.committer.append(changes))
    }

    /// Hands changes over that nobody waits for.
    pub(crate) fn commit_lazily(&self, changes: &mut Changes) {
        if let Some(durable) = self.durable.as_ref().filter(|_| !changes.is_empty()) {
            durable.committer.append(changes);
        }
    }

    /// Keeps the schedule in step with what is due for a session.
    pub(crate) fn remind(&self, session: &Arc<Session>) {
        let mut state = session.state.lock();
        let next_ms = state.next_ms();
        let before_ms = std::mem::replace(&mut state.reminder_ms, next_ms);
        self.schedule.remind(session, before_ms, next_ms);
    }
}
