//! An application message that outlives the buffer it was read from.

mod stored;

use bytes::Bytes;
use triomphe::ThinArc;

use crate::{
    Now, QoS, TopicName, Version,
    codec::{forwardable, varint},
    limits::PAYLOAD_COPY_BYTES_MAX,
    packet::{Publish, PublishProperties},
    transmit::{Shared, Transmit},
};

/// An application message: topic, properties and payload in one allocation, cheap to clone.
///
/// It is made once when a message is accepted and then shared by every queue, retained table and connection that
/// needs it. It holds the properties without those that belong to one connection (Topic Alias, Subscription
/// Identifier) and without the Message Expiry Interval, which becomes a deadline.
#[derive(Clone)]
pub struct Message(ThinArc<Header, u8>);

#[derive(Debug, Clone, Copy)]
struct Header {
    /// When the message is no longer worth delivering, on the wall clock; `u64::MAX` is never.
    expires_wall_ms: u64,
    topic_bytes: u32,
    properties_bytes: u32,
    qos: QoS,
    retain: bool,
}

impl Message {
    /// Makes a message of its parts.
    pub fn new(
        topic: &TopicName,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        properties: &PublishProperties,
        now: Now,
    ) -> Self {
        let mut own_properties = Vec::new();
        forwardable(properties.as_bytes(), &mut own_properties);
        let expires_wall_ms = match properties.message_expiry_s() {
            Some(seconds) => now.wall_ms.saturating_add(u64::from(seconds) * 1_000),
            None => u64::MAX,
        };
        let parts =
            MessageParts { topic: topic.as_bytes(), properties: &own_properties, payload, expires_wall_ms };
        Self::from_parts(&parts, qos, retain)
    }

    /// Makes a message by copying its parts.
    pub fn from_parts(parts: &MessageParts<'_>, qos: QoS, retain: bool) -> Self {
        let mut bytes = Vec::with_capacity(parts.topic.len() + parts.properties.len() + parts.payload.len());
        bytes.extend_from_slice(parts.topic);
        bytes.extend_from_slice(parts.properties);
        bytes.extend_from_slice(parts.payload);
        let header = Header {
            expires_wall_ms: parts.expires_wall_ms,
            topic_bytes: clamp_u32(parts.topic.len()),
            properties_bytes: clamp_u32(parts.properties.len()),
            qos,
            retain,
        };
        Self(ThinArc::from_header_and_slice(header, &bytes))
    }

    /// Makes a message of a PUBLISH whose topic is known.
    pub fn from_publish(topic: &TopicName, publish: &Publish, now: Now) -> Self {
        Self::new(topic, &publish.payload, publish.qos, publish.retain, &publish.properties, now)
    }

    /// Returns where it was published.
    pub fn topic(&self) -> &str {
        // The bytes were copied from a `TopicName`, which is UTF-8.
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// Returns the bytes of the topic.
    pub fn topic_bytes(&self) -> &[u8] {
        self.0.slice.get(..self.topic_end()).unwrap_or_default()
    }

    /// Returns the topic as a value of its own.
    pub fn topic_name(&self) -> Option<TopicName> {
        TopicName::parse(self.topic()).ok()
    }

    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        self.0.slice.get(self.payload_start()..).unwrap_or_default()
    }

    /// Returns the properties that travel with the message, as they stand on the wire.
    pub fn properties_bytes(&self) -> &[u8] {
        self.0.slice.get(self.topic_end()..self.payload_start()).unwrap_or_default()
    }

    /// Returns the properties that travel with the message; the Message Expiry Interval is not among them.
    pub fn properties(&self) -> PublishProperties {
        PublishProperties(Bytes::copy_from_slice(self.properties_bytes()))
    }

    /// Returns the QoS at which it was published.
    pub fn qos(&self) -> QoS {
        self.0.header.header.qos
    }

    /// Returns the retain flag with which it was published.
    pub fn retain(&self) -> bool {
        self.0.header.header.retain
    }

    /// Returns the size that queue limits count: topic, properties and payload.
    pub fn len(&self) -> usize {
        self.0.slice.len()
    }

    /// Tells whether topic, properties and payload are all empty, which no valid message is.
    pub fn is_empty(&self) -> bool {
        self.0.slice.is_empty()
    }

    /// Returns when the message expires on the wall clock, in milliseconds, or `None` if it never does.
    pub fn expires_wall_ms(&self) -> Option<u64> {
        match self.0.header.header.expires_wall_ms {
            u64::MAX => None,
            at => Some(at),
        }
    }

    /// Tells whether the message is no longer worth delivering [MQTT-3.3.2-5].
    pub fn is_expired(&self, now: Now) -> bool {
        self.0.header.header.expires_wall_ms <= now.wall_ms
    }

    fn topic_end(&self) -> usize {
        self.0.header.header.topic_bytes as usize
    }

