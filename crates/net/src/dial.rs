//! Opens a stream to a server: resolve, connect, proxy, TLS, upgrade, all before one deadline.

mod reach;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect::Attempt;
use crate::dial_error::{DialError, Stage};
use crate::hidden::Hidden;
use crate::peer::{Peer, PeerAddress, TlsPeer};
use crate::proxy::Proxy;
use crate::stream::{Stream, Transport};
use crate::tls::{TlsCause, TlsClientOptions};
use crate::ws::{ClientUpgrade, Subprotocol, upgrade};

/// Where to dial, and how.
///
/// Cheap to clone; nothing is read or resolved before [`dial`].
#[derive(Debug, Clone)]
pub struct DialOptions {
    transport: Transport,
    host: String,
    port: u16,
    unix_path: PathBuf,
    connect_timeout: Duration,
    proxy: Option<Proxy>,
    tcp_keepalive: Option<Duration>,
    tls: TlsClientOptions,
    ws_path: String,
    ws_headers: Vec<(String, Hidden)>,
    ws_subprotocol: Subprotocol,
    ws_message_bytes_max: usize,
}

impl DialOptions {
    /// Dials a host, by name or address, on a port.
    ///
    /// An address of version 6 may stand in brackets. For a Unix socket see [`DialOptions::unix`].
    pub fn new(transport: Transport, host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host).to_owned();
        Self {
            transport,
            host,
            port,
            unix_path: PathBuf::new(),
            connect_timeout: Duration::from_secs(10),
            proxy: None,
            tcp_keepalive: None,
            tls: TlsClientOptions::default(),
            ws_path: "/mqtt".to_owned(),
            ws_headers: Vec::new(),
            ws_subprotocol: Subprotocol::default(),
            ws_message_bytes_max: 16 << 20,
        }
    }

    /// Dials a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { unix_path: path.into(), ..Self::new(Transport::Unix, "", 0) }
    }

    /// Sets the time for everything together: resolving, connecting, the proxy, TLS, upgrade. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets a proxy to go through, on every transport but a Unix socket. Default: none.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Sets after how much silence the system probes whether the other side is there: 1 s to 32,767 s, of which whole
    /// seconds count. Default: it does not. A connection ends when three probes, a third of that time apart, stay
    /// without an answer; behind a proxy it is the proxy that answers.
    pub fn tcp_keepalive(mut self, idle: Duration) -> Self {
        self.tcp_keepalive = Some(idle);
        self
    }

    /// Sets what is trusted and presented on TLS. Default: see [`TlsClientOptions`].
    pub fn tls(mut self, tls: TlsClientOptions) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the path of the WebSocket upgrade; it may have a query. Default: `/mqtt`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.ws_path = path.into();
        self
    }

    /// Adds a header to the WebSocket upgrade. Default: none.
    ///
    /// The headers of the upgrade itself (`Host`, `Upgrade`, `Connection`, `Sec-WebSocket-*`) cannot be set.
    pub fn ws_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.ws_headers.push((name.into(), Hidden::new(value)));
        self
    }

    /// Sets the WebSocket subprotocol to ask for. Default: [`Subprotocol::Mqtt`].
    pub fn ws_subprotocol(mut self, subprotocol: Subprotocol) -> Self {
        self.ws_subprotocol = subprotocol;
        self
    }

    /// Sets how many bytes one incoming WebSocket message may have. Default: 16 MiB.
    ///
    /// A message is held in memory until it is complete; a larger one ends the stream with an error.
    pub fn ws_message_bytes_max(mut self, bytes: usize) -> Self {
        self.ws_message_bytes_max = bytes;
        self
    }

    /// Returns what carries the bytes.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns the host, without brackets; empty for a Unix socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns what errors call the target: host and port, or the path of the Unix socket.
    pub fn target(&self) -> String {
        match self.transport {
            Transport::Unix => self.unix_path.display().to_string(),
            _ => target(&self.host, self.port),
        }
    }
}

/// Opens a stream.
///
/// Certificates and keys are read from their files anew each time, so that a renewed one is used by the next
/// connection.
///
/// # Errors
/// See [`DialError`]: it names the stage, the fault and a next step.
///
/// # Cancel safety
/// Dropping the future closes what was open so far.
pub async fn dial(options: &DialOptions) -> Result<Stream, DialError> {
    // Boxed, because the handshakes are large and a caller's future should not be.
    let dialling = Dialling { options, deadline: Instant::now() + options.connect_timeout };
    Box::pin(dialling.run()).await
}

