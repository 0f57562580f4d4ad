//! The writer: the one owner of the disk. It turns what has arrived into frames, and answers when they are
//! synced.

mod committing;
mod full;
mod maintenance;
mod room;
mod serving;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::checkpoint::{Covered, Walk};
use crate::disk::{Disk, FileName};
use crate::error::{Damage, Error};
use crate::frame::{self, Frame, Place, SegmentHeader};
use crate::options::Options;
use crate::reading::Reading;
use crate::recovery;
use crate::shared::{Pending, Shared, Work};
use crate::store::{State, Stats};

/// Records that are applied to the index while readers wait.
const APPLIED_MAX: usize = if cfg!(test) { 2 } else { 256 };

/// The writer of a store. [`Store::open`](crate::Store::open) gives it a thread; a simulation calls
/// [`turn`](Self::turn).
///
/// Dropped without [`close`](Self::close) it leaves the disk as a crash would.
#[derive(Debug)]
pub struct Writer {
    disk: Disks,
    options: Options,
    shared: Arc<Shared>,
    /// The last frame.
    sequence: u64,
    /// The last frame that is synced.
    synced: u64,
    segment: u64,
    /// Where the next frame goes.
    offset: u64,
    /// Up to where the last segment has room for frames, if that is behind the last one.
    room_end: u64,
    /// Bytes of the segments before the last.
    sealed_bytes: u64,
    checkpoint: Covered,
    checkpoint_bytes: u64,
    /// Bytes of frames since the last checkpoint.
    logged_bytes: u64,
    /// The next checkpoint, if one is being written.
    walk: Option<Begun>,
    /// What must be logged before another one is tried, because the disk was too full for the last.
    logged_bytes_min: u64,
    is_full: bool,
    /// What was consumed and is not in a frame yet.
    consumed: BTreeMap<u64, u64>,
    reading: Reading,
    /// Segments that are being copied forward, and the bytes of frames when the last piece was.
    copying: Copying,
    /// Segments in which something is damaged, so that they cannot be copied forward.
    damaged: BTreeSet<u64>,
    stats: Stats,
    poison: Option<Error>,
}

/// A disk of any kind.
struct Disks(Box<dyn Disk>);

impl std::fmt::Debug for Disks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Disk")
    }
}

/// A checkpoint that is being written.
#[derive(Debug)]
struct Begun {
    walk: Walk,
    /// What was logged since the last checkpoint when it began.
    logged_bytes: u64,
}

/// Segments that are being copied forward.
#[derive(Debug, Default)]
struct Copying {
    segments: VecDeque<u64>,
    /// Bytes of all frames after the last piece.
    frame_bytes: u64,
}

/// What a frame needs to be confirmed.
#[derive(Clone, Copy, PartialEq)]
enum Durability {
    Written,
    Synced,
}

/// A frame to be.
struct Draft {
    bytes: Vec<u8>,
    count: u32,
}

impl Draft {
    fn new() -> Self {
        let mut bytes = Vec::new();
        frame::begin(&mut bytes);
        Self { bytes, count: 0 }
    }

    fn add(&mut self, record: impl FnOnce(&mut Vec<u8>)) {
        record(&mut self.bytes);
        self.count += 1;
    }
}

impl Writer {
    pub(crate) fn open(
        mut disk: Box<dyn Disk>,
        options: Options,
        shared: Arc<Shared>,
    ) -> Result<Self, Error> {
        let found = recovery::open(&mut *disk)?;
        shared.watermark.store(found.sequence, Ordering::Release);
        let sealed = found.index.segments.iter().filter(|(number, _)| *number != found.segment);
        let sealed_bytes = sealed.map(|(_, used)| used.bytes).sum();
        *shared.index.write() = found.index;
        let mut writer = Self {
            disk: Disks(disk),
            options,
            shared,
            sequence: found.sequence,
            synced: found.sequence,
            segment: found.segment,
            offset: found.offset,
            room_end: found.offset,
            sealed_bytes,
            checkpoint: found.checkpoint,
            checkpoint_bytes: found.checkpoint_bytes,
            // At least one checkpoint's worth, so that the next new segment brings one.
            logged_bytes: found.checkpoint_bytes,
            walk: None,
            logged_bytes_min: 0,
            is_full: false,
            consumed: BTreeMap::new(),
            reading: Reading::default(),
            copying: Copying::default(),
            damaged: BTreeSet::new(),
            stats: Stats::default(),
            poison: None,
        };
        writer.take_reserve()?;
        writer.tell_stats();
        Ok(writer)
    }

