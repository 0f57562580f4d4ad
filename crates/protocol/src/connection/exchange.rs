use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Delta, End, EndCause, IncomingPublish, PublishError, Sequence,
    alias::{IncomingAliases, OutgoingAliases},
};
use crate::{
    Now, Offence, PacketId, QoS, ReasonCode, Transmit, Version, Violation,
    codec::{self, Frames},
    limits,
    message::PublishHead,
    packet::{Ack, Disconnect, Packet, PacketType, Publish},
    session::{IncomingId, Offer, Outgoing, OutgoingId, SessionState, Slot, Stage, Token},
};

/// What both roles share: the packets of publishing, in both directions, on top of a session.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) version: Version,
    pub(super) session: SessionState,
    pub(super) frames: Frames,
    pub(super) transmit: Transmit,
    pub(super) peer: PeerLimits,
    /// How many incoming messages at QoS 1 and 2 may be unfinished.
    receive_maximum: u16,
    /// How many more messages at QoS 1 and 2 the peer takes now [MQTT-4.9.0-1].
    quota: u16,
    /// PUBACK and PUBREC in the order of their PUBLISH packets [MQTT-4.6.0-2].
    acks: VecDeque<PendingAck>,
    /// How many messages at QoS 1 and 2 came on this connection and are unfinished.
    unfinished: usize,
    sequence: Sequence,
    persisted: Sequence,
    deltas: VecDeque<Delta>,
    /// Packets that wait until a delta is durable.
    held: VecDeque<(Sequence, Held)>,
    /// The next place of the window to send again after a resumption; `None` when all has been.
    resend: Option<usize>,
    aliases_in: IncomingAliases,
    aliases_out: OutgoingAliases,
    pub(super) last_received_ms: u64,
    pub(super) last_sent_ms: u64,
}

/// What the peer accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerLimits {
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes_max: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { receive_maximum: limits::RECEIVE_MAXIMUM_DEFAULT, packet_bytes_max: limits::PACKET_BYTES_MAX }
    }
}

#[derive(Debug, Clone, Copy)]
struct PendingAck {
    token: Token,
    id: PacketId,
    is_exactly_once: bool,
    decision: Option<ReasonCode>,
}

#[derive(Debug, Clone, Copy)]
enum Held {
    Publish(OutgoingId),
    PubRel(OutgoingId),
    PubComp(IncomingId),
}

/// What a packet of the exchange means to the driver.
#[derive(Debug)]
pub(super) enum Exchanged {
    /// Nothing to tell.
    Nothing,
    /// A message came.
    Publish(IncomingPublish),
    /// A message of ours is finished.
    Acknowledged(u64, ReasonCode),
}

impl Exchange {
    pub(super) fn new(version: Version, packet_bytes_max: u32, receive_maximum: u16, now: Now) -> Self {
        Self {
            version,
            session: SessionState::default(),
            frames: Frames::new(packet_bytes_max),
            transmit: Transmit::default(),
            peer: PeerLimits::default(),
            receive_maximum,
            quota: 0,
            acks: VecDeque::new(),
            unfinished: 0,
            sequence: 0,
            persisted: 0,
            deltas: VecDeque::new(),
            held: VecDeque::new(),
            resend: None,
            aliases_in: IncomingAliases::default(),
            aliases_out: OutgoingAliases::default(),
            last_received_ms: now.monotonic_ms,
            last_sent_ms: now.monotonic_ms,
        }
    }

    /// Takes a session over and what the peer announced, and begins to send again what is unfinished.
    pub(super) fn open(&mut self, session: SessionState, peer: PeerLimits, aliases: (u16, u16), now: Now) {
        self.session = session;
        self.session.outgoing.forget_requests();
        self.peer = peer;
        self.quota = peer.receive_maximum;
        self.aliases_in = IncomingAliases::new(aliases.0);
        self.aliases_out = OutgoingAliases::new(aliases.1);
        self.resend = Some(0);
        self.resend_unfinished(now);
    }

    pub(super) fn handle_input(&mut self, chunk: Bytes, now: Now) {
        self.last_received_ms = now.monotonic_ms;
        self.frames.push(chunk);
    }

