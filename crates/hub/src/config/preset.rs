//! Ready-made settings of hosted brokers: `preset = "NAME"` in a connector.
//!
//! A preset is laid *under* what is written: [`fill`] adds the keys that the connector does not have, at the place of
//! the preset's name, so that everything behind it reads them like any other. What a preset knows and cannot fill in
//! (credentials, limits of the broker) is held against the plan by `resolve/preset.rs`. The facts are in
//! `docs/guide/presets.md`, with their sources.

use super::file::{Entry, Item, Table, Value};
use super::setting::Setting;
use super::settings::{self, connector as keys};

/// What is known of a hosted broker.
#[derive(Debug)]
pub struct Preset {
    /// The word of the project file.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Its host, or an example of what the user must write.
    pub host: Host,
    /// The transports that it offers, the first one unless another is written.
    pub offers: &'static [Offer],
    /// The only version that it speaks, where it is one.
    pub protocol: Option<&'static str>,
    /// What it asks of whoever connects.
    pub credentials: Credentials,
    /// The longest keep alive that it takes, in seconds.
    pub keep_alive_s_max: u16,
    /// The highest QoS that it takes, 1 or 2.
    pub qos_max: u8,
}

/// Where a hosted broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// At the same place for everybody.
    Fixed(&'static str),
    /// At a place of one's own, such as this one.
    Own(&'static str),
}

/// A transport of a hosted broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The word of `transport`.
    pub transport: &'static str,
    /// Its port, or `None`: each customer has another.
    pub port: Option<i64>,
    /// The path of the WebSocket upgrade.
    pub path: Option<&'static str>,
}

/// What a hosted broker asks of whoever connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A user name and a password.
    Password,
    /// A client certificate, or a user name and a password where the account is set up for that.
    Certificate,
}

const fn tcp(port: i64) -> Offer {
    Offer { transport: "tcp", port: Some(port), path: None }
}

const fn tls(port: i64) -> Offer {
    Offer { transport: "tls", port: Some(port), path: None }
}

const fn ws(port: i64, path: &'static str) -> Offer {
    Offer { transport: "ws", port: Some(port), path: Some(path) }
}

const fn wss(port: i64, path: &'static str) -> Offer {
    Offer { transport: "wss", port: Some(port), path: Some(path) }
}

/// What most brokers are like.
const ANY: Preset = Preset {
    name: "",
    title: "",
    host: Host::Own(""),
    offers: &[],
    protocol: None,
    credentials: Credentials::Password,
    keep_alive_s_max: u16::MAX,
    qos_max: 2,
};

const AWS_IOT_CORE: &str = "aws-iot-core";

/// The port at which AWS IoT Core tells protocols apart by ALPN.
const AWS_ALPN_PORT: i64 = 443;

/// Every preset there is.
const ALL: &[Preset] = &[
    Preset {
        name: "hivemq-cloud",
        title: "HiveMQ Cloud",
        host: Host::Own("abc123.s1.eu.hivemq.cloud"),
        offers: &[tls(8883), wss(8884, "/mqtt")],
        ..ANY
    },
    Preset {
        name: "cloudmqtt",
        title: "CloudMQTT",
        host: Host::Own("m20.cloudmqtt.com"),
        offers: &[
            Offer { transport: "tls", port: None, path: None },
            Offer { transport: "tcp", port: None, path: None },
            Offer { transport: "wss", port: None, path: Some("/mqtt") },
        ],
        protocol: Some("3.1.1"),
        ..ANY
    },
    Preset {
        name: "emqx-cloud",
        title: "EMQX Cloud",
        host: Host::Own("abc123.ala.eu-central-1.emqxsl.com"),
        offers: &[tls(8883), wss(8084, "/mqtt")],
        ..ANY
    },
    Preset {
        name: AWS_IOT_CORE,
        title: "AWS IoT Core",
        host: Host::Own("abc123-ats.iot.eu-central-1.amazonaws.com"),
        offers: &[tls(AWS_ALPN_PORT), wss(443, "/mqtt")],
        credentials: Credentials::Certificate,
        keep_alive_s_max: 1_200,
        qos_max: 1,
        ..ANY
    },
    Preset {
        name: "azure-event-grid",
        title: "Azure Event Grid",
        host: Host::Own("abc123.westeurope-1.ts.eventgrid.azure.net"),
        offers: &[tls(8883), wss(443, "/mqtt")],
        credentials: Credentials::Certificate,
        keep_alive_s_max: 1_160,
        qos_max: 1,
        ..ANY
    },
    Preset {
        name: "test.mosquitto.org",
        title: "test.mosquitto.org",
        host: Host::Fixed("test.mosquitto.org"),
        offers: &[tls(8886), tcp(1883), ws(8080, "/mqtt"), wss(8081, "/mqtt")],
        credentials: Credentials::None,
        ..ANY
    },
    Preset {
        name: "broker.hivemq.com",
        title: "broker.hivemq.com",
        host: Host::Fixed("broker.hivemq.com"),
        offers: &[tls(8883), tcp(1883), ws(8000, "/mqtt"), wss(8884, "/mqtt")],
        credentials: Credentials::None,
        ..ANY
    },
    Preset {
        name: "home-assistant",
        title: "the Mosquitto add-on of Home Assistant",
        host: Host::Fixed("homeassistant.local"),
        offers: &[tcp(1883), tls(8883), ws(1884, "/mqtt"), wss(8884, "/mqtt")],
        ..ANY
    },
];

