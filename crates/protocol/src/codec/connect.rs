//! CONNECT.

use super::{EncodeError, property::PropertyId, publish::invalid_topic_name, reader::Reader, writer::Writer};
use crate::{
    Offence, QoS, TopicName, Version, Violation,
    packet::{Connect, ConnectProperties, Login, Will, WillProperties},
};

/// The bit of the protocol level by which brokers of 3.1 and 3.1.1 know a bridge.
const BRIDGE: u8 = 0b1000_0000;

const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;

pub(super) fn decode(body: &mut Reader<'_>) -> Result<Connect, Violation> {
    let (version, is_bridge) = version(body)?;
    let flags = flags(body, version)?;
    let keep_alive_s = body.u16("keep alive")?;
    let properties = if version.is_v5() { properties(body)? } else { ConnectProperties::default() };
    let client_id = body.string("client identifier")?;
    if client_id.is_empty() && version == Version::V3_1 {
        let offence = Offence::ClientIdInvalid("a client identifier of 3.1 has at least one character");
        return Err(body.violation("client identifier", offence, None));
    }
    let will = if flags & WILL == 0 { None } else { Some(will(body, flags, version)?) };
    let login = login(body, flags, version)?;
    let clean_start = flags & CLEAN_START != 0;
    Ok(Connect { version, clean_start, is_bridge, keep_alive_s, client_id, will, login, properties })
}

fn version(body: &mut Reader<'_>) -> Result<(Version, bool), Violation> {
    let mut name_body = *body;
    let name = name_body.str("protocol name")?;
    let level = name_body.u8("protocol version")?;
    let unsupported = |field, rule| body.violation(field, Offence::UnsupportedVersion { level }, Some(rule));
    let is_bridge = level & BRIDGE != 0;
    let version = match (name, level & !BRIDGE) {
        ("MQIsdp", 3) => Version::V3_1,
        ("MQTT", 4) => Version::V3_1_1,
        ("MQTT", 5) if !is_bridge => Version::V5,
        ("MQTT" | "MQIsdp", _) => return Err(unsupported("protocol version", "MQTT-3.1.2-2")),
        _ => return Err(unsupported("protocol name", "MQTT-3.1.2-1")),
    };
    *body = name_body;
    Ok((version, is_bridge))
}

fn flags(body: &mut Reader<'_>, version: Version) -> Result<u8, Violation> {
    let field = "connect flags";
    let flags = body.u8(field)?;
    // In 3.1 the bit is merely unused.
    if flags & RESERVED != 0 && version != Version::V3_1 {
        return Err(body.malformed(field, "the reserved flag is set", Some("MQTT-3.1.2-3")));
    }
    if flags & WILL == 0 && flags & WILL_QOS != 0 {
        return Err(body.malformed(field, "a will QoS without a will", Some("MQTT-3.1.2-11")));
    }
    if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
        return Err(body.malformed(field, "will retain without a will", Some("MQTT-3.1.2-13")));
    }
    if flags & WILL_QOS == WILL_QOS {
        return Err(body.malformed("will QoS", "there is no QoS 3", Some("MQTT-3.1.2-12")));
    }
    if flags & PASSWORD != 0 && flags & USERNAME == 0 && !version.is_v5() {
        return Err(body.malformed(field, "a password without a user name", None));
    }
    Ok(flags)
}

