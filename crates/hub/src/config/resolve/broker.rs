//! `[broker]`: listeners, users, limits.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::super::diagnostic::Findings;
use super::super::plan::{
    BrokerLimits, BrokerPlan, Durability, Identity, ListenerPlan, Pem, PortChoice, TlsVersion, Transport,
    UserPlan,
};
use super::super::section::Section;
use super::super::settings::broker as keys;
use super::identity::IdentityKeys;
use super::material::Material;
use super::{Place, acl, address, bind, identity, tls};

/// Resolves the embedded broker; `None` when it is disabled.
pub(super) fn resolve(
    section: &Section<'_>,
    material: &Material,
    findings: &mut Findings,
) -> Option<BrokerPlan> {
    let acl::Accounts { users, anonymous_rules } = acl::accounts(section, material, findings);
    let listeners = listeners(section, &users, material, findings);
    if section.flag(&keys::ENABLED) == Some(false) {
        return None;
    }
    Some(BrokerPlan { listeners, users, anonymous_rules, limits: limits(section) })
}

fn limits(section: &Section<'_>) -> BrokerLimits {
    BrokerLimits {
        connections_max: section.number(&keys::CONNECTIONS_MAX),
        packet_bytes_max: section.number(&keys::PACKET_BYTES_MAX),
        session_queue_messages: section.number(&keys::SESSION_QUEUE_MESSAGES),
        session_queue_bytes: section.number(&keys::SESSION_QUEUE_BYTES),
        in_flight_max: section.number(&keys::IN_FLIGHT_MAX),
        session_expiry_max: Duration::from_secs(section.number(&keys::SESSION_EXPIRY_MAX_S)),
        will_grace: Duration::from_secs(section.number(&keys::WILL_GRACE_S)),
        keep_alive_max: Duration::from_secs(section.number(&keys::KEEP_ALIVE_MAX_S)),
    }
}

fn listeners(
    section: &Section<'_>,
    users: &BTreeMap<String, UserPlan>,
    material: &Material,
    findings: &mut Findings,
) -> BTreeMap<String, ListenerPlan> {
    let sections = section.named(&keys::LISTENER);
    if !section.has(&keys::LISTENER) {
        return default_listeners(users.is_empty(), durability(section));
    }
    if section.has_table(&keys::LISTENER) && section.table(&keys::LISTENER).entries().is_empty() {
        let finding = findings.error(&section.key_span_of(&keys::LISTENER), "`broker.listener` is empty");
        finding
            .label("nothing to listen on")
            .help("write [broker.listener.main] with bind = \"127.0.0.1:1883\"");
    }
    let durability = durability(section);
    let mut listeners = BTreeMap::new();
    for (name, section) in &sections {
        if let Some(mut listener) = listener(section, users, material, findings) {
            if !section.has(&keys::LISTENER_DURABILITY) {
                listener.durability = durability;
            }
            check_bind(&listener, section, &listeners, findings);
            listeners.insert((*name).to_owned(), listener);
        }
    }
    listeners
}

fn durability(section: &Section<'_>) -> Durability {
    Durability::of_word(section.text_or_default(&keys::DURABILITY))
}

fn default_listeners(anonymous: bool, durability: Durability) -> BTreeMap<String, ListenerPlan> {
    let listener = |port, transport, path: &str| ListenerPlan {
        bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        port: PortChoice::Default,
        transport,
        path: path.to_owned(),
        identity: None,
        client_ca: Vec::new(),
        version_min: TlsVersion::default(),
        anonymous,
        allowed_origins: Vec::new(),
        durability,
    };
    let mqtt = listener(default_port(Transport::Tcp), Transport::Tcp, "/");
    let websocket = listener(default_port(Transport::Ws), Transport::Ws, "/mqtt");
    BTreeMap::from([("mqtt".to_owned(), mqtt), ("websocket".to_owned(), websocket)])
}

const fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Tcp => 1883,
        Transport::Tls => 8883,
        Transport::Ws => 8083,
        Transport::Wss => 8084,
    }
}

fn listener(
    section: &Section<'_>,
    users: &BTreeMap<String, UserPlan>,
    material: &Material,
    findings: &mut Findings,
) -> Option<ListenerPlan> {
    let transport = address::transport(section.text_or_default(&keys::LISTENER_TRANSPORT));
    let path = path(section, transport, findings);
    let allowed_origins = origins(section, transport, findings);
    let (identity, client_ca) = server_tls(section, transport, material, findings);
    let version_min = section.table(&keys::LISTENER_TLS).text_or_default(&keys::LISTENER_TLS_MIN_VERSION);
    let (bind, port) = bind_of(section, transport, findings)?;
    let anonymous = anonymous(section, bind, users, findings);
    let durability = Durability::of_word(section.text_or_default(&keys::LISTENER_DURABILITY));
    Some(ListenerPlan {
        bind,
        port,
        transport,
        path,
        identity,
        client_ca,
        version_min: TlsVersion::of_word(version_min),
        anonymous,
        allowed_origins,
        durability,
    })
}

fn bind_of(
    section: &Section<'_>,
    transport: Transport,
    findings: &mut Findings,
) -> Option<(SocketAddr, PortChoice)> {
    let port = default_port(transport);
    let Some(text) = section.text(&keys::LISTENER_BIND) else {
        return Some((SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), PortChoice::Default));
    };
    let place = Place { path: section.path_of(&keys::LISTENER_BIND), span: text.span.clone() };
    bind::parse(text.text, port, &place, findings)
}

