//! The front of a queue, in the memory of whoever gives its entries out.

use std::collections::VecDeque;
use std::ops::Range;

use crate::finished::{Finished, Runs};

/// Room for entries that a front keeps when it has become empty.
const KEPT_ENTRIES: usize = 16;

/// The front of one queue: entries in the order of their positions, however their commits came back.
///
/// Whoever commits pushes each entry with the position that it got; the owner takes them in order and without a
/// gap. Beyond its limits a front only counts what is pushed: that waits in the store, and [`take`](Self::take) asks
/// for it to be read when its turn has come. It holds no store and no lock.
///
/// ```text
///  given out │ in memory │ spilled: only counted │ not pushed yet, or out of order
/// ───────────┼───────────┼───────────────────────┼────────────────► positions
///            take     Wanted::from            pushed without a gap
/// ```
///
/// Every position is pushed once, by [`push`](Self::push) or [`skip`](Self::skip), or is brought by a read, after
/// which its push is ignored. That a later position is pushed must mean that the one before can be read.
#[derive(Clone, Debug)]
pub struct Front<T> {
    entries_max: usize,
    bytes_max: u64,
    /// In order; all of them are pushed, and before what is spilled.
    memory: VecDeque<Held<T>>,
    memory_bytes: u64,
    /// What is pushed, or settled by a read.
    pushed: Finished,
    /// None if nothing waits in the store only.
    spilled: Option<Box<Spilled>>,
}

/// What [`Front::take`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The next entry with its position.
    Entry(u64, T),
    /// Nothing waits, or the next one is not pushed yet.
    Nothing,
    /// The next one waits in the store: read it and bring it to [`Front::on_read`].
    Read(Wanted),
}

/// What has to be read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// From which position on.
    pub from: u64,
    /// Everything before this was in the store when it was asked for.
    until: u64,
}

impl Wanted {
    /// Returns what was wanted before a position: nothing was read from there on, or nothing of what was is brought.
    ///
    /// Without this a read of which nothing is brought says that nothing of all that was wanted is there.
    #[must_use]
    pub fn before(self, position: u64) -> Self {
        Self { until: self.until.min(position), ..self }
    }
}

#[derive(Clone, Debug)]
struct Held<T> {
    position: u64,
    bytes: u64,
    entry: T,
}

/// What waits in the store only.
#[derive(Clone, Debug, Default)]
struct Spilled {
    /// Everything that is pushed from here on is not in memory.
    from: u64,
    len: u64,
    bytes: u64,
    /// What stands in the store behind `from` and is not for anybody.
    gone: Runs,
}

impl<T> Front<T> {
    /// Makes the front of a queue that has no entry yet.
    ///
    /// At most so many entries and bytes are held in memory; one entry always may.
    #[must_use]
    pub fn new(entries_max: usize, bytes_max: u64) -> Self {
        Self {
            entries_max,
            bytes_max,
            memory: VecDeque::new(),
            memory_bytes: 0,
            pushed: Finished::default(),
            spilled: None,
        }
    }

    /// Begins anew with a queue as the store has it: everything from `head` to `next` waits there and takes so many
    /// bytes.
    ///
    /// What was asked for before must not be brought afterwards.
    pub fn reset(&mut self, head: u64, next: u64, bytes: u64) {
        self.memory = VecDeque::new();
        self.memory_bytes = 0;
        self.pushed = Finished::new(next);
        let len = next.saturating_sub(head);
        let spilled = Spilled { from: head, len, bytes, gone: Runs::default() };
        self.spilled = (len > 0).then(|| Box::new(spilled));
    }

    /// Adds an entry that is durable now. `bytes` is what it counts for.
    pub fn push(&mut self, position: u64, entry: T, bytes: u64) {
        if self.pushed.is_finished(position) {
            return;
        }
        self.pushed.finish(position);
        self.hold(Held { position, bytes, entry });
    }