    /// Does what has arrived: answers reads, commits batches and consumption; or, if nothing has, goes on with
    /// maintenance. Returns whether there was anything to do.
    pub fn turn(&mut self) -> bool {
        let work = self.shared.take();
        if work.is_empty() {
            return self.go_on_idly();
        }
        self.perform(work);
        true
    }

    /// Waits until there is something for [`turn`](Self::turn) to do; returns whether the store is still open.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn arrived(&mut self) -> bool {
        poll_fn(|context| self.shared.poll_arrived(context)).await
    }

    /// Syncs what is only written. Returns whether there was anything to sync.
    ///
    /// Whoever drives the writer calls it so that no batch stays [`written`](crate::Batch::written) for longer than it may.
    pub fn sync(&mut self) -> bool {
        let is_due = self.synced < self.sequence && self.poison.is_none();
        if is_due && let Err(error) = self.sync_log() {
            self.fail(Vec::new(), error);
        }
        self.tell_stats();
        is_due
    }

    /// Commits what has arrived, and leaves a frame that vouches for the last one.
    pub fn close(mut self) {
        self.shared.close();
        self.turn();
        self.sync();
        self.abandon_maintenance();
        if self.poison.is_none() && self.sequence > 0 {
            // Best effort: without it the last frame is only less well protected.
            let _ = self.write(Draft::new(), Durability::Synced);
        }
        if self.poison.is_none() {
            // If it stays, opening cuts it off.
            let _ = self.return_room();
        }
    }

    pub(crate) fn run(mut self) {
        let mut sync_at = None;
        loop {
            let until = if self.is_maintaining() { Some(Instant::now()) } else { sync_at };
            let Some(work) = self.shared.wait(self.options.consume_delay, until) else { break };
            if work.is_empty() {
                self.go_on_idly();
            }
            self.perform(work);
            sync_at = self.sync_due(sync_at);
        }
        self.close();
    }

    /// Syncs what is only written when its time has come; returns when that is.
    fn sync_due(&mut self, sync_at: Option<Instant>) -> Option<Instant> {
        if self.synced == self.sequence || self.poison.is_some() {
            return None;
        }
        let now = Instant::now();
        let sync_at = sync_at.unwrap_or(now + self.options.written_delay);
        if now < sync_at {
            return Some(sync_at);
        }
        self.sync();
        None
    }

    fn perform(&mut self, work: Work) {
        for read in work.reads {
            self.serve(read);
        }
        for (queue, position) in work.consumed {
            let consumed = self.consumed.entry(queue).or_default();
            *consumed = position.max(*consumed);
        }
        let mut waiting = work.batches.into_iter().peekable();
        while waiting.peek().is_some() || (!self.consumed.is_empty() && self.poison.is_none()) {
            let mut group = Vec::new();
            let mut bytes = 0;
            while bytes < self.options.frame_bytes
                && let Some(pending) = waiting.next()
            {
                bytes += pending.batch.bytes();
                group.push(pending);
            }
            let is_last = group.is_empty();
            self.commit(group);
            if is_last {
                break;
            }
        }
        self.tell_stats();
    }

    /// Writes a frame, syncs it if it shall be, and applies it.
    fn write(&mut self, mut draft: Draft, durability: Durability) -> Result<(), Error> {
        self.take_room(draft.bytes.len())?;
        let (file, offset) = (FileName::Segment(self.segment), self.offset);
        let place = self.place();
        let sequence = self.sequence + 1;
        frame::finish(&mut draft.bytes, sequence, self.synced, draft.count, place);
        if let Err(error) = self.disk.0.write_at(file, offset, &draft.bytes) {
            self.cut()?;
            return Err(Error::io("writing", file, error));
        }
        if durability == Durability::Synced {
            self.disk.0.sync(file).map_err(|error| Error::failed("syncing", file, error))?;
        }
        let missing = || Damage::new(file, offset, "the frame that was just written", "none");
        let frame = Frame::decode(&draft.bytes, place).ok_or_else(missing)?;
        let records = recovery::records(self.segment, offset, &frame)?;
        // Those who read meanwhile do not wait for all of a large frame.
        for some in records.chunks(APPLIED_MAX) {
            recovery::apply(&mut self.shared.index.write(), self.segment, offset, some)?;
        }
        self.sequence = sequence;
        self.offset += draft.bytes.len() as u64;
        self.logged_bytes += draft.bytes.len() as u64;
        self.stats.frames += 1;
        self.stats.frame_bytes += draft.bytes.len() as u64;
        self.stats.written_bytes += draft.bytes.len() as u64;
        self.reading.keep(place.segment, offset, draft.bytes);
        if durability == Durability::Synced {
            self.set_synced();
        }
        Ok(())
    }

    /// Makes everything that is written durable. It stands in the last segment.
    fn sync_log(&mut self) -> Result<(), Error> {
        if self.synced < self.sequence {
            let file = FileName::Segment(self.segment);
            self.disk.0.sync(file).map_err(|error| Error::failed("syncing", file, error))?;
            self.set_synced();
        }
        Ok(())
    }

    fn set_synced(&mut self) {
        self.synced = self.sequence;
        self.stats.syncs += 1;
        self.shared.watermark.store(self.synced, Ordering::Release);
    }

    /// Begins a new segment if the last one is large enough.
    fn make_room(&mut self) -> Result<(), Error> {
        if self.offset < self.options.segment_bytes { Ok(()) } else { self.begin_segment() }
    }

    fn begin_segment(&mut self) -> Result<(), Error> {
        // That a segment was begun proves that everything before it is durable.
        self.sync_log()?;
        self.return_room()?;
        let header =
            SegmentHeader { number: self.segment + 1, salt: self.checkpoint.salt, first: self.sequence + 1 };
        if let Err(error) = recovery::make_segment(&mut *self.disk.0, header) {
            if matches!(error, Error::Full) {
                // It gives its space back; if it stays, the next attempt empties it.
                let _ = self.disk.0.remove(FileName::Segment(header.number));
            }
            return Err(error);
        }
        let mut index = self.shared.index.write();
        index.segments.entry(self.segment).bytes = self.offset;
        index.segments.entry(header.number);
        drop(index);
        self.sealed_bytes += self.offset;
        self.segment = header.number;
        self.offset = frame::SEGMENT_HEADER_BYTES as u64;
        self.room_end = self.offset;
        self.stats.written_bytes += self.offset;
        Ok(())
    }

    fn tell_stats(&mut self) {
        let walked = self.walk.as_ref().map_or(0, |begun| begun.walk.bytes());
        let log_bytes = self.sealed_bytes + self.room_end.max(self.offset);
        self.stats.disk_bytes = log_bytes + self.checkpoint_bytes + walked + self.stats.reserve_bytes;
        self.shared.set_stats(self.stats);
    }

    /// Poisons the store: cuts off what is not known to be synced, and answers everybody.
    fn fail(&mut self, group: Vec<Pending>, error: Error) {
        let file = FileName::Segment(self.segment);
        // As far as the disk still obeys. If it does not, opening finds a frame that is whole, and keeps it,
        // or a torn one.
        if self.cut().is_ok() {
            let _ = self.disk.0.sync(file);
        }
        self.abandon_maintenance();
        self.shared.set_state(State::Poisoned(error.clone()));
        refuse(group, &error);
        self.poison = Some(error);
    }

    #[cfg(test)]
    pub(crate) fn index(&self) -> &parking_lot::RwLock<crate::index::Index> {
        &self.shared.index
    }

    fn place(&self) -> Place {
        Place { salt: self.checkpoint.salt, segment: self.segment, offset: self.offset }
    }
}

impl Drop for Writer {
    /// Whoever still waits is told that the store is closed.
    fn drop(&mut self) {
        self.shared.close();
        drop(self.shared.take());
    }
}

fn refuse(group: Vec<Pending>, error: &Error) {
    for pending in group {
        pending.promise.answer(Err(error.clone()));
    }
}
