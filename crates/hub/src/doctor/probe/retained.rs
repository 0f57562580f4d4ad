//! Retained messages: the statements in which brokers differ most.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use crosspoint_protocol::packet::{
    Publish, PublishProperties, PublishPropertyValues, RetainHandling, SubscribedFilter, SubscriptionOptions,
};
use crosspoint_protocol::{QoS, TopicFilter, TopicName};
use tokio::time::{Instant, sleep};

use super::super::line::{Line, Lost, Retain};
use super::ground::{Ground, comes_all_the_same, comes_with, filter, subscribe, subscribe_as};
use super::{Answer, Trouble};

/// How many retained messages one wildcard has to bring.
const MANY: usize = 5_000;

/// How long no more of them may come before they count as all.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long the message lives that is to go.
const EXPIRY_S: u32 = 1;

/// Retains a message, asks, and removes it whatever came of it.
pub(super) async fn with_retained<T>(
    ground: &Ground<'_>,
    topic: &TopicName,
    asked: impl AsyncFnOnce(&mut Line, &str) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let mut owner = ground.line().await?;
    let payload = format!("{:016x}", fastrand::u64(..));
    ground.retain(&mut owner, topic, &payload).await?;
    let mut other = ground.line().await?;
    let answer = asked(&mut other, &payload).await;
    other.close().await;
    // A broker that does not take the removal shows in the statement about removals.
    drop(owner.publish(topic, "", ground.qos(QoS::AtLeastOnce), Retain::Yes).await);
    owner.close().await;
    answer
}

/// Tells whether a retained message comes to a filter.
async fn comes_to(ground: &Ground<'_>, topic: &TopicName, wanted: &TopicFilter) -> Result<Answer, Trouble> {
    with_retained(ground, topic, async |line, payload| {
        if !subscribe(line, wanted, QoS::AtLeastOnce).await? {
            return Ok(Answer::No(format!("the broker refuses the subscription to `{wanted}`")));
        }
        Ok(match comes_with(line, payload).await? {
            Some(message) if !message.retain => Answer::No("it came without the retain flag".to_owned()),
            Some(_) => Answer::Yes("it came".to_owned()),
            None => Answer::No(format!("nothing came to `{wanted}`")),
        })
    })
    .await
}

async fn comes_to_own(ground: &Ground<'_>, topic: &str, wanted: &str) -> Result<Answer, Trouble> {
    comes_to(ground, &ground.topic(topic), &ground.filter(wanted)).await
}

pub(super) async fn exact(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    comes_to_own(ground, "exact/x", "exact/x").await
}

pub(super) async fn plus(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    comes_to_own(ground, "plus/x", "plus/+").await
}

pub(super) async fn hash(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    comes_to_own(ground, "hash/x/y", "hash/#").await
}

pub(super) async fn everything(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    match filter("#") {
        Some(all) => comes_to(ground, &ground.topic("everything"), &all).await,
        None => Ok(Answer::NotAsked("`#` is no filter here".to_owned())),
    }
}

pub(super) async fn plus_and_hash(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    match filter(&format!("+/doctor/{}/#", ground.visit.client_id)) {
        Some(wanted) => comes_to(ground, &ground.topic("both/x"), &wanted).await,
        None => Ok(Answer::NotAsked("that is no filter here".to_owned())),
    }
}

pub(super) async fn dollar_inside(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    comes_to_own(ground, "dollar/$inside/x", "dollar/$inside/x").await
}

pub(super) async fn leading_slash(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let text = format!("/crosspoint/doctor/{}/x", ground.visit.client_id);
    match (TopicName::parse(text.clone()), filter(&text)) {
        (Ok(topic), Some(wanted)) => comes_to(ground, &topic, &wanted).await,
        _ => Ok(Answer::NotAsked("that is no topic here".to_owned())),
    }
}

