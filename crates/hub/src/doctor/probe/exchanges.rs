//! QoS and its exchanges, and what a message carries.

use bytes::Bytes;
use crosspoint_protocol::packet::{
    Ack, Packet, Publish, PublishProperties, PublishPropertyValues, SubscribedFilter, SubscriptionOptions,
    Unsubscribe,
};
use crosspoint_protocol::{PacketId, QoS, ReasonCode};
use tokio::time::Instant;

use super::super::admit::own_client_id;
use super::super::line::{Line, Lost, Retain};
use super::ground::{Ground, comes, comes_all_the_same, numbered, payloads, subscribe, subscribe_as};
use super::{Answer, Trouble};

/// How many messages have to come in their order.
const IN_ORDER: usize = 20;

pub(super) async fn order(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let mut reader = ground.line().await?;
    subscribe(&mut reader, &ground.filter("order"), QoS::AtLeastOnce).await?;
    let mut writer = ground.line().await?;
    let expected = numbered(IN_ORDER);
    let topic = ground.topic("order");
    let all = expected.iter().map(|payload| (topic.clone(), payload.clone()));
    writer.publish_many(all, Retain::No, ground.window()).await?;
    writer.close().await;
    let came = payloads(&mut reader, IN_ORDER).await?;
    reader.close().await;
    let seen = match came == expected {
        true => "in their order".to_owned(),
        false => format!("{} of {IN_ORDER} came, or in another order", came.len()),
    };
    Ok(Answer::when(came == expected, seen))
}

pub(super) async fn exactly_once(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    if ground.qos(QoS::ExactlyOnce) != QoS::ExactlyOnce {
        return Ok(Answer::No("the broker says that it has no QoS 2".to_owned()));
    }
    let mut reader = ground.line().await?;
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    let granted = reader.subscribe(&ground.filter("once"), options, None).await?;
    if granted != ReasonCode::GrantedQoS2 {
        return Ok(Answer::No(format!("the broker grants less: {granted}")));
    }
    let mut writer = ground.line().await?;
    writer.publish(&ground.topic("once"), "1", QoS::ExactlyOnce, Retain::No).await?;
    writer.close().await;
    let first = comes(&mut reader).await?;
    let second = comes_all_the_same(&mut reader).await?;
    reader.close().await;
    Ok(match (first, second) {
        (Some(message), None) => {
            Answer::when(message.qos == QoS::ExactlyOnce, format!("it came with QoS {}", message.qos))
        }
        (None, _) => Answer::No("nothing came".to_owned()),
        (Some(_), Some(_)) => Answer::No("it came twice".to_owned()),
    })
}

pub(super) async fn duplicate(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    if ground.qos(QoS::ExactlyOnce) != QoS::ExactlyOnce {
        return Ok(Answer::NotAsked("the broker says that it has no QoS 2".to_owned()));
    }
    let client_id = own_client_id();
    let answer = send_again(ground, &client_id).await;
    ground.forget(&client_id).await;
    answer
}

/// Sends a message, loses the connection before PUBREL, and sends it again as the specification wants it.
async fn send_again(ground: &Ground<'_>, client_id: &str) -> Result<Answer, Trouble> {
    let mut reader = ground.line().await?;
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    if reader.subscribe(&ground.filter("again"), options, None).await? != ReasonCode::GrantedQoS2 {
        reader.close().await;
        return Ok(Answer::NotAsked("the broker grants no QoS 2".to_owned()));
    }
    let (mut first, _) = ground.line_with(ground.durable(client_id)).await?;
    let publish = Publish {
        topic: Some(ground.topic("again")),
        payload: Bytes::from_static(b"1"),
        properties: PublishProperties::default(),
        packet_id: Some(PacketId::MIN),
        qos: QoS::ExactlyOnce,
        dup: false,
        retain: false,
    };
    first.send(&Packet::Publish(publish.clone())).await?;
    if received(&mut first).await?.is_none() {
        return Ok(Answer::No("PUBREC did not come".to_owned()));
    }
    first.cut();
    let (mut back, connack) = ground.line_with(ground.durable(client_id)).await?;
    if !connack.session_present {
        back.close().await;
        return Ok(Answer::No("the session is gone, and with it what tells a duplicate".to_owned()));
    }
    back.publish_packet(Publish { dup: true, ..publish }).await?;
    back.close().await;
    let first = comes(&mut reader).await?;
    let second = comes_all_the_same(&mut reader).await?;
    reader.close().await;
    Ok(match (first, second) {
        (Some(_), None) => Answer::Yes("it came once".to_owned()),
        (None, _) => Answer::No("it did not come at all".to_owned()),
        (Some(_), Some(_)) => Answer::No("it came twice".to_owned()),
    })
}

async fn received(line: &mut Line) -> Result<Option<Ack>, Lost> {
    let until = Instant::now() + std::time::Duration::from_secs(3);
    line.answer(until, |packet| match packet {
        Packet::PubRec(ack) => Some(ack.clone()),
        _ => None,
    })
    .await
}

pub(super) async fn no_subscription(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let mut line = ground.line().await?;
    let packet_id = line.packet_id();
    let filters = vec![ground.filter("nothing")];
    let unsubscribe = Unsubscribe { packet_id, filters, user_properties: Vec::new() };
    line.send(&Packet::Unsubscribe(Box::new(unsubscribe))).await?;
    let until = Instant::now() + std::time::Duration::from_secs(3);
    let reason = line.answer(until, |packet| match packet {
        Packet::UnsubAck(ack) => ack.reasons.first().copied(),
        _ => None,
    });
    let reason = reason.await?;
    line.close().await;
    Ok(match reason {
        Some(reason) => {
            Answer::when(reason == ReasonCode::NoSubscriptionExisted, format!("the broker says: {reason}"))
        }
        None => Answer::No("UNSUBACK did not come".to_owned()),
    })
}

pub(super) async fn properties(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let user = [("a", "1"), ("b", "2"), ("a", "3")];
    let values = PublishPropertyValues {
        content_type: Some("text/plain".into()),
        user_properties: user.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..PublishPropertyValues::default()
    };
    let Ok(properties) = PublishProperties::from_values(&values) else {
        return Ok(Answer::NotAsked("the properties cannot be written".to_owned()));
    };
    let mut line = ground.line().await?;
    subscribe(&mut line, &ground.filter("properties"), QoS::AtMostOnce).await?;
    let publish = Publish {
        topic: Some(ground.topic("properties")),
        payload: Bytes::from_static(b"1"),
        properties,
        packet_id: None,
        qos: QoS::AtMostOnce,
        dup: false,
        retain: false,
    };
    line.publish_packet(publish).await?;
    let came = comes(&mut line).await?;
    line.close().await;
    Ok(match came {
        Some(message) => {
            let is_whole = message.properties.user_properties().eq(user)
                && message.properties.content_type() == Some("text/plain");
            Answer::when(
                is_whole,
                if is_whole { "all of them, in their order" } else { "some are lost or changed" },
            )
        }
        None => Answer::No("nothing came".to_owned()),
    })
}

pub(super) async fn no_local(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let mut line = ground.line().await?;
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let wanted = SubscribedFilter { filter: ground.filter("local"), options };
    if !subscribe_as(&mut line, wanted, None).await? {
        return Ok(Answer::No("the broker refuses the subscription".to_owned()));
    }
    line.publish(&ground.topic("local"), "1", QoS::AtMostOnce, Retain::No).await?;
    let came = comes_all_the_same(&mut line).await?.is_some();
    line.close().await;
    Ok(Answer::when(!came, if came { "our own message came" } else { "nothing came" }))
}
