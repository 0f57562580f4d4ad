//! The two ends of a connection under test: a core with the smallest driver around it.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;

use crate::{
    Now, ReasonCode, Transmit, Version,
    codec::{Direction, Frames},
    connection::{
        AcceptConnect, ClientConnection, ClientEvent, Delta, Output, PublishError, Sequence,
        ServerConnection, ServerEvent,
    },
    limits,
    packet::Packet,
    session::{Outgoing, SessionState, Token},
};

/// What both cores have in common.
pub trait Core {
    /// What the driver is told.
    type Event: fmt::Debug;
    /// Who sends what this core reads.
    const READS: Direction;

    /// See the cores.
    fn handle_input(&mut self, chunk: Bytes, now: Now);
    /// See the cores.
    fn handle_timeout(&mut self, now: Now);
    /// See the cores.
    fn handle_persisted(&mut self, sequence: Sequence, now: Now);
    /// See the cores.
    fn handle_eof(&mut self);
    /// See the cores.
    fn poll_output(&mut self, now: Now) -> Output<Self::Event>;
    /// See the cores.
    fn transmit(&mut self) -> &mut Transmit;
    /// Notes that bytes were handed to the network, where the core wants to know.
    fn handle_sent(&mut self, now: Now);
    /// See the cores.
    fn publish(&mut self, outgoing: Outgoing, now: Now) -> Result<(), PublishError>;
    /// See the cores.
    fn accept(&mut self, token: Token);
    /// See the cores.
    fn reject(&mut self, token: Token, reason: ReasonCode);
    /// See the cores.
    fn send_quota(&self) -> usize;
    /// See the cores.
    fn is_open(&self) -> bool;
    /// See the cores.
    fn into_session(self) -> SessionState;
}

macro_rules! core {
    ($core:ty, $event:ty, $reads:expr, $sent:expr) => {
        impl Core for $core {
            type Event = $event;
            const READS: Direction = $reads;

            fn handle_input(&mut self, chunk: Bytes, now: Now) {
                Self::handle_input(self, chunk, now);
            }
            fn handle_timeout(&mut self, now: Now) {
                Self::handle_timeout(self, now);
            }
            fn handle_persisted(&mut self, sequence: Sequence, now: Now) {
                Self::handle_persisted(self, sequence, now);
            }
            fn handle_eof(&mut self) {
                Self::handle_eof(self);
            }
            fn poll_output(&mut self, now: Now) -> Output<Self::Event> {
                Self::poll_output(self, now)
            }
            fn transmit(&mut self) -> &mut Transmit {
                Self::transmit(self)
            }
            fn handle_sent(&mut self, now: Now) {
                $sent(self, now);
            }
            fn publish(&mut self, outgoing: Outgoing, now: Now) -> Result<(), PublishError> {
                Self::publish(self, outgoing, now)
            }
            fn accept(&mut self, token: Token) {
                Self::accept(self, token);
            }
            fn reject(&mut self, token: Token, reason: ReasonCode) {
                Self::reject(self, token, reason);
            }
            fn send_quota(&self) -> usize {
                Self::send_quota(self)
            }
            fn is_open(&self) -> bool {
                Self::is_open(self)
            }
            fn into_session(self) -> SessionState {
                Self::into_session(self)
            }
        }
    };
}

core!(ClientConnection, ClientEvent, Direction::FromServer, Self::handle_sent);
core!(ServerConnection, ServerEvent, Direction::FromClient, |_: &mut Self, _| {});

/// When deltas are confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persisting {
    /// As soon as they come.
    AtOnce,
    /// When the test says so, which may be never.
    Late,
}

/// A core, and what it said.
#[derive(Debug)]
pub struct End<C: Core> {
    /// The core.
    pub core: C,
    /// The events that nobody has taken yet.
    pub events: VecDeque<C::Event>,
    /// The deltas that are not confirmed.
    pub unconfirmed: VecDeque<(Sequence, Delta)>,
    /// Every delta that ever came.
    pub deltas: Vec<Delta>,
    /// When deltas are confirmed.
    pub persisting: Persisting,
    /// The deadline that was named last.
    pub deadline_ms: Option<u64>,
    /// Whether the stream is to be closed.
    pub is_closed: bool,
}

