use bytes::Bytes;
use bytestring::ByteString;

use super::{
    Delta, End, EndCause, IncomingPublish, Output, PublishError, Sequence,
    exchange::{AliasMaximums, Exchange, Exchanged, PeerLimits, end_of},
};
use crate::{
    Now, Offence, PacketId, ReasonCode, Transmit, Version, Violation, limits,
    packet::{
        Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, Disconnect, Packet, PacketType,
        ReasonProperties, SubAck, Subscribe, Unsubscribe,
    },
    session::{Outgoing, SessionState, Token},
};

/// What a server allows its clients.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    /// The largest packet that is accepted, in bytes. Default 16 MiB.
    pub packet_bytes_max: u32,
    /// How many messages at QoS 1 and 2 a client may have unfinished, 1 to 65,535. Default 1,024.
    pub receive_maximum: u16,
    /// The highest Topic Alias that a client may set. Default 16.
    pub topic_alias_maximum: u16,
    /// The highest Topic Alias that we set, if the client accepts as many. Default 16.
    pub topic_alias_own_maximum: u16,
    /// How many messages at QoS 1 and 2 we have in flight to a client, if it accepts as many. Default 1,024.
    pub in_flight_maximum: u16,
    /// Milliseconds from the start of the connection to an accepted CONNECT. Default 10,000.
    pub connect_deadline_ms: u64,
    /// The longest keep alive that a client may ask for, in seconds; 0 allows any, and none. Default 0.
    pub keep_alive_max_s: u16,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            packet_bytes_max: limits::PACKET_BYTES_DEFAULT,
            receive_maximum: 1_024,
            topic_alias_maximum: 16,
            topic_alias_own_maximum: 16,
            in_flight_maximum: 1_024,
            connect_deadline_ms: 10_000,
            keep_alive_max_s: 0,
        }
    }
}

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

/// How a client is let in.
#[derive(Debug, Default)]
pub struct AcceptConnect {
    /// The session that it resumes, or an empty one.
    pub session: SessionState,
    /// Whether there was a session. Without one, and after a CONNECT with Clean Start, `session` is not used.
    pub session_present: bool,
    /// Properties of CONNACK. Receive maximum, packet size, topic alias and keep alive are filled in where they are
    /// `None`.
    pub properties: ConnAckProperties,
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

/// Whose turn it is in an authentication on an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody is authenticating.
    Nobody,
    Client,
    Server,
}

