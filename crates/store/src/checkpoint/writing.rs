//! Writing a checkpoint piece by piece, while the index goes on.

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Covered, MAGIC};
use crate::bytes_in::{put_counted, put_varint};
use crate::disk::{Disk, FileName};
use crate::error::Error;
use crate::frame::VERSION;
use crate::index::{Block, Index, Kept, Queue, Reached};
use crate::record::{put_entries, put_location};

/// What is written and synced at once; little in tests, so that small checkpoints take several.
pub(crate) const PIECE_BYTES: usize = if cfg!(test) { 300 } else { 256 << 10 };

/// A checkpoint on its way to the file.
///
/// It writes what the index was when it began: the index keeps what has changed since, as far as the walk has
/// not come by.
#[derive(Debug)]
pub(crate) struct Walk {
    covered: Covered,
    /// The tables there were, and the queues behind where it has come to.
    tables: Vec<u32>,
    queues: Vec<u64>,
    stage: Stage,
    piece: Vec<u8>,
    offset: u64,
    crc: u32,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    /// A table by its index, behind a key.
    Tables(usize, Option<Bytes>),
    /// A queue by its index.
    Queues(usize),
    Done,
}

impl Walk {
    /// Begins a checkpoint of what the index is now.
    pub(crate) fn begin(disk: &mut dyn Disk, covered: Covered, index: &RwLock<Index>) -> Result<Self, Error> {
        let file = FileName::Temporary;
        disk.create(file).map_err(|error| Error::io("creating", file, error))?;
        let mut piece = Vec::new();
        piece.extend_from_slice(&MAGIC);
        piece.extend_from_slice(&VERSION.to_le_bytes());
        for number in [covered.sequence, covered.segment, covered.offset, covered.salt] {
            piece.extend_from_slice(&number.to_le_bytes());
        }
        let known = index.read();
        put_segments(&mut piece, &known);
        let entries: usize = known.tables.values().map(|table| table.len()).sum();
        put_varint(&mut piece, entries as u64);
        let tables = known.tables.keys().copied().collect();
        let mut queues: Vec<u64> = known.queues.keys().copied().collect();
        drop(known);
        // Only the writer changes the index, and it is here.
        index.write().begin_snapshot();
        queues.sort_unstable();
        let stage = Stage::Tables(0, None);
        Ok(Self { covered, tables, queues, stage, piece, offset: 0, crc: 0 })
    }

    /// Returns what it covers.
    pub(crate) fn covered(&self) -> Covered {
        self.covered
    }

    /// Returns the bytes that are written.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Writes the next piece and makes it durable; returns whether it was the last.
    pub(crate) fn step(&mut self, disk: &mut dyn Disk, index: &RwLock<Index>) -> Result<bool, Error> {
        let first = self.queues_passed();
        while self.piece.len() < PIECE_BYTES && !matches!(self.stage, Stage::Done) {
            self.gather(&index.read());
        }
        let passed = self.queues.get(first..self.queues_passed()).unwrap_or_default();
        index.write().reach(self.reached(), passed);
        self.write(disk)?;
        Ok(matches!(self.stage, Stage::Done))
    }

    /// Gives the file its name and removes the others; returns its bytes.
    pub(crate) fn finish(mut self, disk: &mut dyn Disk) -> Result<u64, Error> {
        self.piece.extend_from_slice(&self.crc.to_le_bytes());
        self.write(disk)?;
        let (file, name) = (FileName::Temporary, FileName::Checkpoint(self.covered.sequence));
        disk.rename(file, name).map_err(|error| Error::io("renaming", file, error))?;
        disk.sync_directory().map_err(|error| Error::failed("syncing the directory of", name, error))?;
        for other in disk.list().map_err(|error| Error::io("listing", name, error))? {
            if matches!(other, FileName::Checkpoint(sequence) if sequence != self.covered.sequence) {
                disk.remove(other).map_err(|error| Error::io("removing", other, error))?;
            }
        }
        Ok(self.offset)
    }

