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
}

/// A Will that is to be published unless its client comes back.
#[derive(Debug)]
pub(crate) struct PendingWill {
    pub(crate) at_ms: u64,
    pub(crate) will: Box<Will>,
}

impl Session {
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
