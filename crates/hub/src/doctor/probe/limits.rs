//! Limits: what the broker says of its own, and whether it keeps to ours.

use std::time::Duration;

use bytes::Bytes;
use crosspoint_protocol::codec::Direction;
use crosspoint_protocol::packet::{Connect, ConnectProperties, Publish, PublishProperties};
use crosspoint_protocol::{QoS, ReasonCode};
use tokio::time::Instant;

use super::super::admit::own_client_id;
use super::super::line::{Lost, Manners, Retain};
use super::ground::{Ground, comes, comes_all_the_same, comes_with, subscribe};
use super::{Answer, Trouble};

/// The largest packet that is sent to see whether it is refused.
const TRIED_BYTES_MAX: u32 = 4 << 20;

/// The largest packet that we say we accept, and more than that.
const OWN_BYTES: u32 = 1_000;

/// How many messages we say we accept at once, and how many there are.
const OWN_RECEIVE_MAXIMUM: u16 = 5;
const SENT: usize = 20;

/// The keep alive that is not kept, in seconds, and for how long the broker may put up with it.
const KEEP_ALIVE_S: u16 = 2;
const PUT_UP_WITH_MAX: Duration = Duration::from_secs(12);

impl Ground<'_> {
    /// Returns a CONNECT under a client identifier of its own, with other properties.
    fn with(&self, change: impl FnOnce(&mut ConnectProperties)) -> Connect {
        let mut connect = Connect { client_id: own_client_id().into(), ..self.connect.clone() };
        change(&mut connect.properties);
        connect
    }
}

pub(super) async fn packet(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let Some(max) = ground.connack.properties.maximum_packet_bytes else {
        return Ok(Answer::NotAsked("the broker names no maximum".to_owned()));
    };
    if max > TRIED_BYTES_MAX {
        return Ok(Answer::NotAsked(format!("{max} bytes are too many to try")));
    }
    let topic = ground.topic("packet");
    // Type, remaining length, topic with its length, packet identifier, properties.
    let around = 1 + 4 + 2 + topic.as_bytes().len() + 2 + 1;
    let mut line = ground.line().await?;
    let within = vec![b'.'; (max as usize).saturating_sub(around)];
    let taken = line.publish(&topic, within, ground.qos(QoS::AtLeastOnce), Retain::No).await?;
    if taken.is_error() {
        return Ok(Answer::No(format!("one within {max} bytes is refused: {taken}")));
    }
    let beyond = vec![b'.'; max as usize + 1];
    Ok(match line.publish(&topic, beyond, ground.qos(QoS::AtLeastOnce), Retain::No).await {
        Ok(reason) if reason.is_error() => Answer::Yes(format!("beyond {max} bytes: {reason}")),
        Ok(_) => Answer::No(format!("one beyond {max} bytes is taken")),
        Err(Lost::Disconnected(said)) => Answer::when(
            said.reason == ReasonCode::PacketTooLarge,
            format!("beyond {max} bytes the connection ends: {}", said.reason),
        ),
        Err(_) => Answer::Yes(format!("beyond {max} bytes the connection ends, without a word")),
    })
}

pub(super) async fn own_packet(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let connect = ground.with(|properties| properties.maximum_packet_bytes = Some(OWN_BYTES));
    let (mut reader, _) = ground.line_with(connect).await?;
    subscribe(&mut reader, &ground.filter("own-packet"), QoS::AtLeastOnce).await?;
    let mut writer = ground.line().await?;
    let topic = ground.topic("own-packet");
    let qos = ground.qos(QoS::AtLeastOnce);
    writer.publish(&topic, vec![b'.'; OWN_BYTES as usize * 2], qos, Retain::No).await?;
    writer.publish(&topic, "small", qos, Retain::No).await?;
    writer.close().await;
    let first = comes(&mut reader).await?;
    reader.close().await;
    Ok(match first {
        Some(message) if message.payload == "small" => {
            Answer::Yes("the large one is left out, the next one comes".to_owned())
        }
        Some(_) => Answer::No(format!("one of more than {OWN_BYTES} bytes came")),
        None => Answer::No("the small one behind the large one does not come either".to_owned()),
    })
}

pub(super) async fn own_receive_maximum(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let connect = ground.with(|properties| properties.receive_maximum = Some(OWN_RECEIVE_MAXIMUM));
    let (mut reader, _) = ground.line_with(connect).await?;
    subscribe(&mut reader, &ground.filter("own-receive"), QoS::AtLeastOnce).await?;
    reader.set_manners(Manners::Withholds);
    let mut writer = ground.line().await?;
    let topic = ground.topic("own-receive");
    let all = (0..SENT).map(|_| (topic.clone(), Bytes::from_static(b"1")));
    writer.publish_many(all, Retain::No, ground.window()).await?;
    writer.close().await;
    let mut came = usize::from(comes(&mut reader).await?.is_some());
    while came <= SENT && comes_all_the_same(&mut reader).await?.is_some() {
        came += 1;
    }
    reader.cut();
    let is_kept = came == usize::from(OWN_RECEIVE_MAXIMUM);
    Ok(Answer::when(is_kept, format!("{came} came where {OWN_RECEIVE_MAXIMUM} are accepted")))
}

pub(super) async fn alias(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let Some(max) = ground.connack.properties.topic_alias_maximum.filter(|max| *max > 0) else {
        return Ok(Answer::NotAsked("the broker takes none".to_owned()));
    };
    let mut line = ground.line().await?;
    subscribe(&mut line, &ground.filter("alias"), QoS::AtMostOnce).await?;
    for (topic, payload) in [(Some(ground.topic("alias")), "first"), (None, "second")] {
        let [high, low] = max.to_be_bytes();
        // The property 0x23, Topic Alias, with the highest one that the broker takes.
        let wire = Bytes::from(vec![0x23, high, low]);
        let Ok(properties) = PublishProperties::from_wire(wire, Direction::FromClient) else {
            return Ok(Answer::NotAsked("an alias cannot be written".to_owned()));
        };
        let publish = Publish {
            topic,
            payload: Bytes::from(payload),
            properties,
            packet_id: None,
            qos: QoS::AtMostOnce,
            dup: false,
            retain: false,
        };
        line.publish_packet(publish).await?;
        if comes_with(&mut line, payload).await?.is_none() {
            return Ok(Answer::No(format!("the {payload} message with alias {max} did not come")));
        }
    }
    line.close().await;
    Ok(Answer::Yes(format!("the highest, {max}, works")))
}

pub(super) async fn keep_alive(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let connect =
        Connect { client_id: own_client_id().into(), keep_alive_s: KEEP_ALIVE_S, ..ground.connect.clone() };
    let (mut line, connack) = ground.line_with(connect).await?;
    if let Some(other) = connack.properties.server_keep_alive_s.filter(|other| *other != KEEP_ALIVE_S) {
        return Ok(Answer::NotAsked(format!("the broker sets {other} s instead")));
    }
    line.set_manners(Manners::Mute);
    let start = Instant::now();
    let end = line.message(start + PUT_UP_WITH_MAX).await;
    let seconds = start.elapsed().as_secs_f64();
    Ok(match end {
        Ok(_) => Answer::No(format!("still there after {seconds:.1} s at a keep alive of {KEEP_ALIVE_S} s")),
        Err(_) => Answer::Yes(format!("after {seconds:.1} s at a keep alive of {KEEP_ALIVE_S} s")),
    })
}
