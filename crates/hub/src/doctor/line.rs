//! One connection of the doctor, packet by packet.
//!
//! A client that keeps the rules and comes back by itself hides what the doctor looks for: here one attempt is one
//! attempt, every packet of the broker can be seen, and the doctor can ask for what a good client would not.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::login::Login;
use crate::config::plan::MqttPlan;
use crate::diagnosis::{Diagnosis, Fault, of_refusal};
use bytes::{Bytes, BytesMut};
use crosspoint_client::{ScramFault, Spoken};
use crosspoint_net::{DialError, DialOptions, Stream, TlsCause, dial};
use crosspoint_protocol::codec::{Direction, Frames, encode};
use crosspoint_protocol::packet::{
    Ack, ConnAck, Connect, Disconnect, Packet, Publish, PublishProperties, Subscribe, SubscribeProperties,
    SubscribedFilter, SubscriptionOptions, Unsubscribe,
};
use crosspoint_protocol::scram::ClientExchange;
use crosspoint_protocol::{PacketId, QoS, ReasonCode, TopicFilter, TopicName, Version, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// How many bytes are read at once.
const READ_BYTES: usize = 64 << 10;

/// How long the doctor is silent before it pings, so that no keep alive runs out while it listens.
const SILENCE_MAX: Duration = Duration::from_millis(500);

/// How many messages may wait to be looked at; a busy broker is cut short there, and that is said.
pub(super) const MESSAGES_WAITING_MAX: usize = 10_000;

/// What ends a turn besides a packet that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    AtMessage,
    AtPacket,
}

/// Why a connection was not opened.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// There is no stream.
    Dial(DialError),
    /// The broker refused CONNECT.
    Refused(Box<ConnAck>),
    /// The stream ended before CONNACK.
    Closed,
    /// TLS ended before CONNACK; on TLS 1.3 a server judges a client's certificate then.
    Tls(TlsCause),
    /// Nothing came.
    Silent,
    /// What came is no CONNACK.
    Other(Option<Spoken>, Violation),
    /// The exchange of SCRAM failed on our side.
    Scram(ScramFault),
    /// CONNECT cannot be encoded.
    Unsendable(String),
}

/// Why an open connection is of no more use.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lost {
    /// The broker ended it and said why.
    Disconnected(Box<Disconnect>),
    /// The stream ended.
    Closed,
    /// The stream failed.
    Stream(String),
    /// The broker broke the protocol.
    Violation(Violation),
    /// An answer did not come in time.
    TimedOut(&'static str),
}

impl Lost {
    /// Says what it means for a connector.
    pub(super) fn into_diagnosis(self, mqtt: &MqttPlan) -> Diagnosis {
        let see = "see the broker's log for why it ended the connection";
        match self {
            Self::Disconnected(said) => {
                of_refusal(mqtt, said.reason, said.reason_string.as_deref(), said.server_reference.as_deref())
            }
            Self::Closed => {
                Diagnosis::new(Fault::ConnectionLost, "the broker closed the connection without a word", see)
            }
            Self::Stream(what) => Diagnosis::new(Fault::ConnectionLost, what, see),
            Self::Violation(violation) => Diagnosis::new(
                Fault::ProtocolViolation,
                format!("the broker breaks the protocol: {violation}"),
                "report it to the maker of the broker",
            ),
            Self::TimedOut("PINGRESP") => Diagnosis::new(
                Fault::KeepAliveTimeout,
                "the broker lets us in and does not answer a ping",
                "check the broker's load, and what stands between here and there",
            ),
            Self::TimedOut(what) => Diagnosis::new(
                Fault::NoAcknowledgements,
                format!("the broker does not answer: {what} did not come in time"),
                "check the broker's load and its disk",
            ),
        }
    }
}

/// What the doctor does by itself on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// It acknowledges what comes, and pings.
    Good,
    /// It acknowledges nothing.
    Withholds,
    /// It says nothing at all.
    Mute,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    frames: Frames,
    version: Version,
    next_id: PacketId,
    messages: VecDeque<Publish>,
    manners: Manners,
    last_sent: Instant,
    /// How long an answer may take.
    patience: Duration,
}

