//! The server's end of a connection.
//!
//! [`opening`] lets a client in, [`authentication`] is the AUTH beside it. After that [`commands`] is what the driver
//! says and [`packets`] what the client says. Here are the inputs, the output, and how it all ends.

mod authentication;
mod commands;
mod opening;
mod options;
mod packets;

pub use opening::AcceptConnect;
pub use options::ServerOptions;

use bytes::Bytes;
use bytestring::ByteString;

use self::{authentication::Turn, opening::Asked};
use super::{
    Delta, End, EndCause, IncomingPublish, Output, Sequence,
    exchange::{Exchange, end_of},
};
use crate::{
    Now, Offence, ReasonCode, Transmit, Version, Violation,
    packet::{Auth, ConnAckProperties, Connect, Disconnect, PacketType, Subscribe, Unsubscribe},
    session::SessionState,
};

/// What a server is told, or has to decide.
#[derive(Debug)]
pub enum ServerEvent {
    /// A client asks to be let in. Answer with `accept_connect`, `reject_connect` or `challenge`; until then nothing
    /// more is read.
    Connect(Box<Connect>),
    /// A step of enhanced authentication came. While the client is not let in, answer as for `Connect`; afterwards
    /// with `challenge`, `reauthenticated` or `disconnect`.
    Auth(Box<Auth>),
    /// A message came. Answer its token, if it has one, with `accept` or `reject`.
    Publish(IncomingPublish),
    /// Answer with `suback`.
    Subscribe(Box<Subscribe>),
    /// Answer with `unsuback`.
    Unsubscribe(Box<Unsubscribe>),
    /// The client has finished a message that was sent to it, well or with an error.
    Acknowledged {
        /// The cookie of the message.
        cookie: u64,
        /// How it went.
        reason: ReasonCode,
    },
    /// The connection has ended. It is the last event.
    Ended(End),
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct ServerConnection {
    options: ServerOptions,
    exchange: Exchange,
    state: State,
    /// Milliseconds of silence after which the client counts as dead; 0 is never.
    silence_max_ms: u64,
    keep_alive_s: u16,
    session_expiry_s: u32,
    authentication_method: Option<ByteString>,
    turn: Turn,
    asked: Asked,
    has_answered: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing has come yet.
    AwaitingConnect {
        deadline_ms: u64,
    },
    /// The driver decides on CONNECT or AUTH.
    Deciding {
        deadline_ms: u64,
    },
    /// The client is to answer a challenge.
    Challenged {
        deadline_ms: u64,
    },
    Open,
    /// Ended; the event is still to be told.
    Ending(Box<End>),
    Ended,
}

impl ServerConnection {
    /// Makes the state of a connection that has just been opened.
    pub fn new(options: ServerOptions, now: Now) -> Self {
        Self {
            options,
            exchange: Exchange::new(Version::V5, options.packet_bytes_max, options.receive_maximum, now),
            state: State::AwaitingConnect {
                deadline_ms: now.monotonic_ms.saturating_add(options.connect_deadline_ms),
            },
            silence_max_ms: 0,
            keep_alive_s: 0,
            session_expiry_s: 0,
            authentication_method: None,
            turn: Turn::Nobody,
            asked: Asked::default(),
            has_answered: false,
        }
    }

    // --- inputs ---

    /// Takes the next bytes from the client. Drain `poll_output` before the next call.
    pub fn handle_input(&mut self, chunk: Bytes, now: Now) {
        if matches!(self.state, State::Ending(_) | State::Ended) {
            return;
        }
        self.exchange.handle_input(chunk, now);
    }

