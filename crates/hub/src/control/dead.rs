//! What may be asked about dead letters.

use crosspoint_protocol::TopicName;
use crosspoint_store::Error;
use serde_json::{Value, json};

use super::desk::{Desk, Ended, Teller, failed, refused};
use super::outboxes::{AT_ONCE, Part};
use super::request::{Answer, Edit, Which};
use super::row;
use crate::outbox::{DeadLetter, Outbox};

impl Desk {
    pub(super) async fn list_dead(&self, teller: &Teller) -> Ended {
        let connectors = self.connectors().await?;
        let count = connectors.len() as u64;
        for (name, asked) in connectors {
            let outbox = &asked.outbox;
            let newest = asked.ends(queue_of(asked.number)).end.saturating_sub(1);
            teller.row(of_letters(&name, outbox, newest).await).await?;
        }
        Ok(count)
    }

    pub(super) async fn show_dead(&self, teller: &Teller, name: &str, part: Part) -> Ended {
        let asked = self.named(name).await?;
        let outbox = &asked.outbox;
        let (mut from, mut told) = (part.from, 0);
        while told < part.count {
            let letters = match outbox.letters(from, part.at_once(told)).await {
                Ok(letters) => letters,
                Err(Error::Corrupt(damage)) => {
                    from = from.max(asked.ends(queue_of(asked.number)).start);
                    teller.row(row::of_unreadable(from, &damage)).await?;
                    (from, told) = (from + 1, told + 1);
                    continue;
                }
                Err(error) => return Err(failed(&error)),
            };
            let Some((last, _)) = letters.last() else { break };
            from = last + 1;
            for (position, letter) in &letters {
                teller.row(row::of_dead(*position, letter, part.payload_bytes)).await?;
                told += 1;
            }
        }
        Ok(told)
    }

    pub(super) async fn retry_dead(&self, teller: &Teller, name: &str, which: &Which) -> Ended {
        let outbox = self.named(name).await?.outbox;
        let positions = chosen(&outbox, name, which).await?;
        let mut retried = 0;
        for part in positions.chunks(AT_ONCE) {
            let count = outbox.retry_letters(part).await.map_err(|error| failed(&error))?;
            retried += count;
            if count < part.len() as u64 {
                return Err(refused(
                    format!(
                        "the outbox of {name} is full: {retried} of {} were put into it",
                        positions.len()
                    ),
                    "try again when it has room; the others are still dead letters",
                ));
            }
            teller.progress(retried, positions.len() as u64).await?;
        }
        Ok(retried)
    }

    pub(super) async fn drop_dead(&self, teller: &Teller, name: &str, which: &Which) -> Ended {
        let outbox = self.named(name).await?.outbox;
        let positions = chosen(&outbox, name, which).await?;
        let mut dropped = 0;
        for part in positions.chunks(AT_ONCE) {
            dropped += outbox.drop_letters(part).await.map_err(|error| failed(&error))?;
            teller.progress(dropped, positions.len() as u64).await?;
        }
        Ok(dropped)
    }

    /// Changes a dead letter; its row has the position that it has then.
    pub(super) async fn edit_dead(&self, teller: &Teller, name: &str, position: u64, edit: &Edit) -> Ended {
        let outbox = self.named(name).await?.outbox;
        let letter = outbox.letter(position).await.map_err(|error| failed(&error))?;
        let letter = letter.ok_or_else(|| no_such(name, &[position]))?;
        let changed = edited(letter, edit)?;
        let moved = outbox.replace_letter(position, &changed).await.map_err(|error| failed(&error))?;
        let moved = moved.ok_or_else(|| no_such(name, &[position]))?;
        teller.row(row::of_dead(moved, &changed, 0)).await?;
        Ok(1)
    }
}

/// Returns the queue of dead letters: `docs/formats/records.md`, "Queues".
const fn queue_of(number: u64) -> u64 {
    8 * number + 3
}

/// Returns the positions that are meant, all of which must be there: nothing is done by halves because of a slip.
async fn chosen(outbox: &Outbox, name: &str, which: &Which) -> Result<Vec<u64>, Answer> {
    match which {
        Which::At(positions) => {
            let mut positions = positions.clone();
            positions.sort_unstable();
            positions.dedup();
            let mut missing = Vec::new();
            for position in &positions {
                if outbox.letter(*position).await.map_err(|error| failed(&error))?.is_none() {
                    missing.push(*position);
                }
            }
            if missing.is_empty() { Ok(positions) } else { Err(no_such(name, &missing)) }
        }
        Which::All => all(outbox, u64::MAX).await,
        Which::Oldest(count) => all(outbox, *count).await,
    }
}

async fn all(outbox: &Outbox, count: u64) -> Result<Vec<u64>, Answer> {
    let (mut positions, mut from) = (Vec::new(), 0);
    while (positions.len() as u64) < count {
        let letters = outbox.letters(from, AT_ONCE).await.map_err(|error| failed(&error))?;
        let Some((last, _)) = letters.last() else { break };
        from = last + 1;
        positions.extend(letters.iter().map(|(position, _)| *position));
    }
    positions.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(positions)
}

fn edited(letter: DeadLetter, edit: &Edit) -> Result<DeadLetter, Answer> {
    let topic = edit.topic.as_deref().map(TopicName::parse).transpose();
    let topic = topic.map_err(|error| Answer::NotThere {
        cause: format!("{:?} cannot be published to: {error}", edit.topic.as_deref().unwrap_or_default()),
        mend: "give one topic, without + and #".to_owned(),
    })?;
    let mut item = letter.item.changed(topic.as_ref(), edit.payload.as_deref());
    item.qos = edit.qos.unwrap_or(item.qos);
    item.retain = edit.retain.unwrap_or(item.retain);
    Ok(DeadLetter { item, ..letter })
}

async fn of_letters(name: &str, outbox: &Outbox, newest: u64) -> Value {
    let status = outbox.letters_status();
    let oldest = outbox.letters(0, AT_ONCE).await.ok().and_then(|letters| letters.into_iter().next());
    // The newest is the last, unless that was dropped.
    let newest = outbox.letters(newest, 1).await;
    let newest = newest.ok().and_then(|letters| letters.into_iter().next());
    json!({
        "connector": name,
        "dead": status.count,
        "oldest_wall_ms": oldest.map(|(_, letter)| letter.died_wall_ms),
        "newest_wall_ms": newest.as_ref().map(|(_, letter)| letter.died_wall_ms),
        "reason": newest.map(|(_, letter)| letter.reason),
    })
}

fn no_such(name: &str, positions: &[u64]) -> Answer {
    let positions: Vec<String> = positions.iter().map(u64::to_string).collect();
    Answer::NotThere {
        cause: format!("{name} has no dead letter {}", positions.join(", ")),
        mend: format!("see which it has with `crosspoint dead show {name}`"),
    }
}