pub(super) async fn five_thousand(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let topics: Vec<TopicName> = (0..MANY).map(|number| ground.topic(&format!("many/{number}"))).collect();
    let with = |payload: &'static str| topics.iter().map(move |topic| (topic.clone(), Bytes::from(payload)));
    let mut owner = ground.line().await?;
    let taken = owner.publish_many(with("1"), Retain::Yes, ground.window()).await;
    let came = match taken {
        Ok(_) => count(ground, "many/+").await,
        Err(lost) => Err(lost.into()),
    };
    // Five thousand that stay behind would be a mess: the connection may have gone, so it is a new one.
    let mut remover = ground.line().await?;
    remover.publish_many(with(""), Retain::Yes, ground.window()).await?;
    remover.close().await;
    let came = came?;
    Ok(Answer::when(came == MANY, format!("{came} of {MANY} came")))
}

async fn count(ground: &Ground<'_>, wanted: &str) -> Result<usize, Trouble> {
    let mut line = ground.line().await?;
    subscribe(&mut line, &ground.filter(wanted), QoS::AtLeastOnce).await?;
    let mut came = BTreeSet::new();
    while came.len() < MANY
        && let Some(message) = line.message(Instant::now() + PAUSE_MAX).await?
    {
        came.extend(message.topic.map(|topic| topic.as_str().to_owned()));
    }
    line.close().await;
    Ok(came.len())
}

pub(super) async fn own_topic(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let topic = ground.topic("own/x");
    let mut line = ground.line().await?;
    subscribe(&mut line, &ground.filter("own/+"), QoS::AtLeastOnce).await?;
    line.publish(&topic, "own", QoS::AtMostOnce, Retain::No).await?;
    let came = comes_with(&mut line, "own").await?;
    line.close().await;
    Ok(match came.and_then(|message| message.topic) {
        Some(named) => Answer::when(named == topic, format!("it came as `{named}`")),
        None => Answer::No("nothing came".to_owned()),
    })
}

pub(super) async fn flag(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let topic = ground.topic("flag");
    let mut early = ground.line().await?;
    subscribe(&mut early, &ground.filter("flag"), QoS::AtLeastOnce).await?;
    with_retained(ground, &topic, async |late, payload| {
        let live = comes_with(&mut early, payload).await?;
        subscribe(late, &ground.filter("flag"), QoS::AtLeastOnce).await?;
        let kept = comes_with(late, payload).await?;
        Ok(match (live.map(|message| message.retain), kept.map(|message| message.retain)) {
            (Some(false), Some(true)) => Answer::Yes("as it should be".to_owned()),
            (Some(true), _) => Answer::No("it is set for a subscriber who was there".to_owned()),
            (_, Some(false)) => Answer::No("it is not set for a new subscriber".to_owned()),
            (None, _) => Answer::No("nothing came to the subscriber who was there".to_owned()),
            (_, None) => Answer::No("nothing came to the new subscriber".to_owned()),
        })
    })
    .await
}

pub(super) async fn handling(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_retained(ground, &ground.topic("handling"), async |line, payload| {
        let with = |retain_handling| SubscribedFilter {
            filter: ground.filter("handling"),
            options: SubscriptionOptions { retain_handling, ..SubscriptionOptions::default() },
        };
        subscribe_as(line, with(RetainHandling::DoNotSend), None).await?;
        if comes_all_the_same(line).await?.is_some() {
            return Ok(Answer::No("2 (none) sends it".to_owned()));
        }
        subscribe_as(line, with(RetainHandling::SendIfNew), None).await?;
        if comes_all_the_same(line).await?.is_some() {
            return Ok(Answer::No("1 (if new) sends it to a subscription that was there".to_owned()));
        }
        subscribe_as(line, with(RetainHandling::Send), None).await?;
        if comes_with(line, payload).await?.is_none() {
            return Ok(Answer::No("0 (always) does not send it to a subscription that was there".to_owned()));
        }
        as_published(ground).await
    })
    .await
}

async fn as_published(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let mut line = ground.line().await?;
    let options = SubscriptionOptions {
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
        ..SubscriptionOptions::default()
    };
    subscribe_as(&mut line, SubscribedFilter { filter: ground.filter("handling"), options }, None).await?;
    let mut owner = ground.line().await?;
    ground.retain(&mut owner, &ground.topic("handling"), "again").await?;
    owner.close().await;
    let came = comes_with(&mut line, "again").await?;
    line.close().await;
    Ok(match came {
        Some(message) => Answer::when(
            message.retain,
            "Retain As Published keeps the flag: ".to_owned() + yes_no(message.retain),
        ),
        None => Answer::No("nothing came with Retain As Published".to_owned()),
    })
}

