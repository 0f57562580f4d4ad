//! Bytes to packets: the fixed header, and which file reads the rest.

use bytes::Bytes;

use super::{
    Direction, Terms, ack, auth, connack, connect, disconnect, publish,
    reader::{Reader, invalid_varint},
    suback, subscribe, varint,
};
use crate::{
    Offence, QoS, Version, Violation,
    packet::{Packet, PacketType},
};

/// A fixed header whose first byte and size are acceptable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    packet: PacketType,
    flags: u8,
    header_bytes: usize,
    body_bytes: usize,
}

impl Header {
    /// Returns the size of the packet with this header.
    pub(super) const fn packet_bytes(self) -> usize {
        self.header_bytes + self.body_bytes
    }
}

/// Decodes one packet, which `frame` holds from its first to its last byte.
///
/// With no version only CONNECT is allowed, and its own version decides; with one CONNECT is refused.
///
/// # Errors
/// The rule that the bytes break.
pub fn decode_packet(
    frame: &Bytes,
    version: Option<Version>,
    direction: Direction,
) -> Result<Packet, Violation> {
    match read_header(frame, version, direction, u32::MAX)? {
        Some(header) if header.packet_bytes() == frame.len() => {
            decode_body(frame, header, version, direction)
        }
        _ => {
            let packet = frame.first().and_then(|&byte| PacketType::from_first_byte(byte));
            let offence = Offence::Malformed("the packet is not as long as it declares");
            let packet = packet.unwrap_or(PacketType::Reserved);
            Err(Violation { packet, field: "remaining length", offence, rule: None })
        }
    }
}

/// Reads a fixed header; `None` until it is whole. What it rules out is refused as soon as it is known.
pub(super) fn read_header(
    bytes: &[u8],
    version: Option<Version>,
    direction: Direction,
    packet_bytes_max: u32,
) -> Result<Option<Header>, Violation> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let packet = check_first_byte(first, version, direction)?;
    let read = varint::read(rest).map_err(|error| invalid_varint(packet, "remaining length", error))?;
    let Some((remaining, len)) = read else { return Ok(None) };
    let header =
        Header { packet, flags: first & 0x0F, header_bytes: 1 + len, body_bytes: remaining as usize };
    if header.packet_bytes() > packet_bytes_max as usize {
        let offence = Offence::TooLarge { bytes: header.packet_bytes(), max: packet_bytes_max as usize };
        let rule = match direction {
            Direction::FromClient => "MQTT-3.2.2-15",
            Direction::FromServer => "MQTT-3.1.2-24",
        };
        return Err(Violation { packet, field: "remaining length", offence, rule: Some(rule) });
    }
    Ok(Some(header))
}

