//! What the log says, in memory: tables, where the entries of each queue stand, and what is live in each
//! segment.
//!
//! It changes in one way only, by [`Index::apply`], on the live path and in recovery alike. So memory is
//! never anything else than what the log says.

mod queue;
mod segments;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rustc_hash::FxHashMap;

pub(crate) use queue::{Block, Kept, Queue, Span};
pub(crate) use segments::{SegmentUse, Segments};
pub(crate) use snapshot::{Reached, Snapshot};

use crate::record::{Entry, Location, Record, Target};

/// The entries of a table, in the order of their keys.
pub(crate) type Table = BTreeMap<Bytes, Bytes>;

/// Everything that the store knows.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) tables: BTreeMap<u32, Table>,
    pub(crate) queues: FxHashMap<u64, Queue>,
    pub(crate) segments: Segments,
    /// Full blocks that shall go to the log: queue and first position.
    unspilled: BTreeSet<(u64, u64)>,
    /// What it was, while a checkpoint is written.
    snapshot: Option<Box<Snapshot>>,
}

impl Index {
    /// Changes what a record says; the reason why it makes no sense here, if so.
    pub(crate) fn apply(&mut self, location: Location, record: &Record<'_>) -> Result<(), &'static str> {
        match record {
            Record::Publish { targets, .. } => self.on_publish(location, targets),
            Record::Moved { targets, .. } => self.on_moved(location, targets),
            Record::Put { table, key, value } => self.on_put(*table, key, value),
            Record::Delete { table, key } => self.on_delete(*table, key),
            Record::Consume { queue, position } => self.on_consume(*queue, *position),
            Record::Remove { queue } => self.on_remove(*queue),
            Record::Block { queue, first, entries } => self.on_block(location, *queue, *first, entries),
        }
    }

    /// Lets a queue go on at a later position than the next one, because what was between is lost.
    pub(crate) fn skip_to(&mut self, queue: u64, position: u64) {
        let queue = self.queues.entry(queue).or_default();
        queue.next = queue.next.max(position);
    }

    /// Returns blocks that shall go to the log, at most so many.
    pub(crate) fn unspilled(&self, count_max: usize) -> impl Iterator<Item = (u64, &Block)> {
        self.unspilled.iter().take(count_max).filter_map(|(queue, first)| {
            let block = self.queues.get(queue)?.block_from(*first).filter(|block| block.first == *first)?;
            Some((*queue, block))
        })
    }

    /// Adds what a checkpoint knows of a queue, and counts what it holds.
    pub(crate) fn restore(&mut self, id: u64, queue: Queue) {
        for (index, block) in queue.blocks.iter().enumerate() {
            self.segments.count(block, queue.head);
            if index > 0 && block.is_full() && block.entries_in_memory().is_some() {
                self.unspilled.insert((id, block.first));
            }
        }
        self.queues.insert(id, queue);
    }

    /// Keeps a queue for a checkpoint that has not come to it yet.
    fn keep_queue(&mut self, id: u64) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.keep_queue(id, self.queues.get(&id));
        }
    }

    fn on_publish(&mut self, location: Location, targets: &[Target]) -> Result<(), &'static str> {
        for target in targets {
            self.keep_queue(target.queue);
            let queue = self.queues.entry(target.queue).or_default();
            if target.position != queue.next {
                return Err("a position that is not the next");
            }
            if let Some(full) = queue.push(Entry { location, flags: target.flags }) {
                self.unspilled.insert((target.queue, full));
            }
            self.segments.add_entry(location.segment);
        }
        Ok(())
    }

    fn on_moved(&mut self, location: Location, targets: &[Target]) -> Result<(), &'static str> {
        self.segments.entry(location.segment).entries += targets.len() as u64;
        for target in targets {
            self.keep_queue(target.queue);
            let Some(queue) = self.queues.get_mut(&target.queue) else { continue };
            let head = queue.head;
            let Some(block) = queue.block_mut(target.position) else { continue };
            let index = usize::try_from(target.position - block.first).unwrap_or(usize::MAX);
            // An entry of a block in the log moves with the block record that follows.
            let Kept::Memory(entries) = &mut block.kept else { continue };
            if let Some(entry) = entries.get_mut(index).filter(|_| target.position >= head) {
                self.segments.remove_entry(entry.location.segment);
                entry.location = location;
                self.segments.entry(location.segment).live += 1;
            }
        }
        Ok(())
    }

    fn on_put(&mut self, table: u32, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let entries = self.tables.entry(table).or_default();
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.keep_entry(table, &key, entries.get(&key));
        }
        entries.insert(key, value);
        Ok(())
    }

    fn on_delete(&mut self, table: u32, key: &[u8]) -> Result<(), &'static str> {
        if let Some(entries) = self.tables.get_mut(&table) {
            let removed = entries.remove_entry(key);
            if let (Some(snapshot), Some((key, value))) = (&mut self.snapshot, &removed) {
                snapshot.keep_entry(table, key, Some(value));
            }
            if entries.is_empty() {
                self.tables.remove(&table);
            }
        }
        Ok(())
    }

    fn on_consume(&mut self, id: u64, position: u64) -> Result<(), &'static str> {
        self.keep_queue(id);
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(()) };
        let head = position.min(queue.next);
        if head <= queue.head {
            return Ok(());
        }
        while let Some(block) = queue.blocks.front().filter(|block| block.end() <= head) {
            self.segments.uncount(block, queue.head);
            self.unspilled.remove(&(id, block.first));
            queue.blocks.pop_front();
        }
        if let Some(block) = queue.blocks.front() {
            self.segments.consume(block, queue.head, head);
            // The first block of a queue stays in memory.
            self.unspilled.remove(&(id, block.first));
        }
        queue.head = head;
        Ok(())
    }

    fn on_remove(&mut self, id: u64) -> Result<(), &'static str> {
        self.keep_queue(id);
        let Some(queue) = self.queues.remove(&id) else { return Ok(()) };
        for block in &queue.blocks {
            self.segments.uncount(block, queue.head);
            self.unspilled.remove(&(id, block.first));
        }
        Ok(())
    }

    fn on_block(
        &mut self,
        location: Location,
        id: u64,
        first: u64,
        entries: &[Entry],
    ) -> Result<(), &'static str> {
        self.unspilled.remove(&(id, first));
        self.keep_queue(id);
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(()) };
        let head = queue.head;
        // What the same frame consumed is gone already.
        let Some(block) = queue.block_mut(first) else { return Ok(()) };
        if first.saturating_add(entries.len() as u64) != block.end() {
            return Err("a block that ends elsewhere than the one it replaces");
        }
        self.unspilled.remove(&(id, block.first));
        self.segments.uncount(block, head);
        *block = Block::in_log(first, location, entries);
        self.segments.count(block, head);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u64, offset: u32) -> Location {
        Location { segment, offset, bytes: 50 }
    }

    fn publish(index: &mut Index, segment: u64, queue: u64, position: u64) -> Result<(), &'static str> {
        let targets = [Target { queue, position, flags: 0 }].into_iter().collect();
        index.apply(at(segment, position as u32), &Record::Publish { targets, message: b"" })
    }

    fn live(index: &Index, segment: u64) -> (u64, u64) {
        index.segments.of(segment).map_or((0, 0), |used| (used.live, used.blocks))
    }

    #[test]
    fn a_gap_in_the_positions_makes_no_sense() {
        let mut index = Index::default();
        publish(&mut index, 1, 7, 0).unwrap();
        assert!(publish(&mut index, 1, 7, 2).is_err());
        index.skip_to(7, 2);
        publish(&mut index, 1, 7, 2).unwrap();
        assert_eq!(index.queues[&7].blocks.len(), 2);
    }

    #[test]
    fn what_is_live_is_counted_through_spill_consumption_and_removal() {
        let mut index = Index::default();
        for position in 0..20 {
            publish(&mut index, 1, 7, position).unwrap();
        }
        assert_eq!(live(&index, 1), (20, 0));
        let (queue, block) = index.unspilled(9).next().unwrap();
        let (first, entries) = (block.first, block.entries_in_memory().unwrap().to_vec());
        assert_eq!((queue, first, entries.len()), (7, 8, 8));
        index.apply(at(2, 40), &Record::Block { queue, first, entries }).unwrap();
        assert_eq!(index.unspilled(9).count(), 0);
        assert_eq!((live(&index, 1), live(&index, 2)), ((20, 0), (0, 1)));
        index.apply(at(2, 90), &Record::Consume { queue: 7, position: 10 }).unwrap();
        assert_eq!(live(&index, 1), (12, 0), "a block in the log counts until all of it is consumed");
        index.apply(at(2, 90), &Record::Consume { queue: 7, position: 17 }).unwrap();
        assert_eq!((live(&index, 1), live(&index, 2)), ((3, 0), (0, 0)));
        index.apply(at(2, 95), &Record::Remove { queue: 7 }).unwrap();
        assert_eq!(live(&index, 1), (0, 0));
    }

    #[test]
    fn a_moved_message_is_live_at_its_new_place() {
        let mut index = Index::default();
        publish(&mut index, 1, 7, 0).unwrap();
        publish(&mut index, 1, 7, 1).unwrap();
        index.apply(at(1, 9), &Record::Consume { queue: 7, position: 1 }).unwrap();
        let targets = [0, 1].map(|position| Target { queue: 7, position, flags: 0 }).into_iter().collect();
        index.apply(at(2, 36), &Record::Moved { targets, message: b"" }).unwrap();
        assert_eq!((live(&index, 1), live(&index, 2)), ((0, 0), (1, 0)));
    }
}
