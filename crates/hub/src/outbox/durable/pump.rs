//! The task of an outbox: sends what waits, and settles what the other side has confirmed.

use std::sync::Arc;

use crosspoint_store::{Batch, Committed, Error, Store, Ticket, Waiting, Wanted};
use tracing::{error, warn};

use super::dead_letter::DeadLetter;
use super::entry::{FlowNames, Item};
use super::figures::End;
use super::queue::{Queue, Verdict};
use super::shared::{Shared, State, Tally};
use super::{Restored, gone};
use crate::config::plan::WhenFull;
use crate::pace::Pace;

pub(super) mod local;
pub(super) mod remote;

/// How much is read back at once.
const READ_ENTRIES: usize = 1_024;
const READ_BYTES: usize = 2 << 20;

/// What a pump of either kind works with.
struct Pumping<'a> {
    shared: Arc<Shared>,
    queue: &'a mut Queue,
    tally: Tally,
    /// What the client goes on sending by itself, ascending.
    restored: std::iter::Peekable<std::vec::IntoIter<Restored>>,
    reading: Option<(Wanted, Ticket<Vec<Waiting>>)>,
    burying: Option<(Vec<u64>, Ticket<Committed>)>,
    /// What is to be buried next, with the reason.
    doomed: Vec<(u64, String, String)>,
    flows: FlowNames,
    buried: Pace,
    refused: Pace,
}

/// What stands next in the outbox.
enum Ahead {
    /// A message, at this position, that may be sent.
    Message(u64),
    /// The store is being asked.
    Reading,
    Nothing,
}

impl<'a> Pumping<'a> {
    fn new(shared: &Arc<Shared>, queue: &'a mut Queue, restored: Vec<Restored>) -> Self {
        queue.set_attempts_max(shared.state().policy.attempts_max);
        Self {
            shared: shared.clone(),
            queue,
            tally: Tally::default(),
            restored: restored.into_iter().peekable(),
            reading: None,
            burying: None,
            doomed: Vec::new(),
            flows: FlowNames::default(),
            buried: Pace::default(),
            refused: Pace::default(),
        }
    }

    // --- what stands next ---

    /// Goes over what is not to be sent, and tells what stands next.
    fn look_ahead(&mut self, wall_ms: u64) -> Ahead {
        if self.reading.is_some() {
            return Ahead::Reading;
        }
        let shared = self.shared.clone();
        let mut state = shared.state();
        loop {
            if state.peeked.is_none() {
                match state.front.take() {
                    crosspoint_store::Taken::Entry(position, item) => state.peeked = Some((position, item)),
                    crosspoint_store::Taken::Nothing => return Ahead::Nothing,
                    crosspoint_store::Taken::Read(wanted) => {
                        drop(state);
                        self.reading = Some((wanted, read(&shared.store, shared.queue, wanted)));
                        return Ahead::Reading;
                    }
                }
            }
            let Some((position, item)) = &state.peeked else { return Ahead::Nothing };
            let position = *position;
            // Positions that the store has lost were counted when the outbox was opened.
            while self.queue.end() < position {
                let end = state.gone.at(self.queue.end()).unwrap_or(End::Damaged);
                self.queue.take_ended(end);
            }
            if let Some(end) = state.gone.at(position) {
                self.queue.take_ended(end);
            } else {
                match item {
                    None => {
                        self.tally.add(End::Damaged, 0);
                        self.queue.take_ended(End::Damaged);
                    }
                    Some(item) if self.restored.next_if(|known| known.position < position).is_some() => {
                        // The head has passed it since.
                        let _ = item;
                        continue;
                    }
                    Some(item) if self.restored.peek().is_some_and(|known| known.position == position) => {
                        let is_done = self.restored.next().is_some_and(|known| known.is_done);
                        if is_done {
                            self.tally.add(End::Confirmed, item.bytes());
                            self.queue.take_ended(End::Confirmed);
                        } else {
                            self.queue.take_restored(item.clone());
                        }
                        let topic = item.message.topic().to_owned();
                        state.latest.forget(&topic, position);
                    }
                    Some(item) if is_over_age(item, &state, wall_ms) => {
                        self.tally.add(End::Expired, item.bytes());
                        self.queue.take_ended(End::Expired);
                        let topic = item.message.topic().to_owned();
                        state.latest.forget(&topic, position);
                    }
                    Some(_) => return Ahead::Message(position),
                }
            }
            state.peeked = None;
        }
    }

    /// Returns what is looked at with the message that stands next.
    fn with_next<T>(&self, f: impl FnOnce(&Item, &State) -> T) -> Option<T> {
        let state = self.shared.state();
        let (_, item) = state.peeked.as_ref()?;
        Some(f(item.as_ref()?, &state))
    }

    /// Takes the message that stands next, unless it has been replaced this moment.
    fn take_next(&mut self, position: u64) -> Option<Item> {
        let mut state = self.shared.state();
        if state.gone.at(position).is_some() || state.peeked.as_ref()?.0 != position {
            return None;
        }
        let item = state.peeked.take()?.1?;
        if state.latest.is_on() {
            state.latest.forget(item.message.topic(), position);
        }
        Some(item)
    }