impl Preset {
    /// The words of the project file.
    pub const NAMES: &'static [&'static str] = &{
        let mut names = [""; ALL.len()];
        let mut at = 0;
        while at < ALL.len() {
            #[expect(
                clippy::indexing_slicing,
                reason = "evaluated by the compiler, which refuses an index out of bounds"
            )]
            {
                names[at] = ALL[at].name;
            }
            at += 1;
        }
        names
    };

    /// Returns the preset with a name.
    pub fn of_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|preset| preset.name == name)
    }

    /// Returns what it offers over a transport, or over the first one when none is named.
    pub fn offer(&self, transport: Option<&str>) -> Option<&Offer> {
        match transport {
            Some(word) => self.offers.iter().find(|offer| offer.transport == word),
            None => self.offers.first(),
        }
    }
}

/// Adds what presets say to the connectors that name one and do not say it themselves.
pub(super) fn fill(root: &mut Table) {
    let Some(connectors) = table_in(root, settings::CONNECTOR.key) else { return };
    for entry in &mut connectors.entries {
        let Value::Table(connector) = &mut entry.item.value else { continue };
        let Some((preset, item)) = preset_of(connector) else { continue };
        fill_connector(connector, preset, &item);
    }
}

/// Returns the preset that a connector names, and where.
fn preset_of(connector: &Table) -> Option<(&'static Preset, Item)> {
    let item = &connector.entry(keys::PRESET.key)?.item;
    match &item.value {
        Value::Text(name) => Some((Preset::of_name(name)?, item.clone())),
        _ => None,
    }
}

fn fill_connector(connector: &mut Table, preset: &Preset, at: &Item) {
    let text = |text: &str| Value::Text(text.to_owned());
    if let Some(protocol) = preset.protocol {
        add(connector, &keys::PROTOCOL, text(protocol), at);
    }
    // A URL says the whole place.
    if connector.entry(keys::URL.key).is_some() {
        return;
    }
    if let Host::Fixed(host) = preset.host {
        add(connector, &keys::HOST, text(host), at);
    }
    let Some(offer) = preset.offer(text_in(connector, &keys::TRANSPORT)) else { return };
    add(connector, &keys::TRANSPORT, text(offer.transport), at);
    if let Some(port) = offer.port {
        add(connector, &keys::PORT, Value::Integer(Some(port)), at);
    }
    if let Some(path) = offer.path {
        add(connector, &keys::PATH, text(path), at);
    }
    if preset.name == AWS_IOT_CORE && offer.transport == "tls" {
        fill_aws_alpn(connector, at);
    }
}

/// At its port 443 AWS IoT Core finds the protocol by ALPN: one name with a client certificate, another with a password.
fn fill_aws_alpn(connector: &mut Table, at: &Item) {
    let is_alpn_port = connector
        .entry(keys::PORT.key)
        .is_some_and(|entry| entry.item.value == Value::Integer(Some(AWS_ALPN_PORT)));
    if !is_alpn_port {
        return;
    }
    let has_password = connector.entry(keys::PASSWORD.key).is_some();
    add(connector, &keys::TLS, Value::Table(Table::default()), at);
    let Some(tls) = table_in(connector, keys::TLS.key) else { return };
    let has_certificate = tls
        .entries
        .iter()
        .any(|entry| [keys::TLS_CERTIFICATE.key, keys::TLS_PKCS12.key].contains(&entry.key.as_str()));
    let name = if has_password && !has_certificate { "mqtt" } else { "x-amzn-mqtt-ca" };
    add(tls, &keys::TLS_ALPN, Value::Text(name.to_owned()), at);
}

fn add(table: &mut Table, setting: &Setting, value: Value, at: &Item) {
    if table.entry(setting.key).is_some() {
        return;
    }
    let item = Item { span: at.span.clone(), value };
    table.entries.push(Entry { key: setting.key.to_owned(), key_span: at.span.clone(), item });
}

fn table_in<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Table> {
    match &mut table.entries.iter_mut().find(|entry| entry.key == key)?.item.value {
        Value::Table(inner) => Some(inner),
        _ => None,
    }
}

fn text_in<'a>(table: &'a Table, setting: &Setting) -> Option<&'a str> {
    match &table.entry(setting.key)?.item.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
