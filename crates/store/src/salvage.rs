//! Looking through a store that may be damaged, and saving what is whole.

use std::path::PathBuf;

use bytes::Bytes;

use crate::batch::Batch;
use crate::checkpoint::{self, Covered, read_whole};
use crate::disk::{Directory, Disk, FileName};
use crate::error::{Damage, Error};
use crate::frame::{Frame, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::{Index, Kept};
use crate::options::Options;
use crate::reading::Reading;
use crate::record::{Entry, Location, Record};
use crate::recovery::Files;
use crate::scan::{Scan, Step};
use crate::store::Store;
use crate::writer::Writer;

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that were read.
    pub segments: u64,
    /// Frames that are whole.
    pub frames: u64,
    /// Bytes at the very end that are no whole frame: what a crash may leave. Room for frames to come is none of it.
    pub torn_bytes: u64,
    /// Everything that is not what it must be.
    pub damages: Vec<Damage>,
}

/// What [`salvage`] saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// What the damaged store looked like.
    pub report: Report,
    /// Entries of tables that were saved.
    pub table_entries: u64,
    /// Entries of queues that were saved, with their messages.
    pub messages: u64,
    /// Entries of queues whose message, or whose place, could not be read.
    pub messages_lost: u64,
}

/// Reads every byte of a store and changes none.
///
/// # Errors
///
/// [`Error::Io`] when the disk fails. Damage is no error here: it is in the report.
pub fn verify(disk: &mut dyn Disk) -> Result<Report, Error> {
    Ok(Inspection::of(disk)?.report)
}

/// Reads every byte of the store in a directory and changes none.
///
/// # Errors
///
/// [`Error::InUse`] with the process that has the store open; [`Error::Io`] when there is none, or the disk
/// fails. Damage is no error here: it is in the report.
pub fn verify_directory(path: impl Into<PathBuf>) -> Result<Report, Error> {
    verify(&mut Directory::open_existing(path)?)
}

/// Saves what is whole in the store in a directory, as [`salvage`] does, into another directory, which is made if
/// it is missing. The damaged store stays as it is.
///
/// # Errors
///
/// [`Error::InUse`] with the process that has either open; [`Error::Io`] when there is no store in the first, or
/// one that holds something in the second, or a disk fails; [`Error::Full`] when there is no space for what is
/// saved.
pub fn salvage_directory(
    path: impl Into<PathBuf>,
    into: impl Into<PathBuf>,
    options: Options,
) -> Result<Salvaged, Error> {
    let mut damaged = Directory::open_existing(path)?;
    salvage(&mut damaged, Directory::open(into)?, options)
}

/// Reads what is whole from a damaged store and writes it into a new one, in the order of the old.
///
/// Positions are new, and a message with several targets is stored once for each. If the checkpoint or a
/// frame that recorded a consumption is damaged, what was consumed may come back.
///
/// # Errors
///
/// [`Error::Io`] when a disk fails, or when the new one is not empty; [`Error::Full`] when there is no space
/// for what is saved.
pub fn salvage(disk: &mut dyn Disk, into: impl Disk, options: Options) -> Result<Salvaged, Error> {
    let Inspection { report, index, .. } = Inspection::of(disk)?;
    let (store, writer) = Store::open_driven(into, options)?;
    if store.watermark() > 0 {
        let source = std::io::ErrorKind::AlreadyExists.into();
        return Err(Error::failed("salvaging into", FileName::Segment(1), source));
    }
    let mut saving = Saving {
        disk,
        reading: Reading::default(),
        store,
        writer,
        saved: Salvaged { report, ..Salvaged::default() },
    };
    saving.tables(&index)?;
    saving.queues(&index)?;
    saving.writer.close();
    Ok(saving.saved)
}

/// A store as far as it can be read.
struct Inspection {
    report: Report,
    covered: Covered,
    index: Index,
    /// The sequence of the frame that is due.
    due: u64,
}

