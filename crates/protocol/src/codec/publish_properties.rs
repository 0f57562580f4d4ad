//! The properties of PUBLISH: checked when they are decoded, read in place when they are asked for.

use bytes::Bytes;

use super::{
    Direction, EncodeError,
    property::{PropertyId, PropertyKind},
    reader::Reader,
    varint,
    writer::Writer,
};
use crate::{
    Offence, Violation,
    limits::USER_PROPERTIES_MAX,
    packet::{PacketType, PublishProperties, PublishProperty, PublishPropertyValues},
};

/// Checks the properties of a PUBLISH and takes them as they stand.
pub(super) fn decode(body: &mut Reader<'_>, direction: Direction) -> Result<PublishProperties, Violation> {
    let mut block = body.properties()?;
    if block.is_empty() {
        return Ok(PublishProperties::default());
    }
    check(block, direction)?;
    Ok(PublishProperties(block.rest()))
}

fn check(mut block: Reader<'_>, direction: Direction) -> Result<(), Violation> {
    let mut seen: u64 = 0;
    let mut user_properties = 0;
    while let Some(id) = block.property_id()? {
        match id {
            PropertyId::UserProperty => user_properties += 1,
            // A message that matches several Subscriptions bears the identifier of each.
            PropertyId::SubscriptionIdentifier => {}
            _ if seen & 1 << id as u8 != 0 => return Err(block.given_twice(id)),
            _ => seen |= 1 << id as u8,
        }
        if user_properties > USER_PROPERTIES_MAX {
            return Err(block.too_many_user_properties());
        }
        check_value(&mut block, id, direction)?;
    }
    Ok(())
}

fn check_value(block: &mut Reader<'_>, id: PropertyId, direction: Direction) -> Result<(), Violation> {
    let field = id.field();
    match id {
        PropertyId::PayloadFormatIndicator => block.flag(field).map(|_| ()),
        PropertyId::MessageExpiryInterval => block.u32(field).map(|_| ()),
        PropertyId::TopicAlias => match block.u16(field)? {
            0 => Err(block.violation(field, Offence::TopicAliasInvalid, Some("MQTT-3.3.2-8"))),
            _ => Ok(()),
        },
        PropertyId::ResponseTopic => {
            let topic = block.str(field)?;
            block.refuse_wildcards(topic, field)
        }
        PropertyId::CorrelationData => block.skip_binary(field),
        PropertyId::ContentType => block.str(field).map(|_| ()),
        PropertyId::UserProperty => {
            block.str(field)?;
            block.str(field).map(|_| ())
        }
        PropertyId::SubscriptionIdentifier if direction == Direction::FromClient => {
            Err(block.protocol(field, "a client never sends it in PUBLISH", Some("MQTT-3.3.4-6")))
        }
        PropertyId::SubscriptionIdentifier => block.non_zero_varint(field).map(|_| ()),
        _ => Err(block.not_in_this_packet(id)),
    }
}

/// Returns the properties that `bytes` hold: those of a PUBLISH without their length, checked before.
///
/// It ends where the bytes are no such property.
pub fn properties_of(bytes: &[u8]) -> impl Iterator<Item = PublishProperty<'_>> {
    Entries { rest: bytes }.map_while(|entry| entry.property())
}

/// Appends the properties that travel on with a message: all but Topic Alias, Subscription Identifier and Message
/// Expiry Interval, which whoever forwards it writes anew.
pub fn forwardable(properties: &[u8], out: &mut Vec<u8>) {
    let mut kept_from = 0;
    let mut at = 0;
    for entry in (Entries { rest: properties }) {
        let end = at + entry.bytes;
        if matches!(
            entry.id,
            PropertyId::TopicAlias | PropertyId::SubscriptionIdentifier | PropertyId::MessageExpiryInterval
        ) {
            out.extend_from_slice(properties.get(kept_from..at).unwrap_or_default());
            kept_from = end;
        }
        at = end;
    }
    out.extend_from_slice(properties.get(kept_from..at).unwrap_or_default());
}

/// Walks over properties as they stand.
struct Entries<'a> {
    rest: &'a [u8],
}

/// A property as it stands.
struct Entry<'a> {
    id: PropertyId,
    /// Its value; without the length where it is one counted field.
    value: &'a [u8],
    /// The size of all of it.
    bytes: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (&id, after) = self.rest.split_first()?;
        let id = PropertyId::from_byte(id)?;
        let (value, rest) = match id.kind() {
            PropertyKind::Byte => after.split_at_checked(1)?,
            PropertyKind::TwoBytes => after.split_at_checked(2)?,
            PropertyKind::FourBytes => after.split_at_checked(4)?,
            PropertyKind::Varint => after.split_at_checked(varint::read(after).ok()??.1)?,
            PropertyKind::Counted => split_counted(after)?,
            PropertyKind::Pair => {
                let (_, second) = split_counted(after)?;
                let (_, rest) = split_counted(second)?;
                after.split_at_checked(after.len() - rest.len())?
            }
        };
        let bytes = self.rest.len() - rest.len();
        self.rest = rest;
        Some(Entry { id, value, bytes })
    }
}

