use bytes::Bytes;
use crosspoint_protocol::{
    Message, Now, QoS, TopicName,
    codec::EncodeError,
    packet::{PublishProperties, PublishPropertyValues},
    topic::InvalidTopic,
};

/// A message to publish: topic, payload, QoS, retain and properties.
#[derive(Debug, Clone)]
pub struct Publication {
    content: Content,
    qos: QoS,
    retain: bool,
}

#[derive(Debug, Clone)]
enum Content {
    Parts { topic: TopicName, payload: Bytes, properties: PublishProperties },
    Message(Message),
}

/// Why something is no publication.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPublication {
    /// The topic is not a Topic Name.
    #[error("the topic cannot be published to: {0}")]
    Topic(InvalidTopic),
    /// A property cannot stand in a PUBLISH.
    #[error("a property cannot be sent: {0}")]
    Property(EncodeError),
}

impl Publication {
    /// Makes a publication at QoS 0, not retained, without properties.
    ///
    /// # Errors
    /// The topic is no Topic Name.
    pub fn new(topic: &str, payload: impl Into<Bytes>) -> Result<Self, InvalidPublication> {
        let topic = TopicName::parse(topic).map_err(InvalidPublication::Topic)?;
        Ok(Self::to_topic(topic, payload))
    }

    /// Makes a publication at QoS 0, not retained, without properties.
    pub fn to_topic(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        let content =
            Content::Parts { topic, payload: payload.into(), properties: PublishProperties::default() };
        Self { content, qos: QoS::AtMostOnce, retain: false }
    }

    /// Takes a message as it is, at the QoS and with the retain flag with which it was published. It is shared, not
    /// copied.
    pub fn of_message(message: Message) -> Self {
        Self { qos: message.qos(), retain: message.retain(), content: Content::Message(message) }
    }

    /// Sets the QoS. Default: 0, or that of the message.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Sets the retain flag. Default: `false`, or that of the message.
    #[must_use]
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Sets the properties (MQTT 5; left out before). Default: none, or those of the message.
    ///
    /// # Errors
    /// The value that cannot stand in a PUBLISH.
    pub fn properties(mut self, values: &PublishPropertyValues) -> Result<Self, InvalidPublication> {
        let made = PublishProperties::from_values(values).map_err(InvalidPublication::Property)?;
        self.content = match self.content {
            Content::Parts { topic, payload, .. } => Content::Parts { topic, payload, properties: made },
            Content::Message(message) => match message.topic_name() {
                Some(topic) => Content::Parts {
                    topic,
                    payload: Bytes::copy_from_slice(message.payload()),
                    properties: made,
                },
                None => Content::Message(message),
            },
        };
        Ok(self)
    }

    pub(crate) fn into_parts(self, now: Now) -> (Message, QoS, bool) {
        let message = match self.content {
            Content::Message(message) => message,
            Content::Parts { topic, payload, properties } => {
                Message::new(&topic, &payload, self.qos, self.retain, &properties, now)
            }
        };
        (message, self.qos, self.retain)
    }
}
