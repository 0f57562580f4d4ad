//! Where the entries of one queue stand.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::record::{Entry, Location};

/// Entries of a block that is full; few in tests, so that small queues spill.
pub(crate) const BLOCK_ENTRIES: usize = if cfg!(test) { 8 } else { 1_024 };

/// How many entries of a block point into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) segment: u64,
    pub(crate) entries: u64,
}

/// The entries that wait, from the first that is not consumed, in blocks.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Everything before is consumed.
    pub(crate) head: u64,
    /// The position of the next entry.
    pub(crate) next: u64,
    pub(crate) blocks: VecDeque<Block>,
}

/// Some entries in a row.
#[derive(Debug)]
pub(crate) struct Block {
    /// The position of its first entry.
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) kept: Kept,
}

/// Where the entries of a block are kept.
#[derive(Debug)]
pub(crate) enum Kept {
    Memory(Vec<Entry>),
    /// In a block record; what it points into is known without reading it.
    Log {
        location: Location,
        spans: SmallVec<[Span; 2]>,
    },
}

impl Queue {
    /// Appends an entry; returns the first position of its block if that is full now and not the first of the
    /// queue.
    pub(crate) fn push(&mut self, entry: Entry) -> Option<u64> {
        let position = self.next;
        self.next = self.next.saturating_add(1);
        let is_first = self.blocks.len() < 2;
        if let Some(block) =
            self.blocks.back_mut().filter(|block| block.end() == position && !block.is_full())
            && let Kept::Memory(entries) = &mut block.kept
        {
            entries.push(entry);
            block.count += 1;
            return (block.is_full() && !is_first).then_some(block.first);
        }
        self.blocks.push_back(Block { first: position, count: 1, kept: Kept::Memory(vec![entry]) });
        None
    }

    /// Returns the block that holds a position.
    pub(crate) fn block_mut(&mut self, position: u64) -> Option<&mut Block> {
        let index = self.blocks.partition_point(|block| block.end() <= position);
        self.blocks.get_mut(index).filter(|block| block.first <= position)
    }

    /// Returns the block that holds a position, or else the next one.
    pub(crate) fn block_from(&self, position: u64) -> Option<&Block> {
        let index = self.blocks.partition_point(|block| block.end() <= position);
        self.blocks.get(index)
    }

    /// Returns how many entries wait.
    pub(crate) fn waiting(&self) -> u64 {
        let held = |block: &Block| block.end().saturating_sub(block.first.max(self.head));
        self.blocks.iter().map(held).sum()
    }
}

impl Block {
    pub(crate) fn in_log(first: u64, location: Location, entries: &[Entry]) -> Self {
        let mut spans: SmallVec<[Span; 2]> = SmallVec::new();
        for entry in entries {
            let segment = entry.location.segment;
            match spans.iter_mut().find(|span| span.segment == segment) {
                Some(span) => span.entries += 1,
                None => spans.push(Span { segment, entries: 1 }),
            }
        }
        Self { first, count: entries.len() as u64, kept: Kept::Log { location, spans } }
    }

    /// Returns the position after its last entry.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count >= BLOCK_ENTRIES as u64
    }

    pub(crate) fn entries_in_memory(&self) -> Option<&[Entry]> {
        match &self.kept {
            Kept::Memory(entries) => Some(entries),
            Kept::Log { .. } => None,
        }
    }

    /// Returns whether it points into a segment, or stands there.
    pub(crate) fn leans_on(&self, segment: u64) -> bool {
        match &self.kept {
            Kept::Memory(entries) => entries.iter().any(|entry| entry.location.segment == segment),
            Kept::Log { location, spans } => {
                location.segment == segment || spans.iter().any(|span| span.segment == segment)
            }
        }
    }
}
