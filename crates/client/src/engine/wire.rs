//! The byte stream of one connection: at most one read and one write a turn.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use crosspoint_protocol::Transmit;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::ByteStream;

/// The most bytes that are read in a turn.
const READ_BYTES_MAX: usize = 64 * 1_024;

/// Below so much room in the read buffer it is renewed.
const READ_ROOM_MIN: usize = 8 * 1_024;

/// The most slices in one write.
const SLICES_MAX: usize = 64;

pub(super) struct Wire {
    stream: Box<dyn ByteStream>,
    read: BytesMut,
    /// How many bytes the stream has taken.
    pub(super) written: u64,
    /// How many of them are on their way for certain.
    pub(super) flushed: u64,
    write_error: Option<io::Error>,
}

/// What came of a turn of reading and writing.
#[derive(Debug)]
pub(super) enum Moved {
    /// Bytes came, or left, or both.
    Bytes { read: Option<Bytes>, has_written: bool },
    /// The server has closed the stream.
    End,
    /// The stream failed.
    Failed(io::Error),
    /// This side has closed the stream, all bytes are on their way.
    Shut,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn ByteStream>) -> Self {
        Self { stream, read: BytesMut::new(), written: 0, flushed: 0, write_error: None }
    }

    /// Writes what it can, then reads once if `may_read`. With `is_last`, closes the stream once all is written.
    pub(super) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &mut Transmit,
        may_read: bool,
        is_last: bool,
    ) -> Poll<Moved> {
        let has_written = self.poll_write(cx, transmit);
        if is_last && transmit.is_empty() && self.flushed == self.written {
            return match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(_) => Poll::Ready(Moved::Shut),
                Poll::Pending if has_written => Poll::Ready(Moved::Bytes { read: None, has_written }),
                Poll::Pending => Poll::Pending,
            };
        }
        if may_read || self.write_error.is_some() {
            match self.poll_read(cx) {
                Poll::Ready(Ok(read)) if read.is_empty() => return Poll::Ready(Moved::End),
                Poll::Ready(Ok(read)) => {
                    return Poll::Ready(Moved::Bytes { read: Some(read), has_written });
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Moved::Failed(error)),
                Poll::Pending => {}
            }
        }
        // A server that refuses and closes has said why before our write failed: what it said was read first.
        if let Some(error) = self.write_error.take() {
            return Poll::Ready(Moved::Failed(error));
        }
        if has_written { Poll::Ready(Moved::Bytes { read: None, has_written }) } else { Poll::Pending }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, transmit: &mut Transmit) -> bool {
        let before = (self.written, self.flushed);
        if !transmit.is_empty() && self.write_error.is_none() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = transmit.io_slices(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => self.write_error = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    transmit.advance(count);
                    self.written += count as u64;
                }
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => {}
            }
        }
        if self.flushed != self.written && self.write_error.is_none() {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = self.written,
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => {}
            }
        }
        before != (self.written, self.flushed)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.read.capacity() < READ_ROOM_MIN {
            self.read.reserve(READ_BYTES_MAX);
        }
        let mut room = (&mut self.read).limit(READ_BYTES_MAX);
        let read = pin!(self.stream.read_buf(&mut room)).poll(cx);
        read.map_ok(|_| self.read.split().freeze())
    }
}
