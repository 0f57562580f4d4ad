//! Binary frames as a byte stream, both ways.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_websockets::{ClientBuilder, CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};

use super::head::Prefixed;

/// The most that one write puts into a frame.
const FRAME_BYTES_MAX: usize = 256 << 10;

/// The most that answers to pings may take while the peer does not read them.
const PONG_BYTES_MAX: usize = 16 << 10;

/// What a pong takes beside its payload.
const PONG_OVERHEAD_BYTES: usize = 64;

/// A WebSocket as a byte stream.
#[derive(Debug)]
pub(crate) struct WsStream<S> {
    socket: WebSocketStream<Prefixed<S>>,
    /// What the reader has not taken yet of the message that came last.
    unread: Bytes,
    /// What answers to pings have taken since everything was last written out.
    pong_bytes: usize,
    has_ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsStream<S> {
    pub(super) fn client(stream: S, first: Bytes, message_bytes_max: usize) -> Self {
        let builder = ClientBuilder::new().limits(limits(message_bytes_max));
        Self::new(builder.take_over(Prefixed::new(first, stream)))
    }

    pub(super) fn server(stream: S, first: Bytes, message_bytes_max: usize) -> Self {
        let builder = ServerBuilder::new().limits(limits(message_bytes_max));
        Self::new(builder.serve(Prefixed::new(first, stream)))
    }

    fn new(socket: WebSocketStream<Prefixed<S>>) -> Self {
        Self { socket, unread: Bytes::new(), pong_bytes: 0, has_ended: false }
    }

    pub(crate) fn set_message_bytes_max(&mut self, bytes: usize) {
        self.socket.limits_mut().set_max_payload_len(Some(bytes));
    }

    fn on_message(&mut self, message: Message, cx: &mut Context<'_>) -> io::Result<()> {
        if message.is_binary() {
            self.unread = message.into_payload().into();
        } else if message.is_close() {
            self.has_ended = true;
            self.try_flush(cx)?;
        } else if message.is_ping() {
            self.on_ping(message.as_payload().len(), cx)?;
        } else if message.is_text() {
            self.refuse_text(cx);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the peer sent a text frame; only binary frames carry bytes",
            ));
        }
        Ok(())
    }

    /// Bounds the pongs that wait: the socket below queues one for each ping, however many there are.
    fn on_ping(&mut self, len: usize, cx: &mut Context<'_>) -> io::Result<()> {
        self.pong_bytes += len + PONG_OVERHEAD_BYTES;
        if self.pong_bytes <= PONG_BYTES_MAX {
            return Ok(());
        }
        self.try_flush(cx)?;
        if self.pong_bytes == 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the peer sends pings but does not read the answers"))
    }

    fn refuse_text(&mut self, cx: &mut Context<'_>) {
        self.has_ended = true;
        let farewell = Message::close(Some(CloseCode::UNSUPPORTED_DATA), "only binary frames");
        // It ends with an error either way; the farewell is a courtesy.
        if Pin::new(&mut self.socket).start_send(farewell).is_ok() {
            let _ = self.try_flush(cx);
        }
    }

    /// Writes out what can be written now; the rest goes with the next read, write or flush.
    fn try_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll_flushed(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(into_io)?;
        self.pong_bytes = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(message)) => self.on_message(message, cx)?,
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => self.has_ended = true,
            }
        }
        let len = self.unread.len().min(buf.remaining());
        buf.put_slice(self.unread.get(..len).unwrap_or_default());
        self.unread.advance(len);
        if self.unread.is_empty() {
            // Even an empty slice would keep the whole message in memory.
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(into_io)?;
        let frame = gather(slices);
        let len = frame.len();
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.socket).start_send(Message::binary(frame)).map_err(into_io)?;
        self.try_flush(cx)?;
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flushed(cx)
    }

    /// Says farewell and ends our direction, without waiting for the peer's farewell: it may never come.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only the first farewell is taken; the socket refuses another.
        let _ = Pin::new(&mut self.socket).start_send(Message::close(Some(CloseCode::NORMAL_CLOSURE), ""));
        ready!(self.poll_flushed(cx))?;
        Pin::new(self.socket.get_mut()).poll_shutdown(cx)
    }
}

fn limits(message_bytes_max: usize) -> Limits {
    Limits::default().max_payload_len(Some(message_bytes_max))
}

fn gather(slices: &[IoSlice<'_>]) -> BytesMut {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut frame = BytesMut::with_capacity(total.min(FRAME_BYTES_MAX));
    for slice in slices {
        let room = FRAME_BYTES_MAX - frame.len();
        frame.extend_from_slice(slice.get(..room).unwrap_or(slice));
    }
    frame
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        Error::PayloadTooLong { len, max_len } => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the peer sent a WebSocket message of {len} bytes; at most {max_len} are accepted"),
        ),
        other => io::Error::new(io::ErrorKind::InvalidData, format!("the peer breaks WebSocket: {other}")),
    }
}
