//! One connection of the doctor, packet by packet.
//!
//! A client that keeps the rules and comes back by itself hides what the doctor looks for: here one attempt is one
//! attempt, every packet of the broker can be seen, and the doctor can ask for what a good client would not.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crosspoint_client::Spoken;
use crosspoint_net::{DialOptions, Stream, TlsCause, dial};
use crosspoint_protocol::codec::{Direction, Frames, encode};
use crosspoint_protocol::packet::{Ack, ConnAck, Connect, Disconnect, Packet, Publish};
use crosspoint_protocol::scram::ClientExchange;
use crosspoint_protocol::{PacketId, QoS, ReasonCode, Version, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::login::Login;

mod asking;
mod ending;

pub(super) use asking::Retain;
pub(super) use ending::{Lost, NotOpened};

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
