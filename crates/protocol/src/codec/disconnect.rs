//! DISCONNECT.

use super::{Direction, EncodeError, Terms, ack, property::PropertyId, reader::Reader, writer::Writer};
use crate::{
    ReasonCode, Version, Violation,
    packet::{Disconnect, PacketType},
};

pub(super) fn decode(body: &mut Reader<'_>, terms: Terms) -> Result<Disconnect, Violation> {
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    // In MQTT 5 what is not there is "normal disconnection" and no properties.
    if !terms.version.is_v5() || body.is_empty() {
        return Ok(disconnect);
    }
    disconnect.reason = ack::reason(body, PacketType::Disconnect)?;
    if !body.is_empty() {
        properties(body, &mut disconnect, terms.direction)?;
    }
    Ok(disconnect)
}

fn properties(
    body: &mut Reader<'_>,
    disconnect: &mut Disconnect,
    direction: Direction,
) -> Result<(), Violation> {
    let mut block = body.properties()?;
    while let Some(id) = block.property_id()? {
        match id {
            PropertyId::SessionExpiryInterval if direction == Direction::FromServer => {
                return Err(block.protocol(id.field(), "a server never sends it", Some("MQTT-3.14.2-2")));
            }
            PropertyId::ServerReference if direction == Direction::FromClient => {
                return Err(block.protocol(id.field(), "a client never sends it", None));
            }
            PropertyId::SessionExpiryInterval => {
                block.set(&mut disconnect.session_expiry_s, id, Reader::u32)?;
            }
            PropertyId::ReasonString => block.set(&mut disconnect.reason_string, id, Reader::string)?,
            PropertyId::ServerReference => block.set(&mut disconnect.server_reference, id, Reader::string)?,
            PropertyId::UserProperty => block.user_property(&mut disconnect.user_properties)?,
            _ => return Err(block.not_in_this_packet(id)),
        }
    }
    Ok(())
}

pub(super) fn encode(
    disconnect: &Disconnect,
    version: Version,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    if !version.is_v5() || *disconnect == Disconnect::new(ReasonCode::Success) {
        return Ok(());
    }
    ack::check_reason(disconnect.reason, PacketType::Disconnect)?;
    out.u8(disconnect.reason.byte());
    if *disconnect == Disconnect::new(disconnect.reason) {
        return Ok(());
    }
    out.counted(|out| {
        out.property_u32(PropertyId::SessionExpiryInterval, disconnect.session_expiry_s);
        out.property_string(PropertyId::ReasonString, disconnect.reason_string.as_ref())?;
        out.property_string(PropertyId::ServerReference, disconnect.server_reference.as_ref())?;
        out.user_properties(&disconnect.user_properties)
    })
}
