//! Another node of the same cluster.

use crosspoint_protocol::QoS;
use crosspoint_protocol::packet::{ConnAck, Connect};

use super::super::admit::own_client_id;
use super::super::line::{Line, NotOpened, Retain};
use super::ground::{Ground, comes_with, subscribe};
use super::retained::with_retained;
use super::sessions::with_session;
use super::{Answer, Trouble};
use crate::config::plan::Address;

/// What is said when no other node is known.
const NO_NODE: &str = "no second node was named (`--second-node URL`)";

impl Ground<'_> {
    async fn line_at(&self, node: &Address, connect: Connect) -> Result<(Line, ConnAck), NotOpened> {
        let admitted = self.visit.connect_at(node, connect).await?;
        Ok((admitted.line, admitted.connack))
    }
}

pub(super) async fn retained(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let Some(node) = &ground.visit.order.second_node else { return Ok(Answer::NotAsked(NO_NODE.to_owned())) };
    with_retained(ground, &ground.topic("node"), async |_, payload| {
        let connect = Connect { client_id: own_client_id().into(), ..ground.connect.clone() };
        let (mut there, _) = ground.line_at(node, connect).await?;
        subscribe(&mut there, &ground.filter("node"), QoS::AtLeastOnce).await?;
        let came = comes_with(&mut there, payload).await?.is_some();
        there.close().await;
        Ok(Answer::when(came, if came { "it came there" } else { "nothing came there" }))
    })
    .await
}

pub(super) async fn session(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let Some(node) = &ground.visit.order.second_node else { return Ok(Answer::NotAsked(NO_NODE.to_owned())) };
    with_session(ground, async |client_id| {
        let (mut here, _) = ground.line_with(ground.durable(client_id)).await?;
        subscribe(&mut here, &ground.filter("moves"), QoS::AtLeastOnce).await?;
        here.close().await;
        let mut other = ground.line().await?;
        other.publish(&ground.topic("moves"), "1", ground.qos(QoS::AtLeastOnce), Retain::No).await?;
        other.close().await;
        let (mut there, connack) = ground.line_at(node, ground.durable(client_id)).await?;
        let came = comes_with(&mut there, "1").await?.is_some();
        there.close().await;
        // A node of its own keeps a session of its own, which is in nobody's interest.
        let clean = Connect { client_id: client_id.into(), ..ground.connect.clone() };
        if let Ok((line, _)) = ground.line_at(node, clean).await {
            line.close().await;
        }
        Ok(match (connack.session_present, came) {
            (true, true) => Answer::Yes("it is there, with what came meanwhile".to_owned()),
            (false, _) => Answer::No("it is not there".to_owned()),
            (_, false) => Answer::No("it is there, and what came meanwhile is not".to_owned()),
        })
    })
    .await
}
