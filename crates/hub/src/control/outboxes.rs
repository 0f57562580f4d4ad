//! What may be asked about outboxes.

use std::time::Duration;

use crosspoint_protocol::{Message, QoS};
use crosspoint_store::{Batch, Error};
use serde_json::{Value, json};

use super::desk::{Asked, Desk, Ended, Teller, failed, now, refused};
use super::request::{Answer, Kept, Which};
use super::row;
use crate::outbox::{Added, Item, Outbox};

/// How many messages are looked at, or dropped in one batch, at once.
pub(super) const AT_ONCE: usize = 256;

/// How long a message that is published by hand may wait for room.
const ROOM_WITHIN: Duration = Duration::from_secs(5);

/// What stands for the flow of a message that was published by hand.
const BY_HAND: &str = "pub";

/// Which part of the messages is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) from: u64,
    pub(super) count: u64,
    pub(super) payload_bytes: u64,
}

impl Part {
    /// Returns how many of what is left may be read at once.
    pub(super) fn at_once(&self, told: u64) -> usize {
        usize::try_from(self.count - told).unwrap_or(AT_ONCE).min(AT_ONCE)
    }
}

impl Desk {
    pub(super) async fn list_outboxes(&self, teller: &Teller) -> Ended {
        let connectors = self.connectors().await?;
        let count = connectors.len() as u64;
        for (name, asked) in connectors {
            let outbox = &asked.outbox;
            let oldest = outbox
                .waiting(0, AT_ONCE)
                .await
                .ok()
                .and_then(|first| Some(first.first()?.1.accepted_wall_ms));
            teller.row(of_outbox(&name, outbox, oldest)).await?;
        }
        Ok(count)
    }

    /// Shows what waits in an outbox, or what was sent from it and is archived.
    pub(super) async fn show_outbox(&self, teller: &Teller, name: &str, of: Kept, part: Part) -> Ended {
        let asked = self.named(name).await?;
        let outbox = &asked.outbox;
        let queue = queue_of(asked.number) + if of == Kept::Archive { 4 } else { 0 };
        let (mut from, mut told) = (part.from, 0);
        while told < part.count {
            let read = match of {
                Kept::Archive => outbox.archived(from, part.at_once(told)).await,
                _ => outbox.waiting(from, part.at_once(told)).await,
            };
            let messages = match read {
                Ok(messages) => messages,
                Err(Error::Corrupt(damage)) => {
                    from = from.max(asked.ends(queue).start);
                    teller.row(row::of_unreadable(from, &damage)).await?;
                    (from, told) = (from + 1, told + 1);
                    continue;
                }
                Err(error) => return Err(failed(&error)),
            };
            let Some((last, _)) = messages.last() else { break };
            from = last + 1;
            for (position, item) in &messages {
                teller.row(row::of_waiting(*position, item, part.payload_bytes)).await?;
                told += 1;
            }
        }
        Ok(told)
    }

    pub(super) async fn retry_outbox(&self, name: &str) -> Ended {
        let outbox = self.named(name).await?.outbox;
        if !self.is_running() {
            return Err(refused(
                format!("the hub does not run, so that nothing of {name} is sent"),
                "start it with `crosspoint up`: it sends what waits",
            ));
        }
        outbox.retry_now();
        Ok(outbox.figures().waiting())
    }

    pub(super) async fn drop_outbox(&self, teller: &Teller, name: &str, which: &Which) -> Ended {
        let asked = self.named(name).await?;
        let outbox = &asked.outbox;
        if let Which::At(positions) = which {
            return outbox.drop_waiting(positions).await.map_err(|error| failed(&error));
        }
        let waiting = outbox.figures().waiting();
        let wanted = if let Which::Oldest(count) = which { waiting.min(*count) } else { waiting };
        // Not beyond what waits now: what comes meanwhile was not meant.
        let until = asked.ends(queue_of(asked.number)).end;
        let (mut from, mut seen, mut dropped) = (0, 0, 0);
        while seen < wanted {
            let at_once = usize::try_from(wanted - seen).unwrap_or(AT_ONCE).min(AT_ONCE);
            let messages = outbox.waiting(from, at_once).await.map_err(|error| failed(&error))?;
            let positions: Vec<u64> =
                messages.iter().map(|(position, _)| *position).filter(|position| *position < until).collect();
            let Some(last) = positions.last() else { break };
            (from, seen) = (last + 1, seen + positions.len() as u64);
            dropped += outbox.drop_waiting(&positions).await.map_err(|error| failed(&error))?;
            teller.progress(seen, wanted).await?;
        }
        Ok(dropped)
    }

    /// Publishes into an outbox; done when it is durable there.
    pub(super) async fn publish(&self, name: &str, message: &Message) -> Ended {
        let Asked { outbox, store, is_durable, .. } = self.named(name).await?;
        if !is_durable {
            return Err(refused(
                format!("the outbox of {name} is in memory only, and nothing in it outlives the hub"),
                format!("set durability = \"synced\" in [connector.{name}], or publish without --store"),
            ));
        }
        // What is at QoS 0 throughout may go past the store, and this is to be durable.
        let item = Item {
            message: Message::from_parts(&message.parts(), QoS::AtLeastOnce, message.retain()),
            qos: message.qos(),
            retain: message.retain(),
            flow: BY_HAND.into(),
            accepted_wall_ms: now().wall_ms,
        };
        let admitted = tokio::time::timeout(ROOM_WITHIN, outbox.admit(&item)).await;
        let Ok(admission) = admitted else { return Err(full(name)) };
        let (mut batch, mut added) = (Batch::new(), Added::default());
        outbox.add(&mut batch, &mut added, item, admission);
        let committed = store.commit(batch).await;
        outbox.settled(added, committed.as_ref().ok());
        match committed {
            // Without a position it was counted and dropped.
            Ok(committed) if committed.positions.is_empty() => Err(full(name)),
            Ok(_) => Ok(1),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Returns the queue of an outbox: `docs/formats/records.md`, "Queues".
const fn queue_of(number: u64) -> u64 {
    8 * number + 1
}

fn full(name: &str) -> Answer {
    refused(
        format!("the outbox of {name} is full"),
        format!(
            "see what waits with `crosspoint outbox show {name}`, or raise the limits of [connector.{name}.outbox]"
        ),
    )
}

fn of_outbox(name: &str, outbox: &Outbox, oldest_wall_ms: Option<u64>) -> Value {
    let figures = outbox.figures();
    let dropped = figures.dropped_full
        + figures.dropped_expired
        + figures.replaced
        + figures.dropped_by_command
        + figures.damaged;
    json!({
        "connector": name,
        "waiting": figures.waiting(),
        "waiting_bytes": figures.waiting_bytes,
        "oldest_wall_ms": oldest_wall_ms,
        "holds_up_flow": outbox.blocked_by().as_deref(),
        "accepted": figures.accepted,
        "confirmed": figures.confirmed,
        "sent": figures.sent,
        "dead": figures.dead,
        "dropped": dropped,
        "dropped_full": figures.dropped_full,
        "dropped_expired": figures.dropped_expired,
        "replaced": figures.replaced,
        "dropped_by_command": figures.dropped_by_command,
        "damaged": figures.damaged,
        "maybe_twice": figures.maybe_twice,
        "reordered": figures.reordered,
    })
}
