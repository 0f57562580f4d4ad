//! Why no stream to a broker could be opened.

use std::time::Duration;

use crosspoint_net::{DialError, ProxyFault, Spoken, Stage, TlsCause, TlsOptionsError};
use crosspoint_protocol::Violation;

use super::reach::{of_name, of_refused, of_unreachable};
use super::{Diagnosis, Fault};
use crate::config::plan::{Address, MqttPlan, Transport};

/// Returns what a failed dial means.
pub fn of_dial(error: &DialError) -> Diagnosis {
    let cause = error.to_string();
    let diagnosis = |fault| Diagnosis::new(fault, cause.clone(), error.hint());
    match error {
        DialError::Resolve { host, source } => of_name(host, source),
        DialError::Refused { attempts, .. } => of_refused(cause, attempts),
        DialError::Unreachable { attempts, .. } => of_unreachable(cause, attempts, error.hint()),
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
fn of_tls(tls: &TlsCause, cause: String) -> Diagnosis {
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
        TlsCause::Closed => Diagnosis::new(
            Fault::TlsClosed,
            cause,
            "check that the port is the broker's for TLS, usually 8883, and see the broker's log",
        )
        .setting("url"),
        TlsCause::NotTls => Diagnosis::new(
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

/// Returns what it means that a server ended TLS after the handshake.
pub(crate) fn of_tls_end(tls: &TlsCause) -> Diagnosis {
    of_tls(tls, format!("the broker ended TLS: {tls}"))
}

/// Returns what it means that the stream was closed instead of an answer to CONNECT.
pub(crate) fn of_closed() -> Diagnosis {
    Diagnosis::new(
        Fault::ClosedWithoutAnswer,
        "the broker closes the connection instead of answering CONNECT",
        "see the broker's log: it tells why; often it has as many clients as it takes, or wants TLS or WebSocket on this port",
    )
    .setting("url")
}

/// Returns what it means that what answers CONNECT cannot be read as MQTT, nor as anything else that is known.
pub(crate) fn of_not_mqtt(violation: &Violation) -> Diagnosis {
    let cause = format!("what answers on this port does not speak MQTT ({violation})");
    Diagnosis::new(Fault::NotMqtt, cause, "check the port: another service listens there").setting("url")
}

/// Returns what it means that CONNECT has no answer after so long.
pub(crate) fn of_silence(after: Duration) -> Diagnosis {
    let after = after.as_secs_f64();
    Diagnosis::new(
        Fault::Silent,
        format!("the connection is open, and CONNECT has no answer after {after} s"),
        "check that an MQTT broker listens on this port, and its load",
    )
    .setting("url")
}

/// Returns what it means that a port speaks something else than plain MQTT; where it is known which one, it is named.
pub(crate) fn of_spoken_by(address: &Address, spoken: Spoken, mqtt: &MqttPlan) -> Diagnosis {
    let (host, port) = (&address.host, address.port);
    let cause = match spoken {
        Spoken::Tls => format!("port {port} of {host} speaks TLS, and the connector does not"),
        Spoken::Http => {
            format!("a web server answers on port {port} of {host}: it speaks HTTP instead of MQTT")
        }
    };
    of_spoken(spoken, cause, mqtt)
}

/// Returns an address with its encrypted transport.
fn encrypted(address: &Address) -> Address {
    let transport = if address.transport.is_websocket() { Transport::Wss } else { Transport::Tls };
    Address { transport, ..address.clone() }
}

/// Returns what it means that something else than plain MQTT is spoken.
pub(super) fn of_spoken(spoken: Spoken, cause: String, mqtt: &MqttPlan) -> Diagnosis {
    match spoken {
        Spoken::Tls => {
            let diagnosis = Diagnosis::new(
                Fault::PlainToTls,
                cause,
                "turn TLS on: mqtts:// in the URL; the broker's port is right",
            );
            match mqtt.addresses.as_slice() {
                // One address is known by its URL; of several, a person knows which one is meant.
                [only] => diagnosis.text("url", encrypted(only).to_string()),
                _ => diagnosis.setting("url"),
            }
        }
        Spoken::Http => Diagnosis::new(
            Fault::HttpOnPort,
            cause,
            "use the broker's port for MQTT, usually 1883 or with TLS 8883; if MQTT is behind the web server, ws:// or wss:// with its path",
        )
        .setting("url"),
    }
}
