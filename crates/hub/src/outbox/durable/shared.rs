//! What the two ends of an outbox have in common.

use std::sync::Arc;

use bytes::Bytes;
use crosspoint_client::{PublishResult, QoS};
use crosspoint_protocol::Now;
use crosspoint_store::{Batch, Committed, Store};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tracing::error;

use super::dead_letter::DeadLetter;
use super::entry::Item;
use super::figures::{Aside, End, OutboxFigures};
use super::state::State;
use super::{Added, OutboxOptions};
use crate::config::plan::{OutboxPlan, WhenFull};
use crate::environment::Clock;

/// The figures of connectors: key number and 0 for what is kept of a connector, number and anything else for what a
/// batch has told aside.
pub(super) const FIGURES_TABLE: u32 = 22;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 1_024;

/// How many messages go past the queue at a time; more go through it.
pub(super) const DIRECT_MAX: usize = 1_024;

/// What both ends of an outbox know. The lock is a leaf, and nothing is awaited or logged under it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) number: u64,
    /// The queue in the store: what waits.
    pub(super) queue: u64,
    pub(super) connector: Arc<str>,
    clock: ClockBox,
    state: Mutex<State>,
    /// There is something for the pump to do.
    pub(super) work: Notify,
    /// There is more room than before.
    pub(super) room: Notify,
    /// Who waits for room has this, one at a time and in turn.
    pub(super) turn: Semaphore,
    /// Whoever changes dead letters has this.
    pub(super) letters: Semaphore,
}

struct ClockBox(Clock);

impl std::fmt::Debug for ClockBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Shared {
    pub(super) fn new(store: Store, options: OutboxOptions, mut state: State) -> Arc<Self> {
        state.set_policy(options.policy);
        Arc::new(Self {
            store,
            number: options.number,
            queue: 8 * options.number + 1,
            connector: options.connector,
            clock: ClockBox(options.clock),
            state: Mutex::new(state),
            work: Notify::new(),
            room: Notify::new(),
            turn: Semaphore::new(1),
            letters: Semaphore::new(1),
        })
    }

    pub(super) fn now(&self) -> Now {
        (self.clock.0)()
    }

    /// Locks what changes. Not to be held over anything that waits.
    pub(super) fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn figures(&self) -> OutboxFigures {
        self.state.lock().live
    }

    pub(super) fn durable_head(&self) -> u64 {
        self.store.queue_status(self.queue).map_or(0, |status| status.head)
    }

    pub(super) fn set_policy(&self, policy: Arc<OutboxPlan>) {
        self.state.lock().set_policy(policy);
        self.room.notify_waiters();
        self.work.notify_one();
    }

    pub(super) fn when_full(&self) -> WhenFull {
        self.state.lock().policy.when_full
    }

    pub(super) fn restored_ended(&self, position: u64, outcome: PublishResult) {
        self.state.lock().restored.push((position, outcome));
        self.work.notify_one();
    }

    /// Puts a message that has room into a batch.
    pub(super) fn add(&self, batch: &mut Batch, added: &mut Added, item: Item) {
        let index = batch.targets();
        batch.publish(item.encode(), [(self.queue, item.flags())]);
        self.state.lock().pending += 1;
        added.items.push((index, item));
    }

    /// Tells whether a message goes past the queue: nothing is promised about it, and nothing waits that it could
    /// overtake.
    pub(super) fn goes_direct(&self, item: &Item, added: &Added) -> bool {
        if item.qos != QoS::AtMostOnce || item.message.qos() != QoS::AtMostOnce || !added.items.is_empty() {
            return false;
        }
        let state = self.state.lock();
        let waits_nothing = state.live.waiting() == state.direct.len() as u64 && state.pending == 0;
        state.is_connected && waits_nothing && state.direct.len() + added.direct.len() < DIRECT_MAX
    }

    /// Puts a dead letter into a batch that has so many already; the oldest goes when there are as many as may be.
    ///
    /// Batches that are under way at the same time do not know of each other's letters: what is too many then goes
    /// with the next [writing](Self::trim_letters).
    pub(super) fn put_letter(&self, batch: &mut Batch, letter: &DeadLetter, before: u64) {
        self.limit_letters(batch, before + 1);
        batch.publish(letter.encode(), [(self.letters_queue(), letter.item.flags())]);
    }

    /// Lets the oldest dead letters go that are too many.
    pub(super) fn trim_letters(&self, batch: &mut Batch) {
        self.limit_letters(batch, 0);
    }