    fn payload_start(&self) -> usize {
        self.topic_end() + self.0.header.header.properties_bytes as usize
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_bytes", &self.payload().len())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .finish()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.0.slice == other.0.slice && self.qos() == other.qos() && self.retain() == other.retain()
    }
}

fn clamp_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// What one PUBLISH of a message bears that differs between receivers.
#[derive(Debug, Clone, Copy)]
pub struct PublishHead<'a> {
    /// The version that the receiver speaks.
    pub version: Version,
    /// At which QoS it is sent.
    pub qos: QoS,
    /// The retain flag.
    pub retain: bool,
    /// Whether this may be a second sending.
    pub dup: bool,
    /// The identifier; 0 exactly at QoS 0.
    pub packet_id: u16,
    /// The Topic Alias that it bears; 0 is none.
    pub topic_alias: u16,
    /// Whether the topic is left out, the alias standing for it.
    pub omit_topic: bool,
    /// The identifiers of the Subscriptions that matched.
    pub subscription_ids: &'a [u32],
}

/// The parts of a message, borrowed: from a [`Message`], or straight from the buffer it was read into.
#[derive(Debug, Clone, Copy)]
pub struct MessageParts<'a> {
    /// Where it was published.
    pub topic: &'a [u8],
    /// The properties that travel with it, without alias, subscription identifiers and expiry.
    pub properties: &'a [u8],
    /// What was published.
    pub payload: &'a [u8],
    /// When it expires on the wall clock, `u64::MAX` for never.
    pub expires_wall_ms: u64,
}

impl Message {
    /// Returns the parts of the message.
    pub fn parts(&self) -> MessageParts<'_> {
        MessageParts {
            topic: self.topic_bytes(),
            properties: self.properties_bytes(),
            payload: self.payload(),
            expires_wall_ms: self.0.header.header.expires_wall_ms,
        }
    }

    /// Appends a PUBLISH of this message; a payload above [`PAYLOAD_COPY_BYTES_MAX`] is referenced, not copied.
    pub fn encode(&self, head: &PublishHead<'_>, now: Now, out: &mut Transmit) {
        let parts = self.parts();
        if parts.payload.len() > PAYLOAD_COPY_BYTES_MAX {
            parts.encode_head(head, now, out.bytes());
            out.push_shared(Shared::payload_of(self.clone()));
        } else {
            parts.encode(head, now, out.bytes());
        }
    }

    /// Returns the size of the PUBLISH that [`Message::encode`] would append, in bytes.
    pub fn encoded_len(&self, head: &PublishHead<'_>) -> usize {
        self.parts().encoded_len(head)
    }
}

