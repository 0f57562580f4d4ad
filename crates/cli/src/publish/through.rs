//! `crosspoint pub --connector NAME` beside a hub that runs: publishes over the connection that the hub has.

use std::pin::pin;
use std::sync::Arc;

use crosspoint_client::{Message, TopicName};
use crosspoint_hub::control::Control;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{PublishFlags, Tally, keeping, not_in_time};
use crate::connection::{after, block_on};
use crate::failure::{Failure, Voice};
use crate::payload::{Lines, Payload};
use crate::through::Through;

/// How many lines of stdin are handed to the hub at once.
const LINES_MAX: u16 = 256;

/// How many bytes of them are read ahead, unless one alone is longer.
const BYTES_MAX: usize = 1 << 20;

/// A line of stdin, and its part of what may be read ahead.
type Line = (Vec<u8>, OwnedSemaphorePermit);

/// What is published, and where.
struct Publishing<'a> {
    flags: &'a PublishFlags,
    through: &'a Through,
    topic: &'a TopicName,
    voice: Voice,
}

/// Runs the command.
pub(super) fn run(flags: &PublishFlags, through: &Through, voice: Voice) -> Result<(), Failure> {
    let topic = &flags.topic(None)?;
    flags.remote.only_publish_properties()?;
    flags.remote.no_subscribe_properties()?;
    let payload = flags.payload.payload()?;
    let publishing = Publishing { flags, through, topic, voice };
    block_on(async {
        tokio::select! {
            result = publishing.all(&payload) => result,
            () = after(flags.remote.timeout()) => Err(not_in_time("the broker")),
        }
    })
}

impl Publishing<'_> {
    async fn all(&self, payload: &Payload) -> Result<(), Failure> {
        let mut hub = self.through.reach()?;
        match payload {
            Payload::One(payload) => self.one(&mut hub, payload).await,
            Payload::Lines => {
                let (given, taken) = mpsc::channel(LINES_MAX.into());
                let mut reading = pin!(read_lines(given));
                let mut publishing = pin!(self.lines(&mut hub, taken));
                let read = tokio::select! {
                    biased;
                    // It ends before the lines do when the hub has gone.
                    ended = &mut publishing => return ended,
                    read = &mut reading => read,
                };
                publishing.await.and(read)
            }
        }
    }

    async fn one(&self, hub: &mut Control, payload: &[u8]) -> Result<(), Failure> {
        for count in 0..self.flags.repeat {
            if count > 0 {
                tokio::time::sleep(self.flags.repeat_delay.unwrap_or_default()).await;
            }
            let messages = vec![self.message(payload)?];
            let outcomes = self.through.publish(hub, self.topic, messages, self.voice).await?;
            outcomes.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    /// Publishes lines, as many together as are there. A refused line does not hold up those behind it.
    async fn lines(&self, hub: &mut Control, mut lines: mpsc::Receiver<Line>) -> Result<(), Failure> {
        let count_max = self.flags.max_inflight.unwrap_or(LINES_MAX).min(LINES_MAX);
        let (mut together, mut tally) = (Vec::new(), Tally::default());
        while lines.recv_many(&mut together, count_max.into()).await > 0 {
            // What is on its way leaves room to read on.
            let messages = together.drain(..).map(|(line, _room)| self.message(&line));
            let messages = messages.collect::<Result<Vec<_>, _>>()?;
            for outcome in self.through.publish(hub, self.topic, messages, self.voice).await? {
                tally.note(tally.total + 1, outcome, self.voice);
            }
        }
        tally.end()
    }

    fn message(&self, payload: &[u8]) -> Result<Message, Failure> {
        let properties = keeping::properties(&self.flags.remote.properties.publish)?;
        Ok(keeping::message(self.topic, payload, self.flags.qos, self.flags.retain, &properties))
    }
}

/// Hands each line of stdin on, with no more of them waiting than may be read ahead.
async fn read_lines(given: mpsc::Sender<Line>) -> Result<(), Failure> {
    let room = Arc::new(Semaphore::new(BYTES_MAX));
    let mut lines = Lines::of_stdin();
    while let Some(line) = lines.next().await? {
        let bytes = line.len().clamp(1, BYTES_MAX);
        let permit = room.clone().acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await;
        // Nobody closes the room, and who takes lines ends only when nothing more matters.
        let Ok(permit) = permit else { return Ok(()) };
        if given.send((line, permit)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
