//! Why a dial came to nothing: the stage, the fault, and what to do next.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::connect::Attempt;
use crate::proxy::ProxyFault;
use crate::sniff::Spoken;
use crate::stream::Transport;
use crate::tls::{TlsCause, TlsOptionsError};
use crate::ws::Subprotocol;

/// What a connection goes through before it carries bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Finding the addresses of a host name.
    Resolve,
    /// Connecting to one of them.
    Connect,
    /// Asking a proxy for the connection.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The WebSocket upgrade.
    Upgrade,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolving the host name",
            Self::Connect => "connecting",
            Self::Proxy => "asking the proxy",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the WebSocket upgrade",
        })
    }
}

/// Why a dial came to nothing.
///
/// The message names the target and the fault; [`hint`](Self::hint) is one next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The host name has no address, or nobody could be asked for it.
    #[error("the host {host} cannot be resolved: {source}")]
    Resolve {
        /// The host name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Every address refuses connections on this port.
    #[error(
        "{target} refuses connections{}",
        beside(target, attempts, Some(io::ErrorKind::ConnectionRefused))
    )]
    Refused {
        /// Host and port.
        target: String,
        /// What became of each address; empty for a Unix socket.
        attempts: Vec<Attempt>,
    },
    /// No address can be reached.
    #[error("{target} cannot be reached{}", beside(target, attempts, None))]
    Unreachable {
        /// Host and port.
        target: String,
        /// What became of each address.
        attempts: Vec<Attempt>,
    },
    /// The time was over before the stream was open.
    #[error("{target} did not answer within {} s: the time ran out while {stage}{}", seconds(*after), beside(target, attempts, Some(io::ErrorKind::TimedOut)))]
    TimedOut {
        /// Host and port.
        target: String,
        /// The stage that was under way.
        stage: Stage,
        /// The time there was for all stages together.
        after: Duration,
        /// What became of each address, when the stage is [`Stage::Connect`].
        attempts: Vec<Attempt>,
    },
    /// The proxy did not make the connection.
    #[error("the proxy {proxy} on the way to {target} {fault}")]
    Proxy {
        /// Host and port of the proxy.
        proxy: String,
        /// Host and port of the server.
        target: String,
        /// What became of it.
        fault: ProxyFault,
    },
    /// TLS failed.
    #[error("TLS with {target} failed: {cause}")]
    Tls {
        /// Host and port.
        target: String,
        /// Why, in plain words.
        cause: TlsCause,
    },
    /// The server answered the upgrade with something other than 101.
    #[error("{target} refused the WebSocket upgrade with status {status} {reason}")]
    Upgrade {
        /// Host, port and path.
        target: String,
        /// The HTTP status.
        status: u16,
        /// What the server said, in at most 200 characters.
        reason: String,
    },
    /// The server's answer to the upgrade breaks the rules of HTTP or WebSocket.
    #[error("{target} does not speak WebSocket: {detail}")]
    NotWebSocket {
        /// Host and port.
        target: String,
        /// What is wrong with its answer.
        detail: String,
        /// What it seems to speak instead.
        spoken: Option<Spoken>,
    },
    /// The server did not agree to the subprotocol.
    #[error("{target} did not agree to the WebSocket subprotocol {asked}: it answered {}", answered.as_deref().unwrap_or("none"))]
    Subprotocol {
        /// Host and port.
        target: String,
        /// What was asked for.
        asked: Subprotocol,
        /// What was answered.
        answered: Option<String>,
    },
    /// The peer closed the connection before the stream was open.
    #[error("{target} closed the connection during {stage}")]
    Closed {
        /// Host and port.
        target: String,
        /// The stage that was under way.
        stage: Stage,
    },
    /// The system refused something else.
    #[error("{target}: {stage} failed: {source}")]
    Io {
        /// Host and port.
        target: String,
        /// The stage that was under way.
        stage: Stage,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS settings of our own are wrong.
    #[error("the TLS settings are wrong: {0}")]
    TlsOptions(#[from] TlsOptionsError),
    /// A setting of the upgrade cannot be sent.
    #[error("{what} cannot be sent: {reason}")]
    UpgradeOptions {
        /// The path, or the header by name.
        what: String,
        /// Why not.
        reason: &'static str,
    },
    /// This system does not have this transport.
    #[error("this system has no {transport}")]
    Unsupported {
        /// The transport.
        transport: Transport,
    },
}

impl DialError {
    /// Returns one next step in plain words.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "check the spelling of the host and the name server of this machine",
            Self::Refused { .. } => {
                "check the port, and that the server is running and listens on this address"
            }
            Self::Unreachable { .. } => {
                "check the network, the route and the firewall between here and there"
            }
            Self::TimedOut { stage, .. } => on_time_out(*stage),
            Self::Proxy { fault, .. } => fault.hint(),
            Self::Tls { cause, .. } => cause.hint(),
            Self::Upgrade { status, .. } => on_status(*status),
            Self::NotWebSocket { spoken: Some(Spoken::Tls), .. } => "the port is encrypted: dial it with wss",
            Self::NotWebSocket { .. } => "check that the port is a WebSocket port",
            Self::Subprotocol { .. } => "check the path; try the other subprotocol, mqtt or mqttv3.1",
            Self::Closed { .. } => {
                "check that the port is the one for this transport, and see the server's log"
            }
            Self::Io { .. } => "see the system's message",
            Self::TlsOptions(error) => error.hint(),
            Self::UpgradeOptions { .. } => "remove what HTTP does not allow there",
            Self::Unsupported { .. } => "use TCP on 127.0.0.1 instead",
        }
    }

    /// Returns the stage that failed; absent when it was a setting of our own.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            Self::Resolve { .. } => Some(Stage::Resolve),
            Self::Refused { .. } | Self::Unreachable { .. } => Some(Stage::Connect),
            Self::Proxy { .. } => Some(Stage::Proxy),
            Self::Tls { .. } => Some(Stage::Tls),
            Self::Upgrade { .. } | Self::NotWebSocket { .. } | Self::Subprotocol { .. } => {
                Some(Stage::Upgrade)
            }
            Self::TimedOut { stage, .. } | Self::Closed { stage, .. } | Self::Io { stage, .. } => {
                Some(*stage)
            }
            Self::TlsOptions(_) | Self::UpgradeOptions { .. } | Self::Unsupported { .. } => None,
        }
    }
}