    /// Notes that a position is durable now and nobody shall get it. Returns whether nobody will: a read may have
    /// brought it before, and somebody has it.
    pub fn skip(&mut self, position: u64) -> bool {
        let is_new = !self.pushed.is_finished(position);
        self.pushed.finish(position);
        let Some(mut spilled) = self.spilled.take_if(|spilled| position >= spilled.from) else {
            return is_new || !self.retain(|other, _| other != position).is_empty();
        };
        let is_out = spilled.gone.contains(position);
        spilled.gone.insert(position..position + 1);
        if !is_new && !is_out {
            spilled.uncount_unknown(1);
        }
        self.keep_spilled(spilled);
        !is_out
    }

    /// Gives the next entry out, or tells what has to be read first.
    ///
    /// It asks again each time it is called: only the owner knows whether a read is on its way.
    pub fn take(&mut self) -> Taken<T> {
        match self.next() {
            Next::Memory => match self.pop() {
                Some(held) => Taken::Entry(held.position, held.entry),
                None => Taken::Nothing,
            },
            Next::Store(wanted) => Taken::Read(wanted),
            Next::Nothing => Taken::Nothing,
        }
    }

    /// Brings what the store gave for what was wanted: entries in order, each with its position and what it counts
    /// for.
    ///
    /// Positions that the store left out are gone. What the front has no use for any more is ignored.
    pub fn on_read(&mut self, wanted: Wanted, entries: impl IntoIterator<Item = (u64, T, u64)>) {
        let Some(mut spilled) = self.spilled.take() else { return };
        if wanted.from > spilled.from || self.pushed.head() < spilled.from {
            // It would leave out what was put back, or what is not pushed yet.
            self.spilled = Some(spilled);
            return;
        }
        let mut last = None;
        let mut told_bytes = 0;
        let mut brought = 0;
        for (position, entry, bytes) in entries {
            last = Some(position);
            if position < spilled.from || spilled.gone.contains(position) {
                continue;
            }
            if self.pushed.is_finished(position) {
                brought += 1;
                told_bytes += bytes;
            }
            self.memory_bytes += bytes;
            self.memory.push_back(Held { position, bytes, entry });
        }
        let settled = last.map_or(wanted.until, |last| last.saturating_add(1));
        if settled > spilled.from {
            let lost = self.counted(&spilled, settled).saturating_sub(brought);
            spilled.uncount(brought, told_bytes);
            spilled.uncount_unknown(lost);
            spilled.from = settled;
            spilled.gone.remove_before(settled);
            self.pushed.finish_before(settled);
        }
        self.keep_spilled(spilled);
        self.spill_excess();
    }

    /// Puts an entry back that was taken: it is the next to be given out, if no older one is put back too.
    ///
    /// What does not fit into memory is forgotten like any other and read from the store again.
    pub fn put_back(&mut self, position: u64, entry: T, bytes: u64) {
        if let Some(spilled) = &mut self.spilled {
            spilled.gone.remove(position);
        }
        self.hold(Held { position, bytes, entry });
    }

    /// Drops the oldest entry that waits; returns its position.
    pub fn skip_oldest(&mut self) -> Option<u64> {
        if let Some(held) = self.pop() {
            return Some(held.position);
        }
        let mut spilled = self.spilled.take()?;
        let oldest = self.waiting(&spilled).next();
        if let Some(position) = oldest {
            spilled.uncount_unknown(1);
            spilled.from = position + 1;
            spilled.gone.remove_before(position + 1);
        }
        self.keep_spilled(spilled);
        oldest
    }

    /// Drops what is in memory and does not pass; returns its positions. What is spilled stays.
    pub fn retain(&mut self, mut is_kept: impl FnMut(u64, &T) -> bool) -> Vec<u64> {
        let mut dropped = Vec::new();
        let bytes = &mut self.memory_bytes;
        self.memory.retain(|held| {
            let is_kept = is_kept(held.position, &held.entry);
            if !is_kept {
                dropped.push(held.position);
                *bytes -= held.bytes;
            }
            is_kept
        });
        dropped
    }