impl Inspection {
    fn of(disk: &mut dyn Disk) -> Result<Self, Error> {
        let files = Files::of(disk)?;
        let mut inspection =
            Self { report: Report::default(), covered: Covered::default(), index: Index::default(), due: 1 };
        inspection.read_checkpoint(disk, &files)?;
        let mut before = None;
        for number in &files.segments {
            inspection.read_segment(disk, *number, files.segments.last() == Some(number))?;
            if before.is_some_and(|before| before + 1 != *number) && *number > inspection.covered.segment {
                inspection.damaged(*number, 0, "the segment before", "none");
            }
            before = Some(*number);
        }
        inspection.find_missing(&files);
        Ok(inspection)
    }

    fn read_checkpoint(&mut self, disk: &mut dyn Disk, files: &Files) -> Result<(), Error> {
        let Some(newest) = files.checkpoints.last() else {
            if !files.segments.is_empty() {
                self.report.damages.push(Damage::new(FileName::Checkpoint(0), 0, "a checkpoint", "none"));
            }
            return Ok(());
        };
        match checkpoint::read(disk, FileName::Checkpoint(*newest)) {
            Ok((covered, index)) => (self.covered, self.index) = (covered, index),
            Err(Error::Corrupt(damage)) => self.report.damages.push(damage),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read_segment(&mut self, disk: &mut dyn Disk, number: u64, is_last: bool) -> Result<(), Error> {
        let bytes = read_whole(disk, FileName::Segment(number))?;
        self.report.segments += 1;
        self.index.segments.entry(number).bytes = bytes.len() as u64;
        match SegmentHeader::decode(&bytes) {
            Some(header) if self.covered.salt == 0 || header.salt == self.covered.salt => {
                self.covered.salt = header.salt;
                // Of segments before the checkpoint some may be gone.
                if header.first > self.due && number <= self.covered.segment {
                    self.due = header.first;
                }
            }
            _ if is_last
                && number > self.covered.segment
                && !has_frame(&bytes, self.covered.salt, number) =>
            {
                // A creation that was cut short: opening removes it.
                self.report.torn_bytes += bytes.len() as u64;
                return Ok(());
            }
            _ => self.damaged(number, 0, "the header of the segment", "another one"),
        }
        for step in Scan::new(&bytes, self.covered.salt, number, SEGMENT_HEADER_BYTES as u64) {
            match step {
                Step::Frame(offset, frame) => self.read_frame(number, offset, &frame),
                Step::Gap(offset, end) if is_last && end == bytes.len() as u64 => {
                    self.report.torn_bytes += written_bytes(&bytes, offset);
                }
                Step::Gap(offset, end) => {
                    self.damaged(number, offset, "a frame", &format!("{} bytes that are none", end - offset));
                }
            }
        }
        Ok(())
    }

    fn read_frame(&mut self, number: u64, offset: u64, frame: &Frame<'_>) {
        self.report.frames += 1;
        // Damage was named where it is; what follows it goes on.
        if frame.sequence < self.due || (frame.sequence > self.due && self.report.damages.is_empty()) {
            self.damaged(
                number,
                offset,
                &format!("frame {}", self.due),
                &format!("frame {}", frame.sequence),
            );
        }
        self.due = frame.sequence + 1;
        match frame.records() {
            None => self.damaged(number, offset, "records that make sense", "one that does not"),
            Some(records) if frame.sequence > self.covered.sequence => {
                records.iter().for_each(|(location, record)| self.apply(*location, record));
            }
            Some(_) => {}
        }
    }

    /// Applies a record as well as it can be after others were lost.
    fn apply(&mut self, location: Location, record: &Record<'_>) {
        if let Record::Publish { targets, .. } = record {
            for target in targets {
                let next = self.index.queues.get(&target.queue).map_or(0, |queue| queue.next);
                if target.position < next {
                    // The record that removed the queue is lost.
                    let _ = self.index.apply(location, &Record::Remove { queue: target.queue });
                }
                self.index.skip_to(target.queue, target.position);
            }
        }
        // What makes no sense refers to something that is lost.
        let _ = self.index.apply(location, record);
    }

    fn find_missing(&mut self, files: &Files) {
        let used: Vec<_> = self.index.segments.iter().map(|(number, used)| (number, *used)).collect();
        for (number, used) in used {
            if !files.segments.contains(&number) && !used.is_dead() {
                self.damaged(number, 0, &format!("a segment with {} entries", used.live), "none");
            }
        }
        if self.covered.segment > 0 && !files.segments.contains(&self.covered.segment) {
            self.damaged(self.covered.segment, 0, "the segment of the checkpoint", "none");
        }
        if self.due <= self.covered.sequence {
            let found = format!("the last is {}", self.due - 1);
            self.damaged(self.covered.segment, 0, &format!("frame {}", self.covered.sequence), &found);
        }
    }

    fn damaged(&mut self, segment: u64, offset: u64, expected: &str, found: &str) {
        self.report.damages.push(Damage::new(FileName::Segment(segment), offset, expected, found));
    }
}

/// What is saved, on its way into the new store.
struct Saving<'a> {
    disk: &'a mut dyn Disk,
    reading: Reading,
    store: Store,
    writer: Writer,
    saved: Salvaged,
}

impl Saving<'_> {
    fn tables(&mut self, index: &Index) -> Result<(), Error> {
        for (table, entries) in &index.tables {
            for (key, value) in entries {
                let mut batch = Batch::new();
                batch.put(*table, key.clone(), value.clone());
                self.commit(batch)?;
                self.saved.table_entries += 1;
            }
        }
        Ok(())
    }

