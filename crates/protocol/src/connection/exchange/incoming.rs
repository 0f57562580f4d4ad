//! Messages that the peer publishes: offered to the driver, answered in their order.

use super::{Exchange, Exchanged, Held};
use crate::{
    Offence, PacketId, QoS, ReasonCode, Violation,
    connection::{Delta, IncomingPublish},
    packet::{Ack, PacketType, Publish},
    session::{IncomingId, Offer, Release, Token},
};

/// A PUBACK or PUBREC that waits for its decision, or for its turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingAck {
    token: Token,
    id: PacketId,
    is_exactly_once: bool,
    /// Whether PUBREL came before PUBREC left: PUBCOMP is to follow at once.
    is_released: bool,
    decision: Option<ReasonCode>,
}

impl PendingAck {
    const fn kind(&self) -> PacketType {
        if self.is_exactly_once { PacketType::PubRec } else { PacketType::PubAck }
    }
}

impl Exchange {
    pub(in crate::connection) fn on_publish(&mut self, mut publish: Publish) -> Result<Exchanged, Violation> {
        self.resolve_alias(&mut publish)?;
        let token = match (publish.qos, publish.packet_id) {
            (QoS::AtMostOnce, _) | (_, None) => None,
            (QoS::AtLeastOnce, Some(id)) => {
                let token = self.session.incoming.new_token();
                self.unanswered += 1;
                self.expect_ack(token, id, false)?;
                Some(token)
            }
            (QoS::ExactlyOnce, Some(id)) => match self.offer(IncomingId(id))? {
                Some(token) => Some(token),
                None => return Ok(Exchanged::Nothing),
            },
        };
        Ok(Exchanged::Publish(IncomingPublish { publish, token }))
    }

    /// Takes an identifier at QoS 2, and returns the token of a message that is to be delivered.
    fn offer(&mut self, id: IncomingId) -> Result<Option<Token>, Violation> {
        let offer = self.session.incoming.offer(id);
        if let Offer::New(token) = offer {
            self.expect_ack(token, id.0, true)?;
            return Ok(Some(token));
        }
        // One answer is enough, and a peer that repeats itself must not fill the queue.
        if self.acks.iter().any(|ack| ack.is_exactly_once && ack.id == id.0) {
            return Ok(None);
        }
        match offer {
            Offer::New(token) | Offer::Pending(token) => self.expect_ack(token, id.0, true)?,
            Offer::Known => {
                // The message was taken before: PUBREC again, in its turn [MQTT-4.3.3-10].
                let token = self.session.incoming.new_token();
                self.expect_ack(token, id.0, true)?;
                self.decide(token, ReasonCode::Success);
            }
        }
        Ok(None)
    }

    /// Decides an incoming message; a second decision changes nothing. A token of an earlier connection only changes
    /// the session.
    pub(in crate::connection) fn decide(&mut self, token: Token, reason: ReasonCode) {
        let Some(ack) = self.acks.iter_mut().find(|ack| ack.token == token) else {
            self.session.incoming.decide(token, reason);
            return;
        };
        if ack.decision.is_some() {
            return;
        }
        ack.decision = Some(reason_for(ack.kind(), reason));
        if ack.is_exactly_once {
            self.session.incoming.decide_id(IncomingId(ack.id), token, reason);
        }
        self.send_decided_acks();
    }

    /// Sends PUBACK and PUBREC as far as no older one is undecided.
    fn send_decided_acks(&mut self) {
        while let Some(&ack) = self.acks.front()
            && let Some(reason) = ack.decision
        {
            self.acks.pop_front();
            self.ack(ack.kind(), ack.id, reason);
            if !ack.is_exactly_once {
                self.unanswered -= 1;
            } else if ack.is_released && !reason.is_error() {
                self.release(IncomingId(ack.id), ReasonCode::Success);
            }
        }
    }

    pub(in crate::connection) fn on_pubrel(&mut self, pubrel: &Ack) -> Result<(), Violation> {
        let id = IncomingId(pubrel.packet_id);
        match self.session.incoming.ask_release(id) {
            Release::Recorded => self.release(id, ReasonCode::Success),
            Release::Unknown => {
                // Forgotten already, or lost: the peer must be able to finish. PUBCOMP waits here as well, because
                // the release itself may not be durable yet.
                if !self.held.iter().any(|(_, held)| matches!(held, Held::PubComp(held, _) if *held == id)) {
                    self.release(id, ReasonCode::PacketIdentifierNotFound);
                }
            }
            Release::Undecided => {
                let ack = self.acks.iter_mut().find(|ack| ack.is_exactly_once && ack.id == id.0);
                ack.ok_or_else(unasked_pubrel)?.is_released = true;
            }
        }
        Ok(())
    }

    /// Forgets an identifier; PUBCOMP follows when that is durable.
    fn release(&mut self, id: IncomingId, reason: ReasonCode) {
        self.session.incoming.release(id);
        self.hold(Delta::Released { id }, Held::PubComp(id, reason));
    }

    fn expect_ack(&mut self, token: Token, id: PacketId, is_exactly_once: bool) -> Result<(), Violation> {
        self.acks.push_back(PendingAck { token, id, is_exactly_once, is_released: false, decision: None });
        let allowed = if self.version.is_v5() { self.receive_maximum } else { u16::MAX };
        if self.unanswered + self.session.incoming.counted() > usize::from(allowed) {
            return Err(Violation {
                packet: PacketType::Publish,
                field: "packet identifier",
                offence: Offence::ReceiveMaximumExceeded,
                rule: Some("MQTT-3.3.4-9"),
            });
        }
        Ok(())
    }

    fn resolve_alias(&mut self, publish: &mut Publish) -> Result<(), Violation> {
        let alias = if self.version.is_v5() { publish.properties.topic_alias() } else { None };
        let is_valid = match (alias, &publish.topic) {
            (None, topic) => topic.is_some(),
            (Some(alias), Some(topic)) => self.aliases_in.set(alias, topic),
            (Some(alias), None) => {
                publish.topic = self.aliases_in.name(alias).cloned();
                publish.topic.is_some()
            }
        };
        if is_valid {
            return Ok(());
        }
        Err(Violation {
            packet: PacketType::Publish,
            field: "topic alias",
            offence: Offence::TopicAliasInvalid,
            rule: Some("MQTT-3.3.2-9"),
        })
    }
}

/// Returns the reason as this packet may bear it.
fn reason_for(kind: PacketType, reason: ReasonCode) -> ReasonCode {
    match reason {
        reason if reason.is_allowed_in(kind) => reason,
        reason if reason.is_error() => ReasonCode::UnspecifiedError,
        _ => ReasonCode::Success,
    }
}

const fn unasked_pubrel() -> Violation {
    Violation {
        packet: PacketType::PubRel,
        field: "packet identifier",
        offence: Offence::Protocol("the message has not been answered with PUBREC"),
        rule: None,
    }
}
