use bytes::Bytes;
use bytestring::ByteString;

use super::ReasonProperties;
use crate::{PacketId, QoS, ReasonCode, TopicName};

/// PUBLISH: carries one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// Where it is published; `None` where a Topic Alias stands for the name (MQTT 5).
    pub topic: Option<TopicName>,
    /// What is published.
    pub payload: Bytes,
    /// Properties (MQTT 5).
    pub properties: PublishProperties,
    /// The identifier: present exactly at QoS 1 and 2 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    /// At which QoS.
    pub qos: QoS,
    /// Whether this may be a second sending.
    pub dup: bool,
    /// The retain flag.
    pub retain: bool,
}

/// The properties of a PUBLISH: the bytes as they stand on the wire, without their length, checked when they were
/// decoded and read when they are asked for. So decoding a PUBLISH makes no allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishProperties(pub(crate) Bytes);

/// One property of a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishProperty<'a> {
    /// Whether the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// Seconds for which the message is still worth delivering.
    MessageExpiryInterval(u32),
    /// The number that stands for the Topic Name on this connection.
    TopicAlias(u16),
    /// Where an answer is expected.
    ResponseTopic(&'a str),
    /// What an answer must carry so that the asker knows it.
    CorrelationData(&'a [u8]),
    /// A name and a value.
    UserProperty(&'a str, &'a str),
    /// The number of a Subscription that matched.
    SubscriptionIdentifier(u32),
    /// The MIME type of the payload, or whatever the two ends agreed on.
    ContentType(&'a str),
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, PartialEq)]
pub struct Ack {
    /// The identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// How it went; always [`ReasonCode::Success`] in 3.1 and 3.1.1.
    pub reason: ReasonCode,
    /// Properties (MQTT 5).
    pub properties: Option<Box<ReasonProperties>>,
}

impl Ack {
    /// Returns an acknowledgement without properties.
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: None }
    }
}

/// Values of the properties of a PUBLISH to make one from, where there is no wire yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishPropertyValues {
    /// Whether the payload is UTF-8 text.
    pub payload_is_utf8: Option<bool>,
    /// Seconds for which the message is worth delivering.
    pub message_expiry_s: Option<u32>,
    /// Where an answer is expected.
    pub response_topic: Option<ByteString>,
    /// What an answer must carry so that the asker knows it.
    pub correlation_data: Option<Bytes>,
    /// The MIME type of the payload.
    pub content_type: Option<ByteString>,
    /// User Properties.
    pub user_properties: super::UserProperties,
}
