//! MQTT control packets, as values that hold for all versions.
//!
//! Fields that a version does not know are empty in what it decodes and left out of what it encodes. Strings,
//! topics and payloads are slices of the buffer they were read from: whoever keeps one keeps that buffer.

mod auth;
mod connack;
mod connect;
mod properties;
mod publish;
mod subscribe;

pub use auth::{Auth, Disconnect};
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Login, Will, WillProperties};
pub use properties::{AuthProperties, ReasonProperties, UserProperties};
pub use publish::{Ack, Publish, PublishProperties, PublishProperty, PublishPropertyValues};
pub use subscribe::{
    RetainHandling, SubAck, Subscribe, SubscribeProperties, SubscribedFilter, SubscriptionOptions,
    Unsubscribe,
};

use std::fmt;

/// One MQTT control packet.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// A client asks for a connection.
    Connect(Box<Connect>),
    /// The server answers CONNECT.
    ConnAck(Box<ConnAck>),
    /// A message is published.
    Publish(Publish),
    /// Answers a PUBLISH at QoS 1.
    PubAck(Ack),
    /// Answers a PUBLISH at QoS 2 (part 1).
    PubRec(Ack),
    /// Releases a message at QoS 2 (part 2).
    PubRel(Ack),
    /// Ends a message at QoS 2 (part 3).
    PubComp(Ack),
    /// A client subscribes.
    Subscribe(Box<Subscribe>),
    /// Answers SUBSCRIBE.
    SubAck(Box<SubAck>),
    /// A client unsubscribes.
    Unsubscribe(Box<Unsubscribe>),
    /// Answers UNSUBSCRIBE.
    UnsubAck(Box<SubAck>),
    /// Asks for a sign of life.
    PingReq,
    /// Answers PINGREQ.
    PingResp,
    /// Ends the connection.
    Disconnect(Box<Disconnect>),
    /// A step of enhanced authentication (MQTT 5).
    Auth(Box<Auth>),
}

impl Packet {
    /// Returns the type of the packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// The type of a packet: the high four bits of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// 0, reserved: no packet has it. It names, in a [`Violation`](crate::Violation), what is of no type.
    Reserved = 0,
    /// 1
    Connect = 1,
    /// 2
    ConnAck = 2,
    /// 3
    Publish = 3,
    /// 4
    PubAck = 4,
    /// 5
    PubRec = 5,
    /// 6
    PubRel = 6,
    /// 7
    PubComp = 7,
    /// 8
    Subscribe = 8,
    /// 9
    SubAck = 9,
    /// 10
    Unsubscribe = 10,
    /// 11
    UnsubAck = 11,
    /// 12
    PingReq = 12,
    /// 13
    PingResp = 13,
    /// 14
    Disconnect = 14,
    /// 15, MQTT 5 only
    Auth = 15,
}

impl PacketType {
    /// Returns the type that the high four bits of a first byte stand for, or `None` for the reserved value 0.
    pub const fn from_first_byte(byte: u8) -> Option<Self> {
        Some(match byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reserved => "a packet of the reserved type 0",
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}