    /// Adds what comes next, up to a piece.
    fn gather(&mut self, index: &Index) {
        match &mut self.stage {
            Stage::Tables(at, after) => match self.tables.get(*at) {
                Some(table) => match put_table(&mut self.piece, index, *table, after.take()) {
                    Some(last) => *after = Some(last),
                    None => *at += 1,
                },
                None => {
                    put_varint(&mut self.piece, self.queues.len() as u64);
                    self.stage = Stage::Queues(0);
                }
            },
            Stage::Queues(at) => match self.queues.get(*at) {
                Some(id) => {
                    index.put_queue_of_snapshot(&mut self.piece, *id);
                    *at += 1;
                }
                None => self.stage = Stage::Done,
            },
            Stage::Done => {}
        }
    }

    fn queues_passed(&self) -> usize {
        match &self.stage {
            Stage::Tables(..) => 0,
            Stage::Queues(at) => *at,
            Stage::Done => self.queues.len(),
        }
    }

    fn reached(&self) -> Reached {
        match &self.stage {
            Stage::Tables(at, after) => match (self.tables.get(*at), after) {
                (Some(table), after) => Reached::Table(*table, after.clone()),
                (None, _) => Reached::Queue(0),
            },
            Stage::Queues(at) => self.queues.get(*at).map_or(Reached::End, |id| Reached::Queue(*id)),
            Stage::Done => Reached::End,
        }
    }

    fn write(&mut self, disk: &mut dyn Disk) -> Result<(), Error> {
        let file = FileName::Temporary;
        self.crc = crc32c::crc32c_append(self.crc, &self.piece);
        disk.write_at(file, self.offset, &self.piece).map_err(|error| Error::io("writing", file, error))?;
        self.offset += self.piece.len() as u64;
        self.piece.clear();
        // Synced piece by piece, so that no commit has to wait for all of it at once.
        disk.sync(file).map_err(|error| Error::failed("syncing", file, error))
    }
}

/// Writes a checkpoint in one go; returns its bytes.
pub(crate) fn write(disk: &mut dyn Disk, covered: Covered, index: &RwLock<Index>) -> Result<u64, Error> {
    let mut walk = Walk::begin(disk, covered, index)?;
    while !walk.step(disk, index)? {}
    drop(index.write().end_snapshot());
    walk.finish(disk)
}

fn put_segments(out: &mut Vec<u8>, index: &Index) {
    let segments = index.segments.iter();
    put_varint(out, segments.len() as u64);
    for (number, used) in segments {
        put_varint(out, number);
        put_varint(out, used.entries);
        put_varint(out, used.bytes);
    }
}

/// Adds the entries of a table behind a key; returns the last key if there may be more than fits.
fn put_table(out: &mut Vec<u8>, index: &Index, table: u32, after: Option<Bytes>) -> Option<Bytes> {
    for (key, value) in index.table_of_snapshot(table, after.as_ref()) {
        put_varint(out, u64::from(table));
        put_counted(out, key);
        put_counted(out, value);
        if out.len() >= PIECE_BYTES {
            return Some(key.clone());
        }
    }
    None
}

/// Adds a queue and where its entries stand.
pub(crate) fn put_queue(out: &mut Vec<u8>, id: u64, queue: &Queue) {
    for number in [id, queue.head, queue.next, queue.blocks.len() as u64] {
        put_varint(out, number);
    }
    for block in &queue.blocks {
        put_block(out, block);
    }
}

