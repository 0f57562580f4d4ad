//! SUBACK and UNSUBACK.

use super::{Direction, EncodeError, Terms, ack, reader::Reader, writer::Writer};
use crate::{
    ReasonCode, Version, Violation,
    packet::{PacketType, ReasonProperties, SubAck},
};

/// The return code of 3.1.1 for a Subscription that was refused, whatever the reason.
const FAILURE: u8 = 0x80;

pub(super) fn decode_suback(body: &mut Reader<'_>, terms: Terms) -> Result<SubAck, Violation> {
    debug_assert_eq!(terms.direction, Direction::FromServer, "the fixed header was checked");
    let packet_id = body.packet_id()?;
    let properties = properties(body, terms.version)?;
    let reasons = reasons(body, PacketType::SubAck)?;
    if !terms.version.is_v5() && !reasons.iter().all(|reason| reason.byte() <= 2 || reason.byte() == FAILURE)
    {
        return Err(body.protocol(
            "return code",
            "the return codes are 0x00, 0x01, 0x02 and 0x80",
            Some("MQTT-3.9.3-2"),
        ));
    }
    Ok(SubAck { packet_id, reasons, properties })
}

pub(super) fn decode_unsuback(body: &mut Reader<'_>, terms: Terms) -> Result<SubAck, Violation> {
    let packet_id = body.packet_id()?;
    let properties = properties(body, terms.version)?;
    let reasons = if terms.version.is_v5() { reasons(body, PacketType::UnsubAck)? } else { Vec::new() };
    Ok(SubAck { packet_id, reasons, properties })
}

fn properties(body: &mut Reader<'_>, version: Version) -> Result<ReasonProperties, Violation> {
    if version.is_v5() { ack::reason_properties(body) } else { Ok(ReasonProperties::default()) }
}

fn reasons(body: &mut Reader<'_>, packet: PacketType) -> Result<Vec<ReasonCode>, Violation> {
    if body.is_empty() {
        return Err(body.malformed("reason code", "there is not even one reason code", None));
    }
    let mut reasons = Vec::with_capacity(body.remaining());
    while !body.is_empty() {
        reasons.push(ack::reason(body, packet)?);
    }
    Ok(reasons)
}

pub(super) fn encode(
    suback: &SubAck,
    packet: PacketType,
    version: Version,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.u16(suback.packet_id.value());
    if !version.is_v5() && packet == PacketType::UnsubAck {
        return Ok(());
    }
    if suback.reasons.is_empty() {
        return Err(EncodeError::Invalid { field: "reason code", what: "there is not even one reason code" });
    }
    if version.is_v5() {
        ack::encode_reason_properties(&suback.properties, out)?;
    }
    for &reason in &suback.reasons {
        ack::check_reason(reason, packet)?;
        let code = if !version.is_v5() && reason.is_error() { FAILURE } else { reason.byte() };
        out.u8(code);
    }
    Ok(())
}