impl<C: Core> End<C> {
    /// Puts a driver around a core.
    pub const fn new(core: C, persisting: Persisting) -> Self {
        Self {
            core,
            events: VecDeque::new(),
            unconfirmed: VecDeque::new(),
            deltas: Vec::new(),
            persisting,
            deadline_ms: None,
            is_closed: false,
        }
    }

    /// Takes every output until there is nothing more.
    pub fn drain(&mut self, now: Now) {
        loop {
            match self.core.poll_output(now) {
                Output::Event(event) => self.events.push_back(event),
                Output::Persist(sequence, delta) => {
                    self.deltas.push(delta);
                    match self.persisting {
                        Persisting::AtOnce => self.core.handle_persisted(sequence, now),
                        Persisting::Late => self.unconfirmed.push_back((sequence, delta)),
                    }
                }
                Output::Wait(deadline_ms) => {
                    self.deadline_ms = deadline_ms;
                    return;
                }
                Output::Closed => {
                    self.deadline_ms = None;
                    self.is_closed = true;
                    return;
                }
            }
        }
    }

    /// Hands bytes in.
    pub fn receive(&mut self, bytes: &[u8], now: Now) {
        self.core.handle_input(Bytes::copy_from_slice(bytes), now);
        self.drain(now);
    }

    /// Confirms the oldest delta that is not confirmed, and tells which one that was.
    pub fn confirm_one(&mut self, now: Now) -> Option<Delta> {
        let (sequence, delta) = self.unconfirmed.pop_front()?;
        self.core.handle_persisted(sequence, now);
        self.drain(now);
        Some(delta)
    }

    /// Confirms all deltas.
    pub fn confirm_all(&mut self, now: Now) {
        while self.confirm_one(now).is_some() {}
    }

    /// Lets the core look at its deadline, if that has come.
    pub fn tick(&mut self, now: Now) {
        if self.deadline_ms.is_some_and(|deadline| deadline <= now.monotonic_ms) {
            self.core.handle_timeout(now);
            self.drain(now);
        }
    }

    /// Ends the stream.
    pub fn hang_up(&mut self, now: Now) {
        self.core.handle_eof();
        self.drain(now);
    }

    /// Takes the bytes that stand to be sent.
    pub fn sent_bytes(&mut self, now: Now) -> Vec<u8> {
        let bytes = self.core.transmit().to_vec();
        if !bytes.is_empty() {
            self.core.transmit().clear();
            self.core.handle_sent(now);
        }
        bytes
    }
}

impl End<ServerConnection> {
    /// Lets the client in whose CONNECT is the next event.
    ///
    /// # Panics
    /// If the next event is no CONNECT.
    pub fn let_in(&mut self, accept: AcceptConnect, now: Now) {
        let event = self.events.pop_front();
        assert!(matches!(event, Some(ServerEvent::Connect(_))), "CONNECT is expected and not {event:?}");
        self.core.accept_connect(accept, now);
        self.drain(now);
    }
}

/// Reads the packets in bytes that one end sent.
///
/// # Panics
/// If there are others than whole packets in them.
pub fn packets(bytes: &[u8], version: Version, from: Direction) -> Vec<Packet> {
    let mut frames = Frames::new(u32::try_from(limits::PACKET_BYTES_MAX).unwrap_or(u32::MAX));
    frames.push(Bytes::copy_from_slice(bytes));
    let mut packets = Vec::new();
    loop {
        let is_first = packets.is_empty() && bytes.first() == Some(&0x10);
        let expected = if is_first { None } else { Some(version) };
        match frames.next(expected, from) {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => break,
            Err(violation) => panic!("{violation} in {bytes:02x?}"),
        }
    }
    assert!(frames.is_empty(), "bytes behind the last packet in {bytes:02x?}");
    packets
}

/// Encodes packets.
///
/// # Panics
/// If the version cannot say one of them.
pub fn bytes(packets: &[Packet], version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        if let Err(error) = crate::codec::encode(packet, version, &mut bytes) {
            panic!("{packet:?}: {error}");
        }
    }
    bytes
}
