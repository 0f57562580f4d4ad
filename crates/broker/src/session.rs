use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use crosspoint_protocol::{
    TopicFilter,
    session::{SessionState, Token},
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::{
    durable::{Away, Commit, SessionRecord, queue_of},
    mailbox::Mailbox,
    will::Testament,
};

/// Names a session within one run of the broker.
pub(crate) type SessionKey = u64;

/// What the broker knows of one client, for as long as either its connection or its session lasts.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) client_id: ByteString,
    pub(crate) username: Option<ByteString>,
    /// Its number in the store, if it is durable; that does not change as long as it lives.
    pub(crate) number: Option<u64>,
    pub(crate) state: Mutex<Parked>,
    pub(crate) mailbox: Mutex<Mailbox>,
}

/// What of a session is not needed to deliver to it. Locked before the router and before the mailbox.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// The unfinished exchanges, while no connection has them.
    pub(crate) exchanges: SessionState,
    /// The filters of its Subscriptions, each with its Subscription Identifier; 0 is none.
    pub(crate) filters: FxHashMap<TopicFilter, u32>,
    /// A Will whose delay runs.
    pub(crate) will: Option<PendingWill>,
    /// When the session ends, on the monotonic clock, while it is offline.
    pub(crate) ends_at_ms: Option<u64>,
    /// For when the schedule has a reminder.
    pub(crate) reminder_ms: Option<u64>,
    /// Incoming messages at QoS 2 whose batch was on its way when their connection ended.
    pub(crate) undecided: Vec<(Token, Arc<Commit>)>,
    /// Whether the store has a Will of this client.
    pub(crate) has_stored_will: bool,
    /// Whether it only stands for a Will from before a restart: its client's next session is a new one.
    pub(crate) is_ghost: bool,
    /// Whether what was in flight before a restart is still to be read.
    pub(crate) is_unread: bool,
}

impl Parked {
    /// Returns when something comes due next.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        let will_at_ms = self.will.as_ref().map(|pending| pending.at_ms);
        [will_at_ms, self.ends_at_ms].into_iter().flatten().min()
    }
}

/// A Will that is to be published unless its client comes back.
#[derive(Debug)]
pub(crate) struct PendingWill {
    pub(crate) at_ms: u64,
    pub(crate) will: Arc<Testament>,
    /// Whether it waits because the broker went, not the client: one that comes back lets it be forgotten.
    pub(crate) waits_for_client: bool,
}

/// Begins the identifiers of clients without a socket. No CONNECT can have it, so no device takes one of them over
/// or stands in its way.
pub(crate) const LOCAL_PREFIX: char = '\0';

impl Session {
    /// Returns the client's identifier as it may be shown.
    pub(crate) fn name(&self) -> &str {
        self.client_id.trim_start_matches(LOCAL_PREFIX)
    }

    /// Tells whether its client has no socket.
    pub(crate) fn is_local(&self) -> bool {
        self.client_id.starts_with(LOCAL_PREFIX)
    }

    /// Returns its key in the tables that go by client identifier.
    pub(crate) fn store_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.client_id.as_bytes())
    }

    /// Returns what the store keeps of it under its number.
    pub(crate) fn record(&self, number: u64, expiry_s: u32, away: Option<Away>) -> SessionRecord {
        SessionRecord { number, username: self.username.clone(), expiry_s, away }
    }

    /// Returns its queue in the store, if it is durable.
    pub(crate) fn queue(&self) -> Option<u64> {
        self.number.map(queue_of)
    }

    /// Returns how many messages wait in the store, if it is durable.
    pub(crate) fn stored_messages(&self) -> Option<u64> {
        self.mailbox.lock().stored.as_ref().map(|stored| stored.len())
    }

    pub(crate) fn new(
        key: SessionKey,
        client_id: ByteString,
        username: Option<ByteString>,
        number: Option<u64>,
        mailbox: Mailbox,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            client_id,
            username,
            number,
            state: Mutex::new(Parked::default()),
            mailbox: Mutex::new(mailbox),
        })
    }
}
