//! A proxy between a connector and its broker.

use std::fmt;

use super::super::secret::Secret;

/// A proxy to go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyPlan {
    /// What it speaks.
    pub kind: ProxyKind,
    /// A host name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port, 1 to 65,535.
    pub port: u16,
    /// User name and password.
    pub login: Option<(String, Secret)>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP with CONNECT.
    Http,
    /// SOCKS5; this machine resolves the broker's name.
    Socks5,
    /// SOCKS5; the proxy resolves the broker's name.
    Socks5Hostname,
}

impl ProxyPlan {
    /// Tells whether two are the same proxy, whatever their login.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (self.kind, &self.host, self.port) == (other.kind, &other.host, other.port)
    }
}

impl fmt::Display for ProxyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Socks5Hostname => "socks5h",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}
