//! The keys of `[broker]`.

use super::super::plan::{Durability, TlsVersion};
use super::super::setting::{Setting, Shape};

/// Whether it runs.
pub const ENABLED: Setting = Setting::flag("enabled", true, "Whether the embedded broker runs.");

/// Where it listens.
pub const LISTENER: Setting = Setting::shaped(
    "listener",
    Shape::Named(LISTENER_ALL),
    "Where the broker listens; without one, MQTT on 127.0.0.1:1883 and WebSocket on 127.0.0.1:8083.",
);

/// Who may sign in.
pub const USER: Setting =
    Setting::shaped("user", Shape::Named(USER_ALL), "Who may sign in, each under a name.");

/// What users may do.
pub const ROLE: Setting =
    Setting::shaped("role", Shape::Named(ROLE_ALL), "What users may do, each role under a name.");

/// What clients without a name may do.
pub const ANONYMOUS_ROLES: Setting = Setting::shaped(
    "anonymous_roles",
    Shape::Texts,
    "The roles whose rules hold for clients without a name, where a listener lets them in; when not written, they may do everything.",
);

/// How many connections are open at once.
pub const CONNECTIONS_MAX: Setting =
    Setting::integer("connections_max", 1..=10_000_000, 100_000, "How many connections may be open at once.");

/// The largest packet.
pub const PACKET_BYTES_MAX: Setting = Setting::integer(
    "packet_bytes_max",
    1_024..=268_435_460,
    16_777_216,
    "The largest packet that a client may send, in bytes.",
);

/// How many messages wait for one session.
pub const SESSION_QUEUE_MESSAGES: Setting = Setting::integer(
    "session_queue_messages",
    1..=100_000_000,
    1_000_000,
    "How many messages may wait for one session; beyond, the oldest are dropped and counted.",
);

/// How many bytes wait for one session.
pub const SESSION_QUEUE_BYTES: Setting = Setting::integer(
    "session_queue_bytes",
    1_024..=1_099_511_627_776,
    1_073_741_824,
    "How many bytes may wait for one session; beyond, the oldest are dropped and counted.",
);

/// How many messages are on their way to one client.
pub const IN_FLIGHT_MAX: Setting = Setting::integer(
    "in_flight_max",
    1..=16_384,
    1_024,
    "How many QoS 1 and 2 messages may be in flight to one client; 1 sends the next when the last is acknowledged.",
);

/// The longest life of a session without a connection.
pub const SESSION_EXPIRY_MAX_S: Setting = Setting::integer(
    "session_expiry_max_s",
    0..=4_294_967_295,
    2_592_000,
    "How long a session may outlive its connection, whatever the client asks for.",
);

/// How long wills wait after a crash.
pub const WILL_GRACE_S: Setting = Setting::integer(
    "will_grace_s",
    0..=86_400,
    30,
    "How long wills wait after a start for clients that were connected when the broker went; a longer delay of a will holds.",
);

/// The longest keep alive of a client.
pub const KEEP_ALIVE_MAX_S: Setting = Setting::integer(
    "keep_alive_max_s",
    0..=65_535,
    0,
    "The longest keep alive that an MQTT 5 client may have, in seconds; one that asks for more, or for none, is told. \
     0 allows any.",
);

/// When a message counts as kept.
pub const DURABILITY: Setting = Setting::choice(
    "durability",
    Durability::WORDS,
    "synced",
    "When a message counts as kept, and so may be acknowledged: `synced`: when the disk has it; `written`: when the \
     operating system has it; `memory`: at once, and sessions end with the broker.",
);

/// Every key of the broker.
pub const ALL: &[&Setting] = &[
    &ENABLED,
    &LISTENER,
    &USER,
    &ROLE,
    &ANONYMOUS_ROLES,
    &CONNECTIONS_MAX,
    &PACKET_BYTES_MAX,
    &SESSION_QUEUE_MESSAGES,
    &SESSION_QUEUE_BYTES,
    &IN_FLIGHT_MAX,
    &SESSION_EXPIRY_MAX_S,
    &WILL_GRACE_S,
    &KEEP_ALIVE_MAX_S,
    &DURABILITY,
];

/// The address of a listener.
pub const LISTENER_BIND: Setting = Setting::optional_text(
    "bind",
    "The IP address and port to listen on; without a port, 1883 (tcp), 8883 (tls), 8083 (ws) or 8084 (wss).",
);

