//! The messages of a durable session: in the order of their positions in the store's queue, some of them in memory.

use std::collections::BTreeMap;

use crosspoint_protocol::PacketId;
use crosspoint_store::{Finished, Front, QueueStatus, Taken, Wanted};

use super::{Entry, entry_bytes};
use crate::{
    durable::{KeptStage, OutgoingRecord},
    options::QueueLimits,
};

/// Entries that are in memory; the others are read from the store when their turn comes.
const ENTRIES_MAX: usize = 1_024;

/// Bytes of entries that are in memory.
const BYTES_MAX: u64 = 256 * 1024;

/// What an entry counts for whose size is not known: those from before a restart.
const BYTES_GUESSED: u64 = 256;

/// The queue of a durable session.
#[derive(Debug)]
pub(crate) struct StoredQueue {
    front: Front<Entry>,
    /// What nobody needs any more.
    finished: Finished,
    /// The position after the last one that came.
    next: u64,
    /// What is before this was stored in an earlier run.
    old_until: u64,
    /// Messages at QoS 2 that have a record, by position.
    recorded: BTreeMap<u64, OutgoingRecord>,
    /// What is to be changed in the store; taken by whoever changed the queue.
    settled: Settled,
    /// Whether somebody else consumes what is given out.
    is_consumed_outside: bool,
    /// Of the session's filters: changes when what was routed before may not be wanted any more.
    pub(crate) generation: u32,
    /// Whether the session has ended.
    pub(crate) is_over: bool,
}

/// What is to be changed in the store since messages are finished.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Everything before this is finished.
    pub(crate) head: Option<u64>,
    /// Positions whose record goes.
    pub(crate) forgotten: Vec<u64>,
    /// Positions that are finished before their predecessors, with their record.
    pub(crate) ahead: Vec<(u64, OutgoingRecord)>,
}

impl StoredQueue {
    pub(crate) fn new() -> Self {
        Self {
            front: Front::new(ENTRIES_MAX, BYTES_MAX),
            finished: Finished::new(0),
            next: 0,
            old_until: 0,
            recorded: BTreeMap::new(),
            settled: Settled::default(),
            is_consumed_outside: false,
            generation: 0,
            is_over: false,
        }
    }

    /// Sets whether somebody else consumes what is given out from now on.
    pub(crate) const fn consume_outside(&mut self, is_outside: bool) {
        self.is_consumed_outside = is_outside;
    }

    /// Begins anew with what the store has.
    pub(crate) fn reset(&mut self, status: QueueStatus) {
        self.next = self.next.max(status.next);
        let waiting = self.next.saturating_sub(status.head);
        self.front.reset(status.head, self.next, waiting.saturating_mul(BYTES_GUESSED));
        self.finished = Finished::new(status.head);
    }

    /// Begins with what the store has from an earlier run.
    pub(crate) fn restart(&mut self, status: QueueStatus) {
        self.reset(status);
        self.old_until = status.next;
    }

    /// Tells whether an entry is from an earlier run.
    pub(crate) const fn is_old(&self, position: u64) -> bool {
        position < self.old_until
    }

    /// Notes a message at QoS 2 that was given out before a restart, and tells whether it is still there.
    pub(crate) fn restore(&mut self, position: u64, record: OutgoingRecord) -> bool {
        if position < self.finished.head() || position >= self.next {
            return false;
        }
        self.front.skip(position);
        self.recorded.insert(position, record);
        if record.stage == KeptStage::Finished {
            self.finish(position);
        }
        true
    }

    /// Adds an entry that is durable now. Returns how many of the oldest were dropped for it.
    pub(crate) fn push(&mut self, position: u64, entry: Entry, limits: &QueueLimits) -> usize {
        let bytes = entry_bytes(&entry) as u64;
        self.next = self.next.max(position.saturating_add(1));
        self.front.push(position, entry, bytes);
        let mut dropped = 0;
        while self.is_beyond(limits)
            && let Some(oldest) = self.front.skip_oldest()
        {
            self.finish(oldest);
            dropped += 1;
        }
        dropped
    }

    fn is_beyond(&self, limits: &QueueLimits) -> bool {
        let waiting = self.front.len();
        waiting > limits.messages as u64 || (self.front.bytes() > limits.bytes as u64 && waiting > 1)
    }

    /// Notes a position that is durable now and that nobody shall get.
    pub(crate) fn skip(&mut self, position: u64) {
        self.next = self.next.max(position.saturating_add(1));
        self.front.skip(position);
        self.finish(position);
    }

    /// Takes the next entry, or tells what has to be read first.
    pub(crate) fn take(&mut self) -> Taken<Entry> {
        self.front.take()
    }

