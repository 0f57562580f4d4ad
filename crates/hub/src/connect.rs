//! From a connector of the plan to the options of a client.

use std::time::Duration;

use crosspoint_client::{
    Authentication, ClientOptions, DialOptions, InvalidPublication, Password, Pem, Protocol, Publication,
    SessionKeeping, TlsClientOptions, TlsVersion, Transport, Verify, Will, WillProperties,
};
use crosspoint_net::{Proxy, ProxyKind};
use crosspoint_protocol::Version;

use crate::actions;
use crate::config::plan;

/// Returns the options of a client for a connector, under the client identifier that is written, or `made_up`.
pub fn client_options(mqtt: &plan::MqttPlan, made_up: &str) -> ClientOptions {
    let mut options = ClientOptions::default()
        .protocol(protocol(mqtt.protocol))
        .client_id(client_id(mqtt, made_up))
        .authentication(authentication(mqtt.auth))
        .keep_alive_s(seconds_u16(mqtt.keep_alive))
        .connect_timeout_ms(millis(mqtt.connect_timeout))
        .ack_deadline_ms(millis(mqtt.ack_deadline))
        .reconnect_ms(millis(mqtt.reconnect_min), millis(mqtt.reconnect_max))
        .session(session(mqtt.session))
        .session_expiry_s(u32::try_from(mqtt.session_expiry.as_secs()).unwrap_or(u32::MAX))
        .receive_maximum(mqtt.receive_maximum)
        .packet_bytes_max(mqtt.packet_bytes_max)
        .topic_alias_max(mqtt.topic_alias_max);
    for address in &mqtt.addresses {
        options = options.server(dial_options(mqtt, address));
    }
    if let Some(canary) = &mqtt.canary {
        options = options.canary(canary.topic.clone(), millis(canary.interval));
    }
    if let Some(username) = &mqtt.username {
        options = options.username(username.clone());
    }
    if let Some(password) = &mqtt.password {
        options = options.password(Password::new(password.expose().to_vec()));
    }
    if let Some(will) = &mqtt.will {
        options = options.will(self::will(will, mqtt.will_delay));
    }
    connect_properties(options, &mqtt.properties)
}

/// Returns the publication that an announcement is.
///
/// # Errors
/// A property cannot be sent.
pub(crate) fn publication(announcement: &plan::Announcement) -> Result<Publication, InvalidPublication> {
    let publication = Publication::to_topic(announcement.topic.clone(), announcement.payload.clone());
    publication.qos(announcement.qos).retain(announcement.retain).properties(&announcement.properties)
}

fn will(will: &plan::Announcement, delay: Duration) -> Will {
    let said = will.properties.clone();
    Will {
        topic: will.topic.clone(),
        payload: will.payload.clone().into(),
        qos: will.qos,
        retain: will.retain,
        properties: WillProperties {
            delay_s: u32::try_from(delay.as_secs()).ok().filter(|seconds| *seconds > 0),
            payload_is_utf8: said.payload_is_utf8,
            message_expiry_s: said.message_expiry_s,
            content_type: said.content_type,
            response_topic: said.response_topic,
            correlation_data: said.correlation_data,
            user_properties: said.user_properties,
        },
    }
}

fn connect_properties(mut options: ClientOptions, values: &plan::ConnectValues) -> ClientOptions {
    for (name, value) in &values.user_properties {
        options = options.user_property(name, value);
    }
    if values.asks_response_information {
        options = options.ask_response_information();
    }
    if !values.asks_problem_information {
        options = options.decline_problem_information();
    }
    options
}

/// Returns the options of a client that visits a connector's broker beside the connector: with its login, and without its
/// client identifier, session and announcements, so that a hub that runs is not disturbed.
pub fn visiting_options(mqtt: &plan::MqttPlan) -> ClientOptions {
    client_options(&actions::of_stored(mqtt.clone()), "")
}

