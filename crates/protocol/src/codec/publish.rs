//! PUBLISH.

use super::{EncodeError, Terms, decode::DUP, publish_properties, reader::Reader, varint, writer::Writer};
use crate::{
    Offence, QoS, TopicName, Version, Violation,
    limits::REMAINING_LENGTH_MAX,
    packet::{PacketType, Publish, PublishProperties},
    topic::InvalidTopic,
};

const RETAIN: u8 = 0b0001;

pub(super) fn decode(body: &mut Reader<'_>, flags: u8, terms: Terms) -> Result<Publish, Violation> {
    // QoS 3 has been refused with the fixed header.
    let qos = QoS::from_bits(flags >> 1 & 0b11).unwrap_or_default();
    let topic = topic(body, terms.version)?;
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(body.packet_id()?) };
    let properties = if terms.version.is_v5() {
        publish_properties::decode(body, terms.direction)?
    } else {
        PublishProperties::default()
    };
    if topic.is_none() && properties.topic_alias().is_none() {
        return Err(body.protocol("topic name", "there is neither a topic name nor a topic alias", None));
    }
    let payload = body.rest();
    Ok(Publish {
        topic,
        payload,
        properties,
        packet_id,
        qos,
        dup: flags & DUP != 0,
        retain: flags & RETAIN != 0,
    })
}

fn topic(body: &mut Reader<'_>, version: Version) -> Result<Option<TopicName>, Violation> {
    let topic = body.string("topic name")?;
    if topic.is_empty() && version.is_v5() {
        return Ok(None);
    }
    TopicName::parse(topic).map(Some).map_err(|error| invalid_topic_name(body, "topic name", error))
}

/// Makes an invalid Topic Name a violation: of the specification, or of our depth.
pub(super) fn invalid_topic_name(body: &Reader<'_>, field: &'static str, error: InvalidTopic) -> Violation {
    let offence = match error.rule {
        Some(_) => Offence::TopicNameInvalid(error.what),
        None => Offence::OverLimit(error.what),
    };
    body.violation(field, offence, error.rule)
}

pub(super) fn encode(publish: &Publish, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    check(publish, version)?;
    let topic = publish.topic.as_ref().map_or("", TopicName::as_str);
    let properties = publish.properties.as_bytes();
    // The length is known beforehand, so a large payload is not moved to make room for it.
    let len = remaining_len(publish, version);
    if len > REMAINING_LENGTH_MAX {
        return Err(EncodeError::PacketTooLarge { bytes: len });
    }
    out.reserve(5 + len);
    out.push(first_byte(publish));
    varint::put(len_u32(len), out);
    let mut writer = Writer(out);
    writer.string("topic name", topic)?;
    if let Some(id) = publish.packet_id {
        writer.u16(id.value());
    }
    if version.is_v5() {
        varint::put(len_u32(properties.len()), out);
        out.extend_from_slice(properties);
    }
    out.extend_from_slice(&publish.payload);
    Ok(())
}

fn check(publish: &Publish, version: Version) -> Result<(), EncodeError> {
    let invalid = |field, what| Err(EncodeError::Invalid { field, what });
    if publish.packet_id.is_some() != (publish.qos != QoS::AtMostOnce) {
        // [MQTT-2.2.1-2]
        return invalid("packet identifier", "it is there at QoS 1 and 2 and at no other");
    }
    if publish.dup && publish.qos == QoS::AtMostOnce {
        // [MQTT-3.3.1-2]
        return invalid("DUP", "a message at QoS 0 is never sent twice");
    }
    if publish.topic.is_some() {
        return Ok(());
    }
    if !version.is_v5() {
        return Err(EncodeError::NotInVersion { field: "a PUBLISH without a topic name", version });
    }
    if publish.properties.topic_alias().is_none() {
        return invalid("topic name", "there is neither a topic name nor a topic alias");
    }
    Ok(())
}

fn first_byte(publish: &Publish) -> u8 {
    let dup = if publish.dup { DUP } else { 0 };
    let retain = if publish.retain { RETAIN } else { 0 };
    (PacketType::Publish as u8) << 4 | dup | publish.qos.bits() << 1 | retain
}

fn remaining_len(publish: &Publish, version: Version) -> usize {
    let topic = 2 + publish.topic.as_ref().map_or(0, |topic| topic.as_bytes().len());
    let packet_id = if publish.packet_id.is_some() { 2 } else { 0 };
    let properties = publish.properties.as_bytes().len();
    let properties = if version.is_v5() { varint::len(len_u32(properties)) + properties } else { 0 };
    topic + packet_id + properties + publish.payload.len()
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
