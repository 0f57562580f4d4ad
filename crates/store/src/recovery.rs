//! Opening: the newest checkpoint, then the tail of the log; what was cut short is finished or cut off, what
//! is damaged is refused.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use parking_lot::RwLock;

use crate::checkpoint::{self, Covered, read_whole};
use crate::disk::{Disk, FileName};
use crate::error::{Damage, Error};
use crate::frame::{Frame, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::Index;
use crate::record::{Location, Record};
use crate::scan::{Scan, Step};

/// A store as it was found, ready to be written on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) checkpoint: Covered,
    pub(crate) checkpoint_bytes: u64,
    /// The last frame.
    pub(crate) sequence: u64,
    /// The last segment, and where the next frame goes.
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Opens what is on a disk, or makes a store on an empty one.
pub(crate) fn open(disk: &mut dyn Disk) -> Result<Recovered, Error> {
    let files = Files::of(disk)?;
    if files.has_temporary {
        remove(disk, FileName::Temporary)?;
    }
    let Some(newest) = files.checkpoints.last().copied() else { return make(disk, &files) };
    // What is listed may have got its name in memory only, since an earlier sync may have failed.
    sync_directory(disk)?;
    let name = FileName::Checkpoint(newest);
    let (checkpoint, index) = checkpoint::read(disk, name)?;
    let checkpoint_bytes = disk.length(name).map_err(|error| Error::io("measuring", name, error))?;
    let tail = Tail::new(checkpoint, index, &files.segments);
    let mut recovered = tail.read(disk)?;
    recovered.checkpoint_bytes = checkpoint_bytes;
    for older in files.checkpoints.iter().filter(|sequence| **sequence != newest) {
        remove(disk, FileName::Checkpoint(*older))?;
    }
    check_segments(&mut recovered, &files)?;
    remove_unneeded(disk, &recovered, &files)?;
    Ok(recovered)
}

/// The files that there are.
pub(crate) struct Files {
    pub(crate) segments: BTreeSet<u64>,
    pub(crate) checkpoints: BTreeSet<u64>,
    has_temporary: bool,
}

impl Files {
    pub(crate) fn of(disk: &mut dyn Disk) -> Result<Self, Error> {
        let mut files =
            Self { segments: BTreeSet::new(), checkpoints: BTreeSet::new(), has_temporary: false };
        for name in disk.list().map_err(|error| Error::io("listing", FileName::Segment(1), error))? {
            match name {
                FileName::Segment(number) => _ = files.segments.insert(number),
                FileName::Checkpoint(sequence) => _ = files.checkpoints.insert(sequence),
                FileName::Temporary => files.has_temporary = true,
                FileName::Reserve => {}
            }
        }
        Ok(files)
    }
}

/// Writes the header of a new segment and makes it durable.
pub(crate) fn make_segment(disk: &mut dyn Disk, header: SegmentHeader) -> Result<(), Error> {
    let file = FileName::Segment(header.number);
    disk.create(file).map_err(|error| Error::io("creating", file, error))?;
    disk.write_at(file, 0, &header.encode()).map_err(|error| Error::io("writing", file, error))?;
    disk.sync(file).map_err(|error| Error::failed("syncing", file, error))?;
    sync_directory(disk)
}

/// Makes a store where there is none, or where making one was cut short.
fn make(disk: &mut dyn Disk, files: &Files) -> Result<Recovered, Error> {
    for segment in &files.segments {
        let file = FileName::Segment(*segment);
        let length = disk.length(file).map_err(|error| Error::io("measuring", file, error))?;
        if *segment != 1 || length > SEGMENT_HEADER_BYTES as u64 {
            return Err(Damage::new(file, 0, "a checkpoint that leads here", "none").into());
        }
    }
    let salt = RandomState::new().build_hasher().finish();
    make_segment(disk, SegmentHeader { number: 1, salt, first: 1 })?;
    let offset = SEGMENT_HEADER_BYTES as u64;
    let covered = Covered { sequence: 0, segment: 1, offset, salt };
    let mut index = Index::default();
    index.segments.entry(1);
    let index = RwLock::new(index);
    let checkpoint_bytes = checkpoint::write(disk, covered, &index)?;
    let index = index.into_inner();
    Ok(Recovered { index, checkpoint: covered, checkpoint_bytes, sequence: 0, segment: 1, offset })
}

/// The log behind a checkpoint, as it is read.
struct Tail<'a> {
    segments: &'a BTreeSet<u64>,
    found: Recovered,
    /// The frames of the last segment that no later one vouches for, and where they stand. Its header counts as the
    /// frame before its first.
    unproven: VecDeque<(u64, u64)>,
}

