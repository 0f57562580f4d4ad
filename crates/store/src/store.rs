//! The store as its users hold it.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::batch::Batch;
use crate::disk::{Disk, FileName, SimulatedDisk};
use crate::error::Error;
use crate::options::Options;
use crate::shared::{Pending, Read, Shared};
use crate::ticket::{self, Ticket};
use crate::writer::Writer;

/// Entries of a table that [`Store::scan`] looks up in one moment; few in the store's own tests.
pub const SCANNED_AT_ONCE: usize = if cfg!(test) { 3 } else { 1_024 };

/// A durable store.
///
/// What it says about tables and queues at once, without a ticket, waits for no disk: at most for some hundred records
/// that are being applied. So it may show a part of a commit whose ticket has not answered yet.
///
/// Clones are handles of the same one; the last that is dropped closes it and waits for its writer.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// The writer's thread, until somebody waits for its end; none if the writer is driven by hand.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A batch that is durable, or [`written`](Batch::written).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The frame it stands in; several batches may share one.
    pub sequence: u64,
    /// The position of each target of each publish, in the order in which they were added.
    pub positions: Vec<u64>,
}

/// An entry of a queue with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its position in the queue.
    pub position: u64,
    /// The byte that was given with the target.
    pub flags: u8,
    /// The message, in memory of its own.
    pub message: Bytes,
}

/// How a queue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Everything before this position is consumed.
    pub head: u64,
    /// The position that the next message will have.
    pub next: u64,
    /// How many entries wait.
    pub waiting: u64,
}

/// Whether the store takes batches.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum State {
    /// It does.
    #[default]
    Open,
    /// The disk is full: only essential ones. It ends by itself when a commit finds room for the reserve
    /// again.
    Full,
    /// Something failed that makes memory and disk differ. Open the store again.
    Poisoned(Error),
}

/// What the store has done since it was opened, and what it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches that were committed.
    pub batches: u64,
    /// Frames that were written.
    pub frames: u64,
    /// Syncs of frames: one each, but for those that hold only written batches.
    pub syncs: u64,
    /// Bytes of frames, in all, with those of messages that were copied forward.
    pub frame_bytes: u64,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// Bytes of checkpoints, in all.
    pub checkpoint_bytes: u64,
    /// Segments that were removed.
    pub segments_removed: u64,
    /// Messages that were copied forward.
    pub messages_moved: u64,
    /// Bytes of the frames that did so.
    pub moved_bytes: u64,
    /// Everything that was written to the disk, in bytes: frames, checkpoints, and the headers of segments.
    pub written_bytes: u64,
    /// What the store takes on the disk now, in bytes, its reserve included.
    pub disk_bytes: u64,
    /// What of that is the reserve: 0 while it is given back because the disk is full, or when there is to be none.
    pub reserve_bytes: u64,
    /// Segments that could not be copied forward because something in them is damaged.
    pub segments_damaged: u64,
}

