//! PUBACK, PUBREC, PUBREL and PUBCOMP.

use super::{EncodeError, Terms, property::PropertyId, reader::Reader, writer::Writer};
use crate::{
    ReasonCode, Version, Violation,
    packet::{Ack, PacketType, ReasonProperties},
};

pub(super) fn decode(body: &mut Reader<'_>, packet: PacketType, terms: Terms) -> Result<Ack, Violation> {
    let packet_id = body.packet_id()?;
    // In MQTT 5 the reason code is left out where it is Success and no properties follow.
    if !terms.version.is_v5() || body.is_empty() {
        return Ok(Ack::new(packet_id, ReasonCode::Success));
    }
    let reason = reason(body, packet)?;
    let properties = if body.is_empty() { ReasonProperties::default() } else { reason_properties(body)? };
    let properties = (properties != ReasonProperties::default()).then(|| Box::new(properties));
    Ok(Ack { packet_id, reason, properties })
}

/// Reads a reason code that may stand in this packet.
pub(super) fn reason(body: &mut Reader<'_>, packet: PacketType) -> Result<ReasonCode, Violation> {
    let byte = body.u8("reason code")?;
    ReasonCode::from_byte(byte).filter(|reason| reason.is_allowed_in(packet)).ok_or_else(|| {
        body.protocol("reason code", "the reason code does not belong into this packet", reason_rule(packet))
    })
}

const fn reason_rule(packet: PacketType) -> Option<&'static str> {
    Some(match packet {
        PacketType::ConnAck => "MQTT-3.2.2-8",
        PacketType::PubAck => "MQTT-3.4.2-1",
        PacketType::PubRec => "MQTT-3.5.2-1",
        PacketType::PubRel => "MQTT-3.6.2-1",
        PacketType::PubComp => "MQTT-3.7.2-1",
        PacketType::SubAck => "MQTT-3.9.3-2",
        PacketType::UnsubAck => "MQTT-3.11.3-2",
        PacketType::Disconnect => "MQTT-3.14.2-1",
        PacketType::Auth => "MQTT-3.15.2-1",
        _ => return None,
    })
}

/// Reads the properties that explain a reason code.
pub(super) fn reason_properties(body: &mut Reader<'_>) -> Result<ReasonProperties, Violation> {
    let mut properties = ReasonProperties::default();
    let mut block = body.properties()?;
    while let Some(id) = block.property_id()? {
        match id {
            PropertyId::ReasonString => block.set(&mut properties.reason_string, id, Reader::string)?,
            PropertyId::UserProperty => block.user_property(&mut properties.user_properties)?,
            _ => return Err(block.not_in_this_packet(id)),
        }
    }
    Ok(properties)
}

pub(super) fn encode(
    ack: &Ack,
    packet: PacketType,
    version: Version,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.u16(ack.packet_id.value());
    if !version.is_v5() {
        return Ok(());
    }
    check_reason(ack.reason, packet)?;
    match &ack.properties {
        Some(properties) => {
            out.u8(ack.reason.byte());
            encode_reason_properties(properties, out)
        }
        None => {
            if ack.reason != ReasonCode::Success {
                out.u8(ack.reason.byte());
            }
            Ok(())
        }
    }
}

/// Refuses a reason code that may not stand in this packet.
pub(super) fn check_reason(reason: ReasonCode, packet: PacketType) -> Result<(), EncodeError> {
    if reason.is_allowed_in(packet) {
        return Ok(());
    }
    Err(EncodeError::Invalid {
        field: "reason code",
        what: "the reason code does not belong into this packet",
    })
}

pub(super) fn encode_reason_properties(
    properties: &ReasonProperties,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.counted(|out| {
        out.property_string(PropertyId::ReasonString, properties.reason_string.as_ref())?;
        out.user_properties(&properties.user_properties)
    })
}