/// What CONNECT asked for and announced.
#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    peer: PeerLimits,
    topic_alias_maximum: u16,
    clean_start: bool,
    wants_problem_information: bool,
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

    // --- commands ---

    /// Lets the client in: sends CONNACK and what is unfinished in the session.
    ///
    /// The connection ends instead when CONNACK cannot be made small enough for the client. The session is not lost
    /// by that: `into_session` returns it.
    pub fn accept_connect(&mut self, accept: AcceptConnect, now: Now) {
        if !matches!(self.state, State::Deciding { .. }) {
            return;
        }
        let AcceptConnect { session, session_present, mut properties } = accept;
        // [MQTT-3.2.2-2]: there is nothing to resume after a clean start, whatever the driver says.
        let session_present = session_present && !self.asked.clean_start;
        if session_present {
            self.exchange.session = session;
        }
        self.agree_on_keep_alive(&mut properties);
        self.announce(&mut properties);
        let is_shown = self.exchange.version != Version::V3_1;
        let connack =
            ConnAck { session_present: session_present && is_shown, reason: ReasonCode::Success, properties };
        if !self.send_connack(connack) {
            self.end(EndCause::Local(ReasonCode::PacketTooLarge), false);
            return;
        }
        self.state = State::Open;
        self.exchange.last_received_ms = now.monotonic_ms;
        let aliases = AliasMaximums {
            incoming: self.options.topic_alias_maximum,
            outgoing: self.asked.topic_alias_maximum.min(self.options.topic_alias_own_maximum),
        };
        self.exchange.open(self.asked.peer, aliases);
    }

    /// Refuses the client: sends CONNACK with an error and ends the connection.
    pub fn reject_connect(&mut self, reason: ReasonCode, properties: ConnAckProperties) {
        if matches!(self.state, State::Deciding { .. }) {
            self.send_refusal(reason, properties);
            self.end(EndCause::Local(reason), false);
        }
    }

    /// Sends AUTH with "continue authentication": the client is to answer.
    ///
    /// Does nothing when it is not our turn: no CONNECT or AUTH that names a method waits for an answer.
    pub fn challenge(&mut self, properties: AuthProperties) {
        match self.state {
            State::Deciding { deadline_ms } if self.authentication_method.is_some() => {
                self.send_auth(ReasonCode::ContinueAuthentication, properties);
                self.state = State::Challenged { deadline_ms };
            }
            State::Open if self.turn == Turn::Server => {
                self.send_auth(ReasonCode::ContinueAuthentication, properties);
                self.turn = Turn::Client;
            }
            _ => {}
        }
    }

    /// Sends AUTH with "success": the client has authenticated itself again. Does nothing when it has not asked.
    pub fn reauthenticated(&mut self, properties: AuthProperties) {
        if self.is_open() && self.turn == Turn::Server {
            self.send_auth(ReasonCode::Success, properties);
            self.turn = Turn::Nobody;
        }
    }

    /// Accepts a message: PUBACK or PUBREC follows in its turn. Call it when the message is durable.
    pub fn accept(&mut self, token: Token) {
        self.accept_with(token, ReasonCode::Success);
    }

    /// Accepts a message with a reason that is no error, such as "no matching subscribers".
    ///
    /// The token may be of an earlier connection of the session: the answer then leaves when the client repeats the
    /// message.
    pub fn accept_with(&mut self, token: Token, reason: ReasonCode) {
        self.decide(token, reason);
    }

    /// Rejects a message.
    ///
    /// MQTT 5 says so in PUBACK or PUBREC. 3.1 and 3.1.1 cannot: a message that is not authorised is acknowledged
    /// all the same [MQTT-3.3.5-2], and for any other reason the connection ends.
    pub fn reject(&mut self, token: Token, reason: ReasonCode) {
        if self.exchange.version.is_v5() {
            self.decide(token, reason);
        } else if reason == ReasonCode::NotAuthorized {
            self.decide(token, ReasonCode::Success);
        } else {
            self.disconnect(reason);
            // Now only the session learns of it: the identifier is free for the next attempt.
            self.decide(token, reason);
        }
    }

    /// Answers SUBSCRIBE with a reason code a filter.
    pub fn suback(&mut self, packet_id: PacketId, reasons: Vec<ReasonCode>) {
        let reasons =
            if self.exchange.version.is_v5() { reasons } else { reasons.into_iter().map(to_v3).collect() };
        self.send_if_open(&Packet::SubAck(Box::new(SubAck {
            packet_id,
            reasons,
            properties: ReasonProperties::default(),
        })));
    }

    /// Answers UNSUBSCRIBE with a reason code a filter.
    pub fn unsuback(&mut self, packet_id: PacketId, reasons: Vec<ReasonCode>) {
        let properties = ReasonProperties::default();
        self.send_if_open(&Packet::UnsubAck(Box::new(SubAck { packet_id, reasons, properties })));
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Says why it cannot be sent on this connection; nothing has changed then.
    pub fn publish(&mut self, outgoing: Outgoing, now: Now) -> Result<(), PublishError> {
        if !self.is_open() {
            return Err(PublishError::NotOpen);
        }
        self.exchange.publish(outgoing, now)
    }

    /// Ends the connection from this side; MQTT 5 clients are told why.
    pub fn disconnect(&mut self, reason: ReasonCode) {
        self.disconnect_with(Disconnect::new(reason));
    }

    /// Ends the connection from this side with more to say, such as another server to use.
    pub fn disconnect_with(&mut self, mut disconnect: Disconnect) {
        // [MQTT-3.14.2-2]
        disconnect.session_expiry_s = None;
        let reason = disconnect.reason;
        match self.state {
            State::Open => {
                if self.exchange.version.is_v5() {
                    self.exchange.send_disconnect(disconnect);
                }
                self.end(EndCause::Local(reason), true);
            }
            State::Deciding { .. } => self.reject_connect(reason, ConnAckProperties::default()),
            State::AwaitingConnect { .. } | State::Challenged { .. } => {
                self.end(EndCause::Local(reason), false)
            }
            State::Ending(_) | State::Ended => {}
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

    // --- packets ---

    fn on_packet(&mut self, packet: Packet) -> Option<ServerEvent> {
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

    fn on_connect(&mut self, connect: Box<Connect>) -> Option<ServerEvent> {
        let properties = &connect.properties;
        self.exchange.version = connect.version;
        self.keep_alive_s = connect.keep_alive_s;
        self.session_expiry_s = properties.session_expiry_s.unwrap_or(0);
        self.authentication_method = properties.authentication_method.clone();
        self.asked = Asked {
            peer: PeerLimits {
                receive_maximum: properties
                    .receive_maximum
                    .unwrap_or(limits::RECEIVE_MAXIMUM_DEFAULT)
                    .min(self.options.in_flight_maximum),
                packet_bytes_max: properties
                    .maximum_packet_bytes
                    .map_or(limits::PACKET_BYTES_MAX, |bytes| bytes as usize),
            },
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            clean_start: connect.clean_start,
            wants_problem_information: properties.request_problem_information.unwrap_or(true),
        };
        self.exchange.peer = self.asked.peer;
        let deadline_ms = self.deadline_ms().unwrap_or(u64::MAX);
        self.state = State::Deciding { deadline_ms };
        if connect.client_id.is_empty() && !connect.version.is_v5() && !connect.clean_start {
            // [MQTT-3.1.3-8]
            self.reject_connect(ReasonCode::ClientIdentifierNotValid, ConnAckProperties::default());
            return None;
        }
        Some(ServerEvent::Connect(connect))
    }

    fn on_auth(&mut self, auth: Box<Auth>) -> Result<ServerEvent, Violation> {
        if self.authentication_method.is_none() || auth.properties.method != self.authentication_method {
            return Err(protocol_error(
                PacketType::Auth,
                "another method than CONNECT named",
                "MQTT-4.12.0-5",
            ));
        }
        let expected = match (&self.state, self.turn) {
            (State::Open, Turn::Nobody) => Some(ReasonCode::ReAuthenticate),
            (State::Open, Turn::Server) => None,
            _ => Some(ReasonCode::ContinueAuthentication),
        };
        if expected != Some(auth.reason) {
            return Err(protocol_error(PacketType::Auth, "not the step that is awaited", "MQTT-4.12.0-3"));
        }
        match self.state {
            State::Challenged { deadline_ms } => self.state = State::Deciding { deadline_ms },
            _ => self.turn = Turn::Server,
        }
        Ok(ServerEvent::Auth(auth))
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

    // --- parts of commands ---

    fn agree_on_keep_alive(&mut self, properties: &mut ConnAckProperties) {
        let max = self.options.keep_alive_max_s;
        let asked = self.keep_alive_s;
        if max != 0 && (asked == 0 || asked > max) && self.exchange.version.is_v5() {
            properties.server_keep_alive_s.get_or_insert(max);
        }
        if let Some(seconds) = properties.server_keep_alive_s {
            self.keep_alive_s = seconds;
        }
        self.silence_max_ms = u64::from(self.keep_alive_s) * 1_500;
    }

    fn announce(&self, properties: &mut ConnAckProperties) {
        let options = &self.options;
        if options.receive_maximum != limits::RECEIVE_MAXIMUM_DEFAULT {
            properties.receive_maximum.get_or_insert(options.receive_maximum);
        }
        if (options.packet_bytes_max as usize) < limits::PACKET_BYTES_MAX {
            properties.maximum_packet_bytes.get_or_insert(options.packet_bytes_max);
        }
        if options.topic_alias_maximum != 0 {
            properties.topic_alias_maximum.get_or_insert(options.topic_alias_maximum);
        }
        if self.authentication_method.is_some() && properties.authentication_method.is_none() {
            properties.authentication_method.clone_from(&self.authentication_method);
        }
    }

    fn send_auth(&mut self, reason: ReasonCode, mut properties: AuthProperties) {
        if properties.method.is_none() {
            properties.method.clone_from(&self.authentication_method);
        }
        if !self.asked.wants_problem_information {
            properties.reason_string = None;
            properties.user_properties.clear();
        }
        self.exchange.send(&Packet::Auth(Box::new(Auth { reason, properties })));
    }

    /// Sends CONNACK, without what is only for people where the client would not accept it [MQTT-3.2.2-19, -20].
    fn send_connack(&mut self, connack: ConnAck) -> bool {
        let mut packet = Packet::ConnAck(Box::new(connack));
        if self.exchange.send(&packet) {
            return true;
        }
        if let Packet::ConnAck(connack) = &mut packet {
            connack.properties.reason_string = None;
            connack.properties.user_properties.clear();
        }
        self.exchange.send(&packet)
    }

    fn send_refusal(&mut self, reason: ReasonCode, properties: ConnAckProperties) {
        let reason =
            if reason.is_allowed_in(PacketType::ConnAck) { reason } else { ReasonCode::UnspecifiedError };
        if !self.send_connack(ConnAck { session_present: false, reason, properties }) {
            let properties = ConnAckProperties::default();
            self.send_connack(ConnAck { session_present: false, reason, properties });
        }
    }

    fn decide(&mut self, token: Token, reason: ReasonCode) {
        if self.is_open() {
            self.exchange.decide(token, reason);
        } else {
            self.exchange.session.incoming.decide(token, reason);
        }
    }

    fn send_if_open(&mut self, packet: &Packet) {
        if self.is_open() {
            self.exchange.send(packet);
        }
    }

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

fn to_v3(reason: ReasonCode) -> ReasonCode {
    if reason.is_error() { ReasonCode::UnspecifiedError } else { reason }
}

fn protocol_error(packet: PacketType, what: &'static str, rule: &'static str) -> Violation {
    Violation {
        packet,
        field: "packet",
        offence: Offence::Protocol(what),
        rule: (!rule.is_empty()).then_some(rule),
    }
}

/// An output must stay small: it is moved for every packet.
const _: () = assert!(size_of::<Output<ServerEvent>>() <= 128);

/// A delta is not part of the size of an event.
const _: () = assert!(size_of::<Delta>() <= 16);
