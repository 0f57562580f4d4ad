//! How a client is let in: what CONNECT asked for, and CONNACK that answers it.
//!
//! A refusal goes out here as well, also the one of a connection that breaks a rule before it is open.

use super::{ServerConnection, ServerEvent, State};
use crate::{
    Now, ReasonCode, Version,
    connection::{
        EndCause,
        exchange::{AliasMaximums, PeerLimits},
    },
    limits,
    packet::{ConnAck, ConnAckProperties, Connect, Packet, PacketType},
    session::SessionState,
};

/// How a client is let in.
#[derive(Debug, Default)]
pub struct AcceptConnect {
    /// The session that it resumes, or an empty one.
    pub session: SessionState,
    /// Whether there was a session. Without one, and after a CONNECT with Clean Start, `session` is not used.
    pub session_present: bool,
    /// Properties of CONNACK. Receive maximum, packet size, topic alias and keep alive are filled in where they are
    /// `None`.
    pub properties: ConnAckProperties,
}

/// What CONNECT asked for and announced.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Asked {
    peer: PeerLimits,
    topic_alias_maximum: u16,
    clean_start: bool,
    pub(super) wants_problem_information: bool,
}

impl ServerConnection {
    /// Lets the client in: sends CONNACK and what is unfinished in the session.
    ///
    /// The connection ends instead when CONNACK cannot be made small enough for the client. The session is not lost
    /// by that: `into_session` returns it.
    pub fn accept_connect(&mut self, accept: AcceptConnect, now: Now) {
        if !matches!(self.state, State::Deciding { .. }) {
            return;
        }
        let AcceptConnect { session, session_present, mut properties } = accept;
        // [MQTT-3.2.2-2]: there is nothing to resume after a clean start, whatever the driver says.
        let session_present = session_present && !self.asked.clean_start;
        if session_present {
            self.exchange.session = session;
        }
        self.agree_on_keep_alive(&mut properties);
        self.announce(&mut properties);
        let is_shown = self.exchange.version != Version::V3_1;
        let connack =
            ConnAck { session_present: session_present && is_shown, reason: ReasonCode::Success, properties };
        if !self.send_connack(connack) {
            self.end(EndCause::Local(ReasonCode::PacketTooLarge), false);
            return;
        }
        self.state = State::Open;
        self.exchange.last_received_ms = now.monotonic_ms;
        let aliases = AliasMaximums {
            incoming: self.options.topic_alias_maximum,
            outgoing: self.asked.topic_alias_maximum.min(self.options.topic_alias_own_maximum),
        };
        self.exchange.open(self.asked.peer, aliases);
    }

    /// Refuses the client: sends CONNACK with an error and ends the connection.
    pub fn reject_connect(&mut self, reason: ReasonCode, properties: ConnAckProperties) {
        if matches!(self.state, State::Deciding { .. }) {
            self.send_refusal(reason, properties);
            self.end(EndCause::Local(reason), false);
        }
    }

    pub(super) fn on_connect(&mut self, connect: Box<Connect>) -> Option<ServerEvent> {
        let properties = &connect.properties;
        self.exchange.version = connect.version;
        self.keep_alive_s = connect.keep_alive_s;
        self.session_expiry_s = properties.session_expiry_s.unwrap_or(0);
        self.authentication_method = properties.authentication_method.clone();
        self.asked = Asked {
            peer: PeerLimits {
                receive_maximum: properties
                    .receive_maximum
                    .unwrap_or(limits::RECEIVE_MAXIMUM_DEFAULT)
                    .min(self.options.in_flight_maximum),
                packet_bytes_max: properties
                    .maximum_packet_bytes
                    .map_or(limits::PACKET_BYTES_MAX, |bytes| bytes as usize),
            },
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            clean_start: connect.clean_start,
            wants_problem_information: properties.request_problem_information.unwrap_or(true),
        };
        self.exchange.peer = self.asked.peer;
        let deadline_ms = self.deadline_ms().unwrap_or(u64::MAX);
        self.state = State::Deciding { deadline_ms };
        if connect.client_id.is_empty() && !connect.version.is_v5() && !connect.clean_start {
            // [MQTT-3.1.3-8]
            self.reject_connect(ReasonCode::ClientIdentifierNotValid, ConnAckProperties::default());
            return None;
        }
        Some(ServerEvent::Connect(connect))
    }

    pub(super) fn send_refusal(&mut self, reason: ReasonCode, properties: ConnAckProperties) {
        let reason =
            if reason.is_allowed_in(PacketType::ConnAck) { reason } else { ReasonCode::UnspecifiedError };
        if !self.send_connack(ConnAck { session_present: false, reason, properties }) {
            let properties = ConnAckProperties::default();
            self.send_connack(ConnAck { session_present: false, reason, properties });
        }
    }

    fn agree_on_keep_alive(&mut self, properties: &mut ConnAckProperties) {
        let max = self.options.keep_alive_max_s;
        let asked = self.keep_alive_s;
        if max != 0 && (asked == 0 || asked > max) && self.exchange.version.is_v5() {
            properties.server_keep_alive_s.get_or_insert(max);
        }
        if let Some(seconds) = properties.server_keep_alive_s {
            self.keep_alive_s = seconds;
        }
        self.silence_max_ms = u64::from(self.keep_alive_s) * 1_500;
    }

    fn announce(&self, properties: &mut ConnAckProperties) {
        let options = &self.options;
        if options.receive_maximum != limits::RECEIVE_MAXIMUM_DEFAULT {
            properties.receive_maximum.get_or_insert(options.receive_maximum);
        }
        if (options.packet_bytes_max as usize) < limits::PACKET_BYTES_MAX {
            properties.maximum_packet_bytes.get_or_insert(options.packet_bytes_max);
        }
        if options.topic_alias_maximum != 0 {
            properties.topic_alias_maximum.get_or_insert(options.topic_alias_maximum);
        }
        if self.authentication_method.is_some() && properties.authentication_method.is_none() {
            properties.authentication_method.clone_from(&self.authentication_method);
        }
    }

    /// Sends CONNACK, without what is only for people where the client would not accept it [MQTT-3.2.2-19, -20].
    fn send_connack(&mut self, connack: ConnAck) -> bool {
        let mut packet = Packet::ConnAck(Box::new(connack));
        if self.exchange.send(&packet) {
            return true;
        }
        if let Packet::ConnAck(connack) = &mut packet {
            connack.properties.reason_string = None;
            connack.properties.user_properties.clear();
        }
        self.exchange.send(&packet)
    }
}