    pub(super) fn poll_delta(&mut self) -> Option<(Sequence, Delta)> {
        let delta = self.deltas.pop_front()?;
        Some((self.sequence - self.deltas.len() as u64, delta))
    }

    pub(super) fn handle_persisted(&mut self, sequence: Sequence, now: Now) {
        self.persisted = self.persisted.max(sequence);
        while let Some(&(waits_for, held)) = self.held.front()
            && waits_for <= self.persisted
        {
            self.held.pop_front();
            match held {
                Held::Publish(id) => self.send_publish(id, false, now),
                Held::PubRel(id) => self.send_pubrel(id),
                Held::PubComp(id) => self.ack(PacketType::PubComp, id.0, ReasonCode::Success),
            }
        }
    }

    // --- incoming messages ---

    pub(super) fn on_publish(&mut self, mut publish: Publish) -> Result<Exchanged, Violation> {
        self.resolve_alias(&mut publish)?;
        let token = match (publish.qos, publish.packet_id) {
            (QoS::AtMostOnce, _) | (_, None) => None,
            (QoS::AtLeastOnce, Some(id)) => {
                let token = self.session.incoming.new_token();
                self.expect_ack(token, id, QoS::AtLeastOnce)?;
                Some(token)
            }
            (QoS::ExactlyOnce, Some(id)) => match self.session.incoming.offer(IncomingId(id)) {
                Offer::New(token) => {
                    self.expect_ack(token, id, QoS::ExactlyOnce)?;
                    Some(token)
                }
                Offer::Pending(token) => {
                    if !self.acks.iter().any(|ack| ack.token == token) {
                        self.expect_ack(token, id, QoS::ExactlyOnce)?;
                    }
                    return Ok(Exchanged::Nothing);
                }
                Offer::Known => {
                    // The message was taken before: PUBREC again, in its turn [MQTT-4.3.3-10].
                    let token = self.session.incoming.new_token();
                    self.expect_ack(token, id, QoS::ExactlyOnce)?;
                    self.decide(token, ReasonCode::Success);
                    return Ok(Exchanged::Nothing);
                }
            },
        };
        Ok(Exchanged::Publish(IncomingPublish { publish, token }))
    }

    /// Decides an incoming message. A token of an earlier connection only changes the session.
    pub(super) fn decide(&mut self, token: Token, reason: ReasonCode) {
        let Some(ack) = self.acks.iter_mut().find(|ack| ack.token == token) else {
            self.session.incoming.decide(token, reason);
            return;
        };
        ack.decision = Some(reason);
        if ack.is_exactly_once {
            let id = IncomingId(ack.id);
            if reason.is_error() {
                self.session.incoming.reject(id, token);
            } else {
                self.session.incoming.accept(id, token);
            }
        }
        while let Some(PendingAck { id, is_exactly_once, decision: Some(reason), .. }) = self.acks.front().copied() {
            self.acks.pop_front();
            if !is_exactly_once || reason.is_error() {
                self.unfinished = self.unfinished.saturating_sub(1);
            }
            let kind = if is_exactly_once { PacketType::PubRec } else { PacketType::PubAck };
            self.ack(kind, id, reason);
        }
    }

    pub(super) fn on_pubrel(&mut self, ack: &Ack) {
        let id = IncomingId(ack.packet_id);
        if self.session.incoming.release(id) {
            self.unfinished = self.unfinished.saturating_sub(1);
            let sequence = self.persist(Delta::Released { id });
            self.held.push_back((sequence, Held::PubComp(id)));
        } else {
            // Unknown, or forgotten in a crash after PUBCOMP was lost: the peer must be able to finish.
            self.ack(PacketType::PubComp, ack.packet_id, ReasonCode::PacketIdentifierNotFound);
        }
    }

