//! One end against a script of packets, and both ends against each other.

use bytestring::ByteString;
use smallvec::SmallVec;

use super::ends::{Core, End, Persisting, bytes, packets};
use crate::{
    Message, Now, PacketId, QoS, ReasonCode, TopicName, Version,
    connection::{
        AcceptConnect, ClientConnection, ClientEvent, ClientOptions, ServerConnection, ServerEvent,
        ServerOptions,
    },
    packet::{
        Ack, ConnAck, ConnAckProperties, Connect, ConnectProperties, Login, Packet, Publish,
        PublishProperties,
    },
    session::{Outgoing, SessionState, Token},
};

/// The moment at which every test begins.
pub const START: Now = Now { monotonic_ms: 1_000, wall_ms: 1_700_000_000_000 };

/// A CONNECT that asks to resume its session and has no keep alive.
pub fn connect(version: Version) -> Connect {
    let properties = if version.is_v5() {
        ConnectProperties { session_expiry_s: Some(3_600), ..ConnectProperties::default() }
    } else {
        ConnectProperties::default()
    };
    Connect {
        version,
        clean_start: false,
        is_bridge: false,
        keep_alive_s: 0,
        client_id: ByteString::from_static("c"),
        will: None,
        login: Login::default(),
        properties,
    }
}

/// A CONNACK that lets the client in.
pub fn connack(session_present: bool) -> ConnAck {
    ConnAck { session_present, reason: ReasonCode::Success, properties: ConnAckProperties::default() }
}

/// A PUBLISH from a peer; its payload is its identifier, or 0.
///
/// # Panics
/// If the topic is not valid.
pub fn publish(topic: &str, qos: QoS, id: u16) -> Publish {
    Publish {
        topic: Some(topic_name(topic)),
        payload: bytes::Bytes::copy_from_slice(&id.to_be_bytes()),
        properties: PublishProperties::default(),
        packet_id: PacketId::new(id).filter(|_| qos != QoS::AtMostOnce),
        qos,
        dup: false,
        retain: false,
    }
}

/// A topic that the test knows to be valid.
///
/// # Panics
/// If it is not.
pub fn topic_name(topic: &str) -> TopicName {
    TopicName::parse(topic).unwrap_or_else(|error| panic!("{topic}: {error}"))
}

/// An acknowledgement.
///
/// # Panics
/// If the identifier is 0.
pub fn ack(id: u16, reason: ReasonCode) -> Ack {
    Ack::new(PacketId::new(id).unwrap_or_else(|| panic!("0 is no identifier")), reason)
}

/// A message to send, with its cookie as its payload.
pub fn outgoing(topic: &str, qos: QoS, cookie: u64) -> Outgoing {
    let properties = PublishProperties::default();
    let message = Message::new(&topic_name(topic), &cookie.to_be_bytes(), qos, false, &properties, START);
    Outgoing { message, subscription_ids: SmallVec::new(), cookie, qos, retain: false }
}

/// One end against a script: the test plays the peer, packet by packet.
#[derive(Debug)]
pub struct Scripted<C: Core> {
    /// The end under test.
    pub end: End<C>,
    /// The clock, which only the test moves.
    pub now: Now,
    /// The version that is spoken.
    pub version: Version,
}

impl Scripted<ServerConnection> {
    /// Returns a server that has let a client in, after its CONNACK.
    pub fn server(version: Version, persisting: Persisting) -> Self {
        let accept = AcceptConnect::default();
        Self::server_with(ServerOptions::default(), &connect(version), accept, persisting)
    }

    /// Returns a server that resumed this session.
    pub fn resumed_server(version: Version, session: SessionState, persisting: Persisting) -> Self {
        let accept = AcceptConnect { session, session_present: true, ..AcceptConnect::default() };
        Self::server_with(ServerOptions::default(), &connect(version), accept, persisting)
    }

    /// Returns a server that has let a client in; what it sent first is still to be taken.
    pub fn server_with(
        options: ServerOptions,
        connect: &Connect,
        accept: AcceptConnect,
        persisting: Persisting,
    ) -> Self {
        let end = End::new(ServerConnection::new(options, START), persisting);
        let mut this = Self { end, now: START, version: connect.version };
        this.give(&[Packet::Connect(Box::new(connect.clone()))]);
        this.end.let_in(accept, this.now);
        this
    }
}

