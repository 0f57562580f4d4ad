//! `[connector.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use crosspoint_protocol::{QoS, TopicName, Version, scram};

use super::super::diagnostic::Findings;
use super::super::plan::{
    Address, Auth, BROKER_CONNECTOR, CanaryPlan, ConnectValues, ConnectorPlan, Durability, MqttPlan,
    Protocol, SessionKind,
};
use super::super::secret::Secret;
use super::super::section::Section;
use super::super::settings::{self, announcement as announcement_keys, connector as keys, link as link_keys};
use super::flow::Flow;
use super::material::{Material, Origin};
use super::{address, announcement, outbox, proxy, tls};

/// How long a client identifier may be for a 3.1 broker.
const CLIENT_ID_3_1_CHARACTERS_MAX: usize = 23;

/// What the flows ask of a connector.
#[derive(Clone, Copy, Default)]
struct Use {
    listens: bool,
    publishes_exactly_once: bool,
}

impl Use {
    fn of(name: &str, flows: &[Flow]) -> Self {
        let mut used = Self::default();
        for flow in flows.iter().map(|flow| &flow.plan) {
            used.listens |= flow.source.connector == name;
            let mut sinks = flow.sinks.iter().filter(|sink| sink.connector == name);
            used.publishes_exactly_once |=
                sinks.any(|sink| sink.qos.unwrap_or(flow.source.qos) == QoS::ExactlyOnce);
        }
        used
    }
}

/// Resolves every connector of the file.
pub(super) fn resolve(
    root: &Section<'_>,
    flows: &[Flow],
    material: &Material,
    findings: &mut Findings,
) -> BTreeMap<String, ConnectorPlan> {
    let sections = root.named(&settings::CONNECTOR);
    check_client_ids(&sections, findings);
    let mut connectors = BTreeMap::new();
    for (name, section) in sections {
        let is_local = section.text_or_default(&keys::KIND) == "local";
        if is_local || name == BROKER_CONNECTOR {
            check_local(name, is_local, &section, findings);
            continue;
        }
        let mqtt = mqtt(&section, Use::of(name, flows), material, findings);
        connectors.insert(name.to_owned(), ConnectorPlan::Mqtt(Box::new(mqtt)));
    }
    connectors
}

/// Checks a section of the embedded broker's connector, which says nothing that is not so without it.
fn check_local(name: &str, is_local: bool, section: &Section<'_>, findings: &mut Findings) {
    let finding = if name != BROKER_CONNECTOR {
        let message =
            format!("`{}.kind` = \"local\" belongs to the connector \"broker\" alone", section.path);
        let help = "name \"broker\" in the flows; it is always there, without a section";
        findings.error(&section.span_of(&keys::KIND), message).help(help)
    } else if !is_local {
        let help = "choose another name; the embedded broker itself is set under [broker]";
        findings.error(&section.span, "the name \"broker\" belongs to the embedded broker").help(help)
    } else if section.entries().len() > 1 {
        let help = "remove the other keys; the embedded broker itself is set under [broker]";
        findings.error(&section.span, "`connector.broker` takes no other key than `kind`").help(help)
    } else {
        return;
    };
    finding.label("the embedded broker");
}

