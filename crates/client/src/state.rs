use std::sync::Arc;

use crosspoint_protocol::{QoS, Version, packet::ConnAck};

use crate::{Cause, Left};

/// What a client is doing. Times are on the wall clock, in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// It dials, or waits for CONNACK.
    Connecting {
        /// Which attempt this is since it was connected last, from 1.
        attempt: u32,
        /// The server, as host and port.
        server: String,
        /// The version that is tried.
        version: Version,
    },
    /// The server let it in.
    Connected(Arc<Connected>),
    /// The server refuses it for a reason that only a person can mend. It is tried again, rarely.
    Refused {
        /// Why. [`Cause::next_step`] says what to do.
        cause: Cause,
        /// When it is tried again.
        next_try_wall_ms: u64,
    },
    /// It waits before the next attempt.
    BackingOff {
        /// Why it is not connected. [`Cause::next_step`] says what to do.
        cause: Cause,
        /// When it is tried again.
        until_wall_ms: u64,
    },
    /// It has been closed; nothing follows.
    Stopped(Left),
}

impl State {
    /// Tells whether messages can flow now.
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }
}

/// What was agreed upon with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The server, as host and port.
    pub server: String,
    /// The version that is spoken.
    pub version: Version,
    /// Whether the server took the bridge bit ([`BridgeBit::Try`](crate::BridgeBit::Try)): it sends us nothing that we
    /// publish, and live messages with their retain flag.
    pub is_bridge: bool,
    /// Whether the server still had our session.
    pub session_present: bool,
    /// The client identifier: ours, or the one that the server gave.
    pub client_id: String,
    /// The start of the topics under which answers to us may be published, if the server was asked and said it.
    pub response_information: Option<String>,
    /// What the server allows.
    pub limits: ServerLimits,
}

/// What a server allows, with the specification's defaults where it said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// The keep alive in force, in seconds; 0 is off.
    pub keep_alive_s: u16,
    /// For how many seconds the session outlives the connection; absent before MQTT 5.
    pub session_expiry_s: Option<u32>,
    /// How many messages at QoS 1 and 2 may be in flight.
    pub receive_maximum: u16,
    /// The largest packet, in bytes; absent is no limit.
    pub packet_bytes_max: Option<u32>,
    /// The highest QoS.
    pub qos_max: QoS,
    /// The highest Topic Alias.
    pub topic_alias_max: u16,
    /// Whether retained messages are kept.
    pub retain: bool,
    /// Whether filters may hold wildcards.
    pub wildcards: bool,
    /// Whether Subscription Identifiers may be used.
    pub subscription_ids: bool,
    /// Whether Shared Subscriptions may be used.
    pub shared_subscriptions: bool,
}

impl ServerLimits {
    pub(crate) fn of(connack: &ConnAck, version: Version, keep_alive_s: u16, expiry_s: Option<u32>) -> Self {
        let said = &connack.properties;
        Self {
            keep_alive_s: said.server_keep_alive_s.unwrap_or(keep_alive_s),
            session_expiry_s: if version.is_v5() {
                said.session_expiry_s.or(expiry_s).or(Some(0))
            } else {
                None
            },
            receive_maximum: said.receive_maximum.unwrap_or(u16::MAX),
            packet_bytes_max: said.maximum_packet_bytes,
            qos_max: said.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            topic_alias_max: said.topic_alias_maximum.unwrap_or(0),
            retain: said.retain_available.unwrap_or(true),
            wildcards: said.wildcard_subscription_available.unwrap_or(true),
            subscription_ids: version.is_v5() && said.subscription_identifiers_available.unwrap_or(true),
            shared_subscriptions: said.shared_subscription_available.unwrap_or(true),
        }
    }
}
