//! Sessions: kept, taken over, removed.

use crosspoint_protocol::packet::Connect;
use crosspoint_protocol::{QoS, ReasonCode};

use super::super::admit::own_client_id;
use super::super::line::{Lost, Retain};
use super::ground::{Ground, comes, comes_all_the_same, numbered, payloads, subscribe};
use super::{Answer, Trouble};

/// How many messages wait for a client that is away.
const WAITING: usize = 20;

/// Asks with a session of its own, and removes it whatever came of it.
pub(super) async fn with_session(
    ground: &Ground<'_>,
    asked: impl AsyncFnOnce(&str) -> Result<Answer, Trouble>,
) -> Result<Answer, Trouble> {
    let client_id = own_client_id();
    let answer = asked(&client_id).await;
    ground.forget(&client_id).await;
    answer
}

pub(super) async fn present(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_session(ground, async |client_id| {
        let (mut first, _) = ground.line_with(ground.durable(client_id)).await?;
        subscribe(&mut first, &ground.filter("present"), QoS::AtLeastOnce).await?;
        first.close().await;
        let (second, connack) = ground.line_with(ground.durable(client_id)).await?;
        second.close().await;
        Ok(Answer::when(
            connack.session_present,
            if connack.session_present { "it is there" } else { "the broker says that there is none" },
        ))
    })
    .await
}

pub(super) async fn offline(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_session(ground, async |client_id| {
        let (mut first, _) = ground.line_with(ground.durable(client_id)).await?;
        subscribe(&mut first, &ground.filter("offline"), QoS::AtLeastOnce).await?;
        first.close().await;
        let mut other = ground.line().await?;
        let expected = numbered(WAITING);
        for payload in &expected {
            other
                .publish(&ground.topic("offline"), payload.clone(), ground.qos(QoS::AtLeastOnce), Retain::No)
                .await?;
        }
        other.close().await;
        let (mut back, _) = ground.line_with(ground.durable(client_id)).await?;
        let came = payloads(&mut back, WAITING).await?;
        back.close().await;
        let seen = match came == expected {
            true => format!("all {WAITING} came in their order"),
            false => format!("{} of {WAITING} came, or in another order", came.len()),
        };
        Ok(Answer::when(came == expected, seen))
    })
    .await
}

pub(super) async fn takeover(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_session(ground, async |client_id| {
        let (mut old, _) = ground.line_with(ground.durable(client_id)).await?;
        subscribe(&mut old, &ground.filter("takeover"), QoS::AtLeastOnce).await?;
        let (mut new, connack) = ground.line_with(ground.durable(client_id)).await?;
        let ended =
            matches!(comes(&mut old).await, Err(Lost::Closed | Lost::Disconnected(_) | Lost::Stream(_)));
        let mut other = ground.line().await?;
        other.publish(&ground.topic("takeover"), "1", ground.qos(QoS::AtLeastOnce), Retain::No).await?;
        other.close().await;
        let came = comes(&mut new).await?.is_some();
        new.close().await;
        Ok(match (connack.session_present, ended, came) {
            (true, true, true) => Answer::Yes("session, subscription and messages go over".to_owned()),
            (false, true, true) => {
                Answer::No("it goes over, and the broker says that there is none".to_owned())
            }
            (false, _, _) => Answer::No("the session is not there on the new connection".to_owned()),
            (_, false, _) => Answer::No("the old connection stays open".to_owned()),
            (_, _, false) => Answer::No("the new connection gets nothing".to_owned()),
        })
    })
    .await
}

pub(super) async fn told(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_session(ground, async |client_id| {
        let (mut old, _) = ground.line_with(ground.durable(client_id)).await?;
        let (new, _) = ground.line_with(ground.durable(client_id)).await?;
        let end = comes(&mut old).await;
        new.close().await;
        Ok(match end {
            Err(Lost::Disconnected(said)) => Answer::when(
                said.reason == ReasonCode::SessionTakenOver,
                format!("it is told: {}", said.reason),
            ),
            Err(Lost::Closed) => Answer::No("it is closed without a word".to_owned()),
            Err(lost) => Answer::No(Trouble::from(lost).to_string()),
            Ok(_) => Answer::No("it stays open".to_owned()),
        })
    })
    .await
}

pub(super) async fn clean_start(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    with_session(ground, async |client_id| {
        let (mut first, _) = ground.line_with(ground.durable(client_id)).await?;
        subscribe(&mut first, &ground.filter("clean"), QoS::AtLeastOnce).await?;
        first.close().await;
        let clean = Connect { clean_start: true, ..ground.durable(client_id) };
        let (mut second, connack) = ground.line_with(clean).await?;
        if connack.session_present {
            return Ok(Answer::No("the broker says that the session is still there".to_owned()));
        }
        let mut other = ground.line().await?;
        other.publish(&ground.topic("clean"), "1", ground.qos(QoS::AtLeastOnce), Retain::No).await?;
        other.close().await;
        let came = comes_all_the_same(&mut second).await?.is_some();
        second.close().await;
        Ok(Answer::when(!came, if came { "its subscription is still there" } else { "it is gone" }))
    })
    .await
}
