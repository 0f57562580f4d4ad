//! Reads the head of an HTTP message, and gives back what came behind it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The most that is read before the upgrade is done.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;

/// The most header lines of a head.
pub(crate) const HEADERS_MAX: usize = 64;

pub(crate) enum HeadError {
    /// The connection ended first, after these bytes.
    Closed(Bytes),
    /// There is no end of a head in the first [`HEAD_BYTES_MAX`].
    TooLarge,
    /// The first bytes cannot be HTTP.
    NotHttp(Bytes),
    Io(io::Error),
}

/// Reads up to and including the empty line; returns the head and the bytes that came behind it.
///
/// Ends at once when the first byte cannot begin HTTP, or a TLS peer and we would wait for each other.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Bytes, Bytes), HeadError> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        let searched = read.len().saturating_sub(3);
        let room = HEAD_BYTES_MAX - read.len();
        match stream.read_buf(&mut (&mut read).limit(room)).await {
            Ok(0) => return Err(HeadError::Closed(read.freeze())),
            Ok(_) => {}
            Err(error) => return Err(HeadError::Io(error)),
        }
        if read.first().is_some_and(|first| !first.is_ascii_alphabetic()) && read.len() >= 5 {
            return Err(HeadError::NotHttp(read.freeze()));
        }
        let behind = read.get(searched..).unwrap_or_default();
        if let Some(at) = behind.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = read.split_to(searched + at + 4);
            return Ok((head.freeze(), read.freeze()));
        }
        if read.len() >= HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
    }
}

/// A stream that gives some bytes first: those that were read together with a head.
#[derive(Debug)]
pub(super) struct Prefixed<S> {
    first: Bytes,
    stream: S,
}

impl<S> Prefixed<S> {
    pub(super) fn new(first: Bytes, stream: S) -> Self {
        // An empty slice would keep the buffer of the head alive.
        let first = if first.is_empty() { Bytes::new() } else { first };
        Self { first, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(len));
        if !self.first.has_remaining() {
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
