//! What a client leaves to be published when it dies.

use crosspoint_protocol::{
    Message, Now,
    message::MessageParts,
    packet::{PublishProperties, PublishPropertyValues, Will},
};

/// A Will as it is kept: its message without the expiry, which counts from the publication.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Testament {
    pub(crate) message: Message,
    pub(crate) expiry_s: Option<u32>,
    /// Seconds between the death of the connection and the publication.
    pub(crate) delay_s: u32,
}

impl Testament {
    /// Copies a Will out of the buffer that it was read from.
    pub(crate) fn of(will: &Will) -> Self {
        let properties = &will.properties;
        let values = PublishPropertyValues {
            payload_is_utf8: properties.payload_is_utf8,
            message_expiry_s: None,
            response_topic: properties.response_topic.clone(),
            correlation_data: properties.correlation_data.clone(),
            content_type: properties.content_type.clone(),
            user_properties: properties.user_properties.clone(),
        };
        let own = PublishProperties::from_values(&values).unwrap_or_default();
        // It does not expire, so that the time of its making means nothing.
        let now = Now::default();
        Self {
            message: Message::new(&will.topic, &will.payload, will.qos, will.retain, &own, now),
            expiry_s: properties.message_expiry_s,
            delay_s: properties.delay_s.unwrap_or(0),
        }
    }

    /// Returns the message as it is published now.
    pub(crate) fn message(&self, now: Now) -> Message {
        let Some(expiry_s) = self.expiry_s else { return self.message.clone() };
        let expires_wall_ms = now.wall_ms.saturating_add(u64::from(expiry_s) * 1_000);
        let parts = MessageParts { expires_wall_ms, ..self.message.parts() };
        Message::from_parts(&parts, self.message.qos(), self.message.retain())
    }
}
