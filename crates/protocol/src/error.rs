//! What can be wrong with what a peer sends, who is at fault, and the reason code that answers it.

use std::fmt;

use crate::{ReasonCode, packet::PacketType};

/// A packet that breaks a rule: of the specification, or of our limits.
///
/// Names the packet, the field and the rule, so that whoever reads it knows what to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{packet}: {field}: {offence}{}", RuleSuffix(*rule))]
pub struct Violation {
    /// The packet in which it stands.
    pub packet: PacketType,
    /// The field of the packet, in the specification's words ("topic name", "remaining length").
    pub field: &'static str,
    /// What is wrong with it.
    pub offence: Offence,
    /// The statement of the specification that is broken, without brackets ("MQTT-2.2.1-3"); `None` where the
    /// specification numbers none.
    pub rule: Option<&'static str>,
}

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offence {
    /// The bytes cannot be read as the packet that they claim to be.
    Malformed(&'static str),
    /// The packet can be read, but the protocol forbids it here.
    Protocol(&'static str),
    /// The packet is larger than we accept.
    TooLarge {
        /// The size that it declares, in bytes.
        bytes: usize,
        /// The size that we accept, in bytes.
        max: usize,
    },
    /// The peer sent more unacknowledged PUBLISH packets than our Receive Maximum allows.
    ReceiveMaximumExceeded,
    /// The Topic Alias is 0, above our maximum, or unknown.
    TopicAliasInvalid,
    /// The Topic Name is not a valid one.
    TopicNameInvalid(&'static str),
    /// The Topic Filter is not a valid one.
    TopicFilterInvalid(&'static str),
    /// The protocol version is one that we do not speak.
    UnsupportedVersion {
        /// The level that was asked for.
        level: u8,
    },
    /// The client identifier is not acceptable.
    ClientIdInvalid(&'static str),
    /// The peer was silent for longer than the keep alive allows.
    KeepAliveTimeout,
    /// The peer did not finish what it had to within its deadline.
    DeadlineExceeded(&'static str),
    /// The server has not proven who it is, as the method of authentication asks of it.
    ServerUnproven,
    /// One of our own limits, which the specification does not know, is exceeded.
    OverLimit(&'static str),
}

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke the specification.
    Peer,
    /// The peer keeps to the specification but exceeds a limit of ours.
    OurLimit,
}

impl Violation {
    /// Returns the reason code to send in DISCONNECT (or CONNACK, before the connection is accepted).
    pub const fn reason_code(&self) -> ReasonCode {
        match self.offence {
            Offence::Malformed(_) => ReasonCode::MalformedPacket,
            Offence::Protocol(_) => ReasonCode::ProtocolError,
            Offence::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Offence::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            Offence::TopicAliasInvalid => ReasonCode::TopicAliasInvalid,
            Offence::TopicNameInvalid(_) => ReasonCode::TopicNameInvalid,
            Offence::TopicFilterInvalid(_) => ReasonCode::TopicFilterInvalid,
            Offence::UnsupportedVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            Offence::ClientIdInvalid(_) => ReasonCode::ClientIdentifierNotValid,
            Offence::KeepAliveTimeout => ReasonCode::KeepAliveTimeout,
            Offence::DeadlineExceeded(_) => ReasonCode::MaximumConnectTime,
            Offence::ServerUnproven => ReasonCode::NotAuthorized,
            Offence::OverLimit(_) => ReasonCode::ImplementationSpecificError,
        }
    }

    /// Tells who is at fault.
    pub const fn fault(&self) -> Fault {
        match self.offence {
            Offence::TooLarge { .. } | Offence::OverLimit(_) => Fault::OurLimit,
            _ => Fault::Peer,
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what)
            | Self::Protocol(what)
            | Self::TopicNameInvalid(what)
            | Self::TopicFilterInvalid(what)
            | Self::ClientIdInvalid(what)
            | Self::OverLimit(what) => f.write_str(what),
            Self::TooLarge { bytes, max } => write!(f, "{bytes} bytes, of which {max} are accepted"),
            Self::ReceiveMaximumExceeded => {
                f.write_str("more unacknowledged messages than the receive maximum allows")
            }
            Self::TopicAliasInvalid => f.write_str("the topic alias is 0, above the maximum or not known"),
            Self::UnsupportedVersion { .. } => f.write_str("the protocol version is not supported"),
            Self::KeepAliveTimeout => {
                f.write_str("nothing was received for longer than the keep alive allows")
            }
            Self::ServerUnproven => f.write_str("the server has not proven that it knows the password"),
            Self::DeadlineExceeded(what) => write!(f, "{what} did not come in time"),
        }
    }
}

struct RuleSuffix(Option<&'static str>);

impl fmt::Display for RuleSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rule) => write!(f, " [{rule}]"),
            None => Ok(()),
        }
    }
}
