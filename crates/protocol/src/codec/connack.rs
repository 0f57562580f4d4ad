//! CONNACK.

use super::{EncodeError, Terms, ack, property::PropertyId, reader::Reader, writer::Writer};
use crate::{
    QoS, ReasonCode, Version, Violation,
    packet::{ConnAck, ConnAckProperties, PacketType},
};

const SESSION_PRESENT: u8 = 0b0000_0001;

pub(super) fn decode(body: &mut Reader<'_>, terms: Terms) -> Result<ConnAck, Violation> {
    let session_present = session_present(body, terms.version)?;
    let reason =
        if terms.version.is_v5() { ack::reason(body, PacketType::ConnAck)? } else { return_code(body)? };
    if session_present && reason != ReasonCode::Success {
        let what = "a session is present although the connection is refused";
        return Err(body.protocol("session present", what, Some("MQTT-3.2.2-6")));
    }
    let properties = if terms.version.is_v5() { properties(body)? } else { ConnAckProperties::default() };
    Ok(ConnAck { session_present, reason, properties })
}

fn session_present(body: &mut Reader<'_>, version: Version) -> Result<bool, Violation> {
    let flags = body.u8("acknowledge flags")?;
    if version == Version::V3_1 {
        // There the byte is reserved and has no meaning.
        return Ok(false);
    }
    if flags & !SESSION_PRESENT != 0 {
        return Err(body.malformed("acknowledge flags", "the reserved bits are not 0", Some("MQTT-3.2.2-1")));
    }
    Ok(flags == SESSION_PRESENT)
}

fn return_code(body: &mut Reader<'_>) -> Result<ReasonCode, Violation> {
    let code = body.u8("return code")?;
    ReasonCode::from_connect_return_code_v3(code)
        .ok_or_else(|| body.protocol("return code", "there is no such return code", Some("MQTT-3.2.2-8")))
}

fn properties(body: &mut Reader<'_>) -> Result<ConnAckProperties, Violation> {
    let mut p = ConnAckProperties::default();
    let mut block = body.properties()?;
    while let Some(id) = block.property_id()? {
        property(&mut block, id, &mut p)?;
    }
    if p.authentication_data.is_some() && p.authentication_method.is_none() {
        let field = PropertyId::AuthenticationData.field();
        return Err(block.protocol(field, "there is no authentication method", None));
    }
    Ok(p)
}

fn property(block: &mut Reader<'_>, id: PropertyId, p: &mut ConnAckProperties) -> Result<(), Violation> {
    match id {
        PropertyId::SessionExpiryInterval => block.set(&mut p.session_expiry_s, id, Reader::u32),
        PropertyId::ReceiveMaximum => block.set(&mut p.receive_maximum, id, Reader::non_zero_u16),
        PropertyId::MaximumQoS => block.set(&mut p.maximum_qos, id, maximum_qos),
        PropertyId::RetainAvailable => block.set(&mut p.retain_available, id, Reader::flag),
        PropertyId::MaximumPacketSize => block.set(&mut p.maximum_packet_bytes, id, Reader::non_zero_u32),
        PropertyId::AssignedClientIdentifier => block.set(&mut p.assigned_client_id, id, Reader::string),
        PropertyId::TopicAliasMaximum => block.set(&mut p.topic_alias_maximum, id, Reader::u16),
        PropertyId::ReasonString => block.set(&mut p.reason_string, id, Reader::string),
        PropertyId::WildcardSubscriptionAvailable => {
            block.set(&mut p.wildcard_subscription_available, id, Reader::flag)
        }
        PropertyId::SubscriptionIdentifierAvailable => {
            block.set(&mut p.subscription_identifiers_available, id, Reader::flag)
        }
        PropertyId::SharedSubscriptionAvailable => {
            block.set(&mut p.shared_subscription_available, id, Reader::flag)
        }
        PropertyId::ServerKeepAlive => block.set(&mut p.server_keep_alive_s, id, Reader::u16),
        PropertyId::ResponseInformation => block.set(&mut p.response_information, id, Reader::string),
        PropertyId::ServerReference => block.set(&mut p.server_reference, id, Reader::string),
        PropertyId::AuthenticationMethod => block.set(&mut p.authentication_method, id, Reader::string),
        PropertyId::AuthenticationData => block.set(&mut p.authentication_data, id, Reader::binary),
        PropertyId::UserProperty => block.user_property(&mut p.user_properties),
        _ => Err(block.not_in_this_packet(id)),
    }
}

