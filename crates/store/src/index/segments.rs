//! What is live in each segment.

use std::collections::BTreeMap;

use super::queue::{Block, Kept};

/// How a segment is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    /// Entries that ever pointed into it.
    pub(crate) entries: u64,
    /// Entries that point into it and are not consumed. A block in the log counts whole until all of it is
    /// consumed.
    pub(crate) live: u64,
    /// Block records in it that are in use.
    pub(crate) blocks: u64,
    /// Its size, once it is no longer the last.
    pub(crate) bytes: u64,
}

/// The segments there are.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    used: BTreeMap<u64, SegmentUse>,
}

impl Segments {
    /// Returns what is known of a segment, after making room for it.
    pub(crate) fn entry(&mut self, segment: u64) -> &mut SegmentUse {
        self.used.entry(segment).or_default()
    }

    pub(crate) fn add_entry(&mut self, segment: u64) {
        let used = self.entry(segment);
        used.entries += 1;
        used.live += 1;
    }

    pub(crate) fn remove_entry(&mut self, segment: u64) {
        let used = self.entry(segment);
        used.live = used.live.saturating_sub(1);
    }

    /// Adds what a block makes live.
    pub(crate) fn count(&mut self, block: &Block, head: u64) {
        self.each_live(block, head, |used, count| *used = used.saturating_add(count));
    }

    /// Takes away what a block made live.
    pub(crate) fn uncount(&mut self, block: &Block, head: u64) {
        self.each_live(block, head, |used, count| *used = used.saturating_sub(count));
    }

    /// Takes away what the first block of a queue made live between two positions.
    pub(crate) fn consume(&mut self, block: &Block, from: u64, to: u64) {
        let Kept::Memory(entries) = &block.kept else { return };
        let index =
            |position: u64| usize::try_from(position.saturating_sub(block.first)).unwrap_or(usize::MAX);
        for entry in entries.get(index(from)..index(to)).unwrap_or_default() {
            self.remove_entry(entry.location.segment);
        }
    }

    pub(crate) fn remove(&mut self, segment: u64) -> Option<SegmentUse> {
        self.used.remove(&segment)
    }

    pub(crate) fn of(&self, segment: u64) -> Option<&SegmentUse> {
        self.used.get(&segment)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &SegmentUse)> {
        self.used.iter().map(|(segment, used)| (*segment, used))
    }

    fn each_live(&mut self, block: &Block, head: u64, change: impl Fn(&mut u64, u64)) {
        match &block.kept {
            Kept::Memory(entries) => {
                let consumed = usize::try_from(head.saturating_sub(block.first)).unwrap_or(usize::MAX);
                for entry in entries.iter().skip(consumed) {
                    change(&mut self.entry(entry.location.segment).live, 1);
                }
            }
            Kept::Log { location, spans } => {
                change(&mut self.entry(location.segment).blocks, 1);
                for span in spans {
                    change(&mut self.entry(span.segment).live, span.entries);
                }
            }
        }
    }
}

impl SegmentUse {
    /// Returns whether nothing needs it.
    pub(crate) fn is_dead(&self) -> bool {
        self.live == 0 && self.blocks == 0
    }

    /// Returns whether copying what is live costs little against what it frees.
    pub(crate) fn is_sparse(&self) -> bool {
        !self.is_dead() && self.live * 4 < self.entries.max(1)
    }
}