impl<'a> Tail<'a> {
    fn new(checkpoint: Covered, index: Index, segments: &'a BTreeSet<u64>) -> Self {
        let Covered { sequence, segment, offset, .. } = checkpoint;
        let found = Recovered { index, checkpoint, checkpoint_bytes: 0, sequence, segment, offset };
        Self { segments, found, unproven: VecDeque::new() }
    }

    fn read(mut self, disk: &mut dyn Disk) -> Result<Recovered, Error> {
        let first = self.found.segment;
        if !self.segments.contains(&first) {
            return Err(
                Damage::new(FileName::Segment(first), 0, "the segment of the checkpoint", "none").into()
            );
        }
        let last = self.segments.last().copied().unwrap_or(first);
        let mut bytes = Vec::new();
        for number in first..=last {
            if !self.segments.contains(&number) {
                let file = FileName::Segment(number);
                return Err(Damage::new(file, 0, "a segment between others", "none").into());
            }
            let read = read_whole(disk, FileName::Segment(number))?;
            if number > first && !self.enter(number, &read) {
                let (next, broken) = (self.found.sequence + 1, Broken::Header);
                prove(disk, self.segments, &self.found, &read, number, broken, next)?;
                remove(disk, FileName::Segment(number))?;
                sync_directory(disk)?;
                continue;
            }
            bytes = read;
            if let Some(offset) = self.read_frames(&bytes)? {
                let (next, broken) = (self.found.sequence + 1, Broken::Frame(offset));
                prove(disk, self.segments, &self.found, &bytes, number, broken, next)?;
                cut(disk, number, offset)?;
            }
        }
        self.write_unproven(disk, &bytes)?;
        Ok(self.found)
    }

    /// Goes on to the next segment if its header is what it must be.
    fn enter(&mut self, number: u64, bytes: &[u8]) -> bool {
        let (salt, first) = (self.found.checkpoint.salt, self.found.sequence + 1);
        if SegmentHeader::decode(bytes) != Some(SegmentHeader { number, salt, first }) {
            return false;
        }
        self.found.index.segments.entry(self.found.segment).bytes = self.found.offset;
        self.found.index.segments.entry(number);
        self.found.segment = number;
        self.found.offset = SEGMENT_HEADER_BYTES as u64;
        // Everything before the header was synced before it was written; whether it was itself, a frame will say.
        self.unproven = VecDeque::from([(first - 1, 0)]);
        true
    }

    /// Applies the frames of the current segment; returns where they end if that is not the end of the
    /// segment.
    fn read_frames(&mut self, bytes: &[u8]) -> Result<Option<u64>, Error> {
        let (salt, segment) = (self.found.checkpoint.salt, self.found.segment);
        for step in Scan::new(bytes, salt, segment, self.found.offset) {
            match step {
                Step::Frame(offset, frame) if frame.sequence == self.found.sequence + 1 => {
                    let records = records(segment, offset, &frame)?;
                    apply(&mut self.found.index, segment, offset, &records)?;
                    self.unproven.push_back((frame.sequence, offset));
                    let vouched = self.unproven.partition_point(|(sequence, _)| *sequence <= frame.watermark);
                    self.unproven.drain(..vouched);
                    self.found.sequence = frame.sequence;
                    self.found.offset = offset + frame.length() as u64;
                }
                Step::Frame(offset, _) | Step::Gap(offset, _) => return Ok(Some(offset)),
            }
        }
        Ok((self.found.offset > bytes.len() as u64).then_some(bytes.len() as u64))
    }

    /// Writes again what may be in the page cache only, since a sync may have failed before.
    fn write_unproven(&self, disk: &mut dyn Disk, bytes: &[u8]) -> Result<(), Error> {
        let file = FileName::Segment(self.found.segment);
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let Some((_, start)) = self.unproven.front().copied() else { return Ok(()) };
        let frames = bytes.get(index(start)..index(self.found.offset)).unwrap_or_default();
        disk.write_at(file, start, frames).map_err(|error| Error::failed("writing", file, error))?;
        disk.sync(file).map_err(|error| Error::failed("syncing", file, error))
    }
}

/// Returns the records of a frame, with where they stand.
pub(crate) fn records<'a>(
    segment: u64,
    offset: u64,
    frame: &Frame<'a>,
) -> Result<Vec<(Location, Record<'a>)>, Error> {
    frame.records().ok_or_else(|| senseless(segment, offset, "one that does not"))
}

