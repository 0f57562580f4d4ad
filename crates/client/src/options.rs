//! What a client is asked to do: one value, checked once, when the client starts.

mod check;
mod watch;

use crosspoint_net::DialOptions;
use crosspoint_protocol::{
    TopicFilter, Version,
    limits::PACKET_BYTES_DEFAULT,
    packet::{
        Connect, ConnectProperties, Login, SubscribedFilter, SubscriptionOptions, UserProperties, Will,
    },
    scram::METHOD,
};

use crate::{Authentication, Password, canary::Canary};

/// How many messages are in flight to a server of MQTT 5, which says if it takes fewer.
const IN_FLIGHT_MAX: u16 = 1_024;

/// How many are in flight to a server of an earlier version, which cannot say it.
const IN_FLIGHT_MAX_BEFORE_V5: u16 = 20;

/// Which version of the protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// The highest that the server speaks.
    ///
    /// It starts at 5.0 and steps down only when the server says "unsupported version", or closes twice without a
    /// CONNACK while the transport is fine. What worked is remembered; once a day 5.0 is tried again, and once a minute
    /// after silent closes alone led down; never while an exchange at QoS 2 is open.
    #[default]
    Auto,
    /// 5.0 only.
    V5,
    /// 3.1.1 only.
    V3_1_1,
    /// 3.1 only.
    V3_1,
}

impl Protocol {
    pub(crate) const fn fixed(self) -> Option<Version> {
        match self {
            Self::Auto => None,
            Self::V5 => Some(Version::V5),
            Self::V3_1_1 => Some(Version::V3_1_1),
            Self::V3_1 => Some(Version::V3_1),
        }
    }
}

/// Whether CONNECT of MQTT 3.1 and 3.1.1 has the bridge bit: the high bit of the protocol level, by which mosquitto, EMQX,
/// VerneMQ and Crosspoint know a bridge.
///
/// A server that takes it sends live messages with their retain flag, as with Retain As Published of MQTT 5, and nothing
/// that we have published ourselves, as with No Local. MQTT 5 has no such bit, and options for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BridgeBit {
    /// It is left out.
    #[default]
    Never,
    /// It is tried where an earlier version than 5.0 is spoken, and left out at once where the server refuses it, closes
    /// or says nothing.
    ///
    /// What worked is remembered like the version; a day later the bit is tried again when a new connection is made.
    Try,
}

/// Whether the server keeps our subscriptions and queued messages while we are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionKeeping {
    /// The server keeps them, for `session_expiry_s`.
    Durable,
    /// The server forgets us at disconnect.
    #[default]
    Clean,
}

/// What a client is asked to do.
///
/// Limits are checked when the client starts; a value out of bounds is an error there, never changed silently.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub(crate) servers: Vec<DialOptions>,
    pub(crate) protocol: Protocol,
    pub(crate) bridge_bit: BridgeBit,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Password>,
    pub(crate) authentication: Authentication,
    pub(crate) keep_alive_s: u16,
    pub(crate) ping_timeout_ms: u64,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) ack_deadline_ms: u64,
    canary: Option<Canary>,
    pub(crate) reconnect_min_ms: u64,
    pub(crate) reconnect_max_ms: u64,
    pub(crate) session: SessionKeeping,
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_max: u16,
    in_flight_max: Option<u16>,
    pub(crate) publish_queue_max: usize,
    pub(crate) delivery_queue_max: usize,
    pub(crate) delivery_queue_bytes_max: usize,
    pub(crate) redelivery_min_ms: u64,
    pub(crate) redelivery_max_ms: u64,
    pub(crate) will: Option<Will>,
    pub(crate) user_properties: UserProperties,
    asks_response_information: bool,
    asks_problem_information: bool,
    pub(crate) subscriptions: Vec<SubscribedFilter>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            protocol: Protocol::Auto,
            bridge_bit: BridgeBit::Never,
            client_id: String::new(),
            username: None,
            password: None,
            authentication: Authentication::Password,
            keep_alive_s: 60,
            ping_timeout_ms: 10_000,
            connect_timeout_ms: 10_000,
            ack_deadline_ms: 30_000,
            canary: None,
            reconnect_min_ms: 1_000,
            reconnect_max_ms: 30_000,
            session: SessionKeeping::Clean,
            session_expiry_s: 7 * 24 * 3_600,
            receive_maximum: 1_024,
            packet_bytes_max: PACKET_BYTES_DEFAULT,
            topic_alias_max: 16,
            in_flight_max: None,
            publish_queue_max: 1_024,
            delivery_queue_max: 4_096,
            delivery_queue_bytes_max: 64 << 20,
            redelivery_min_ms: 100,
            redelivery_max_ms: 30_000,
            will: None,
            user_properties: Vec::new(),
            asks_response_information: false,
            asks_problem_information: true,
            subscriptions: Vec::new(),
        }
    }
}

