//! Messages that this side publishes: sent as far as the peer takes them, and again when a session is resumed.

use super::{Exchange, Exchanged, Held};
use crate::{
    Now, Offence, PacketId, QoS, ReasonCode, Violation,
    connection::{Delta, PublishError},
    message::PublishHead,
    packet::{Ack, PacketType},
    session::{Outgoing, OutgoingId, Slot, Stage},
};

/// More than what a PUBLISH can have beside topic, properties and payload of its message, without Subscription
/// Identifiers: fixed header, lengths, identifier, expiry and alias.
const PUBLISH_OVERHEAD_BYTES_MAX: usize = 64;

impl Exchange {
    /// Returns how many messages at QoS 1 and 2 can be sent now.
    pub(in crate::connection) fn send_quota(&self) -> usize {
        if self.resend.is_some() { 0 } else { self.quota().min(self.session.outgoing.room()) }
    }

    /// How many more messages at QoS 1 and 2 the peer takes now [MQTT-4.9.0-1]. A PUBREL that was sent again counts
    /// like its message, so that the peer never sees more unfinished than it allows.
    fn quota(&self) -> usize {
        usize::from(self.peer.receive_maximum).saturating_sub(self.in_flight)
    }

    pub(in crate::connection) fn publish(
        &mut self,
        outgoing: Outgoing,
        now: Now,
    ) -> Result<(), PublishError> {
        self.check_size(&outgoing)?;
        if outgoing.qos == QoS::AtMostOnce {
            self.send_message(&outgoing, 0, false, now);
            return Ok(());
        }
        if self.send_quota() == 0 {
            return Err(PublishError::QuotaExhausted);
        }
        let Some(id) = self.session.outgoing.assign(Slot::Publish(Stage::Assigned, outgoing)) else {
            return Err(PublishError::QuotaExhausted);
        };
        self.in_flight += 1;
        self.send_or_hold(id, now);
        Ok(())
    }

    /// Sends a message again that was set aside, as on a connection that resumes its session; tells whether there is one.
    pub(in crate::connection) fn resume(
        &mut self,
        id: OutgoingId,
        cookie: u64,
        now: Now,
    ) -> Result<bool, PublishError> {
        let place = self.session.outgoing.distance(id.0);
        let Some((_, Slot::Aside(stage, outgoing))) = self.session.outgoing.at_place(place) else {
            return Ok(false);
        };
        let stage = *stage;
        self.check_size(outgoing)?;
        if self.resend.is_some() || self.quota() == 0 {
            return Err(PublishError::QuotaExhausted);
        }
        self.session.outgoing.resume(id, cookie);
        self.in_flight += 1;
        self.resend_exchange(id, stage, now);
        Ok(true)
    }

    /// Lets the exchange of a message that was set aside come to its end without the message.
    pub(in crate::connection) fn give_up(&mut self, id: OutgoingId, cookie: u64) {
        let place = self.session.outgoing.distance(id.0);
        // What is still to be sent again on this connection is sent in its turn.
        let is_passed = self.resend.is_none_or(|resend| place < resend);
        if self.session.outgoing.give_up(id, cookie) && is_passed {
            self.in_flight += 1;
            self.send_pubrel(id);
        }
    }

    /// Sends the first PUBLISH of an exchange, as soon as what it depends on is durable.
    fn send_or_hold(&mut self, id: OutgoingId, now: Now) {
        let Some(Slot::Publish(_, outgoing)) = self.session.outgoing.slot_mut(id.0) else { return };
        if outgoing.qos == QoS::ExactlyOnce {
            let cookie = outgoing.cookie;
            self.hold(Delta::Assigned { id, cookie }, Held::Publish(id));
        } else if self.held.is_empty() {
            self.send_publish(id, false, now);
        } else {
            // Behind what waits, so that first transmissions keep their order.
            self.held.push_back((self.sequence, Held::Publish(id)));
        }
    }

