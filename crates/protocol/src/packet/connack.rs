use bytes::Bytes;
use bytestring::ByteString;

use super::UserProperties;
use crate::{QoS, ReasonCode};

/// CONNACK: the server's answer to CONNECT.
///
/// The return codes 1 to 5 of 3.1 and 3.1.1 are decoded to, and encoded from, the reason codes that mean the same.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnAck {
    /// Whether the server already had a session for this client.
    pub session_present: bool,
    /// [`ReasonCode::Success`], or why the connection is refused.
    pub reason: ReasonCode,
    /// Properties (MQTT 5).
    pub properties: ConnAckProperties,
}

/// The properties of CONNACK. What is `None` has the default that the specification gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnAckProperties {
    /// Seconds for which the session outlives the connection, where it differs from what the client asked for.
    pub session_expiry_s: Option<u32>,
    /// How many PUBLISH packets at QoS 1 and 2 the server handles at once; `None` is 65,535, never 0.
    pub receive_maximum: Option<u16>,
    /// The highest QoS that the server accepts (0 or 1); `None` is 2.
    pub maximum_qos: Option<QoS>,
    /// Whether the server keeps retained messages; `None` is yes.
    pub retain_available: Option<bool>,
    /// The largest packet that the server accepts, in bytes; `None` is no limit, never 0.
    pub maximum_packet_bytes: Option<u32>,
    /// The client identifier that the server made up.
    pub assigned_client_id: Option<ByteString>,
    /// The highest Topic Alias that the server accepts; `None` is 0.
    pub topic_alias_maximum: Option<u16>,
    /// A text for people, about the reason code.
    pub reason_string: Option<ByteString>,
    /// Whether filters with wildcards are accepted; `None` is yes.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether Subscription Identifiers are accepted; `None` is yes.
    pub subscription_identifiers_available: Option<bool>,
    /// Whether Shared Subscriptions are accepted; `None` is yes.
    pub shared_subscription_available: Option<bool>,
    /// The keep alive that the client must use instead of its own, in seconds.
    pub server_keep_alive_s: Option<u16>,
    /// The start of Response Topics that this client may use.
    pub response_information: Option<ByteString>,
    /// Another server to use.
    pub server_reference: Option<ByteString>,
    /// The method of enhanced authentication.
    pub authentication_method: Option<ByteString>,
    /// Data of the method.
    pub authentication_data: Option<Bytes>,
    /// User Properties.
    pub user_properties: UserProperties,
}
