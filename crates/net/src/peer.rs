//! Who is on the other side of a stream, as far as the handshakes have told.

use std::fmt;
use std::net::SocketAddr;

use rustls::CommonState;
use rustls_pki_types::CertificateDer;

use crate::stream::Transport;
use crate::ws::Subprotocol;

/// Tells who is on the other side of a [`Stream`](crate::Stream).
#[derive(Debug, Clone)]
pub struct Peer {
    pub(crate) address: PeerAddress,
    pub(crate) transport: Transport,
    pub(crate) tls: Option<Box<TlsPeer>>,
    pub(crate) http: Option<Box<HttpPeer>>,
}

impl Peer {
    pub(crate) fn new(address: PeerAddress, transport: Transport) -> Self {
        Self { address, transport, tls: None, http: None }
    }

    /// Returns the address the bytes come from: of a proxy, when there is one in between.
    pub fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// Returns what carries the bytes.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Returns what the TLS handshake told, on streams that are encrypted.
    pub fn tls(&self) -> Option<&TlsPeer> {
        self.tls.as_deref()
    }

    /// Returns what the HTTP upgrade told, on WebSocket streams.
    pub fn http(&self) -> Option<&HttpPeer> {
        self.http.as_deref()
    }
}

/// The address of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// An address and port.
    Ip(SocketAddr),
    /// The other end of a Unix socket, which has no address of its own.
    Unix,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix socket"),
        }
    }
}

/// What a TLS handshake told about the peer.
#[derive(Debug, Clone)]
pub struct TlsPeer {
    certificates: Vec<CertificateDer<'static>>,
    server_name: Option<String>,
    alpn: Option<String>,
    version: Option<String>,
    cipher_suite: Option<String>,
}

impl TlsPeer {
    pub(crate) fn new(state: &CommonState, server_name: Option<&str>) -> Self {
        let certificates = state.peer_certificates().unwrap_or_default();
        Self {
            certificates: certificates.iter().map(|c| c.clone().into_owned()).collect(),
            server_name: server_name.map(str::to_owned),
            alpn: state.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            version: state.protocol_version().map(|version| format!("{version:?}")),
            cipher_suite: state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
        }
    }

    /// Returns the certificate chain that the peer presented, its own first; empty when it presented none.
    ///
    /// On a listener with client certificates the chain has been verified.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Returns the server name that was asked for (SNI); absent when the client gave an address.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Returns the application protocol both sides agreed on (ALPN).
    pub fn alpn(&self) -> Option<&str> {
        self.alpn.as_deref()
    }

    /// Returns the protocol version, such as `TLSv1_3`.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Returns the cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher_suite(&self) -> Option<&str> {
        self.cipher_suite.as_deref()
    }
}

/// What an HTTP upgrade told about the peer.
#[derive(Debug, Clone)]
pub struct HttpPeer {
    pub(crate) host: String,
    pub(crate) origin: Option<String>,
    pub(crate) path: String,
    pub(crate) subprotocol: Subprotocol,
}

impl HttpPeer {
    /// Returns the `Host` header of the upgrade.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the `Origin` header; only browsers send one.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// Returns the path that was asked for, with its query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the subprotocol both sides agreed on.
    pub fn subprotocol(&self) -> Subprotocol {
        self.subprotocol
    }
}
