//! Listens for connections, and keeps listening whatever one of them does.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};
use tokio::net::TcpListener;

use crate::acceptor::{Acceptor, Incoming, Socket};
use crate::listen_error::ListenError;
use crate::peer::PeerAddress;
use crate::stream::Transport;
use crate::tls::TlsServerOptions;
use crate::ws::WsPolicy;

/// How long to wait before the next attempt when the system has no descriptor or no memory left.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// An address and port; port 0 lets the system choose. `[::]` takes connections of both IP versions.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for BindAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    transport: Transport,
    bind: BindAddress,
    tls: Option<TlsServerOptions>,
    backlog: u32,
    ws: WsPolicy,
}

impl ListenOptions {
    /// Listens on an address, or on the path of a Unix socket.
    pub fn new(transport: Transport, bind: impl Into<BindAddress>) -> Self {
        let ws = WsPolicy { path: "/mqtt".to_owned(), origins: Vec::new(), message_bytes_max: 1 << 20 };
        Self { transport, bind: bind.into(), tls: None, backlog: 1024, ws }
    }

    /// Listens on a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Transport::Unix, BindAddress::Unix(path.into()))
    }

    /// Sets the certificates; TLS and WebSocket over TLS need them. Default: none.
    pub fn tls(mut self, tls: TlsServerOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets how many connections the system holds that are not accepted yet. Default: 1024; the system may cap it.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Sets the path of the WebSocket upgrade. Default: `/mqtt`. The path `/` is accepted always.
    pub fn ws_path(mut self, path: impl Into<String>) -> Self {
        self.ws.path = path.into();
        self
    }

    /// Lets the web pages of an origin, such as `https://dash.example`, connect over WebSocket; `*` lets all.
    ///
    /// Default: only pages that come from the host and port of the listener itself. Programs that are no
    /// browsers send no origin and are not concerned.
    pub fn ws_origin(mut self, origin: impl Into<String>) -> Self {
        self.ws.origins.push(origin.into());
        self
    }

    /// Sets how many bytes one incoming WebSocket message may have. Default: 1 MiB.
    ///
    /// A message is held in memory until it is complete, also before the peer is authenticated;
    /// [`Stream::set_ws_message_bytes_max`](crate::Stream::set_ws_message_bytes_max) raises it afterwards.
    pub fn ws_message_bytes_max(mut self, bytes: usize) -> Self {
        self.ws.message_bytes_max = bytes;
        self
    }

    /// Returns what carries the bytes.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns where to listen.
    pub fn bind(&self) -> &BindAddress {
        &self.bind
    }
}

/// A bound socket that accepts connections.
///
/// Dropping it ends listening and removes the file of a Unix socket.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    local: BindAddress,
    acceptor: Arc<Acceptor>,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(crate::unix::UnixSocket),
}

impl Listener {
    /// Binds and begins to listen.
    ///
    /// The port is never shared with another process. A Unix socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        let acceptor = Acceptor::new(options.transport, options.tls.as_ref(), options.ws.clone())?;
        let of = |source| ListenError::of(options.bind.to_string(), source);
        let socket = match (&options.bind, options.transport) {
            (BindAddress::Ip(address), transport) if transport != Transport::Unix => {
                Bound::Tcp(listen(*address, options.backlog).map_err(of)?)
            }
            #[cfg(unix)]
            (BindAddress::Unix(path), Transport::Unix) => {
                Bound::Unix(crate::unix::UnixSocket::bind(path, options.backlog)?)
            }
            #[cfg(not(unix))]
            (BindAddress::Unix(_), Transport::Unix) => {
                return Err(ListenError::Unsupported { transport: Transport::Unix });
            }
            (bind, transport) => return Err(ListenError::Mismatch { transport, bind: bind.to_string() }),
        };
        let local = match &socket {
            Bound::Tcp(tcp) => BindAddress::Ip(tcp.local_addr().map_err(of)?),
            #[cfg(unix)]
            Bound::Unix(_) => options.bind.clone(),
        };
        Ok(Self { socket, local, acceptor: Arc::new(acceptor) })
    }

    /// Returns where it listens, with the port that the system chose.
    pub fn local_addr(&self) -> &BindAddress {
        &self.local
    }

    /// Returns what its sockets need to become streams.
    pub fn acceptor(&self) -> Arc<Acceptor> {
        Arc::clone(&self.acceptor)
    }

    /// Waits for the next connection.
    ///
    /// A peer that has gone again is passed over. When the system runs out of descriptors or memory, it warns
    /// once, waits and tries again until there are some.
    ///
    /// # Errors
    /// When the listening socket itself is broken; another call will not help then.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub async fn accept(&self) -> io::Result<Incoming> {
        let mut is_short = false;
        loop {
            match self.accept_one().await {
                Ok(incoming) => {
                    if is_short {
                        tracing::info!(listener = %self.local, "Connections are accepted again.");
                    }
                    return Ok(incoming);
                }
                Err(error) if is_broken(&error) => return Err(error),
                Err(error) if is_of_one_peer(&error) => tokio::task::yield_now().await,
                // EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else may pass.
                Err(error) => {
                    if !is_short {
                        tracing::warn!(listener = %self.local, %error, "No connection can be accepted for now.");
                    }
                    is_short = true;
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        }
    }

    async fn accept_one(&self) -> io::Result<Incoming> {
        match &self.socket {
            Bound::Tcp(listener) => {
                let (tcp, address) = listener.accept().await?;
                // It fails only when the peer is gone, which the first read will tell.
                let _ = tcp.set_nodelay(true);
                Ok(Incoming::new(Socket::Tcp(tcp.into_std()?), PeerAddress::Ip(address)))
            }
            #[cfg(unix)]
            Bound::Unix(listener) => {
                let unix = listener.accept().await?.into_std()?;
                Ok(Incoming::new(Socket::Unix(unix), PeerAddress::Unix))
            }
        }
    }
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // What `[::]` means would depend on the system otherwise.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // On Windows it would let another process take the port away; elsewhere it only skips the wait after a restart.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Tells whether the error concerns a peer that has gone again; Linux reports errors of its network here as well.
fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

/// Tells whether the listening socket itself is unusable: EBADF, EINVAL, ENOTSOCK and their like.
fn is_broken(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(9 | 22) => true,
        Some(88) => cfg!(target_os = "linux"),
        Some(38) => !cfg!(target_os = "linux") && cfg!(unix),
        Some(10_009 | 10_022 | 10_038) => cfg!(windows),
        Some(_) => false,
        // No system error: the runtime is shutting down.
        None => true,
    }
}
