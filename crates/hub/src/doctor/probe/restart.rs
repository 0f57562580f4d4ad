//! A restart of the broker, which a person has to make: what survives it.
//!
//! A connection stays open while it is waited for. When it ends the broker is going; when a new one is let in, it is back.

use std::time::Duration;

use crosspoint_protocol::QoS;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::admit::own_client_id;
use super::super::line::{Line, Retain};
use super::ground::{Ground, comes_with, subscribe};
use super::{Answer, Trouble};

/// How long there is between attempts to come back.
const PAUSE: Duration = Duration::from_millis(250);

/// What a restart has left.
#[derive(Debug, Clone)]
pub(super) struct Restarted {
    /// Whether the retained message came, or why nobody knows.
    retained: Result<bool, String>,
    /// Whether the session was there, and what waited for it.
    session: Result<(bool, bool), String>,
}

/// Leaves a retained message and a session with a message that waits, calls `ask_for_it`, waits until the broker has been
/// away and is back, and looks what is there. It takes `within` at most, and some seconds.
pub(super) async fn over(ground: &Ground<'_>, within: Duration, ask_for_it: impl FnOnce()) -> Restarted {
    let client_id = own_client_id();
    let payload = format!("{:016x}", fastrand::u64(..));
    let looked = async {
        let watch = prepare(ground, &client_id, &payload).await?;
        ask_for_it();
        match went_and_came_back(ground, watch, Instant::now() + within).await {
            Ok(()) => look(ground, &client_id, &payload).await.map(Ok),
            Err(why) => Ok(Err(why)),
        }
    };
    let restarted = match looked.await {
        Ok(Ok(restarted)) => restarted,
        Ok(Err(why)) => Restarted { retained: Err(why.clone()), session: Err(why) },
        Err(trouble) => {
            let why = Trouble::to_string(&trouble);
            Restarted { retained: Err(why.clone()), session: Err(why) }
        }
    };
    tidy(ground, &client_id).await;
    restarted
}

pub(super) async fn retained(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    Ok(match ground.restarted.as_ref().map(|restarted| &restarted.retained) {
        None => Answer::NotAsked(NOT_ASKED.to_owned()),
        Some(Err(why)) => Answer::NotAsked(why.clone()),
        Some(Ok(true)) => Answer::Yes("it came afterwards".to_owned()),
        Some(Ok(false)) => Answer::No("nothing came afterwards".to_owned()),
    })
}

pub(super) async fn session(ground: &Ground<'_>) -> Result<Answer, Trouble> {
    Ok(match ground.restarted.as_ref().map(|restarted| &restarted.session) {
        None => Answer::NotAsked(NOT_ASKED.to_owned()),
        Some(Err(why)) => Answer::NotAsked(why.clone()),
        Some(Ok((true, true))) => Answer::Yes("both were there afterwards".to_owned()),
        Some(Ok((true, false))) => {
            Answer::No("the session was there, and what waited for it was lost".to_owned())
        }
        Some(Ok((false, _))) => Answer::No("the session was gone".to_owned()),
    })
}

/// What is said when nobody is to restart the broker.
const NOT_ASKED: &str = "nobody was asked to restart the broker (`--pause-for-restart`)";

/// Returns a connection that ends when the broker goes.
async fn prepare(ground: &Ground<'_>, client_id: &str, payload: &str) -> Result<Line, Trouble> {
    let (mut first, _) = ground.line_with(ground.durable(client_id)).await?;
    subscribe(&mut first, &ground.filter("restart/session"), QoS::AtLeastOnce).await?;
    first.close().await;
    let mut other = ground.line().await?;
    ground.retain(&mut other, &ground.topic("restart/retained"), payload).await?;
    let qos = ground.qos(QoS::AtLeastOnce);
    other.publish(&ground.topic("restart/session"), payload.to_owned(), qos, Retain::No).await?;
    Ok(other)
}

/// Waits until a connection has ended and another one is let in.
async fn went_and_came_back(ground: &Ground<'_>, mut watch: Line, until: Instant) -> Result<(), String> {
    if watch.message(until).await.is_ok() {
        return Err("the broker was not restarted in time: a connection to it stayed open".to_owned());
    }
    let back = async {
        loop {
            if let Ok(line) = ground.line().await {
                return line.close().await;
            }
            sleep(PAUSE).await;
        }
    };
    timeout_at(until, back).await.map_err(|_| "the broker did not come back in time".to_owned())
}

async fn look(ground: &Ground<'_>, client_id: &str, payload: &str) -> Result<Restarted, Trouble> {
    let mut new = ground.line().await?;
    subscribe(&mut new, &ground.filter("restart/retained"), QoS::AtLeastOnce).await?;
    let retained = comes_with(&mut new, payload).await?.is_some();
    new.close().await;
    let (mut back, connack) = ground.line_with(ground.durable(client_id)).await?;
    let waited = comes_with(&mut back, payload).await?.is_some();
    back.close().await;
    Ok(Restarted { retained: Ok(retained), session: Ok((connack.session_present, waited)) })
}

/// Removes what was left. What becomes of the attempt shows in no statement.
async fn tidy(ground: &Ground<'_>, client_id: &str) {
    ground.forget(client_id).await;
    if let Ok(mut line) = ground.line().await {
        drop(ground.retain(&mut line, &ground.topic("restart/retained"), "").await);
        line.close().await;
    }
}