    /// Notes that the deadline which `poll_output` named may have come.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.deadline_ms().is_none_or(|deadline| now.monotonic_ms < deadline) {
            return;
        }
        let late = |packet, what| Violation {
            packet,
            field: "packet",
            offence: Offence::DeadlineExceeded(what),
            rule: None,
        };
        match self.state {
            State::Open => self.fail(Violation {
                packet: PacketType::Connect,
                field: "keep alive",
                offence: Offence::KeepAliveTimeout,
                rule: Some("MQTT-3.1.2-22"),
            }),
            State::AwaitingConnect { .. } => self.fail(late(PacketType::Connect, "CONNECT")),
            State::Challenged { .. } => self.fail(late(PacketType::Auth, "AUTH")),
            // Our own fault: the client may try again.
            State::Deciding { .. } => {
                self.reject_connect(ReasonCode::ServerBusy, ConnAckProperties::default())
            }
            State::Ending(_) | State::Ended => {}
        }
    }

    /// Confirms that all deltas up to `sequence` are durable; what waited for them is sent.
    pub fn handle_persisted(&mut self, sequence: Sequence, now: Now) {
        if self.is_open() {
            self.exchange.handle_persisted(sequence, now);
        }
    }

    /// Notes that the stream ended, or failed.
    pub fn handle_eof(&mut self) {
        self.end(EndCause::Transport, self.is_open());
    }

    /// Returns the next thing to do. See the module for when to call it.
    pub fn poll_output(&mut self, now: Now) -> Output<ServerEvent> {
        loop {
            if self.is_open()
                && let Some((cookie, reason)) = self.exchange.resend_unfinished(now)
            {
                return Output::Event(ServerEvent::Acknowledged { cookie, reason });
            }
            if let Some((sequence, delta)) = self.exchange.poll_delta() {
                return Output::Persist(sequence, delta);
            }
            let version = match self.state {
                State::AwaitingConnect { .. } => None,
                State::Open | State::Challenged { .. } => Some(self.exchange.version),
                State::Deciding { deadline_ms } => return Output::Wait(Some(deadline_ms)),
                State::Ending(_) => return self.report_end(),
                State::Ended => return Output::Closed,
            };
            match self.exchange.frames.next(version, crate::codec::Direction::FromClient) {
                Ok(Some(packet)) => {
                    if let Some(event) = self.on_packet(packet) {
                        return Output::Event(event);
                    }
                }
                Ok(None) => return Output::Wait(self.deadline_ms()),
                Err(violation) => self.fail(violation),
            }
        }
    }

    // --- questions ---

    /// Returns the bytes to send. The driver may add to them, and take sent ones away.
    pub const fn transmit(&mut self) -> &mut Transmit {
        &mut self.exchange.transmit
    }

    /// Returns how many messages at QoS 1 and 2 can be published now.
    pub fn send_quota(&self) -> usize {
        if self.is_open() { self.exchange.send_quota() } else { 0 }
    }

    /// Tells whether more input may be handed in; while CONNECT is being decided it may not.
    pub const fn wants_input(&self) -> bool {
        matches!(self.state, State::AwaitingConnect { .. } | State::Challenged { .. } | State::Open)
    }

    /// Tells whether the client has been let in and the connection has not ended.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Tells whether the client has sent a packet since it was let in.
    ///
    /// Until then it may not have seen CONNACK. A session that began with this connection is then best forgotten with
    /// it: told "session present" the next time, the client would take it for the one that it had before, and take
    /// new messages for old ones that have the same identifiers.
    pub const fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Returns the version that the client speaks; before CONNECT it means nothing.
    pub const fn version(&self) -> Version {
        self.exchange.version
    }

    /// Returns the largest packet that the client accepts, in bytes.
    pub const fn peer_packet_bytes_max(&self) -> usize {
        self.exchange.peer.packet_bytes_max
    }

    /// Returns the keep alive in force, in seconds; 0 is off.
    pub const fn keep_alive_s(&self) -> u16 {
        self.keep_alive_s
    }

    /// Returns the session state, to look at while the connection lasts.
    pub const fn session(&self) -> &SessionState {
        &self.exchange.session
    }

    /// Returns the session, to outlive the connection.
    pub fn into_session(self) -> SessionState {
        self.exchange.into_session()
    }

    // --- how it ends ---

    fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::AwaitingConnect { deadline_ms }
            | State::Deciding { deadline_ms }
            | State::Challenged { deadline_ms } => Some(deadline_ms),
            State::Open if self.silence_max_ms != 0 => {
                Some(self.exchange.last_received_ms.saturating_add(self.silence_max_ms))
            }
            State::Open | State::Ending(_) | State::Ended => None,
        }
    }

    fn fail(&mut self, violation: Violation) {
        let reason = violation.reason_code();
        match self.state {
            State::Open if self.exchange.version.is_v5() => {
                self.exchange.send_disconnect(Disconnect::new(reason))
            }
            State::AwaitingConnect { .. } => {
                if let Offence::UnsupportedVersion { level } = violation.offence {
                    // [MQTT-3.1.2-2]: in the form of the nearest version, which the client may know as well.
                    let is_later = level > Version::V5.level();
                    self.exchange.version = if is_later { Version::V5 } else { Version::V3_1_1 };
                    self.send_refusal(reason, ConnAckProperties::default());
                }
            }
            State::Deciding { .. } | State::Challenged { .. } => {
                self.send_refusal(reason, ConnAckProperties::default());
            }
            _ => {}
        }
        self.end(EndCause::Violation(violation), self.is_open());
    }

    fn end(&mut self, cause: EndCause, publish_will: bool) {
        if !matches!(self.state, State::Ending(_) | State::Ended) {
            self.state = State::Ending(Box::new(end_of(cause, publish_will)));
        }
    }

    fn report_end(&mut self) -> Output<ServerEvent> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ending(end) => Output::Event(ServerEvent::Ended(*end)),
            _ => Output::Closed,
        }
    }
}

/// An output must stay small: it is moved for every packet.
const _: () = assert!(size_of::<Output<ServerEvent>>() <= 128);

/// A delta is not part of the size of an event.
const _: () = assert!(size_of::<Delta>() <= 16);