    fn expect_ack(&mut self, token: Token, id: PacketId, qos: QoS) -> Result<(), Violation> {
        self.acks.push_back(PendingAck { token, id, is_exactly_once: qos == QoS::ExactlyOnce, decision: None });
        self.unfinished += 1;
        let allowed = if self.version.is_v5() { self.receive_maximum } else { u16::MAX };
        if self.unfinished > usize::from(allowed) {
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

    // --- outgoing messages ---

    /// Returns how many messages at QoS 1 and 2 can be sent now.
    pub(super) fn send_quota(&self) -> usize {
        if self.resend.is_some() || !self.session.outgoing.has_room() { 0 } else { usize::from(self.quota) }
    }

    pub(super) fn publish(&mut self, outgoing: Outgoing, now: Now) -> Result<(), PublishError> {
        self.check_size(&outgoing)?;
        if outgoing.qos == QoS::AtMostOnce {
            self.send_message(&outgoing, 0, false, now);
            return Ok(());
        }
        if self.send_quota() == 0 {
            return Err(PublishError::QuotaExhausted);
        }
        self.quota -= 1;
        let Some(id) = self.session.outgoing.assign(Slot::Publish(Stage::Assigned, outgoing)) else {
            return Err(PublishError::QuotaExhausted);
        };
        self.send_or_hold(id, now);
        Ok(())
    }

    /// Sends the first PUBLISH of an exchange, as soon as what it depends on is durable.
    fn send_or_hold(&mut self, id: OutgoingId, now: Now) {
        let Some(Slot::Publish(_, outgoing)) = self.session.outgoing.slot_mut(id.0) else { return };
        if outgoing.qos == QoS::ExactlyOnce {
            let cookie = outgoing.cookie;
            let sequence = self.persist(Delta::Assigned { id, cookie });
            self.held.push_back((sequence, Held::Publish(id)));
        } else if self.held.is_empty() {
            self.send_publish(id, false, now);
        } else {
            // Behind what waits, so that first transmissions keep their order.
            self.held.push_back((self.sequence, Held::Publish(id)));
        }
    }

    fn hold_pubrel(&mut self, id: OutgoingId) {
        let sequence = self.persist(Delta::Received { id });
        self.held.push_back((sequence, Held::PubRel(id)));
    }

    pub(super) fn on_puback(&mut self, ack: &Ack) -> Result<Exchanged, Violation> {
        match self.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Publish(Stage::Published, outgoing)) if outgoing.qos == QoS::AtLeastOnce => {
                Ok(self.finish(ack.packet_id, ack.reason))
            }
            Some(Slot::Publish(..)) => Err(wrong_ack(PacketType::PubAck, "the message is not at QoS 1")),
            _ => Ok(Exchanged::Nothing),
        }
    }

