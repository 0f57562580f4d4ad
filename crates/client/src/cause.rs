//! Why a client is not connected, in plain words, and what to do next.

use std::fmt;

use crosspoint_net::{DialError, Spoken, TlsCause};
use crosspoint_protocol::{ReasonCode, Version, Violation, scram::ScramFault};

use crate::DialFailure;

/// Why a client is not connected.
///
/// `Display` gives the cause in plain words; [`next_step`](Self::next_step) what to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// No byte stream to the server could be opened.
    Dial(DialFailure),
    /// TLS ended after the handshake. On TLS 1.3 a server judges a client's certificate then.
    Tls(TlsCause),
    /// The stream was open, but no CONNACK came in time.
    ConnectTimeout {
        /// After how many milliseconds.
        after_ms: u64,
    },
    /// The server closed the stream instead of answering CONNECT.
    ClosedWithoutConnAck,
    /// What answers on the port speaks TLS or HTTP, where plain MQTT was expected.
    OtherProtocol {
        /// What it speaks, judged by its first bytes.
        spoken: Spoken,
    },
    /// What answered CONNECT cannot be read as MQTT.
    NotMqtt(Violation),
    /// The server does not speak the version.
    UnsupportedVersion {
        /// The version that was tried last.
        version: Version,
    },
    /// The server refused CONNECT.
    Refused {
        /// Its reason.
        reason: ReasonCode,
        /// Its own words, if it had any.
        text: Option<String>,
        /// Another server that it named.
        other_server: Option<String>,
    },
    /// The exchange of SCRAM failed on our side: the server did not prove itself, or asked for what is not safe.
    Scram(ScramFault),
    /// The server ended the connection and said why.
    Disconnected {
        /// Its reason.
        reason: ReasonCode,
        /// Its own words, if it had any.
        text: Option<String>,
        /// Another server that it named.
        other_server: Option<String>,
    },
    /// Another connection came with our client identifier, or connections end right after they were made, again and
    /// again, which looks the same.
    ClientIdFight {
        /// The identifier.
        client_id: String,
    },
    /// The stream ended without a word.
    ConnectionLost,
    /// The stream failed.
    Stream {
        /// What the system said.
        what: String,
    },
    /// The server did not answer a ping.
    KeepAliveTimeout,
    /// The server has had messages or requests of ours for so long and has answered none of them.
    AckDeadline {
        /// For how many milliseconds.
        after_ms: u64,
    },
    /// Two messages in a row that the client sent to itself, to see whether any flow, did not come back.
    CanaryLost {
        /// The topic that they were published to.
        topic: String,
    },
    /// The server broke a rule of the protocol, or a limit of ours.
    Violation(Violation),
    /// The server reads so slowly that too much waits to be sent.
    ServerDoesNotRead,
    /// The program takes deliveries so slowly that too many wait, while an answer of the server was awaited.
    DeliveriesNotTaken,
    /// A change of the session could not be stored.
    Store,
    /// A higher version of the protocol is tried.
    VersionUpward,
    /// The first server of the list is there again.
    ReturnToFirst,
    /// The server does not take the bridge bit, or it is no longer wanted: the client connects without it.
    WithoutBridgeBit,
    /// CONNECT cannot be encoded.
    Connect {
        /// Why.
        what: String,
    },
}

/// How soon the next attempt comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Between `reconnect_min_ms` and `reconnect_max_ms`.
    Normal,
    /// Between `reconnect_max_ms` and three times that.
    Contended,
    /// After ten times `reconnect_max_ms`, at least a minute: only a person can mend it.
    Refused,
}

impl Cause {
    /// Returns what to do next.
    pub fn next_step(&self) -> String {
        match self {
            Self::Dial(failure) => failure.next_step().to_owned(),
            Self::Tls(cause) => cause.hint().to_owned(),
            Self::Refused { reason, other_server, .. } | Self::Disconnected { reason, other_server, .. } => {
                other_server.as_ref().map_or_else(
                    || after_reason(*reason).to_owned(),
                    |other| format!("use the server that it named: {other}"),
                )
            }
            Self::CanaryLost { topic } => format!(
                "nothing if it comes back; else check the server's load, and that it lets this client publish and subscribe to {topic}"
            ),
            other => other.fixed_next_step().to_owned(),
        }
    }

    /// Returns how soon the next attempt comes after this.
    pub fn pace(&self) -> Pace {
        match self {
            Self::ClientIdFight { .. } => Pace::Contended,
            Self::UnsupportedVersion { .. } | Self::Connect { .. } | Self::Scram(_) => Pace::Refused,
            Self::Refused { reason, .. } if is_lasting(*reason) => Pace::Refused,
            Self::Disconnected { reason, .. } if is_lasting(*reason) => Pace::Refused,
            other if other.tls().is_some_and(is_about_us) => Pace::Refused,
            _ => Pace::Normal,
        }
    }

