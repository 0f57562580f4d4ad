//! From an accepted socket to an open stream, on the thread where the stream will live.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::dial_error::Stage;
use crate::peer::{Peer, PeerAddress, TlsPeer};
use crate::sniff::FirstBytes;
use crate::stream::{Stream, Transport};
use crate::tls::{TlsCause, TlsOptionsError, TlsServerOptions};
use crate::ws::{Refusal, UpgradeError, WsPolicy, accept};

/// Why an accepted socket did not become a stream; the fault is the peer's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The time was over before the stream was open.
    #[error("the peer did not complete {0} in time")]
    TimedOut(Stage),
    /// TLS failed.
    #[error("TLS with the peer failed: {0}")]
    Tls(TlsCause),
    /// The peer does not speak TLS.
    #[error("the peer does not speak TLS{}", instead(*.0))]
    NotTls(FirstBytes),
    /// The upgrade was refused, and the peer was told so.
    #[error("the WebSocket upgrade was refused: {0}")]
    Refused(#[from] Refusal),
    /// The peer speaks something else than HTTP on a WebSocket port.
    #[error("the peer does not speak WebSocket{}", instead(*.0))]
    NotWebSocket(FirstBytes),
    /// The peer closed the connection before the stream was open.
    #[error("the peer closed the connection during {0}")]
    Closed(Stage),
    /// The system refused something else.
    #[error("{stage} failed: {source}")]
    Io {
        /// The stage that was under way.
        stage: Stage,
        /// What the system said.
        source: io::Error,
    },
}

fn instead(first: FirstBytes) -> String {
    first.spoken().map(|spoken| format!(" but {spoken}")).unwrap_or_default()
}

/// What all sockets of a listener share on their way to a stream: certificates, and whom the upgrade lets in.
#[derive(Debug)]
pub struct Acceptor {
    transport: Transport,
    tls: Option<Mutex<Arc<ServerConfig>>>,
    ws: WsPolicy,
}

impl Acceptor {
    pub(crate) fn new(
        transport: Transport,
        tls: Option<&TlsServerOptions>,
        ws: WsPolicy,
    ) -> Result<Self, TlsOptionsError> {
        let tls = match (transport.is_encrypted(), tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(Mutex::new(Arc::new(tls.config()?))),
            (true, None) => return Err(TlsOptionsError::NoServerCertificate),
        };
        Ok(Self { transport, tls, ws })
    }

    /// Returns what carries the bytes.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Reads certificate, key and authorities again, for the connections to come; those that are open stay.
    ///
    /// Without effect on a listener that is not encrypted. Reads files, and therefore blocks for a moment.
    ///
    /// # Errors
    /// When the new ones cannot be used; the old ones stay in force then.
    pub fn reload_tls(&self, options: &TlsServerOptions) -> Result<(), TlsOptionsError> {
        if let Some(tls) = &self.tls {
            let fresh = Arc::new(options.config()?);
            *tls.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    fn tls(&self) -> Option<TlsAcceptor> {
        let tls = self.tls.as_ref()?;
        Some(Arc::clone(&tls.lock().unwrap_or_else(PoisonError::into_inner)).into())
    }
}

/// A socket that was accepted, and belongs to no runtime yet.
///
/// It may be sent to the thread that will serve it; [`open`](Self::open) registers it in the runtime it is called in.
/// Dropping it closes the connection.
#[derive(Debug)]
pub struct Incoming {
    socket: Socket,
    address: PeerAddress,
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

impl Incoming {
    pub(crate) fn new(socket: Socket, address: PeerAddress) -> Self {
        Self { socket, address }
    }

    /// Takes a TCP socket that was accepted elsewhere, such as one handed over by the system.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn from_std(tcp: std::net::TcpStream) -> io::Result<Self> {
        let address = PeerAddress::Ip(tcp.peer_addr()?);
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        Ok(Self::new(Socket::Tcp(tcp), address))
    }

    /// Gives the TCP socket away, non-blocking; `None` when it is a Unix socket.
    pub fn into_std(self) -> Option<std::net::TcpStream> {
        match self.socket {
            Socket::Tcp(tcp) => Some(tcp),
            #[cfg(unix)]
            Socket::Unix(_) => None,
        }
    }

    /// Returns the address of the peer.
    pub fn address(&self) -> PeerAddress {
        self.address
    }

    /// Registers the socket in this runtime and does the handshakes that the listener's transport has.
    ///
    /// On plain TCP and Unix sockets there are none, and it returns without waiting.
    ///
    /// # Errors
    /// See [`OpenError`]. The connection is closed then; a refused upgrade was answered.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn open(self, acceptor: &Acceptor, deadline: Instant) -> Result<Stream, OpenError> {
        let tcp = match self.socket {
            Socket::Tcp(tcp) => TcpStream::from_std(tcp).map_err(registering)?,
            #[cfg(unix)]
            Socket::Unix(unix) => {
                let unix = tokio::net::UnixStream::from_std(unix).map_err(registering)?;
                return Ok(Stream::unix(unix, Peer::new(self.address, Transport::Unix)));
            }
        };
        let opening = Opening { acceptor, deadline, peer: Peer::new(self.address, acceptor.transport) };
        if acceptor.transport == Transport::Tcp {
            return Ok(Stream::tcp(tcp, opening.peer));
        }
        // Boxed, because the handshakes are large and the future of a connection should not be.
        Box::pin(opening.handshakes(tcp)).await
    }
}

fn registering(source: io::Error) -> OpenError {
    OpenError::Io { stage: Stage::Connect, source }
}

struct Opening<'a> {
    acceptor: &'a Acceptor,
    deadline: Instant,
    peer: Peer,
}

