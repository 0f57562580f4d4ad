//! Wills: published when a client dies, and only then.

use crosspoint_protocol::QoS;
use crosspoint_protocol::packet::{Connect, Will, WillProperties};

use super::super::admit::own_client_id;
use super::super::line::Line;
use super::ground::{Ground, comes_all_the_same, comes_with, subscribe};
use super::{Answer, Trouble};

/// Opens a connection with a will, and one that listens for it.
async fn pair(ground: &Ground<'_>, what: &str) -> Result<(Line, Line), Trouble> {
    let mut reader = ground.line().await?;
    subscribe(&mut reader, &ground.filter(what), QoS::AtLeastOnce).await?;
    let will = Will {
        topic: ground.topic(what),
        payload: "gone".into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties::default(),
    };
    let connect = Connect { client_id: own_client_id().into(), will: Some(will), ..ground.connect.clone() };
    let (mortal, _) = ground.line_with(connect).await?;
    Ok((reader, mortal))
}

pub(super) async fn of_the_dead(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let (mut reader, mortal) = pair(ground, "will").await?;
    mortal.cut();
    let came = comes_with(&mut reader, "gone").await?.is_some();
    reader.close().await;
    Ok(Answer::when(came, if came { "it came" } else { "it did not come" }))
}

pub(super) async fn not_of_the_polite(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    let (mut reader, mortal) = pair(ground, "no-will").await?;
    mortal.close().await;
    let came = comes_all_the_same(&mut reader).await?.is_some();
    reader.close().await;
    Ok(Answer::when(!came, if came { "it came all the same" } else { "nothing came" }))
}
