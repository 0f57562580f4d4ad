//! What changes in an outbox while both of its ends are at work.

use std::collections::VecDeque;
use std::sync::Arc;

use crosspoint_client::PublishResult;
use crosspoint_store::Front;

use super::entry::Item;
use super::figures::{Aside, End, Kept, OutboxFigures};
use super::gone::Gone;
use super::latest::Latest;
use super::queue::Queue;
use super::room::Room;
use crate::config::plan::OutboxPlan;

/// How many messages wait in memory, so that they need not be read back; and how many bytes of them.
pub(super) const MEMORY_ENTRIES_MAX: usize = 4_096;
pub(super) const MEMORY_BYTES_MAX: u64 = 8 << 20;

/// How many marks of replaced messages there may be; beyond, messages are not replaced.
const MARKS_MAX: usize = 262_144;

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
    pub(super) room: Room,
    /// Messages in batches that are not through.
    pub(super) pending: u64,
    pub(super) next_aside: u64,
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
            room: Room::default(),
            pending: 0,
            next_aside: 0,
        }
    }

    /// Begins with what the store holds: figures, what waits, and the last row that tells something aside.
    pub(super) fn begin(&mut self, live: OutboxFigures, last_aside: u64) {
        self.live = live;
        self.room = Room::used_by(live.waiting(), live.waiting_bytes);
        self.next_aside = last_aside;
    }

    pub(super) fn set_policy(&mut self, policy: Arc<OutboxPlan>) {
        self.latest.set_filters(&policy.keep_latest);
        self.queue.set_attempts_max(policy.attempts_max);
        self.queue.set_lane(policy.lane);
        self.policy = policy;
    }

    /// Takes a message that is durable now. `freed` grows by what it replaces.
    pub(super) fn accept(&mut self, position: u64, item: Item, freed: &mut (u64, u64)) {
        let bytes = item.bytes();
        self.live.accepted += 1;
        let replaced = self.live.replaced;
        // A read may have brought it to the pump before its batch was told: it waits no more, and nothing replaces it.
        let is_taken = position < self.queue.end();
        let replaced_bytes =
            if is_taken { 0 } else { self.find_replaced(item.message.topic(), position, bytes) };
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

    pub(super) fn accept_aside(&mut self, aside: Aside, id: Option<u64>) {
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
        self.room.used()
    }

    /// Gives room back.
    pub(super) fn give_room(&mut self, messages: u64, bytes: u64) {
        self.room.give(messages, bytes);
        // What a crash has made uncertain ends here.
        if self.room.is_empty() {
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
}