    /// Returns why TLS failed, in the handshake or after it, if it was that.
    pub fn tls(&self) -> Option<&TlsCause> {
        match self {
            Self::Tls(cause) => Some(cause),
            Self::Dial(failure) => match failure.error()? {
                DialError::Tls { cause, .. } => Some(cause),
                _ => None,
            },
            _ => None,
        }
    }

    const fn fixed_next_step(&self) -> &'static str {
        match self {
            Self::ConnectTimeout { .. } => {
                "check that an MQTT server answers at this address, and that TLS is on exactly if it wants TLS"
            }
            Self::ClosedWithoutConnAck => "see the server's log; it may not speak this version or want TLS",
            Self::OtherProtocol { spoken: Spoken::Tls } => {
                "turn TLS on (mqtts:// in a URL), or use the port for plain MQTT, usually 1883"
            }
            Self::OtherProtocol { spoken: Spoken::Http } => {
                "use the port for MQTT, usually 1883 or with TLS 8883, or WebSocket (ws:// or wss:// in a URL)"
            }
            Self::NotMqtt(_) => "check the port: another service listens there",
            Self::UnsupportedVersion { .. } => "set the version that the server speaks",
            Self::ClientIdFight { .. } => "give each client of this server a client id of its own",
            Self::ConnectionLost | Self::Stream { .. } => "nothing if it comes back; else check the network",
            Self::KeepAliveTimeout => {
                "nothing if it comes back; else check the network and the server's load"
            }
            Self::AckDeadline { .. } => {
                "nothing if it comes back; else check the server's load and its disk, or set a longer ack deadline"
            }
            Self::Violation(_) => "report it to the maker of the server; see its log",
            Self::ServerDoesNotRead => "check the server's load and the network",
            Self::DeliveriesNotTaken => "take deliveries faster, or subscribe to less",
            Self::Store => "check the disk on which sessions are stored",
            Self::VersionUpward | Self::ReturnToFirst | Self::WithoutBridgeBit => {
                "nothing: it goes on at once"
            }
            Self::Scram(fault) => after_fault(*fault),
            Self::Connect { .. } => "check client id, user name, password and will",
            Self::Dial(_)
            | Self::Tls(_)
            | Self::Refused { .. }
            | Self::Disconnected { .. }
            | Self::CanaryLost { .. } => "see the server's log",
        }
    }
}

/// Tells whether a server does not let us in for our certificate, which only a person can mend.
const fn is_about_us(cause: &TlsCause) -> bool {
    matches!(cause, TlsCause::ClientCertificateRequired | TlsCause::RefusedByPeer(_))
}

/// Tells whether only a person can mend it.
const fn is_lasting(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::BadUserNameOrPassword
            | R::NotAuthorized
            | R::Banned
            | R::BadAuthenticationMethod
            | R::ClientIdentifierNotValid
            | R::UnsupportedProtocolVersion
            | R::TopicNameInvalid
            | R::PayloadFormatInvalid
            | R::RetainNotSupported
            | R::QoSNotSupported
            | R::AdministrativeAction
    )
}

const fn after_fault(fault: ScramFault) -> &'static str {
    match fault {
        ScramFault::ServerUnproven | ScramFault::Nonce => {
            "check that this is the right server, and that nobody stands in between: with TLS nobody can"
        }
        ScramFault::TooFewIterations(_) => {
            "let the server hash this user's password with 4,096 iterations or more"
        }
        ScramFault::TooManyIterations(_) => "let the server hash this user's password with fewer iterations",
        ScramFault::Unpreparable => "use a user name and a password without control characters, in UTF-8",
        _ => "see the server's log; it may speak another SCRAM",
    }
}

