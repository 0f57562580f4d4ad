//! What is wrong with TLS settings of our own, before any peer is involved.

use std::io;

use super::LoadError;

/// What is wrong with our own TLS settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsOptionsError {
    /// A file could not be read.
    #[error("the file {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why it could not be read.
        source: io::Error,
    },
    /// Certificates or a key cannot be taken from what is there.
    #[error("{place} {cause}")]
    Load {
        /// The file, or "the inline text".
        place: String,
        /// What it is instead, or what is wrong with it.
        cause: LoadError,
    },
    /// Certificate and private key do not belong together, or are of no use.
    #[error("{0}")]
    Identity(LoadError),
    /// Clients are to be checked, and no authority is named to check them by.
    #[error("no authority is named for the certificates of clients")]
    NoClientAuthorities,
    /// The system has no store of trusted authorities.
    #[error("the system has no trusted authorities")]
    NoSystemRoots,
    /// The name to verify the server by is neither a host name nor an address.
    #[error("{name:?} is neither a host name nor an address")]
    ServerName {
        /// The name as given.
        name: String,
    },
    /// An encrypted listener was asked for without a certificate.
    #[error("an encrypted listener needs a certificate and a private key")]
    NoServerCertificate,
    /// The TLS library refuses the settings.
    #[error("the certificate or key cannot be used: {0}")]
    Unusable(rustls::Error),
}

impl TlsOptionsError {
    /// Returns one next step in plain words.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path and that this user may read the file",
            Self::Load { cause, .. } | Self::Identity(cause) => cause.hint(),
            Self::NoClientAuthorities => "name the authority that signs the certificates of the clients",
            Self::NoSystemRoots => {
                "install the package ca-certificates, name a CA file, or trust the bundled ones (`auto`)"
            }
            Self::ServerName { .. } => "write the host name as it stands in the server's certificate",
            Self::NoServerCertificate => "name a certificate and a private key for this listener",
            Self::Unusable(_) => "make a certificate with an RSA (2048 bits or more), ECDSA or Ed25519 key",
        }
    }
}

impl From<rustls::Error> for TlsOptionsError {
    fn from(error: rustls::Error) -> Self {
        Self::Unusable(error)
    }
}