impl Line {
    /// Dials, says CONNECT and waits for CONNACK, each for at most `patience`. `scram` is the exchange that CONNECT begins.
    pub(super) async fn open(
        options: &DialOptions,
        connect: Connect,
        scram: Option<ClientExchange>,
        patience: Duration,
    ) -> Result<(Self, ConnAck), NotOpened> {
        let version = connect.version;
        let stream = dial(&options.clone().connect_timeout(patience)).await.map_err(NotOpened::Dial)?;
        let mut line = Self {
            stream,
            frames: Frames::new(crosspoint_protocol::limits::PACKET_BYTES_DEFAULT),
            version,
            next_id: PacketId::MIN,
            messages: VecDeque::new(),
            manners: Manners::Good,
            last_sent: Instant::now(),
            patience,
        };
        let mut bytes = Vec::new();
        encode(&Packet::Connect(Box::new(connect)), version, &mut bytes)
            .map_err(|error| NotOpened::Unsendable(error.to_string()))?;
        let connack = match timeout_at(Instant::now() + patience, line.connack(&bytes, scram)).await {
            Ok(connack) => connack?,
            Err(_) => return Err(NotOpened::Silent),
        };
        Ok((line, connack))
    }

    async fn connack(&mut self, connect: &[u8], scram: Option<ClientExchange>) -> Result<ConnAck, NotOpened> {
        let mut login = Login::of(scram);
        // A server that refuses on sight may have closed by now: what it said is still there to be read.
        if let Err(error) = self.write(connect).await
            && let Some(cause) = TlsCause::of(&error)
        {
            return Err(NotOpened::Tls(cause));
        }
        let mut first = Vec::new();
        loop {
            let chunk = self.read().await.map_err(|error| match TlsCause::of(&error) {
                Some(cause) => NotOpened::Tls(cause),
                None => NotOpened::Closed,
            })?;
            if chunk.is_empty() {
                return Err(NotOpened::Closed);
            }
            first.extend_from_slice(chunk.get(..chunk.len().min(8)).unwrap_or_default());
            self.frames.push(chunk);
            let version = if is_connack_before_v5(&first) { Version::V3_1_1 } else { self.version };
            match self.frames.next(Some(version), Direction::FromServer) {
                Ok(None) if Spoken::guess(&first).is_none() => {}
                Ok(Some(Packet::ConnAck(connack))) if connack.reason == ReasonCode::Success => {
                    login.check(&connack).map_err(NotOpened::Scram)?;
                    return Ok(*connack);
                }
                Ok(Some(Packet::Auth(auth))) if login.awaits_challenge() => {
                    let answer = login.answer(&auth).await.map_err(NotOpened::Scram)?;
                    let mut bytes = Vec::new();
                    encode(&answer, self.version, &mut bytes)
                        .map_err(|error| NotOpened::Unsendable(error.to_string()))?;
                    self.write(&bytes).await.map_err(|_| NotOpened::Closed)?;
                }
                Ok(Some(Packet::ConnAck(connack))) => return Err(NotOpened::Refused(connack)),
                Ok(other) => {
                    let violation = unexpected(other.map(|packet| packet.packet_type()));
                    return Err(NotOpened::Other(Spoken::guess(&first), violation));
                }
                Err(violation) => return Err(NotOpened::Other(Spoken::guess(&first), violation)),
            }
        }
    }

    /// Sets what it does by itself. At the start its manners are good.
    pub(super) const fn set_manners(&mut self, manners: Manners) {
        self.manners = manners;
    }

