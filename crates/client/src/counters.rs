use std::sync::atomic::{AtomicU64, Ordering};

/// What a client has counted since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Publications that the engine took.
    pub accepted: u64,
    /// Publications that the server confirmed, or that were handed to the system at QoS 0.
    pub confirmed: u64,
    /// Publications that were refused, expired, or could not be sent to this server.
    pub refused: u64,
    /// Publications that were published anew because the server lost the session.
    pub published_anew: u64,
    /// Messages that came.
    pub received: u64,
    /// Copies of a message for further matching filters, accepted and not delivered.
    pub duplicates: u64,
    /// Messages at QoS 0 that were dropped because the delivery queue was full.
    pub dropped_full: u64,
    /// Deliveries that were offered again because their `Ack` was dropped.
    pub offered_again: u64,
    /// How often the client was connected.
    pub connected: u64,
}

/// The counters while they run.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) accepted: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) published_anew: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) dropped_full: AtomicU64,
    pub(crate) offered_again: AtomicU64,
    pub(crate) connected: AtomicU64,
}

impl Running {
    pub(crate) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            accepted: read(&self.accepted),
            confirmed: read(&self.confirmed),
            refused: read(&self.refused),
            published_anew: read(&self.published_anew),
            received: read(&self.received),
            duplicates: read(&self.duplicates),
            dropped_full: read(&self.dropped_full),
            offered_again: read(&self.offered_again),
            connected: read(&self.connected),
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    // Only the engine writes, so a load and a store do, without a locked instruction.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
