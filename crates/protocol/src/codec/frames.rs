//! Splits a stream of chunks into packets.

use bytes::{Buf, Bytes};

use super::{
    Direction,
    decode::{Header, decode_body, read_header},
};
use crate::{Version, Violation, packet::Packet};

/// Splits a stream of chunks into packets.
///
/// Packets that lie whole in a chunk are slices of it. Only an incomplete one at its end is copied, into a buffer
/// that grows with the bytes that came (a declared length alone reserves nothing) and leaves with its packet. So an
/// idle connection holds no heap memory here.
#[derive(Debug)]
pub struct Frames {
    /// What is left of the last chunk.
    chunk: Bytes,
    /// The beginning of a packet whose end has not come yet.
    partial: Vec<u8>,
    packet_bytes_max: u32,
}

impl Frames {
    /// Makes one that refuses packets of more than `packet_bytes_max` bytes, with their fixed header.
    pub const fn new(packet_bytes_max: u32) -> Self {
        Self { chunk: Bytes::new(), partial: Vec::new(), packet_bytes_max }
    }

    /// Takes the next chunk. Call [`Frames::next`] until it gives `None` before the next one is pushed; a chunk that
    /// comes earlier is copied behind what is left.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = Bytes::from([self.chunk.as_ref(), chunk.as_ref()].concat());
        }
    }

    /// Returns the next packet, or `None` until more bytes come.
    ///
    /// While the version is not known (`None`), only CONNECT is allowed, and its own version decides. What the first
    /// byte or the declared size rules out is refused without waiting for the rest.
    ///
    /// # Errors
    /// The rule that the bytes break. What was held is dropped: nothing behind it can be told apart, so the
    /// connection ends.
    pub fn next(
        &mut self,
        version: Option<Version>,
        direction: Direction,
    ) -> Result<Option<Packet>, Violation> {
        let result = if self.partial.is_empty() {
            self.next_whole(version, direction)
        } else {
            self.next_continued(version, direction)
        };
        if result.is_err() {
            self.chunk = Bytes::new();
            self.partial = Vec::new();
        }
        result
    }

    /// Tells whether nothing is held: the last packet ended with the last byte.
    pub const fn is_empty(&self) -> bool {
        self.chunk.is_empty() && self.partial.is_empty()
    }

    /// Takes a packet out of the chunk, or keeps its beginning.
    fn next_whole(
        &mut self,
        version: Option<Version>,
        direction: Direction,
    ) -> Result<Option<Packet>, Violation> {
        let header = read_header(&self.chunk, version, direction, self.packet_bytes_max)?;
        if let Some(header) = header.filter(|header| header.packet_bytes() <= self.chunk.len()) {
            let packet = decode_body(&self.chunk, header, version, direction)?;
            self.consume(header.packet_bytes());
            return Ok(Some(packet));
        }
        self.partial.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
        Ok(None)
    }

    /// Goes on with a packet whose beginning is kept.
    fn next_continued(
        &mut self,
        version: Option<Version>,
        direction: Direction,
    ) -> Result<Option<Packet>, Violation> {
        let Some(header) = self.continue_header(version, direction)? else { return Ok(None) };
        self.take(header.packet_bytes() - self.partial.len());
        if self.partial.len() < header.packet_bytes() {
            return Ok(None);
        }
        let whole = Bytes::from(std::mem::take(&mut self.partial));
        decode_body(&whole, header, version, direction).map(Some)
    }

    /// Moves bytes of the chunk behind those that are kept until the header is whole.
    fn continue_header(
        &mut self,
        version: Option<Version>,
        direction: Direction,
    ) -> Result<Option<Header>, Violation> {
        loop {
            match read_header(&self.partial, version, direction, self.packet_bytes_max)? {
                Some(header) => return Ok(Some(header)),
                None if self.chunk.is_empty() => return Ok(None),
                None => self.take(1),
            }
        }
    }

    /// Moves up to `count` bytes of the chunk behind those that are kept.
    fn take(&mut self, count: usize) {
        let part = self.chunk.get(..count).unwrap_or(&self.chunk);
        self.partial.extend_from_slice(part);
        self.consume(count);
    }

    /// Drops the first `count` bytes of the chunk, and with the last one its buffer.
    fn consume(&mut self, count: usize) {
        if count >= self.chunk.len() {
            self.chunk = Bytes::new();
        } else {
            self.chunk.advance(count);
        }
    }
}

// Ten thousand idle connections hold one each.
const _: () = assert!(size_of::<Frames>() <= 72);
