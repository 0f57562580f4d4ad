//! What a packet of the client means, by the state that the connection is in.

use super::{ServerConnection, ServerEvent, State};
use crate::{
    Offence, ReasonCode, Violation,
    connection::{End, EndCause, exchange::Exchanged},
    packet::{Disconnect, Packet, PacketType},
};

impl ServerConnection {
    pub(super) fn on_packet(&mut self, packet: Packet) -> Option<ServerEvent> {
        self.has_answered = self.is_open();
        let result = match (&self.state, packet) {
            (State::AwaitingConnect { .. }, Packet::Connect(connect)) => return self.on_connect(connect),
            (_, Packet::Connect(_)) => {
                Err(protocol_error(PacketType::Connect, "a second one", "MQTT-3.1.0-2"))
            }
            (_, Packet::Auth(auth)) => self.on_auth(auth).map(Some),
            (_, Packet::Disconnect(disconnect)) => self.on_disconnect(disconnect).map(|()| None),
            (State::Open, packet) => self.on_open_packet(packet),
            (_, packet) => Err(Violation {
                packet: packet.packet_type(),
                field: "packet type",
                offence: Offence::Protocol("AUTH is awaited"),
                rule: Some("MQTT-3.1.2-30"),
            }),
        };
        result.unwrap_or_else(|violation| {
            self.fail(violation);
            None
        })
    }

    fn on_open_packet(&mut self, packet: Packet) -> Result<Option<ServerEvent>, Violation> {
        let exchanged = match packet {
            Packet::Publish(publish) => self.exchange.on_publish(publish)?,
            Packet::PubAck(ack) => self.exchange.on_puback(&ack)?,
            Packet::PubRec(ack) => self.exchange.on_pubrec(&ack)?,
            Packet::PubComp(ack) => self.exchange.on_pubcomp(&ack),
            Packet::PubRel(ack) => {
                self.exchange.on_pubrel(&ack)?;
                Exchanged::Nothing
            }
            Packet::Subscribe(subscribe) => return Ok(Some(ServerEvent::Subscribe(subscribe))),
            Packet::Unsubscribe(unsubscribe) => return Ok(Some(ServerEvent::Unsubscribe(unsubscribe))),
            Packet::PingReq => {
                crate::codec::encode_ping_resp(self.exchange.transmit.bytes());
                Exchanged::Nothing
            }
            other => return Err(protocol_error(other.packet_type(), "not for a client to send", "")),
        };
        Ok(match exchanged {
            Exchanged::Nothing => None,
            Exchanged::Publish(publish) => Some(ServerEvent::Publish(publish)),
            Exchanged::Acknowledged(cookie, reason) => Some(ServerEvent::Acknowledged { cookie, reason }),
        })
    }

    fn on_disconnect(&mut self, disconnect: Box<Disconnect>) -> Result<(), Violation> {
        let session_expiry_s = disconnect.session_expiry_s;
        if self.session_expiry_s == 0 && session_expiry_s.is_some_and(|seconds| seconds != 0) {
            return Err(protocol_error(
                PacketType::Disconnect,
                "a session expiry after 0 in CONNECT",
                "MQTT-3.14.2-2",
            ));
        }
        // [MQTT-3.14.4-3]: a Will is dropped only at reason 0x00. There is none before the client is let in.
        let publish_will = self.is_open() && disconnect.reason != ReasonCode::Success;
        let end = End { cause: EndCause::Peer(disconnect), publish_will, session_expiry_s };
        self.state = State::Ending(Box::new(end));
        Ok(())
    }
}

pub(super) fn protocol_error(packet: PacketType, what: &'static str, rule: &'static str) -> Violation {
    Violation {
        packet,
        field: "packet",
        offence: Offence::Protocol(what),
        rule: (!rule.is_empty()).then_some(rule),
    }
}
