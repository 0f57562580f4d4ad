//! The pump of an outbox that nothing sends: gives what waits to whoever reads it.
//!
//! Invariant: it makes room and lets go of what is too old also while nobody reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_protocol::Now;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{Ahead, Pumping, answer, is_too_old};
use crate::config::plan::WhenFull;
use crate::outbox::durable::entry::Item;
use crate::outbox::durable::figures::End;
use crate::outbox::durable::keeper::Keeper;
use crate::outbox::durable::queue::Next;
use crate::outbox::durable::reading::{Confirm, Seat, Seats, UNCONFIRMED_BYTES_MAX, UNCONFIRMED_MAX};
use crate::outbox::durable::shared::Shared;
use crate::outbox::durable::state::State;

/// Who reads, and what he has.
struct Reader {
    seat: Seat,
    /// Positions with their bytes, ascending.
    unconfirmed: VecDeque<(u64, u64)>,
    unconfirmed_bytes: u64,
}

/// Gives messages to one reader after the other until it is told to stop.
pub(in crate::outbox::durable) async fn run(
    shared: &Arc<Shared>,
    seats: &mut Seats,
    mut stop: oneshot::Receiver<()>,
) {
    let mut pumping = Pumping::new(shared, Vec::new());
    let mut keeper = Keeper::new(shared);
    let began = (Instant::now(), shared.now().monotonic_ms);
    let mut reader: Option<Reader> = None;
    loop {
        let wait_until_ms = pumping.give(&mut reader);
        keeper.turn(&mut pumping.tally, shared.now().monotonic_ms);
        let due_ms = [wait_until_ms, keeper.due_ms()].into_iter().flatten().min();
        let due = began.0 + Duration::from_millis(due_ms.unwrap_or_default().saturating_sub(began.1));
        tokio::select! {
            biased;
            _ = &mut stop => break,
            confirm = confirmed(&mut reader), if reader.is_some() => match confirm {
                Some(confirm) => pumping.on_confirm(reader.as_mut(), confirm),
                None => pumping.on_gone(reader.take()),
            },
            Some(seat) = seats.0.recv() => {
                pumping.on_gone(reader.take());
                reader = Some(Reader { seat, unconfirmed: VecDeque::new(), unconfirmed_bytes: 0 });
            }
            result = answer(&mut pumping.reading) => pumping.on_read(result),
            what = keeper.next() => keeper.take(what, shared.now().monotonic_ms),
            () = shared.work.notified() => {}
            () = sleep_until(due), if due_ms.is_some() => {}
        }
    }
    pumping.on_gone(reader);
    keeper.finish(&mut pumping.tally).await;
}

/// Waits for what the reader says; `None` when he has gone.
///
/// # Cancel safety
/// Dropping the future loses nothing.
async fn confirmed(reader: &mut Option<Reader>) -> Option<Confirm> {
    reader.as_mut()?.seat.confirms.recv().await
}

impl Reader {
    fn may_have_more(&self) -> bool {
        let is_below = self.unconfirmed_bytes < UNCONFIRMED_BYTES_MAX;
        self.unconfirmed.len() < UNCONFIRMED_MAX && (is_below || self.unconfirmed.is_empty())
    }

    fn take(&mut self, position: u64, item: Item) {
        self.unconfirmed.push_back((position, item.bytes()));
        self.unconfirmed_bytes += item.bytes();
        // There is room for as many as may be unconfirmed. One who has gone says so by himself.
        self.seat.items.try_send((position, item)).unwrap_or_default();
    }

    /// Takes the oldest that he has, if it is none after this position.
    fn pop(&mut self, up_to: u64) -> Option<u64> {
        let (position, bytes) = self.unconfirmed.pop_front_if(|(position, _)| *position <= up_to)?;
        self.unconfirmed_bytes -= bytes;
        Some(position)
    }
}

