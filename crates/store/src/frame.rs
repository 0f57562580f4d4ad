//! Frames: what makes a batch whole.
//!
//! A frame is broken when
//! - its header or its records are cut short,
//! - its checksum differs, which is also so at another place or in another store than its own,
//! - its sequence is not the one that is due,
//! - its records are not as many as it says, or one of them makes no sense.

use crate::bytes_in::BytesIn;
use crate::record::{HEADER_BYTES as RECORD_HEADER_BYTES, Location, Record, set_u32};

/// Bytes before the records of a frame.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes before the first frame of a segment.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 36;
/// Version of the format.
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 4] = *b"XPFR";
const SEGMENT_MAGIC: [u8; 4] = *b"XPSG";

/// Where a frame stands, which its checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) salt: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// A frame that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    /// The last frame that was synced when this one was written.
    pub(crate) watermark: u64,
    place: Place,
    count: u32,
    records: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the front of some bytes; `None` when there is no whole one.
    pub(crate) fn decode(bytes: &'a [u8], place: Place) -> Option<Self> {
        let mut header = BytesIn::new(bytes);
        if header.take(4)? != MAGIC {
            return None;
        }
        let length = usize::try_from(header.u32()?).ok()?;
        let (sequence, watermark) = (header.u64()?, header.u64()?);
        let (count, crc) = (header.u32()?, header.u32()?);
        let records = header.take(length)?;
        let frame = Self { sequence, watermark, place, count, records };
        (crc == checksum(bytes.get(..28)?, records, place)).then_some(frame)
    }

    /// Returns the bytes of header and records.
    pub(crate) fn length(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Returns the records with where they stand, or `None` when one makes no sense.
    pub(crate) fn records(&self) -> Option<Vec<(Location, Record<'a>)>> {
        let mut bytes = BytesIn::new(self.records);
        let mut records =
            Vec::with_capacity((self.count as usize).min(self.records.len() / RECORD_HEADER_BYTES));
        for _ in 0..self.count {
            let before = bytes.rest().len();
            let record = Record::decode(&mut bytes)?;
            let start = self.length() - before;
            let location = Location {
                segment: self.place.segment,
                offset: u32::try_from(self.place.offset + start as u64).ok()?,
                bytes: u32::try_from(before - bytes.rest().len()).ok()?,
            };
            records.push((location, record));
        }
        bytes.is_empty().then_some(records)
    }
}

/// Makes room for the header at the front of a frame to be.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; HEADER_BYTES]);
}

/// Writes the header of a frame whose records stand behind the room for it.
pub(crate) fn finish(out: &mut [u8], sequence: u64, watermark: u64, count: u32, place: Place) {
    let Some((header, records)) = out.split_first_chunk_mut::<HEADER_BYTES>() else { return };
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    // A frame holds less than 2 GiB, see `Writer`.
    bytes.extend_from_slice(&(records.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&watermark.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    let crc = checksum(&bytes, records, place);
    bytes.extend_from_slice(&crc.to_le_bytes());
    header.copy_from_slice(&bytes);
}

/// Returns the next offset from `from` on at which a frame may begin.
pub(crate) fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(MAGIC.len()).position(|window| window == MAGIC).map(|at| from + at)
}

fn checksum(header: &[u8], records: &[u8], place: Place) -> u32 {
    let crc = crc32c::crc32c(&place.salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.segment.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, header);
    crc32c::crc32c_append(crc, records)
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    /// The sequence of its first frame.
    pub(crate) first: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        let mut header = [0; SEGMENT_HEADER_BYTES];
        for (place, byte) in header.iter_mut().zip(&bytes) {
            *place = *byte;
        }
        set_u32(&mut header, 32, crc);
        header
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut header = BytesIn::new(bytes);
        if header.take(4)? != SEGMENT_MAGIC || header.u32()? != VERSION {
            return None;
        }
        let decoded = Self { number: header.u64()?, salt: header.u64()?, first: header.u64()? };
        (header.u32()? == crc32c::crc32c(bytes.get(..32)?)).then_some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;

    const PLACE: Place = Place { salt: 5, segment: 2, offset: 36 };

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out);
        record::encode_put(&mut out, 1, b"key", b"value");
        record::encode_remove(&mut out, 4);
        finish(&mut out, 17, 16, 2, PLACE);
        out
    }

    #[test]
    fn a_frame_comes_back_with_the_places_of_its_records() {
        let out = sample();
        let frame = Frame::decode(&out, PLACE).unwrap();
        assert_eq!((frame.sequence, frame.watermark, frame.length()), (17, 16, out.len()));
        let records = frame.records().unwrap();
        assert_eq!(records[0].0.offset, 36 + 32);
        assert_eq!(records[1].1, Record::Remove { queue: 4 });
        assert_eq!(u64::from(records[1].0.offset + records[1].0.bytes), 36 + out.len() as u64);
    }

    #[test]
    fn a_changed_byte_a_cut_and_another_place_break_it() {
        let out = sample();
        for index in 0..out.len() {
            let mut changed = out.clone();
            changed[index] ^= 0x10;
            assert_eq!(Frame::decode(&changed, PLACE), None, "byte {index}");
            assert_eq!(Frame::decode(&out[..index], PLACE), None);
        }
        assert_eq!(Frame::decode(&out, Place { offset: 37, ..PLACE }), None);
        assert_eq!(Frame::decode(&out, Place { salt: 6, ..PLACE }), None);
    }

    #[test]
    fn a_segment_header_comes_back_unless_it_is_changed() {
        let header = SegmentHeader { number: 3, salt: 9, first: 100 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for index in 0..bytes.len() {
            let mut changed = bytes;
            changed[index] ^= 1;
            assert_eq!(SegmentHeader::decode(&changed), None);
        }
    }
}
