//! The project as meant: everything resolved and checked, nothing optional that has a default.
//!
//! A [`Plan`] is made by [`parse`](super::parse) or [`load`](super::load) only. Names refer to things that exist,
//! topics are valid, secrets are at hand. No serde here: what is typed lies in `file.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crosspoint_protocol::{QoS, TopicFilter, TopicName, Version};

use super::secret::Secret;
use super::template::Template;

mod announcement;
mod proxy;

pub use announcement::{Announcement, ConnectValues};
pub use proxy::{ProxyKind, ProxyPlan};

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

/// What waits for a connector.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxPlan {
    /// How many bytes of messages may wait; one message always may.
    pub bytes_max: u64,
    /// How many messages may wait.
    pub messages_max: u64,
    /// How long a message may wait before it is dropped.
    pub age_max: Option<Duration>,
    /// What happens when no more may wait.
    pub when_full: WhenFull,
    /// Topics of which only the newest message waits.
    pub keep_latest: Vec<TopicFilter>,
    /// How a message that has waited is told from a fresh one.
    pub replay_mark: Option<ReplayMark>,
    /// How many messages a second leave of what has waited for a connection; `None` is as fast as it goes.
    pub backlog_per_s: Option<u32>,
    /// How often the broker may refuse a message for the moment before it goes to the dead letters.
    pub attempts_max: Option<u32>,
    /// What such a message holds up meanwhile.
    pub lane: Lane,
    /// How many dead letters are kept; the oldest go first.
    pub dead_letters_max: u64,
    /// What is kept of what was sent.
    pub archive: Option<ArchivePlan>,
}

impl Default for OutboxPlan {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            messages_max: u64::MAX,
            age_max: None,
            when_full: WhenFull::Block,
            keep_latest: Vec::new(),
            replay_mark: None,
            backlog_per_s: None,
            attempts_max: Some(100),
            lane: Lane::Connector,
            dead_letters_max: 100_000,
            archive: None,
        }
    }
}

/// What happens when an outbox is full. At QoS 0 the new message is dropped, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// New messages wait at their source.
    #[default]
    Block,
    /// The oldest message is dropped.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
}

impl WhenFull {
    /// The words of the project file.
    pub const WORDS: &'static [&'static str] = &["block", "drop_oldest", "drop_newest"];

    /// Returns what a word means; an unknown one loses nothing.
    pub fn of_word(word: &str) -> Self {
        match word {
            "drop_oldest" => Self::DropOldest,
            "drop_newest" => Self::DropNewest,
            _ => Self::Block,
        }
    }
}

/// Within what the order of messages is kept, and so what one that the broker refuses for the moment holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Everything for the connector.
    #[default]
    Connector,
    /// The messages of one topic; those of others go on.
    Topic,
}

impl Lane {
    /// The words of the project file.
    pub const WORDS: &'static [&'static str] = &["connector", "topic"];

    /// Returns what a word means; an unknown one keeps the stricter order.
    pub fn of_word(word: &str) -> Self {
        match word {
            "topic" => Self::Topic,
            _ => Self::Connector,
        }
    }
}

/// How a message that has waited is told from a fresh one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayMark {
    /// The name of a user property that it gets (MQTT 5), with `true`.
    pub property: Option<String>,
    /// What goes before its topic.
    pub topic_prefix: Option<String>,
    /// How long it must have waited.
    pub after: Duration,
}

/// What is kept of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivePlan {
    /// How many bytes of messages; the oldest go first.
    pub bytes_max: u64,
    /// For how long.
    pub age_max: Option<Duration>,
}

/// One place to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// What carries the bytes.
    pub transport: Transport,
    /// A host name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port, 1 to 65,535.
    pub port: u16,
    /// The path of the WebSocket upgrade; `/` for other transports.
    pub path: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Tcp => "mqtt",
            Transport::Tls => "mqtts",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        };
        let path = if self.transport.is_websocket() { self.path.as_str() } else { "" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}{path}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}{path}", self.host, self.port),
        }
    }
}

/// What carries the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// Tells whether the bytes are encrypted.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Tells whether the bytes travel in WebSocket frames.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Returns the word that the project file uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
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

/// How a client does TLS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientTls {
    /// The certificate authorities that are trusted; empty means those of the system.
    pub ca: Vec<Pem>,
    /// Whether those of the system and those that come with this program are trusted besides `ca`.
    pub trusts_public: bool,
    /// Our certificate with its key.
    pub identity: Option<Identity>,
    /// What is checked of the server's certificate.
    pub verify: Verify,
    /// The name that is sent and checked instead of the host.
    pub server_name: Option<String>,
    /// The application protocols that are offered, in order.
    pub alpn: Vec<String>,
    /// The oldest version of TLS that is spoken.
    pub version_min: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// The words of the project file.
    pub const WORDS: &'static [&'static str] = &["1.2", "1.3"];

    /// Returns what a word means; an unknown one means the default.
    pub fn of_word(word: &str) -> Self {
        if word == "1.3" { Self::V1_3 } else { Self::V1_2 }
    }
}