const fn after_reason(reason: ReasonCode) -> &'static str {
    use ReasonCode as R;
    match reason {
        R::BadUserNameOrPassword => "check user name and password",
        R::NotAuthorized => "check user name and password, and what the server allows this client id",
        R::Banned | R::AdministrativeAction => "ask the administrator of the server",
        R::BadAuthenticationMethod => {
            "let the server offer the method for this user, or authenticate by password, over TLS only"
        }
        R::ClientIdentifierNotValid => "use another client id: shorter, letters and digits only",
        R::ServerUnavailable | R::ServerBusy | R::ServerShuttingDown => "nothing: it is tried again",
        R::KeepAliveTimeout => "check the network; a longer keep alive may help",
        R::TopicNameInvalid | R::PayloadFormatInvalid | R::RetainNotSupported | R::QoSNotSupported => {
            "check the will, and what is published"
        }
        R::PacketTooLarge => "publish smaller messages, or raise the limit on the other side",
        R::QuotaExceeded | R::ConnectionRateExceeded | R::MessageRateTooHigh => {
            "connect or publish less often, or ask for a higher quota"
        }
        _ => "see the server's log",
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(failure) => failure.fmt(f),
            Self::Tls(cause) => write!(f, "the server ended TLS: {cause}"),
            Self::Stream { what } => f.write_str(what),
            Self::ConnectTimeout { after_ms } => write!(f, "the server did not answer within {after_ms} ms"),
            Self::ClosedWithoutConnAck => f.write_str("the server closed the connection without an answer"),
            Self::OtherProtocol { spoken } => {
                write!(f, "what answers on this port speaks {spoken} instead of MQTT")
            }
            Self::NotMqtt(violation) => {
                write!(f, "what answers on this port does not speak MQTT ({violation})")
            }
            Self::UnsupportedVersion { version } => write!(f, "the server does not speak MQTT {version}"),
            Self::Refused { reason, text, .. } => said(f, "the server refused the connection", *reason, text),
            Self::Disconnected { reason, text, .. } => {
                said(f, "the server ended the connection", *reason, text)
            }
            Self::ClientIdFight { client_id } => {
                write!(
                    f,
                    "another client seems to use the client id {client_id:?}: each connection ends the other"
                )
            }
            Self::Scram(fault) => write!(f, "the authentication by SCRAM failed: {fault}"),
            Self::ConnectionLost => f.write_str("the connection was lost"),
            Self::KeepAliveTimeout => f.write_str("the server did not answer a ping"),
            Self::AckDeadline { after_ms } => {
                write!(f, "the server has acknowledged nothing for {after_ms} ms")
            }
            Self::CanaryLost { topic } => {
                write!(f, "no messages flow: two in a row to {topic} did not come back")
            }
            Self::Violation(violation) => write!(f, "the server broke the protocol: {violation}"),
            Self::ServerDoesNotRead => f.write_str("the server does not read what is sent to it"),
            Self::DeliveriesNotTaken => f.write_str("messages come faster than the program takes them"),
            Self::Store => f.write_str("a change of the session could not be stored"),
            Self::VersionUpward => f.write_str("a higher version of the protocol is tried again"),
            Self::ReturnToFirst => f.write_str("the first server of the list is there again"),
            Self::WithoutBridgeBit => f.write_str("the next connection is one without the bridge bit"),
            Self::Connect { what } => write!(f, "the connection request cannot be built: {what}"),
        }
    }
}

fn said(f: &mut fmt::Formatter<'_>, what: &str, reason: ReasonCode, text: &Option<String>) -> fmt::Result {
    write!(f, "{what}: {reason}")?;
    match text {
        // The server's words are its own: shown so that they cannot be taken for ours, and not at any length.
        Some(text) => write!(f, ", it says {:?}", text.chars().take(200).collect::<String>()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_waits_long_and_says_what_to_check() {
        let cause =
            Cause::Refused { reason: ReasonCode::BadUserNameOrPassword, text: None, other_server: None };
        assert_eq!(cause.pace(), Pace::Refused);
        assert_eq!(cause.next_step(), "check user name and password");
        assert_eq!(cause.to_string(), "the server refused the connection: bad user name or password (0x86)");
    }

    #[test]
    fn a_busy_server_is_tried_again_soon() {
        let cause = Cause::Refused { reason: ReasonCode::ServerBusy, text: None, other_server: None };
        assert_eq!(cause.pace(), Pace::Normal);
    }

    #[test]
    fn a_refused_certificate_waits_as_long_as_a_refused_password() {
        let wanted = || TlsCause::ClientCertificateRequired;
        let dialled = DialError::Tls { target: "h:1".to_owned(), cause: wanted() };
        for cause in [Cause::Tls(wanted()), Cause::Dial(dialled.into())] {
            assert_eq!((cause.pace(), cause.tls()), (Pace::Refused, Some(&wanted())), "{cause}");
        }
        let expired = DialError::Tls { target: "h:1".to_owned(), cause: TlsCause::Expired { days: Some(1) } };
        assert_eq!(Cause::Dial(expired.into()).pace(), Pace::Normal, "it may be renewed at any time");
    }

    #[test]
    fn a_mix_up_of_ports_names_the_setting_to_change() {
        let tls = Cause::OtherProtocol { spoken: Spoken::Tls };
        assert_eq!(tls.to_string(), "what answers on this port speaks TLS instead of MQTT");
        assert!(tls.next_step().contains("mqtts://"), "{}", tls.next_step());
        let http = Cause::OtherProtocol { spoken: Spoken::Http };
        assert_eq!(http.to_string(), "what answers on this port speaks HTTP instead of MQTT");
        assert!(http.next_step().contains("ws://"), "{}", http.next_step());
    }

    #[test]
    fn another_server_is_named() {
        let cause = Cause::Disconnected {
            reason: ReasonCode::ServerMoved,
            text: Some("gone\nfishing".to_owned()),
            other_server: Some("b.example".to_owned()),
        };
        assert_eq!(cause.next_step(), "use the server that it named: b.example");
        assert!(cause.to_string().ends_with(r#"it says "gone\nfishing""#));
    }
}