/// Decodes the packet that begins `source` with this header; all of it must be there.
pub(super) fn decode_body(
    source: &Bytes,
    header: Header,
    version: Option<Version>,
    direction: Direction,
) -> Result<Packet, Violation> {
    let mut body = Reader::new(source, header.header_bytes, header.packet_bytes(), header.packet);
    // `read_header` lets only CONNECT pass without a version, and CONNECT brings its own.
    let terms = Terms { version: version.unwrap_or(Version::V5), direction };
    let packet = match header.packet {
        PacketType::Publish => Packet::Publish(publish::decode(&mut body, header.flags, terms)?),
        PacketType::PubAck => Packet::PubAck(ack::decode(&mut body, header.packet, terms)?),
        PacketType::PubRec => Packet::PubRec(ack::decode(&mut body, header.packet, terms)?),
        PacketType::PubRel => Packet::PubRel(ack::decode(&mut body, header.packet, terms)?),
        PacketType::PubComp => Packet::PubComp(ack::decode(&mut body, header.packet, terms)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Connect => Packet::Connect(Box::new(connect::decode(&mut body)?)),
        PacketType::ConnAck => Packet::ConnAck(Box::new(connack::decode(&mut body, terms)?)),
        PacketType::Subscribe => Packet::Subscribe(Box::new(subscribe::decode_subscribe(&mut body, terms)?)),
        PacketType::SubAck => Packet::SubAck(Box::new(suback::decode_suback(&mut body, terms)?)),
        PacketType::Unsubscribe => {
            Packet::Unsubscribe(Box::new(subscribe::decode_unsubscribe(&mut body, terms)?))
        }
        PacketType::UnsubAck => Packet::UnsubAck(Box::new(suback::decode_unsuback(&mut body, terms)?)),
        PacketType::Disconnect => Packet::Disconnect(Box::new(disconnect::decode(&mut body, terms)?)),
        PacketType::Auth => Packet::Auth(Box::new(auth::decode(&mut body, terms)?)),
        PacketType::Reserved => return Err(no_such_packet()),
    };
    body.finish()?;
    Ok(packet)
}

/// Refuses what the first byte rules out: packets that may not come here, and wrong flags.
fn check_first_byte(
    first: u8,
    version: Option<Version>,
    direction: Direction,
) -> Result<PacketType, Violation> {
    let Some(packet) = PacketType::from_first_byte(first) else { return Err(no_such_packet()) };
    let refused =
        |what, rule| Err(Violation { packet, field: "packet type", offence: Offence::Protocol(what), rule });
    match (version, packet) {
        (None, PacketType::Connect) if direction == Direction::FromClient => {}
        (None, _) => return refused("the first packet is not CONNECT", Some("MQTT-3.1.0-1")),
        (Some(_), PacketType::Connect) if direction == Direction::FromClient => {
            return refused("CONNECT comes a second time", Some("MQTT-3.1.0-2"));
        }
        (Some(version), _) if !may_come(packet, version, direction) => {
            return refused(direction.refusal(), None);
        }
        _ => {}
    }
    check_flags(packet, first & 0x0F, version)?;
    Ok(packet)
}

const fn no_such_packet() -> Violation {
    let offence = Offence::Malformed("there is no such packet type");
    Violation { packet: PacketType::Reserved, field: "packet type", offence, rule: None }
}

fn may_come(packet: PacketType, version: Version, direction: Direction) -> bool {
    match packet {
        PacketType::Publish
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp => true,
        PacketType::Auth => version.is_v5(),
        PacketType::Disconnect => version.is_v5() || direction == Direction::FromClient,
        PacketType::Connect | PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PingReq => {
            direction == Direction::FromClient
        }
        PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
            direction == Direction::FromServer
        }
        PacketType::Reserved => false,
    }
}

fn check_flags(packet: PacketType, flags: u8, version: Option<Version>) -> Result<(), Violation> {
    let rule = match packet {
        PacketType::Publish => return check_publish_flags(flags),
        PacketType::PubRel => "MQTT-3.6.1-1",
        PacketType::Subscribe => "MQTT-3.8.1-1",
        PacketType::Unsubscribe => "MQTT-3.10.1-1",
        PacketType::Disconnect => "MQTT-3.14.1-1",
        PacketType::Auth => "MQTT-3.15.1-1",
        _ => "MQTT-2.1.3-1",
    };
    let required = required_flags(packet);
    // These three are sent at QoS 1 in 3.1 and bear its DUP flag.
    let may_be_dup = version == Some(Version::V3_1) && required != 0;
    let flags = if may_be_dup { flags & !DUP } else { flags };
    if flags == required {
        return Ok(());
    }
    let offence = Offence::Malformed("the reserved flags are not as they must be");
    Err(Violation { packet, field: "fixed header flags", offence, rule: Some(rule) })
}

/// The flag of a second sending.
pub(super) const DUP: u8 = 0b1000;

/// Returns the flags of the fixed header that a packet other than PUBLISH must have.
pub(super) const fn required_flags(packet: PacketType) -> u8 {
    match packet {
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        _ => 0,
    }
}

fn check_publish_flags(flags: u8) -> Result<(), Violation> {
    let broken = |field, what, rule| {
        Err(Violation {
            packet: PacketType::Publish,
            field,
            offence: Offence::Malformed(what),
            rule: Some(rule),
        })
    };
    match QoS::from_bits(flags >> 1 & 0b11) {
        None => broken("QoS", "there is no QoS 3", "MQTT-3.3.1-4"),
        Some(QoS::AtMostOnce) if flags & DUP != 0 => {
            broken("DUP", "a message at QoS 0 is never sent twice", "MQTT-3.3.1-2")
        }
        Some(_) => Ok(()),
    }
}