    /// Returns the version that is spoken.
    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// Returns an identifier that is not in use.
    pub(super) const fn packet_id(&mut self) -> PacketId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }

    /// Sends a packet.
    pub(super) async fn send(&mut self, packet: &Packet) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes).map_err(|error| Lost::Stream(error.to_string()))?;
        // What the broker said before it closed matters more than that it closed.
        match self.write(&bytes).await {
            Ok(()) => Ok(()),
            Err(error) => match self.turn(Instant::now() + self.patience, Stop::AtPacket).await {
                Err(lost) => Err(lost),
                Ok(_) => Err(Lost::Stream(error.to_string())),
            },
        }
    }

    /// Subscribes, and returns what the broker says.
    pub(super) async fn subscribe(
        &mut self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        subscription_id: Option<u32>,
    ) -> Result<ReasonCode, Lost> {
        let packet_id = self.packet_id();
        let filters = vec![SubscribedFilter { filter: filter.clone(), options }];
        let properties = SubscribeProperties { subscription_id, ..SubscribeProperties::default() };
        self.send(&Packet::Subscribe(Box::new(Subscribe { packet_id, filters, properties }))).await?;
        let until = Instant::now() + self.patience;
        let reason = self.answer(until, |packet| match packet {
            Packet::SubAck(ack) if ack.packet_id == packet_id => ack.reasons.first().copied(),
            _ => None,
        });
        reason.await?.ok_or(Lost::TimedOut("SUBACK"))
    }

    /// Unsubscribes.
    pub(super) async fn unsubscribe(&mut self, filter: &TopicFilter) -> Result<(), Lost> {
        let packet_id = self.packet_id();
        let (filters, user_properties) = (vec![filter.clone()], Vec::new());
        self.send(&Packet::Unsubscribe(Box::new(Unsubscribe { packet_id, filters, user_properties })))
            .await?;
        let until = Instant::now() + self.patience;
        let answer = self.answer(until, |packet| match packet {
            Packet::UnsubAck(ack) if ack.packet_id == packet_id => Some(()),
            _ => None,
        });
        answer.await?.ok_or(Lost::TimedOut("UNSUBACK"))
    }

    /// Publishes, and returns what the broker says; at QoS 0 it says nothing, and that is "success".
    pub(super) async fn publish(
        &mut self,
        topic: &TopicName,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: Retain,
    ) -> Result<ReasonCode, Lost> {
        let packet_id = (qos != QoS::AtMostOnce).then(|| self.packet_id());
        let publish = Publish {
            topic: Some(topic.clone()),
            payload: payload.into(),
            properties: PublishProperties::default(),
            packet_id,
            qos,
            dup: false,
            retain: retain == Retain::Yes,
        };
        self.publish_packet(publish).await
    }

    /// Sends a PUBLISH as it is, and finishes its exchange.
    pub(super) async fn publish_packet(&mut self, publish: Publish) -> Result<ReasonCode, Lost> {
        let Some(packet_id) = publish.packet_id else {
            self.send(&Packet::Publish(publish)).await?;
            return Ok(ReasonCode::Success);
        };
        self.send(&Packet::Publish(publish)).await?;
        let until = Instant::now() + self.patience;
        let first = self.answer(until, |packet| match packet {
            Packet::PubAck(ack) if ack.packet_id == packet_id => Some((ack.reason, true)),
            Packet::PubRec(ack) if ack.packet_id == packet_id => Some((ack.reason, ack.reason.is_error())),
            _ => None,
        });
        let (reason, is_over) = first.await?.ok_or(Lost::TimedOut("PUBACK or PUBREC"))?;
        if !is_over {
            self.send(&Packet::PubRel(Ack::new(packet_id, ReasonCode::Success))).await?;
            let last = self.answer(until, |packet| match packet {
                Packet::PubComp(ack) if ack.packet_id == packet_id => Some(()),
                _ => None,
            });
            last.await?.ok_or(Lost::TimedOut("PUBCOMP"))?;
        }
        Ok(reason)
    }

    /// Publishes many messages at QoS 1, `window` of them unacknowledged, and returns how many the broker took.
    pub(super) async fn publish_many(
        &mut self,
        publishes: impl Iterator<Item = (TopicName, Bytes)>,
        retain: Retain,
        window: u16,
    ) -> Result<usize, Lost> {
        let (mut sent, mut taken, mut answered) = (0_usize, 0, 0);
        let mut publishes = publishes.fuse();
        loop {
            let next = if sent - answered < usize::from(window) { publishes.next() } else { None };
            match next {
                Some((topic, payload)) => {
                    let publish = Publish {
                        topic: Some(topic),
                        payload,
                        properties: PublishProperties::default(),
                        packet_id: Some(self.packet_id()),
                        qos: QoS::AtLeastOnce,
                        dup: false,
                        retain: retain == Retain::Yes,
                    };
                    self.send(&Packet::Publish(publish)).await?;
                    sent += 1;
                }
                None if answered == sent => return Ok(taken),
                None => {
                    let until = Instant::now() + self.patience;
                    let reason = self.answer(until, |packet| match packet {
                        Packet::PubAck(ack) => Some(ack.reason),
                        _ => None,
                    });
                    let reason = reason.await?.ok_or(Lost::TimedOut("PUBACK"))?;
                    answered += 1;
                    taken += usize::from(!reason.is_error());
                }
            }
        }
    }

    /// Asks for a sign of life, and returns how long it took.
    pub(super) async fn ping(&mut self) -> Result<Duration, Lost> {
        let start = Instant::now();
        self.send(&Packet::PingReq).await?;
        let until = start + self.patience;
        let answer = self.answer(until, |packet| matches!(packet, Packet::PingResp).then_some(()));
        answer.await?.ok_or(Lost::TimedOut("PINGRESP"))?;
        Ok(start.elapsed())
    }

    /// Returns the next message, or `None` when none comes until then.
    pub(super) async fn message(&mut self, until: Instant) -> Result<Option<Publish>, Lost> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(Some(message));
            }
            if self.turn(until, Stop::AtMessage).await?.is_none() && Instant::now() >= until {
                return Ok(self.messages.pop_front());
            }
        }
    }

    /// Returns the next message that fits, or `None` when none comes until then; others are dropped.
    pub(super) async fn message_that(
        &mut self,
        until: Instant,
        fits: impl Fn(&Publish) -> bool,
    ) -> Result<Option<Publish>, Lost> {
        while let Some(message) = self.message(until).await? {
            if fits(&message) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Waits for the packet that answers, until then.
    pub(super) async fn answer<T>(
        &mut self,
        until: Instant,
        pick: impl Fn(&Packet) -> Option<T>,
    ) -> Result<Option<T>, Lost> {
        while let Some(packet) = self.turn(until, Stop::AtPacket).await? {
            if let Some(answer) = pick(&packet) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Ends the stream without a word, as a crash would.
    pub(super) fn cut(self) {
        drop(self);
    }

    /// Says goodbye; that the broker hears it is not waited for long.
    pub(super) async fn close(mut self) {
        let goodbye = Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success)));
        let sent = async {
            let mut bytes = Vec::new();
            if encode(&goodbye, self.version, &mut bytes).is_ok() && self.write(&bytes).await.is_ok() {
                // A stream that is gone already needs no end.
                drop(self.stream.shutdown().await);
            }
        };
        drop(tokio::time::timeout(Duration::from_secs(1), sent).await);
    }

    /// Returns the next packet that is no message, or `None` when the time is over, or where the turn is to stop at a
    /// message and one has come. Messages are set aside.
    async fn turn(&mut self, until: Instant, stop: Stop) -> Result<Option<Packet>, Lost> {
        loop {
            match self.frames.next(Some(self.version), Direction::FromServer).map_err(Lost::Violation)? {
                Some(Packet::Publish(publish)) => {
                    self.on_publish(publish).await?;
                    if stop == Stop::AtMessage {
                        return Ok(None);
                    }
                }
                Some(Packet::PubRel(ack)) => {
                    self.reply(&Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success))).await?;
                }
                Some(Packet::Disconnect(disconnect)) => return Err(Lost::Disconnected(disconnect)),
                Some(packet) => return Ok(Some(packet)),
                None if !self.read_more(until).await? => return Ok(None),
                None => {}
            }
        }
    }

    /// Reads once; `false` when the time is over. Pings when it has been silent for long.
    async fn read_more(&mut self, until: Instant) -> Result<bool, Lost> {
        loop {
            let pause = until.min(self.last_sent + SILENCE_MAX);
            match timeout_at(pause, self.read()).await {
                Ok(Ok(chunk)) if chunk.is_empty() => return Err(Lost::Closed),
                Ok(Ok(chunk)) => {
                    self.frames.push(chunk);
                    return Ok(true);
                }
                Ok(Err(error)) => return Err(Lost::Stream(error.to_string())),
                Err(_) if Instant::now() >= until => return Ok(false),
                Err(_) if self.manners == Manners::Mute => self.last_sent = Instant::now(),
                Err(_) => self.reply(&Packet::PingReq).await?,
            }
        }
    }

    async fn on_publish(&mut self, publish: Publish) -> Result<(), Lost> {
        if let (Some(packet_id), Manners::Good) = (publish.packet_id, self.manners) {
            let ack = Ack::new(packet_id, ReasonCode::Success);
            let reply = match publish.qos {
                QoS::ExactlyOnce => Packet::PubRec(ack),
                _ => Packet::PubAck(ack),
            };
            self.reply(&reply).await?;
        }
        if self.messages.len() < MESSAGES_WAITING_MAX {
            self.messages.push_back(publish);
        }
        Ok(())
    }

    /// Sends without looking for what comes, which `turn` does anyway.
    async fn reply(&mut self, packet: &Packet) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        encode(packet, self.version, &mut bytes).map_err(|error| Lost::Stream(error.to_string()))?;
        self.write(&bytes).await.map_err(|error| Lost::Stream(error.to_string()))
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.last_sent = Instant::now();
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the broker does not read");
        timeout_at(Instant::now() + self.patience, sent).await.unwrap_or_else(|_| Err(late()))
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        self.stream.read_buf(&mut buffer).await?;
        Ok(buffer.freeze())
    }
}

/// Whether a message is published to be retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retain {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// A server that does not know MQTT 5 answers a CONNECT of it in its own version: without room for properties.
fn is_connack_before_v5(first: &[u8]) -> bool {
    matches!(first, [0x20, 0x02, ..])
}

fn unexpected(packet: Option<crosspoint_protocol::packet::PacketType>) -> Violation {
    Violation {
        packet: packet.unwrap_or(crosspoint_protocol::packet::PacketType::Reserved),
        field: "packet type",
        offence: crosspoint_protocol::Offence::Protocol("CONNACK must come first"),
        rule: None,
    }
}
