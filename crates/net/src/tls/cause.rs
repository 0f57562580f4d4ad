//! Why TLS failed, in plain words.

use std::io;

use rustls::{AlertDescription as Alert, CertificateError, Error, InvalidMessage};

/// Why TLS failed, in plain words.
///
/// It is what [`DialError::Tls`](crate::DialError::Tls) and [`OpenError::Tls`](crate::OpenError::Tls) carry. On TLS
/// 1.3 a server judges the client's certificate after the handshake, so that a refusal comes with the first
/// read: [`TlsCause::of`] finds it there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsCause {
    /// The peer's certificate has run out.
    #[error("its certificate expired{}", days_ago(*days))]
    Expired {
        /// Whole days since then, when known.
        days: Option<u64>,
    },
    /// The peer's certificate is not valid yet.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// The server's certificate is for other names.
    #[error("its certificate is not for {expected} but for {}", names(presented))]
    WrongHost {
        /// The name that was dialled.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// The peer's certificate is signed by nobody trusted here.
    #[error("its certificate is signed by an authority that is not trusted here")]
    UnknownAuthority,
    /// The peer's certificate is signed with another key than that of the trusted authority of this name, which
    /// happens when an authority is made anew.
    #[error(
        "its certificate is not signed with the key of the authority trusted here, though the names are the same"
    )]
    OtherAuthorityKey,
    /// The peer presents a certificate of an authority as its own.
    #[error("it presents a certificate of an authority (CA:TRUE) as its own")]
    AuthorityAsPeer,
    /// The peer's certificate has been revoked.
    #[error("its certificate has been revoked")]
    Revoked,
    /// The peer's certificate is made for something else, such as a client's presented by a server.
    #[error("its certificate is made for another purpose")]
    WrongPurpose,
    /// The peer's certificate cannot be used.
    #[error("its certificate cannot be used: {0}")]
    BadCertificate(String),
    /// The server lets in only clients that present a certificate.
    #[error("it requires a client certificate")]
    ClientCertificateRequired,
    /// The client presented no certificate, and this listener requires one.
    #[error("it presented no client certificate")]
    NoClientCertificate,
    /// The peer does not accept our certificate.
    #[error("it does not accept our certificate ({0})")]
    RefusedByPeer(String),
    /// The peer does not speak TLS.
    #[error("it does not speak TLS")]
    NotTls,
    /// The peer closed the connection in the middle of the handshake.
    #[error("it closed the connection during the TLS handshake")]
    Closed,
    /// There is no TLS version or cipher suite that both sides speak.
    #[error("there is no TLS version or cipher suite in common")]
    NothingInCommon,
    /// The server has no certificate for the name that was asked for.
    #[error("it does not know the server name that was asked for")]
    UnknownServerName,
    /// There is no application protocol (ALPN) in common.
    #[error("there is no application protocol (ALPN) in common")]
    NoCommonAlpn,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl TlsCause {
    /// Returns the cause inside an error of reading from or writing to a stream, if it was one of TLS.
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        if let Some(cause) = inner.downcast_ref::<Self>() {
            return Some(cause.clone());
        }
        inner.downcast_ref::<Error>().map(Self::from)
    }

    /// Returns one next step in plain words.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "renew the certificate; if it is fresh, check this machine's clock",
            Self::NotYetValid => "check the clock of this machine",
            Self::WrongHost { .. } => {
                "dial one of the names in the certificate, or set the server name to one of them"
            }
            Self::UnknownAuthority => "name the CA file that signed the certificate",
            Self::OtherAuthorityKey => "fetch the CA file again: the authority was probably made anew",
            Self::AuthorityAsPeer => "make a certificate of its own for the server, without CA:TRUE",
            Self::Revoked => "issue a new certificate",
            Self::WrongPurpose => {
                "use a certificate with the extended key usage of a server or of a client, as it is used"
            }
            Self::BadCertificate(_) => "make a new certificate, version 3 with subjectAltName",
            Self::ClientCertificateRequired => "set a client certificate and its private key",
            Self::NoClientCertificate => {
                "give the client a certificate signed by the authority of this listener"
            }
            Self::RefusedByPeer(_) => {
                "check that the other side trusts the authority which signed our certificate"
            }
            Self::NotTls => "the port is probably not encrypted: use the TLS port, or switch TLS off",
            Self::Closed => {
                "the port may not be encrypted, or may demand something the other side's log tells"
            }
            Self::NothingInCommon => {
                "enable TLS 1.2 or 1.3 on the other side, or lower `min_version` on this one"
            }
            Self::UnknownServerName => "set the server name to a name the server knows",
            Self::NoCommonAlpn => "offer the application protocol that the other side expects, or none",
            Self::Other(_) => "see the log of the other side",
        }
    }

    /// Finds the cause of a failed handshake, in which the end of the connection is a failure as well.
    pub(crate) fn of_handshake(error: &io::Error) -> Option<Self> {
        let is_end = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        );
        Self::of(error).or(is_end.then_some(Self::Closed))
    }
}

impl From<&Error> for TlsCause {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::AlertReceived(alert) => of_alert(*alert),
            Error::NoCertificatesPresented => Self::NoClientCertificate,
            Error::NoApplicationProtocol => Self::NoCommonAlpn,
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Puts an error of reading or writing in plain words, if it was one of TLS; leaves it as it is otherwise.
pub(crate) fn in_plain_words(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => io::Error::new(error.kind(), TlsCause::from(tls)),
        None => error,
    }
}

fn of_certificate(error: &CertificateError) -> TlsCause {
    match error {
        CertificateError::Expired => TlsCause::Expired { days: None },
        CertificateError::ExpiredContext { time, not_after } => {
            TlsCause::Expired { days: Some(time.as_secs().saturating_sub(not_after.as_secs()) / 86_400) }
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsCause::NotYetValid,
        CertificateError::NotValidForNameContext { expected, presented } => TlsCause::WrongHost {
            expected: expected.to_str().into_owned(),
            presented: presented.iter().map(|name| plain_name(name)).collect(),
        },
        CertificateError::UnknownIssuer => TlsCause::UnknownAuthority,
        CertificateError::BadSignature => TlsCause::OtherAuthorityKey,
        CertificateError::Revoked => TlsCause::Revoked,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            TlsCause::WrongPurpose
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            TlsCause::AuthorityAsPeer
        }
        other => TlsCause::BadCertificate(other.to_string()),
    }
}

fn of_alert(alert: Alert) -> TlsCause {
    match alert {
        Alert::CertificateRequired => TlsCause::ClientCertificateRequired,
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::DecryptError
        | Alert::AccessDenied => TlsCause::RefusedByPeer(format!("{alert:?}")),
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            TlsCause::NothingInCommon
        }
        Alert::UnrecognisedName => TlsCause::UnknownServerName,
        Alert::NoApplicationProtocol => TlsCause::NoCommonAlpn,
        other => TlsCause::Other(format!("it sent the TLS alert {other:?}")),
    }
}

/// Takes the name out of the library's notation, such as `DnsName("example.com")`.
fn plain_name(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}

fn days_ago(days: Option<u64>) -> String {
    match days {
        Some(0) => " less than a day ago".to_owned(),
        Some(1) => " a day ago".to_owned(),
        Some(days) => format!(" {days} days ago"),
        None => String::new(),
    }
}
