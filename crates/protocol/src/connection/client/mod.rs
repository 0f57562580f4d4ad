//! The client's end of a connection.
//!
//! [`opening`] reads CONNACK, [`authentication`] is the AUTH beside it. After that [`commands`] is what the driver says
//! and [`packets`] what the server says. Here are the inputs, the output, and how it all ends.

mod authentication;
mod commands;
mod opening;
mod options;
mod packets;

pub use options::ClientOptions;

use bytes::Bytes;

use super::{
    End, EndCause, IncomingPublish, Output, Sequence,
    exchange::{Exchange, end_of},
};
use crate::{
    Now, Offence, QoS, ReasonCode, Transmit, Violation,
    codec::{Direction, EncodeError},
    limits,
    packet::{Auth, ConnAck, Disconnect, Packet, PacketType, SubAck},
    scram::ServerProof,
    session::{Outgoing, SessionState},
};

/// What a client is told.
#[derive(Debug)]
pub enum ClientEvent {
    /// The server let us in.
    Connected {
        /// Its answer.
        connack: Box<ConnAck>,
        /// What was unfinished in a session that the server no longer has, oldest first: publish it anew.
        ///
        /// Who stores deltas makes it durable, before anything else is sent, that all of that session is void. The
        /// deltas of messages that came in it and are not decided are void too: they must not be stored any more.
        lost: Vec<Outgoing>,
    },
    /// The server refused us. [`ClientEvent::Ended`] follows.
    Refused(Box<ConnAck>),
    /// A step of enhanced authentication came. Answer "continue authentication" with `continue_auth`.
    Auth(Box<Auth>),
    /// A message came. Answer its token, if it has one, with `accept` or `reject`.
    Publish(IncomingPublish),
    /// The server has finished a message, well or with an error.
    Acknowledged {
        /// The cookie of the message.
        cookie: u64,
        /// How it went.
        reason: ReasonCode,
    },
    /// SUBACK came.
    Subscribed(Box<SubAck>),
    /// UNSUBACK came.
    Unsubscribed(Box<SubAck>),
    /// The connection has ended. It is the last event.
    Ended(End),
}

/// The client's end of a connection.
#[derive(Debug)]
pub struct ClientConnection {
    options: Box<ClientOptions>,
    exchange: Exchange,
    state: State,
    keep_alive_ms: u64,
    ping_deadline_ms: Option<u64>,
    /// How many messages at QoS 1 and 2 the server lets us have in flight.
    server_receive_maximum: u16,
    maximum_qos: QoS,
    retain_available: bool,
    is_reauthenticating: bool,
    /// What the server is to show at the end of the authentication that is under way.
    proof: Option<ServerProof>,
}

#[derive(Debug)]
enum State {
    AwaitingConnAck {
        deadline_ms: u64,
    },
    Open,
    /// Ended; a refusal may still have to be told before the end.
    Ending(Box<End>),
    Ended,
}

impl ClientConnection {
    /// Makes the state of a connection that has just been opened; CONNECT stands in `transmit`.
    ///
    /// `session` is what is left of the session that CONNECT resumes, or empty.
    ///
    /// # Errors
    /// CONNECT cannot be encoded in its version.
    pub fn new(options: ClientOptions, session: SessionState, now: Now) -> Result<Self, EncodeError> {
        let connect = &options.connect;
        let packet_bytes_max =
            connect.properties.maximum_packet_bytes.unwrap_or(limits::PACKET_BYTES_DEFAULT);
        let receive_maximum = connect.properties.receive_maximum.unwrap_or(limits::RECEIVE_MAXIMUM_DEFAULT);
        let receive_maximum = receive_maximum.saturating_add(options.receive_tolerance);
        let mut exchange = Exchange::new(connect.version, packet_bytes_max, receive_maximum, now);
        exchange.session = session;
        let packet = Packet::Connect(Box::new(connect.clone()));
        crate::codec::encode(&packet, connect.version, exchange.transmit.bytes())?;
        Ok(Self {
            exchange,
            state: State::AwaitingConnAck {
                deadline_ms: now.monotonic_ms.saturating_add(options.connack_deadline_ms),
            },
            keep_alive_ms: u64::from(connect.keep_alive_s) * 1_000,
            ping_deadline_ms: None,
            server_receive_maximum: limits::RECEIVE_MAXIMUM_DEFAULT,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            is_reauthenticating: false,
            proof: None,
            options: Box::new(options),
        })
    }

    // --- inputs ---