impl Opening<'_> {
    async fn handshakes(mut self, tcp: TcpStream) -> Result<Stream, OpenError> {
        let policy = &self.acceptor.ws;
        let Some(tls) = self.acceptor.tls() else {
            let (ws, http) = self.within(Stage::Upgrade, accept(tcp, policy)).await?.map_err(not_upgraded)?;
            self.peer.http = Some(Box::new(http));
            return Ok(Stream::ws(ws, self.peer));
        };
        // What is read by the handshake is gone: whoever speaks something else is known by a look before it.
        let mut first = [0; 8];
        let count = self.within(Stage::Tls, tcp.peek(&mut first)).await?.unwrap_or(0);
        let first = FirstBytes::of(first.get(..count).unwrap_or_default());
        let opened = self.within(Stage::Tls, tls.accept(tcp)).await?;
        let tls = opened.map_err(|error| not_encrypted(error, first))?;
        self.peer.tls = Some(Box::new(told_by(&tls)));
        if !self.acceptor.transport.is_websocket() {
            return Ok(Stream::tls(tls.into(), self.peer));
        }
        let (ws, http) =
            self.within(Stage::Upgrade, accept(tls.into(), policy)).await?.map_err(not_upgraded)?;
        self.peer.http = Some(Box::new(http));
        Ok(Stream::wss(ws, self.peer))
    }

    async fn within<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Result<T, OpenError> {
        timeout_at(self.deadline, work).await.map_err(|_| OpenError::TimedOut(stage))
    }
}

fn told_by(tls: &TlsStream<TcpStream>) -> TlsPeer {
    let (_, connection) = tls.get_ref();
    TlsPeer::new(connection, connection.server_name())
}

fn not_encrypted(error: io::Error, first: FirstBytes) -> OpenError {
    match TlsCause::of_handshake(&error) {
        Some(TlsCause::Closed) => OpenError::Closed(Stage::Tls),
        Some(TlsCause::NotTls) => OpenError::NotTls(first),
        Some(cause) => OpenError::Tls(cause),
        None => OpenError::Io { stage: Stage::Tls, source: error },
    }
}

fn not_upgraded(error: UpgradeError) -> OpenError {
    match error {
        UpgradeError::Refused(refusal) => OpenError::Refused(refusal),
        UpgradeError::NotHttp(first) => OpenError::NotWebSocket(first),
        UpgradeError::Closed => OpenError::Closed(Stage::Upgrade),
        UpgradeError::Io(source) => match TlsCause::of(&source) {
            Some(cause) => OpenError::Tls(cause),
            None => OpenError::Io { stage: Stage::Upgrade, source },
        },
    }
}
