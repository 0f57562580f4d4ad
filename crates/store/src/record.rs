//! The records of a frame: what a commit changes.
//!
//! Encoding writes straight into the frame; decoding borrows from it. Both follow `docs/formats/log.md`.

use smallvec::SmallVec;

use crate::bytes_in::{BytesIn, put_counted, put_varint};

/// Bytes before the body of a record: kind and length.
pub(crate) const HEADER_BYTES: usize = 5;

const PUBLISH: u8 = 1;
const MOVED: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const CONSUME: u8 = 5;
const REMOVE: u8 = 6;
const BLOCK: u8 = 7;

/// Where a record stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// One entry of a queue: where its message is, and a byte that the owner of the queue understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) location: Location,
    pub(crate) flags: u8,
}

/// A queue that a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) queue: u64,
    pub(crate) position: u64,
    pub(crate) flags: u8,
}

/// The targets of a message; most have one.
pub(crate) type Targets = SmallVec<[Target; 2]>;

/// A record as it is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record<'a> {
    Publish { targets: Targets, message: &'a [u8] },
    Moved { targets: Targets, message: &'a [u8] },
    Put { table: u32, key: &'a [u8], value: &'a [u8] },
    Delete { table: u32, key: &'a [u8] },
    Consume { queue: u64, position: u64 },
    Remove { queue: u64 },
    Block { queue: u64, first: u64, entries: Vec<Entry> },
}

impl<'a> Record<'a> {
    /// Takes the next record from the front; `None` when there is none that makes sense.
    pub(crate) fn decode(bytes: &mut BytesIn<'a>) -> Option<Self> {
        let kind = bytes.u8()?;
        let length = usize::try_from(bytes.u32()?).ok()?;
        let mut body = BytesIn::new(bytes.take(length)?);
        match kind {
            PUBLISH => message(body).map(|(targets, message)| Self::Publish { targets, message }),
            MOVED => message(body).map(|(targets, message)| Self::Moved { targets, message }),
            PUT => {
                let table = body.varint_as()?;
                Some(Self::Put { table, key: body.counted()?, value: body.rest() })
            }
            DELETE => Some(Self::Delete { table: body.varint_as()?, key: body.rest() }),
            CONSUME => {
                let record = Self::Consume { queue: body.varint()?, position: body.varint()? };
                body.is_empty().then_some(record)
            }
            REMOVE => {
                let record = Self::Remove { queue: body.varint()? };
                body.is_empty().then_some(record)
            }
            BLOCK => block(body),
            _ => None,
        }
    }
}

/// Reads the targets and the message of a publish or moved record.
fn message(body: BytesIn<'_>) -> Option<(Targets, &[u8])> {
    let mut body = checked(body)?;
    let count: usize = body.varint_as()?;
    // A target has at least three bytes, so that a false count takes no memory.
    let mut targets = Targets::with_capacity(count.min(body.rest().len() / 3));
    for _ in 0..count {
        targets.push(Target { queue: body.varint()?, position: body.varint()?, flags: body.u8()? });
    }
    Some((targets, body.rest()))
}

fn block<'a>(body: BytesIn<'_>) -> Option<Record<'a>> {
    let mut body = checked(body)?;
    let (queue, first) = (body.varint()?, body.varint()?);
    let entries = decode_entries(&mut body)?;
    body.is_empty().then_some(Record::Block { queue, first, entries })
}

/// Takes the checksum from the front and compares it with the rest.
fn checked(mut body: BytesIn<'_>) -> Option<BytesIn<'_>> {
    let crc = body.u32()?;
    (crc == crc32c::crc32c(body.rest())).then_some(body)
}

pub(crate) fn decode_entries(bytes: &mut BytesIn<'_>) -> Option<Vec<Entry>> {
    let count: usize = bytes.varint_as()?;
    let mut entries = Vec::with_capacity(count.min(bytes.rest().len() / 4));
    for _ in 0..count {
        entries.push(Entry { location: decode_location(bytes)?, flags: bytes.u8()? });
    }
    Some(entries)
}

pub(crate) fn decode_location(bytes: &mut BytesIn<'_>) -> Option<Location> {
    Some(Location { segment: bytes.varint()?, offset: bytes.varint_as()?, bytes: bytes.varint_as()? })
}

pub(crate) fn put_location(out: &mut Vec<u8>, location: Location) {
    put_varint(out, location.segment);
    put_varint(out, u64::from(location.offset));
    put_varint(out, u64::from(location.bytes));
}

pub(crate) fn put_entries<'a>(out: &mut Vec<u8>, entries: impl ExactSizeIterator<Item = &'a Entry>) {
    put_varint(out, entries.len() as u64);
    for entry in entries {
        put_location(out, entry.location);
        out.push(entry.flags);
    }
}