fn check_bind(
    listener: &ListenerPlan,
    section: &Section<'_>,
    others: &BTreeMap<String, ListenerPlan>,
    findings: &mut Findings,
) {
    let Some((name, _)) = others.iter().find(|(_, other)| are_clashing(listener.bind, other.bind)) else {
        return;
    };
    let message = format!("`{}` listens on {}, as listener \"{name}\" does", section.path, listener.bind);
    let finding = findings.error(&section.span_of(&keys::LISTENER_BIND), message).label("taken");
    finding.help("give each listener a port of its own; all MQTT versions share one");
}

/// An unspecified address takes the port on all addresses of its family.
fn are_clashing(a: SocketAddr, b: SocketAddr) -> bool {
    let is_wide = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || is_wide && a.is_ipv4() == b.is_ipv4())
}

fn path(section: &Section<'_>, transport: Transport, findings: &mut Findings) -> String {
    let Some(written) = section.text(&keys::LISTENER_PATH) else {
        let default = section.text_or_default(&keys::LISTENER_PATH);
        return (if transport.is_websocket() { default } else { "/" }).to_owned();
    };
    let path = section.path_of(&keys::LISTENER_PATH);
    if !transport.is_websocket() {
        let finding =
            findings.error(written.span, format!("`{path}` is for `ws` and `wss` only")).label("not used");
        finding.help("remove it, or write transport = \"ws\"");
    } else if !written.text.starts_with('/') || written.text.chars().any(|c| !c.is_ascii_graphic()) {
        let finding = findings.error(written.span, format!("`{path}` is not a path")).label("not a path");
        finding.help("write path = \"/mqtt\"");
    }
    written.text.to_owned()
}

fn origins(section: &Section<'_>, transport: Transport, findings: &mut Findings) -> Vec<String> {
    let path = section.path_of(&keys::LISTENER_ALLOWED_ORIGINS);
    let texts = section.texts(&keys::LISTENER_ALLOWED_ORIGINS);
    if !texts.is_empty() && !transport.is_websocket() {
        let span = section.key_span_of(&keys::LISTENER_ALLOWED_ORIGINS);
        let finding = findings.error(&span, format!("`{path}` is for `ws` and `wss` only")).label("not used");
        finding.help("remove it, or write transport = \"ws\"");
    }
    for text in texts.iter().filter(|text| !is_origin(text.text)) {
        let finding =
            findings.error(text.span, format!("`{path}` holds what is not an origin")).label("not an origin");
        finding.help("write scheme, host and port as a browser does: \"https://app.example.com\", or \"*\" for every page");
    }
    texts.into_iter().map(|text| text.text.to_ascii_lowercase()).collect()
}

fn is_origin(text: &str) -> bool {
    let is_host = |host: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        !host.is_empty() && host.chars().all(is_plain)
    };
    let after_scheme = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || after_scheme.is_some_and(is_host)
}

fn server_tls(
    listener: &Section<'_>,
    transport: Transport,
    material: &Material,
    findings: &mut Findings,
) -> (Option<Identity>, Vec<Pem>) {
    let section = listener.table(&keys::LISTENER_TLS);
    if !transport.is_secure() {
        if !section.entries().is_empty() {
            let message = format!("`{}` is for `tls` and `wss` only", section.path);
            let finding = findings.error(&section.span, message).label("not encrypted");
            finding.help("write transport = \"tls\" or \"wss\", or remove it");
        }
        return (None, Vec::new());
    }
    if !IdentityKeys::LISTENER.are_written(&section) {
        let message = format!("`{}` has no certificate", listener.path);
        let finding =
            findings.error(&listener.span, message).label("`tls.certificate` and `tls.key` are missing");
        finding.help("write tls = { certificate = \"server.pem\", key = \"server.key\" }");
    }
    let identity = identity::resolve(&section, &IdentityKeys::LISTENER, material, findings);
    (identity, tls::client_authorities(&section, &keys::LISTENER_TLS_CA, material, findings))
}

fn anonymous(
    section: &Section<'_>,
    bind: SocketAddr,
    users: &BTreeMap<String, UserPlan>,
    findings: &mut Findings,
) -> bool {
    let is_loopback = bind.ip().to_canonical().is_loopback();
    match section.flag(&keys::LISTENER_ANONYMOUS) {
        Some(true) if !is_loopback => {
            let path = section.path_of(&keys::LISTENER_ANONYMOUS);
            let message =
                format!("`{path}`: everyone who reaches {bind} may publish and subscribe to everything");
            let finding = findings.warning(&section.span_of(&keys::LISTENER_ANONYMOUS), message);
            finding
                .label("no password is asked for")
                .help("define users under [broker.user.NAME] and remove the key");
            true
        }
        Some(false) if users.is_empty() => {
            nobody(section, "and `anonymous = false` turns the others away", findings);
            false
        }
        Some(written) => written,
        None if is_loopback => users.is_empty(),
        None => {
            if users.is_empty() {
                nobody(section, "and without a name only this machine may connect", findings);
            }
            false
        }
    }
}

fn nobody(section: &Section<'_>, why: &str, findings: &mut Findings) {
    let message = format!("`{}` lets nobody in: no user is defined, {why}", section.path);
    let finding = findings.error(&section.span, message).label("nobody could connect");
    finding.help("define a user under [broker.user.NAME], bind to 127.0.0.1, or write anonymous = true to let everyone in");
}
