//! Why no stream to a broker could be opened.

use std::sync::Arc;

use crosspoint_client::{BoxFuture, ByteStream, Dial, DialFailure, DialOptions, Version};
use crosspoint_net::{DialError, ProxyFault, Spoken, Stage, Subprotocol, TlsCause, TlsOptionsError, dial};

use super::{Diagnosis, Fault};
use crate::config::plan::{Address, Transport};

/// Returns what a failed dial means.
pub fn of_dial(error: &DialError) -> Diagnosis {
    let cause = error.to_string();
    let diagnosis = |fault| Diagnosis::new(fault, cause.clone(), error.hint());
    match error {
        DialError::Resolve { host, .. } => Diagnosis::new(
            Fault::NameNotFound,
            cause,
            format!("check the spelling of {host:?}, and that this machine's name server knows it"),
        )
        .setting("url"),
        DialError::Refused { .. } => diagnosis(Fault::Refused).setting("url"),
        DialError::Unreachable { .. } => diagnosis(Fault::Unreachable).setting("url"),
        DialError::TimedOut { stage, .. } => on_time_out(*stage, cause),
        DialError::Proxy { fault, .. } => of_proxy(fault, cause),
        DialError::Tls { cause: tls, .. } => of_tls(tls, cause),
        DialError::Closed { stage: Stage::Tls, .. } => of_tls(&TlsCause::Closed, cause),
        DialError::Upgrade { status: 301..=308 | 400 | 404 | 426, .. } => {
            diagnosis(Fault::UpgradeRefused).setting("path")
        }
        DialError::Upgrade { status: 401 | 403 | 407, .. } => {
            diagnosis(Fault::UpgradeRefused).setting("websocket.headers")
        }
        DialError::Upgrade { .. } | DialError::Subprotocol { .. } | DialError::UpgradeOptions { .. } => {
            diagnosis(Fault::UpgradeRefused)
        }
        DialError::NotWebSocket { spoken: Some(Spoken::Tls), .. } => {
            diagnosis(Fault::PlainToTls).setting("url")
        }
        DialError::NotWebSocket { .. } => diagnosis(Fault::NotWebSocket).setting("url"),
        DialError::TlsOptions(wrong) => of_tls_options(wrong, cause),
        DialError::Closed { .. } => diagnosis(Fault::ClosedWithoutAnswer).setting("url"),
        _ => diagnosis(Fault::OurSide),
    }
}

fn on_time_out(stage: Stage, cause: String) -> Diagnosis {
    let (fault, next_step) = match stage {
        Stage::Resolve => (Fault::NameNotFound, "check that this machine's name server answers"),
        Stage::Connect => (
            Fault::Filtered,
            "ask for the firewall between here and there to let this port through, or correct the address",
        ),
        Stage::Proxy => {
            return Diagnosis::new(
                Fault::ProxyUnreachable,
                cause,
                "check that `proxy` names a proxy of its kind, and that it gets to the broker",
            )
            .setting("proxy");
        }
        Stage::Tls => (
            Fault::Silent,
            "use the broker's port for TLS, usually 8883: this one says nothing to a TLS handshake",
        ),
        _ => (Fault::Silent, "use the broker's port for WebSocket: this one does not answer the upgrade"),
    };
    Diagnosis::new(fault, cause, next_step).setting("url")
}

fn of_proxy(fault: &ProxyFault, cause: String) -> Diagnosis {
    let plain = |known| Diagnosis::new(known, cause.clone(), fault.hint());
    match fault {
        ProxyFault::Refused { status: 401 | 407, has_login: false, .. }
        | ProxyFault::WantsLogin { has_login: false } => plain(Fault::ProxyLogin).setting("proxy.username"),
        ProxyFault::Refused { status: 401 | 407, .. }
        | ProxyFault::WantsLogin { .. }
        | ProxyFault::LoginRefused
        | ProxyFault::LoginUnsendable(_) => plain(Fault::ProxyLogin).setting("proxy.password"),
        // The proxy does not get there: the address is to be one that it knows.
        ProxyFault::Refused { status: 500..=504, .. } | ProxyFault::Failed { code: 1 | 3..=6 } => {
            plain(Fault::ProxyRefused).setting("url")
        }
        ProxyFault::Failed { code: 8 } => plain(Fault::ProxyRefused).setting("proxy"),
        ProxyFault::Refused { .. } | ProxyFault::Failed { .. } => plain(Fault::ProxyRefused),
        _ => plain(Fault::ProxyUnreachable).setting("proxy"),
    }
}