impl<'a> Entry<'a> {
    fn property(&self) -> Option<PublishProperty<'a>> {
        Some(match self.id {
            PropertyId::PayloadFormatIndicator => {
                PublishProperty::PayloadFormatIndicator(*self.value.first()? != 0)
            }
            PropertyId::MessageExpiryInterval => {
                PublishProperty::MessageExpiryInterval(u32::from_be_bytes(*self.value.first_chunk()?))
            }
            PropertyId::TopicAlias => {
                PublishProperty::TopicAlias(u16::from_be_bytes(*self.value.first_chunk()?))
            }
            PropertyId::ResponseTopic => PublishProperty::ResponseTopic(text(self.value)?),
            PropertyId::CorrelationData => PublishProperty::CorrelationData(self.value),
            PropertyId::ContentType => PublishProperty::ContentType(text(self.value)?),
            PropertyId::SubscriptionIdentifier => {
                PublishProperty::SubscriptionIdentifier(varint::read(self.value).ok()??.0)
            }
            PropertyId::UserProperty => {
                let (name, rest) = split_counted(self.value)?;
                let (value, _) = split_counted(rest)?;
                PublishProperty::UserProperty(text(name)?, text(value)?)
            }
            _ => return None,
        })
    }
}

fn split_counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

impl PublishProperties {
    /// Takes properties as they stand on the wire, without their length, after checking them.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn from_wire(bytes: Bytes, direction: Direction) -> Result<Self, Violation> {
        check(Reader::new(&bytes, 0, bytes.len(), PacketType::Publish), direction)?;
        Ok(Self(bytes))
    }

    /// Makes properties of values.
    ///
    /// # Errors
    /// The value that cannot stand in a PUBLISH.
    pub fn from_values(values: &PublishPropertyValues) -> Result<Self, EncodeError> {
        let mut out = Vec::new();
        let mut writer = Writer(&mut out);
        writer.property_flag(PropertyId::PayloadFormatIndicator, values.payload_is_utf8);
        writer.property_u32(PropertyId::MessageExpiryInterval, values.message_expiry_s);
        writer.property_string(PropertyId::ContentType, values.content_type.as_ref())?;
        writer.response_topic(values.response_topic.as_ref())?;
        writer.property_binary(PropertyId::CorrelationData, values.correlation_data.as_ref())?;
        writer.user_properties(&values.user_properties)?;
        Ok(Self(Bytes::from(out)))
    }

    /// Returns the properties in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = PublishProperty<'_>> {
        properties_of(&self.0)
    }

    /// Tells whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the properties as they stand on the wire, without their length.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether the payload is UTF-8 text, if the publisher said so.
    pub fn payload_is_utf8(&self) -> Option<bool> {
        self.entry(PropertyId::PayloadFormatIndicator)
            .and_then(|entry| entry.value.first())
            .map(|byte| *byte != 0)
    }

    /// Returns the seconds for which the message is still worth delivering.
    pub fn message_expiry_s(&self) -> Option<u32> {
        self.entry(PropertyId::MessageExpiryInterval)
            .and_then(|entry| entry.value.first_chunk())
            .map(|value| u32::from_be_bytes(*value))
    }

    /// Returns the number that stands for the Topic Name on this connection.
    pub fn topic_alias(&self) -> Option<u16> {
        self.entry(PropertyId::TopicAlias)
            .and_then(|entry| entry.value.first_chunk())
            .map(|value| u16::from_be_bytes(*value))
    }

    /// Returns where an answer is expected.
    pub fn response_topic(&self) -> Option<&str> {
        self.entry(PropertyId::ResponseTopic).and_then(|entry| text(entry.value))
    }

    /// Returns what an answer must carry so that the asker knows it.
    pub fn correlation_data(&self) -> Option<&[u8]> {
        self.entry(PropertyId::CorrelationData).map(|entry| entry.value)
    }

    /// Returns the MIME type of the payload, or whatever the two ends agreed on.
    pub fn content_type(&self) -> Option<&str> {
        self.entry(PropertyId::ContentType).and_then(|entry| text(entry.value))
    }

    /// Returns the numbers of the Subscriptions that matched, in their order.
    pub fn subscription_ids(&self) -> impl Iterator<Item = u32> {
        self.iter().filter_map(|property| match property {
            PublishProperty::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// Returns names and values of the User Properties, in their order.
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(|property| match property {
            PublishProperty::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    fn entry(&self, id: PropertyId) -> Option<Entry<'_>> {
        Entries { rest: &self.0 }.find(|entry| entry.id == id)
    }
}