const fn yes_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

pub(super) async fn removed(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let topic = ground.topic("removed");
    let mut owner = ground.line().await?;
    ground.retain(&mut owner, &topic, "1").await?;
    ground.retain(&mut owner, &topic, "").await?;
    owner.close().await;
    let mut line = ground.line().await?;
    subscribe(&mut line, &ground.filter("removed"), QoS::AtLeastOnce).await?;
    let came = comes_all_the_same(&mut line).await?;
    line.close().await;
    Ok(match came {
        None => Answer::Yes("nothing came".to_owned()),
        Some(message) if message.payload.is_empty() => Answer::No("an empty message is retained".to_owned()),
        Some(_) => Answer::No("it still comes".to_owned()),
    })
}

pub(super) async fn downgraded(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_retained(ground, &ground.topic("downgraded"), async |line, payload| {
        subscribe(line, &ground.filter("downgraded"), QoS::AtMostOnce).await?;
        Ok(match comes_with(line, payload).await? {
            Some(message) => {
                Answer::when(message.qos == QoS::AtMostOnce, format!("it came with QoS {}", message.qos))
            }
            None => Answer::No("nothing came".to_owned()),
        })
    })
    .await
}

pub(super) async fn subscription_id(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    if ground.connack.properties.subscription_identifiers_available == Some(false) {
        return Ok(Answer::NotAsked("the broker says that it has none".to_owned()));
    }
    with_retained(ground, &ground.topic("id"), async |line, payload| {
        let options = SubscriptionOptions::default();
        subscribe_as(line, SubscribedFilter { filter: ground.filter("id"), options }, Some(7)).await?;
        Ok(match comes_with(line, payload).await? {
            Some(message) => {
                let ids: Vec<u32> = message.properties.subscription_ids().collect();
                Answer::when(ids == [7], format!("it bears {ids:?}"))
            }
            None => Answer::No("nothing came".to_owned()),
        })
    })
    .await
}

pub(super) async fn expires(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let values =
        PublishPropertyValues { message_expiry_s: Some(EXPIRY_S), ..PublishPropertyValues::default() };
    let Ok(properties) = PublishProperties::from_values(&values) else {
        return Ok(Answer::NotAsked("an expiry cannot be written".to_owned()));
    };
    let mut owner = ground.line().await?;
    let topic = ground.topic("expires");
    let publish = Publish {
        topic: Some(topic.clone()),
        payload: Bytes::from_static(b"1"),
        properties,
        packet_id: None,
        qos: QoS::AtMostOnce,
        dup: false,
        retain: true,
    };
    owner.publish_packet(publish).await?;
    owner.ping().await?;
    sleep(Duration::from_secs(u64::from(EXPIRY_S) + 2)).await;
    let mut line = ground.line().await?;
    subscribe(&mut line, &ground.filter("expires"), QoS::AtLeastOnce).await?;
    let came = comes_all_the_same(&mut line).await?;
    line.close().await;
    remove(&mut owner, &topic).await?;
    owner.close().await;
    Ok(Answer::when(came.is_none(), if came.is_none() { "it is gone" } else { "it still comes" }))
}

async fn remove(line: &mut Line, topic: &TopicName) -> Result<(), Lost> {
    line.publish(topic, "", QoS::AtMostOnce, Retain::Yes).await.map(|_| ())
}

pub(super) async fn not_shared(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    if ground.connack.properties.shared_subscription_available == Some(false) {
        return Ok(Answer::NotAsked("the broker says that it has none".to_owned()));
    }
    let Some(shared) = filter(&format!("$share/doctor/{}", ground.filter("shared"))) else {
        return Ok(Answer::NotAsked("that is no filter here".to_owned()));
    };
    with_retained(ground, &ground.topic("shared"), async |line, _| {
        if !subscribe(line, &shared, QoS::AtLeastOnce).await? {
            return Ok(Answer::NotAsked("the broker refuses shared subscriptions".to_owned()));
        }
        let came = comes_all_the_same(line).await?.is_some();
        Ok(Answer::when(!came, if came { "it came" } else { "nothing came" }))
    })
    .await
}
