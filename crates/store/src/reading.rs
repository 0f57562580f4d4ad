//! Reading messages and blocks back: from the frames written last, or from a segment.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::bytes_in::BytesIn;
use crate::disk::{Disk, FileName};
use crate::error::{Damage, Error};
use crate::record::{Entry, Location, Record};

/// Frames that are kept in memory after they were written, in bytes.
const RECENT_BYTES_MAX: usize = 4 << 20;
/// What is read from a segment at once.
const AHEAD_BYTES: u64 = 256 << 10;
/// Blocks that are kept after they were read.
const BLOCKS_MAX: usize = 64;

/// What was read or written lately.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    recent: VecDeque<Piece>,
    recent_bytes: usize,
    ahead: Option<Piece>,
    blocks: VecDeque<(Location, Arc<[Entry]>)>,
}

/// Some bytes of a segment.
#[derive(Debug)]
struct Piece {
    segment: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn part(&self, location: Location) -> Option<&[u8]> {
        if self.segment != location.segment {
            return None;
        }
        let start = usize::try_from(u64::from(location.offset).checked_sub(self.offset)?).ok()?;
        self.bytes.get(start..start.checked_add(location.bytes as usize)?)
    }
}

impl Reading {
    /// Keeps a frame that was just written.
    pub(crate) fn keep(&mut self, segment: u64, offset: u64, bytes: Vec<u8>) {
        self.recent_bytes += bytes.len();
        self.recent.push_back(Piece { segment, offset, bytes });
        while self.recent_bytes > RECENT_BYTES_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_bytes -= oldest.bytes.len();
        }
    }

    /// Returns a message. `end` is where its segment ends.
    pub(crate) fn message(
        &mut self,
        disk: &mut dyn Disk,
        location: Location,
        end: u64,
    ) -> Result<Bytes, Error> {
        let bytes = self.bytes(disk, location, end)?;
        match Record::decode(&mut BytesIn::new(bytes)) {
            Some(Record::Publish { message, .. } | Record::Moved { message, .. }) => {
                Ok(Bytes::copy_from_slice(message))
            }
            _ => Err(damaged(location, "a message")),
        }
    }

    /// Returns the entries of a block.
    pub(crate) fn block(
        &mut self,
        disk: &mut dyn Disk,
        location: Location,
        end: u64,
    ) -> Result<Arc<[Entry]>, Error> {
        if let Some((_, entries)) = self.blocks.iter().find(|(kept, _)| *kept == location) {
            return Ok(Arc::clone(entries));
        }
        let bytes = self.bytes(disk, location, end)?;
        let Some(Record::Block { entries, .. }) = Record::decode(&mut BytesIn::new(bytes)) else {
            return Err(damaged(location, "a block"));
        };
        let entries: Arc<[Entry]> = entries.into();
        self.blocks.push_back((location, Arc::clone(&entries)));
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks.pop_front();
        }
        Ok(entries)
    }

    fn bytes(&mut self, disk: &mut dyn Disk, location: Location, end: u64) -> Result<&[u8], Error> {
        if self.recent_piece(location).is_none()
            && self.ahead.as_ref().and_then(|piece| piece.part(location)).is_none()
        {
            self.read_ahead(disk, location, end)?;
        }
        let piece = self.recent_piece(location).or(self.ahead.as_ref());
        piece.and_then(|piece| piece.part(location)).ok_or_else(|| damaged(location, "a record"))
    }

    fn recent_piece(&self, location: Location) -> Option<&Piece> {
        let place = (location.segment, u64::from(location.offset));
        let after = self.recent.partition_point(|piece| (piece.segment, piece.offset) <= place);
        self.recent.get(after.checked_sub(1)?).filter(|piece| piece.part(location).is_some())
    }

    fn read_ahead(&mut self, disk: &mut dyn Disk, location: Location, end: u64) -> Result<(), Error> {
        let file = FileName::Segment(location.segment);
        let offset = u64::from(location.offset);
        let needed = offset + u64::from(location.bytes);
        if needed > end {
            return Err(damaged(location, "a record"));
        }
        let until = needed.max((offset + AHEAD_BYTES).min(end));
        let mut bytes = self.ahead.take().map(|piece| piece.bytes).unwrap_or_default();
        bytes.resize(usize::try_from(until - offset).unwrap_or(usize::MAX), 0);
        match disk.read_at(file, offset, &mut bytes) {
            Ok(()) => self.ahead = Some(Piece { segment: location.segment, offset, bytes }),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(damaged(location, "a record"));
            }
            Err(error) => return Err(Error::failed("reading", file, error)),
        }
        Ok(())
    }
}

fn damaged(location: Location, expected: &str) -> Error {
    let offset = u64::from(location.offset);
    let found = format!("{} bytes that are none", location.bytes);
    Damage::new(FileName::Segment(location.segment), offset, expected, found).into()
}
