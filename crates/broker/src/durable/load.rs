//! What a broker finds in its store when it starts.
//!
//! Every table is gone through once, in the order of its keys. What belongs to no session any more is taken out: a crash
//! may leave it, because what is only cleaned up is not waited for.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use crosspoint_protocol::{Message, Now, Version, limits::PACKET_BYTES_MAX, session::IncomingId};
use crosspoint_store::Store;
use rustc_hash::FxHashMap;

use super::{
    Away, Changes, Durable, INCOMING, KeptStage, OUTGOING, OutgoingRecord, QUEUES, RETAINED, SESSIONS,
    SUBSCRIPTIONS, SessionRecord, SubscriptionRecord, WILLS, WillRecord,
    exchange::{of_incoming, of_outgoing_key},
};
use crate::{
    mailbox::{Mailbox, Receiver, StoredQueue},
    router::NewSubscription,
    session::{LOCAL_PREFIX, PendingWill, Session},
    shared::Shared,
};

/// How many records are looked at at once.
const PAGE: usize = 4_096;

/// A record that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record of {key:?} in table {table} was written by another program, perhaps a newer one")]
pub struct InvalidRecord {
    /// The number of the table.
    pub table: u32,
    /// The key, as far as it is text.
    pub key: String,
}

/// What is being loaded.
struct Load<'a> {
    shared: &'a Shared,
    durable: &'a Durable,
    now: Now,
    sessions: FxHashMap<u64, Arc<Session>>,
    by_client_id: FxHashMap<ByteString, Arc<Session>>,
    last_number: u64,
    changes: Changes,
}

/// Loads what the store has.
///
/// # Errors
/// A record is of a form that this program does not know. Nothing has changed in the store then.
pub(crate) fn load(shared: &Shared) -> Result<(), InvalidRecord> {
    let Some(durable) = &shared.durable else { return Ok(()) };
    let mut load = Load {
        shared,
        durable,
        now: shared.clock.now(),
        sessions: FxHashMap::default(),
        by_client_id: FxHashMap::default(),
        last_number: 0,
        changes: Changes::default(),
    };
    load.sessions()?;
    load.subscriptions()?;
    load.incoming()?;
    load.outgoing()?;
    load.wills()?;
    load.retained()?;
    load.orphans();
    load.finish();
    Ok(())
}