fn properties(body: &mut Reader<'_>) -> Result<ConnectProperties, Violation> {
    let mut p = ConnectProperties::default();
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

fn property(block: &mut Reader<'_>, id: PropertyId, p: &mut ConnectProperties) -> Result<(), Violation> {
    match id {
        PropertyId::SessionExpiryInterval => block.set(&mut p.session_expiry_s, id, Reader::u32),
        PropertyId::ReceiveMaximum => block.set(&mut p.receive_maximum, id, Reader::non_zero_u16),
        PropertyId::MaximumPacketSize => block.set(&mut p.maximum_packet_bytes, id, Reader::non_zero_u32),
        PropertyId::TopicAliasMaximum => block.set(&mut p.topic_alias_maximum, id, Reader::u16),
        PropertyId::RequestResponseInformation => {
            block.set(&mut p.request_response_information, id, Reader::flag)
        }
        PropertyId::RequestProblemInformation => {
            block.set(&mut p.request_problem_information, id, Reader::flag)
        }
        PropertyId::AuthenticationMethod => block.set(&mut p.authentication_method, id, Reader::string),
        PropertyId::AuthenticationData => block.set(&mut p.authentication_data, id, Reader::binary),
        PropertyId::UserProperty => block.user_property(&mut p.user_properties),
        _ => Err(block.not_in_this_packet(id)),
    }
}

fn will(body: &mut Reader<'_>, flags: u8, version: Version) -> Result<Will, Violation> {
    let properties = if version.is_v5() { will_properties(body)? } else { WillProperties::default() };
    let topic = body.string("will topic")?;
    let topic = TopicName::parse(topic).map_err(|error| invalid_topic_name(body, "will topic", error))?;
    let payload = body.binary("will payload")?;
    // QoS 3 has been refused with the flags.
    let qos = QoS::from_bits((flags & WILL_QOS) >> 3).unwrap_or_default();
    Ok(Will { topic, payload, qos, retain: flags & WILL_RETAIN != 0, properties })
}

fn will_properties(body: &mut Reader<'_>) -> Result<WillProperties, Violation> {
    let mut p = WillProperties::default();
    let mut block = body.properties()?;
    while let Some(id) = block.property_id()? {
        match id {
            PropertyId::WillDelayInterval => block.set(&mut p.delay_s, id, Reader::u32)?,
            PropertyId::PayloadFormatIndicator => block.set(&mut p.payload_is_utf8, id, Reader::flag)?,
            PropertyId::MessageExpiryInterval => block.set(&mut p.message_expiry_s, id, Reader::u32)?,
            PropertyId::ContentType => block.set(&mut p.content_type, id, Reader::string)?,
            PropertyId::ResponseTopic => block.set(&mut p.response_topic, id, Reader::response_topic)?,
            PropertyId::CorrelationData => block.set(&mut p.correlation_data, id, Reader::binary)?,
            PropertyId::UserProperty => block.user_property(&mut p.user_properties)?,
            _ => return Err(block.not_in_this_packet(id)),
        }
    }
    Ok(p)
}

fn login(body: &mut Reader<'_>, flags: u8, version: Version) -> Result<Login, Violation> {
    // 3.1 has servers accept flags whose fields are missing at the end of the packet.
    let is_there =
        |body: &Reader<'_>, flag| flags & flag != 0 && !(version == Version::V3_1 && body.is_empty());
    let username = if is_there(body, USERNAME) { Some(body.string("user name")?) } else { None };
    let password = if is_there(body, PASSWORD) { Some(body.binary("password")?) } else { None };
    Ok(Login { username, password })
}

pub(super) fn encode(connect: &Connect, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    check(connect)?;
    let version = connect.version;
    let bridge = if connect.is_bridge && !version.is_v5() { BRIDGE } else { 0 };
    out.string("protocol name", version.protocol_name())?;
    out.u8(version.level() | bridge);
    out.u8(flag_bits(connect));
    out.u16(connect.keep_alive_s);
    if version.is_v5() {
        out.counted(|out| encode_properties(&connect.properties, out))?;
    }
    out.string("client identifier", &connect.client_id)?;
    if let Some(will) = &connect.will {
        encode_will(will, version, out)?;
    }
    if let Some(username) = &connect.login.username {
        out.string("user name", username)?;
    }
    if let Some(password) = &connect.login.password {
        out.binary("password", password)?;
    }
    Ok(())
}

fn check(connect: &Connect) -> Result<(), EncodeError> {
    let version = connect.version;
    if connect.client_id.is_empty() && version == Version::V3_1 {
        return Err(EncodeError::NotInVersion { field: "an empty client identifier", version });
    }
    if connect.login.password.is_some() && connect.login.username.is_none() && !version.is_v5() {
        return Err(EncodeError::NotInVersion { field: "a password without a user name", version });
    }
    if connect.properties.authentication_data.is_some() && connect.properties.authentication_method.is_none()
    {
        let field = PropertyId::AuthenticationData.field();
        return Err(EncodeError::Invalid { field, what: "there is no authentication method" });
    }
    Ok(())
}

fn flag_bits(connect: &Connect) -> u8 {
    let bit = |is_set, bit| if is_set { bit } else { 0 };
    let will =
        connect.will.as_ref().map_or(0, |will| WILL | will.qos.bits() << 3 | bit(will.retain, WILL_RETAIN));
    bit(connect.clean_start, CLEAN_START)
        | will
        | bit(connect.login.password.is_some(), PASSWORD)
        | bit(connect.login.username.is_some(), USERNAME)
}

fn encode_properties(p: &ConnectProperties, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.property_u32(PropertyId::SessionExpiryInterval, p.session_expiry_s);
    out.property_non_zero_u16(PropertyId::ReceiveMaximum, p.receive_maximum)?;
    out.property_non_zero_u32(PropertyId::MaximumPacketSize, p.maximum_packet_bytes)?;
    out.property_u16(PropertyId::TopicAliasMaximum, p.topic_alias_maximum);
    out.property_flag(PropertyId::RequestResponseInformation, p.request_response_information);
    out.property_flag(PropertyId::RequestProblemInformation, p.request_problem_information);
    out.property_string(PropertyId::AuthenticationMethod, p.authentication_method.as_ref())?;
    out.property_binary(PropertyId::AuthenticationData, p.authentication_data.as_ref())?;
    out.user_properties(&p.user_properties)
}

fn encode_will(will: &Will, version: Version, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    if version.is_v5() {
        out.counted(|out| encode_will_properties(&will.properties, out))?;
    }
    out.string("will topic", will.topic.as_str())?;
    out.binary("will payload", &will.payload)
}

fn encode_will_properties(p: &WillProperties, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.property_u32(PropertyId::WillDelayInterval, p.delay_s);
    out.property_flag(PropertyId::PayloadFormatIndicator, p.payload_is_utf8);
    out.property_u32(PropertyId::MessageExpiryInterval, p.message_expiry_s);
    out.property_string(PropertyId::ContentType, p.content_type.as_ref())?;
    out.response_topic(p.response_topic.as_ref())?;
    out.property_binary(PropertyId::CorrelationData, p.correlation_data.as_ref())?;
    out.user_properties(&p.user_properties)
}