    /// Brings what was read: each position with its entry, or without if nobody wants it. Returns how many that were.
    pub(crate) fn on_read(&mut self, wanted: Wanted, read: Vec<(u64, Option<Entry>)>) -> usize {
        let mut unwanted = 0;
        let mut from = wanted.from;
        let mut entries = Vec::with_capacity(read.len());
        // What was read may all be unwanted: what is behind it still waits.
        let wanted = read.last().map_or(wanted, |(last, _)| wanted.before(last.saturating_add(1)));
        for (position, entry) in read {
            // What the store does not have any more has been consumed, or is lost.
            (from..position).for_each(|gone| self.finish(gone));
            from = position + 1;
            match entry {
                _ if self.finished.is_finished(position) => {}
                Some(entry) => {
                    let bytes = entry_bytes(&entry) as u64;
                    entries.push((position, entry, bytes));
                }
                None => {
                    self.finish(position);
                    unwanted += 1;
                }
            }
        }
        self.front.on_read(wanted, entries);
        unwanted
    }

    /// Drops what is in memory and does not pass; returns how many that were. What is spilled is asked about when it
    /// is read.
    pub(crate) fn retain(&mut self, mut passes: impl FnMut(&Entry) -> bool) -> usize {
        let dropped = self.front.retain(|_, entry| passes(entry));
        dropped.iter().for_each(|position| self.finish(*position));
        dropped.len()
    }

    /// Notes the record of a message at QoS 2.
    pub(crate) fn record(&mut self, position: u64, packet_id: PacketId, stage: KeptStage) {
        self.recorded.insert(position, OutgoingRecord { packet_id, stage });
    }

    /// Notes that nobody needs a position any more. Where somebody else consumes, it goes when everything before it has.
    pub(crate) fn finish(&mut self, position: u64) {
        if let Some(head) = self.finished.finish(position) {
            self.settled.head = Some(head);
            while let Some(entry) = self.recorded.first_entry()
                && *entry.key() < head
            {
                self.settled.forgotten.push(*entry.key());
                entry.remove();
            }
        } else if let Some(record) = self.recorded.get_mut(&position)
            && record.stage != KeptStage::Finished
        {
            record.stage = KeptStage::Finished;
            self.settled.ahead.push((position, *record));
        }
    }

    /// Tells whether something is finished behind what somebody else has still to consume.
    pub(crate) fn waits_for_outside(&self) -> bool {
        self.is_consumed_outside && self.finished.ahead().next().is_some()
    }

    /// Notes that somebody else has consumed everything before a position.
    pub(crate) fn on_consumed(&mut self, position: u64) {
        let head = self.finished.finish_before(position).filter(|head| *head > position);
        self.settled.head = head.or(self.settled.head);
    }

