//! Checkpoints, and giving back the disk of what is consumed.

use std::collections::BTreeMap;

use super::{Begun, Draft, Durability, Writer};
use crate::checkpoint::{Covered, Walk};
use crate::disk::FileName;
use crate::error::Error;
use crate::frame;
use crate::index::Kept;
use crate::record::{self, Entry, Location, Target};

/// Segments that are copied forward each time, so that the work keeps pace with the log.
const COPIED_MAX: usize = 2;
/// Bytes of messages that are copied at once, so that no commit waits for all of them; few in tests, so that it takes
/// several pieces.
const COPIED_BYTES: u64 = if cfg!(test) { 300 } else { 1 << 20 };

/// A block that leans on a segment.
struct Leaning {
    queue: u64,
    head: u64,
    first: u64,
    kept: LeaningKept,
}

enum LeaningKept {
    Memory(Vec<Entry>),
    Log(Location),
}

/// A block that has to be written anew.
struct Rewritten {
    queue: u64,
    first: u64,
    entries: Vec<Entry>,
}

/// The messages of a segment that are live, by their offset, with the targets that wait for each.
type Messages = BTreeMap<u32, (Location, Vec<Target>)>;

/// A frame that copies some of a segment.
struct Copy {
    draft: Draft,
    messages: u64,
    has_more: bool,
}

impl Writer {
    /// Does what is due after a commit.
    pub(super) fn maintain(&mut self) -> Result<(), Error> {
        if self.is_full {
            self.relieve()?;
        }
        if self.walk.is_none() && self.is_checkpoint_due() {
            self.begin_checkpoint()?;
        }
        // As much as was logged meanwhile, so that it ends however busy the store is.
        while let Some(begun) = &self.walk
            && begun.walk.bytes() <= self.logged_bytes - begun.logged_bytes
        {
            self.go_on()?;
        }
        if self.stats.frame_bytes - self.copying.frame_bytes >= COPIED_BYTES {
            self.copy_on()?;
        }
        Ok(())
    }

    fn is_checkpoint_due(&self) -> bool {
        self.segment != self.checkpoint.segment
            && self.logged_bytes >= self.checkpoint_bytes.max(self.logged_bytes_min)
    }

    pub(super) fn is_maintaining(&self) -> bool {
        self.walk.is_some() || !self.copying.segments.is_empty()
    }

    /// Goes on with a checkpoint, or with copying, while there is nothing else to do; returns whether there was any.
    pub(super) fn go_on_idly(&mut self) -> bool {
        let is_maintaining = self.is_maintaining();
        match if self.walk.is_some() { self.go_on() } else { self.copy_on() } {
            Ok(()) | Err(Error::Full) => {}
            Err(error) => self.fail(Vec::new(), error),
        }
        self.tell_stats();
        is_maintaining
    }

    /// Gives a checkpoint up that is being written, and copying: the next checkpoint finds again what is sparse.
    pub(super) fn abandon_maintenance(&mut self) {
        self.copying.segments.clear();
        if self.walk.take().is_some() {
            drop(self.shared.index.write().end_snapshot());
            // It gives its space back; if it stays, opening removes it.
            let _ = self.disk.0.remove(FileName::Temporary);
        }
    }

    /// Frees what can be freed on a full disk, the last segment included.
    pub(super) fn relieve(&mut self) -> Result<(), Error> {
        self.abandon_maintenance();
        let last_is_dead = {
            let index = self.shared.index.read();
            index.segments.of(self.segment).is_none_or(|used| used.is_dead())
        };
        let is_worth_it = self.offset > self.options.segment_bytes / 4;
        if last_is_dead && is_worth_it {
            self.begin_segment()?;
        }
        if self.segment > self.checkpoint.segment && self.has_dead() {
            self.begin_checkpoint()?;
            while self.walk_on()? {}
        }
        self.remove_dead()
    }

    fn has_dead(&self) -> bool {
        let index = self.shared.index.read();
        index.segments.iter().any(|(number, used)| number < self.segment && used.is_dead())
    }

    fn begin_checkpoint(&mut self) -> Result<(), Error> {
        // A checkpoint vouches for what it covers.
        self.sync_log()?;
        let covered = Covered {
            sequence: self.sequence,
            segment: self.segment,
            offset: self.offset,
            salt: self.checkpoint.salt,
        };
        let walk = Walk::begin(&mut *self.disk.0, covered, &self.shared.index)?;
        self.walk = Some(Begun { walk, logged_bytes: self.logged_bytes });
        Ok(())
    }