    /// Takes the next bytes from the server. Drain `poll_output` before the next call.
    pub fn handle_input(&mut self, chunk: Bytes, now: Now) {
        if matches!(self.state, State::Ending(_) | State::Ended) {
            return;
        }
        self.ping_deadline_ms = None;
        self.exchange.handle_input(chunk, now);
    }

    /// Notes that bytes have been handed to the network, which is what the keep alive counts [MQTT-3.1.2-20].
    pub const fn handle_sent(&mut self, now: Now) {
        self.exchange.last_sent_ms = now.monotonic_ms;
    }

    /// Notes that the deadline which `poll_output` named may have come: sends PINGREQ, or gives the server up.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.deadline_ms().is_none_or(|deadline| now.monotonic_ms < deadline) {
            return;
        }
        match (&self.state, self.ping_deadline_ms) {
            (State::AwaitingConnAck { .. }, _) => self.fail(Violation {
                packet: PacketType::ConnAck,
                field: "packet",
                offence: Offence::DeadlineExceeded("CONNACK"),
                rule: None,
            }),
            (State::Open, Some(_)) => self.fail(Violation {
                packet: PacketType::PingResp,
                field: "keep alive",
                offence: Offence::KeepAliveTimeout,
                rule: None,
            }),
            (State::Open, None) => {
                crate::codec::encode_ping_req(self.exchange.transmit.bytes());
                self.exchange.last_sent_ms = now.monotonic_ms;
                self.ping_deadline_ms = Some(now.monotonic_ms.saturating_add(self.options.ping_deadline_ms));
            }
            (State::Ending(_) | State::Ended, _) => {}
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
        self.end(EndCause::Transport);
    }

    /// Changes how many messages at QoS 1 and 2 may be in flight, besides what the server allows: now, and for what is
    /// sent again when a session is resumed.
    pub fn set_in_flight_maximum(&mut self, maximum: u16) {
        self.options.in_flight_maximum = maximum;
        if self.is_open() {
            self.exchange.peer.receive_maximum = self.server_receive_maximum.min(maximum);
        }
    }

    /// Returns the next thing to do. See the module for when to call it.
    pub fn poll_output(&mut self, now: Now) -> Output<ClientEvent> {
        loop {
            if self.is_open()
                && let Some((cookie, reason)) = self.exchange.resend_unfinished(now)
            {
                return Output::Event(ClientEvent::Acknowledged { cookie, reason });
            }
            if let Some((sequence, delta)) = self.exchange.poll_delta() {
                return Output::Persist(sequence, delta);
            }
            match self.state {
                State::AwaitingConnAck { .. } | State::Open => {}
                State::Ending(_) => return self.report_end(),
                State::Ended => return Output::Closed,
            }
            match self.exchange.frames.next(Some(self.exchange.version), Direction::FromServer) {
                Ok(Some(packet)) => match self.on_packet(packet) {
                    Ok(Some(event)) => return Output::Event(event),
                    Ok(None) => {}
                    Err(violation) => self.fail(violation),
                },
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

    /// Tells whether CONNACK has come and the connection has not ended.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Returns the largest packet that the server accepts, in bytes.
    pub const fn peer_packet_bytes_max(&self) -> usize {
        self.exchange.peer.packet_bytes_max
    }

    /// Returns the session, to look at while the connection lasts.
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
            State::AwaitingConnAck { deadline_ms } => Some(deadline_ms),
            State::Open => self.ping_deadline_ms.or_else(|| {
                // Silence in either direction calls for a ping: one that only sends would never see a dead peer.
                let quiet_since = self.exchange.last_sent_ms.min(self.exchange.last_received_ms);
                (self.keep_alive_ms != 0).then(|| quiet_since.saturating_add(self.keep_alive_ms))
            }),
            State::Ending(_) | State::Ended => None,
        }
    }

    fn fail(&mut self, violation: Violation) {
        // A server that is silent would not read why, and "keep alive timeout" is a server's word.
        let is_heard = violation.offence != Offence::KeepAliveTimeout;
        if is_heard && self.is_open() && self.exchange.version.is_v5() {
            self.exchange.send_disconnect(Disconnect::new(violation.reason_code()));
        }
        self.end(EndCause::Violation(violation));
    }

    fn end(&mut self, cause: EndCause) {
        if !matches!(self.state, State::Ending(_) | State::Ended) {
            self.state = State::Ending(Box::new(end_of(cause, false)));
        }
    }

    fn report_end(&mut self) -> Output<ClientEvent> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ending(end) => Output::Event(ClientEvent::Ended(*end)),
            _ => Output::Closed,
        }
    }
}

/// An output must stay small: it is moved for every packet.
const _: () = assert!(size_of::<Output<ClientEvent>>() <= 128);
