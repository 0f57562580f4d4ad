//! One byte stream, whatever carries it.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsStream;

use crate::peer::{Peer, PeerAddress};
use crate::tls::in_plain_words;
use crate::ws::WsStream;

/// What carries the bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, not encrypted.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over TCP, not encrypted.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// A Unix socket.
    Unix,
}

impl Transport {
    /// Tells whether the bytes are encrypted on their way.
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Tells whether the bytes travel in WebSocket frames.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Returns the name as it is written in settings: `tcp`, `tls`, `ws`, `wss`, `unix`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WebSocket",
            Self::Wss => "WebSocket over TLS",
            Self::Unix => "Unix sockets",
        })
    }
}

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(text: &str) -> Result<Self, UnknownTransport> {
        [Self::Tcp, Self::Tls, Self::Ws, Self::Wss, Self::Unix]
            .into_iter()
            .find(|transport| transport.name() == text)
            .ok_or_else(|| UnknownTransport(text.to_owned()))
    }
}

/// A name that is none of the transports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no transport: tcp, tls, ws, wss and unix are")]
pub struct UnknownTransport(String);

/// One byte stream, whatever carries it.
///
/// A write is on its way when `flush` has returned; on TCP and Unix sockets that is at once. A plain stream
/// keeps no buffer: what was read is in the caller's, what was written is in the kernel's.
///
/// `write_vectored` is one system call on TCP and Unix sockets, and one binary frame on WebSocket (of at most
/// 256 KiB, the rest is left to the next call), however many slices there are.
///
/// A peer that ends TLS without saying so, or closes the WebSocket, has ended the stream: reading gives 0 bytes.
/// Errors of TLS carry a [`TlsCause`](crate::TlsCause).
#[derive(Debug)]
pub struct Stream {
    carrier: Carrier,
    peer: Box<Peer>,
}

/// Large ones are boxed: a connection that is idle on plain TCP should cost no more than its socket.
#[derive(Debug)]
enum Carrier {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<WsStream<TcpStream>>),
    Wss(Box<WsStream<TlsStream<TcpStream>>>),
    #[cfg(unix)]
    Unix(UnixStream),
    Given(Box<dyn Carried>),
}

/// Bytes that somebody else carries.
trait Carried: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin> Carried for T {}

impl Stream {
    /// Makes a stream of one that this crate did not open, in memory above all. It counts as plain TCP from this
    /// address.
    pub fn given(
        bytes: impl AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static,
        peer: SocketAddr,
    ) -> Self {
        let peer = Peer::new(PeerAddress::Ip(peer), Transport::Tcp);
        Self { carrier: Carrier::Given(Box::new(bytes)), peer: Box::new(peer) }
    }

    pub(crate) fn tcp(tcp: TcpStream, peer: Peer) -> Self {
        Self { carrier: Carrier::Tcp(tcp), peer: Box::new(peer) }
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>, peer: Peer) -> Self {
        Self { carrier: Carrier::Tls(Box::new(tls)), peer: Box::new(peer) }
    }

    pub(crate) fn ws(ws: WsStream<TcpStream>, peer: Peer) -> Self {
        Self { carrier: Carrier::Ws(Box::new(ws)), peer: Box::new(peer) }
    }

    pub(crate) fn wss(ws: WsStream<TlsStream<TcpStream>>, peer: Peer) -> Self {
        Self { carrier: Carrier::Wss(Box::new(ws)), peer: Box::new(peer) }
    }

    #[cfg(unix)]
    pub(crate) fn unix(unix: UnixStream, peer: Peer) -> Self {
        Self { carrier: Carrier::Unix(unix), peer: Box::new(peer) }
    }

    /// Sets how many bytes one incoming WebSocket message may have; without effect on other transports.
    ///
    /// A listener starts low, since a message is held in memory until it is complete; whoever has let the peer in
    /// may raise it.
    pub fn set_ws_message_bytes_max(&mut self, bytes: usize) {
        match &mut self.carrier {
            Carrier::Ws(ws) => ws.set_message_bytes_max(bytes),
            Carrier::Wss(ws) => ws.set_message_bytes_max(bytes),
            _ => {}
        }
    }

    /// Returns who is on the other side.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// Calls the same method on whatever carries the stream.
macro_rules! on_carrier {
    ($stream:expr, $carrier:ident => $call:expr) => {
        match &mut $stream.get_mut().carrier {
            Carrier::Tcp(io) => {
                let $carrier = Pin::new(io);
                $call
            }
            Carrier::Tls(io) => {
                let $carrier = Pin::new(io.as_mut());
                $call
            }
            Carrier::Ws(io) => {
                let $carrier = Pin::new(io.as_mut());
                $call
            }
            Carrier::Wss(io) => {
                let $carrier = Pin::new(io.as_mut());
                $call
            }
            #[cfg(unix)]
            Carrier::Unix(io) => {
                let $carrier = Pin::new(io);
                $call
            }
            Carrier::Given(io) => {
                let $carrier = Pin::new(io.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_carrier!(self, io => io.poll_read(cx, buf)).map(|read| read.or_else(end_or_error))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_carrier!(self, io => io.poll_write(cx, buf)).map_err(in_plain_words)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_carrier!(self, io => io.poll_write_vectored(cx, slices)).map_err(in_plain_words)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_carrier!(self, io => io.poll_flush(cx)).map_err(in_plain_words)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_carrier!(self, io => io.poll_shutdown(cx)).map_err(in_plain_words)
    }
}

/// A peer that closes TCP without the farewell of TLS has ended the stream: what travels in it frames itself.
fn end_or_error(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Ok(()),
        _ => Err(in_plain_words(error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_stream_is_small_and_may_move_between_threads() {
        fn assert_send<T: Send + Unpin + 'static>() {}
        assert_send::<Stream>();
        assert!(size_of::<Stream>() <= 64, "{}", size_of::<Stream>());
        // What an idle plain connection costs in this crate, the tokio registration aside.
        assert!(size_of::<Stream>() + size_of::<Peer>() <= 192, "{}", size_of::<Peer>());
    }

    #[tokio::test]
    async fn a_given_stream_carries_bytes_both_ways() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Stream::given(near, SocketAddr::from(([10, 0, 0, 1], 7)));
        stream.write_all(b"there").await.unwrap();
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"there");
        far.write_all(b"back").await.unwrap();
        drop(far);
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"back");
        assert_eq!(stream.peer().address().to_string(), "10.0.0.1:7");
    }

    #[test]
    fn names_of_transports_round_trip() {
        for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss, Transport::Unix] {
            assert_eq!(transport.name().parse(), Ok(transport));
        }
        assert!("udp".parse::<Transport>().is_err());
    }
}
