//! What both roles share: the packets of publishing, in both directions, on top of a session.
//!
//! [`incoming`] answers what the peer publishes, [`outgoing`] sends what this side does. Here is what they have in
//! common: the deltas and the packets that wait for them, and sending a packet of our own making.
//!
//! It does *not* know whether the connection is open: the roles do, and call it only then.

mod incoming;
mod outgoing;

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Delta, End, EndCause, IncomingPublish, Sequence,
    alias::{IncomingAliases, OutgoingAliases},
};
use crate::{
    Now, PacketId, ReasonCode, Transmit, Version,
    codec::{self, Frames},
    limits,
    packet::{Disconnect, Packet, PacketType},
    session::{IncomingId, OutgoingId, SessionState},
};
use incoming::PendingAck;

/// The exchange of packets on one connection.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) version: Version,
    pub(super) session: SessionState,
    pub(super) frames: Frames,
    pub(super) transmit: Transmit,
    pub(super) peer: PeerLimits,
    /// How many incoming messages at QoS 1 and 2 may be unfinished.
    receive_maximum: u16,
    /// How many outgoing exchanges at QoS 1 and 2 have been sent, or sent again, on this connection and are unfinished.
    in_flight: usize,
    /// PUBACK and PUBREC in the order of their PUBLISH packets [MQTT-4.6.0-2].
    acks: VecDeque<PendingAck>,
    /// How many messages at QoS 1 came on this connection and are unanswered.
    unanswered: usize,
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

/// The highest Topic Alias in each direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct AliasMaximums {
    pub(super) incoming: u16,
    pub(super) outgoing: u16,
}

#[derive(Debug, Clone, Copy)]
enum Held {
    Publish(OutgoingId),
    PubRel(OutgoingId),
    PubComp(IncomingId, ReasonCode),
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
            in_flight: 0,
            acks: VecDeque::new(),
            unanswered: 0,
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

    /// Begins the exchange under what the peer announced. What is unfinished in the session goes out again with the
    /// next calls of `resend_unfinished`.
    pub(super) fn open(&mut self, peer: PeerLimits, aliases: AliasMaximums) {
        self.session.outgoing.forget_requests();
        self.session.incoming.begin_connection();
        self.peer = peer;
        self.aliases_in = IncomingAliases::new(aliases.incoming);
        self.aliases_out = OutgoingAliases::new(aliases.outgoing);
        self.resend = (!self.session.outgoing.is_empty()).then_some(0);
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
                Held::PubComp(id, reason) => self.ack(PacketType::PubComp, id.0, reason),
            }
        }
    }

    fn persist(&mut self, delta: Delta) -> Sequence {
        self.sequence += 1;
        self.deltas.push_back(delta);
        self.sequence
    }

    fn hold(&mut self, delta: Delta, held: Held) {
        let sequence = self.persist(delta);
        self.held.push_back((sequence, held));
    }

    fn ack(&mut self, kind: PacketType, id: PacketId, reason: ReasonCode) {
        codec::encode_ack(kind, id, reason, self.version, self.transmit.bytes());
    }

    /// Sends a packet of our own making, and tells whether it could be encoded and the peer accepts its size.
    pub(super) fn send(&mut self, packet: &Packet) -> bool {
        let start = self.transmit.bytes().len();
        let is_sent = codec::encode(packet, self.version, self.transmit.bytes()).is_ok()
            && self.transmit.bytes().len() - start <= self.peer.packet_bytes_max;
        if !is_sent {
            self.transmit.bytes().truncate(start);
        }
        is_sent
    }

    /// Says DISCONNECT, reduced to its reason where the peer would not accept more.
    pub(super) fn send_disconnect(&mut self, mut disconnect: Disconnect) {
        if !disconnect.reason.is_allowed_in(PacketType::Disconnect) {
            disconnect.reason = ReasonCode::UnspecifiedError;
        }
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