    /// Lets so many of the oldest dead letters go that there is room for new ones.
    fn limit_letters(&self, batch: &mut Batch, new: u64) {
        let queue = self.letters_queue();
        let max = self.state.lock().policy.dead_letters_max;
        let (waiting, next) =
            self.store.queue_status(queue).map_or((0, 0), |status| (status.waiting, status.next));
        if waiting + new > max {
            batch.consume(queue, (next + new).saturating_sub(max));
        }
    }

    const fn letters_queue(&self) -> u64 {
        8 * self.number + 3
    }

    /// Puts what gets no position into a batch.
    pub(super) fn put_aside(&self, batch: &mut Batch, added: &mut Added, change: impl FnOnce(&mut Aside)) {
        change(&mut added.aside);
        let id = *added.aside_id.get_or_insert_with(|| {
            let mut state = self.state.lock();
            state.next_aside += 1;
            state.next_aside
        });
        batch.put(FIGURES_TABLE, self.figures_key(id), added.aside.encode());
    }

    /// Returns the rows of this connector in a table whose keys begin with the number of a connector.
    pub(super) fn rows(&self, table: u32) -> Vec<(Bytes, Bytes)> {
        rows(&self.store, table, self.number)
    }

    pub(super) fn figures_key(&self, id: u64) -> Bytes {
        [self.number.to_be_bytes(), id.to_be_bytes()].concat().into()
    }

    pub(super) fn settled(&self, added: Added, committed: Option<&Committed>) {
        let mut state = self.state.lock();
        state.pending = state.pending.saturating_sub(added.items.len() as u64);
        let mut lost = 0;
        let mut freed = (0, 0);
        match committed {
            Some(committed) => {
                for (index, item) in added.items {
                    match committed.positions.get(index) {
                        Some(position) => state.accept(*position, item, &mut freed),
                        None => lost += 1,
                    }
                }
                state.accept_aside(added.aside, added.aside_id);
                state.live.accepted += added.direct.len() as u64;
                state.live.waiting_bytes += added.direct.iter().map(Item::bytes).sum::<u64>();
                state.direct.extend(added.direct);
            }
            None => {
                let items = added.items.iter().map(|(_, item)| item).chain(&added.direct);
                freed = items.fold(freed, |(count, bytes), item| (count + 1, bytes + item.bytes()));
            }
        }
        drop(state);
        if lost > 0 {
            error!(
                connector = &*self.connector,
                messages = lost,
                "A commit does not tell where its messages are."
            );
        }
        if freed.0 > 0 {
            self.give_room(freed.0, freed.1);
        }
        self.work.notify_one();
    }

    /// Counts what has left, and gives its room back.
    pub(super) fn ended(&self, tally: &mut Tally) {
        if tally.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let (mut messages, mut bytes) = (0, 0);
        for (end, of) in tally.ends.drain(..) {
            state.live.count(end, 1);
            messages += 1;
            bytes += of;
        }
        state.live.waiting_bytes = state.live.waiting_bytes.saturating_sub(bytes);
        state.live.maybe_twice += std::mem::take(&mut tally.maybe_twice);
        state.live.reordered += std::mem::take(&mut tally.reordered);
        state.give_room(messages, bytes);
        self.tell_room(state);
    }
}

/// Returns the rows of a connector in a table whose keys begin with the number of a connector.
pub(super) fn rows(store: &Store, table: u32, number: u64) -> Vec<(Bytes, Bytes)> {
    let prefix = number.to_be_bytes();
    let mut all: Vec<(Bytes, Bytes)> = Vec::new();
    loop {
        let after = all.last().map_or(prefix.to_vec(), |(key, _)| key.to_vec());
        let part = store.scan(table, Some(&after), ROWS_AT_ONCE);
        let is_last = part.len() < ROWS_AT_ONCE || !part.iter().all(|(key, _)| key.starts_with(&prefix));
        all.extend(part.into_iter().filter(|(key, _)| key.starts_with(&prefix)));
        if is_last {
            return all;
        }
    }
}

/// What has left an outbox and is not counted yet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    ends: Vec<(End, u64)>,
    /// What was sent and is to be archived.
    pub(super) sent: Vec<Item>,
    pub(super) maybe_twice: u64,
    pub(super) reordered: u64,
}

impl Tally {
    pub(super) fn add(&mut self, end: End, bytes: u64) {
        self.ends.push((end, bytes));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.reordered == 0
    }
}
