//! Fuzz targets of the codec.

use bytes::Bytes;

use crate::{
    Version, Violation,
    codec::{Direction, Frames, decode_packet, encode as encode_packet},
    packet::Packet,
};

const PACKET_BYTES_MAX: u32 = 64 * 1024;

/// Any chunking gives the same packets and the same refusal, and nothing panics.
///
/// The first byte of an input chooses version and direction, the second the size of the chunks.
pub(super) fn decode(input: &[u8]) {
    let [conditions, chunk_bytes, stream @ ..] = input else { return };
    let whole = packets(stream, stream.len().max(1), *conditions);
    let chunked = packets(stream, usize::from(*chunk_bytes).max(1), *conditions);
    assert_eq!(whole, chunked, "the chunking changed what came out");
}

/// What was decoded can be encoded, and decoding that gives the same packet and then the same bytes.
///
/// The first byte of an input chooses version and direction.
pub(super) fn encode(input: &[u8]) {
    let [conditions, stream @ ..] = input else { return };
    let (decoded, _) = packets(stream, stream.len().max(1), *conditions);
    let (version, direction) = conditions_of(*conditions);
    let version = version.or_else(|| decoded.iter().find_map(version_of));
    for packet in decoded {
        let bytes = encoded(&packet, version.unwrap_or(Version::V5));
        let read_as = if matches!(packet, Packet::Connect(_)) { None } else { version };
        match decode_packet(&bytes, read_as, direction) {
            Ok(again) => {
                assert_eq!(again, packet, "encoding changed the packet");
                assert_eq!(encoded(&again, version.unwrap_or(Version::V5)), bytes, "encoding is not stable");
            }
            Err(violation) => panic!("{packet:?} was encoded to what is refused: {violation}"),
        }
    }
}

fn encoded(packet: &Packet, version: Version) -> Bytes {
    let mut bytes = Vec::new();
    if let Err(error) = encode_packet(packet, version, &mut bytes) {
        panic!("{packet:?} was decoded but cannot be encoded: {error}");
    }
    Bytes::from(bytes)
}

/// Returns the packets that come out of a stream, and how it ends.
fn packets(stream: &[u8], chunk_bytes: usize, conditions: u8) -> (Vec<Packet>, Option<Violation>) {
    let (mut version, direction) = conditions_of(conditions);
    let mut frames = Frames::new(PACKET_BYTES_MAX);
    let mut packets = Vec::new();
    for chunk in stream.chunks(chunk_bytes) {
        frames.push(Bytes::copy_from_slice(chunk));
        loop {
            match frames.next(version, direction) {
                Ok(Some(packet)) => {
                    version = version.or_else(|| version_of(&packet));
                    packets.push(packet);
                }
                Ok(None) => break,
                Err(violation) => return (packets, Some(violation)),
            }
        }
    }
    (packets, None)
}

fn conditions_of(byte: u8) -> (Option<Version>, Direction) {
    let version = match byte & 0b11 {
        0 => None,
        1 => Some(Version::V3_1),
        2 => Some(Version::V3_1_1),
        _ => Some(Version::V5),
    };
    let direction = if byte & 0b100 == 0 { Direction::FromClient } else { Direction::FromServer };
    (version, direction)
}

fn version_of(packet: &Packet) -> Option<Version> {
    match packet {
        Packet::Connect(connect) => Some(connect.version),
        _ => None,
    }
}
