//! `crosspoint pub --store`: puts messages into a connector's outbox, and ends well only when they are durable there.

use std::time::{SystemTime, UNIX_EPOCH};

use crosspoint_client::protocol::{Message, Now, packet::PublishProperties};
use crosspoint_client::{PublishPropertyValues, QoS, TopicName};
use crosspoint_hub::control::{Control, Request};

use super::{PublishFlags, not_in_time};
use crate::ask;
use crate::connection::{after, block_on};
use crate::failure::{Failure, Voice};
use crate::payload::{Lines, Payload};
use crate::place::Place;

/// What is meant: messages for the outbox of one connector.
#[derive(Debug)]
struct Keeping {
    place: Place,
    connector: String,
    topic: TopicName,
    properties: PublishPropertyValues,
    qos: QoS,
    retain: bool,
}

/// Runs the command.
pub(super) fn run(flags: &PublishFlags, voice: Voice) -> Result<(), Failure> {
    let remote = &flags.remote;
    let keeping = Keeping {
        place: remote.place(),
        connector: remote.connector.clone().unwrap_or_default(),
        topic: flags.topic(None)?,
        properties: remote.properties.publish.clone(),
        qos: flags.qos,
        retain: flags.retain,
    };
    keeping.properties()?;
    remote.only_publish_properties()?;
    remote.no_subscribe_properties()?;
    let payload = flags.payload.payload()?;
    let timeout = remote.timeout();
    block_on(async {
        tokio::select! {
            result = keeping.keep_all(&payload, flags, voice) => result,
            () = after(timeout) => Err(not_in_time("the outbox")),
        }
    })
}

impl Keeping {
    async fn keep_all(&self, payload: &Payload, flags: &PublishFlags, voice: Voice) -> Result<(), Failure> {
        let mut hub = Control::open(self.place.data()).await.map_err(ask::failure)?;
        match payload {
            Payload::One(payload) => {
                for count in 0..flags.repeat {
                    if count > 0 {
                        tokio::time::sleep(flags.repeat_delay.unwrap_or_default()).await;
                    }
                    self.keep(&mut hub, payload, voice).await?;
                }
            }
            Payload::Lines => {
                let mut lines = Lines::of_stdin();
                while let Some(line) = lines.next().await? {
                    self.keep(&mut hub, &line, voice).await?;
                }
            }
        }
        Ok(())
    }

    /// Returns when the outbox has it.
    async fn keep(&self, hub: &mut Control, payload: &[u8], voice: Voice) -> Result<(), Failure> {
        let message = message(&self.topic, payload, self.qos, self.retain, &self.properties()?);
        let request = Request::Publish { name: self.connector.clone(), message };
        hub.ask(request, |_| Ok(())).await.map_err(ask::failure)?;
        voice.debug(format_args!("the outbox of {} has the message to {}", self.connector, self.topic));
        Ok(())
    }

    fn properties(&self) -> Result<PublishProperties, Failure> {
        properties(&self.properties)
    }
}

/// Makes the properties of a message.
///
/// # Errors
/// A value cannot be sent.
pub(crate) fn properties(values: &PublishPropertyValues) -> Result<PublishProperties, Failure> {
    PublishProperties::from_values(values)
        .map_err(|error| Failure::usage(format!("-D publish: {error}"), "correct the value of the property"))
}

/// Makes a message that is published now.
pub(crate) fn message(
    topic: &TopicName,
    payload: &[u8],
    qos: QoS,
    retain: bool,
    properties: &PublishProperties,
) -> Message {
    Message::new(topic, payload, qos, retain, properties, now())
}

/// Returns what the clock shows, for an expiry that is given in seconds.
fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic_ms: 0, wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}