fn put_block(out: &mut Vec<u8>, block: &Block) {
    put_varint(out, block.first);
    put_varint(out, block.count);
    match &block.kept {
        Kept::Memory(entries) => {
            out.push(0);
            put_entries(out, entries.iter());
        }
        Kept::Log { location, spans } => {
            out.push(1);
            put_location(out, *location);
            put_varint(out, spans.len() as u64);
            for span in spans {
                put_varint(out, span.segment);
                put_varint(out, span.entries);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::disk::SimulatedDisk;
    use crate::record::{Location, Record, Target};

    const COVERED: Covered = Covered { sequence: 4, segment: 1, offset: 77, salt: 6 };

    fn apply(index: &mut Index, record: &Record<'_>, offset: u32) {
        index.apply(Location { segment: 1, offset, bytes: 40 }, record).unwrap();
    }

    /// Makes a random change of any kind.
    fn change(index: &mut Index, rng: &mut Rng) {
        let (table, key, value) = (rng.u32(0..3), [rng.u8(0..40)], [rng.u8(..); 9]);
        let queue = rng.u64(0..30);
        let next = index.queues.get(&queue).map_or(0, |queue| queue.next);
        let record = match rng.u8(0..40) {
            0..8 => Record::Put { table, key: &key, value: &value },
            8..11 => Record::Delete { table, key: &key },
            11..15 => Record::Consume { queue, position: next.saturating_sub(rng.u64(0..30)) },
            15 => Record::Remove { queue },
            16..18 => {
                let Some((queue, block)) = index.unspilled(1).next() else { return };
                let (first, entries) = (block.first, block.entries_in_memory().unwrap().to_vec());
                Record::Block { queue, first, entries }
            }
            18..20 => {
                let position = next.saturating_sub(rng.u64(1..20));
                let targets = [Target { queue, position, flags: 0 }].into_iter().collect();
                Record::Moved { targets, message: b"" }
            }
            _ => {
                let targets = [Target { queue, position: next, flags: rng.u8(..) }].into_iter().collect();
                Record::Publish { targets, message: b"" }
            }
        };
        apply(index, &record, rng.u32(36..99));
    }

    #[test]
    fn a_checkpoint_is_what_the_index_was_when_it_began_whatever_changes_meanwhile() {
        let mut pieces = 0;
        for seed in 0..200 {
            let mut rng = Rng::with_seed(seed);
            let index = RwLock::new(Index::default());
            (0..rng.usize(0..2_000)).for_each(|_| change(&mut index.write(), &mut rng));
            let (mut still, mut moving) = (SimulatedDisk::new(), SimulatedDisk::new());
            write(&mut still, COVERED, &index).unwrap();
            let mut walk = Walk::begin(&mut moving, COVERED, &index).unwrap();
            loop {
                (0..rng.usize(0..60)).for_each(|_| change(&mut index.write(), &mut rng));
                pieces += 1;
                if walk.step(&mut moving, &index).unwrap() {
                    break;
                }
            }
            walk.finish(&mut moving).unwrap();
            let name = FileName::Checkpoint(4);
            assert_eq!(moving.contents(name), still.contents(name), "seed {seed}");
        }
        assert!(pieces > 1_200, "{pieces}");
    }

    #[test]
    fn what_is_written_is_not_kept_any_longer() {
        let index = RwLock::new(Index::default());
        let change_all = || {
            let mut index = index.write();
            for key in 0..200 {
                apply(&mut index, &Record::Put { table: 1, key: &[key], value: &[0; 20] }, 36);
                let queue = u64::from(key);
                let position = index.queues.get(&queue).map_or(0, |queue| queue.next);
                let targets = [Target { queue, position, flags: 0 }].into_iter().collect();
                apply(&mut index, &Record::Publish { targets, message: b"" }, 36);
            }
        };
        change_all();
        let mut disk = SimulatedDisk::new();
        let mut walk = Walk::begin(&mut disk, COVERED, &index).unwrap();
        let mut kept = Vec::new();
        let mut is_last = false;
        while !is_last {
            is_last = walk.step(&mut disk, &index).unwrap();
            change_all();
            kept.push(index.read().kept());
        }
        let falls = |pair: &[usize]| pair[0] > pair[1] || pair[1] == 0;
        let (entries, queues): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        assert!(entries.len() > 10 && entries.windows(2).all(falls), "{entries:?}");
        assert_eq!((entries.last(), queues.last()), (Some(&0), Some(&0)));
        assert!(queues.iter().max() == Some(&200) && queues.is_sorted_by(|a, b| a >= b), "{queues:?}");
        drop(index.write().end_snapshot());
        let mut walk = Walk::begin(&mut disk, COVERED, &index).unwrap();
        while !walk.step(&mut disk, &index).unwrap() {}
        change_all();
        assert_eq!(index.read().kept(), (0, 0));
    }
}
