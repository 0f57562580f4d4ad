//! The keys of `[flow.NAME]`.

use super::super::setting::{Setting, Shape};

/// Where messages come from.
pub const FROM: Setting = Setting::shaped("from", Shape::Table(FROM_ALL), "Where messages come from.");

/// Where messages go.
pub const TO: Setting =
    Setting::shaped("to", Shape::Tables(TO_ALL), "Where messages go: one sink or a list.");

/// Whether a cycle is wanted.
pub const ALLOW_LOOP: Setting =
    Setting::flag("allow_loop", false, "Whether this flow may be part of a cycle of overlapping topics.");

const WHERE: Setting = Setting::not_yet("where", "Which messages pass.");
const MAP: Setting = Setting::not_yet("map", "What becomes of a message.");
const CONNECTION: Setting = Setting::not_yet("connection", "Whether the flow has a connection of its own.");

/// Every key of a flow.
pub const ALL: &[&Setting] = &[&FROM, &TO, &ALLOW_LOOP, &WHERE, &MAP, &CONNECTION];

/// The source's connector.
pub const FROM_CONNECTOR: Setting =
    Setting::optional_text("connector", "The name of the connector to read from.");

/// What is subscribed to.
pub const FROM_TOPICS: Setting = Setting::shaped(
    "topics",
    Shape::Texts,
    "The topics to subscribe to; `+` is any one level, `#` all that follow.",
);

/// The QoS of the subscriptions.
pub const FROM_QOS: Setting = Setting::integer("qos", 0..=2, 1, "The QoS of the subscriptions.");

const FROM_ALL: &[&Setting] = &[&FROM_CONNECTOR, &FROM_TOPICS, &FROM_QOS];

/// A sink's connector.
pub const TO_CONNECTOR: Setting =
    Setting::optional_text("connector", "The name of the connector to write to.");

/// A sink's topic.
pub const TO_TOPIC: Setting = Setting::text(
    "topic",
    "{topic}",
    "The topic to publish to: {topic}, {topic[1]}, {topic[1..]}, {connector} and {payload.field} are filled in.",
);

/// A sink's QoS.
pub const TO_QOS: Setting =
    Setting::optional_integer("qos", 0..=2, "The QoS; as the message came when not written.");

/// A sink's retain flag.
pub const TO_RETAIN: Setting =
    Setting::optional_flag("retain", "The retain flag; as the message came when not written.");

const TO_ALL: &[&Setting] = &[&TO_CONNECTOR, &TO_TOPIC, &TO_QOS, &TO_RETAIN];
