//! A broker on a port of its own, and a device that speaks MQTT to it over a real socket.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    net::SocketAddr,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use crosspoint_broker::{Broker, BrokerOptions, ListenerOptions, Workers};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_protocol::{
    PacketId, QoS, ReasonCode, TopicFilter, TopicName, Version,
    codec::{self, Direction, Frames},
    packet::{
        Ack, ConnAck, Connect, ConnectProperties, Disconnect, Login, Packet, Publish, PublishProperties,
        PublishPropertyValues, SubAck, Subscribe, SubscribeProperties, SubscribedFilter, SubscriptionOptions,
        Unsubscribe, Will, WillProperties,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// No wait of a test lasts longer. It is long because machines are slow, never because the broker is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5];

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Options under which `$SYS` is silent and one thread serves.
pub(crate) fn options() -> BrokerOptions {
    BrokerOptions::default().sys_interval(None).workers(Workers::Threads(1))
}

pub(crate) async fn broker() -> Broker {
    broker_with(options()).await
}

pub(crate) async fn broker_with(options: BrokerOptions) -> Broker {
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, loopback()));
    Broker::builder().options(options).listener(listener).start().await.unwrap()
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn address(broker: &Broker) -> SocketAddr {
    broker.address("main").unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::parse(name.to_owned()).unwrap()
}

pub(crate) fn filter(filter: &str) -> TopicFilter {
    TopicFilter::parse(filter.to_owned()).unwrap()
}

/// A CONNECT of MQTT 5 with a clean start.
pub(crate) fn hello(client_id: &str) -> Connect {
    Connect {
        version: Version::V5,
        clean_start: true,
        is_bridge: false,
        keep_alive_s: 0,
        client_id: client_id.to_owned().into(),
        will: None,
        login: Login::default(),
        properties: ConnectProperties::default(),
    }
}

/// A CONNECT that resumes a session and leaves one behind.
pub(crate) fn durable(client_id: &str) -> Connect {
    let properties = ConnectProperties { session_expiry_s: Some(3_600), ..ConnectProperties::default() };
    Connect { clean_start: false, properties, ..hello(client_id) }
}

pub(crate) fn will(name: &str, payload: &'static [u8]) -> Will {
    Will {
        topic: topic(name),
        payload: Bytes::from_static(payload),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: WillProperties::default(),
    }
}

pub(crate) fn message(name: &str, payload: impl Into<Bytes>, qos: QoS) -> Publish {
    Publish {
        topic: Some(topic(name)),
        payload: payload.into(),
        properties: PublishProperties::default(),
        packet_id: None,
        qos,
        dup: false,
        retain: false,
    }
}

pub(crate) fn retained(name: &str, payload: impl Into<Bytes>, qos: QoS) -> Publish {
    Publish { retain: true, ..message(name, payload, qos) }
}

pub(crate) fn expiring(publish: Publish, expiry_s: u32) -> Publish {
    let values =
        PublishPropertyValues { message_expiry_s: Some(expiry_s), ..PublishPropertyValues::default() };
    Publish { properties: PublishProperties::from_values(&values).unwrap(), ..publish }
}

