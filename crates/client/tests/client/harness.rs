//! A network in memory, and the server's end of it, packet by packet.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use crosspoint_client::{
    ByteStream, Client, ClientOptions, Deliveries, Delivery, DialFailure, DialOptions, Environment,
    MemoryStore, Publication, QoS, ReasonCode, SessionStore, State, SubscriptionOptions, TopicFilter,
    Transport, Version,
};
use crosspoint_protocol::{
    Now, PacketId, TopicName,
    codec::{self, Direction, Frames},
    packet::{
        Ack, ConnAck, ConnAckProperties, Connect, Disconnect, Packet, Publish, PublishProperties,
        ReasonProperties, SubAck, Subscribe, SubscribedFilter,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// A day of virtual time costs nothing.
const PATIENCE: Duration = Duration::from_secs(100_000);

pub(crate) struct Dialled {
    pub(crate) stream: DuplexStream,
    pub(crate) server: DialOptions,
    pub(crate) at: Instant,
}

/// The network as the server sees it.
pub(crate) struct Network {
    dialled: mpsc::UnboundedReceiver<Dialled>,
    is_down: Arc<AtomicBool>,
    away: Arc<Mutex<BTreeMap<String, Away>>>,
}

/// How a single server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    /// Its machine refuses.
    Refusing,
    /// Nothing answers.
    Silent,
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) deliveries: Deliveries,
    pub(crate) network: Network,
    pub(crate) engine: JoinHandle<()>,
}

pub(crate) fn options() -> ClientOptions {
    ClientOptions::default()
        .server(DialOptions::new(Transport::Tcp, "broker", 1883))
        .client_id("tester")
        .keep_alive_s(0)
}

pub(crate) fn start(options: ClientOptions) -> World {
    start_with(options, Box::new(MemoryStore), 64 * 1024)
}

/// Starts a client whose streams hold at most `pipe_bytes` in each direction.
pub(crate) fn start_with(options: ClientOptions, store: Box<dyn SessionStore>, pipe_bytes: usize) -> World {
    let (sender, dialled) = mpsc::unbounded_channel();
    let is_down = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    let away = Arc::<Mutex<BTreeMap<String, Away>>>::default();
    let absent = Arc::clone(&away);
    let begin = Instant::now();
    let environment = Environment::real()
        .seed(1)
        .clock(move || {
            let monotonic_ms = u64::try_from(begin.elapsed().as_millis()).unwrap();
            Now { monotonic_ms, wall_ms: 1_700_000_000_000 + monotonic_ms }
        })
        .dial(Arc::new(move |server, _version| {
            let (near, far) = duplex(pipe_bytes);
            let how = absent.lock().unwrap().get(server.host()).copied();
            let is_refused = down.load(Ordering::Relaxed) || how == Some(Away::Refusing);
            let result: Result<Box<dyn ByteStream>, DialFailure> =
                if is_refused { Err(DialFailure::new("refused", "start it")) } else { Ok(Box::new(near)) };
            // The test may be over.
            drop(sender.send(Dialled { stream: far, server: server.clone(), at: Instant::now() }));
            Box::pin(async move { if how == Some(Away::Silent) { pending().await } else { result } })
        }));
    let (client, deliveries, engine) = Client::new(options, store, environment).unwrap();
    World {
        client,
        deliveries,
        network: Network { dialled, is_down, away },
        engine: tokio::spawn(engine.run()),
    }
}

impl Network {
    pub(crate) fn go_down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    pub(crate) fn come_up(&self) {
        self.is_down.store(false, Ordering::Relaxed);
    }

    /// Takes one server away.
    pub(crate) fn take_away(&self, host: &str, how: Away) {
        self.away.lock().unwrap().insert(host.to_owned(), how);
    }

    pub(crate) fn bring_back(&self, host: &str) {
        self.away.lock().unwrap().remove(host);
    }

    /// Returns the next dial, also one that failed.
    pub(crate) async fn dialled(&mut self) -> Dialled {
        timeout(PATIENCE, self.dialled.recv()).await.expect("the client dials").unwrap()
    }

    /// Takes the next connection and reads its CONNECT.
    pub(crate) async fn accept(&mut self) -> Peer {
        Peer::new(self.dialled().await.stream).await
    }

    /// Takes the next connection and lets it in.
    pub(crate) async fn let_in(&mut self, session_present: bool) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome(session_present).await;
        peer
    }

    pub(crate) fn nobody_dials(&mut self) -> bool {
        self.dialled.try_recv().is_err()
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    stream: DuplexStream,
    frames: Frames,
    pub(crate) version: Version,
    pub(crate) connect: Box<Connect>,
}

impl Peer {
    pub(crate) async fn new(stream: DuplexStream) -> Self {
        Self::of(stream).await.expect("CONNECT comes")
    }

    /// Reads CONNECT; `None` when the stream ends without a byte.
    pub(crate) async fn of(mut stream: DuplexStream) -> Option<Self> {
        let mut frames = Frames::new(1 << 28);
        let packet = read_packet(&mut stream, &mut frames, None).await?;
        let Packet::Connect(connect) = packet else { panic!("CONNECT comes first, not {packet:?}") };
        Some(Self { stream, frames, version: connect.version, connect })
    }

    pub(crate) async fn welcome(&mut self, session_present: bool) {
        self.welcome_with(session_present, ConnAckProperties::default()).await;
    }

    pub(crate) async fn welcome_with(&mut self, session_present: bool, properties: ConnAckProperties) {
        self.connack(session_present, ReasonCode::Success, properties).await;
    }

