//! Answering reads.

use std::sync::Arc;

use super::Writer;
use crate::error::Error;
use crate::index::Kept;
use crate::record::{Entry, Location};
use crate::shared::Read;
use crate::store::Waiting;

/// Entries that are looked up at once.
const LOOKED_UP_MAX: usize = 256;

/// Where the next entries of a queue are.
enum Next {
    Nothing,
    /// In memory, with the position of the first.
    Memory(u64, Vec<Entry>),
    /// In a block record: the position of the first that is wanted, that of the block's first, and where it
    /// stands.
    Log(u64, u64, Location),
}

impl Writer {
    pub(super) fn serve(&mut self, read: Read) {
        let answer = match &self.poison {
            Some(error) => Err(error.clone().poisoned()),
            None => self.read(&read),
        };
        read.promise.answer(answer);
    }

    fn read(&mut self, read: &Read) -> Result<Vec<Waiting>, Error> {
        let mut found = Vec::new();
        let (mut from, mut bytes) = (read.from, 0);
        // The first is given whatever it holds.
        let is_full = |found: &[Waiting], bytes| {
            found.len() >= read.count_max || (bytes >= read.bytes_max && !found.is_empty())
        };
        while !is_full(&found, bytes) {
            let (first, entries) = match self.entries(read.queue, from) {
                Ok(Some(entries)) => entries,
                Ok(None) => break,
                Err(error) => return or_what_was_found(found, error),
            };
            from = first + entries.len() as u64;
            for (position, entry) in (first..).zip(entries) {
                if is_full(&found, bytes) {
                    break;
                }
                match self.message(entry.location) {
                    Ok(message) => {
                        bytes += message.len();
                        found.push(Waiting { position, flags: entry.flags, message });
                    }
                    Err(error) => return or_what_was_found(found, error),
                }
            }
        }
        Ok(found)
    }

    /// Returns some entries from a position on, and the position of the first.
    fn entries(&mut self, queue: u64, from: u64) -> Result<Option<(u64, Vec<Entry>)>, Error> {
        match self.look_up(queue, from) {
            Next::Nothing => Ok(None),
            Next::Memory(first, entries) => Ok(Some((first, entries))),
            Next::Log(first, block_first, location) => {
                let entries = self.block(location)?;
                let skipped = usize::try_from(first - block_first).unwrap_or(usize::MAX);
                let some: Vec<_> = entries.iter().skip(skipped).take(LOOKED_UP_MAX).copied().collect();
                Ok((!some.is_empty()).then_some((first, some)))
            }
        }
    }

    fn look_up(&self, queue: u64, from: u64) -> Next {
        let index = self.shared.index.read();
        let Some(queue) = index.queues.get(&queue) else { return Next::Nothing };
        let from = from.max(queue.head);
        let Some(block) = queue.block_from(from) else { return Next::Nothing };
        let first = from.max(block.first);
        match &block.kept {
            Kept::Log { location, .. } => Next::Log(first, block.first, *location),
            Kept::Memory(entries) => {
                let skipped = usize::try_from(first - block.first).unwrap_or(usize::MAX);
                let some = entries.iter().skip(skipped).take(LOOKED_UP_MAX).copied().collect();
                Next::Memory(first, some)
            }
        }
    }

    pub(super) fn message(&mut self, location: Location) -> Result<bytes::Bytes, Error> {
        let end = self.end_of(location.segment);
        self.reading.message(&mut *self.disk.0, location, end)
    }

    pub(super) fn block(&mut self, location: Location) -> Result<Arc<[Entry]>, Error> {
        let end = self.end_of(location.segment);
        self.reading.block(&mut *self.disk.0, location, end)
    }

    fn end_of(&self, segment: u64) -> u64 {
        if segment == self.segment {
            return self.offset;
        }
        self.shared.index.read().segments.of(segment).map_or(0, |used| used.bytes)
    }
}

/// What is damaged behind what was found comes first in the next read.
fn or_what_was_found(found: Vec<Waiting>, error: Error) -> Result<Vec<Waiting>, Error> {
    if found.is_empty() { Err(error) } else { Ok(found) }
}