pub(crate) fn encode_publish(out: &mut Vec<u8>, targets: &[Target], message: &[u8]) {
    encode_message(out, PUBLISH, targets, message);
}

pub(crate) fn encode_moved(out: &mut Vec<u8>, targets: &[Target], message: &[u8]) {
    encode_message(out, MOVED, targets, message);
}

pub(crate) fn encode_put(out: &mut Vec<u8>, table: u32, key: &[u8], value: &[u8]) {
    encode(out, PUT, |out| {
        put_varint(out, u64::from(table));
        put_counted(out, key);
        out.extend_from_slice(value);
    });
}

pub(crate) fn encode_delete(out: &mut Vec<u8>, table: u32, key: &[u8]) {
    encode(out, DELETE, |out| {
        put_varint(out, u64::from(table));
        out.extend_from_slice(key);
    });
}

pub(crate) fn encode_consume(out: &mut Vec<u8>, queue: u64, position: u64) {
    encode(out, CONSUME, |out| {
        put_varint(out, queue);
        put_varint(out, position);
    });
}

pub(crate) fn encode_remove(out: &mut Vec<u8>, queue: u64) {
    encode(out, REMOVE, |out| put_varint(out, queue));
}

pub(crate) fn encode_block<'a>(
    out: &mut Vec<u8>,
    queue: u64,
    first: u64,
    entries: impl ExactSizeIterator<Item = &'a Entry>,
) {
    encode(out, BLOCK, |out| {
        with_checksum(out, |out| {
            put_varint(out, queue);
            put_varint(out, first);
            put_entries(out, entries);
        });
    });
}

fn encode_message(out: &mut Vec<u8>, kind: u8, targets: &[Target], message: &[u8]) {
    encode(out, kind, |out| {
        with_checksum(out, |out| {
            put_varint(out, targets.len() as u64);
            for target in targets {
                put_varint(out, target.queue);
                put_varint(out, target.position);
                out.push(target.flags);
            }
            out.extend_from_slice(message);
        });
    });
}

/// Writes a record whose body a function appends, and its length in front of it.
fn encode(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    // A batch is at most 1 GiB, see `Batch`.
    let length = (out.len() - start - 4) as u32;
    set_u32(out, start, length);
}

fn with_checksum(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let crc = crc32c::crc32c(out.get(start + 4..).unwrap_or_default());
    set_u32(out, start, crc);
}

pub(crate) fn set_u32(out: &mut [u8], start: usize, value: u32) {
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<u8> {
        let targets = [
            Target { queue: 7, position: 300, flags: 1 },
            Target { queue: u64::MAX, position: 0, flags: 255 },
        ];
        let location = Location { segment: 3, offset: 68, bytes: 4_000 };
        let mut out = Vec::new();
        encode_publish(&mut out, &targets, b"message");
        encode_moved(&mut out, &targets[..1], b"");
        encode_put(&mut out, 9, b"key", b"value");
        encode_delete(&mut out, 9, b"key");
        encode_consume(&mut out, 7, 301);
        encode_remove(&mut out, 8);
        encode_block(&mut out, 7, 1_024, [Entry { location, flags: 2 }].iter());
        out
    }

    #[test]
    fn records_come_back() {
        let out = samples();
        let mut bytes = BytesIn::new(&out);
        let mut records = Vec::new();
        while let Some(record) = Record::decode(&mut bytes) {
            records.push(record);
        }
        assert!(bytes.is_empty());
        assert_eq!(records.len(), 7);
        assert!(
            matches!(&records[0], Record::Publish { targets, message: b"message" } if targets[1].flags == 255)
        );
        assert_eq!(records[2], Record::Put { table: 9, key: b"key", value: b"value" });
        assert!(
            matches!(&records[6], Record::Block { first: 1_024, entries, .. } if entries[0].location.offset == 68)
        );
    }

    #[test]
    fn records_that_are_cut_short_are_none() {
        let out = samples();
        for end in 0..out.len() {
            let mut bytes = BytesIn::new(&out[..end]);
            let whole = std::iter::from_fn(|| Record::decode(&mut bytes)).count();
            assert!(whole < 7);
        }
    }
}