/// Returns what errors call a host and port.
pub(crate) fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

struct Dialling<'a> {
    options: &'a DialOptions,
    deadline: Instant,
}

impl Dialling<'_> {
    async fn run(&self) -> Result<Stream, DialError> {
        match self.options.transport {
            Transport::Unix => self.unix().await,
            Transport::Tcp => {
                let (tcp, peer) = self.tcp().await?;
                Ok(Stream::tcp(tcp, peer))
            }
            Transport::Tls => {
                let (tls, peer) = self.tls().await?;
                Ok(Stream::tls(tls.into(), peer))
            }
            Transport::Ws => {
                let request = self.request()?;
                let (tcp, mut peer) = self.tcp().await?;
                let (ws, http) = self.before_deadline(Stage::Upgrade, upgrade(tcp, &request)).await??;
                peer.http = Some(Box::new(http));
                Ok(Stream::ws(ws, peer))
            }
            Transport::Wss => {
                let request = self.request()?;
                let (tls, mut peer) = self.tls().await?;
                let (ws, http) =
                    self.before_deadline(Stage::Upgrade, upgrade(tls.into(), &request)).await??;
                peer.http = Some(Box::new(http));
                Ok(Stream::wss(ws, peer))
            }
        }
    }

    async fn tls(&self) -> Result<(TlsStream<TcpStream>, Peer), DialError> {
        let name = self.options.tls.name_for(&self.options.host)?;
        // Reading files and the system's authorities blocks for milliseconds.
        let tls = self.options.tls.clone();
        let reading = tokio::task::spawn_blocking(move || tls.config());
        let config = match self.before_deadline(Stage::Tls, reading).await? {
            Ok(config) => config?,
            Err(ended) => return Err(self.io(Stage::Tls, io::Error::other(ended))),
        };
        let (tcp, mut peer) = self.tcp().await?;
        let asked = name.to_str().into_owned();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let tls =
            self.before_deadline(Stage::Tls, handshake).await?.map_err(|error| self.tls_failed(error))?;
        peer.tls = Some(Box::new(TlsPeer::new(tls.get_ref().1, Some(&asked))));
        Ok((tls, peer))
    }

    fn request(&self) -> Result<ClientUpgrade<'_>, DialError> {
        let options = self.options;
        let request = ClientUpgrade {
            target: options.target(),
            is_tls: options.transport == Transport::Wss,
            host: &options.host,
            port: options.port,
            path: &options.ws_path,
            headers: &options.ws_headers,
            subprotocol: options.ws_subprotocol,
            message_bytes_max: options.ws_message_bytes_max,
        };
        request.check()?;
        Ok(request)
    }

    #[cfg(unix)]
    async fn unix(&self) -> Result<Stream, DialError> {
        let connecting = tokio::net::UnixStream::connect(&self.options.unix_path);
        let connected = self.before_deadline(Stage::Connect, connecting).await?;
        let unix = connected.map_err(|source| match source.kind() {
            io::ErrorKind::ConnectionRefused => {
                DialError::Refused { target: self.options.target(), attempts: Vec::new() }
            }
            _ => self.io(Stage::Connect, source),
        })?;
        Ok(Stream::unix(unix, Peer::new(PeerAddress::Unix, Transport::Unix)))
    }

    #[cfg(not(unix))]
    async fn unix(&self) -> Result<Stream, DialError> {
        Err(DialError::Unsupported { transport: Transport::Unix })
    }

    async fn before_deadline<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Result<T, DialError> {
        timeout_at(self.deadline, work).await.map_err(|_| self.timed_out(stage, Vec::new()))
    }

    fn timed_out(&self, stage: Stage, attempts: Vec<Attempt>) -> DialError {
        DialError::TimedOut {
            target: self.options.target(),
            stage,
            after: self.options.connect_timeout,
            attempts,
        }
    }

    fn tls_failed(&self, error: io::Error) -> DialError {
        match TlsCause::of_handshake(&error) {
            Some(cause) => DialError::Tls { target: self.options.target(), cause },
            None => self.io(Stage::Tls, error),
        }
    }

    fn io(&self, stage: Stage, source: io::Error) -> DialError {
        DialError::Io { target: self.options.target(), stage, source }
    }
}
