//! Certificates, keys, and what a client checks of those of a server.

use crate::config::secret::Secret;

/// How a client does TLS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientTls {
    /// The certificate authorities that are trusted; empty means those of the system.
    pub ca: Vec<Pem>,
    /// Whether those of the system and those that come with this program are trusted besides `ca`.
    pub trusts_public: bool,
    /// Our certificate with its key.
    pub identity: Option<Identity>,
    /// What is checked of the server's certificate.
    pub verify: Verify,
    /// The name that is sent and checked instead of the host.
    pub server_name: Option<String>,
    /// The application protocols that are offered, in order.
    pub alpn: Vec<String>,
    /// The oldest version of TLS that is spoken.
    pub version_min: TlsVersion,
}

/// What is checked of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Chain, dates and host name.
    #[default]
    Full,
    /// Chain and dates, but not the host name.
    Chain,
    /// Nothing.
    None,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// The words of the project file.
    pub const WORDS: &'static [&'static str] = &["1.2", "1.3"];

    /// Returns what a word means; an unknown one means the default.
    pub fn of_word(word: &str) -> Self {
        if word == "1.3" { Self::V1_3 } else { Self::V1_2 }
    }
}

/// A certificate chain and the key that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The certificate chain, ours first.
    pub certificate: Pem,
    /// The private key of that, as PEM text that is not encrypted, whatever it was read from.
    pub key: Secret,
    /// Where the key came from, for error messages.
    pub key_origin: String,
}

/// PEM text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pem {
    /// The path of the file, the name of the variable, or "the inline text".
    pub origin: String,
    /// The text, whatever form it was read from.
    pub text: String,
}
