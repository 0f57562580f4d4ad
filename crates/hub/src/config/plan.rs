//! The project as meant: everything resolved and checked, nothing optional that has a default.
//!
//! A [`Plan`] is made by [`parse`](super::parse) or [`load`](super::load) only. Names refer to things that exist,
//! topics are valid, secrets are at hand. No serde here: what is typed lies in `file.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crosspoint_protocol::{QoS, TopicFilter, TopicName, Version};

use super::secret::Secret;
use super::template::Template;

mod address;
mod announcement;
mod bridge_bit;
mod broker;
mod outbox;
mod proxy;
mod tls;

pub use address::{Address, Transport};
pub use announcement::{Announcement, ConnectValues};
pub(crate) use bridge_bit::BridgeWish;
pub use broker::{
    Access, AclRule, BrokerLimits, BrokerPlan, Effect, ListenerPlan, PortChoice, UserPassword, UserPlan,
};
pub use outbox::{ArchivePlan, Lane, OutboxPlan, ReplayMark, WhenFull};
pub use proxy::{ProxyKind, ProxyPlan};
pub use tls::{ClientTls, Identity, Pem, TlsVersion, Verify};

/// The name of the connector that stands for the embedded broker.
pub const BROKER_CONNECTOR: &str = "broker";

/// A configuration that has been checked and resolved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The environment whose overlay was applied.
    pub environment: Option<String>,
    /// Every connector by its name; `broker` is among them unless the embedded broker is disabled.
    pub connectors: BTreeMap<String, ConnectorPlan>,
    /// Every flow by its name.
    pub flows: BTreeMap<String, FlowPlan>,
    /// The embedded broker, or `None` when it is disabled.
    pub broker: Option<BrokerPlan>,
    /// The console, or `None` when it is disabled.
    pub console: Option<ConsolePlan>,
    /// The files that the project refers to and whose content is part of this plan: certificates, keys, passwords.
    pub files: BTreeSet<PathBuf>,
}

impl Plan {
    /// Returns the flows that read from a connector.
    pub fn flows_from<'a>(&'a self, connector: &'a str) -> impl Iterator<Item = (&'a str, &'a FlowPlan)> {
        let flows = self.flows.iter().filter(move |(_, flow)| flow.source.connector == connector);
        flows.map(|(name, flow)| (name.as_str(), flow))
    }

    /// Tells whether a connector exists and is enabled.
    pub fn is_enabled(&self, connector: &str) -> bool {
        match self.connectors.get(connector) {
            Some(ConnectorPlan::Mqtt(mqtt)) => mqtt.enabled,
            Some(ConnectorPlan::Local) => true,
            None => false,
        }
    }

    /// Tells whether a flow can run: every connector it names is enabled.
    pub fn is_runnable(&self, flow: &FlowPlan) -> bool {
        self.is_enabled(&flow.source.connector)
            && flow.sinks.iter().all(|sink| self.is_enabled(&sink.connector))
    }
}

/// A configured endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectorPlan {
    /// A client of a remote broker.
    Mqtt(Box<MqttPlan>),
    /// The embedded broker, reached without a socket.
    Local,
}

