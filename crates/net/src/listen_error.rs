//! Why a listener could not be bound.

use std::io;

use crate::stream::Transport;
use crate::tls::TlsOptionsError;

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another program, or another listener, has the address.
    #[error("the address {bind} is in use")]
    InUse {
        /// The address or path.
        bind: String,
    },
    /// This user may not have the address.
    #[error("this user may not listen on {bind}")]
    NotAllowed {
        /// The address or path.
        bind: String,
    },
    /// The address is not one of this machine.
    #[error("the address {bind} is not one of this machine")]
    NotHere {
        /// The address.
        bind: String,
    },
    /// There is a file in the place of the Unix socket which is none.
    #[error("{bind} exists and is not a socket")]
    NotASocket {
        /// The path.
        bind: String,
    },
    /// The address and the transport do not go together.
    #[error("{transport} cannot listen on {bind}")]
    Mismatch {
        /// The transport.
        transport: Transport,
        /// The address or path.
        bind: String,
    },
    /// The TLS settings are wrong.
    #[error("the TLS settings are wrong: {0}")]
    TlsOptions(#[from] TlsOptionsError),
    /// This system does not have this transport.
    #[error("this system has no {transport}")]
    Unsupported {
        /// The transport.
        transport: Transport,
    },
    /// The system refused something else.
    #[error("listening on {bind} failed: {source}")]
    Io {
        /// The address or path.
        bind: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// Returns one next step in plain words.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the program that has it, or choose another port",
            Self::NotAllowed { .. } => "choose a port from 1024 up, or a folder this user may write to",
            Self::NotHere { .. } => "use an address of this machine, 127.0.0.1, or 0.0.0.0 for all",
            Self::NotASocket { .. } => "choose another path; the file is left as it is",
            Self::Mismatch { .. } => "give a path for a Unix socket, an address and port for all others",
            Self::TlsOptions(error) => error.hint(),
            Self::Unsupported { .. } => "use TCP on 127.0.0.1 instead",
            Self::Io { .. } => "see the system's message",
        }
    }

    pub(crate) fn of(bind: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { bind },
            io::ErrorKind::PermissionDenied => Self::NotAllowed { bind },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { bind },
            _ => Self::Io { bind, source },
        }
    }
}
