use std::sync::Arc;

use bytestring::ByteString;
use crosspoint_protocol::{TopicFilter, packet::Will, session::SessionState};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use crate::mailbox::Mailbox;

/// Names a session within one run of the broker.
pub(crate) type SessionKey = u64;

/// What the broker knows of one client, for as long as either its connection or its session lasts.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) client_id: ByteString,
    pub(crate) username: Option<ByteString>,
    pub(crate) state: Mutex<Parked>,
    pub(crate) mailbox: Mutex<Mailbox>,
}

/// What of a session is not needed to deliver to it. Locked before the router and before the mailbox.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// The unfinished exchanges, while no connection has them.
    pub(crate) exchanges: SessionState,
    pub(crate) filters: FxHashSet<TopicFilter>,
    /// A Will whose delay runs.
    pub(crate) will: Option<PendingWill>,
    /// When the session ends, on the monotonic clock, while it is offline.
    pub(crate) ends_at_ms: Option<u64>,
    /// For when the schedule has a reminder.
    pub(crate) reminder_ms: Option<u64>,
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
    pub(crate) will: Box<Will>,
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

    pub(crate) fn new(
        key: SessionKey,
        client_id: ByteString,
        username: Option<ByteString>,
        mailbox: Mailbox,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            client_id,
            username,
            state: Mutex::new(Parked::default()),
            mailbox: Mutex::new(mailbox),
        })
    }
}