    pub(super) fn on_pubrec(&mut self, ack: &Ack) -> Result<Exchanged, Violation> {
        let id = OutgoingId(ack.packet_id);
        match self.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Publish(_, outgoing)) if outgoing.qos != QoS::ExactlyOnce => {
                Err(wrong_ack(PacketType::PubRec, "the message is not at QoS 2"))
            }
            Some(Slot::Publish(Stage::Published, _)) if ack.reason.is_error() => {
                // Ended by the error; PUBREL must not follow.
                Ok(self.finish(ack.packet_id, ack.reason))
            }
            Some(Slot::Publish(stage, _)) if *stage == Stage::Published => {
                *stage = Stage::Received;
                self.hold_pubrel(id);
                Ok(Exchanged::Nothing)
            }
            Some(Slot::Publish(Stage::Released, _)) => {
                self.send_pubrel(id);
                Ok(Exchanged::Nothing)
            }
            Some(Slot::Publish(..)) => Ok(Exchanged::Nothing),
            _ => {
                if !ack.reason.is_error() {
                    self.ack(PacketType::PubRel, ack.packet_id, ReasonCode::PacketIdentifierNotFound);
                }
                Ok(Exchanged::Nothing)
            }
        }
    }

    pub(super) fn on_pubcomp(&mut self, ack: &Ack) -> Exchanged {
        match self.session.outgoing.slot_mut(ack.packet_id) {
            Some(Slot::Publish(Stage::Released, _)) => self.finish(ack.packet_id, ReasonCode::Success),
            _ => Exchanged::Nothing,
        }
    }

    /// Sends again what was unfinished when the session was resumed, as far as the peer's quota allows.
    pub(super) fn resend_unfinished(&mut self, now: Now) {
        while let Some(place) = self.resend {
            let (id, stage) = match self.session.outgoing.at_place(place) {
                None => {
                    self.resend = None;
                    return;
                }
                Some((id, Slot::Publish(stage, _))) => (id, *stage),
                Some(_) => {
                    self.resend = Some(place + 1);
                    continue;
                }
            };
            match stage {
                Stage::Released => self.send_pubrel(id),
                Stage::Received => self.hold_pubrel(id),
                Stage::Assigned | Stage::Published if self.quota == 0 => return,
                Stage::Assigned => {
                    self.quota -= 1;
                    self.send_or_hold(id, now);
                }
                Stage::Published => {
                    self.quota -= 1;
                    // [MQTT-4.4.0-1]: unacknowledged PUBLISH packets go again under their identifiers.
                    self.send_publish(id, true, now);
                }
            }
            self.resend = Some(place + 1);
        }
    }

    fn finish(&mut self, id: PacketId, reason: ReasonCode) -> Exchanged {
        let place = self.session.outgoing.distance(id);
        let before = self.session.outgoing.places();
        let Some(Slot::Publish(_, outgoing)) = self.session.outgoing.finish(id) else { return Exchanged::Nothing };
        if let Some(resend) = &mut self.resend {
            let gone = before - self.session.outgoing.places();
            debug_assert!(place < before, "a finished exchange was in the window");
            *resend = resend.saturating_sub(gone);
        }
        self.quota = self.quota.saturating_add(1).min(self.peer.receive_maximum);
        self.persist(Delta::Finished { id: OutgoingId(id), cookie: outgoing.cookie });
        Exchanged::Acknowledged(outgoing.cookie, reason)
    }

    fn persist(&mut self, delta: Delta) -> Sequence {
        self.sequence += 1;
        self.deltas.push_back(delta);
        self.sequence
    }

    fn check_size(&self, outgoing: &Outgoing) -> Result<(), PublishError> {
        let max = self.peer.packet_bytes_max;
        if outgoing.message.len() + 64 + 5 * outgoing.subscription_ids.len() <= max {
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

    fn send_publish(&mut self, id: OutgoingId, dup: bool, now: Now) {
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
        outgoing.message.encode(&head, now, &mut self.transmit);
        self.aliases_out.commit(topic, used);
    }

    fn send_pubrel(&mut self, id: OutgoingId) {
        if let Some(Slot::Publish(stage, _)) = self.session.outgoing.slot_mut(id.0) {
            *stage = Stage::Released;
            self.ack(PacketType::PubRel, id.0, ReasonCode::Success);
        }
    }

    fn ack(&mut self, kind: PacketType, id: PacketId, reason: ReasonCode) {
        codec::encode_ack(kind, id, reason, self.version, self.transmit.bytes());
    }

    // --- the end ---

    /// Sends a packet of our own making. One that cannot be encoded, or that the peer would not accept, is reduced.
    pub(super) fn send(&mut self, packet: &Packet) -> bool {
        let start = self.transmit.bytes().len();
        let is_sent = codec::encode(packet, self.version, self.transmit.bytes()).is_ok()
            && self.transmit.bytes().len() - start <= self.peer.packet_bytes_max;
        if !is_sent {
            self.transmit.bytes().truncate(start);
        }
        is_sent
    }

    /// Says DISCONNECT where the version lets this role say it.
    pub(super) fn send_disconnect(&mut self, disconnect: Disconnect) {
        let reason = disconnect.reason;
        if !self.send(&Packet::Disconnect(Box::new(disconnect))) {
            self.send(&Packet::Disconnect(Box::new(Disconnect::new(reason))));
        }
    }

    /// Returns the session, to outlive the connection.
    pub(super) fn into_session(mut self) -> SessionState {
        self.session.outgoing.forget_requests();
        self.session
    }
}

pub(super) const fn end_of(cause: EndCause, publish_will: bool) -> End {
    End { cause, publish_will, session_expiry_s: None }
}

fn wrong_ack(packet: PacketType, what: &'static str) -> Violation {
    Violation { packet, field: "packet identifier", offence: Offence::Protocol(what), rule: None }
}