    /// Writes a piece of a checkpoint, and after the last one frees what it lets go.
    fn go_on(&mut self) -> Result<(), Error> {
        if self.walk.is_none() || self.walk_on()? {
            return Ok(());
        }
        self.remove_dead()?;
        let sparse: Vec<u64> = {
            let index = self.shared.index.read();
            let sealed = index.segments.iter().filter(|(number, _)| *number < self.checkpoint.segment);
            let sparse = sealed.filter(|(number, used)| used.is_sparse() && !self.damaged.contains(number));
            sparse.map(|(number, _)| number).take(COPIED_MAX).collect()
        };
        self.copying.segments = sparse.into();
        Ok(())
    }

    /// Copies a piece of what is live in a sparse segment forward, and frees the segment after the last one.
    fn copy_on(&mut self) -> Result<(), Error> {
        let Some(segment) = self.copying.segments.front().copied() else { return Ok(()) };
        let copied = self.copy_forward(segment);
        self.copying.frame_bytes = self.stats.frame_bytes;
        if !matches!(copied, Ok(true)) {
            self.copying.segments.pop_front();
        }
        copied?;
        self.remove_dead()
    }

    /// Writes a piece of a checkpoint; returns whether more of it is to come.
    fn walk_on(&mut self) -> Result<bool, Error> {
        let Some(mut begun) = self.walk.take() else { return Ok(false) };
        let written = begun.walk.bytes();
        let stepped = begun.walk.step(&mut *self.disk.0, &self.shared.index);
        self.count_checkpoint_bytes(begun.walk.bytes() - written);
        let finished = match stepped {
            Ok(false) => {
                self.walk = Some(begun);
                return Ok(true);
            }
            Ok(true) => self.finish_checkpoint(begun),
            Err(error) => Err(error),
        };
        drop(self.shared.index.write().end_snapshot());
        if let Err(error) = finished {
            // It gives its space back; that it could not be removed changes nothing about why it is of no use.
            let _ = self.disk.0.remove(FileName::Temporary);
            self.logged_bytes_min = self.logged_bytes + self.options.frame_bytes;
            return Err(error);
        }
        Ok(false)
    }

    fn finish_checkpoint(&mut self, begun: Begun) -> Result<(), Error> {
        let (covered, written) = (begun.walk.covered(), begun.walk.bytes());
        self.checkpoint_bytes = begun.walk.finish(&mut *self.disk.0)?;
        self.count_checkpoint_bytes(self.checkpoint_bytes - written);
        self.checkpoint = covered;
        self.logged_bytes -= begun.logged_bytes;
        self.logged_bytes_min = 0;
        self.stats.checkpoints += 1;
        Ok(())
    }

    fn count_checkpoint_bytes(&mut self, bytes: u64) {
        self.stats.checkpoint_bytes += bytes;
        self.stats.written_bytes += bytes;
    }

    fn remove_dead(&mut self) -> Result<(), Error> {
        let dead: Vec<u64> = {
            let index = self.shared.index.read();
            let sealed = index.segments.iter().filter(|(number, _)| *number < self.checkpoint.segment);
            sealed.filter(|(_, used)| used.is_dead()).map(|(number, _)| number).collect()
        };
        if !dead.is_empty() {
            // What made them dead must not be lost alone.
            self.sync_log()?;
        }
        for number in dead {
            let file = FileName::Segment(number);
            self.disk.0.remove(file).map_err(|error| Error::failed("removing", file, error))?;
            let removed = self.shared.index.write().segments.remove(number);
            self.sealed_bytes -= removed.map_or(0, |used| used.bytes);
            self.damaged.remove(&number);
            self.stats.segments_removed += 1;
        }
        Ok(())
    }

