//! Packets to bytes: which file writes what, and the packets that are made without a value.

use super::{
    ack, auth, connack, connect, decode::required_flags, disconnect, publish, suback, subscribe,
    writer::Writer,
};
use crate::{
    PacketId, ReasonCode, Version,
    limits::REMAINING_LENGTH_MAX,
    packet::{Packet, PacketType},
};

/// Why a packet cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than its two bytes of length can say.
    #[error("{field}: {bytes} bytes, of which {max} can be sent")]
    TooLong {
        /// The field, in the specification's words.
        field: &'static str,
        /// Its size, in bytes.
        bytes: usize,
        /// The size that can be sent, in bytes.
        max: usize,
    },
    /// The packet is larger than its remaining length can say.
    #[error(
        "the packet has {bytes} bytes behind its fixed header, of which {REMAINING_LENGTH_MAX} can be sent"
    )]
    PacketTooLarge {
        /// Its size behind the fixed header, in bytes.
        bytes: usize,
    },
    /// The protocol version cannot express it.
    #[error("{field}: MQTT {version} does not have it")]
    NotInVersion {
        /// The packet or field, in the specification's words.
        field: &'static str,
        /// The version.
        version: Version,
    },
    /// The value breaks a rule of the specification.
    #[error("{field}: {what}")]
    Invalid {
        /// The field, in the specification's words.
        field: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Appends a packet to `out`. A CONNECT is encoded for the version that it names itself.
///
/// What the version does not know (properties and reason codes in 3.1 and 3.1.1) is left out.
///
/// # Errors
/// The field that cannot be sent; `out` is then as it was.
pub fn encode(packet: &Packet, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let result = append(packet, version, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP without properties: four bytes where the reason is Success.
pub fn encode_ack(kind: PacketType, id: PacketId, reason: ReasonCode, version: Version, out: &mut Vec<u8>) {
    debug_assert!(
        matches!(kind, PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp),
        "{kind} is no acknowledgement"
    );
    let first = first_byte(kind);
    let [high, low] = id.value().to_be_bytes();
    if version.is_v5() && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 3, high, low, reason.byte()]);
    } else {
        out.extend_from_slice(&[first, 2, high, low]);
    }
}

/// Appends PINGREQ.
pub fn encode_ping_req(out: &mut Vec<u8>) {
    out.extend_from_slice(&[first_byte(PacketType::PingReq), 0]);
}

/// Appends PINGRESP.
pub fn encode_ping_resp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[first_byte(PacketType::PingResp), 0]);
}

fn append(packet: &Packet, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Packet::Publish(publish) = packet {
        return publish::encode(publish, version, out);
    }
    let kind = packet.packet_type();
    out.push(first_byte(kind));
    Writer(out).counted(|out| match packet {
        Packet::PingReq | Packet::PingResp | Packet::Publish(_) => Ok(()),
        Packet::Connect(connect) => connect::encode(connect, out),
        Packet::ConnAck(connack) => connack::encode(connack, version, out),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack::encode(ack, kind, version, out)
        }
        Packet::Subscribe(subscribe) => subscribe::encode_subscribe(subscribe, version, out),
        Packet::SubAck(suback) | Packet::UnsubAck(suback) => suback::encode(suback, kind, version, out),
        Packet::Unsubscribe(unsubscribe) => subscribe::encode_unsubscribe(unsubscribe, version, out),
        Packet::Disconnect(disconnect) => disconnect::encode(disconnect, version, out),
        Packet::Auth(auth) => auth::encode(auth, version, out),
    })
}

const fn first_byte(kind: PacketType) -> u8 {
    (kind as u8) << 4 | required_flags(kind)
}