impl ClientOptions {
    /// Adds a server. Several are tried in the order in which they were added, each without a wait after the one
    /// before; after a lost connection it starts at the first again. Default: none; at least one is needed.
    ///
    /// While connected to another than the first, the client opens a stream to the first now and then, without a
    /// CONNECT, and if that opens it ends its connection in order and connects to the first
    /// ([`Cause::ReturnToFirst`](crate::Cause::ReturnToFirst)), never while an exchange at QoS 2 is open. It looks first
    /// after the longest wait between attempts ([`reconnect_ms`](Self::reconnect_ms)), at least 10 seconds, to twice
    /// that: no more often than a server that is away is dialled anyway. While the first is not there, or is but refuses CONNECT, that
    /// pause doubles to five to ten minutes, so that a server which only listens interrupts no more often.
    #[must_use]
    pub fn server(mut self, server: DialOptions) -> Self {
        self.servers.push(server);
        self
    }

    /// Sets which version is spoken. Default: [`Protocol::Auto`].
    #[must_use]
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets whether the bridge bit is tried. Default: [`BridgeBit::Never`]. With a [canary](Self::canary) it never is: the
    /// canary would not come back. A client that runs hears otherwise by
    /// [`Client::set_bridge_bit`](crate::Client::set_bridge_bit).
    #[must_use]
    pub const fn bridge_bit(mut self, bridge_bit: BridgeBit) -> Self {
        self.bridge_bit = bridge_bit;
        self
    }