impl Scripted<ClientConnection> {
    /// Returns a client that was let in, without a session on the other side.
    pub fn client(version: Version, persisting: Persisting) -> Self {
        let options = ClientOptions::new(connect(version));
        Self::client_with(options, SessionState::default(), &connack(false), persisting)
    }

    /// Returns a client that resumed this session.
    pub fn resumed_client(version: Version, session: SessionState, persisting: Persisting) -> Self {
        Self::client_with(ClientOptions::new(connect(version)), session, &connack(true), persisting)
    }

    /// Returns a client that got this answer; its CONNECT has been taken.
    pub fn client_with(
        options: ClientOptions,
        session: SessionState,
        connack: &ConnAck,
        persisting: Persisting,
    ) -> Self {
        let mut this = Self::waiting_client(options, session, persisting);
        this.give(&[Packet::ConnAck(Box::new(connack.clone()))]);
        this
    }

    /// Returns a client whose CONNECT is not answered yet.
    ///
    /// # Panics
    /// If CONNECT cannot be encoded.
    pub fn waiting_client(options: ClientOptions, session: SessionState, persisting: Persisting) -> Self {
        let version = options.connect.version;
        let core = ClientConnection::new(options, session, START)
            .unwrap_or_else(|error| panic!("CONNECT cannot be encoded: {error}"));
        let mut this = Self { end: End::new(core, persisting), now: START, version };
        this.end.drain(START);
        let sent = this.sent();
        assert!(matches!(sent.as_slice(), [Packet::Connect(_)]), "{sent:?}");
        this
    }
}

impl<C: Core> Scripted<C> {
    /// Hands packets of the peer in.
    pub fn give(&mut self, packets: &[Packet]) {
        let bytes = bytes(packets, self.version);
        self.end.receive(&bytes, self.now);
    }

    /// Hands packets of the peer in and returns what was sent since the last look.
    pub fn exchange(&mut self, packets: &[Packet]) -> Vec<Packet> {
        self.give(packets);
        self.sent()
    }

    /// Returns what was sent since the last look.
    pub fn sent(&mut self) -> Vec<Packet> {
        let from = match C::READS {
            crate::codec::Direction::FromClient => crate::codec::Direction::FromServer,
            crate::codec::Direction::FromServer => crate::codec::Direction::FromClient,
        };
        packets(&self.end.sent_bytes(self.now), self.version, from)
    }

    /// Publishes a message.
    ///
    /// # Panics
    /// If that is refused.
    pub fn publish(&mut self, outgoing: Outgoing) {
        if let Err(error) = self.end.core.publish(outgoing, self.now) {
            panic!("a message was not published: {error}");
        }
        self.end.drain(self.now);
    }

    /// Accepts a message.
    pub fn accept(&mut self, token: Token) {
        self.end.core.accept(token);
        self.end.drain(self.now);
    }

    /// Rejects a message.
    pub fn reject(&mut self, token: Token, reason: ReasonCode) {
        self.end.core.reject(token, reason);
        self.end.drain(self.now);
    }

    /// Moves the clock and lets the end look at its deadline.
    pub fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.end.tick(self.now);
    }

    /// Breaks the connection and returns the session.
    pub fn cut(mut self) -> SessionState {
        self.end.hang_up(self.now);
        self.end.core.into_session()
    }
}

/// A client and a server, joined by two pipes whose bytes move when the test says so.
#[derive(Debug)]
pub struct Pair {
    /// The client's end.
    pub client: End<ClientConnection>,
    /// The server's end.
    pub server: End<ServerConnection>,
    /// The clock of both, which only the test moves.
    pub now: Now,
    /// How many bytes are handed over at a time.
    pub chunk_bytes: usize,
}