impl Store {
    /// Opens a store with a thread of its own that does all that blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] when what was synced has changed; [`Error::Io`] when the disk fails or the thread
    /// cannot be started.
    pub fn open(disk: impl Disk, options: Options) -> Result<Self, Error> {
        let (store, writer) = Self::open_driven(disk, options)?;
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| Error::failed("starting the writer of", FileName::Segment(1), error))?;
        *store.inner.thread.lock() = Some(thread);
        Ok(store)
    }

    /// Opens a store whose writer the caller drives, by [`Writer::turn`]: for simulation.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_driven(disk: impl Disk, options: Options) -> Result<(Self, Writer), Error> {
        let shared = Arc::new(Shared::default());
        let writer = Writer::open(Box::new(disk), options, Arc::clone(&shared))?;
        Ok((Self { inner: Arc::new(Inner { shared, thread: Mutex::new(None) }) }, writer))
    }

    /// Opens a store that ends with its last handle: same behaviour, and no file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the writer's thread cannot be started.
    pub fn in_memory(options: Options) -> Result<Self, Error> {
        Self::open(SimulatedDisk::new(), options)
    }

    /// Hands a batch to the writer; the ticket answers when it is durable, or written if that is enough for it.
    ///
    /// Batches are committed in the order of the calls.
    ///
    /// # Errors
    ///
    /// The ticket answers [`Error::TooLarge`], [`Error::Full`], [`Error::Poisoned`] or [`Error::Closed`] when
    /// nothing of the batch was kept, and [`Error::Io`] when the commit itself failed: then only the next
    /// opening knows.
    pub fn commit(&self, batch: Batch) -> Ticket<Committed> {
        let (promise, ticket) = ticket::pair();
        if let Err(error) = batch.check() {
            promise.answer(Err(error));
            return ticket;
        }
        self.inner.shared.commit(Pending { batch, promise });
        ticket
    }

    /// Consumes everything in a queue before a position, some time soon: nobody waits, and a crash may forget
    /// it.
    pub fn consume(&self, queue: u64, position: u64) {
        self.inner.shared.consume(queue, position);
    }

    /// Reads entries of a queue that are committed, in order, from a position on or the first after it that
    /// waits.
    ///
    /// At most `count_max` of them, and no further one once they hold `bytes_max` bytes; none when none
    /// waits.
    ///
    /// # Errors
    ///
    /// The ticket answers [`Error::Corrupt`] when the first of them is damaged (consume it to get on), or why
    /// the disk or the store refuses.
    pub fn read(&self, queue: u64, from: u64, count_max: usize, bytes_max: usize) -> Ticket<Vec<Waiting>> {
        let (promise, ticket) = ticket::pair();
        self.inner.shared.read(Read { queue, from, count_max, bytes_max, promise });
        ticket
    }

    /// Returns a reader that goes through a queue from its head on.
    #[must_use]
    pub fn queue(&self, id: u64) -> Queue {
        let position = self.queue_status(id).map_or(0, |status| status.head);
        Queue { store: self.clone(), id, position }
    }

    /// Returns how a queue stands, or `None` if there is none.
    #[must_use]
    pub fn queue_status(&self, id: u64) -> Option<QueueStatus> {
        let index = self.inner.shared.index.read();
        let queue = index.queues.get(&id)?;
        Some(QueueStatus { head: queue.head, next: queue.next, waiting: queue.waiting() })
    }

    /// Returns the queues there are, in the order of their numbers.
    #[must_use]
    pub fn queues(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.inner.shared.index.read().queues.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Returns the value of a key, as far as it is committed.
    #[must_use]
    pub fn value(&self, table: u32, key: &[u8]) -> Option<Bytes> {
        self.inner.shared.index.read().tables.get(&table)?.get(key).cloned()
    }

    /// Returns entries of a table in the order of their keys, at most so many, behind a key or from the
    /// first.
    ///
    /// Beyond [`SCANNED_AT_ONCE`] it is not one moment that it shows: a commit may come between.
    #[must_use]
    pub fn scan(&self, table: u32, after: Option<&[u8]>, count_max: usize) -> Vec<(Bytes, Bytes)> {
        let mut found = Vec::new();
        loop {
            let wanted = SCANNED_AT_ONCE.min(count_max - found.len());
            let last = found.last().map(|(key, _): &(Bytes, Bytes)| key.clone());
            let some = self.scan_once(table, last.as_deref().or(after), wanted);
            let is_over = some.len() < SCANNED_AT_ONCE;
            found.extend(some);
            if is_over {
                return found;
            }
        }
    }

    fn scan_once(&self, table: u32, after: Option<&[u8]>, count_max: usize) -> Vec<(Bytes, Bytes)> {
        let index = self.inner.shared.index.read();
        let Some(entries) = index.tables.get(&table) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = entries.range::<[u8], _>((from, Bound::Unbounded));
        range.take(count_max).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Returns the sequence of the last frame that is durable.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.inner.shared.watermark.load(Ordering::Acquire)
    }

    /// Returns whether the store takes batches.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.shared.state()
    }

    /// Returns what the store has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// Closes the store: what was handed in before is committed, later calls are refused. Blocks until the
    /// writer has ended.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.close();
        let thread = self.thread.lock().take();
        // A waiter that the writer wakes may drop the last handle on the writer's own thread.
        if let Some(thread) = thread.filter(|other| other.thread().id() != thread::current().id()) {
            // A writer that panicked has left its promises, and they have answered.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// A reader of one queue. It remembers where it is; the store remembers what is consumed.
#[derive(Debug)]
pub struct Queue {
    store: Store,
    id: u64,
    position: u64,
}

/// What [`Queue::next`] reads at most, in bytes of messages: 1 MiB.
pub const NEXT_BYTES_MAX: usize = 1 << 20;

impl Queue {
    /// Returns the next entries, at most so many and about [`NEXT_BYTES_MAX`]; none when none waits now.
    ///
    /// # Errors
    ///
    /// As [`Store::read`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has not moved on.
    pub async fn next(&mut self, count_max: usize) -> Result<Vec<Waiting>, Error> {
        let entries = self.store.read(self.id, self.position, count_max, NEXT_BYTES_MAX).await?;
        if let Some(last) = entries.last() {
            self.position = last.position + 1;
        }
        Ok(entries)
    }

    /// Consumes everything before a position, as [`Store::consume`].
    pub fn consume(&self, position: u64) {
        self.store.consume(self.id, position);
    }
}
