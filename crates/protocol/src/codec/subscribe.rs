//! SUBSCRIBE and UNSUBSCRIBE.

use super::{EncodeError, Terms, property::PropertyId, reader::Reader, varint, writer::Writer};
use crate::{
    Offence, QoS, TopicFilter, Version, Violation,
    limits::FILTERS_PER_PACKET_MAX,
    packet::{
        RetainHandling, Subscribe, SubscribeProperties, SubscribedFilter, SubscriptionOptions, Unsubscribe,
        UserProperties,
    },
};

const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;

pub(super) fn decode_subscribe(body: &mut Reader<'_>, terms: Terms) -> Result<Subscribe, Violation> {
    let packet_id = body.packet_id()?;
    let properties =
        if terms.version.is_v5() { subscribe_properties(body)? } else { SubscribeProperties::default() };
    let filters = filters(body, "MQTT-3.8.3-2", |body| {
        let filter = filter(body)?;
        let options = options(body, terms.version)?;
        if options.no_local && filter.is_shared() {
            let what = "no local does not go with a shared subscription";
            return Err(body.protocol("no local", what, Some("MQTT-3.8.3-4")));
        }
        Ok(SubscribedFilter { filter, options })
    })?;
    Ok(Subscribe { packet_id, filters, properties })
}

pub(super) fn decode_unsubscribe(body: &mut Reader<'_>, terms: Terms) -> Result<Unsubscribe, Violation> {
    let packet_id = body.packet_id()?;
    let user_properties = if terms.version.is_v5() { unsubscribe_properties(body)? } else { Vec::new() };
    let filters = filters(body, "MQTT-3.10.3-2", filter)?;
    Ok(Unsubscribe { packet_id, filters, user_properties })
}

fn subscribe_properties(body: &mut Reader<'_>) -> Result<SubscribeProperties, Violation> {
    let mut properties = SubscribeProperties::default();
    let mut block = body.properties()?;
    while let Some(id) = block.property_id()? {
        match id {
            PropertyId::SubscriptionIdentifier => {
                block.set(&mut properties.subscription_id, id, Reader::non_zero_varint)?;
            }
            PropertyId::UserProperty => block.user_property(&mut properties.user_properties)?,
            _ => return Err(block.not_in_this_packet(id)),
        }
    }
    Ok(properties)
}

fn unsubscribe_properties(body: &mut Reader<'_>) -> Result<UserProperties, Violation> {
    let mut properties = Vec::new();
    let mut block = body.properties()?;
    while let Some(id) = block.property_id()? {
        match id {
            PropertyId::UserProperty => block.user_property(&mut properties)?,
            _ => return Err(block.not_in_this_packet(id)),
        }
    }
    Ok(properties)
}

/// Reads the filters up to the end of the packet.
fn filters<'a, T>(
    body: &mut Reader<'a>,
    rule: &'static str,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Violation>,
) -> Result<Vec<T>, Violation> {
    if body.is_empty() {
        return Err(body.protocol("topic filter", "there is not even one topic filter", Some(rule)));
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        if filters.len() == FILTERS_PER_PACKET_MAX {
            let offence = Offence::OverLimit("more topic filters than 10,000 in one packet");
            return Err(body.violation("topic filter", offence, None));
        }
        filters.push(read(body)?);
    }
    Ok(filters)
}

// Keeps the number in the sentence above true.
const _: () = assert!(FILTERS_PER_PACKET_MAX == 10_000);

fn filter(body: &mut Reader<'_>) -> Result<TopicFilter, Violation> {
    let text = body.string("topic filter")?;
    TopicFilter::parse(text).map_err(|error| {
        let offence = match error.rule {
            Some(_) => Offence::TopicFilterInvalid(error.what),
            None => Offence::OverLimit(error.what),
        };
        body.violation("topic filter", offence, error.rule)
    })
}

fn options(body: &mut Reader<'_>, version: Version) -> Result<SubscriptionOptions, Violation> {
    let field = "subscription options";
    let bits = body.u8(field)?;
    let reserved = if version.is_v5() { 0b1100_0000 } else { 0b1111_1100 };
    if bits & reserved != 0 {
        return Err(body.malformed(field, "the reserved bits are not 0", Some("MQTT-3.8.3-5")));
    }
    let qos = QoS::from_bits(bits & 0b11).ok_or_else(|| body.protocol(field, "there is no QoS 3", None))?;
    let retain_handling = retain_handling(bits >> 4)
        .ok_or_else(|| body.protocol(field, "there is no retain handling 3", None))?;
    Ok(SubscriptionOptions {
        qos,
        no_local: bits & NO_LOCAL != 0,
        retain_as_published: bits & RETAIN_AS_PUBLISHED != 0,
        retain_handling,
    })
}

const fn retain_handling(bits: u8) -> Option<RetainHandling> {
    Some(match bits {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return None,
    })
}

pub(super) fn encode_subscribe(
    subscribe: &Subscribe,
    version: Version,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    check_count(subscribe.filters.len())?;
    out.u16(subscribe.packet_id.value());
    if version.is_v5() {
        encode_subscribe_properties(&subscribe.properties, out)?;
    }
    for SubscribedFilter { filter, options } in &subscribe.filters {
        if version.is_v5() && options.no_local && filter.is_shared() {
            // [MQTT-3.8.3-4]
            let what = "no local does not go with a shared subscription";
            return Err(EncodeError::Invalid { field: "no local", what });
        }
        out.string("topic filter", filter.as_str())?;
        out.u8(option_bits(options, version));
    }
    Ok(())
}

pub(super) fn encode_unsubscribe(
    unsubscribe: &Unsubscribe,
    version: Version,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    check_count(unsubscribe.filters.len())?;
    out.u16(unsubscribe.packet_id.value());
    if version.is_v5() {
        out.counted(|out| out.user_properties(&unsubscribe.user_properties))?;
    }
    unsubscribe.filters.iter().try_for_each(|filter| out.string("topic filter", filter.as_str()))
}

fn check_count(filters: usize) -> Result<(), EncodeError> {
    let invalid = |what| Err(EncodeError::Invalid { field: "topic filter", what });
    match filters {
        0 => invalid("there is not even one topic filter"),
        1..=FILTERS_PER_PACKET_MAX => Ok(()),
        _ => invalid("more topic filters than 10,000 in one packet"),
    }
}

fn encode_subscribe_properties(
    properties: &SubscribeProperties,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.counted(|out| {
        if let Some(id) = properties.subscription_id {
            if !(1..=varint::MAX).contains(&id) {
                let field = PropertyId::SubscriptionIdentifier.field();
                return Err(EncodeError::Invalid { field, what: "it is not between 1 and 268,435,455" });
            }
            out.u8(PropertyId::SubscriptionIdentifier as u8);
            varint::put(id, out.0);
        }
        out.user_properties(&properties.user_properties)
    })
}

fn option_bits(options: &SubscriptionOptions, version: Version) -> u8 {
    let qos = options.qos.bits();
    if !version.is_v5() {
        return qos;
    }
    let no_local = if options.no_local { NO_LOCAL } else { 0 };
    let retain_as_published = if options.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
    qos | no_local | retain_as_published | (options.retain_handling as u8) << 4
}