impl Pair {
    /// Joins two ends that have just been made.
    ///
    /// # Panics
    /// If CONNECT cannot be encoded.
    pub fn new(
        client: ClientOptions,
        session: SessionState,
        server: ServerOptions,
        persisting: Persisting,
        now: Now,
    ) -> Self {
        let client = ClientConnection::new(client, session, now)
            .unwrap_or_else(|error| panic!("CONNECT cannot be encoded: {error}"));
        let server = ServerConnection::new(server, now);
        let mut this = Self {
            client: End::new(client, persisting),
            server: End::new(server, persisting),
            now,
            chunk_bytes: usize::MAX,
        };
        this.client.drain(now);
        this.server.drain(now);
        this
    }

    /// Joins two ends and lets the client in, with the sessions that both kept; `None` on the server is none.
    pub fn open(
        client: ClientOptions,
        session: SessionState,
        server: ServerOptions,
        kept: Option<SessionState>,
        persisting: Persisting,
    ) -> Self {
        let mut pair = Self::new(client, session, server, persisting, START);
        pair.run();
        let session_present = kept.is_some();
        let session = kept.unwrap_or_default();
        pair.server.let_in(AcceptConnect { session, session_present, ..AcceptConnect::default() }, pair.now);
        pair.run();
        pair
    }

    /// Moves bytes in both directions until there are none.
    pub fn run(&mut self) {
        while self.carry_to_server(usize::MAX) + self.carry_to_client(usize::MAX) != 0 {}
    }

    /// Moves what the client has sent, but not more than so many bytes; the rest is lost.
    pub fn carry_to_server(&mut self, bytes_max: usize) -> usize {
        let bytes = self.client.sent_bytes(self.now);
        let part = bytes.get(..bytes_max).unwrap_or(&bytes);
        for chunk in part.chunks(self.chunk_bytes) {
            self.server.receive(chunk, self.now);
        }
        part.len()
    }

    /// Moves what the server has sent, but not more than so many bytes; the rest is lost.
    pub fn carry_to_client(&mut self, bytes_max: usize) -> usize {
        let bytes = self.server.sent_bytes(self.now);
        let part = bytes.get(..bytes_max).unwrap_or(&bytes);
        for chunk in part.chunks(self.chunk_bytes) {
            self.client.receive(chunk, self.now);
        }
        part.len()
    }

    /// Moves the clock and lets both ends look at their deadlines.
    pub fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.client.tick(self.now);
        self.server.tick(self.now);
    }

    /// Breaks the link and returns the sessions of client and server.
    pub fn cut(mut self) -> (SessionState, SessionState) {
        self.client.hang_up(self.now);
        self.server.hang_up(self.now);
        (self.client.core.into_session(), self.server.core.into_session())
    }

    /// Accepts every message that waits on either side and returns the payloads: the server's first.
    pub fn accept_all(&mut self) -> (Vec<u64>, Vec<u64>) {
        let mut to_server = Vec::new();
        for event in std::mem::take(&mut self.server.events) {
            match event {
                ServerEvent::Publish(incoming) => {
                    to_server.push(number(&incoming.publish.payload));
                    if let Some(token) = incoming.token {
                        self.server.core.accept(token);
                    }
                }
                other => self.server.events.push_back(other),
            }
        }
        let mut to_client = Vec::new();
        for event in std::mem::take(&mut self.client.events) {
            match event {
                ClientEvent::Publish(incoming) => {
                    to_client.push(number(&incoming.publish.payload));
                    if let Some(token) = incoming.token {
                        self.client.core.accept(token);
                    }
                }
                other => self.client.events.push_back(other),
            }
        }
        self.server.drain(self.now);
        self.client.drain(self.now);
        (to_server, to_client)
    }

    /// Moves bytes and accepts messages until there is nothing more to do; returns the payloads as `accept_all` does.
    pub fn settle(&mut self) -> (Vec<u64>, Vec<u64>) {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        loop {
            self.run();
            let (server, client) = self.accept_all();
            let is_done = server.is_empty() && client.is_empty();
            to_server.extend(server);
            to_client.extend(client);
            self.client.confirm_all(self.now);
            self.server.confirm_all(self.now);
            let is_sent = self.client.core.transmit().is_empty() && self.server.core.transmit().is_empty();
            if is_done && is_sent {
                return (to_server, to_client);
            }
        }
    }
}

/// Reads the number that a test's payload is.
pub fn number(payload: &[u8]) -> u64 {
    payload.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
