//! What the two ends of an outbox have in common.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use crosspoint_client::{PublishResult, QoS};
use crosspoint_protocol::Now;
use crosspoint_store::{Batch, Committed, Front, Store};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tracing::{error, info, warn};

use super::dead_letter::DeadLetter;
use super::entry::Item;
use super::figures::{Aside, End, Kept, OutboxFigures};
use super::gone::Gone;
use super::latest::Latest;
use super::queue::Queue;
use super::{Added, Clock, OutboxOptions};
use crate::config::plan::{OutboxPlan, WhenFull};

/// The figures of connectors: key number and 0 for what is kept of a connector, number and anything else for what a
/// batch has told aside.
pub(super) const FIGURES_TABLE: u32 = 22;

/// How many messages wait in memory, so that they need not be read back; and how many bytes of them.
pub(super) const MEMORY_ENTRIES_MAX: usize = 4_096;
pub(super) const MEMORY_BYTES_MAX: u64 = 8 << 20;

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 1_024;

/// How many messages go past the queue at a time; more go through it.
pub(super) const DIRECT_MAX: usize = 1_024;

/// How many marks of replaced messages there may be; beyond, messages are not replaced.
const MARKS_MAX: usize = 262_144;

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

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) policy: Arc<OutboxPlan>,
    /// What the pump has taken, from the head on.
    pub(super) queue: Queue,
    /// What waits behind what the pump has taken; `None` is an entry that cannot be read.
    pub(super) front: Front<Option<Item>>,
    /// Taken out of the front, and not yet by the pump.
    pub(super) peeked: Option<(u64, Option<Item>)>,
    /// What goes past the queue.
    pub(super) direct: VecDeque<Item>,
    /// How many of those are with the client.
    pub(super) direct_open: usize,
    /// What is counted, as of now.
    pub(super) live: OutboxFigures,
    /// What the row of figures is to say.
    pub(super) kept: Kept,
    /// Rows that are folded into `kept` and have to go.
    pub(super) folded: Vec<u64>,
    /// Whether `kept` or the head have changed since they were written.
    pub(super) is_dirty: bool,
    pub(super) gone: Gone,
    pub(super) latest: Latest,
    /// Outcomes of what the client had restored.
    pub(super) restored: Vec<(u64, PublishResult)>,
    pub(super) is_connected: bool,
    /// Messages and bytes that wait or have been promised room.
    used: (u64, u64),
    /// Messages in batches that are not through.
    pending: u64,
    next_aside: u64,
    fill: Fill,
    /// The flow whose message waits for room, and what that takes.
    blocked: Option<(Arc<str>, u64)>,
}

/// What has been said about how full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fill {
    Low,
    High,
    Full,
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

    pub(super) fn set_blocked(&self, blocked: Option<(Arc<str>, u64)>) {
        self.state.lock().blocked = blocked;
    }

    /// Returns the flow whose message waits for room.
    pub(super) fn blocked(&self) -> Option<Arc<str>> {
        self.state.lock().blocked.as_ref().map(|(flow, _)| flow.clone())
    }

    pub(super) fn restored_ended(&self, position: u64, outcome: PublishResult) {
        self.state.lock().restored.push((position, outcome));
        self.work.notify_one();
    }

    // --- room ---

    /// Takes room for a message if there is some, and says how full it is when that has changed.
    pub(super) fn take_room(&self, item: &Item, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let has_room = state.has_room(bytes);
        if has_room {
            state.used = (state.used.0 + 1, state.used.1 + bytes);
        }
        let fill = state.look_at_fill(!has_room);
        let (messages, when_full) = (state.used.0, state.policy.when_full);
        drop(state);
        let (connector, flow) = (&*self.connector, &*item.flow);
        match fill {
            Some(Fill::High) => warn!(connector, messages, "The outbox is 80 % full."),
            Some(Fill::Full) => {
                let becomes = match when_full {
                    WhenFull::Block => "QoS 1 and 2 wait at their source, QoS 0 is dropped",
                    WhenFull::DropOldest => "the oldest messages are dropped",
                    WhenFull::DropNewest => "new messages are dropped",
                };
                warn!(connector, flow, messages, becomes, "The outbox is full.");
            }
            Some(Fill::Low) | None => {}
        }
        has_room
    }

    /// Gives room back.
    pub(super) fn give_room(&self, messages: u64, bytes: u64) {
        let mut state = self.state.lock();
        state.give_room(messages, bytes);
        let (fill, waiting) = (state.look_at_fill(false), state.used.0);
        drop(state);
        self.room.notify_waiters();
        self.tell_room(fill, waiting);
    }

    fn tell_room(&self, fill: Option<Fill>, messages: u64) {
        if fill == Some(Fill::Low) {
            info!(connector = &*self.connector, messages, "The outbox has room again.");
        }
    }

    // --- what batches add ---

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
        let (fill, waiting) = (state.look_at_fill(false), state.used.0);
        drop(state);
        self.room.notify_waiters();
        self.tell_room(fill, waiting);
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

impl State {
    pub(super) fn new(policy: Arc<OutboxPlan>, head: u64) -> Self {
        Self {
            policy,
            queue: Queue::new(head),
            front: Front::new(MEMORY_ENTRIES_MAX, MEMORY_BYTES_MAX),
            peeked: None,
            direct: VecDeque::new(),
            direct_open: 0,
            live: OutboxFigures::default(),
            kept: Kept::default(),
            folded: Vec::new(),
            is_dirty: false,
            gone: Gone::default(),
            latest: Latest::default(),
            restored: Vec::new(),
            is_connected: false,
            used: (0, 0),
            pending: 0,
            next_aside: 0,
            fill: Fill::Low,
            blocked: None,
        }
    }