/// Applies records of a frame to the index.
pub(crate) fn apply(
    index: &mut Index,
    segment: u64,
    offset: u64,
    records: &[(Location, Record<'_>)],
) -> Result<(), Error> {
    let mut records = records.iter();
    records.try_for_each(|(location, record)| {
        index.apply(*location, record).map_err(|found| senseless(segment, offset, found))
    })
}

fn senseless(segment: u64, offset: u64, found: &str) -> Error {
    Damage::new(FileName::Segment(segment), offset, "records that make sense", found).into()
}

/// What ends the log before its end.
#[derive(Clone, Copy)]
enum Broken {
    Header,
    Frame(u64),
}

/// Refuses a break if something behind it proves that what should stand there was synced.
fn prove(
    disk: &mut dyn Disk,
    segments: &BTreeSet<u64>,
    found: &Recovered,
    bytes: &[u8],
    number: u64,
    broken: Broken,
    due: u64,
) -> Result<(), Error> {
    let salt = found.checkpoint.salt;
    let (offset, expected) = match broken {
        Broken::Header => (0, "the header of the segment".to_owned()),
        Broken::Frame(offset) => (offset, format!("frame {due}")),
    };
    let refuse = |why: String| Err(Damage::new(FileName::Segment(number), offset, &expected, why).into());
    if due <= found.checkpoint.sequence || offset < found_offset(found, number) {
        return refuse("less than what the checkpoint covers".to_owned());
    }
    if let Some(proof) = proof(bytes, salt, number, offset, due) {
        return refuse(format!("none that is whole, but frame {proof} behind it says that it was synced"));
    }
    for later in segments.range(number + 1..) {
        let bytes = read_whole(disk, FileName::Segment(*later))?;
        if SegmentHeader::decode(&bytes).is_some_and(|header| header.salt == salt) {
            return refuse(format!("none that is whole, but segment {later} was begun after it"));
        }
        if let Some(proof) = proof(&bytes, salt, *later, 0, due) {
            return refuse(format!(
                "none that is whole, but frame {proof} behind it says that it was synced"
            ));
        }
    }
    Ok(())
}

/// Returns up to where the checkpoint vouches for a segment.
fn found_offset(found: &Recovered, number: u64) -> u64 {
    if number == found.checkpoint.segment { found.checkpoint.offset } else { 0 }
}

/// Returns a frame in a segment that says that the one that is due was synced.
fn proof(bytes: &[u8], salt: u64, segment: u64, offset: u64, due: u64) -> Option<u64> {
    Scan::new(bytes, salt, segment, offset).find_map(|step| match step {
        Step::Frame(_, frame) if frame.watermark >= due => Some(frame.sequence),
        _ => None,
    })
}

fn cut(disk: &mut dyn Disk, number: u64, offset: u64) -> Result<(), Error> {
    let file = FileName::Segment(number);
    disk.truncate(file, offset).map_err(|error| Error::failed("cutting", file, error))?;
    disk.sync(file).map_err(|error| Error::failed("syncing", file, error))
}

/// Refuses a store that lacks a segment in which something is live.
fn check_segments(recovered: &mut Recovered, files: &Files) -> Result<(), Error> {
    let used: Vec<_> = recovered.index.segments.iter().map(|(number, used)| (number, *used)).collect();
    for (number, used) in used.into_iter().filter(|(number, _)| !files.segments.contains(number)) {
        if !used.is_dead() {
            let expected = format!("a segment with {} entries", used.live);
            return Err(Damage::new(FileName::Segment(number), 0, expected, "none").into());
        }
        recovered.index.segments.remove(number);
    }
    Ok(())
}

/// Removes segments before the checkpoint's that nothing needs.
fn remove_unneeded(disk: &mut dyn Disk, recovered: &Recovered, files: &Files) -> Result<(), Error> {
    for number in files.segments.range(..recovered.checkpoint.segment) {
        if recovered.index.segments.of(*number).is_none() {
            remove(disk, FileName::Segment(*number))?;
        }
    }
    Ok(())
}

fn sync_directory(disk: &mut dyn Disk) -> Result<(), Error> {
    disk.sync_directory()
        .map_err(|error| Error::failed("syncing the directory of", FileName::Segment(1), error))
}

fn remove(disk: &mut dyn Disk, file: FileName) -> Result<(), Error> {
    disk.remove(file).map_err(|error| Error::io("removing", file, error))
}