fn maximum_qos(block: &mut Reader<'_>, field: &'static str) -> Result<QoS, Violation> {
    Ok(if block.flag(field)? { QoS::AtLeastOnce } else { QoS::AtMostOnce })
}

pub(super) fn encode(connack: &ConnAck, version: Version, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    if connack.session_present && connack.reason != ReasonCode::Success {
        // [MQTT-3.2.2-6]
        let what = "a session is present although the connection is refused";
        return Err(EncodeError::Invalid { field: "session present", what });
    }
    let session_present = connack.session_present && version != Version::V3_1;
    out.u8(if session_present { SESSION_PRESENT } else { 0 });
    if !version.is_v5() {
        out.u8(connack.reason.connect_return_code_v3());
        return Ok(());
    }
    ack::check_reason(connack.reason, PacketType::ConnAck)?;
    out.u8(connack.reason.byte());
    out.counted(|out| encode_properties(&connack.properties, out))
}

fn encode_properties(p: &ConnAckProperties, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.property_u32(PropertyId::SessionExpiryInterval, p.session_expiry_s);
    out.property_non_zero_u16(PropertyId::ReceiveMaximum, p.receive_maximum)?;
    encode_maximum_qos(p.maximum_qos, out)?;
    out.property_flag(PropertyId::RetainAvailable, p.retain_available);
    out.property_non_zero_u32(PropertyId::MaximumPacketSize, p.maximum_packet_bytes)?;
    out.property_string(PropertyId::AssignedClientIdentifier, p.assigned_client_id.as_ref())?;
    out.property_u16(PropertyId::TopicAliasMaximum, p.topic_alias_maximum);
    out.property_string(PropertyId::ReasonString, p.reason_string.as_ref())?;
    out.property_flag(PropertyId::WildcardSubscriptionAvailable, p.wildcard_subscription_available);
    out.property_flag(PropertyId::SubscriptionIdentifierAvailable, p.subscription_identifiers_available);
    out.property_flag(PropertyId::SharedSubscriptionAvailable, p.shared_subscription_available);
    out.property_u16(PropertyId::ServerKeepAlive, p.server_keep_alive_s);
    out.property_string(PropertyId::ResponseInformation, p.response_information.as_ref())?;
    out.property_string(PropertyId::ServerReference, p.server_reference.as_ref())?;
    out.property_string(PropertyId::AuthenticationMethod, p.authentication_method.as_ref())?;
    if p.authentication_data.is_some() && p.authentication_method.is_none() {
        let field = PropertyId::AuthenticationData.field();
        return Err(EncodeError::Invalid { field, what: "there is no authentication method" });
    }
    out.property_binary(PropertyId::AuthenticationData, p.authentication_data.as_ref())?;
    out.user_properties(&p.user_properties)
}

/// QoS 2 is what a server accepts that says nothing, and has no value of its own.
fn encode_maximum_qos(qos: Option<QoS>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    match qos {
        Some(QoS::ExactlyOnce) => {
            let field = PropertyId::MaximumQoS.field();
            Err(EncodeError::Invalid { field, what: "QoS 2 is said by leaving it out" })
        }
        qos => {
            out.property_flag(PropertyId::MaximumQoS, qos.map(|qos| qos == QoS::AtLeastOnce));
            Ok(())
        }
    }
}
