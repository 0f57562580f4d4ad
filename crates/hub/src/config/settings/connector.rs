//! The keys of `[connector.NAME]`.

use super::super::plan::{Auth, Durability, Lane, TlsVersion};
use super::super::preset::Preset;
use super::super::setting::{Setting, Shape};
use super::announcement::{
    self, CONNECT_USER_PROPERTIES, REQUEST_PROBLEM_INFORMATION, REQUEST_RESPONSE_INFORMATION,
};
use super::link::{PROXY, TCP_KEEPALIVE};
use super::outbox::OUTBOX;

/// Which kind of endpoint it is.
pub const KIND: Setting = Setting::choice(
    "kind",
    &["mqtt", "local"],
    "mqtt",
    "What the connector is: `mqtt` connects to a broker, `local` is the embedded one and always there as `broker`.",
);

/// Whether it runs.
pub const ENABLED: Setting = Setting::flag("enabled", true, "Whether the connector connects.");

/// Where to connect, as one text.
pub const URL: Setting = Setting::shaped(
    "url",
    Shape::Texts,
    "Where to connect: mqtt://, mqtts://, ws:// or wss:// with host and port (tcp, ssl and tls work too). A list is tried in order; away from its first, the hub returns to that when it is there again.",
);

/// The host, when there is no `url`.
pub const HOST: Setting =
    Setting::optional_text("host", "The broker's name or IP address, instead of `url`.");

/// The port, when there is no `url`.
pub const PORT: Setting =
    Setting::optional_integer("port", 1..=65_535, "1883, 8883 (tls), 80 (ws) or 443 (wss) when not written.");

/// The transport, when there is no `url`.
pub const TRANSPORT: Setting =
    Setting::choice("transport", &["tcp", "tls", "ws", "wss"], "tcp", "What carries the bytes.");

/// The path of the WebSocket upgrade, when there is no `url`.
pub const PATH: Setting = Setting::text("path", "/mqtt", "The path of the WebSocket upgrade.");

/// The version that is offered.
pub const PROTOCOL: Setting = Setting::choice(
    "protocol",
    &["auto", "5.0", "3.1.1", "3.1"],
    "auto",
    "The MQTT version; `auto` starts at 5.0 and steps down when the broker refuses it.",
);

/// The client identifier.
pub const CLIENT_ID: Setting = Setting::optional_text(
    "client_id",
    "The client identifier, unique at the broker; made once and kept otherwise.",
);

/// The user name.
pub const USERNAME: Setting = Setting::optional_text("username", "The user name at the broker.");

/// The password.
pub const PASSWORD: Setting = Setting::shaped("password", Shape::Secret, "The password at the broker.");

/// How it shows who it is.
pub const AUTH: Setting = Setting::choice(
    "auth",
    Auth::WORDS,
    "password",
    "How the connector shows who it is: `password`: user name and password are sent as they are, as far as they are written; \
     `scram-sha-256`: the password stays here, and the broker proves that it knows it too (MQTT 5).",
);

/// What is checked and shown in TLS.
pub const TLS: Setting = Setting::shaped("tls", Shape::Table(TLS_ALL), "TLS, for mqtts:// and wss://.");

/// The trusted authorities.
pub const TLS_CA: Setting = Setting::shaped(
    "ca",
    Shape::Texts,
    "The certificate authorities to trust, as files or inline PEM; `auto` is the system's and the bundled ones; the system's when not written.",
);

/// Our certificate.
pub const TLS_CERTIFICATE: Setting = Setting::optional_text(
    "certificate",
    "Our certificate chain, as a file (PEM, DER, PKCS#7) or inline PEM.",
);

/// The key of our certificate.
pub const TLS_KEY: Setting = Setting::shaped(
    "key",
    Shape::Secret,
    "The private key of the certificate, as a file (PEM, DER) or inline PEM.",
);