fn on_time_out(stage: Stage) -> &'static str {
    match stage {
        Stage::Resolve => "check the name server of this machine",
        Stage::Connect => "check the address, and that no firewall drops the packets",
        Stage::Proxy => "check that `proxy` names a proxy of its kind, and that it gets to the server",
        Stage::Tls => "the port may not be encrypted: use the TLS port, or switch TLS off",
        Stage::Upgrade => "the port may not be a WebSocket port",
    }
}

fn on_status(status: u16) -> &'static str {
    match status {
        301..=308 => "dial the address that it redirects to",
        401 | 407 => "add the header that the server or proxy wants for its authentication",
        403 => "check the headers and the origin that the server allows",
        404 => "check the path; many servers use /mqtt or /",
        400 | 426 => "check that this is a WebSocket path, and the subprotocol",
        502..=504 => "the proxy answers but the server behind it does not: check that one",
        _ => "see the server's log",
    }
}

/// Returns what the attempts add, in brackets: neither an address that is the target itself, nor what is `said` of it.
fn beside(target: &str, attempts: &[Attempt], said: Option<io::ErrorKind>) -> String {
    let added = match attempts {
        [] => return String::new(),
        [only] if target.parse() == Ok(only.address) => {
            if said == Some(only.error.kind()) {
                return String::new();
            }
            only.outcome()
        }
        all => all.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; "),
    };
    format!(" ({added})")
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(address: &str, kind: io::ErrorKind) -> Attempt {
        Attempt { address: address.parse().unwrap(), error: kind.into() }
    }

    #[test]
    fn an_address_is_named_once() {
        use io::ErrorKind::{ConnectionRefused, NetworkUnreachable, TimedOut};
        let refused = |target: &str, addresses: &[&str]| {
            let attempts = addresses.iter().map(|address| attempt(address, ConnectionRefused)).collect();
            DialError::Refused { target: target.to_owned(), attempts }.to_string()
        };
        assert_eq!(refused("127.0.0.1:1", &["127.0.0.1:1"]), "127.0.0.1:1 refuses connections");
        assert_eq!(refused("[0::1]:1", &["[::1]:1"]), "[0::1]:1 refuses connections");
        assert_eq!(refused("/run/a.sock", &[]), "/run/a.sock refuses connections");
        assert_eq!(refused("h:1", &["127.0.0.1:1"]), "h:1 refuses connections (127.0.0.1:1: refused)");
        assert_eq!(
            refused("h:1", &["[::1]:1", "127.0.0.1:1"]),
            "h:1 refuses connections ([::1]:1: refused; 127.0.0.1:1: refused)"
        );
        let unreachable = |kind| {
            let attempts = vec![attempt("192.0.2.1:1", kind)];
            DialError::Unreachable { target: "192.0.2.1:1".to_owned(), attempts }.to_string()
        };
        assert_eq!(unreachable(NetworkUnreachable), "192.0.2.1:1 cannot be reached (network unreachable)");
        let timed_out = |target: &str| {
            let (stage, after) = (Stage::Connect, Duration::from_secs(5));
            let attempts = vec![attempt("192.0.2.1:1", TimedOut)];
            DialError::TimedOut { target: target.to_owned(), stage, after, attempts }.to_string()
        };
        let plain = "did not answer within 5 s: the time ran out while connecting";
        assert_eq!(timed_out("192.0.2.1:1"), format!("192.0.2.1:1 {plain}"));
        assert_eq!(timed_out("h:1"), format!("h:1 {plain} (192.0.2.1:1: no answer)"));
    }
}
