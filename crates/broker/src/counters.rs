use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one worker counts. Only its own thread writes, so that counting costs no contention.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) messages_received: AtomicU64,
    pub(crate) messages_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) connections_accepted: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) connections_closed: AtomicU64,
    pub(crate) dropped_queue_full: AtomicU64,
    pub(crate) dropped_expired: AtomicU64,
    pub(crate) dropped_too_large: AtomicU64,
    pub(crate) dropped_not_authorized: AtomicU64,
    pub(crate) dropped_receiver_gone: AtomicU64,
    pub(crate) dropped_unsubscribed: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Relaxed);
}

/// What the broker has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections that are open now, with or without a session.
    pub connections: u64,
    /// Sessions that exist now, online or not.
    pub sessions: u64,
    /// Subscriptions that exist now, shared ones included.
    pub subscriptions: u64,
    /// Retained messages that are kept now, without those under `$SYS/` in which the broker tells of itself.
    pub retained_messages: u64,
    /// Sessions that are kept in the store, online or not.
    pub stored_sessions: u64,
    /// Messages that wait in the store for those sessions and have not been handed to their clients.
    pub stored_messages: u64,
    /// Batches that the broker has committed to the store.
    pub commits: u64,
    /// PUBLISH packets that came in.
    pub messages_received: u64,
    /// Messages that were handed to clients, those without a socket included.
    pub messages_sent: u64,
    /// Bytes that came in.
    pub bytes_received: u64,
    /// Bytes that went out.
    pub bytes_sent: u64,
    /// Clients that were let in.
    pub connections_accepted: u64,
    /// Clients that were refused.
    pub connections_refused: u64,
    /// Messages that were dropped because a session's queue was full, or the table of retained messages.
    pub dropped_queue_full: u64,
    /// Messages that were dropped because they had expired.
    pub dropped_expired: u64,
    /// Messages that were dropped because the receiver does not accept packets so large.
    pub dropped_too_large: u64,
    /// Messages that were dropped because their publisher may not publish there.
    pub dropped_not_authorized: u64,
    /// Messages that were dropped because their receiver left before it took them, or its session ended.
    pub dropped_receiver_gone: u64,
    /// Messages that were dropped because their receiver unsubscribed before it took them.
    pub dropped_unsubscribed: u64,
}

impl Statistics {
    pub(crate) fn add(&mut self, counters: &Counters) {
        self.messages_received += counters.messages_received.load(Relaxed);
        self.messages_sent += counters.messages_sent.load(Relaxed);
        self.bytes_received += counters.bytes_received.load(Relaxed);
        self.bytes_sent += counters.bytes_sent.load(Relaxed);
        self.connections_accepted += counters.connections_accepted.load(Relaxed);
        self.connections_refused += counters.connections_refused.load(Relaxed);
        self.dropped_queue_full += counters.dropped_queue_full.load(Relaxed);
        self.dropped_expired += counters.dropped_expired.load(Relaxed);
        self.dropped_too_large += counters.dropped_too_large.load(Relaxed);
        self.dropped_not_authorized += counters.dropped_not_authorized.load(Relaxed);
        self.dropped_receiver_gone += counters.dropped_receiver_gone.load(Relaxed);
        self.dropped_unsubscribed += counters.dropped_unsubscribed.load(Relaxed);
    }
}
