//! The task of an outbox: sends what waits, and settles what the other side has confirmed.

use std::sync::Arc;

use crosspoint_store::{Batch, Committed, Error, Taken, Ticket, Waiting, Wanted};
use tracing::{error, warn};

use super::dead_letter::DeadLetter;
use super::entry::{FlowNames, Item};
use super::figures::End;
use super::queue::Verdict;
use super::shared::{Shared, Tally};
use super::state::State;
use super::{Restored, gone};
use crate::config::plan::WhenFull;
use crate::pace::Pace;

pub(super) mod local;
mod outgoing;
pub(super) mod reader;
pub(super) mod remote;

/// How much is read back at once.
const READ_ENTRIES: usize = 1_024;
const READ_BYTES: usize = 2 << 20;

/// What a pump of either kind works with.
struct Pumping {
    shared: Arc<Shared>,
    tally: Tally,
    /// What the client goes on sending by itself, ascending.
    restored: std::iter::Peekable<std::vec::IntoIter<Restored>>,
    reading: Option<(Wanted, Ticket<Vec<Waiting>>)>,
    /// The store reads nothing any more: it has to be opened again.
    is_unreadable: bool,
    burying: Option<(Vec<u64>, Ticket<Committed>)>,
    /// What is to be buried next: reason and last error.
    doomed: Vec<(u64, String, String)>,
    /// Whether what was sent is archived.
    archives: bool,
    flows: FlowNames,
    buried: Pace,
    refused: Pace,
}

/// What stands next in the outbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// A message, at this position.
    Message(u64),
    /// The store has to be asked for it.
    Unread(Wanted),
    Nothing,
}

impl Pumping {
    fn new(shared: &Arc<Shared>, restored: Vec<Restored>) -> Self {
        Self {
            shared: shared.clone(),
            tally: Tally::default(),
            restored: restored.into_iter().peekable(),
            reading: None,
            is_unreadable: false,
            burying: None,
            doomed: Vec::new(),
            archives: shared.state().policy.archive.is_some(),
            flows: FlowNames::default(),
            buried: Pace::default(),
            refused: Pace::default(),
        }
    }

    // --- what stands next ---

    /// Goes over what is not to be sent any more, and tells what stands next.
    fn look_ahead(&mut self, state: &mut State, wall_ms: u64) -> Ahead {
        loop {
            let position = match state.peek() {
                Taken::Entry(position, ()) => position,
                Taken::Read(wanted) => return Ahead::Unread(wanted),
                Taken::Nothing => return Ahead::Nothing,
            };
            // Positions that the store has lost were counted when the outbox was opened.
            while state.queue.end() < position {
                let end = state.gone.at(state.queue.end()).unwrap_or(End::Damaged);
                state.queue.take_ended(end, 0);
            }
            if !self.pass_by(state, position, wall_ms) {
                return Ahead::Message(position);
            }
            state.peeked = None;
        }
    }

    /// Takes the message that stands next if it is not to be sent; returns whether it did.
    fn pass_by(&mut self, state: &mut State, position: u64, wall_ms: u64) -> bool {
        if let Some(end) = state.gone.at(position) {
            state.queue.take_ended(end, 0);
            return true;
        }
        let Some((_, Some(item))) = &state.peeked else {
            self.tally.add(End::Damaged, 0);
            state.queue.take_ended(End::Damaged, 0);
            return true;
        };
        let item = item.clone();
        while self.restored.next_if(|known| known.position < position).is_some() {}
        let end = match self.restored.next_if(|known| known.position == position) {
            Some(known) if known.is_done => End::Confirmed,
            Some(_) => {
                state.latest.forget(item.message.topic(), position);
                state.queue.take_restored(item);
                return true;
            }
            None if is_too_old(&item, state, wall_ms) => End::Expired,
            None => return false,
        };
        state.latest.forget(item.message.topic(), position);
        self.tally.add(end, item.bytes());
        state.queue.take_ended(end, item.bytes());
        true
    }

    /// Asks the store for what stands next, once.
    fn read(&mut self, wanted: Wanted) {
        if self.reading.is_none() && !self.is_unreadable {
            let Shared { store, queue, .. } = &*self.shared;
            self.reading = Some((wanted, store.read(*queue, wanted.from, READ_ENTRIES, READ_BYTES)));
        }
    }