    pub(in crate::connection) fn on_puback(&mut self, ack: &Ack) -> Result<Exchanged, Violation> {
        match self.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Publish(Stage::Published, outgoing)) if outgoing.qos == QoS::AtLeastOnce => {
                Ok(self.finish(ack.packet_id, ack.reason))
            }
            Some(Slot::Publish(..)) => Err(wrong_ack(PacketType::PubAck, "no message at QoS 1 awaits it")),
            _ => Ok(Exchanged::Nothing),
        }
    }

    pub(in crate::connection) fn on_pubrec(&mut self, ack: &Ack) -> Result<Exchanged, Violation> {
        let id = OutgoingId(ack.packet_id);
        match self.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Publish(stage, outgoing))
                if outgoing.qos != QoS::ExactlyOnce || *stage == Stage::Assigned =>
            {
                return Err(wrong_ack(PacketType::PubRec, "no message at QoS 2 awaits it"));
            }
            Some(Slot::Publish(Stage::Published, _)) if ack.reason.is_error() => {
                // Ended by the error; PUBREL must not follow.
                return Ok(self.finish(ack.packet_id, ack.reason));
            }
            Some(Slot::Publish(stage, _)) if *stage == Stage::Published => {
                *stage = Stage::Received;
                self.hold(Delta::Received { id }, Held::PubRel(id));
            }
            Some(Slot::Publish(Stage::Released, _)) => self.send_pubrel(id),
            // PUBREL is on its way already, or the message is to be sent again before.
            Some(Slot::Publish(..) | Slot::Aside(..)) => {}
            _ if ack.reason.is_error() => {}
            _ => self.ack(PacketType::PubRel, ack.packet_id, ReasonCode::PacketIdentifierNotFound),
        }
        Ok(Exchanged::Nothing)
    }

    pub(in crate::connection) fn on_pubcomp(&mut self, ack: &Ack) -> Exchanged {
        match self.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Publish(Stage::Released, _)) => self.finish(ack.packet_id, ReasonCode::Success),
            _ => Exchanged::Nothing,
        }
    }

    /// Sends again what was unfinished when the session was resumed, as far as the peer's quota allows.
    ///
    /// Stops at a message that this peer does not accept and returns its end: call it until it returns `None`.
    pub(in crate::connection) fn resend_unfinished(&mut self, now: Now) -> Option<(u64, ReasonCode)> {
        while let Some(place) = self.resend {
            let Some((id, slot)) = self.session.outgoing.at_place(place) else {
                self.resend = None;
                return None;
            };
            if let Slot::Publish(stage, outgoing) = slot {
                let stage = *stage;
                let is_sent_whole = matches!(stage, Stage::Assigned | Stage::Published);
                if is_sent_whole && self.check_size(outgoing).is_err() {
                    // [MQTT-3.1.2-25]: as if it had been sent.
                    return self.drop_unfinished(id);
                }
                if is_sent_whole && self.quota() == 0 {
                    return None;
                }
                self.in_flight += 1;
                self.resend_exchange(id, stage, now);
            }
            self.resend = Some(place + 1);
        }
        None
    }

    fn resend_exchange(&mut self, id: OutgoingId, stage: Stage, now: Now) {
        match stage {
            Stage::Assigned => self.send_or_hold(id, now),
            // [MQTT-4.4.0-1]: unacknowledged PUBLISH packets go again under their identifiers.
            Stage::Published => self.send_publish(id, true, now),
            Stage::Received => self.hold(Delta::Received { id }, Held::PubRel(id)),
            Stage::Released => self.send_pubrel(id),
        }
    }

    fn drop_unfinished(&mut self, id: OutgoingId) -> Option<(u64, ReasonCode)> {
        match self.finish(id.0, ReasonCode::PacketTooLarge) {
            Exchanged::Acknowledged(cookie, reason) => Some((cookie, reason)),
            _ => None,
        }
    }

    fn finish(&mut self, id: PacketId, reason: ReasonCode) -> Exchanged {
        let place = self.session.outgoing.distance(id);
        let before = self.session.outgoing.places();
        let Some(Slot::Publish(_, outgoing)) = self.session.outgoing.finish(id) else {
            return Exchanged::Nothing;
        };
        // What has not been sent again on this connection does not count there yet.
        if self.resend.is_none_or(|resend| place < resend) {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        if let Some(resend) = &mut self.resend {
            *resend = resend.saturating_sub(before - self.session.outgoing.places());
        }
        self.persist(Delta::Finished { id: OutgoingId(id), cookie: outgoing.cookie });
        Exchanged::Acknowledged(outgoing.cookie, reason)
    }

    fn check_size(&self, outgoing: &Outgoing) -> Result<(), PublishError> {
        let max = self.peer.packet_bytes_max;
        if is_surely_within(outgoing, max) {
            return Ok(());
        }
        let bytes = outgoing.message.encoded_len(&self.head(outgoing, 1, false));
        if bytes > max { Err(PublishError::TooLarge { bytes, max }) } else { Ok(()) }
    }

    fn head<'a>(&self, outgoing: &'a Outgoing, packet_id: u16, dup: bool) -> PublishHead<'a> {
        PublishHead {
            version: self.version,
            qos: outgoing.qos,
            retain: outgoing.retain,
            dup,
            packet_id,
            topic_alias: 0,
            omit_topic: false,
            subscription_ids: &outgoing.subscription_ids,
        }
    }

    pub(super) fn send_publish(&mut self, id: OutgoingId, dup: bool, now: Now) {
        // The window is taken out for a moment so that the message in it can be borrowed while bytes are written.
        let mut window = std::mem::take(&mut self.session.outgoing);
        if let Some(Slot::Publish(stage, outgoing)) = window.slot_mut(id.0) {
            *stage = Stage::Published;
            self.send_message(outgoing, id.0.value(), dup, now);
        }
        self.session.outgoing = window;
    }

    fn send_message(&mut self, outgoing: &Outgoing, packet_id: u16, dup: bool, now: Now) {
        let topic = outgoing.message.topic_bytes();
        let used = self.aliases_out.plan(topic);
        let mut head = self.head(outgoing, packet_id, dup);
        head.topic_alias = used.alias;
        head.omit_topic = used.is_known;
        let max = self.peer.packet_bytes_max;
        if used.alias != 0 && !is_surely_within(outgoing, max) && outgoing.message.encoded_len(&head) > max {
            // Three bytes for the alias would make the packet larger than the peer accepts.
            head.topic_alias = 0;
            head.omit_topic = false;
        } else {
            self.aliases_out.commit(topic, used);
        }
        outgoing.message.encode(&head, now, &mut self.transmit);
    }

    pub(super) fn send_pubrel(&mut self, id: OutgoingId) {
        if let Some(Slot::Publish(stage, _)) = self.session.outgoing.slot_mut(id.0) {
            *stage = Stage::Released;
            self.ack(PacketType::PubRel, id.0, ReasonCode::Success);
        }
    }
}

/// Tells cheaply that a PUBLISH is not larger than `max` bytes, whatever its head; `false` when it might be.
fn is_surely_within(outgoing: &Outgoing, max: usize) -> bool {
    outgoing.message.len() + PUBLISH_OVERHEAD_BYTES_MAX + 5 * outgoing.subscription_ids.len() <= max
}

const fn wrong_ack(packet: PacketType, what: &'static str) -> Violation {
    Violation { packet, field: "packet identifier", offence: Offence::Protocol(what), rule: None }
}