    /// Returns whether [`take`](Self::take) would give an entry or ask for one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !matches!(self.next(), Next::Nothing)
    }

    /// Returns how many entries wait, in memory or not.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.memory.len() as u64 + self.spilled.as_ref().map_or(0, |spilled| spilled.len)
    }

    /// Returns whether no entry waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of the entries that wait, in memory or not.
    ///
    /// One that is dropped unread counts as the average of those that are spilled.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory_bytes + self.spilled.as_ref().map_or(0, |spilled| spilled.bytes)
    }

    /// Returns how many entries are in memory.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.memory.len()
    }

    /// Returns the bytes of the entries that are in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    fn next(&self) -> Next {
        // Everything before what is pushed without a gap has been pushed, so that nothing older can come.
        match (self.memory.front(), &self.spilled) {
            (Some(held), _) if held.position < self.pushed.head() => Next::Memory,
            (None, Some(spilled)) if spilled.from <= self.pushed.head() => {
                Next::Store(Wanted { from: spilled.from, until: self.pushed.end() })
            }
            _ => Next::Nothing,
        }
    }

    fn pop(&mut self) -> Option<Held<T>> {
        let held = self.memory.pop_front()?;
        self.memory_bytes -= held.bytes;
        if self.memory.is_empty() && self.memory.capacity() > 4 * KEPT_ENTRIES {
            self.memory.shrink_to(KEPT_ENTRIES);
        }
        Some(held)
    }

    /// Puts an entry where it belongs: into memory, or among what is only counted.
    fn hold(&mut self, held: Held<T>) {
        if let Some(spilled) = self.spilled.as_mut().filter(|spilled| held.position >= spilled.from) {
            spilled.count(held.bytes);
            return;
        }
        self.memory_bytes += held.bytes;
        let after_last = self.memory.back().is_none_or(|last| last.position < held.position);
        let index = match after_last {
            true => self.memory.len(),
            false => self.memory.partition_point(|other| other.position < held.position),
        };
        self.memory.insert(index, held);
        self.spill_excess();
    }

    /// Forgets the last entries until the rest fits.
    fn spill_excess(&mut self) {
        while self.memory.len() > 1
            && (self.memory.len() > self.entries_max || self.memory_bytes > self.bytes_max)
            && let Some(held) = self.memory.pop_back()
        {
            self.memory_bytes -= held.bytes;
            let end = self.pushed.end();
            let spilled =
                self.spilled.get_or_insert_with(|| Box::new(Spilled { from: end, ..Spilled::default() }));
            // What was given out or dropped behind it must not come back with it.
            for part in self.pushed.within(held.position + 1..spilled.from) {
                spilled.gone.insert(part);
            }
            spilled.from = held.position;
            spilled.count(held.bytes);
        }
    }

    /// Without anything that waits there is nothing to read: what is not pushed yet comes by its push.
    fn keep_spilled(&mut self, spilled: Box<Spilled>) {
        self.spilled = (spilled.len > 0).then_some(spilled);
    }

    /// Returns how many entries before a position are spilled and wait.
    fn counted(&self, spilled: &Spilled, until: u64) -> u64 {
        let length = |part: Range<u64>| part.end - part.start;
        let range = spilled.from..until;
        let pushed: u64 = self.pushed.within(range.clone()).map(length).sum();
        let gone: u64 = spilled.gone.within(range).map(length).sum();
        pushed - gone
    }

    /// Returns the positions of what is spilled and waits.
    fn waiting<'a>(&'a self, spilled: &'a Spilled) -> impl Iterator<Item = u64> + 'a {
        let pushed = self.pushed.within(spilled.from..u64::MAX).flatten();
        pushed.filter(|position| !spilled.gone.contains(*position))
    }
}

enum Next {
    Memory,
    Store(Wanted),
    Nothing,
}

impl Spilled {
    fn count(&mut self, bytes: u64) {
        self.len += 1;
        self.bytes += bytes;
    }

    fn uncount(&mut self, count: u64, bytes: u64) {
        self.len = self.len.saturating_sub(count);
        self.bytes = if self.len == 0 { 0 } else { self.bytes.saturating_sub(bytes) };
    }

    /// Takes away entries whose sizes are not known: they count as the average.
    fn uncount_unknown(&mut self, count: u64) {
        let average = self.bytes / self.len.max(1);
        self.uncount(count, average.saturating_mul(count));
    }
}

#[cfg(test)]
mod tests;