    /// Brings what the store has read.
    fn on_read(&mut self, result: Result<Vec<Waiting>, Error>) {
        let Some((wanted, _)) = self.reading.take() else { return };
        let connector = &*self.shared.connector;
        let entries = match result {
            Ok(entries) => entries,
            Err(Error::Corrupt(damage)) => {
                let position = wanted.from;
                error!(connector, %damage, position, "The store is damaged: a message in the outbox is lost.");
                self.shared.state().front.on_read(wanted, [(position, None, 0)]);
                return;
            }
            Err(error) => {
                error!(connector, %error, "The outbox cannot be read.");
                self.is_unreadable = true;
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

    // --- room ---

    /// Drops the oldest messages that are not with the client while somebody waits for room.
    fn make_room(&mut self, wall_ms: u64) {
        let shared = self.shared.clone();
        loop {
            let mut state = shared.state();
            let is_needed = state.policy.when_full == WhenFull::DropOldest && state.needs_room();
            if !is_needed || !self.drop_oldest(&mut state, wall_ms) {
                return;
            }
            drop(state);
            shared.ended(&mut self.tally);
        }
    }

    fn drop_oldest(&mut self, state: &mut State, wall_ms: u64) -> bool {
        if let Some(position) = state.queue.oldest_kept_back() {
            let verdict = state.queue.end_kept_back(position, End::Full);
            self.settle(position, verdict);
            return true;
        }
        match self.look_ahead(state, wall_ms) {
            Ahead::Message(position) => {
                if let Some(item) = state.take_peeked(position) {
                    state.queue.take_ended(End::Full, item.bytes());
                    self.tally.add(End::Full, item.bytes());
                }
                true
            }
            Ahead::Unread(wanted) => {
                self.read(wanted);
                // What was passed by has made room too.
                !self.tally.is_empty()
            }
            Ahead::Nothing => !self.tally.is_empty(),
        }
    }

    // --- outcomes ---

    fn settle(&mut self, position: u64, verdict: Verdict) {
        match verdict {
            Verdict::Ended { end, item, maybe_twice } => {
                self.tally.add(end, item.bytes());
                self.tally.maybe_twice += u64::from(maybe_twice);
                self.archive(end, item);
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

    /// Keeps what was sent for the archive, where there is one.
    fn archive(&mut self, end: End, item: Item) {
        if self.archives && matches!(end, End::Confirmed | End::Sent) {
            self.tally.sent.push(item);
        }
    }

    /// Counts a message that went past the queue.
    fn end_direct(&mut self, end: End, item: &Item) {
        self.archive(end, item.clone());
        let mut state = self.shared.state();
        state.kept.figures.accepted += 1;
        state.pass(end);
        self.tally.add(end, item.bytes());
    }

    /// Gives up a message that went past the queue. At QoS 0 nobody waits for it.
    fn bury_direct(&mut self, item: &Item, reason: &str) {
        let (connector, topic) = (&*self.shared.connector, item.message.topic());
        let mut batch = Batch::new();
        let letter = DeadLetter::unsent(item, reason, self.shared.now().wall_ms);
        self.shared.put_letter(&mut batch, &letter, 0);
        warn!(connector, topic, reason, "A message goes to the dead letters.");
        drop(self.shared.store.commit(batch));
        self.end_direct(End::Dead, item);
    }

    /// Puts what is given up into the dead letters, in one batch with the marks that it has left.
    fn bury_doomed(&mut self) {
        if self.doomed.is_empty() || self.burying.is_some() {
            return;
        }
        let (mut batch, mut positions) = (Batch::new(), Vec::new());
        for (position, reason, last_error) in std::mem::take(&mut self.doomed) {
            let Some(letter) = self.letter(position, reason, last_error) else { continue };
            self.shared.put_letter(&mut batch, &letter, positions.len() as u64);
            gone::put(&mut batch, self.shared.number, position, End::Dead);
            positions.push(position);
        }
        if !positions.is_empty() {
            self.burying = Some((positions, self.shared.store.commit(batch)));
        }
    }

    fn letter(&mut self, position: u64, reason: String, last_error: String) -> Option<DeadLetter> {
        let died_wall_ms = self.shared.now().wall_ms;
        let state = self.shared.state();
        let corpse = state.queue.corpse(position)?;
        let letter = DeadLetter {
            item: corpse.item.clone(),
            reason,
            last_error,
            attempts: corpse.attempts,
            may_be_delivered: corpse.may_be_there,
            died_wall_ms,
        };
        drop(state);
        if let Some(messages) = self.buried.note(1) {
            let (connector, flow) = (&*self.shared.connector, &*letter.item.flow);
            let (topic, reason) = (letter.item.message.topic(), &*letter.reason);
            warn!(connector, flow, topic, reason, messages, "A message goes to the dead letters.");
        }
        Some(letter)
    }

    fn on_buried(&mut self, result: &Result<Committed, Error>, now_ms: u64) {
        let Some((positions, _)) = self.burying.take() else { return };
        let shared = self.shared.clone();
        let mut state = shared.state();
        for position in positions {
            if result.is_ok() {
                state.gone.insert_kept(position, End::Dead);
                let verdict = state.queue.buried(position);
                self.settle(position, verdict);
            } else {
                state.queue.not_buried(position, now_ms);
            }
        }
    }

    /// Waits until what is on its way to the dead letters is there.
    async fn finish_burying(&mut self) {
        if self.burying.is_some() {
            let result = answer(&mut self.burying).await;
            self.on_buried(&result, 0);
        }
    }
}

impl State {
    /// Tells which position stands next; its message is in `peeked` then.
    fn peek(&mut self) -> Taken<()> {
        if let Some((position, _)) = &self.peeked {
            return Taken::Entry(*position, ());
        }
        match self.front.take() {
            Taken::Entry(position, item) => {
                self.peeked = Some((position, item));
                Taken::Entry(position, ())
            }
            Taken::Read(wanted) => Taken::Read(wanted),
            Taken::Nothing => Taken::Nothing,
        }
    }

    /// Takes the message that stands next.
    fn take_peeked(&mut self, position: u64) -> Option<Item> {
        let item = self.peeked.take()?.1?;
        if self.latest.is_on() {
            self.latest.forget(item.message.topic(), position);
        }
        Some(item)
    }
}

fn is_too_old(item: &Item, state: &State, wall_ms: u64) -> bool {
    let is_over_age = |max: std::time::Duration| {
        u128::from(wall_ms.saturating_sub(item.accepted_wall_ms)) > max.as_millis()
    };
    let has_expired = item.message.expires_wall_ms().is_some_and(|at| at <= wall_ms);
    has_expired || state.policy.age_max.is_some_and(is_over_age)
}

/// Waits for the answer of a ticket, if there is one.
async fn answer<K, T>(asked: &mut Option<(K, Ticket<T>)>) -> Result<T, Error> {
    match asked {
        Some((_, ticket)) => ticket.await,
        None => std::future::pending().await,
    }
}
