//! Why a proxy did not make the connection.

use std::fmt;
use std::io;

use crate::dial_error::DialError;

/// Why a proxy did not make the connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyFault {
    /// The proxy itself cannot be reached.
    Unreachable(Box<DialError>),
    /// An HTTP proxy answered CONNECT with something other than 200.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, in at most 80 characters.
        reason: String,
        /// Whether it was given a user name and password.
        has_login: bool,
    },
    /// A SOCKS5 proxy takes none of the ways to log in that it was offered.
    WantsLogin {
        /// Whether it was offered a user name and password.
        has_login: bool,
    },
    /// A SOCKS5 proxy does not take the user name and password.
    LoginRefused,
    /// The user name or password cannot be sent to this kind of proxy.
    LoginUnsendable(&'static str),
    /// A SOCKS5 proxy did not connect.
    Failed {
        /// The code of its reply.
        code: u8,
    },
    /// What answers does not speak the language of this kind of proxy.
    Other(&'static str),
    /// It closed the connection without an answer.
    Closed,
    /// The system refused something.
    Io(io::Error),
}

impl ProxyFault {
    /// Returns one next step in plain words.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "check host and port of `proxy`, and that the proxy runs",
            // Tinyproxy wants a login with 407 and refuses a wrong one with 401.
            Self::Refused { status: 401 | 407, has_login: false, .. }
            | Self::WantsLogin { has_login: false } => "set `proxy.username` and `proxy.password`",
            Self::Refused { status: 401 | 407, .. } | Self::LoginRefused => {
                "check `proxy.username` and `proxy.password`"
            }
            Self::WantsLogin { .. } => "the proxy wants another way to log in: ask its administrator",
            Self::LoginUnsendable(_) => "change `proxy.username` or `proxy.password`",
            Self::Refused { status: 403 | 405, .. } | Self::Failed { code: 2 } => {
                "ask the proxy's administrator to allow this host and port: many allow no port but 443"
            }
            Self::Refused { status: 500..=504, .. } | Self::Failed { code: 1 | 3..=6 } => {
                "the proxy answers but does not get to the server: check the server's host and port as the proxy sees them"
            }
            Self::Failed { code: 8 } => "write socks5h:// so that the proxy finds the server's address",
            Self::Other(_) | Self::Closed => {
                "check the port of `proxy`, and whether it is http:// or socks5://"
            }
            Self::Refused { .. } | Self::Failed { .. } => "see the proxy's log",
            Self::Io(_) => "see the system's message",
        }
    }
}

impl fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot be used: {error}"),
            Self::Refused { status, reason, .. } => write!(f, "refused: {status} {reason}"),
            Self::WantsLogin { has_login: true } => f.write_str("takes no user name and password"),
            Self::WantsLogin { has_login: false } => {
                f.write_str("refused: it wants a user name and password")
            }
            Self::LoginRefused => f.write_str("refused the user name or password"),
            Self::LoginUnsendable(why) => write!(f, "cannot be given the user name and password: {why}"),
            Self::Failed { code } => write!(f, "could not connect: {}", said_by_socks(*code)),
            Self::Other(what) => write!(f, "does not answer as one: {what}"),
            Self::Closed => f.write_str("closed the connection without an answer"),
            Self::Io(error) => write!(f, "failed: {error}"),
        }
    }
}

impl std::error::Error for ProxyFault {}

impl From<io::Error> for ProxyFault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::UnexpectedEof | K::ConnectionReset | K::BrokenPipe | K::ConnectionAborted => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// The replies of RFC 1928.
fn said_by_socks(code: u8) -> String {
    let text = match code {
        1 => "it failed, it does not say how",
        2 => "its rules do not allow it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the server refuses connections",
        6 => "the way is too long",
        7 => "it does not know CONNECT",
        8 => "it does not know this kind of address",
        other => return format!("it answered with the unknown code {other}"),
    };
    text.to_owned()
}