impl MessageParts<'_> {
    /// Appends a PUBLISH of this message.
    pub fn encode(&self, head: &PublishHead<'_>, now: Now, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len(head));
        self.encode_head(head, now, out);
        out.extend_from_slice(self.payload);
    }

    /// Returns the size of the PUBLISH that [`MessageParts::encode`] would append, in bytes.
    pub fn encoded_len(&self, head: &PublishHead<'_>) -> usize {
        let remaining = self.remaining_len(head);
        1 + varint::len(clamp_u32(remaining)) + remaining
    }

    fn encode_head(&self, head: &PublishHead<'_>, now: Now, out: &mut Vec<u8>) {
        let flags = u8::from(head.retain) | (head.qos.bits() << 1) | (u8::from(head.dup) << 3);
        out.push(0x30 | flags);
        varint::put(clamp_u32(self.remaining_len(head)), out);
        let topic: &[u8] = if head.omit_topic { &[] } else { self.topic };
        out.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(topic);
        if head.qos != QoS::AtMostOnce {
            out.extend_from_slice(&head.packet_id.to_be_bytes());
        }
        if head.version.is_v5() {
            self.encode_properties(head, now, out);
        }
    }

    fn encode_properties(&self, head: &PublishHead<'_>, now: Now, out: &mut Vec<u8>) {
        varint::put(clamp_u32(self.properties_len(head)), out);
        if self.expires_wall_ms != u64::MAX {
            // [MQTT-3.3.2-6]: what the message has left, not what it began with.
            let left_s = self.expires_wall_ms.saturating_sub(now.wall_ms).div_ceil(1_000);
            out.push(0x02);
            out.extend_from_slice(&u32::try_from(left_s).unwrap_or(u32::MAX).to_be_bytes());
        }
        if head.topic_alias != 0 {
            out.push(0x23);
            out.extend_from_slice(&head.topic_alias.to_be_bytes());
        }
        for &id in head.subscription_ids {
            out.push(0x0B);
            varint::put(id, out);
        }
        out.extend_from_slice(self.properties);
    }

    fn remaining_len(&self, head: &PublishHead<'_>) -> usize {
        let topic = if head.omit_topic { 0 } else { self.topic.len() };
        let packet_id = if head.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = if head.version.is_v5() {
            let len = self.properties_len(head);
            varint::len(clamp_u32(len)) + len
        } else {
            0
        };
        2 + topic + packet_id + properties + self.payload.len()
    }

    fn properties_len(&self, head: &PublishHead<'_>) -> usize {
        let expiry = if self.expires_wall_ms == u64::MAX { 0 } else { 5 };
        let alias = if head.topic_alias == 0 { 0 } else { 3 };
        let ids: usize = head.subscription_ids.iter().map(|&id| 1 + varint::len(id)).sum();
        expiry + alias + ids + self.properties.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec::{Direction, decode_packet},
        packet::{Packet, PublishPropertyValues},
    };

    const NOW: Now = Now { monotonic_ms: 0, wall_ms: 1_000_000 };

    fn properties(message_expiry_s: Option<u32>) -> PublishProperties {
        let values = PublishPropertyValues {
            message_expiry_s,
            content_type: Some("text/plain".into()),
            user_properties: vec![("a".into(), "b".into())],
            ..PublishPropertyValues::default()
        };
        PublishProperties::from_values(&values).unwrap()
    }

    fn message(payload: &[u8], message_expiry_s: Option<u32>) -> Message {
        let topic = TopicName::parse("a/b").unwrap();
        Message::new(&topic, payload, QoS::AtLeastOnce, true, &properties(message_expiry_s), NOW)
    }

    fn head(version: Version, qos: QoS) -> PublishHead<'static> {
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { 7 };
        let ids: &[u32] = if version.is_v5() { &[1, 268_435_455] } else { &[] };
        PublishHead {
            version,
            qos,
            retain: true,
            dup: false,
            packet_id,
            topic_alias: 0,
            omit_topic: false,
            subscription_ids: ids,
        }
    }

    #[test]
    fn a_message_gives_back_what_it_was_made_of() {
        let message = message(b"payload", Some(60));
        assert_eq!(message.topic(), "a/b");
        assert_eq!(message.payload(), b"payload");
        assert_eq!((message.qos(), message.retain()), (QoS::AtLeastOnce, true));
        assert_eq!(message.expires_wall_ms(), Some(1_060_000));
        let properties = message.properties();
        assert_eq!(properties.content_type(), Some("text/plain"));
        assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("a", "b")]);
        assert_eq!(properties.message_expiry_s(), None);
        assert_eq!(message.len(), 3 + 7 + message.properties_bytes().len());
    }

    #[test]
    fn what_is_encoded_decodes_to_the_message_and_is_as_long_as_was_said() {
        for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for payload in [0, 1, 100, PAYLOAD_COPY_BYTES_MAX, PAYLOAD_COPY_BYTES_MAX + 1, 100_000] {
                    let message = message(&vec![9; payload], Some(60));
                    let head = head(version, qos);
                    let mut transmit = Transmit::default();
                    message.encode(&head, NOW, &mut transmit);
                    let bytes = Bytes::from(transmit.to_vec());
                    assert_eq!(bytes.len(), message.encoded_len(&head));
                    let decoded = decode_packet(&bytes, Some(version), Direction::FromServer).unwrap();
                    let Packet::Publish(publish) = decoded else { panic!("{decoded:?}") };
                    assert_eq!(publish.topic.unwrap().as_str(), "a/b");
                    assert_eq!(publish.payload.len(), payload);
                    assert_eq!((publish.qos, publish.retain), (qos, true));
                    if version.is_v5() {
                        assert_eq!(publish.properties.message_expiry_s(), Some(60));
                        assert_eq!(publish.properties.content_type(), Some("text/plain"));
                        let ids: Vec<u32> = publish.properties.subscription_ids().collect();
                        assert_eq!(ids, [1, 268_435_455]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_payload_is_referenced_and_a_small_one_copied() {
        for (payload, is_copied) in [(PAYLOAD_COPY_BYTES_MAX, true), (PAYLOAD_COPY_BYTES_MAX + 1, false)] {
            let mut transmit = Transmit::default();
            message(&vec![9; payload], None).encode(&head(Version::V5, QoS::AtMostOnce), NOW, &mut transmit);
            assert_eq!(transmit.bytes().len() > payload, is_copied);
        }
    }

    #[test]
    fn a_message_of_another_message_loses_nothing() {
        let message = message(b"payload", Some(60));
        let copy = Message::from_parts(&message.parts(), message.qos(), message.retain());
        assert_eq!(copy, message);
        assert_eq!(copy.expires_wall_ms(), message.expires_wall_ms());
    }

    #[test]
    fn the_end_of_time_is_never() {
        let message = message(b"", None);
        assert_eq!(message.expires_wall_ms(), None);
        assert!(!message.is_expired(Now { wall_ms: u64::MAX - 1, ..NOW }));
    }

    #[test]
    fn a_message_is_one_pointer() {
        assert_eq!(size_of::<Message>(), size_of::<usize>());
    }
}