    /// Tells whether something is to be changed in the store, or may be.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.settled.head.is_some() || self.waits_for_outside()
    }

    /// Takes what is to be changed in the store.
    pub(crate) fn take_settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// Tells whether something waits that can be given out, or read.
    pub(crate) fn is_ready(&self) -> bool {
        self.front.is_ready()
    }

    /// Returns how many messages wait.
    pub(crate) fn len(&self) -> u64 {
        self.front.len()
    }

    /// Finds a limit that is not held, in words. What an earlier run has left may be beyond those of this one, until the
    /// next message comes.
    pub(super) fn excess(&self, limits: &QueueLimits, slack: u64) -> Option<String> {
        let front = &self.front;
        let (entries, bytes) = (front.in_memory(), front.memory_bytes());
        if entries > ENTRIES_MAX || (bytes > BYTES_MAX && entries > 1) {
            return Some(format!("{entries} stored messages of {bytes} bytes are held in memory"));
        }
        let waiting = front.len().saturating_sub(slack);
        let is_own = self.finished.head() >= self.old_until;
        (is_own && waiting > limits.messages as u64)
            .then(|| format!("{} messages wait in the store: {limits:?}", front.len()))
    }

    /// Returns the positions with a record.
    pub(crate) fn recorded(&self) -> impl Iterator<Item = u64> + '_ {
        self.recorded.keys().copied()
    }

    /// Returns what was given out before a restart and is unfinished, in its order.
    pub(crate) fn unfinished(&self) -> Vec<(u64, OutgoingRecord)> {
        let is_unfinished = |record: &OutgoingRecord| record.stage != KeptStage::Finished;
        let all = self.recorded.iter().map(|(position, record)| (*position, *record));
        all.filter(|(_, record)| is_unfinished(record)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_protocol::{Message, Now, QoS, TopicName, packet::PublishProperties};

    use super::*;

    fn entry(text: &str) -> Entry {
        let topic = TopicName::parse("a").unwrap();
        let properties = PublishProperties::default();
        let message =
            Message::new(&topic, text.as_bytes(), QoS::ExactlyOnce, false, &properties, Now::default());
        Entry::new(message, QoS::ExactlyOnce, false)
    }

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    fn filled(messages: u64) -> StoredQueue {
        let mut queue = StoredQueue::new();
        for position in 0..messages {
            assert_eq!(queue.push(position, entry("x"), &QueueLimits::default()), 0);
        }
        queue
    }

    #[test]
    fn what_finishes_in_order_is_consumed_at_once() {
        let mut queue = filled(3);
        for position in 0..3 {
            assert!(matches!(queue.take(), Taken::Entry(taken, _) if taken == position));
            queue.finish(position);
            assert_eq!(queue.take_settled().head, Some(position + 1));
        }
        assert_eq!(queue.take_settled().head, None);
    }

    #[test]
    fn at_qos_2_what_finishes_early_keeps_its_record_until_its_predecessors_finish() {
        let mut queue = filled(3);
        (0..3).for_each(|position| queue.record(position, id(position as u16 + 1), KeptStage::Assigned));
        queue.finish(1);
        let settled = queue.take_settled();
        assert_eq!(settled.head, None);
        let record = OutgoingRecord { packet_id: id(2), stage: KeptStage::Finished };
        assert_eq!(settled.ahead, [(1, record)]);
        queue.finish(0);
        let settled = queue.take_settled();
        assert_eq!((settled.head, settled.forgotten), (Some(2), vec![0, 1]));
        assert_eq!(queue.unfinished().iter().map(|(position, _)| *position).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn beyond_its_limits_the_oldest_goes_whether_it_is_in_memory_or_not() {
        let limits = QueueLimits::default().messages(2_000);
        let mut queue = StoredQueue::new();
        let dropped: usize = (0..5_000).map(|position| queue.push(position, entry("x"), &limits)).sum();
        assert_eq!((dropped, queue.len()), (3_000, 2_000));
        assert_eq!(queue.take_settled().head, Some(3_000));
    }

    #[test]
    fn what_was_given_out_before_a_restart_is_not_given_out_again() {
        let mut queue = StoredQueue::new();
        queue.reset(QueueStatus { head: 5, next: 9, waiting: 4 });
        assert!(queue.restore(5, OutgoingRecord { packet_id: id(1), stage: KeptStage::Received }));
        assert!(queue.restore(6, OutgoingRecord { packet_id: id(2), stage: KeptStage::Finished }));
        let Taken::Read(wanted) = queue.take() else { panic!("nothing is read") };
        let read = (5..9).map(|position| (position, Some(entry("x")))).collect();
        assert_eq!(queue.on_read(wanted, read), 0);
        assert!(matches!(queue.take(), Taken::Entry(7, _)));
        assert!(matches!(queue.take(), Taken::Entry(8, _)));
        assert_eq!(queue.take(), Taken::Nothing);
        queue.finish(5);
        assert_eq!(queue.take_settled().head, Some(7));
    }

    #[test]
    fn what_waits_behind_a_read_without_a_wanted_entry_is_read_too() {
        let mut queue = StoredQueue::new();
        queue.reset(QueueStatus { head: 0, next: 6, waiting: 6 });
        queue.finish(3);
        let Taken::Read(wanted) = queue.take() else { panic!("nothing is read") };
        assert_eq!(queue.on_read(wanted, vec![(0, None), (1, None)]), 2);
        let Taken::Read(wanted) = queue.take() else { panic!("nothing more is read") };
        assert_eq!(wanted.from, 2);
        assert_eq!(queue.on_read(wanted, vec![(2, None), (3, Some(entry("x")))]), 1);
        let Taken::Read(wanted) = queue.take() else { panic!("nothing more is read") };
        assert_eq!(queue.on_read(wanted, vec![(4, Some(entry("x"))), (5, Some(entry("x")))]), 0);
        assert!(matches!(queue.take(), Taken::Entry(4, _)));
        assert!(matches!(queue.take(), Taken::Entry(5, _)));
        assert_eq!((queue.take(), queue.len()), (Taken::Nothing, 0));
    }

    #[test]
    fn what_is_unwanted_when_it_is_read_is_finished() {
        let mut queue = StoredQueue::new();
        queue.reset(QueueStatus { head: 0, next: 3, waiting: 3 });
        let Taken::Read(wanted) = queue.take() else { panic!("nothing is read") };
        assert_eq!(queue.on_read(wanted, vec![(0, None), (2, Some(entry("x")))]), 1);
        assert_eq!(queue.take_settled().head, Some(2), "1 is not in the store any more");
        assert!(matches!(queue.take(), Taken::Entry(2, _)));
    }
}
