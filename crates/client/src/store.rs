//! The seam to a store in which the session outlives the process (C2, C3).

use std::{fmt, sync::Arc};

use crosspoint_protocol::{
    TopicFilter,
    connection::Delta,
    packet::SubscriptionOptions,
    session::{IncomingId, Outgoing, OutgoingId, Stage},
};

use crate::{PublishResult, shared::Shared};

/// The cookie in a [`Delta`] of a message that was published without one, by [`Client::publish`](crate::Client::publish).
pub const NO_COOKIE: u64 = u64::MAX;

/// A change of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// An exchange went on. Its cookie is that of the publication.
    ///
    /// `Delta::Offered` never comes this way: it travels with its [`Delivery`](crate::Delivery), so that it can join
    /// the batch that stores the message.
    Exchange(Delta),
    /// The subscriptions that the server may have now: all of them, in the place of those before.
    Subscriptions(Vec<StoredSubscription>),
    /// The server had no session: every exchange in the store is void. Unfinished publications get new identifiers.
    Discarded,
}

/// A subscription that the server may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The filter.
    pub filter: TopicFilter,
    /// Its options.
    pub options: SubscriptionOptions,
    /// Its Subscription Identifier, where one was used.
    pub subscription_id: Option<u32>,
}

/// What a store kept of a session.
#[derive(Debug, Default)]
pub struct StoredSession {
    /// Unfinished publications, oldest identifier first, with their messages and the cookies they were given.
    ///
    /// One with [`NO_COOKIE`] is only brought to its end: when the server has lost the session it is not published anew.
    pub outgoing: Vec<(OutgoingId, Stage, Outgoing)>,
    /// Incoming exchanges at QoS 2 that were accepted and not released.
    pub incoming: Vec<IncomingId>,
    /// The subscriptions that the server may have.
    pub subscriptions: Vec<StoredSubscription>,
}

/// Keeps a session beyond the process.
///
/// Packets that promise something wait until the changes on which they depend are durable.
///
/// The outcome of a publication that was restored by [`load`](Self::load) is told to [`ended`](Self::ended), since whoever
/// published it is gone.
pub trait SessionStore: Send + 'static {
    /// Returns what was kept. It is called once, when the client starts.
    ///
    /// # Errors
    /// What cannot be read, in plain words.
    fn load(&mut self) -> Result<StoredSession, String>;

    /// Takes changes to make durable, in this order and after all that came before.
    ///
    /// Returns the receipt when they are durable already. Otherwise the store keeps it, gives the changes to
    /// whatever batch it likes, and calls [`SaveReceipt::durable`] later, from any thread. A receipt that is dropped
    /// says that saving failed: the connection ends, and the changes are made anew on the next one.
    ///
    /// It must not block: the engine waits for it.
    #[must_use]
    fn save(&mut self, changes: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt>;

    /// Hears how a publication ended that [`load`](Self::load) gave, by its cookie, after its `Delta::Finished` if it has
    /// one. What has no outcome when the client closes is not told.
    fn ended(&mut self, cookie: u64, outcome: PublishResult) {
        let _ = (cookie, outcome);
    }
}

/// Says that changes have been stored; dropped, that they could not be.
pub struct SaveReceipt {
    shared: Option<Arc<Shared>>,
    epoch: u64,
    sequence: u64,
}

impl SaveReceipt {
    pub(crate) const fn new(shared: Arc<Shared>, epoch: u64, sequence: u64) -> Self {
        Self { shared: Some(shared), epoch, sequence }
    }

    /// Returns the number of the connection from which the changes came, as [`Delivery`](crate::Delivery) has it.
    pub const fn connection(&self) -> u64 {
        self.epoch
    }

    /// Says that the changes are durable, and all that came before.
    pub fn durable(mut self) {
        if let Some(shared) = self.shared.take() {
            shared.saved(Saved { epoch: self.epoch, sequence: self.sequence, is_durable: true });
        }
    }

    /// Returns what `durable` would say, without a detour.
    pub(crate) fn into_saved(mut self) -> Saved {
        self.shared = None;
        Saved { epoch: self.epoch, sequence: self.sequence, is_durable: true }
    }
}

impl Drop for SaveReceipt {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.saved(Saved { epoch: self.epoch, sequence: self.sequence, is_durable: false });
        }
    }
}

impl fmt::Debug for SaveReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveReceipt").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// How a save went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The connection from which the changes came.
    pub(crate) epoch: u64,
    /// The number of the last delta among them; 0 if there was none.
    pub(crate) sequence: u64,
    pub(crate) is_durable: bool,
}

/// Keeps nothing: the session lives as long as the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryStore;

impl SessionStore for MemoryStore {
    fn load(&mut self) -> Result<StoredSession, String> {
        Ok(StoredSession::default())
    }

    fn save(&mut self, _changes: Vec<SessionChange>, receipt: SaveReceipt) -> Option<SaveReceipt> {
        Some(receipt)
    }
}
