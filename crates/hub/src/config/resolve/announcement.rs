//! `will`, `birth` and `close` of a connector, and what else MQTT 5 lets it say of itself.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use crosspoint_protocol::packet::{PublishProperties, PublishPropertyValues, UserProperties};
use crosspoint_protocol::{TopicName, Version};

use super::super::diagnostic::Findings;
use super::super::plan::{Announcement, Protocol, SessionKind};
use super::super::section::Section;
use super::super::setting::Setting;
use super::super::settings::announcement as keys;
use super::super::settings::connector::WILL;
use super::flow::qos_of;

/// How long a payload may be: a will has no room for more, and the other two are held to the same.
const PAYLOAD_BYTES_MAX: usize = 65_535;

/// Resolves the announcement at a key.
pub(super) fn resolve(
    connector: &Section<'_>,
    setting: &Setting,
    protocol: Protocol,
    findings: &mut Findings,
) -> Option<Announcement> {
    if !connector.has_table(setting) {
        return None;
    }
    let section = connector.table(setting);
    warn_before_v5(&section, keys::PROPERTIES, protocol, findings);
    let topic = topic(connector, &section, findings);
    let announcement = Announcement {
        payload: payload(&section, findings),
        qos: qos_of(section.integer(&keys::QOS)),
        retain: section.flag(&keys::RETAIN).unwrap_or(false),
        properties: properties(&section, findings),
        topic: topic?,
    };
    Some(announcement)
}

/// Resolves how long the broker is to wait before it publishes the will.
pub(super) fn will_delay(
    connector: &Section<'_>,
    session: SessionKind,
    session_expiry: Duration,
    findings: &mut Findings,
) -> Duration {
    let section = connector.table(&WILL);
    let delay = Duration::from_secs(section.number(&keys::DELAY_S));
    let (why, help) = match session {
        // [MQTT-3.1.3-9] says what comes first: the delay, or the end of the session.
        SessionKind::Clean if !delay.is_zero() => {
            ("has no effect: a clean session ends with the connection", "write session = \"durable\"")
        }
        SessionKind::Durable if delay > session_expiry => {
            ("is longer than the broker keeps the session", "make it at most `session_expiry_s`")
        }
        _ => return delay,
    };
    let path = section.path_of(&keys::DELAY_S);
    let finding = findings.warning(&section.span_of(&keys::DELAY_S), format!("`{path}` {why}"));
    finding.label("the will goes out when the session ends").help(format!("{help}, or remove the key"));
    delay
}

/// Resolves a table of user properties.
pub(super) fn user_properties(
    section: &Section<'_>,
    setting: &Setting,
    findings: &mut Findings,
) -> UserProperties {
    let pairs = section.pairs(setting);
    let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.text.into()));
    let values = PublishPropertyValues { user_properties: pairs.collect(), ..Default::default() };
    check(&values, &section.path_of(setting), &section.span_of(setting), findings);
    values.user_properties
}

/// Warns of keys that the versions before MQTT 5 cannot carry, where only those are spoken.
pub(super) fn warn_before_v5(
    section: &Section<'_>,
    settings: &[&Setting],
    protocol: Protocol,
    findings: &mut Findings,
) {
    let Protocol::Only(version @ (Version::V3_1 | Version::V3_1_1)) = protocol else { return };
    for setting in settings.iter().filter(|setting| section.has(setting)) {
        let message = format!("`{}` has no effect: MQTT {version} cannot carry it", section.path_of(setting));
        let finding = findings.warning(&section.key_span_of(setting), message);
        finding.label("not sent").help("remove it, or write protocol = \"5.0\"");
    }
}

fn topic(connector: &Section<'_>, section: &Section<'_>, findings: &mut Findings) -> Option<TopicName> {
    if section.has(&keys::TOPIC) {
        return topic_name(section, &keys::TOPIC, findings);
    }
    let path = section.path_of(&keys::TOPIC);
    let finding = findings.error(&section.span, format!("`{path}` is missing")).label("no topic");
    finding.help(format!("write topic = \"{}/status\"", connector.path.replace('.', "/")));
    None
}

fn topic_name(section: &Section<'_>, setting: &Setting, findings: &mut Findings) -> Option<TopicName> {
    let text = section.text(setting)?;
    let named = TopicName::parse(text.text.to_owned());
    named
        .map_err(|error| {
            let message = format!("`{}`: {error}", section.path_of(setting));
            let finding = findings.error(text.span, message).label("not a topic name");
            finding.help("write the full topic, without `+` and `#`");
        })
        .ok()
}

fn payload(section: &Section<'_>, findings: &mut Findings) -> Vec<u8> {
    let payload = section.text_or_default(&keys::PAYLOAD).as_bytes().to_vec();
    if payload.len() > PAYLOAD_BYTES_MAX {
        let path = section.path_of(&keys::PAYLOAD);
        let finding = findings.error(&section.span_of(&keys::PAYLOAD), format!("`{path}` is too long"));
        finding.label("more than 65,535 bytes").help("shorten it");
    }
    payload
}

fn properties(section: &Section<'_>, findings: &mut Findings) -> PublishPropertyValues {
    let text = |setting| section.text(setting).map(|text| text.text);
    let response_topic = topic_name(section, &keys::RESPONSE_TOPIC, findings);
    let values = PublishPropertyValues {
        payload_is_utf8: (section.text_or_default(&keys::PAYLOAD_FORMAT) == "utf8").then_some(true),
        message_expiry_s: section.integer(&keys::MESSAGE_EXPIRY_S).and_then(|s| u32::try_from(s).ok()),
        response_topic: response_topic.map(|topic| topic.as_str().into()),
        correlation_data: text(&keys::CORRELATION_DATA).map(|data| Bytes::copy_from_slice(data.as_bytes())),
        content_type: text(&keys::CONTENT_TYPE).map(Into::into),
        user_properties: user_properties(section, &keys::USER_PROPERTIES, findings),
    };
    let texts = PublishPropertyValues { user_properties: Vec::new(), ..values.clone() };
    check(&texts, &section.path, &section.span, findings);
    values
}

/// Checks that values can be sent; what cannot is a text that is too long or holds U+0000.
fn check(values: &PublishPropertyValues, path: &str, span: &Range<usize>, findings: &mut Findings) {
    if let Err(error) = PublishProperties::from_values(values) {
        let finding = findings.error(span, format!("`{path}` cannot be sent: {error}"));
        finding.label("in here").help("write texts of at most 65,535 bytes, without U+0000");
    }
}
