//! What a packet of the server means, by the state that the connection is in.

use super::{ClientConnection, ClientEvent, State};
use crate::{
    Offence, Violation,
    connection::{EndCause, exchange::Exchanged},
    packet::{Packet, PacketType, SubAck},
    session::Slot,
};

impl ClientConnection {
    pub(super) fn on_packet(&mut self, packet: Packet) -> Result<Option<ClientEvent>, Violation> {
        match (&self.state, packet) {
            (State::AwaitingConnAck { .. }, Packet::ConnAck(connack)) => self.on_connack(connack).map(Some),
            (_, Packet::Auth(auth)) => self.on_auth(auth).map(Some),
            (State::Open, packet) => self.on_open_packet(packet),
            (_, packet) => Err(Violation {
                packet: packet.packet_type(),
                field: "packet type",
                offence: Offence::Protocol("CONNACK must come first"),
                rule: Some("MQTT-3.2.0-1"),
            }),
        }
    }

    fn on_open_packet(&mut self, packet: Packet) -> Result<Option<ClientEvent>, Violation> {
        let exchanged = match packet {
            Packet::Publish(publish) => self.exchange.on_publish(publish)?,
            Packet::PubAck(ack) => self.exchange.on_puback(&ack)?,
            Packet::PubRec(ack) => self.exchange.on_pubrec(&ack)?,
            Packet::PubComp(ack) => self.exchange.on_pubcomp(&ack),
            Packet::PubRel(ack) => {
                self.exchange.on_pubrel(&ack)?;
                Exchanged::Nothing
            }
            Packet::SubAck(ack) => return self.on_suback(ack).map(Some),
            Packet::UnsubAck(ack) => return self.on_unsuback(ack).map(Some),
            Packet::PingResp => Exchanged::Nothing,
            Packet::Disconnect(disconnect) => {
                self.end(EndCause::Peer(disconnect));
                Exchanged::Nothing
            }
            other => {
                return Err(Violation {
                    packet: other.packet_type(),
                    field: "packet type",
                    offence: Offence::Protocol("not for a server to send here"),
                    rule: None,
                });
            }
        };
        Ok(match exchanged {
            Exchanged::Nothing => None,
            Exchanged::Publish(publish) => Some(ClientEvent::Publish(publish)),
            Exchanged::Acknowledged(cookie, reason) => Some(ClientEvent::Acknowledged { cookie, reason }),
        })
    }

    fn on_suback(&mut self, ack: Box<SubAck>) -> Result<ClientEvent, Violation> {
        let expected = match self.exchange.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Subscribe(count)) => *count,
            _ => return Err(unasked(PacketType::SubAck)),
        };
        if ack.reasons.len() != expected as usize {
            return Err(Violation {
                packet: PacketType::SubAck,
                field: "reason codes",
                offence: Offence::Protocol("not one for each filter of SUBSCRIBE"),
                rule: Some("MQTT-3.8.4-6"),
            });
        }
        self.exchange.session.outgoing.finish(ack.packet_id);
        Ok(ClientEvent::Subscribed(ack))
    }

    fn on_unsuback(&mut self, ack: Box<SubAck>) -> Result<ClientEvent, Violation> {
        let expected = match self.exchange.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Unsubscribe(count)) => *count,
            _ => return Err(unasked(PacketType::UnsubAck)),
        };
        if self.exchange.version.is_v5() && ack.reasons.len() != expected as usize {
            return Err(Violation {
                packet: PacketType::UnsubAck,
                field: "reason codes",
                offence: Offence::Protocol("not one for each filter of UNSUBSCRIBE"),
                rule: Some("MQTT-3.11.3-2"),
            });
        }
        self.exchange.session.outgoing.finish(ack.packet_id);
        Ok(ClientEvent::Unsubscribed(ack))
    }
}

fn unasked(packet: PacketType) -> Violation {
    Violation {
        packet,
        field: "packet identifier",
        offence: Offence::Protocol("nothing with it was asked for"),
        rule: None,
    }
}