    /// Begins with what the store holds: figures, what waits, and the last row that tells something aside.
    pub(super) fn begin(&mut self, live: OutboxFigures, last_aside: u64) {
        self.live = live;
        self.used = (live.waiting(), live.waiting_bytes);
        self.next_aside = last_aside;
    }

    pub(super) fn set_policy(&mut self, policy: Arc<OutboxPlan>) {
        self.latest.set_filters(&policy.keep_latest);
        self.queue.set_attempts_max(policy.attempts_max);
        self.queue.set_lane(policy.lane);
        self.policy = policy;
    }

    /// Takes a message that is durable now. `freed` grows by what it replaces.
    fn accept(&mut self, position: u64, item: Item, freed: &mut (u64, u64)) {
        let bytes = item.bytes();
        self.live.accepted += 1;
        let replaced = self.live.replaced;
        let replaced_bytes = self.find_replaced(item.message.topic(), position, bytes);
        *freed = (freed.0 + self.live.replaced - replaced, freed.1 + replaced_bytes);
        self.live.waiting_bytes = (self.live.waiting_bytes + bytes).saturating_sub(replaced_bytes);
        self.front.push(position, Some(item), bytes);
    }

    /// Marks the message that one on this topic replaces, and returns its bytes.
    pub(super) fn find_replaced(&mut self, topic: &str, position: u64, bytes: u64) -> u64 {
        if !self.latest.is_on() || self.gone.rows() >= MARKS_MAX {
            return 0;
        }
        let Some((replaced, replaced_bytes)) = self.latest.note(topic, position, bytes) else { return 0 };
        self.gone.insert(replaced, End::Replaced);
        self.live.replaced += 1;
        self.is_dirty = true;
        replaced_bytes
    }

    fn accept_aside(&mut self, aside: Aside, id: Option<u64>) {
        if aside.is_empty() {
            return;
        }
        aside.count_into(&mut self.live);
        self.fold(aside, id);
    }

    /// Makes a row that tells something aside part of the row of figures.
    pub(super) fn fold(&mut self, aside: Aside, id: Option<u64>) {
        aside.count_into(&mut self.kept.figures);
        self.folded.extend(id);
        self.is_dirty = true;
    }

    /// Moves the head over what has ended, and returns how many that were.
    pub(super) fn advance(&mut self) -> u64 {
        let mut passed = 0;
        while let Some(end) = self.queue.pass() {
            self.pass(end);
            passed += 1;
        }
        passed
    }

    /// Notes how something has ended that is behind the head, or never had a position.
    pub(super) fn pass(&mut self, end: End) {
        self.kept.figures.count(end, 1);
        self.is_dirty = true;
    }

    /// Returns whether something has to go: somebody waits for room, or the limits have been lowered.
    pub(super) fn needs_room(&self) -> bool {
        let is_over = self.used.0 > 1
            && (self.used.0 > self.policy.messages_max || self.used.1 > self.policy.bytes_max);
        is_over || self.blocked.as_ref().is_some_and(|(_, bytes)| !self.has_room(*bytes))
    }

    /// Marks what has ended behind the head, so that a restart does not send it again.
    pub(super) fn mark_ended(&mut self) {
        for (position, end) in self.queue.take_unmarked() {
            if self.gone.at(position).is_none() {
                self.gone.insert(position, end);
                self.is_dirty = true;
            }
        }
    }

    /// Returns how many messages and bytes wait or have been promised room.
    pub(super) const fn used(&self) -> (u64, u64) {
        self.used
    }

    fn has_room(&self, bytes: u64) -> bool {
        let fits = self.used.0 < self.policy.messages_max && self.used.1 + bytes <= self.policy.bytes_max;
        fits || self.used.0 == 0
    }

    fn give_room(&mut self, messages: u64, bytes: u64) {
        self.used = (self.used.0.saturating_sub(messages), self.used.1.saturating_sub(bytes));
        // What a crash has made uncertain ends here.
        if self.used.0 == 0 {
            self.used.1 = 0;
            self.live.waiting_bytes = 0;
        }
    }

    /// Tells whether a message of the queue waits still, or is with the broker.
    pub(super) fn waits(&self, position: u64) -> bool {
        self.gone.at(position).is_none() && (position >= self.queue.end() || self.queue.waits(position))
    }

    /// Drops a message by command, unless it is with the broker; returns whether it did.
    pub(super) fn drop_waiting(&mut self, position: u64, topic: &str) -> bool {
        if !self.waits(position) {
            return false;
        }
        if position < self.queue.end() {
            if !self.queue.is_kept_back(position) {
                return false;
            }
            self.queue.end_kept_back(position, End::Command);
        }
        self.gone.insert_kept(position, End::Command);
        self.is_dirty = true;
        self.latest.forget(topic, position);
        true
    }

    /// Returns what has to be said about how full it is, once for each time that it is so.
    fn look_at_fill(&mut self, is_full: bool) -> Option<Fill> {
        let is_above = |percent: u64| {
            let above = |used: u64, max: u64| u128::from(used) * 100 >= u128::from(max) * u128::from(percent);
            above(self.used.0, self.policy.messages_max) || above(self.used.1, self.policy.bytes_max)
        };
        let fill = match self.fill {
            _ if is_full => Fill::Full,
            Fill::Low if is_above(80) => Fill::High,
            Fill::High if !is_above(70) => {
                self.fill = Fill::Low;
                return None;
            }
            Fill::Full if !is_above(50) => Fill::Low,
            same => same,
        };
        (std::mem::replace(&mut self.fill, fill) != fill).then_some(fill)
    }
}