    /// Writes some of what is live in a segment anew; returns whether there is more.
    fn copy_forward(&mut self, segment: u64) -> Result<bool, Error> {
        match self.draft_copy(segment) {
            Ok(copy) => {
                if copy.draft.count > 0 {
                    self.stats.moved_bytes += copy.draft.bytes.len() as u64;
                    self.stats.messages_moved += copy.messages;
                    self.write(copy.draft, Durability::Synced)?;
                }
                Ok(copy.has_more)
            }
            Err(Error::Corrupt(_)) => {
                // Whoever reads the message is told; until then the segment stays.
                self.damaged.insert(segment);
                self.stats.segments_damaged += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Encodes live messages of a segment and the blocks that lean on it.
    fn draft_copy(&mut self, segment: u64) -> Result<Copy, Error> {
        self.make_room()?;
        let mut messages = Messages::new();
        let mut blocks = Vec::new();
        for leaning in self.leaning_on(segment) {
            let (entries, is_in_log) = match leaning.kept {
                LeaningKept::Memory(entries) => (entries, false),
                LeaningKept::Log(location) => (self.block(location)?.to_vec(), true),
            };
            let consumed = usize::try_from(leaning.head.saturating_sub(leaning.first)).unwrap_or(usize::MAX);
            let first = leaning.first.max(leaning.head);
            let entries: Vec<Entry> = entries.into_iter().skip(consumed).collect();
            for (position, entry) in
                (first..).zip(&entries).filter(|(_, entry)| entry.location.segment == segment)
            {
                let target = Target { queue: leaning.queue, position, flags: entry.flags };
                let message = messages.entry(entry.location.offset);
                message.or_insert_with(|| (entry.location, Vec::new())).1.push(target);
            }
            if is_in_log {
                blocks.push(Rewritten { queue: leaning.queue, first, entries });
            }
        }
        let has_more = keep_some(&mut messages);
        if has_more {
            // The other blocks stay as they are until their messages have moved.
            let is_moved = |entry: &Entry| {
                entry.location.segment == segment && messages.contains_key(&entry.location.offset)
            };
            blocks.retain(|block| block.entries.iter().any(is_moved));
        }
        self.encode_copy(segment, messages, blocks, has_more)
    }

    fn encode_copy(
        &mut self,
        segment: u64,
        messages: Messages,
        blocks: Vec<Rewritten>,
        has_more: bool,
    ) -> Result<Copy, Error> {
        let mut draft = Draft::new();
        let mut moved = BTreeMap::new();
        let count = messages.len() as u64;
        for (offset, (location, targets)) in messages {
            let message = self.message(location)?;
            let start = draft.bytes.len();
            draft.add(|out| record::encode_moved(out, &targets, &message));
            moved.insert(offset, self.location_in(&draft, start));
        }
        for mut block in blocks {
            for entry in block.entries.iter_mut().filter(|entry| entry.location.segment == segment) {
                if let Some(location) = moved.get(&entry.location.offset) {
                    entry.location = *location;
                }
            }
            draft.add(|out| record::encode_block(out, block.queue, block.first, block.entries.iter()));
        }
        debug_assert!(draft.bytes.len() >= frame::HEADER_BYTES);
        Ok(Copy { draft, messages: count, has_more })
    }

    /// Returns where the last record of a draft will stand.
    fn location_in(&self, draft: &Draft, start: usize) -> Location {
        Location {
            segment: self.segment,
            // Segments end soon after 1 GiB, and what is copied was in one.
            offset: (self.offset + start as u64) as u32,
            bytes: (draft.bytes.len() - start) as u32,
        }
    }

    fn leaning_on(&self, segment: u64) -> Vec<Leaning> {
        let index = self.shared.index.read();
        let mut leaning = Vec::new();
        for (id, queue) in &index.queues {
            for block in queue.blocks.iter().filter(|block| block.leans_on(segment)) {
                let kept = match &block.kept {
                    Kept::Memory(entries) => LeaningKept::Memory(entries.clone()),
                    Kept::Log { location, .. } => LeaningKept::Log(*location),
                };
                leaning.push(Leaning { queue: *id, head: queue.head, first: block.first, kept });
            }
        }
        leaning.sort_unstable_by_key(|leaning| (leaning.queue, leaning.first));
        leaning
    }
}

/// Leaves as many messages as are copied at once; returns whether there are more.
fn keep_some(messages: &mut Messages) -> bool {
    let mut bytes = 0;
    let first_too_many = messages.iter().find_map(|(offset, (location, _))| {
        let is_too_many = bytes >= COPIED_BYTES;
        bytes += u64::from(location.bytes);
        is_too_many.then_some(*offset)
    });
    first_too_many.is_some_and(|offset| !messages.split_off(&offset).is_empty())
}