/// What is checked.
pub const TLS_VERIFY: Setting = Setting::choice(
    "verify",
    &["full", "chain", "none"],
    "full",
    "What is checked of the broker's certificate; `chain` skips the host name, `none` skips everything.",
);

/// The name to send and check.
pub const TLS_SERVER_NAME: Setting =
    Setting::optional_text("server_name", "The name to ask for and check instead of the host.");

/// The application protocols.
pub const TLS_ALPN: Setting =
    Setting::shaped("alpn", Shape::Texts, "The application protocols to offer, in order (ALPN).");

/// The password of our key.
pub const TLS_KEY_PASSWORD: Setting = Setting::shaped(
    "key_password",
    Shape::Secret,
    "The password of an encrypted key, or of the PKCS#12 file.",
);

/// Our certificate and its key in one file.
pub const TLS_PKCS12: Setting = Setting::shaped(
    "pkcs12",
    Shape::Secret,
    "Our certificate chain with its key as a PKCS#12 file (.p12, .pfx), instead of `certificate` and `key`.",
);

/// The oldest version of TLS.
pub const TLS_MIN_VERSION: Setting =
    Setting::choice("min_version", TlsVersion::WORDS, "1.2", "The oldest TLS version that is spoken.");

const TLS_ALL: &[&Setting] = &[
    &TLS_CA,
    &TLS_CERTIFICATE,
    &TLS_KEY,
    &TLS_VERIFY,
    &TLS_SERVER_NAME,
    &TLS_ALPN,
    &TLS_KEY_PASSWORD,
    &TLS_PKCS12,
    &TLS_MIN_VERSION,
];

/// The WebSocket upgrade.
pub const WEBSOCKET: Setting =
    Setting::shaped("websocket", Shape::Table(&[&WEBSOCKET_HEADERS]), "The WebSocket upgrade.");

/// The headers of the WebSocket upgrade.
pub const WEBSOCKET_HEADERS: Setting =
    Setting::shaped("headers", Shape::Secrets, "HTTP headers that the upgrade carries.");

/// The keep alive.
pub const KEEP_ALIVE_S: Setting = Setting::integer(
    "keep_alive_s",
    0..=65_535,
    60,
    "How many seconds of silence before the connection is tested; 0 turns the test off.",
);

/// The deadline of one try.
pub const CONNECT_TIMEOUT_MS: Setting = Setting::integer(
    "connect_timeout_ms",
    100..=300_000,
    10_000,
    "How long one try may take, from name resolution to the broker's answer.",
);

/// The shortest pause between tries.
pub const RECONNECT_MIN_MS: Setting =
    Setting::integer("reconnect_min_ms", 100..=3_600_000, 1_000, "The shortest pause between two tries.");

/// The longest pause between tries.
pub const RECONNECT_MAX_MS: Setting = Setting::integer(
    "reconnect_max_ms",
    100..=3_600_000,
    30_000,
    "The longest pause between two tries; equal to `reconnect_min_ms` it is a constant period.",
);

/// Whether the broker remembers us.
pub const SESSION: Setting = Setting::optional_choice(
    "session",
    &["durable", "clean"],
    "`durable`: the broker keeps our subscriptions and queued messages while we are away; `clean`: it forgets us at disconnect.",
);

/// How long it does.
pub const SESSION_EXPIRY_S: Setting = Setting::integer(
    "session_expiry_s",
    0..=4_294_967_295,
    604_800,
    "How long the broker keeps a durable session after we are gone (MQTT 5).",
);

/// How much may be in flight to us.
pub const RECEIVE_MAXIMUM: Setting = Setting::integer(
    "receive_maximum",
    1..=65_535,
    1_024,
    "How many QoS 1 and 2 messages the broker may have in flight to us.",
);

/// The largest packet.
pub const MAX_PACKET_BYTES: Setting = Setting::integer(
    "max_packet_bytes",
    1_024..=268_435_460,
    16_777_216,
    "The largest packet that is accepted, in bytes.",
);