    pub(crate) async fn refuse(&mut self, reason: ReasonCode) {
        self.connack(false, reason, ConnAckProperties::default()).await;
    }

    async fn connack(&mut self, session_present: bool, reason: ReasonCode, properties: ConnAckProperties) {
        self.send(Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }))).await;
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        codec::encode(&packet, self.version, &mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the client reads").unwrap();
    }

    /// Returns the next packet, or `None` when the client has closed the stream.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        read_packet(&mut self.stream, &mut self.frames, Some(self.version)).await
    }

    pub(crate) async fn recv(&mut self) -> Packet {
        self.next().await.expect("a packet comes")
    }

    pub(crate) async fn recv_publish(&mut self) -> Publish {
        match self.recv().await {
            Packet::Publish(publish) => publish,
            other => panic!("PUBLISH comes, not {other:?}"),
        }
    }

    pub(crate) async fn recv_subscribe(&mut self) -> Box<Subscribe> {
        match self.recv().await {
            Packet::Subscribe(subscribe) => subscribe,
            other => panic!("SUBSCRIBE comes, not {other:?}"),
        }
    }

    pub(crate) async fn recv_disconnect(&mut self) -> Box<Disconnect> {
        match self.recv().await {
            Packet::Disconnect(disconnect) => disconnect,
            other => panic!("DISCONNECT comes, not {other:?}"),
        }
    }

    /// Grants the next `count` SUBSCRIBE packets and returns them.
    pub(crate) async fn grant(&mut self, count: usize) -> Vec<Subscribe> {
        let mut all = Vec::new();
        for _ in 0..count {
            let subscribe = self.recv_subscribe().await;
            let reasons =
                subscribe.filters.iter().map(|wanted| ReasonCode::granted(wanted.options.qos)).collect();
            self.suback(subscribe.packet_id, reasons).await;
            all.push(*subscribe);
        }
        all
    }

    pub(crate) async fn suback(&mut self, packet_id: PacketId, reasons: Vec<ReasonCode>) {
        let properties = ReasonProperties::default();
        self.send(Packet::SubAck(Box::new(SubAck { packet_id, reasons, properties }))).await;
    }

    pub(crate) async fn unsuback(&mut self, packet_id: PacketId, reasons: Vec<ReasonCode>) {
        let properties = ReasonProperties::default();
        self.send(Packet::UnsubAck(Box::new(SubAck { packet_id, reasons, properties }))).await;
    }

    pub(crate) async fn puback(&mut self, packet_id: PacketId) {
        self.send(Packet::PubAck(Ack::new(packet_id, ReasonCode::Success))).await;
    }

    /// Delivers a message; packet identifier 0 is QoS 0.
    pub(crate) async fn deliver(&mut self, topic: &str, payload: &str, qos: QoS, id: u16) {
        self.deliver_with(topic, payload, qos, id, &[], Flags::default()).await;
    }

    pub(crate) async fn deliver_with(
        &mut self,
        topic: &str,
        payload: &str,
        qos: QoS,
        id: u16,
        subscription_ids: &[u32],
        flags: Flags,
    ) {
        let mut properties = Vec::new();
        for id in subscription_ids {
            properties.push(0x0B);
            codec::varint::put(*id, &mut properties);
        }
        let publish = Publish {
            topic: Some(TopicName::parse(topic).unwrap()),
            payload: payload.to_owned().into(),
            properties: PublishProperties::from_wire(properties.into(), Direction::FromServer).unwrap(),
            packet_id: PacketId::new(id),
            qos,
            dup: flags.dup,
            retain: flags.retain,
        };
        self.send(Packet::Publish(publish)).await;
    }

    /// Closes the stream without a word.
    pub(crate) fn cut(self) {
        drop(self.stream);
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) dup: bool,
    pub(crate) retain: bool,
}

async fn read_packet(
    stream: &mut DuplexStream,
    frames: &mut Frames,
    version: Option<Version>,
) -> Option<Packet> {
    loop {
        if let Some(packet) = frames.next(version, Direction::FromClient).unwrap() {
            return Some(packet);
        }
        let mut chunk = BytesMut::with_capacity(64 * 1024);
        let count =
            timeout(PATIENCE, stream.read_buf(&mut chunk)).await.expect("the client sends").unwrap_or(0);
        if count == 0 {
            return None;
        }
        frames.push(chunk.freeze());
    }
}

pub(crate) fn wanted(filter: &str, qos: QoS) -> SubscribedFilter {
    SubscribedFilter {
        filter: TopicFilter::parse(filter).unwrap(),
        options: SubscriptionOptions { qos, ..SubscriptionOptions::default() },
    }
}

pub(crate) fn publication(topic: &str, payload: impl Into<String>, qos: QoS) -> Publication {
    Publication::new(topic, payload.into()).unwrap().qos(qos)
}

pub(crate) fn payload(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.payload().to_vec()).unwrap()
}

pub(crate) async fn next(deliveries: &mut Deliveries) -> Delivery {
    timeout(PATIENCE, deliveries.next()).await.expect("a delivery comes").expect("the client is open")
}

/// Waits for a state.
pub(crate) async fn reach(client: &Client, is_reached: impl FnMut(&State) -> bool) -> State {
    let mut state = client.state();
    let reached = timeout(PATIENCE, state.wait_for(is_reached)).await.expect("the state is reached");
    reached.unwrap().clone()
}

/// Lets everything happen that can happen without time going on.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await; // pace: the clock is the test's own
}