/// The transport of a listener.
pub const LISTENER_TRANSPORT: Setting =
    Setting::choice("transport", &["tcp", "tls", "ws", "wss"], "tcp", "What carries the bytes.");

/// The path of a WebSocket listener.
pub const LISTENER_PATH: Setting = Setting::text("path", "/mqtt", "The path of the WebSocket upgrade.");

/// The TLS of a listener.
pub const LISTENER_TLS: Setting =
    Setting::shaped("tls", Shape::Table(LISTENER_TLS_ALL), "TLS, for tls and wss.");

/// The certificate of a listener.
pub const LISTENER_TLS_CERTIFICATE: Setting = Setting::optional_text(
    "certificate",
    "The certificate chain, as a file (PEM, DER, PKCS#7) or inline PEM.",
);

/// The key of a listener.
pub const LISTENER_TLS_KEY: Setting = Setting::shaped(
    "key",
    Shape::Secret,
    "The private key of the certificate, as a file (PEM, DER) or inline PEM.",
);

/// The authorities of client certificates.
pub const LISTENER_TLS_CA: Setting = Setting::shaped(
    "ca",
    Shape::Texts,
    "The authorities of client certificates, as files or inline PEM; when written, every client needs one.",
);

/// The password of a listener's key.
pub const LISTENER_TLS_KEY_PASSWORD: Setting = Setting::shaped(
    "key_password",
    Shape::Secret,
    "The password of an encrypted key, or of the PKCS#12 file.",
);

/// The certificate and its key of a listener in one file.
pub const LISTENER_TLS_PKCS12: Setting = Setting::shaped(
    "pkcs12",
    Shape::Secret,
    "The certificate chain with its key as a PKCS#12 file (.p12, .pfx), instead of `certificate` and `key`.",
);

/// The oldest version of TLS of a listener.
pub const LISTENER_TLS_MIN_VERSION: Setting =
    Setting::choice("min_version", TlsVersion::WORDS, "1.2", "The oldest TLS version that is spoken.");

const LISTENER_TLS_ALL: &[&Setting] = &[
    &LISTENER_TLS_CERTIFICATE,
    &LISTENER_TLS_KEY,
    &LISTENER_TLS_KEY_PASSWORD,
    &LISTENER_TLS_PKCS12,
    &LISTENER_TLS_CA,
    &LISTENER_TLS_MIN_VERSION,
];

/// Whether clients need a name.
pub const LISTENER_ANONYMOUS: Setting = Setting::optional_flag(
    "anonymous",
    "Whether clients may connect without a name; when not written, only on loopback and only while no user is defined.",
);

/// Which web pages may connect.
pub const LISTENER_ALLOWED_ORIGINS: Setting = Setting::shaped(
    "allowed_origins",
    Shape::Texts,
    "The origins of web pages that may connect besides the listener's own, such as https://app.example.com; `*` is every one.",
);

/// When a message that comes to a listener counts as kept.
pub const LISTENER_DURABILITY: Setting = Setting::optional_choice(
    "durability",
    Durability::WORDS,
    "When a message that comes here counts as kept; when not written, as `broker.durability` says.",
);

const LISTENER_ALL: &[&Setting] = &[
    &LISTENER_BIND,
    &LISTENER_TRANSPORT,
    &LISTENER_PATH,
    &LISTENER_TLS,
    &LISTENER_ANONYMOUS,
    &LISTENER_ALLOWED_ORIGINS,
    &LISTENER_DURABILITY,
];

/// A user's password.
pub const USER_PASSWORD: Setting = Setting::shaped(
    "password",
    Shape::Secret,
    "The password, as an Argon2id PHC string, for SCRAM (`$scram-sha-256$...`), as a hash that mosquitto_passwd wrote (`$7$...`, `$6$...`), or plain.",
);

/// A user's roles.
pub const USER_ROLES: Setting =
    Setting::shaped("roles", Shape::Texts, "The roles whose rules hold for the user.");

const USER_ALL: &[&Setting] = &[&USER_PASSWORD, &USER_ROLES];

/// What a role grants.
pub const ROLE_ALLOW: Setting = Setting::shaped(
    "allow",
    Shape::Texts,
    "What is granted: `publish`, `subscribe` or `both` and a topic filter; %u is the user, %c the client identifier.",
);

/// What a role denies.
pub const ROLE_DENY: Setting = Setting::shaped(
    "deny",
    Shape::Texts,
    "What is denied, written as in `allow`; a deny wins over every grant.",
);

const ROLE_ALL: &[&Setting] = &[&ROLE_ALLOW, &ROLE_DENY];