    /// Sets the client identifier: at most 65,535 bytes, 23 with MQTT 3.1. Default: a random one, which only a clean
    /// session may have. Two clients of a server with the same identifier throw each other out.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Sets the user name: at most 65,535 bytes. Default: none.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password: at most 65,535 bytes. Default: none. Without a user name only MQTT 5 can carry it.
    #[must_use]
    pub fn password(mut self, password: impl Into<Password>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets how the client shows who it is. Default: [`Authentication::Password`]. SCRAM needs user name and password, and
    /// MQTT 5.
    #[must_use]
    pub const fn authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// Sets after how many seconds of silence in either direction the client pings: 0 to 65,535. Default: 60.
    /// 0 is off: then a dead connection is seen only when something is sent.
    #[must_use]
    pub const fn keep_alive_s(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    /// Sets how many milliseconds a ping may stay unanswered before the connection counts as dead: 100 to 300,000.
    /// Default: 10,000.
    #[must_use]
    pub const fn ping_timeout_ms(mut self, ms: u64) -> Self {
        self.ping_timeout_ms = ms;
        self
    }

    /// Sets how many milliseconds may pass from dialling to CONNACK: 100 to 300,000. Default: 10,000.
    #[must_use]
    pub const fn connect_timeout_ms(mut self, ms: u64) -> Self {
        self.connect_timeout_ms = ms;
        self
    }

    /// Sets the shortest and the longest wait between attempts, in milliseconds: 10 to 3,600,000. Default: 1,000 and
    /// 30,000. Between them waits grow with decorrelated jitter; equal values give a constant wait.
    #[must_use]
    pub const fn reconnect_ms(mut self, min: u64, max: u64) -> Self {
        self.reconnect_min_ms = min;
        self.reconnect_max_ms = max;
        self
    }

    /// Sets whether the server keeps the session while we are away. Default: [`SessionKeeping::Clean`].
    #[must_use]
    pub const fn session(mut self, session: SessionKeeping) -> Self {
        self.session = session;
        self
    }

    /// Sets for how many seconds a durable session outlives a connection (MQTT 5). Default: 7 days. `u32::MAX` is
    /// for ever. 3.1 and 3.1.1 cannot say it: there the server decides.
    #[must_use]
    pub const fn session_expiry_s(mut self, seconds: u32) -> Self {
        self.session_expiry_s = seconds;
        self
    }

    /// Sets how many messages at QoS 1 and 2 may be delivered and not yet decided: 1 to 65,535. Default: 1,024.
    ///
    /// It is announced to MQTT 5 servers. Where a server sends more, as 3.1 and 3.1.1 cannot forbid, reading pauses
    /// beyond that number, as long as nothing of ours waits for an answer.
    #[must_use]
    pub const fn receive_maximum(mut self, count: u16) -> Self {
        self.receive_maximum = count;
        self
    }

    /// Sets the largest packet that is accepted, in bytes: 1,024 to 268,435,460. Default: 16 MiB. A larger one ends
    /// the connection.
    #[must_use]
    pub const fn packet_bytes_max(mut self, bytes: u32) -> Self {
        self.packet_bytes_max = bytes;
        self
    }

    /// Sets the highest Topic Alias, in both directions (MQTT 5). Default: 16. 0 is none.
    #[must_use]
    pub const fn topic_alias_max(mut self, highest: u16) -> Self {
        self.topic_alias_max = highest;
        self
    }

    /// Sets how many messages at QoS 1 and 2 are in flight to the server at once, if it accepts as many: 1 to
    /// 16,000. Default: 1,024 with MQTT 5, and 20 before, where a server cannot say how many it takes: mosquitto takes
    /// 20 at QoS 2 by default, acknowledges those beyond and forgets them. 1 keeps the order even when a message is
    /// refused and sent again.
    #[must_use]
    pub const fn in_flight_max(mut self, count: u16) -> Self {
        self.in_flight_max = Some(count);
        self
    }

    /// Sets how many publications may wait in the queue to the engine before `publish` waits: 1 to 1,000,000.
    /// Default: 1,024. It costs memory for the messages that wait.
    #[must_use]
    pub const fn publish_queue_max(mut self, count: usize) -> Self {
        self.publish_queue_max = count;
        self
    }

    /// Sets how many messages, and how many bytes of them, may wait to be taken from [`Deliveries`](crate::Deliveries):
    /// 1 to 1,000,000 messages, 1 KiB to 16 GiB. Default: 4,096 and 64 MiB.
    ///
    /// When it is full, the client reads no more, unless it waits for an answer itself: then a message at QoS 0 is
    /// dropped and counted, and at twice the bytes the connection ends (a durable session sends them again).
    #[must_use]
    pub const fn delivery_queue_max(mut self, count: usize, bytes: usize) -> Self {
        self.delivery_queue_max = count;
        self.delivery_queue_bytes_max = bytes;
        self
    }

    /// Sets after how many milliseconds a delivery that was not accepted is offered again, first and at most: 1 to
    /// 3,600,000. Default: 100 and 30,000; the wait doubles each time.
    #[must_use]
    pub const fn redelivery_ms(mut self, min: u64, max: u64) -> Self {
        self.redelivery_min_ms = min;
        self.redelivery_max_ms = max;
        self
    }

    /// Sets what the server publishes when the client dies. Default: nothing.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Adds a User Property to CONNECT (MQTT 5). Default: none.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        self.user_properties.push((name.into(), value.into()));
        self
    }

    /// Asks the server under which topic answers to this client may be published (MQTT 5). Default: it is not asked.
    /// What it says is in [`Connected`](crate::Connected).
    #[must_use]
    pub const fn ask_response_information(mut self) -> Self {
        self.asks_response_information = true;
        self
    }

    /// Tells the server not to explain reason codes in words where it may leave that out (MQTT 5). Default: it may
    /// explain.
    #[must_use]
    pub const fn decline_problem_information(mut self) -> Self {
        self.asks_problem_information = false;
        self
    }

    /// Adds a subscription that is made as soon as the client is connected. Default: none.
    ///
    /// One that the server refuses is asked for again at each new connection.
    #[must_use]
    pub fn subscribe(mut self, filter: TopicFilter, options: SubscriptionOptions) -> Self {
        self.subscriptions.push(SubscribedFilter { filter, options });
        self
    }

    /// Returns which version is spoken: only MQTT 5 knows SCRAM, and to step down from it would give the password away.
    pub(crate) const fn spoken(&self) -> Protocol {
        match self.authentication {
            Authentication::Password => self.protocol,
            Authentication::ScramSha256 => Protocol::V5,
        }
    }

    /// Returns how many messages may be in flight with this version, as far as the server agrees.
    pub(crate) fn in_flight_max_with(&self, version: Version) -> u16 {
        let default = if version.is_v5() { IN_FLIGHT_MAX } else { IN_FLIGHT_MAX_BEFORE_V5 };
        self.in_flight_max.unwrap_or(default)
    }

    pub(crate) fn connect(&self, version: Version) -> Connect {
        let is_durable = self.session == SessionKeeping::Durable;
        let is_scram = self.authentication == Authentication::ScramSha256;
        Connect {
            version,
            clean_start: !is_durable,
            is_bridge: false,
            keep_alive_s: self.keep_alive_s,
            client_id: self.client_id.as_str().into(),
            will: self.will.clone(),
            login: Login {
                username: self.username.as_deref().map(Into::into),
                password: self.password.as_ref().filter(|_| !is_scram).map(Password::bytes),
            },
            properties: ConnectProperties {
                session_expiry_s: is_durable.then_some(self.session_expiry_s),
                receive_maximum: Some(self.receive_maximum),
                maximum_packet_bytes: Some(self.packet_bytes_max),
                topic_alias_maximum: Some(self.topic_alias_max),
                // What is the default goes without saying.
                request_response_information: self.asks_response_information.then_some(true),
                request_problem_information: (!self.asks_problem_information).then_some(false),
                user_properties: self.user_properties.clone(),
                authentication_method: is_scram.then(|| METHOD.into()),
                ..ConnectProperties::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_password() {
        let shown = format!("{:?}", ClientOptions::default().username("u").password("hunter2"));
        assert!(!shown.contains("hunter2"));
    }
}