/// A connector of kind `mqtt`.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttPlan {
    /// Whether it connects at all.
    pub enabled: bool,
    /// Where to connect, in the order of failover; never empty.
    pub addresses: Vec<Address>,
    /// Which version of the protocol is offered.
    pub protocol: Protocol,
    /// The client identifier, or `None`: the hub makes one.
    pub client_id: Option<String>,
    /// The user name of CONNECT.
    pub username: Option<String>,
    /// The password, in CONNECT or as `auth` says.
    pub password: Option<Secret>,
    /// How user name and password are shown.
    pub auth: Auth,
    /// Used by addresses whose transport is TLS or WSS.
    pub tls: ClientTls,
    /// The headers of the WebSocket upgrade, in the order of their names.
    pub websocket_headers: Vec<(String, Secret)>,
    /// The proxy to go through.
    pub proxy: Option<ProxyPlan>,
    /// After how much silence the operating system tests the connection.
    pub tcp_keepalive: Option<Duration>,
    /// The keep alive; zero means off, which no connector that listens has.
    pub keep_alive: Duration,
    /// The deadline of one try, from name resolution to CONNACK.
    pub connect_timeout: Duration,
    /// How long the broker may acknowledge nothing of what it has; zero means for ever.
    pub ack_deadline: Duration,
    /// The message of our own that watches the connection.
    pub canary: Option<CanaryPlan>,
    /// The shortest pause between two tries.
    pub reconnect_min: Duration,
    /// The longest pause between two tries, at least `reconnect_min`.
    pub reconnect_max: Duration,
    /// Whether the broker keeps our session while we are away.
    pub session: SessionKind,
    /// How long it is to keep a durable session (MQTT 5).
    pub session_expiry: Duration,
    /// How many QoS 1 and 2 messages may be in flight to us, 1 to 65,535.
    pub receive_maximum: u16,
    /// The largest packet that is accepted, in bytes.
    pub packet_bytes_max: u32,
    /// How many topic aliases the broker may use (MQTT 5).
    pub topic_alias_max: u16,
    /// What the broker publishes for us when the connection dies.
    pub will: Option<Announcement>,
    /// How long it waits before it does (MQTT 5).
    pub will_delay: Duration,
    /// What is published after each successful connect.
    pub birth: Option<Announcement>,
    /// What is published before a clean disconnect.
    pub close: Option<Announcement>,
    /// What CONNECT says and asks beside the rest (MQTT 5).
    pub properties: ConnectValues,
    /// When a message for it counts as kept.
    pub durability: Durability,
    /// What waits for it, and what becomes of what cannot.
    pub outbox: OutboxPlan,
}

/// Which version a connector offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Starts at 5.0 and steps down when the broker refuses it.
    Auto,
    /// This version and no other.
    Only(Version),
}

/// How a connector shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// User name and password are sent as they are.
    #[default]
    Password,
    /// SCRAM-SHA-256: only with MQTT 5, and with user name and password.
    ScramSha256,
}

impl Auth {
    /// The words of the project file.
    pub(super) const WORDS: &[&str] = &["password", "scram-sha-256"];

    /// Returns what a word stands for.
    pub(super) fn of_word(word: &str) -> Self {
        if word == "scram-sha-256" { Self::ScramSha256 } else { Self::Password }
    }
}

/// When a message counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the disk has it: it survives a loss of power.
    #[default]
    Synced,
    /// When the operating system has it: it survives the end of the process.
    Written,
    /// When the process has it.
    Memory,
}

impl Durability {
    /// The words of the project file, strongest first.
    pub const WORDS: &'static [&'static str] = &["synced", "written", "memory"];

    /// Returns what a word means; an unknown one means the strongest.
    pub fn of_word(word: &str) -> Self {
        match word {
            "memory" => Self::Memory,
            "written" => Self::Written,
            _ => Self::Synced,
        }
    }
}

/// Whether a broker remembers us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// It keeps our subscriptions and queued messages while we are away.
    Durable,
    /// It forgets us at disconnect.
    Clean,
}

/// A message of our own that goes to a broker and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryPlan {
    /// Where it is published and subscribed.
    pub topic: TopicName,
    /// How long lies between two.
    pub interval: Duration,
}

/// From one source to sinks.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowPlan {
    /// Where messages come from.
    pub source: SourcePlan,
    /// Where they go; never empty.
    pub sinks: Vec<SinkPlan>,
    /// Whether a cycle through this flow is wanted.
    pub loops: Loops,
}

/// Whether a flow may be part of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loops {
    /// A cycle of overlapping topics is refused.
    Refused,
    /// `allow_loop = true` was written.
    Allowed,
}

/// The reading side of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    /// The name of a connector of the plan.
    pub connector: String,
    /// What is subscribed to; never empty.
    pub topics: Vec<TopicFilter>,
    /// With which QoS.
    pub qos: QoS,
}

/// One writing side of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkPlan {
    /// The name of a connector of the plan.
    pub connector: String,
    /// Makes the topic of each message.
    pub topic: Template,
    /// The QoS, or `None`: as the message came.
    pub qos: Option<QoS>,
    /// The retain flag, or `None`: as the message came.
    pub retain: Option<bool>,
}

/// The console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsolePlan {
    /// The address to bind.
    pub bind: SocketAddr,
    /// Whether another port may be taken when this one is in use.
    pub port: PortChoice,
}