impl Pumping {
    /// Gives what waits to the reader, as much as he may have; returns when to come again, if that is known.
    fn give(&mut self, reader: &mut Option<Reader>) -> Option<u64> {
        let now = self.shared.now();
        self.make_room(now.wall_ms);
        let Some(reader) = reader else { return self.pass_old(now) };
        self.take_back(reader);
        while reader.may_have_more() {
            match self.find(now) {
                Some((position, item)) => reader.take(position, item),
                None => break,
            }
        }
        None
    }

    /// Drops the oldest that a reader has and has not confirmed, where room is made by that and there is nothing else to
    /// drop: one who is slow holds nobody up. He may have it all the same.
    fn take_back(&mut self, reader: &mut Reader) {
        let shared = self.shared.clone();
        loop {
            let mut state = shared.state();
            let is_needed = state.policy.when_full == WhenFull::DropOldest && state.needs_room();
            if !is_needed || state.live.waiting() > reader.unconfirmed.len() as u64 {
                return;
            }
            let Some(position) = reader.pop(u64::MAX) else { return };
            let verdict = state.queue.end_in_flight(position, End::Full);
            drop(state);
            self.settle(position, verdict);
            shared.ended(&mut self.tally);
        }
    }

    /// Returns the next message to give.
    fn find(&mut self, now: Now) -> Option<(u64, Item)> {
        let shared = self.shared.clone();
        loop {
            let mut state = shared.state();
            match state.queue.next(now.monotonic_ms) {
                Next::Again(position) => {
                    let item = state.queue.item(position).cloned()?;
                    if !is_too_old(&item, &state, now.wall_ms) {
                        state.queue.sent_again(position);
                        return Some((position, item));
                    }
                    let verdict = state.queue.end_kept_back(position, End::Expired);
                    drop(state);
                    self.settle(position, verdict);
                }
                Next::Take => match self.look_ahead(&mut state, now.wall_ms) {
                    Ahead::Message(position) => {
                        let item = state.take_peeked(position)?;
                        state.queue.take(item.clone());
                        return Some((position, item));
                    }
                    Ahead::Unread(wanted) => {
                        drop(state);
                        self.read(wanted);
                        return None;
                    }
                    Ahead::Nothing => return None,
                },
                Next::Wait(_) | Next::Rest => return None,
            }
        }
    }

    /// Lets go of what has become too old while nobody reads; returns when the next one will be.
    fn pass_old(&mut self, now: Now) -> Option<u64> {
        let shared = self.shared.clone();
        let mut state = shared.state();
        match self.look_ahead(&mut state, now.wall_ms) {
            Ahead::Message(_) => {
                let (_, item) = state.peeked.as_ref()?;
                let left_ms = old_at_wall_ms(item.as_ref()?, &state)?.saturating_sub(now.wall_ms);
                Some(now.monotonic_ms.saturating_add(left_ms).saturating_add(1))
            }
            Ahead::Unread(wanted) => {
                drop(state);
                self.read(wanted);
                None
            }
            Ahead::Nothing => None,
        }
    }

    fn on_confirm(&mut self, reader: Option<&mut Reader>, confirm: Confirm) {
        let Some(reader) = reader else { return };
        while let Some(position) = reader.pop(confirm.up_to) {
            let verdict = self.shared.state().queue.end_in_flight(position, End::Confirmed);
            self.settle(position, verdict);
        }
        self.shared.ended(&mut self.tally);
        if let Some(is_known) = confirm.is_known {
            is_known.send(()).unwrap_or_default();
        }
    }

    /// What the reader had and has not confirmed is given to the next one.
    fn on_gone(&mut self, reader: Option<Reader>) {
        if reader.is_some() {
            self.shared.state().queue.on_client_gone();
        }
    }
}

/// Returns when a message becomes too old, if it does.
fn old_at_wall_ms(item: &Item, state: &State) -> Option<u64> {
    let age_max_ms = state.policy.age_max.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let by_age = age_max_ms.map(|age_ms| item.accepted_wall_ms.saturating_add(age_ms));
    [by_age, item.message.expires_wall_ms()].into_iter().flatten().min()
}
