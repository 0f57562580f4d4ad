//! `crosspoint pub --connector NAME` beside a hub that runs: publishes over the connection that the hub has.

use crosspoint_client::TopicName;

use super::{PublishFlags, keeping, not_in_time};
use crate::connection::{after, block_on};
use crate::failure::{Failure, Voice};
use crate::payload::{Lines, Payload};
use crate::through::Through;

/// Runs the command.
pub(super) fn run(flags: &PublishFlags, through: &Through, voice: Voice) -> Result<(), Failure> {
    let topic = flags.topic(None)?;
    flags.remote.only_publish_properties()?;
    flags.remote.no_subscribe_properties()?;
    let payload = flags.payload.payload()?;
    block_on(async {
        tokio::select! {
            result = publish_all(flags, through, &topic, &payload, voice) => result,
            () = after(flags.remote.timeout()) => Err(not_in_time("the broker")),
        }
    })
}

async fn publish_all(
    flags: &PublishFlags,
    through: &Through,
    topic: &TopicName,
    payload: &Payload,
    voice: Voice,
) -> Result<(), Failure> {
    let mut hub = through.reach()?;
    let message = |payload: &[u8]| {
        let properties = keeping::properties(&flags.remote.properties.publish)?;
        Ok::<_, Failure>(keeping::message(topic, payload, flags.qos, flags.retain, &properties))
    };
    match payload {
        Payload::One(payload) => {
            for count in 0..flags.repeat {
                if count > 0 {
                    tokio::time::sleep(flags.repeat_delay.unwrap_or_default()).await;
                }
                through.publish(&mut hub, message(payload)?, voice).await?;
            }
        }
        Payload::Lines => {
            let mut lines = Lines::of_stdin();
            while let Some(line) = lines.next().await? {
                through.publish(&mut hub, message(&line)?, voice).await?;
            }
        }
    }
    Ok(())
}
