//! Byte streams: dial and listen over TCP, TLS, WebSocket, WebSocket over TLS and Unix sockets.
//!
//! This crate knows no MQTT. What it hands out is one type, [`Stream`], to read bytes from and to write
//! bytes to; how they travel was settled before. It starts no threads, and keeps no task beyond the call
//! that needed it.
//!
//! ```text
//!  dial(&DialOptions)                                        Listener::accept()
//!        │ resolve, connect (happy eyeballs), proxy                │ Incoming: a raw socket, may change thread
//!        ▼                                                         ▼
//!     TCP / Unix ───────────────── the network ───────────────  Incoming::open(&Acceptor, deadline)
//!        │ TLS handshake                                           │ TLS handshake
//!        │ WebSocket upgrade                                       │ WebSocket upgrade
//!        ▼                                                         ▼
//!     Stream  ◀─────────────── bytes, both ways ──────────────▶  Stream
//! ```
//!
//! Invariants: every wait has a deadline, and an error names the stage that ran out of time; what a peer can
//! make us hold before it has been let in is bounded; an idle plain stream holds no buffer; the crypto
//! provider is passed explicitly, never taken from the process.

mod acceptor;
mod connect;
mod dial;
mod dial_error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod hidden;
mod listen;
mod listen_error;
mod peer;
mod proxy;
mod sniff;
mod stream;
mod tls;
#[cfg(unix)]
mod unix;
mod ws;

pub use acceptor::{Acceptor, Incoming, OpenError};
pub use connect::Attempt;
pub use dial::{DialOptions, dial};
pub use dial_error::{DialError, Stage};
pub use listen::{BindAddress, ListenOptions, Listener};
pub use listen_error::ListenError;
pub use peer::{HttpPeer, Peer, PeerAddress, TlsPeer};
pub use proxy::{Proxy, ProxyFault, ProxyKind};
pub use sniff::{FirstBytes, Spoken};
pub use stream::{Stream, Transport, UnknownTransport};
pub use tls::{
    CertificateFacts, Certificates, ClientCertificates, Form, Identity, LoadError, Pem, PrivateKey, Standing,
    TlsCause, TlsClientOptions, TlsOptionsError, TlsServerOptions, TlsVersion, Verify, Wanted,
};
pub use ws::{Refusal, Subprotocol};
