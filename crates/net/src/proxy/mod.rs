//! Proxies: between us and the server stands somebody who makes the connection for us.
//!
//! ```text
//!   we ── TCP ──► proxy ── TCP ──► server
//!      CONNECT host:port     what comes now is between us and the server: MQTT, TLS, or a WebSocket upgrade
//! ```
//!
//! Invariant: what is asked of the proxy and what it answers is over before the first byte for the server. In every
//! transport it is we who speak first, so a byte behind the proxy's answer can only be a fault.

mod fault;
mod http;
mod socks;

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::hidden::Hidden;

pub use fault::ProxyFault;

/// A proxy between us and the server, and how it is spoken to. Its `Debug` hides the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: ProxyKind,
    host: String,
    port: u16,
    login: Option<Login>,
}

/// What a proxy speaks, and who finds the addresses of the server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// HTTP with CONNECT; the proxy finds them.
    Http,
    /// SOCKS5; we find them.
    Socks5,
    /// SOCKS5; the proxy finds them.
    Socks5Hostname,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    username: String,
    password: Hidden,
}

/// Where the proxy is asked to connect to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal<'a> {
    Name(&'a str, u16),
    Address(SocketAddr),
}

impl Proxy {
    /// Makes a proxy that asks for no login. An address of version 6 stands without brackets.
    pub fn new(kind: ProxyKind, host: impl Into<String>, port: u16) -> Self {
        Self { kind, host: host.into(), port, login: None }
    }

    /// Sets user name and password: with HTTP the basic authentication, where a user name holds no colon; with SOCKS5
    /// 1 to 255 bytes each. Default: none.
    #[must_use]
    pub fn login(mut self, username: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some(Login { username: username.into(), password: Hidden::new(password) });
        self
    }

    /// Returns what the proxy speaks.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Returns what errors call the proxy: host and port.
    pub(crate) fn target(&self) -> String {
        crate::dial::target(&self.host, self.port)
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks the proxy for the connection; the caller bounds the time.
    pub(crate) async fn ask(&self, stream: &mut TcpStream, goal: Goal<'_>) -> Result<(), ProxyFault> {
        match self.kind {
            ProxyKind::Http => http::connect(stream, goal, self.login.as_ref()).await,
            ProxyKind::Socks5 | ProxyKind::Socks5Hostname => {
                socks::connect(stream, goal, self.login.as_ref()).await
            }
        }
    }
}
