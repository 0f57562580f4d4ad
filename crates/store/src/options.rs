//! How large things may get.

use std::time::Duration;

/// Options of a store, each with a default that suits a gateway as well as a server.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) segment_bytes: u64,
    pub(crate) room_bytes: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) reserve_bytes: u64,
    pub(crate) consume_delay: Duration,
    pub(crate) written_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            room_bytes: 1 << 20,
            frame_bytes: 4 << 20,
            reserve_bytes: 64 << 20,
            consume_delay: Duration::from_secs(1),
            written_delay: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the size at which a new segment begins, in bytes: 4 KiB to 1 GiB, default 64 MiB.
    ///
    /// Smaller ones free disk sooner; each costs two syncs and a checkpoint.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.clamp(4 << 10, 1 << 30);
        self
    }

    /// Sets in what pieces the last segment takes room on the disk before it is written to, in bytes: default 1 MiB, 0 for
    /// none.
    ///
    /// A sync that need not make a new length durable takes about two thirds of the time. What is not written to is given
    /// back when the store is closed.
    #[must_use]
    pub fn room_bytes(mut self, bytes: u64) -> Self {
        self.room_bytes = bytes;
        self
    }

    /// Sets the size at which a frame takes no more batches, in bytes: 4 KiB to 256 MiB, default 4 MiB.
    ///
    /// A larger frame shares its sync among more batches and lets each wait longer.
    #[must_use]
    pub fn frame_bytes(mut self, bytes: u64) -> Self {
        self.frame_bytes = bytes.clamp(4 << 10, 256 << 20);
        self
    }

    /// Sets what is kept allocated for a full disk, in bytes: default 64 MiB, 0 for none.
    ///
    /// It must hold a checkpoint, or a full disk may stay full: see `docs/formats/log.md`.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Sets how long a consumption that nobody waits for may stay in memory only: default 1 s.
    #[must_use]
    pub fn consume_delay(mut self, delay: Duration) -> Self {
        self.consume_delay = delay;
        self
    }

    /// Sets how long a batch that is [`written`](crate::Batch::written) may go without a sync: default 1 s.
    ///
    /// A power cut loses at most what was committed so within this time.
    #[must_use]
    pub fn written_delay(mut self, delay: Duration) -> Self {
        self.written_delay = delay;
        self
    }
}