fn mqtt(section: &Section<'_>, used: Use, material: &Material, findings: &mut Findings) -> MqttPlan {
    let addresses = address::resolve(section, findings);
    let auth = Auth::of_word(section.text_or_default(&keys::AUTH));
    let protocol = spoken(section, auth, findings);
    let (reconnect_min, reconnect_max) = reconnect(section, findings);
    let session = session(section, used, findings);
    let proxy = proxy::resolve(section, material, findings);
    let tcp_keepalive = Some(section.number(&link_keys::TCP_KEEPALIVE)).filter(|seconds| *seconds > 0);
    let tcp_keepalive = tcp_keepalive.map(Duration::from_secs);
    let session_expiry = Duration::from_secs(section.number(&keys::SESSION_EXPIRY_S));
    MqttPlan {
        enabled: section.flag(&keys::ENABLED).unwrap_or(true),
        protocol,
        client_id: client_id(section, protocol, findings),
        username: section.text(&keys::USERNAME).map(|text| text.text.to_owned()),
        password: password(section, protocol, material, findings),
        auth,
        tls: tls::client(section, &addresses, material, findings),
        websocket_headers: headers(section, &addresses, material, findings),
        keep_alive: keep_alive(section, used, tcp_keepalive.is_some() && proxy.is_none(), findings),
        tcp_keepalive,
        proxy,
        connect_timeout: Duration::from_millis(section.number(&keys::CONNECT_TIMEOUT_MS)),
        ack_deadline: ack_deadline(section, findings),
        canary: canary(section, findings),
        reconnect_min,
        reconnect_max,
        session,
        session_expiry,
        receive_maximum: section.number(&keys::RECEIVE_MAXIMUM),
        packet_bytes_max: section.number(&keys::MAX_PACKET_BYTES),
        topic_alias_max: section.number(&keys::TOPIC_ALIAS_MAX),
        will: announcement::resolve(section, &keys::WILL, protocol, findings),
        will_delay: announcement::will_delay(section, session, session_expiry, findings),
        birth: announcement::resolve(section, &keys::BIRTH, protocol, findings),
        close: announcement::resolve(section, &keys::CLOSE, protocol, findings),
        properties: connect_properties(section, protocol, findings),
        durability: Durability::of_word(section.text_or_default(&keys::DURABILITY)),
        outbox: outbox::resolve(section, findings),
        addresses,
    }
}

fn connect_properties(section: &Section<'_>, protocol: Protocol, findings: &mut Findings) -> ConnectValues {
    use announcement_keys::{CONNECT_PROPERTIES, CONNECT_USER_PROPERTIES};
    use announcement_keys::{REQUEST_PROBLEM_INFORMATION, REQUEST_RESPONSE_INFORMATION};
    announcement::warn_before_v5(section, CONNECT_PROPERTIES, protocol, findings);
    ConnectValues {
        user_properties: announcement::user_properties(section, &CONNECT_USER_PROPERTIES, findings),
        asks_response_information: section.flag(&REQUEST_RESPONSE_INFORMATION).unwrap_or(false),
        asks_problem_information: section.flag(&REQUEST_PROBLEM_INFORMATION).unwrap_or(true),
    }
}

/// Returns which version is offered: with SCRAM nothing but MQTT 5, for to step down would show the password.
fn spoken(section: &Section<'_>, auth: Auth, findings: &mut Findings) -> Protocol {
    let written = protocol(section);
    if auth == Auth::Password {
        return written;
    }
    let path = section.path_of(&keys::AUTH);
    if let Protocol::Only(version @ (Version::V3_1 | Version::V3_1_1)) = written {
        let message =
            format!("`{path}` = \"scram-sha-256\" needs MQTT 5, and protocol = \"{version}\" is written");
        let finding = findings.error(&section.span_of(&keys::AUTH), message);
        finding.label(format!("MQTT {version} has no AUTH packet"));
        finding.help("write protocol = \"5.0\", or auth = \"password\"");
    }
    let has_name = section.text(&keys::USERNAME).is_some_and(|name| !name.text.is_empty());
    if !has_name || !section.has(&keys::PASSWORD) {
        let message = format!("`{path}` = \"scram-sha-256\" needs `username` and `password`");
        let finding = findings.error(&section.span_of(&keys::AUTH), message);
        finding.label("nothing to prove").help("write both; the password is not sent, only proven");
    }
    Protocol::Only(Version::V5)
}

fn protocol(section: &Section<'_>) -> Protocol {
    match section.text_or_default(&keys::PROTOCOL) {
        "5.0" => Protocol::Only(Version::V5),
        "3.1.1" => Protocol::Only(Version::V3_1_1),
        "3.1" => Protocol::Only(Version::V3_1),
        _ => Protocol::Auto,
    }
}

