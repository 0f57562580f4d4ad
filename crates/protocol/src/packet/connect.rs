use bytes::Bytes;
use bytestring::ByteString;

use super::UserProperties;
use crate::{QoS, TopicName, Version};

/// CONNECT: the first packet of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// The protocol version that the client speaks.
    pub version: Version,
    /// Clean Start (MQTT 5) or Clean Session (3.1, 3.1.1).
    pub clean_start: bool,
    /// The bridge bit of 3.1 and 3.1.1: the high bit of the protocol level, which brokers that know it take for
    /// "this client is a bridge". Always untrue in MQTT 5.
    pub is_bridge: bool,
    /// Seconds within which the client sends something; 0 is off.
    pub keep_alive_s: u16,
    /// The client identifier; empty asks the server for one.
    pub client_id: ByteString,
    /// What the server publishes when the client dies.
    pub will: Option<Will>,
    /// User name and password.
    pub login: Login,
    /// Properties (MQTT 5).
    pub properties: ConnectProperties,
}

/// User name and password of a CONNECT. MQTT 5 allows a password without a user name.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// The user name.
    pub username: Option<ByteString>,
    /// The password: any bytes.
    pub password: Option<Bytes>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "not shown"))
            .finish()
    }
}

/// The properties of CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectProperties {
    /// Seconds for which the session outlives the connection; `None` is 0, `u32::MAX` is for ever.
    pub session_expiry_s: Option<u32>,
    /// How many PUBLISH packets at QoS 1 and 2 the client handles at once; `None` is 65,535, never 0.
    pub receive_maximum: Option<u16>,
    /// The largest packet that the client accepts, in bytes; `None` is no limit, never 0.
    pub maximum_packet_bytes: Option<u32>,
    /// The highest Topic Alias that the client accepts; `None` is 0.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the server may send Response Information.
    pub request_response_information: Option<bool>,
    /// Whether the server may send Reason Strings and User Properties outside PUBLISH, CONNACK and DISCONNECT.
    pub request_problem_information: Option<bool>,
    /// The method of enhanced authentication.
    pub authentication_method: Option<ByteString>,
    /// Data of the method.
    pub authentication_data: Option<Bytes>,
    /// User Properties.
    pub user_properties: UserProperties,
}

/// What the server publishes when the client dies.
#[derive(Debug, Clone, PartialEq)]
pub struct Will {
    /// Where it is published.
    pub topic: TopicName,
    /// What is published.
    pub payload: Bytes,
    /// At which QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// Properties (MQTT 5).
    pub properties: WillProperties,
}

/// The properties of a Will.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WillProperties {
    /// Seconds between the death of the connection and the publication; `None` is 0.
    pub delay_s: Option<u32>,
    /// Whether the payload is UTF-8 text.
    pub payload_is_utf8: Option<bool>,
    /// Seconds for which the message is worth delivering, from its publication.
    pub message_expiry_s: Option<u32>,
    /// The MIME type of the payload, or whatever the two ends agreed on.
    pub content_type: Option<ByteString>,
    /// Where an answer is expected.
    pub response_topic: Option<ByteString>,
    /// What an answer must carry so that the asker knows it.
    pub correlation_data: Option<Bytes>,
    /// User Properties.
    pub user_properties: UserProperties,
}