/// A certificate chain and the key that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The certificate chain, ours first.
    pub certificate: Pem,
    /// The private key of that, as PEM text that is not encrypted, whatever it was read from.
    pub key: Secret,
    /// Where the key came from, for error messages.
    pub key_origin: String,
}

/// PEM text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pem {
    /// The path of the file, the name of the variable, or "the inline text".
    pub origin: String,
    /// The text, whatever form it was read from.
    pub text: String,
}

/// What is checked of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Chain, dates and host name.
    #[default]
    Full,
    /// Chain and dates, but not the host name.
    Chain,
    /// Nothing.
    None,
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

/// The embedded broker.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerPlan {
    /// Every listener by its name.
    pub listeners: BTreeMap<String, ListenerPlan>,
    /// Every user by name; empty means that nobody can sign in by name.
    pub users: BTreeMap<String, UserPlan>,
    /// What clients without a name may do; `None` is everything.
    pub anonymous_rules: Option<Vec<AclRule>>,
    /// The limits that hold for all clients together and for each.
    pub limits: BrokerLimits,
}

/// Where the embedded broker accepts connections.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerPlan {
    /// The address to bind.
    pub bind: SocketAddr,
    /// Whether another port may be taken when this one is in use.
    pub port: PortChoice,
    /// What carries the bytes.
    pub transport: Transport,
    /// The path of the WebSocket upgrade; `/` for other transports.
    pub path: String,
    /// Certificate and key of a TLS or WSS listener.
    pub identity: Option<Identity>,
    /// The authorities of client certificates; empty means that none is asked for.
    pub client_ca: Vec<Pem>,
    /// The oldest version of TLS that is spoken.
    pub version_min: TlsVersion,
    /// Whether a client may connect without a name.
    pub anonymous: bool,
    /// The origins of web pages that may connect besides the listener's own; `*` means every one.
    pub allowed_origins: Vec<String>,
    /// When a message that comes here counts as kept.
    pub durability: Durability,
}

impl ListenerPlan {
    /// Tells whether nothing but the question of anonymous clients differs: that is answered without reopening.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        Self { anonymous: other.anonymous, ..self.clone() } == *other
    }

    /// Tells whether certificates differ, and nothing that calls for reopening: new connections get them.
    pub(crate) fn renews(&self, old: &Self) -> bool {
        let renewed =
            Self { identity: self.identity.clone(), client_ca: self.client_ca.clone(), ..old.clone() };
        let asks_as_before = self.client_ca.is_empty() == old.client_ca.is_empty();
        self.identity.is_some() && asks_as_before && !old.is_same_place(self) && renewed.is_same_place(self)
    }
}

/// Whether a port was chosen by the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// It is a default: when it is taken, a free one is used instead.
    Default,
    /// It was written: when it is taken, that is an error.
    Written,
}

/// Someone who may sign in to the embedded broker.
#[derive(Debug, Clone, PartialEq)]
pub struct UserPlan {
    /// How the password is checked.
    pub password: UserPassword,
    /// What the user may do, all roles together; empty means nothing.
    pub rules: Vec<AclRule>,
}

/// How a user's password is kept.
#[derive(Debug, Clone, PartialEq)]
pub enum UserPassword {
    /// A PHC string of Argon2id.
    Argon2id(Secret),
    /// A hash of Mosquitto's password file.
    Crypted(Secret),
    /// What SCRAM-SHA-256 needs of the password.
    Scram(Secret),
    /// The password itself.
    Plain(Secret),
}

/// One line of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRule {
    /// Whether it grants or denies; a deny wins over every grant.
    pub effect: Effect,
    /// What it is about.
    pub access: Access,
    /// A topic filter in which `%u` stands for the user's name and `%c` for the client identifier.
    pub filter: String,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Denies.
    Deny,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Publishing.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Both.
    Both,
}

/// The limits of the embedded broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerLimits {
    /// How many connections are open at once.
    pub connections_max: u32,
    /// The largest packet that is accepted, in bytes.
    pub packet_bytes_max: u32,
    /// How many messages wait for one session.
    pub session_queue_messages: u32,
    /// How many bytes wait for one session.
    pub session_queue_bytes: u64,
    /// How many messages at QoS 1 and 2 are in flight to one client, 1 to 16,384.
    pub in_flight_max: u16,
    /// The longest time that a session outlives its connection.
    pub session_expiry_max: Duration,
    /// How long wills wait after a start for clients that were connected when the broker went.
    pub will_grace: Duration,
    /// The longest keep alive of an MQTT 5 client; zero allows any.
    pub keep_alive_max: Duration,
}

/// The console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsolePlan {
    /// The address to bind.
    pub bind: SocketAddr,
    /// Whether another port may be taken when this one is in use.
    pub port: PortChoice,
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
