//! The keys of `will`, `birth` and `close`, and the user properties of a connection.

use super::super::setting::{Setting, Shape};

/// The topic.
pub const TOPIC: Setting = Setting::optional_text("topic", "The topic that it is published to.");

/// The payload.
pub const PAYLOAD: Setting = Setting::text("payload", "", "What is published.");

/// The QoS.
pub const QOS: Setting = Setting::integer("qos", 0..=2, 0, "The QoS that it is published with.");

/// Whether it is retained.
pub const RETAIN: Setting =
    Setting::flag("retain", false, "Whether the broker keeps it for later subscribers.");

/// What the payload is.
pub const CONTENT_TYPE: Setting =
    Setting::optional_text("content_type", "The MIME type of the payload, such as text/plain (MQTT 5).");

/// Whether the payload is said to be text.
pub const PAYLOAD_FORMAT: Setting = Setting::choice(
    "payload_format",
    &["unspecified", "utf8"],
    "unspecified",
    "`utf8` tells its receivers that the payload is text (MQTT 5).",
);

/// How long it is worth delivering.
pub const MESSAGE_EXPIRY_S: Setting = Setting::optional_integer(
    "message_expiry_s",
    0..=4_294_967_295,
    "For how many seconds it is worth delivering; for ever when not written (MQTT 5).",
);

/// Where an answer is expected.
pub const RESPONSE_TOPIC: Setting =
    Setting::optional_text("response_topic", "The topic that an answer is expected on (MQTT 5).");

/// What an answer must carry.
pub const CORRELATION_DATA: Setting = Setting::optional_text(
    "correlation_data",
    "What an answer must carry, so that it is known whose it is (MQTT 5).",
);

/// Names and values.
pub const USER_PROPERTIES: Setting = Setting::shaped(
    "user_properties",
    Shape::Pairs,
    "Names and values that receivers get with it; a list gives a name several values (MQTT 5).",
);

/// How long the broker waits.
pub const DELAY_S: Setting = Setting::integer(
    "delay_s",
    0..=4_294_967_295,
    0,
    "How many seconds the broker waits before it publishes the will: a connector that is back by then was never away. \
     At most as long as the session is kept (MQTT 5).",
);

/// What only MQTT 5 can carry.
pub const PROPERTIES: &[&Setting] = &[
    &CONTENT_TYPE,
    &PAYLOAD_FORMAT,
    &MESSAGE_EXPIRY_S,
    &RESPONSE_TOPIC,
    &CORRELATION_DATA,
    &USER_PROPERTIES,
    &DELAY_S,
];

/// The keys of `birth` and `close`.
pub const ALL: &[&Setting] = &[
    &TOPIC,
    &PAYLOAD,
    &QOS,
    &RETAIN,
    &CONTENT_TYPE,
    &PAYLOAD_FORMAT,
    &MESSAGE_EXPIRY_S,
    &RESPONSE_TOPIC,
    &CORRELATION_DATA,
    &USER_PROPERTIES,
];

/// The keys of `will`.
pub const WILL_ALL: &[&Setting] = &[
    &TOPIC,
    &PAYLOAD,
    &QOS,
    &RETAIN,
    &CONTENT_TYPE,
    &PAYLOAD_FORMAT,
    &MESSAGE_EXPIRY_S,
    &RESPONSE_TOPIC,
    &CORRELATION_DATA,
    &USER_PROPERTIES,
    &DELAY_S,
];

/// The user properties of CONNECT.
pub const CONNECT_USER_PROPERTIES: Setting = Setting::shaped(
    "user_properties",
    Shape::Pairs,
    "Names and values that the broker gets with each connect; a list gives a name several values (MQTT 5).",
);

/// Whether the broker may suggest response topics.
pub const REQUEST_RESPONSE_INFORMATION: Setting = Setting::flag(
    "request_response_information",
    false,
    "Whether the broker is asked under which topic answers to us may be published (MQTT 5).",
);

/// Whether the broker may say more than a code.
pub const REQUEST_PROBLEM_INFORMATION: Setting = Setting::flag(
    "request_problem_information",
    true,
    "Whether the broker may say in words why it refuses something (MQTT 5).",
);

/// The keys of a connector that only MQTT 5 can carry.
pub const CONNECT_PROPERTIES: &[&Setting] =
    &[&CONNECT_USER_PROPERTIES, &REQUEST_RESPONSE_INFORMATION, &REQUEST_PROBLEM_INFORMATION];