    fn queues(&mut self, index: &Index) -> Result<(), Error> {
        let mut ids: Vec<u64> = index.queues.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(queue) = index.queues.get(&id) else { continue };
            for block in &queue.blocks {
                let consumed = usize::try_from(queue.head.saturating_sub(block.first)).unwrap_or(usize::MAX);
                let entries = match &block.kept {
                    Kept::Memory(entries) => entries.clone(),
                    Kept::Log { location, .. } => match self.block(index, *location)? {
                        Some(entries) => entries,
                        None => {
                            self.saved.messages_lost += block.count.saturating_sub(consumed as u64);
                            continue;
                        }
                    },
                };
                for entry in entries.iter().skip(consumed) {
                    self.entry(index, id, *entry)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, index: &Index, queue: u64, entry: Entry) -> Result<(), Error> {
        match self.message(index, entry.location)? {
            Some(message) => {
                let mut batch = Batch::new();
                batch.publish(message, [(queue, entry.flags)]);
                self.commit(batch)?;
                self.saved.messages += 1;
            }
            None => self.saved.messages_lost += 1,
        }
        Ok(())
    }

    fn block(&mut self, index: &Index, location: Location) -> Result<Option<Vec<Entry>>, Error> {
        let end = index.segments.of(location.segment).map_or(0, |used| used.bytes);
        whole(self.reading.block(self.disk, location, end).map(|entries| entries.to_vec()))
    }

    fn message(&mut self, index: &Index, location: Location) -> Result<Option<Bytes>, Error> {
        let end = index.segments.of(location.segment).map_or(0, |used| used.bytes);
        whole(self.reading.message(self.disk, location, end))
    }

    fn commit(&mut self, batch: Batch) -> Result<(), Error> {
        let ticket = self.store.commit(batch);
        self.writer.turn();
        ticket.wait().map(drop)
    }
}

/// Takes damage for something that is not there.
fn whole<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Error::Corrupt(_)) => Ok(None),
        // A segment that is gone.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns how many bytes of a segment from an offset on come before the zeros at its end.
fn written_bytes(bytes: &[u8], offset: u64) -> u64 {
    let room_begins = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    room_begins.saturating_sub(offset)
}

fn has_frame(bytes: &[u8], salt: u64, segment: u64) -> bool {
    Scan::new(bytes, salt, segment, 0).any(|step| matches!(step, Step::Frame(..)))
}