/// Returns how to reach one of a connector's addresses.
pub fn dial_options(mqtt: &plan::MqttPlan, address: &plan::Address) -> DialOptions {
    let mut dial = DialOptions::new(transport(address.transport), address.host.clone(), address.port)
        .connect_timeout(mqtt.connect_timeout);
    if let Some(proxy) = &mqtt.proxy {
        dial = dial.proxy(self::proxy(proxy));
    }
    if let Some(idle) = mqtt.tcp_keepalive {
        dial = dial.tcp_keepalive(idle);
    }
    if address.transport.is_secure() {
        dial = dial.tls(tls(&mqtt.tls));
    }
    if address.transport.is_websocket() {
        dial = dial.path(address.path.clone());
        for (name, value) in &mqtt.websocket_headers {
            dial = dial.ws_header(name.clone(), value.expose_text().unwrap_or_default());
        }
    }
    dial
}

fn proxy(plan: &plan::ProxyPlan) -> Proxy {
    let kind = match plan.kind {
        plan::ProxyKind::Http => ProxyKind::Http,
        plan::ProxyKind::Socks5 => ProxyKind::Socks5,
        plan::ProxyKind::Socks5Hostname => ProxyKind::Socks5Hostname,
    };
    let proxy = Proxy::new(kind, plan.host.clone(), plan.port);
    match &plan.login {
        Some((username, password)) => {
            proxy.login(username.clone(), password.expose_text().unwrap_or_default())
        }
        None => proxy,
    }
}

/// Returns the client identifier of a connector: what is written, or `made_up`.
pub(crate) fn client_id(mqtt: &plan::MqttPlan, made_up: &str) -> String {
    mqtt.client_id.clone().unwrap_or_else(|| made_up.to_owned())
}

fn tls(tls: &plan::ClientTls) -> TlsClientOptions {
    let options = TlsClientOptions::default().version_min(tls_version(tls.version_min));
    let mut options = options.verify(match tls.verify {
        plan::Verify::Full => Verify::Full,
        plan::Verify::Chain => Verify::Chain,
        plan::Verify::None => Verify::None,
    });
    if tls.trusts_public {
        options = options.public_authorities();
    }
    for authority in &tls.ca {
        options = options.authority(Pem::inline(authority.text.clone()));
    }
    if let Some(identity) = &tls.identity {
        let key = identity.key.expose_text().unwrap_or_default();
        options = options.identity(Pem::inline(identity.certificate.text.clone()), Pem::inline(key));
    }
    if let Some(name) = &tls.server_name {
        options = options.server_name(name.clone());
    }
    tls.alpn.iter().fold(options, |options, protocol| options.alpn(protocol.clone()))
}

pub(crate) const fn tls_version(version: plan::TlsVersion) -> TlsVersion {
    match version {
        plan::TlsVersion::V1_2 => TlsVersion::V1_2,
        plan::TlsVersion::V1_3 => TlsVersion::V1_3,
    }
}

fn transport(transport: plan::Transport) -> Transport {
    match transport {
        plan::Transport::Tcp => Transport::Tcp,
        plan::Transport::Tls => Transport::Tls,
        plan::Transport::Ws => Transport::Ws,
        plan::Transport::Wss => Transport::Wss,
    }
}

fn protocol(protocol: plan::Protocol) -> Protocol {
    match protocol {
        plan::Protocol::Auto => Protocol::Auto,
        plan::Protocol::Only(Version::V5) => Protocol::V5,
        plan::Protocol::Only(Version::V3_1_1) => Protocol::V3_1_1,
        plan::Protocol::Only(Version::V3_1) => Protocol::V3_1,
    }
}

const fn authentication(auth: plan::Auth) -> Authentication {
    match auth {
        plan::Auth::Password => Authentication::Password,
        plan::Auth::ScramSha256 => Authentication::ScramSha256,
    }
}

const fn session(kind: plan::SessionKind) -> SessionKeeping {
    match kind {
        plan::SessionKind::Durable => SessionKeeping::Durable,
        plan::SessionKind::Clean => SessionKeeping::Clean,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn seconds_u16(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn what_watches_the_link_arrives_at_the_client() {
        let text = "[connector.a]\nurl = \"mqtt://h\"\nack_deadline_ms = 1500\ncanary = { interval_s = 5 }\n";
        let (plan, _) = parse(text, "crosspoint.toml", None).unwrap();
        let plan::ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!() };
        let shown = format!("{:?}", client_options(mqtt, "me"));
        assert!(shown.contains("ack_deadline_ms: 1500"), "{shown}");
        assert!(shown.contains("canary: Some(Canary { topic: \"crosspoint/canary/a\""), "{shown}");
        assert!(shown.contains("interval_ms: 5000"), "{shown}");
    }
}
