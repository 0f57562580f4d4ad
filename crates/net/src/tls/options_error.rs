//! What is wrong with TLS settings of our own, before any peer is involved.

use std::io;

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
    /// There is no certificate where one is expected.
    #[error("{place} holds no certificate in PEM form")]
    NoCertificate {
        /// The file, or "the inline text".
        place: String,
    },
    /// There is no private key where one is expected.
    #[error("{place} holds no private key in PEM form")]
    NoKey {
        /// The file, or "the inline text".
        place: String,
    },
    /// The private key is protected by a passphrase.
    #[error("the private key in {place} is protected by a passphrase")]
    EncryptedKey {
        /// The file, or "the inline text".
        place: String,
    },
    /// The text between the PEM markers is broken.
    #[error("{place} is not valid PEM: {detail}")]
    BrokenPem {
        /// The file, or "the inline text".
        place: String,
        /// What the parser stumbled over.
        detail: String,
    },
    /// Certificate and private key do not belong together.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
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
            Self::NoCertificate { .. } => {
                "give a PEM file with BEGIN CERTIFICATE; convert DER with `openssl x509 -inform der`"
            }
            Self::NoKey { .. } => {
                "give a PEM file with BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or BEGIN EC PRIVATE KEY"
            }
            Self::EncryptedKey { .. } => {
                "remove the passphrase with `openssl pkey -in key.pem -out plain.pem`"
            }
            Self::BrokenPem { .. } => "export the certificate or key again, the file is damaged",
            Self::KeyMismatch => "give the private key that the certificate was made for",
            Self::NoSystemRoots => "install the package ca-certificates, or name a CA file",
            Self::ServerName { .. } => "write the host name as it stands in the server's certificate",
            Self::NoServerCertificate => "name a certificate and a private key for this listener",
            Self::Unusable(_) => "make a certificate with an RSA (2048 bits or more), ECDSA or Ed25519 key",
        }
    }
}

impl From<rustls::Error> for TlsOptionsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(_) => Self::KeyMismatch,
            other => Self::Unusable(other),
        }
    }
}
