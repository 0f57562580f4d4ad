//! The embedded broker: where it listens, who may sign in and do what, and its limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Durability, Identity, Pem, TlsVersion, Transport};
use crate::config::secret::Secret;

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
    /// The names of the roles, as they are written.
    pub roles: Vec<String>,
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

impl UserPassword {
    /// Returns what is known of the password, in a word.
    pub(crate) const fn kept_as(&self) -> &'static str {
        match self {
            Self::Argon2id(_) => "argon2id",
            Self::Crypted(_) => "mosquitto_passwd",
            Self::Scram(_) => "scram-sha-256",
            Self::Plain(_) => "password",
        }
    }
}

/// One line of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRule {
    /// The name of the role.
    pub role: String,
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