fn client_id(section: &Section<'_>, protocol: Protocol, findings: &mut Findings) -> Option<String> {
    let id = section.text(&keys::CLIENT_ID)?;
    let path = section.path_of(&keys::CLIENT_ID);
    let characters = id.text.chars().count();
    if id.text.is_empty() || id.text.contains('\0') || id.text.len() > 65_535 {
        let finding = findings.error(id.span, format!("`{path}` is not a client identifier"));
        finding.label("not 1 to 65,535 bytes of text").help("remove the key: one is made and kept");
    } else if protocol == Protocol::Only(Version::V3_1) && characters > CLIENT_ID_3_1_CHARACTERS_MAX {
        let finding = findings.error(id.span, format!("`{path}` is too long for protocol = \"3.1\""));
        finding.label(format!("{characters} characters, and 3.1 allows {CLIENT_ID_3_1_CHARACTERS_MAX}"));
        finding.help("shorten it, or remove the key: one is made and kept");
    }
    Some(id.text.to_owned())
}

fn check_client_ids(sections: &[(&str, Section<'_>)], findings: &mut Findings) {
    let ids = sections.iter().filter_map(|(name, section)| Some((*name, section.text(&keys::CLIENT_ID)?)));
    let ids: Vec<_> = ids.collect();
    for (index, (name, id)) in ids.iter().enumerate() {
        let Some((first, other)) = ids.iter().take(index).find(|(_, other)| other.text == id.text) else {
            continue;
        };
        let message = format!("`connector.{name}.client_id` is also that of connector \"{first}\"");
        let finding =
            findings.error(id.span, message).label("used twice").also(other.span, "first used here");
        finding.help(
            "a broker ends the older connection of an identifier; give each its own, or remove the key",
        );
    }
}

fn password(
    section: &Section<'_>,
    protocol: Protocol,
    material: &Material,
    findings: &mut Findings,
) -> Option<Secret> {
    let text = section.text(&keys::PASSWORD)?;
    let path = section.path_of(&keys::PASSWORD);
    // MQTT 3.x has no place in CONNECT for a password without a user name.
    if !section.has(&keys::USERNAME) && protocol != Protocol::Only(Version::V5) {
        let finding = findings
            .error(&section.key_span_of(&keys::PASSWORD), format!("`{path}` is written without `username`"));
        finding
            .label("MQTT 3.x sends no password alone")
            .help("add username = \"...\", or write protocol = \"5.0\"");
    }
    let (secret, origin) = material.secret(text, &path, findings)?;
    if origin == Origin::Plain {
        let finding = findings.warning(text.span, format!("`{path}` is plain text"));
        finding.label("readable for everyone who has the file");
        finding.help(format!("seal it: crosspoint secret set {path} --keep"));
    }
    let is_scram = Auth::of_word(section.text_or_default(&keys::AUTH)) == Auth::ScramSha256;
    if is_scram && scram::Password::prepare(secret.expose()).is_err() {
        let message = format!("`{path}` cannot be used with auth = \"scram-sha-256\"");
        let finding = findings.error(text.span, message);
        finding.label("not UTF-8, or with characters that SCRAM does not allow (SASLprep)");
        finding.help("choose a password of letters, digits and signs");
    }
    Some(secret)
}

fn headers(
    connector: &Section<'_>,
    addresses: &[Address],
    material: &Material,
    findings: &mut Findings,
) -> Vec<(String, Secret)> {
    let section = connector.table(&keys::WEBSOCKET).table(&keys::WEBSOCKET_HEADERS);
    let is_used = addresses.iter().any(|address| address.transport.is_websocket());
    if !section.entries().is_empty() && !addresses.is_empty() && !is_used {
        let message = format!("`{}` has no effect: the address is no WebSocket", section.path);
        findings
            .warning(&section.span, message)
            .label("not used")
            .help("write ws:// or wss://, or remove it");
    }
    let mut headers = Vec::new();
    for (name, text) in section.free_texts() {
        let path = format!("{}.{name}", section.path);
        let Some((secret, _)) = material.secret(text, &path, findings) else { continue };
        if let Some((what, help)) = wrong_header(name, &secret) {
            let finding = findings.error(text.span, format!("`{path}` {what}"));
            finding.label("not a header that can be sent").help(help);
        }
        headers.push((name.to_owned(), secret));
    }
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    headers
}

fn wrong_header(name: &str, value: &Secret) -> Option<(&'static str, &'static str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let is_ours =
        matches!(lower.as_str(), "host" | "connection" | "upgrade" | "content-length" | "transfer-encoding")
            || lower.starts_with("sec-websocket-");
    if name.is_empty() || !name.bytes().all(is_token) {
        Some(("is not the name of an HTTP header", "use letters, digits and `-`"))
    } else if is_ours {
        Some(("is a header of the upgrade itself", "remove it"))
    } else if value.expose().iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        Some(("has a control character in its value", "write the value on one line"))
    } else {
        None
    }
}

/// Takes whether the system tests the connection as far as the broker: behind a proxy it is the proxy that answers.
fn keep_alive(section: &Section<'_>, used: Use, is_tested: bool, findings: &mut Findings) -> Duration {
    let seconds: u64 = section.number(&keys::KEEP_ALIVE_S);
    if seconds == 0 && used.listens && !is_tested && !section.has_table(&keys::CANARY) {
        let path = section.path_of(&keys::KEEP_ALIVE_S);
        let message =
            format!("`{path}` = 0 turns off the only test of the connection, and a flow listens on it");
        let finding = findings.error(&section.span_of(&keys::KEEP_ALIVE_S), message);
        finding
            .label("a dead connection would look like silence")
            .help("write a number from 1 to 65,535 (default: 60), or add canary = {} or, without a proxy, tcp_keepalive = 60");
    }
    Duration::from_secs(seconds)
}

fn ack_deadline(section: &Section<'_>, findings: &mut Findings) -> Duration {
    let millis: u64 = section.number(&keys::ACK_DEADLINE_MS);
    if (1..1_000).contains(&millis) {
        let message = format!("`{}` is shorter than a second", section.path_of(&keys::ACK_DEADLINE_MS));
        let finding = findings.error(&section.span_of(&keys::ACK_DEADLINE_MS), message);
        finding
            .label("too short for a broker that is busy")
            .help("write 1,000 or more, or 0 for no deadline");
    }
    Duration::from_millis(millis)
}

fn canary(connector: &Section<'_>, findings: &mut Findings) -> Option<CanaryPlan> {
    if !connector.has_table(&keys::CANARY) {
        return None;
    }
    let section = connector.table(&keys::CANARY);
    let written = section.text(&keys::CANARY_TOPIC);
    let name = connector.path.rsplit('.').next().unwrap_or_default();
    let text = written.map_or_else(|| format!("crosspoint/canary/{name}"), |text| text.text.to_owned());
    let wrong = match TopicName::parse(text) {
        Ok(topic) if !topic.is_reserved() => {
            let interval = Duration::from_secs(section.number(&keys::CANARY_INTERVAL_S));
            return Some(CanaryPlan { topic, interval });
        }
        Ok(_) => "topics that begin with `$` belong to the broker".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("`{}`: {wrong}", section.path_of(&keys::CANARY_TOPIC));
    let finding = findings.error(&section.span_of(&keys::CANARY_TOPIC), message);
    finding.label("not a topic for it").help("write a full topic of its own, or remove the key");
    None
}

fn reconnect(section: &Section<'_>, findings: &mut Findings) -> (Duration, Duration) {
    let min: u64 = section.number(&keys::RECONNECT_MIN_MS);
    let max: u64 = section.number(&keys::RECONNECT_MAX_MS);
    if min > max {
        let message =
            format!("`{}` is more than `reconnect_max_ms`", section.path_of(&keys::RECONNECT_MIN_MS));
        let finding = findings.error(&section.span_of(&keys::RECONNECT_MIN_MS), message);
        finding.label(format!("more than {max}")).help("make it smaller, or equal for a constant period");
    }
    (Duration::from_millis(min), Duration::from_millis(max))
}

fn session(section: &Section<'_>, used: Use, findings: &mut Findings) -> SessionKind {
    let is_durable = match section.text(&keys::SESSION) {
        Some(written) => written.text == "durable",
        None => used.listens || used.publishes_exactly_once,
    };
    if is_durable {
        return SessionKind::Durable;
    }
    if section.has(&keys::SESSION_EXPIRY_S) && section.has(&keys::SESSION) {
        let path = section.path_of(&keys::SESSION_EXPIRY_S);
        let message = format!("`{path}` has no effect: a clean session ends at disconnect");
        let finding = findings.warning(&section.key_span_of(&keys::SESSION_EXPIRY_S), message);
        finding.label("not used").help("write session = \"durable\", or remove the key");
    }
    SessionKind::Clean
}