pub(crate) fn at(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

pub(crate) fn text(publish: &Publish) -> &str {
    std::str::from_utf8(&publish.payload).unwrap()
}

pub(crate) fn name(publish: &Publish) -> &str {
    publish.topic.as_ref().unwrap().as_str()
}

/// A device on a raw socket.
pub(crate) struct Device {
    stream: TcpStream,
    frames: Frames,
    input: BytesMut,
    version: Version,
    last_id: u16,
    /// Messages that came while something else was waited for.
    inbox: VecDeque<Publish>,
    aliases: HashMap<u16, TopicName>,
    pub(crate) connack: Option<ConnAck>,
}

impl Device {
    /// Opens a socket and says nothing.
    pub(crate) async fn dial(address: SocketAddr) -> Self {
        let stream = within("dial", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            frames: Frames::new(u32::MAX),
            input: BytesMut::new(),
            version: Version::V5,
            last_id: 0,
            inbox: VecDeque::new(),
            aliases: HashMap::new(),
            connack: None,
        }
    }

    /// Connects and is let in.
    pub(crate) async fn connect(broker: &Broker, connect: Connect) -> Self {
        let device = Self::try_connect(address(broker), connect).await;
        let reason = device.connack.as_ref().map(|connack| connack.reason);
        assert_eq!(reason, Some(ReasonCode::Success));
        device
    }

    /// Connects, whatever the answer.
    pub(crate) async fn try_connect(address: SocketAddr, connect: Connect) -> Self {
        let mut device = Self::dial(address).await;
        device.version = connect.version;
        device.send(&Packet::Connect(Box::new(connect))).await;
        device.connack = match device.receive_or_end().await {
            Some(Packet::ConnAck(connack)) => Some(*connack),
            None => None,
            other => panic!("CONNACK expected, got {other:?}"),
        };
        device
    }

    pub(crate) async fn v5(broker: &Broker, client_id: &str) -> Self {
        Self::connect(broker, hello(client_id)).await
    }

    pub(crate) fn session_present(&self) -> bool {
        self.connack.as_ref().is_some_and(|connack| connack.session_present)
    }

    pub(crate) fn encoded(&self, packet: &Packet) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode(packet, self.version, &mut bytes).unwrap();
        bytes
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        let bytes = self.encoded(packet);
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within("write", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Returns the next packet, whatever it is; `None` at the end of the stream.
    pub(crate) async fn receive_or_end(&mut self) -> Option<Packet> {
        within("the next packet", async {
            loop {
                let version = Some(self.version);
                if let Some(packet) = self.frames.next(version, Direction::FromServer).unwrap() {
                    return Some(packet);
                }
                self.input.reserve(64 * 1024);
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => self.frames.push(self.input.split().freeze()),
                }
            }
        })
        .await
    }

    pub(crate) async fn receive(&mut self) -> Packet {
        self.receive_or_end().await.expect("the connection has ended")
    }

    /// Returns the next packet that is no PUBLISH; those go to the inbox, unanswered.
    pub(crate) async fn answer(&mut self) -> Packet {
        loop {
            match self.receive().await {
                Packet::Publish(publish) => self.keep(publish),
                // The end of an exchange whose message has been given out.
                Packet::PubRel(ack) => self.finish(ack.packet_id).await,
                other => return other,
            }
        }
    }

    async fn finish(&mut self, id: PacketId) {
        self.send(&Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    }

    fn keep(&mut self, mut publish: Publish) {
        if let Some(alias) = publish.properties.topic_alias() {
            match &publish.topic {
                Some(topic) => _ = self.aliases.insert(alias, topic.clone()),
                None => publish.topic = self.aliases.get(&alias).cloned(),
            }
        }
        self.inbox.push_back(publish);
    }

    /// Waits until the broker closes the connection and returns what it said last.
    pub(crate) async fn end(&mut self) -> Option<Packet> {
        let mut last = None;
        while let Some(packet) = self.receive_or_end().await {
            last = Some(packet);
        }
        last
    }

    /// Waits for a DISCONNECT with its reason, and for the end.
    pub(crate) async fn end_reason(&mut self) -> ReasonCode {
        match self.end().await {
            Some(Packet::Disconnect(disconnect)) => disconnect.reason,
            other => panic!("DISCONNECT expected, got {other:?}"),
        }
    }

    pub(crate) fn new_id(&mut self) -> PacketId {
        self.last_id = self.last_id % u16::MAX + 1;
        PacketId::new(self.last_id).unwrap()
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.subscribe_with(filter, at(qos), None).await;
    }

    pub(crate) async fn subscribe_with(
        &mut self,
        name: &str,
        options: SubscriptionOptions,
        id: Option<u32>,
    ) -> ReasonCode {
        self.send_subscribe(name, options, id).await;
        match self.answer().await {
            Packet::SubAck(suback) => suback.reasons[0],
            other => panic!("SUBACK expected, got {other:?}"),
        }
    }

    pub(crate) async fn send_subscribe(&mut self, name: &str, options: SubscriptionOptions, id: Option<u32>) {
        let packet_id = self.new_id();
        let properties = SubscribeProperties { subscription_id: id, ..SubscribeProperties::default() };
        let filters = vec![SubscribedFilter { filter: filter(name), options }];
        self.send(&Packet::Subscribe(Box::new(Subscribe { packet_id, filters, properties }))).await;
    }

    pub(crate) async fn unsubscribe(&mut self, name: &str) -> SubAck {
        self.send_unsubscribe(name).await;
        match self.answer().await {
            Packet::UnsubAck(unsuback) => *unsuback,
            other => panic!("UNSUBACK expected, got {other:?}"),
        }
    }

    pub(crate) async fn send_unsubscribe(&mut self, name: &str) {
        let packet_id = self.new_id();
        let unsubscribe = Unsubscribe { packet_id, filters: vec![filter(name)], user_properties: Vec::new() };
        self.send(&Packet::Unsubscribe(Box::new(unsubscribe))).await;
    }

    /// Publishes and waits until the broker has confirmed; at QoS 0 until it has handled it.
    pub(crate) async fn publish(&mut self, mut publish: Publish) -> ReasonCode {
        publish.packet_id = (publish.qos != QoS::AtMostOnce).then(|| self.new_id());
        self.send(&Packet::Publish(publish.clone())).await;
        let Some(id) = publish.packet_id else {
            self.ping().await;
            return ReasonCode::Success;
        };
        loop {
            match self.answer().await {
                Packet::PubAck(ack) if ack.packet_id == id => return ack.reason,
                Packet::PubRec(ack) if ack.packet_id == id => {
                    if ack.reason.is_error() {
                        return ack.reason;
                    }
                    self.send(&Packet::PubRel(Ack::new(id, ReasonCode::Success))).await;
                }
                Packet::PubComp(ack) if ack.packet_id == id => return ReasonCode::Success,
                other => panic!("an acknowledgement of {id:?} expected, got {other:?}"),
            }
        }
    }

    /// Publishes a hundred messages at a time, with these numbers as payload, and waits until all are confirmed.
    pub(crate) async fn publish_numbers(&mut self, name: &str, numbers: std::ops::Range<usize>) {
        let numbers: Vec<_> = numbers.collect();
        for chunk in numbers.chunks(100) {
            for n in chunk {
                let packet_id = Some(self.new_id());
                let publish = message(name, n.to_string(), QoS::AtLeastOnce);
                self.send(&Packet::Publish(Publish { packet_id, ..publish })).await;
            }
            for _ in chunk {
                let answer = self.answer().await;
                assert!(matches!(&answer, Packet::PubAck(ack) if !ack.reason.is_error()), "{answer:?}");
            }
        }
    }

    pub(crate) async fn ping(&mut self) {
        self.send(&Packet::PingReq).await;
        match self.answer().await {
            Packet::PingResp => {}
            other => panic!("PINGRESP expected, got {other:?}"),
        }
    }

    /// Returns the next message, with its topic, and acknowledges it.
    pub(crate) async fn message(&mut self) -> Publish {
        let publish = self.unanswered().await;
        self.acknowledge(&publish).await;
        publish
    }

    /// Returns the next message, with its topic, and does not acknowledge it.
    pub(crate) async fn unanswered(&mut self) -> Publish {
        while self.inbox.is_empty() {
            match self.receive().await {
                Packet::Publish(publish) => self.keep(publish),
                Packet::PubRel(ack) => self.finish(ack.packet_id).await,
                other => panic!("a message expected, got {other:?}"),
            }
        }
        self.inbox.pop_front().unwrap()
    }

    pub(crate) async fn acknowledge(&mut self, publish: &Publish) {
        let Some(id) = publish.packet_id else { return };
        let ack = Ack::new(id, ReasonCode::Success);
        if publish.qos == QoS::AtLeastOnce {
            return self.send(&Packet::PubAck(ack)).await;
        }
        self.send(&Packet::PubRec(ack)).await;
        loop {
            match self.receive().await {
                Packet::Publish(publish) => self.keep(publish),
                Packet::PubRel(pubrel) => {
                    self.finish(pubrel.packet_id).await;
                    if pubrel.packet_id == id {
                        return;
                    }
                }
                other => panic!("PUBREL expected, got {other:?}"),
            }
        }
    }

    /// Returns the payloads of the next `count` messages.
    pub(crate) async fn payloads(&mut self, count: usize) -> Vec<String> {
        let mut payloads = Vec::with_capacity(count);
        for _ in 0..count {
            payloads.push(text(&self.message().await).to_owned());
        }
        payloads
    }

    /// Drops the messages that came while something else was waited for, and returns how many there were.
    pub(crate) fn forget_inbox(&mut self) -> usize {
        std::mem::take(&mut self.inbox).len()
    }

    /// Splits off the writing half of the socket.
    pub(crate) fn split(self) -> (OwnedWriteHalf, Source) {
        let (read, write) = self.stream.into_split();
        (write, Source { read, frames: self.frames, input: self.input, version: self.version })
    }

    /// Asserts that nothing waits for this device. Whatever was published to it before, and confirmed, would come
    /// before the second answer.
    pub(crate) async fn hears_nothing(&mut self) {
        self.ping().await;
        self.ping().await;
        assert!(self.inbox.is_empty(), "unexpected: {:?}", self.inbox);
    }

    /// Leaves with DISCONNECT, and waits until the broker has closed the connection.
    pub(crate) async fn leave(mut self) {
        self.leave_with(Disconnect::new(ReasonCode::Success)).await;
    }

    pub(crate) async fn leave_with(&mut self, disconnect: Disconnect) {
        self.send(&Packet::Disconnect(Box::new(disconnect))).await;
        self.end().await;
    }

    /// Takes the socket away, such as to stop reading for good.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Cuts the connection as a power cut would: with a reset, without a word.
    pub(crate) fn cut(self) {
        let linger = self.stream.into_std().unwrap();
        socket2::SockRef::from(&linger).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// The reading half of a device.
pub(crate) struct Source {
    read: OwnedReadHalf,
    frames: Frames,
    input: BytesMut,
    version: Version,
}

impl Source {
    pub(crate) async fn receive(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.frames.next(Some(self.version), Direction::FromServer).unwrap() {
                return packet;
            }
            self.input.reserve(64 * 1024);
            let bytes = within("the next packet", self.read.read_buf(&mut self.input)).await.unwrap();
            assert_ne!(bytes, 0, "the connection has ended");
            self.frames.push(self.input.split().freeze());
        }
    }

    pub(crate) fn encoded(&self, packet: &Packet) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode(packet, self.version, &mut bytes).unwrap();
        bytes
    }
}

/// Waits until what is asked for is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    within(what, async {
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        while !is_so() {
            looks.tick().await;
        }
    })
    .await;
}
