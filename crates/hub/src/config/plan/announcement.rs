//! What a connector says of itself.

use crosspoint_protocol::packet::{PublishPropertyValues, UserProperties};
use crosspoint_protocol::{QoS, TopicName};

/// A message that announces us: a will, a birth or a close.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// Where it is published.
    pub topic: TopicName,
    /// What is published.
    pub payload: Vec<u8>,
    /// With which assurance.
    pub qos: QoS,
    /// Whether the broker keeps it as the retained message.
    pub retain: bool,
    /// What MQTT 5 says beside it; left out before.
    pub properties: PublishPropertyValues,
}

/// What CONNECT says and asks beside the rest, in MQTT 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectValues {
    /// Names and values for the broker.
    pub user_properties: UserProperties,
    /// Whether it is asked under which topic answers to us may be published.
    pub asks_response_information: bool,
    /// Whether it may say in words why it refuses something.
    pub asks_problem_information: bool,
}