impl Load<'_> {
    fn sessions(&mut self) -> Result<(), InvalidRecord> {
        each(&self.durable.store, SESSIONS, |key, value| {
            let record = SessionRecord::decode(value)?;
            let client_id = ByteString::try_from(key.clone()).ok()?;
            self.session(&client_id, record);
            Some(())
        })
    }

    fn session(&mut self, client_id: &ByteString, record: SessionRecord) {
        let SessionRecord { number, username, expiry_s, away } = record;
        self.last_number = self.last_number.max(number);
        let mut stored = StoredQueue::new();
        if let Some(status) = self.durable.store.queue_status(super::queue_of(number)) {
            stored.restart(status);
        }
        let session = self.new_session(client_id, username, Some(number), Some(stored));
        let elapsed_ms = away.and_then(|away| self.durable.elapsed_ms(away.at_wall_ms, self.now));
        let left_s = match (away, elapsed_ms) {
            (Some(away), Some(ms)) => {
                away.left_s.saturating_sub(u32::try_from(ms / 1_000).unwrap_or(u32::MAX))
            }
            (Some(away), None) => away.left_s,
            (None, _) => expiry_s,
        };
        if expiry_s != u32::MAX {
            let ends_at_ms = self.now.monotonic_ms.saturating_add(u64::from(left_s) * 1_000);
            session.state.lock().ends_at_ms = Some(ends_at_ms);
        }
        if elapsed_ms.is_none() {
            // From now on its time runs, as far as anybody can know.
            let away = Away { left_s, at_wall_ms: self.now.wall_ms };
            let record = session.record(number, expiry_s, Some(away));
            self.changes.put_session(&session.client_id, &record);
        }
        self.sessions.insert(number, session.clone());
        self.by_client_id.insert(session.client_id.clone(), session);
    }

    fn new_session(
        &self,
        client_id: &ByteString,
        username: Option<ByteString>,
        number: Option<u64>,
        stored: Option<StoredQueue>,
    ) -> Arc<Session> {
        let is_local = client_id.starts_with(LOCAL_PREFIX);
        // Whoever comes says what it accepts.
        let receiver = Receiver { version: Version::V5, packet_bytes_max: PACKET_BYTES_MAX, is_local };
        let mut mailbox = Mailbox::new(self.shared.options.queue, receiver);
        mailbox.stored = stored.map(Box::new);
        let key = self.shared.sessions.next_key();
        Session::new(key, crate::compact(client_id), username, number, mailbox)
    }

    fn subscriptions(&mut self) -> Result<(), InvalidRecord> {
        let mut router = self.shared.router.write();
        each(&self.durable.store, SUBSCRIPTIONS, |key, value| {
            let (number, filter) = SubscriptionRecord::of_key(key)?;
            let SubscriptionRecord { options, id } = SubscriptionRecord::decode(value)?;
            let Some(session) = self.sessions.get(&number) else {
                self.last_number = self.last_number.max(number);
                self.changes.delete(SUBSCRIPTIONS, key.clone());
                return Some(());
            };
            router.restore(session, NewSubscription { filter: &filter, options, id, only: None });
            session.state.lock().filters.insert(filter, id);
            Some(())
        })
    }

    fn incoming(&mut self) -> Result<(), InvalidRecord> {
        each(&self.durable.store, INCOMING, |key, value| {
            let (number, packet_id) = of_incoming(key, value)?;
            match self.sessions.get(&number) {
                Some(session) => {
                    session.state.lock().exchanges.incoming.restore(IncomingId::from_stored(packet_id));
                }
                None => {
                    self.last_number = self.last_number.max(number);
                    self.changes.delete(INCOMING, key.clone());
                }
            }
            Some(())
        })
    }

    fn outgoing(&mut self) -> Result<(), InvalidRecord> {
        each(&self.durable.store, OUTGOING, |key, value| {
            let (number, position) = of_outgoing_key(key)?;
            let record = OutgoingRecord::decode(value)?;
            let session = self.sessions.get(&number);
            self.last_number = self.last_number.max(number);
            let is_kept = session.is_some_and(|session| {
                let mut mailbox = session.mailbox.lock();
                mailbox.stored.as_mut().is_some_and(|stored| stored.restore(position, record))
            });
            match session.filter(|_| is_kept) {
                Some(session) => session.state.lock().is_unread |= record.stage != KeptStage::Finished,
                None => self.changes.delete(OUTGOING, key.clone()),
            }
            Some(())
        })
    }

    fn wills(&mut self) -> Result<(), InvalidRecord> {
        each(&self.durable.store, WILLS, |key, value| {
            let WillRecord { testament, due_wall_ms } = WillRecord::decode(value)?;
            let client_id = ByteString::try_from(key.clone()).ok()?;
            let grace_ms = u64::try_from(self.shared.options.will_grace.as_millis()).unwrap_or(u64::MAX);
            let known = self.by_client_id.get(&client_id);
            // Without a session there is nothing that a delay could be waited out in.
            let asked_ms = if known.is_some() { u64::from(testament.delay_s) * 1_000 } else { 0 };
            // The connection of a client that was there has ended with the broker: its delay begins now.
            let left_ms =
                due_wall_ms.map_or(asked_ms, |due| due.saturating_sub(self.now.wall_ms).min(asked_ms));
            let at_ms = self.now.monotonic_ms.saturating_add(left_ms.max(grace_ms));
            let session = match known {
                Some(session) => session.clone(),
                None => {
                    let session = self.new_session(&client_id, None, None, None);
                    let mut state = session.state.lock();
                    state.is_ghost = true;
                    state.ends_at_ms = Some(at_ms);
                    drop(state);
                    self.by_client_id.insert(session.client_id.clone(), session.clone());
                    session
                }
            };
            let mut state = session.state.lock();
            state.has_stored_will = true;
            let waits_for_client = due_wall_ms.is_none();
            state.will = Some(PendingWill { at_ms, will: Arc::new(testament), waits_for_client });
            Some(())
        })
    }

    fn retained(&mut self) -> Result<(), InvalidRecord> {
        let router = self.shared.router.read();
        let mut retained = router.retained.lock();
        each(&self.durable.store, RETAINED, |key, value| {
            let message = self.durable.recall(&Message::from_stored(value)?);
            if message.is_expired(self.now) {
                self.changes.delete(RETAINED, key.clone());
            } else {
                let topic = std::str::from_utf8(key).ok()?;
                retained.keep(topic, message, usize::MAX);
            }
            Some(())
        })
    }

    /// Takes queues out that belong to no session.
    fn orphans(&mut self) {
        for queue in self.durable.store.queues() {
            let number = queue / QUEUES;
            if queue % QUEUES == 0 && !self.sessions.contains_key(&number) {
                self.last_number = self.last_number.max(number);
                self.changes.remove_queue(queue);
            }
        }
    }

    fn finish(mut self) {
        self.durable.begin_numbers_after(self.last_number);
        self.shared.commit_lazily(&mut self.changes);
        for session in self.by_client_id.values() {
            self.shared.settle(session);
            self.shared.remind(session);
        }
        self.shared.sessions.add(self.by_client_id.into_values());
    }
}

/// Calls `f` with every record of a table; it refuses one by returning `None`.
fn each(
    store: &Store,
    table: u32,
    mut f: impl FnMut(&Bytes, &Bytes) -> Option<()>,
) -> Result<(), InvalidRecord> {
    let mut after: Option<Bytes> = None;
    loop {
        let page = store.scan(table, after.as_deref(), PAGE);
        for (key, value) in &page {
            f(key, value)
                .ok_or_else(|| InvalidRecord { table, key: String::from_utf8_lossy(key).into_owned() })?;
        }
        match page.last() {
            Some((last, _)) => after = Some(last.clone()),
            None => return Ok(()),
        }
    }
}
