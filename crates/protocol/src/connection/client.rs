use bytes::Bytes;

use super::{
    End, EndCause, IncomingPublish, Output, PublishError, Sequence,
    exchange::{AliasMaximums, Exchange, Exchanged, PeerLimits, end_of},
};
use crate::{
    Now, Offence, PacketId, QoS, ReasonCode, TopicFilter, Transmit, Version, Violation,
    codec::{Direction, EncodeError},
    limits,
    packet::{
        Auth, AuthProperties, ConnAck, Connect, Disconnect, Packet, PacketType, SubAck, Subscribe,
        SubscribeProperties, SubscribedFilter, Unsubscribe, UserProperties,
    },
    session::{Outgoing, SessionState, Slot, Token},
};

/// What a client asks for and allows.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The CONNECT to send. Its receive maximum, packet size and topic alias maximum are what we hold the server to.
    pub connect: Connect,
    /// Milliseconds from the start of the connection to CONNACK. Default 10,000.
    pub connack_deadline_ms: u64,
    /// Milliseconds from PINGREQ to a sign of life. Default 10,000.
    pub ping_deadline_ms: u64,
    /// How many messages at QoS 1 and 2 we have in flight, if the server accepts as many. Default 1,024.
    pub in_flight_maximum: u16,
    /// The highest Topic Alias that we set, if the server accepts as many. Default 16.
    pub topic_alias_own_maximum: u16,
    /// Whether a server is refused that has a session although this side holds no state of it [MQTT-3.2.2-4]: its
    /// identifiers could be taken for those of old messages. Default `false`; `true` is strict.
    pub refuse_unknown_session: bool,
    /// How many messages above the Receive Maximum in CONNECT are put up with before the connection ends
    /// [MQTT-3.3.4-9]. Default 0, which is strict; some brokers take their own setting for an unlimited one.
    pub receive_tolerance: u16,
}

