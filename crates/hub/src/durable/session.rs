//! A connector's own session at a remote broker, kept in the store (C2, C3).
//!
//! It has two writers: the client's engine, which saves what becomes of its exchanges, and the intake, which puts what
//! it accepts into the batch of the message. Both hand their batches to the store under the lock of the rows, so that
//! a session that the server has lost is void for both at once, and rows and log have one order.

use std::sync::Arc;

use crosspoint_client::{PublishResult, SaveReceipt, SessionChange, SessionStore, StoredSession};
use crosspoint_protocol::PacketId;
use crosspoint_store::{Batch, Committed, Ticket};
use parking_lot::Mutex;

use super::receipts::Receipts;
use super::restoring::{self, Loaded};
use super::rows::{NO_POSITION, Rows, Urgency};
use super::storage::Storage;
use super::{SUBSCRIPTIONS, key};
use crate::config::plan::Durability;
use crate::outbox::{Outbox, Restored};

pub(crate) use super::restoring::Identity;

/// How many finished exchanges may wait for the next batch that somebody waits for.
const LAZY_MAX: usize = 256;

/// The session of one connector, while it has a connection or tries to have one. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    storage: Storage,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    rows: Rows,
    /// What nobody waits for; it goes with the next batch.
    lazy: Batch,
    lazy_saves: usize,
}

/// A message at QoS 2 that was accepted: on which connection it came, and its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) connection: u64,
    pub(crate) id: PacketId,
}

/// The store of a client's session.
#[derive(Debug)]
struct Keeper {
    session: Session,
    number: u64,
    identity: Identity,
    stored: Option<StoredSession>,
    receipts: Receipts,
    outbox: Outbox,
    durability: Durability,
}

/// What a client needs to go on with a session.
pub(crate) struct Opened<T> {
    pub(crate) session: Session,
    pub(crate) store: Box<dyn SessionStore>,
    /// What the client goes on with by itself, for the pump.
    pub(crate) restored: Vec<Restored>,
    /// Tells the client what has become durable. It ends after the client.
    pub(crate) receipts: T,
}

impl Session {
    /// Reads the session of a connector back.
    ///
    /// # Errors
    /// The store refuses, or a row is of a form that this program does not know.
    pub(crate) async fn open(
        storage: &Storage,
        number: u64,
        identity: Identity,
        durability: Durability,
        outbox: Outbox,
    ) -> Result<Opened<impl Future<Output = ()> + Send + use<>>, String> {
        let Loaded { rows, stored, restored } = restoring::load(storage.store(), number, &identity).await?;
        let kept = Kept { rows, lazy: Batch::new(), lazy_saves: 0 };
        let session = Self { storage: storage.clone(), kept: Arc::new(Mutex::new(kept)) };
        let (receipts, task) = Receipts::new(storage.clone());
        let keeper = Keeper {
            session: session.clone(),
            number,
            identity,
            stored: Some(stored),
            receipts,
            outbox,
            durability,
        };
        Ok(Opened { session, store: Box::new(keeper), restored, receipts: task })
    }

    /// Commits a batch together with the identifiers of the messages that it accepts.
    pub(crate) fn commit(&self, mut batch: Batch, offered: &[Offered]) -> Ticket<Committed> {
        let mut kept = self.kept.lock();
        for Offered { connection, id } in offered {
            kept.rows.accept(*connection, *id, &mut batch);
        }
        self.storage.store().commit(batch)
    }

    /// Writes down what nobody waited for.
    pub(crate) async fn flush(&self) {
        let mut lazy = self.kept.lock().take_lazy();
        lazy.essential();
        if let Err(error) = self.storage.store().commit(lazy).await {
            self.storage.note(&error);
        }
    }
}

impl Kept {
    fn take_lazy(&mut self) -> Batch {
        self.lazy_saves = 0;
        std::mem::take(&mut self.lazy)
    }
}

impl SessionStore for Keeper {
    fn load(&mut self) -> Result<StoredSession, String> {
        Ok(self.stored.take().unwrap_or_default())
    }

    fn save(&mut self, changes: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt> {
        let kept = &mut *self.session.kept.lock();
        let mut batch = std::mem::take(&mut kept.lazy);
        let mut is_awaited = false;
        for change in changes {
            is_awaited |=
                self.change(&mut kept.rows, change, receipt.connection(), &mut batch) == Urgency::Awaited;
        }
        kept.lazy_saves += 1;
        if !is_awaited && kept.lazy_saves < LAZY_MAX {
            kept.lazy = batch;
        } else if !batch.is_empty() {
            kept.lazy_saves = 0;
            kept.rows.forget_before(self.outbox.head(), &mut batch);
            batch.essential();
            if self.durability == Durability::Written {
                batch.written();
            }
            let ticket = self.session.storage.store().commit(batch);
            self.receipts.hand_in(Some(ticket), receipt);
            return None;
        }
        if self.receipts.is_idle() {
            return Some(receipt);
        }
        self.receipts.hand_in(None, receipt);
        None
    }

    fn ended(&mut self, cookie: u64, outcome: PublishResult) {
        if cookie < NO_POSITION {
            self.outbox.restored_ended(cookie, outcome);
        }
    }
}

impl Keeper {
    /// Outgoing exchanges do not outlive the process when their messages do not.
    fn change(&self, rows: &mut Rows, change: SessionChange, connection: u64, batch: &mut Batch) -> Urgency {
        use crosspoint_client::Delta::{Assigned, Finished, Received};
        match change {
            SessionChange::Subscriptions(subscriptions) => {
                batch.put(SUBSCRIPTIONS, key(self.number, []), self.identity.row(&subscriptions));
                Urgency::Awaited
            }
            SessionChange::Exchange(Assigned { .. } | Received { .. } | Finished { .. })
                if self.durability == Durability::Memory =>
            {
                Urgency::Lazy
            }
            change => rows.change(change, connection, batch),
        }
    }
}