/// How many aliases the broker may use.
pub const TOPIC_ALIAS_MAX: Setting = Setting::integer(
    "topic_alias_max",
    0..=65_535,
    16,
    "How many topic aliases the broker may use (MQTT 5).",
);

/// What the broker publishes when the connection dies.
pub const WILL: Setting = Setting::shaped(
    "will",
    Shape::Table(announcement::WILL_ALL),
    "What the broker publishes when our connection dies.",
);

/// What we publish when connected.
pub const BIRTH: Setting =
    Setting::shaped("birth", Shape::Table(announcement::ALL), "What we publish after each connect.");

/// What we publish before we disconnect.
pub const CLOSE: Setting = Setting::shaped(
    "close",
    Shape::Table(announcement::ALL),
    "What we publish before we disconnect, behind everything else: the broker drops the will then.",
);

/// When a message for it counts as kept.
pub const DURABILITY: Setting = Setting::choice(
    "durability",
    Durability::WORDS,
    "synced",
    "When a message for it counts as kept, and so is acknowledged to its source: `synced`: when the disk has it; \
     `written`: when the operating system has it; `memory`: at once, and it is lost with the process.",
);

/// Within what the order of messages is kept.
pub const ORDERING: Setting = Setting::choice(
    "ordering",
    Lane::WORDS,
    "connector",
    "Within what the order of messages is kept when the broker refuses one for the moment: `connector`: everything waits \
     until it is taken; `topic`: only messages of its topic do, and those of others overtake them.",
);

/// How long the broker may acknowledge nothing.
pub const ACK_DEADLINE_MS: Setting = Setting::integer(
    "ack_deadline_ms",
    0..=3_600_000,
    30_000,
    "How long the broker may acknowledge nothing of what it has before the connection is made anew; 0 is for ever.",
);

/// A message of our own that watches the connection.
pub const CANARY: Setting = Setting::shaped(
    "canary",
    Shape::Table(&[&CANARY_TOPIC, &CANARY_INTERVAL_S]),
    "A message of our own that goes to the broker and back: when two in a row do not come, the connection is made anew.",
);

/// Where it goes.
pub const CANARY_TOPIC: Setting = Setting::optional_text(
    "topic",
    "The topic that it is published to, and that no flow gets anything from; `crosspoint/canary/NAME` when not written.",
);

/// How often it goes.
pub const CANARY_INTERVAL_S: Setting =
    Setting::integer("interval_s", 1..=3_600, 30, "How many seconds lie between two.");

/// Ready-made settings of a hosted broker.
pub const PRESET: Setting = Setting::optional_choice(
    "preset",
    Preset::NAMES,
    "Ready-made settings of a hosted broker: they fill in what is not written, and check the rest.",
);

/// Every key of a connector.
pub const ALL: &[&Setting] = &[
    &KIND,
    &ENABLED,
    &PRESET,
    &URL,
    &HOST,
    &PORT,
    &TRANSPORT,
    &PATH,
    &PROTOCOL,
    &CLIENT_ID,
    &USERNAME,
    &PASSWORD,
    &AUTH,
    &TLS,
    &WEBSOCKET,
    &KEEP_ALIVE_S,
    &CONNECT_TIMEOUT_MS,
    &ACK_DEADLINE_MS,
    &RECONNECT_MIN_MS,
    &RECONNECT_MAX_MS,
    &SESSION,
    &SESSION_EXPIRY_S,
    &RECEIVE_MAXIMUM,
    &MAX_PACKET_BYTES,
    &TOPIC_ALIAS_MAX,
    &WILL,
    &BIRTH,
    &CLOSE,
    &CONNECT_USER_PROPERTIES,
    &REQUEST_RESPONSE_INFORMATION,
    &REQUEST_PROBLEM_INFORMATION,
    &PROXY,
    &OUTBOX,
    &DURABILITY,
    &ORDERING,
    &CANARY,
    &TCP_KEEPALIVE,
];
