//! What a caller wants changed, all of it or nothing.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::error::Error;

/// What one batch may take in a frame, in bytes: 512 MiB.
pub const BATCH_BYTES_MAX: u64 = 512 << 20;

/// Changes that are committed as one: after a crash either all of them are there or none.
///
/// They take effect in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) is_essential: bool,
    pub(crate) is_written: bool,
    bytes: u64,
}

/// One change of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Publish { message: Bytes, targets: SmallVec<[(u64, u8); 2]> },
    Put { table: u32, key: Bytes, value: Bytes },
    Delete { table: u32, key: Bytes },
    Consume { queue: u64, position: u64 },
    Remove { queue: u64 },
}

impl Batch {
    /// Makes a batch that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a message to queues, each with a byte of flags; the message is stored once. The first append
    /// makes a queue.
    ///
    /// Without a target nothing is stored.
    pub fn publish(&mut self, message: Bytes, targets: impl IntoIterator<Item = (u64, u8)>) -> &mut Self {
        let targets: SmallVec<_> = targets.into_iter().collect();
        // A record's header, checksum and count, and at most 21 bytes a target.
        self.bytes += 19 + message.len() as u64 + 21 * targets.len() as u64;
        if !targets.is_empty() {
            self.changes.push(Change::Publish { message, targets });
        }
        self
    }

    /// Sets the value of a key in a table. Tables are kept in memory as a whole.
    pub fn put(&mut self, table: u32, key: Bytes, value: Bytes) -> &mut Self {
        self.bytes += 20 + key.len() as u64 + value.len() as u64;
        self.changes.push(Change::Put { table, key, value });
        self
    }

    /// Removes a key from a table, if it is there.
    pub fn delete(&mut self, table: u32, key: Bytes) -> &mut Self {
        self.bytes += 10 + key.len() as u64;
        self.changes.push(Change::Delete { table, key });
        self
    }

    /// Consumes everything in a queue before a position. A position that is behind what is consumed changes
    /// nothing.
    pub fn consume(&mut self, queue: u64, position: u64) -> &mut Self {
        self.bytes += 25;
        self.changes.push(Change::Consume { queue, position });
        self
    }

    /// Removes a queue and everything in it. An append makes it anew, with positions from 0.
    pub fn remove_queue(&mut self, queue: u64) -> &mut Self {
        self.bytes += 15;
        self.changes.push(Change::Remove { queue });
        self
    }

    /// Lets the batch use the reserve when the disk is full: for what records that something was consumed or
    /// confirmed.
    ///
    /// Default: it may not.
    pub fn essential(&mut self) -> &mut Self {
        self.is_essential = true;
        self
    }

    /// Adds the changes of another batch behind those that are there. Whether it is essential stays as it is.
    pub fn append(&mut self, mut other: Self) -> &mut Self {
        self.bytes += other.bytes;
        self.changes.append(&mut other.changes);
        self
    }

    /// Returns how many positions its commit will tell.
    #[must_use]
    pub fn targets(&self) -> usize {
        let targets = |change: &Change| match change {
            Change::Publish { targets, .. } => targets.len(),
            _ => 0,
        };
        self.changes.iter().map(targets).sum()
    }

    /// Lets the batch be confirmed once it is written, without a sync of its own: the end of the process does not lose
    /// it, a power cut may.
    ///
    /// It is synced with the next batch that is not so, or after [`Options::written_delay`](crate::Options). If one
    /// that is not so stands in the same frame, it is confirmed after that one's sync.
    ///
    /// Default: it is synced first.
    pub fn written(&mut self) -> &mut Self {
        self.is_written = true;
        self
    }

    /// Returns whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns an upper bound of what it takes in a frame.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.bytes > BATCH_BYTES_MAX {
            return Err(Error::TooLarge { bytes: self.bytes, bytes_max: BATCH_BYTES_MAX });
        }
        Ok(())
    }
}