/// Returns what a failure of TLS means; `cause` is the sentence that names the target.
pub(crate) fn of_tls(tls: &TlsCause, cause: String) -> Diagnosis {
    let plain = |fault| Diagnosis::new(fault, cause.clone(), tls.hint());
    match tls {
        TlsCause::Expired { .. } => Diagnosis::new(
            Fault::CertificateExpired,
            cause,
            "renew the broker's certificate; no setting of the connector mends it without giving up its protection",
        ),
        TlsCause::NotYetValid => Diagnosis::new(
            Fault::CertificateNotYetValid,
            cause,
            "set the clock of this machine, or of the one that made the broker's certificate",
        ),
        TlsCause::WrongHost { presented, .. } => of_wrong_host(presented, cause),
        TlsCause::UnknownAuthority | TlsCause::OtherAuthorityKey => Diagnosis::new(
            Fault::UnknownAuthority,
            cause,
            "get the certificate of the authority (CA) from whoever runs the broker, and name its file",
        )
        .setting("tls.ca"),
        TlsCause::AuthorityAsPeer
        | TlsCause::Revoked
        | TlsCause::WrongPurpose
        | TlsCause::BadCertificate(_) => plain(Fault::CertificateUnusable),
        TlsCause::ClientCertificateRequired => Diagnosis::new(
            Fault::ClientCertificateRequired,
            cause,
            "get a client certificate and its key from whoever runs the broker, and name their files",
        )
        .setting("tls.certificate"),
        TlsCause::RefusedByPeer(_) => plain(Fault::ClientCertificateRefused).setting("tls.certificate"),
        TlsCause::NotTls | TlsCause::Closed => Diagnosis::new(
            Fault::TlsToPlain,
            cause,
            "use the broker's port for TLS, usually 8883; mqtt:// would send everything readable, the password too",
        )
        .setting("url"),
        TlsCause::NothingInCommon => plain(Fault::TlsNothingInCommon),
        TlsCause::NoCommonAlpn => plain(Fault::TlsNothingInCommon).setting("tls.alpn"),
        TlsCause::UnknownServerName => plain(Fault::TlsFailed).setting("tls.server_name"),
        _ => plain(Fault::TlsFailed),
    }
}

/// A certificate for other names is mended by the name that the broker has, never by checking less.
fn of_wrong_host(presented: &[String], cause: String) -> Diagnosis {
    match presented.first() {
        Some(first) if presented.len() == 1 && !first.starts_with('*') => Diagnosis::new(
            Fault::CertificateWrongHost,
            cause,
            format!("if {first} is the broker that is meant, dial that name, or check for that name"),
        )
        .text("tls.server_name", first.clone()),
        _ => Diagnosis::new(
            Fault::CertificateWrongHost,
            cause,
            "dial one of the names in the certificate, or check for the one that is meant",
        )
        .setting("tls.server_name"),
    }
}

fn of_tls_options(error: &TlsOptionsError, cause: String) -> Diagnosis {
    match error {
        TlsOptionsError::Identity(_) => {
            Diagnosis::new(Fault::KeyMismatch, cause, error.hint()).setting("tls.key")
        }
        TlsOptionsError::ServerName { .. } => {
            Diagnosis::new(Fault::TlsSettings, cause, error.hint()).setting("tls.server_name")
        }
        TlsOptionsError::NoSystemRoots => {
            Diagnosis::new(Fault::TlsSettings, cause, error.hint()).setting("tls.ca")
        }
        _ => Diagnosis::new(Fault::TlsSettings, cause, error.hint()),
    }
}

/// Returns a way through the network whose failures bear the words of this room, for the client of a connector.
pub fn dial_with_words() -> Dial {
    Arc::new(|server: &DialOptions, version| {
        let subprotocol = if version == Version::V3_1 { Subprotocol::MqttV31 } else { Subprotocol::Mqtt };
        let server = server.clone().ws_subprotocol(subprotocol);
        let opened: BoxFuture<Result<Box<dyn ByteStream>, DialFailure>> = Box::pin(async move {
            match dial(&server).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn ByteStream>),
                Err(error) => Err(in_words(&of_dial(&error))),
            }
        });
        opened
    })
}

fn in_words(diagnosis: &Diagnosis) -> DialFailure {
    let next_step = match &diagnosis.mend {
        Some(mend) => format!("{} ({mend})", diagnosis.next_step),
        None => diagnosis.next_step.clone(),
    };
    DialFailure { what: diagnosis.cause.clone(), next_step }
}

/// Returns an address with its encrypted transport.
pub(super) fn encrypted(address: &Address) -> Address {
    let transport = if address.transport.is_websocket() { Transport::Wss } else { Transport::Tls };
    Address { transport, ..address.clone() }
}
