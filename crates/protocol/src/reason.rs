use std::fmt;

use crate::{QoS, packet::PacketType};

/// Defines [`ReasonCode`] from the table of the specification (2.4): name, byte, meaning, packets that may bear it.
macro_rules! reason_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $byte:literal, $meaning:literal, [$($packet:ident)*];)+) => {
        /// How an operation went: below 0x80 well, from 0x80 on it failed.
        ///
        /// Every code of MQTT 5. The few codes of 3.1 and 3.1.1 are mapped to the code that means the same.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[doc = $doc])+ $name = $byte,)+
        }

        impl ReasonCode {
            /// All codes, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the code that this byte stands for, or `None` where the specification knows none.
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// Returns what the code means, in plain words.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)+
                }
            }

            /// Tells whether a packet of this type may bear the code.
            pub const fn is_allowed_in(self, packet: PacketType) -> bool {
                let packets: u16 = match self {
                    $(Self::$name => 0 $(| bit(PacketType::$packet))*,)+
                };
                packets & bit(packet) != 0
            }
        }
    };
}

const fn bit(packet: PacketType) -> u16 {
    1 << packet as u8
}

reason_codes! {
    /// Success; in DISCONNECT "normal disconnection", in SUBACK "granted QoS 0".
    Success = 0x00, "success", [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
    /// Subscribed, with QoS 1 at most.
    GrantedQoS1 = 0x01, "granted QoS 1", [SubAck];
    /// Subscribed, with QoS 2 at most.
    GrantedQoS2 = 0x02, "granted QoS 2", [SubAck];
    /// The client leaves, and its Will is to be published.
    DisconnectWithWill = 0x04, "disconnect with will message", [Disconnect];
    /// The message was accepted, but nobody is subscribed.
    NoMatchingSubscribers = 0x10, "no matching subscribers", [PubAck PubRec];
    /// There was no such Subscription to drop.
    NoSubscriptionExisted = 0x11, "no subscription existed", [UnsubAck];
    /// The authentication needs another step.
    ContinueAuthentication = 0x18, "continue authentication", [Auth];
    /// The client starts to authenticate again.
    ReAuthenticate = 0x19, "re-authenticate", [Auth];
    /// Refused, without a reason.
    UnspecifiedError = 0x80, "unspecified error", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// A packet could not be read.
    MalformedPacket = 0x81, "malformed packet", [ConnAck Disconnect];
    /// A packet could be read, but was not allowed there.
    ProtocolError = 0x82, "protocol error", [ConnAck Disconnect];
    /// The packet is valid, but the receiver does not accept it.
    ImplementationSpecificError = 0x83, "implementation specific error",
        [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The server does not speak that version of the protocol.
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version", [ConnAck];
    /// The client identifier is valid, but the server does not accept it.
    ClientIdentifierNotValid = 0x85, "client identifier not valid", [ConnAck];
    /// The server does not accept the user name or the password.
    BadUserNameOrPassword = 0x86, "bad user name or password", [ConnAck];
    /// The client may not do that.
    NotAuthorized = 0x87, "not authorized", [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    /// The server is not available.
    ServerUnavailable = 0x88, "server unavailable", [ConnAck];
    /// The server is busy; try again later.
    ServerBusy = 0x89, "server busy", [ConnAck Disconnect];
    /// The client was banned by an administrator.
    Banned = 0x8A, "banned", [ConnAck];
    /// The server is shutting down.
    ServerShuttingDown = 0x8B, "server shutting down", [Disconnect];
    /// The authentication method is not supported, or not the one in use.
    BadAuthenticationMethod = 0x8C, "bad authentication method", [ConnAck Disconnect];
    /// Nothing was received for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D, "keep alive timeout", [Disconnect];
    /// Another connection came with the same client identifier.
    SessionTakenOver = 0x8E, "session taken over", [Disconnect];
    /// The Topic Filter is well formed, but not accepted.
    TopicFilterInvalid = 0x8F, "topic filter invalid", [SubAck UnsubAck Disconnect];
    /// The Topic Name is well formed, but not accepted.
    TopicNameInvalid = 0x90, "topic name invalid", [ConnAck PubAck PubRec Disconnect];
    /// The packet identifier is already in use.
    PacketIdentifierInUse = 0x91, "packet identifier in use", [PubAck PubRec SubAck UnsubAck];
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92, "packet identifier not found", [PubRel PubComp];
    /// More messages were sent at once than the Receive Maximum allows.
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded", [Disconnect];
    /// The Topic Alias is 0, above the maximum or not known.
    TopicAliasInvalid = 0x94, "topic alias invalid", [Disconnect];
    /// The packet is larger than the receiver accepts.
    PacketTooLarge = 0x95, "packet too large", [ConnAck Disconnect];
    /// Data comes too fast.
    MessageRateTooHigh = 0x96, "message rate too high", [Disconnect];
    /// A limit that was set for this client is reached.
    QuotaExceeded = 0x97, "quota exceeded", [ConnAck PubAck PubRec SubAck Disconnect];
    /// An administrator ended the connection.
    AdministrativeAction = 0x98, "administrative action", [Disconnect];
    /// The payload is not of the format that its indicator names.
    PayloadFormatInvalid = 0x99, "payload format invalid", [ConnAck PubAck PubRec Disconnect];
    /// The server keeps no retained messages.
    RetainNotSupported = 0x9A, "retain not supported", [ConnAck Disconnect];
    /// The QoS is higher than the server accepts.
    QoSNotSupported = 0x9B, "QoS not supported", [ConnAck Disconnect];
    /// The client is to use another server for now.
    UseAnotherServer = 0x9C, "use another server", [ConnAck Disconnect];
    /// The client is to use another server from now on.
    ServerMoved = 0x9D, "server moved", [ConnAck Disconnect];
    /// The server knows no Shared Subscriptions.
    SharedSubscriptionsNotSupported = 0x9E, "shared subscriptions not supported", [SubAck Disconnect];
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F, "connection rate exceeded", [ConnAck Disconnect];
    /// The connection lasted as long as it was allowed to.
    MaximumConnectTime = 0xA0, "maximum connect time", [Disconnect];
    /// The server knows no Subscription Identifiers.
    SubscriptionIdentifiersNotSupported = 0xA1, "subscription identifiers not supported", [SubAck Disconnect];
    /// The server knows no wildcards in filters.
    WildcardSubscriptionsNotSupported = 0xA2, "wildcard subscriptions not supported", [SubAck Disconnect];
}

impl ReasonCode {
    /// Returns the code with which SUBACK grants this QoS.
    pub const fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQoS1,
            QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }

    /// Returns the code that a CONNACK return code of 3.1 and 3.1.1 stands for, or `None` for a reserved one.
    pub const fn from_connect_return_code_v3(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// Returns the byte that stands for the code.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Tells whether the operation failed.
    pub const fn is_error(self) -> bool {
        self.byte() >= 0x80
    }

    /// Returns the nearest CONNACK return code of 3.1 and 3.1.1: 0 to 5.
    ///
    /// What the client could mend by itself or its user keeps its meaning; all other refusals become 3, "server
    /// unavailable", after which clients try again.
    pub const fn connect_return_code_v3(self) -> u8 {
        match self {
            code if !code.is_error() => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            Self::NotAuthorized | Self::Banned => 5,
            _ => 3,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.meaning(), self.byte())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_either_a_code_that_gives_it_back_or_none() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|&byte| ReasonCode::from_byte(byte).is_some()).collect();
        let all: Vec<u8> = ReasonCode::ALL.iter().map(|code| code.byte()).collect();
        assert_eq!(known, all);
        assert_eq!(all.len(), 43);
    }

    #[test]
    fn display_names_the_meaning_and_the_byte() {
        assert_eq!(ReasonCode::NotAuthorized.to_string(), "not authorized (0x87)");
        assert_eq!(ReasonCode::Success.to_string(), "success (0x00)");
    }

    #[test]
    fn return_codes_of_3_1_1_come_back_as_they_were() {
        for code in 0..=5 {
            let reason = ReasonCode::from_connect_return_code_v3(code).unwrap();
            assert_eq!(reason.connect_return_code_v3(), code);
        }
        assert_eq!(ReasonCode::from_connect_return_code_v3(6), None);
        assert_eq!(ReasonCode::QuotaExceeded.connect_return_code_v3(), 3);
    }

    #[test]
    fn each_code_stands_in_the_packets_of_the_specification_only() {
        let count = |packet| ReasonCode::ALL.iter().filter(|code| code.is_allowed_in(packet)).count();
        assert_eq!(count(PacketType::ConnAck), 22);
        assert_eq!(count(PacketType::PubAck), 9);
        assert_eq!(count(PacketType::PubRec), 9);
        assert_eq!(count(PacketType::PubRel), 2);
        assert_eq!(count(PacketType::PubComp), 2);
        assert_eq!(count(PacketType::SubAck), 12);
        assert_eq!(count(PacketType::UnsubAck), 7);
        assert_eq!(count(PacketType::Auth), 3);
        assert_eq!(count(PacketType::Publish), 0);
    }
}
