//! How the server lets us in: what CONNACK says, and whether it may say so.

use super::{ClientConnection, ClientEvent, State, authentication::wrong_auth};
use crate::{
    Offence, QoS, ReasonCode, Version, Violation,
    connection::{
        EndCause,
        exchange::{AliasMaximums, PeerLimits},
    },
    limits,
    packet::{ConnAck, PacketType},
};

impl ClientConnection {
    pub(super) fn on_connack(&mut self, connack: Box<ConnAck>) -> Result<ClientEvent, Violation> {
        if connack.reason != ReasonCode::Success {
            self.end(EndCause::Refused(connack.reason));
            return Ok(ClientEvent::Refused(connack));
        }
        self.check_connack(&connack)?;
        let mut lost = Vec::new();
        // A 3.1 server does not say whether there was a session: it goes on unless a clean one was asked for.
        let connect = &self.options.connect;
        let goes_on = connack.session_present || (connect.version == Version::V3_1 && !connect.clean_start);
        if !goes_on {
            let session = &mut self.exchange.session;
            lost = session.outgoing.take_unfinished();
            session.incoming.clear();
        }
        self.take_limits(&connack);
        let peer = self.server_limits(&connack);
        let properties = &connack.properties;
        let aliases = AliasMaximums {
            incoming: self.options.connect.properties.topic_alias_maximum.unwrap_or(0),
            outgoing: properties.topic_alias_maximum.unwrap_or(0).min(self.options.topic_alias_own_maximum),
        };
        self.state = State::Open;
        self.exchange.open(peer, aliases);
        Ok(ClientEvent::Connected { connack, lost })
    }

    fn check_connack(&mut self, connack: &ConnAck) -> Result<(), Violation> {
        self.check_proof(PacketType::ConnAck, connack.properties.authentication_data.as_deref())?;
        let connect = &self.options.connect;
        let wrong_session = |what, rule| Violation {
            packet: PacketType::ConnAck,
            field: "session present",
            offence: Offence::Protocol(what),
            rule: Some(rule),
        };
        if connack.session_present && connect.clean_start {
            return Err(wrong_session("a clean start was asked for", "MQTT-3.2.2-2"));
        }
        if connack.session_present && self.options.refuse_unknown_session {
            return Err(wrong_session("this side holds no state of the session", "MQTT-3.2.2-4"));
        }
        let method = &connack.properties.authentication_method;
        if method.is_some() && *method != connect.properties.authentication_method {
            let violation = wrong_auth("another method than CONNECT named", "MQTT-4.12.0-5");
            return Err(Violation { packet: PacketType::ConnAck, ..violation });
        }
        Ok(())
    }

    fn take_limits(&mut self, connack: &ConnAck) {
        let properties = &connack.properties;
        if let Some(seconds) = properties.server_keep_alive_s {
            // [MQTT-3.2.2-21]: the server's value replaces ours.
            self.keep_alive_ms = u64::from(seconds) * 1_000;
        }
        self.server_receive_maximum = properties.receive_maximum.unwrap_or(limits::RECEIVE_MAXIMUM_DEFAULT);
        self.maximum_qos = properties.maximum_qos.unwrap_or(QoS::ExactlyOnce);
        self.retain_available = properties.retain_available.unwrap_or(true);
    }

    fn server_limits(&self, connack: &ConnAck) -> PeerLimits {
        let properties = &connack.properties;
        PeerLimits {
            receive_maximum: self.server_receive_maximum.min(self.options.in_flight_maximum),
            packet_bytes_max: properties
                .maximum_packet_bytes
                .map_or(limits::PACKET_BYTES_MAX, |bytes| bytes as usize),
        }
    }
}
