//! The writer: the one owner of the disk. It turns what has arrived into frames, and answers when they are
//! synced.

mod maintenance;
mod serving;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::batch::{Batch, Change};
use crate::checkpoint::Covered;
use crate::disk::{Disk, FileName};
use crate::error::{Damage, Error};
use crate::frame::{self, Frame, Place, SegmentHeader};
use crate::index::Index;
use crate::options::Options;
use crate::reading::Reading;
use crate::record::{self, Target, Targets};
use crate::recovery;
use crate::shared::{Pending, Shared, Work};
use crate::store::{Committed, State, Stats};

/// Blocks that go to the log with one frame.
const SPILLED_MAX: usize = 256;

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
    checkpoint: Covered,
    checkpoint_bytes: u64,
    /// Bytes of frames since the last checkpoint.
    logged_bytes: u64,
    is_full: bool,
    /// What was consumed and is not in a frame yet.
    consumed: BTreeMap<u64, u64>,
    reading: Reading,
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
        *shared.index.lock() = found.index;
        let mut writer = Self {
            disk: Disks(disk),
            options,
            shared,
            sequence: found.sequence,
            synced: found.sequence,
            segment: found.segment,
            offset: found.offset,
            checkpoint: found.checkpoint,
            checkpoint_bytes: found.checkpoint_bytes,
            // At least one checkpoint's worth, so that the next new segment brings one.
            logged_bytes: found.checkpoint_bytes,
            is_full: false,
            consumed: BTreeMap::new(),
            reading: Reading::default(),
            damaged: BTreeSet::new(),
            stats: Stats::default(),
            poison: None,
        };
        writer.take_reserve()?;
        Ok(writer)
    }

    /// Does what has arrived: answers reads, commits batches and consumption. Returns whether there was
    /// anything to do.
    pub fn turn(&mut self) -> bool {
        let work = self.shared.take();
        let is_work = !work.is_empty();
        self.perform(work);
        is_work
    }

    /// Syncs what is only written. Returns whether there was anything to sync.
    ///
    /// Whoever drives the writer calls it so that no batch stays [`written`](Batch::written) for longer than it may.
    pub fn sync(&mut self) -> bool {
        let is_due = self.synced < self.sequence && self.poison.is_none();
        if is_due && let Err(error) = self.sync_log() {
            self.fail(Vec::new(), error);
        }
        self.shared.set_stats(self.stats);
        is_due
    }

    /// Commits what has arrived, and leaves a frame that vouches for the last one.
    pub fn close(mut self) {
        self.shared.close();
        self.turn();
        self.sync();
        if self.poison.is_none() && self.sequence > 0 {
            // Best effort: without it the last frame is only less well protected.
            let _ = self.write(Draft::new(), Durability::Synced);
        }
    }

    pub(crate) fn run(mut self) {
        let mut sync_at = None;
        while let Some(work) = self.shared.wait(self.options.consume_delay, sync_at) {
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
        self.shared.set_stats(self.stats);
    }

    /// Commits batches in one frame, or answers why not.
    fn commit(&mut self, group: Vec<Pending>) {
        if let Some(error) = &self.poison {
            return refuse(group, &error.clone().poisoned());
        }
        if self.is_full
            && let Err(error) = self.take_reserve()
        {
            return self.fail(group, error);
        }
        let group = if self.is_full { only_essential(group) } else { group };
        match self.try_commit(&group) {
            Ok(committed) => self.answer(group, committed),
            Err(Error::Full) => self.commit_on_full_disk(group),
            Err(error) => self.fail(group, error),
        }
    }

    /// Frees what is consumed, with the reserve's help, and tries again: with all if that made room, else
    /// with what is essential.
    fn commit_on_full_disk(&mut self, group: Vec<Pending>) {
        if let Err(error) = self.make_space() {
            return self.fail(group, error);
        }
        if !self.is_full {
            match self.try_commit(&group) {
                Ok(committed) => return self.answer(group, committed),
                Err(Error::Full) => {}
                Err(error) => return self.fail(group, error),
            }
            if let Err(error) = self.give_reserve() {
                return self.fail(group, error);
            }
        }
        let group = only_essential(group);
        match self.try_commit(&group) {
            Ok(committed) => self.answer(group, committed),
            Err(Error::Full) => refuse(group, &Error::Full),
            Err(error) => self.fail(group, error),
        }
    }

    fn make_space(&mut self) -> Result<(), Error> {
        self.give_reserve()?;
        match self.relieve() {
            Ok(()) | Err(Error::Full) => self.take_reserve(),
            Err(error) => Err(error),
        }
    }

    fn try_commit(&mut self, group: &[Pending]) -> Result<Vec<Committed>, Error> {
        self.make_room()?;
        let (draft, positions) = self.draft(group);
        if draft.count == 0 {
            // Batches that change nothing are durable already.
            return Ok(positions);
        }
        let sequence = self.sequence + 1;
        let is_written = !group.is_empty() && group.iter().all(|pending| pending.batch.is_written);
        self.write(draft, if is_written { Durability::Written } else { Durability::Synced })?;
        self.consumed.clear();
        self.stats.batches += group.len() as u64;
        Ok(positions.into_iter().map(|committed| Committed { sequence, ..committed }).collect())
    }

    fn answer(&mut self, group: Vec<Pending>, committed: Vec<Committed>) {
        self.shared.set_stats(self.stats);
        for (pending, committed) in group.into_iter().zip(committed) {
            pending.promise.answer(Ok(committed));
        }
        match self.maintain() {
            Ok(()) | Err(Error::Full) => {}
            Err(error) => self.fail(Vec::new(), error),
        }
    }

    /// Encodes a group, what was consumed, and blocks that shall leave memory.
    fn draft(&mut self, group: &[Pending]) -> (Draft, Vec<Committed>) {
        let mut draft = Draft::new();
        let index = self.shared.index.lock();
        let mut next = FxHashMap::default();
        let committed = group
            .iter()
            .map(|pending| draft_batch(&mut draft, &index, &mut next, &pending.batch))
            .map(|positions| Committed { sequence: self.sequence, positions })
            .collect();
        for (queue, position) in &self.consumed {
            draft.add(|out| record::encode_consume(out, *queue, *position));
        }
        if draft.count > 0 {
            for (queue, block) in index.unspilled(SPILLED_MAX) {
                if let Some(entries) = block.entries_in_memory() {
                    draft.add(|out| record::encode_block(out, queue, block.first, entries.iter()));
                }
            }
        }
        (draft, committed)
    }

    /// Writes a frame, syncs it if it shall be, and applies it.
    fn write(&mut self, mut draft: Draft, durability: Durability) -> Result<(), Error> {
        let (file, offset) = (FileName::Segment(self.segment), self.offset);
        let place = self.place();
        let sequence = self.sequence + 1;
        frame::finish(&mut draft.bytes, sequence, self.synced, draft.count, place);
        if let Err(error) = self.disk.0.write_at(file, offset, &draft.bytes) {
            self.disk.0.truncate(file, offset).map_err(|error| Error::failed("cutting", file, error))?;
            return Err(Error::io("writing", file, error));
        }
        if durability == Durability::Synced {
            self.disk.0.sync(file).map_err(|error| Error::failed("syncing", file, error))?;
        }
        let missing = || Damage::new(file, offset, "the frame that was just written", "none");
        let frame = Frame::decode(&draft.bytes, place).ok_or_else(missing)?;
        recovery::apply(&mut self.shared.index.lock(), self.segment, offset, &frame)?;
        self.sequence = sequence;
        self.offset += draft.bytes.len() as u64;
        self.logged_bytes += draft.bytes.len() as u64;
        self.stats.frames += 1;
        self.stats.frame_bytes += draft.bytes.len() as u64;
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
        let header =
            SegmentHeader { number: self.segment + 1, salt: self.checkpoint.salt, first: self.sequence + 1 };
        if let Err(error) = recovery::make_segment(&mut *self.disk.0, header) {
            if matches!(error, Error::Full) {
                // It gives its space back; if it stays, the next attempt empties it.
                let _ = self.disk.0.remove(FileName::Segment(header.number));
            }
            return Err(error);
        }
        let mut index = self.shared.index.lock();
        index.segments.entry(self.segment).bytes = self.offset;
        index.segments.entry(header.number);
        drop(index);
        self.segment = header.number;
        self.offset = frame::SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }

    /// Allocates the reserve; the store is full as long as there is no room for it.
    fn take_reserve(&mut self) -> Result<(), Error> {
        let file = FileName::Reserve;
        let taken = match self.options.reserve_bytes {
            0 => Ok(()),
            bytes => self.disk.0.allocate(file, bytes).map_err(|error| Error::io("allocating", file, error)),
        };
        self.is_full = match taken {
            Ok(()) => false,
            Err(Error::Full) => {
                // What little it got is worth more to those who may write now.
                self.disk.0.create(file).map_err(|error| Error::failed("emptying", file, error))?;
                true
            }
            Err(error) => return Err(error),
        };
        self.shared.set_state(if self.is_full { State::Full } else { State::Open });
        Ok(())
    }

    fn give_reserve(&mut self) -> Result<(), Error> {
        self.is_full = true;
        self.shared.set_state(State::Full);
        let file = FileName::Reserve;
        if self.options.reserve_bytes == 0 {
            return Ok(());
        }
        self.disk.0.create(file).map_err(|error| Error::failed("emptying", file, error))
    }

    /// Poisons the store: cuts off what is not known to be synced, and answers everybody.
    fn fail(&mut self, group: Vec<Pending>, error: Error) {
        let file = FileName::Segment(self.segment);
        // As far as the disk still obeys. If it does not, opening finds a frame that is whole, and keeps it,
        // or a torn one.
        if self.disk.0.truncate(file, self.offset).is_ok() {
            let _ = self.disk.0.sync(file);
        }
        self.shared.set_state(State::Poisoned(error.clone()));
        refuse(group, &error);
        self.poison = Some(error);
    }

    #[cfg(test)]
    pub(crate) fn index(&self) -> &parking_lot::Mutex<Index> {
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

/// Encodes a batch; returns the positions that its targets get.
fn draft_batch(draft: &mut Draft, index: &Index, next: &mut FxHashMap<u64, u64>, batch: &Batch) -> Vec<u64> {
    let mut positions = Vec::new();
    for change in &batch.changes {
        match change {
            Change::Publish { message, targets } => {
                let targets: Targets = targets
                    .iter()
                    .map(|(queue, flags)| {
                        let known = || index.queues.get(queue).map_or(0, |queue| queue.next);
                        let next = next.entry(*queue).or_insert_with(known);
                        let position = *next;
                        *next += 1;
                        Target { queue: *queue, position, flags: *flags }
                    })
                    .collect();
                positions.extend(targets.iter().map(|target| target.position));
                draft.add(|out| record::encode_publish(out, &targets, message));
            }
            Change::Put { table, key, value } => {
                draft.add(|out| record::encode_put(out, *table, key, value));
            }
            Change::Delete { table, key } => draft.add(|out| record::encode_delete(out, *table, key)),
            Change::Consume { queue, position } => {
                draft.add(|out| record::encode_consume(out, *queue, *position));
            }
            Change::Remove { queue } => {
                next.insert(*queue, 0);
                draft.add(|out| record::encode_remove(out, *queue));
            }
        }
    }
    positions
}

/// Refuses what may not use the reserve; returns the rest.
fn only_essential(group: Vec<Pending>) -> Vec<Pending> {
    let (essential, other) = group.into_iter().partition(|pending| pending.batch.is_essential);
    refuse(other, &Error::Full);
    essential
}

fn refuse(group: Vec<Pending>, error: &Error) {
    for pending in group {
        pending.promise.answer(Err(error.clone()));
    }
}