    /// Brings what the store has read.
    fn on_read(&mut self, wanted: Wanted, result: Result<Vec<Waiting>, Error>) {
        let entries = match result {
            Ok(entries) => entries,
            Err(Error::Corrupt(damage)) => {
                let connector = &*self.shared.connector;
                error!(connector, %damage, position = wanted.from, "A message in the outbox is lost: the store is damaged.");
                self.shared.state().front.on_read(wanted, [(wanted.from, None, 0)]);
                return;
            }
            Err(error) => {
                error!(connector = &*self.shared.connector, %error, "The outbox cannot be read.");
                return;
            }
        };
        let flows = &mut self.flows;
        let decoded: Vec<_> = entries
            .iter()
            .map(|entry| {
                let item = Item::decode(&entry.message, entry.flags, flows);
                let bytes = item.as_ref().map_or(0, Item::bytes);
                (entry.position, item, bytes)
            })
            .collect();
        self.shared.state().front.on_read(wanted, decoded);
    }

    /// Drops the oldest messages that are not with the client while somebody waits for room.
    fn make_room(&mut self, wall_ms: u64) {
        loop {
            let is_needed = {
                let state = self.shared.state();
                state.policy.when_full == WhenFull::DropOldest
                    && (state.is_over() || self.shared.is_awaited.load(std::sync::atomic::Ordering::Relaxed))
            };
            if !is_needed || !self.drop_oldest(wall_ms) {
                return;
            }
            self.shared.ended(&mut self.tally);
        }
    }

    fn drop_oldest(&mut self, wall_ms: u64) -> bool {
        if let Some(position) = self.queue.oldest_kept_back() {
            let verdict = self.queue.end_kept_back(position, End::Full);
            self.settle(position, verdict);
            return true;
        }
        let Ahead::Message(position) = self.look_ahead(wall_ms) else { return false };
        if let Some(item) = self.take_next(position) {
            self.queue.take_ended(End::Full);
            self.tally.add(End::Full, item.bytes());
        }
        true
    }

    // --- outcomes ---

    fn settle(&mut self, position: u64, verdict: Verdict) {
        match verdict {
            Verdict::Ended { end, bytes, maybe_twice } => {
                self.tally.add(end, bytes);
                self.tally.maybe_twice += u64::from(maybe_twice);
            }
            Verdict::Bury(reason) => self.doomed.push((position, reason, String::new())),
            Verdict::Refused(reason) => {
                self.tally.reordered += 1;
                if let Some(messages) = self.refused.note(1) {
                    let connector = &*self.shared.connector;
                    warn!(connector, %reason, messages, "The broker refuses messages for the moment: they are sent again.");
                }
            }
            Verdict::Kept => {}
        }
    }

    /// Counts a message that went past the queue.
    fn end_direct(&mut self, end: End, item: &Item) {
        let mut state = self.shared.state();
        state.kept.figures.accepted += 1;
        state.pass(end);
        self.tally.add(end, item.bytes());
    }

    /// Gives up a message that went past the queue.
    fn bury_direct(&mut self, item: &Item, reason: &str) {
        let (connector, topic) = (&*self.shared.connector, item.message.topic());
        let mut batch = Batch::new();
        let letter = DeadLetter::unsent(item, reason, self.shared.now().wall_ms);
        self.shared.put_letter(&mut batch, &letter);
        warn!(connector, topic, reason, "A message goes to the dead letters.");
        // At QoS 0 nobody waits for it.
        drop(self.shared.store.commit(batch));
        self.end_direct(End::Dead, item);
    }

    /// Puts what is given up into the dead letters, in one batch with the marks that it has left.
    fn bury_doomed(&mut self) {
        if self.doomed.is_empty() || self.burying.is_some() {
            return;
        }
        let (mut batch, mut positions) = (Batch::new(), Vec::new());
        let died_wall_ms = self.shared.now().wall_ms;
        for (position, reason, last_error) in std::mem::take(&mut self.doomed) {
            let Some(corpse) = self.queue.corpse(position) else { continue };
            if let Some(messages) = self.buried.note(1) {
                let (connector, flow) = (&*self.shared.connector, &*corpse.item.flow);
                let topic = corpse.item.message.topic();
                warn!(connector, flow, topic, reason, messages, "A message goes to the dead letters.");
            }
            let letter = DeadLetter {
                item: corpse.item.clone(),
                reason,
                last_error,
                attempts: corpse.attempts,
                may_be_delivered: corpse.may_be_there,
                died_wall_ms,
            };
            self.shared.put_letter(&mut batch, &letter);
            gone::put(&mut batch, self.shared.number, position, End::Dead);
            positions.push(position);
        }
        if !positions.is_empty() {
            self.burying = Some((positions, self.shared.store.commit(batch)));
        }
    }

    fn on_buried(&mut self, result: &Result<Committed, Error>, now_ms: u64) {
        let Some((positions, _)) = self.burying.take() else { return };
        if result.is_ok() {
            let mut state = self.shared.state();
            positions.iter().for_each(|position| state.gone.insert_kept(*position, End::Dead));
        }
        for position in positions {
            match result {
                Ok(_) => {
                    let verdict = self.queue.buried(position);
                    self.settle(position, verdict);
                }
                Err(_) => self.queue.not_buried(position, now_ms),
            }
        }
    }
}

fn is_over_age(item: &Item, state: &State, wall_ms: u64) -> bool {
    let too_old = state
        .policy
        .age_max
        .is_some_and(|max| u128::from(wall_ms.saturating_sub(item.accepted_wall_ms)) > max.as_millis());
    too_old || item.message.expires_wall_ms().is_some_and(|at| at <= wall_ms)
}

fn read(store: &Store, queue: u64, wanted: Wanted) -> Ticket<Vec<Waiting>> {
    store.read(queue, wanted.from, READ_ENTRIES, READ_BYTES)
}

/// Waits for the answer of a ticket, if there is one.
async fn answer<K, T>(asked: &mut Option<(K, Ticket<T>)>) -> Result<T, Error> {
    match asked {
        Some((_, ticket)) => ticket.await,
        None => std::future::pending().await,
    }
}