impl ClientOptions {
    /// Returns the defaults around a CONNECT.
    pub const fn new(connect: Connect) -> Self {
        Self {
            connect,
            connack_deadline_ms: 10_000,
            ping_deadline_ms: 10_000,
            in_flight_maximum: 1_024,
            topic_alias_own_maximum: 16,
            refuse_unknown_session: false,
            receive_tolerance: 0,
        }
    }
}

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
    maximum_qos: QoS,
    retain_available: bool,
    is_reauthenticating: bool,
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
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            is_reauthenticating: false,
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

    // --- commands ---

    /// Sends a message.
    ///
    /// # Errors
    /// Says why it cannot be sent on this connection; nothing has changed then.
    pub fn publish(&mut self, outgoing: Outgoing, now: Now) -> Result<(), PublishError> {
        if !self.is_open() {
            return Err(PublishError::NotOpen);
        }
        if outgoing.qos > self.maximum_qos {
            return Err(PublishError::QosNotSupported);
        }
        if outgoing.retain && !self.retain_available {
            return Err(PublishError::RetainNotSupported);
        }
        self.exchange.publish(outgoing, now)
    }

    /// Sends SUBSCRIBE and returns the identifier that its SUBACK will bear, or `None` when the connection is not
    /// open, no identifier is free, or the packet is larger than the server accepts.
    pub fn subscribe(
        &mut self,
        filters: Vec<SubscribedFilter>,
        properties: SubscribeProperties,
    ) -> Option<PacketId> {
        let count = u32::try_from(filters.len()).ok()?;
        self.request(Slot::Subscribe(count), |packet_id| {
            Packet::Subscribe(Box::new(Subscribe { packet_id, filters, properties }))
        })
    }

    /// Sends UNSUBSCRIBE and returns the identifier that its UNSUBACK will bear, or `None` as for `subscribe`.
    pub fn unsubscribe(
        &mut self,
        filters: Vec<TopicFilter>,
        user_properties: UserProperties,
    ) -> Option<PacketId> {
        let count = u32::try_from(filters.len()).ok()?;
        self.request(Slot::Unsubscribe(count), |packet_id| {
            Packet::Unsubscribe(Box::new(Unsubscribe { packet_id, filters, user_properties }))
        })
    }

    /// Accepts a message: PUBACK or PUBREC follows in its turn. Call it when the message is durable.
    ///
    /// The token may be of an earlier connection of the session: the answer then leaves when the server repeats the
    /// message.
    pub fn accept(&mut self, token: Token) {
        self.decide(token, ReasonCode::Success);
    }

    /// Rejects a message. MQTT 5 says so in PUBACK or PUBREC; 3.1 and 3.1.1 cannot, and acknowledge it.
    pub fn reject(&mut self, token: Token, reason: ReasonCode) {
        let reason = if self.exchange.version.is_v5() { reason } else { ReasonCode::Success };
        self.decide(token, reason);
    }

    /// Answers a challenge of the server.
    pub fn continue_auth(&mut self, properties: AuthProperties) {
        self.send_auth(ReasonCode::ContinueAuthentication, properties);
    }

    /// Begins to authenticate again on an open connection whose CONNECT named a method [MQTT-4.12.1-1]; does nothing
    /// on any other, and while the last time is not over.
    pub fn reauthenticate(&mut self, properties: AuthProperties) {
        let has_method = self.options.connect.properties.authentication_method.is_some();
        if self.is_open() && has_method && !self.is_reauthenticating {
            self.is_reauthenticating = true;
            self.send_auth(ReasonCode::ReAuthenticate, properties);
        }
    }

    /// Says DISCONNECT and ends the connection.
    pub fn disconnect(&mut self, mut disconnect: Disconnect) {
        if self.is_open() {
            // Only a server may say it.
            disconnect.server_reference = None;
            let reason = disconnect.reason;
            self.exchange.send_disconnect(disconnect);
            self.end(EndCause::Local(reason));
        } else {
            self.end(EndCause::Local(disconnect.reason));
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

    // --- packets ---

    fn on_packet(&mut self, packet: Packet) -> Result<Option<ClientEvent>, Violation> {
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

    fn on_connack(&mut self, connack: Box<ConnAck>) -> Result<ClientEvent, Violation> {
        if connack.reason != ReasonCode::Success {
            self.end(EndCause::Refused(connack.reason));
            return Ok(ClientEvent::Refused(connack));
        }
        self.check_connack(&connack)?;
        let mut lost = Vec::new();
        // A 3.1 server does not say whether there was a session: it goes on unless a clean one was asked for.
        let connect = &self.options.connect;
        let goes_on = connack.session_present || (connect.version == Version::V3_1 && !connect.clean_start);
        if !goes_on {
            let session = &mut self.exchange.session;
            lost = session.outgoing.take_unfinished();
            session.incoming.clear();
        }
        self.take_limits(&connack);
        let peer = self.server_limits(&connack);
        let properties = &connack.properties;
        let aliases = AliasMaximums {
            incoming: self.options.connect.properties.topic_alias_maximum.unwrap_or(0),
            outgoing: properties.topic_alias_maximum.unwrap_or(0).min(self.options.topic_alias_own_maximum),
        };
        self.state = State::Open;
        self.exchange.open(peer, aliases);
        Ok(ClientEvent::Connected { connack, lost })
    }

    fn check_connack(&self, connack: &ConnAck) -> Result<(), Violation> {
        let connect = &self.options.connect;
        let wrong_session = |what, rule| Violation {
            packet: PacketType::ConnAck,
            field: "session present",
            offence: Offence::Protocol(what),
            rule: Some(rule),
        };
        if connack.session_present && connect.clean_start {
            return Err(wrong_session("a clean start was asked for", "MQTT-3.2.2-2"));
        }
        if connack.session_present && self.options.refuse_unknown_session {
            return Err(wrong_session("this side holds no state of the session", "MQTT-3.2.2-4"));
        }
        let method = &connack.properties.authentication_method;
        if method.is_some() && *method != connect.properties.authentication_method {
            let violation = wrong_auth("another method than CONNECT named", "MQTT-4.12.0-5");
            return Err(Violation { packet: PacketType::ConnAck, ..violation });
        }
        Ok(())
    }

    fn take_limits(&mut self, connack: &ConnAck) {
        let properties = &connack.properties;
        if let Some(seconds) = properties.server_keep_alive_s {
            // [MQTT-3.2.2-21]: the server's value replaces ours.
            self.keep_alive_ms = u64::from(seconds) * 1_000;
        }
        self.maximum_qos = properties.maximum_qos.unwrap_or(QoS::ExactlyOnce);
        self.retain_available = properties.retain_available.unwrap_or(true);
    }

    fn server_limits(&self, connack: &ConnAck) -> PeerLimits {
        let properties = &connack.properties;
        PeerLimits {
            receive_maximum: properties
                .receive_maximum
                .unwrap_or(limits::RECEIVE_MAXIMUM_DEFAULT)
                .min(self.options.in_flight_maximum),
            packet_bytes_max: properties
                .maximum_packet_bytes
                .map_or(limits::PACKET_BYTES_MAX, |bytes| bytes as usize),
        }
    }

    fn on_auth(&mut self, auth: Box<Auth>) -> Result<ClientEvent, Violation> {
        let own = &self.options.connect.properties.authentication_method;
        let method = &auth.properties.method;
        // The last AUTH of an exchange may leave everything out.
        if own.is_none() {
            return Err(wrong_auth("CONNECT named no method", "MQTT-4.12.0-6"));
        }
        if method.is_some() && method != own {
            return Err(wrong_auth("another method than CONNECT named", "MQTT-4.12.0-5"));
        }
        let is_expected = match self.state {
            State::AwaitingConnAck { .. } => auth.reason == ReasonCode::ContinueAuthentication,
            _ => self.is_reauthenticating,
        };
        if !is_expected {
            return Err(wrong_auth("it was not the server's turn", "MQTT-4.12.0-2"));
        }
        if auth.reason == ReasonCode::Success {
            self.is_reauthenticating = false;
        }
        Ok(ClientEvent::Auth(auth))
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

    // --- parts ---

    fn decide(&mut self, token: Token, reason: ReasonCode) {
        if self.is_open() {
            self.exchange.decide(token, reason);
        } else {
            self.exchange.session.incoming.decide(token, reason);
        }
    }

    fn request(&mut self, slot: Slot, packet: impl FnOnce(PacketId) -> Packet) -> Option<PacketId> {
        if !self.is_open() {
            return None;
        }
        let id = self.exchange.session.outgoing.assign(slot)?;
        if self.exchange.send(&packet(id.packet_id())) {
            return Some(id.packet_id());
        }
        // The identifier is free again when sending fails.
        self.exchange.session.outgoing.finish(id.packet_id());
        None
    }

    fn send_auth(&mut self, reason: ReasonCode, mut properties: AuthProperties) {
        if properties.method.is_none() {
            properties.method.clone_from(&self.options.connect.properties.authentication_method);
        }
        if matches!(self.state, State::AwaitingConnAck { .. } | State::Open) {
            self.exchange.send(&Packet::Auth(Box::new(Auth { reason, properties })));
        }
    }

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

const fn wrong_auth(what: &'static str, rule: &'static str) -> Violation {
    Violation {
        packet: PacketType::Auth,
        field: "authentication method",
        offence: Offence::Protocol(what),
        rule: Some(rule),
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

/// An output must stay small: it is moved for every packet.
const _: () = assert!(size_of::<Output<ClientEvent>>() <= 128);
