//! Where others leave what a session's owner has to send.

mod audit;
mod stored;

pub(crate) use stored::{Settled, StoredQueue};

use std::{collections::VecDeque, task::Waker};

use crosspoint_protocol::{Message, QoS, ReasonCode, Transmit, Version, message::PublishHead};
use crosspoint_store::{Taken, Wanted};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::options::QueueLimits;

/// A message that waits in a session's queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    pub(crate) subscription_ids: SmallVec<[u32; 2]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Where it stands in the session's queue in the store, or [`UNSTORED`].
    pub(crate) position: u64,
}

/// The position of a message that is in memory only.
pub(crate) const UNSTORED: u64 = u64::MAX;

impl Entry {
    /// Makes an entry that is in memory only.
    pub(crate) fn new(message: Message, qos: QoS, retain: bool) -> Self {
        Self { message, subscription_ids: SmallVec::new(), qos, retain, position: UNSTORED }
    }
}

/// What others leave for a session. Guarded by one mutex, which is a leaf: nothing else is locked and nobody is
/// woken under it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) is_online: bool,
    /// Whether the owner has been told to come; changes only under the lock.
    is_scheduled: bool,
    waker: Option<Waker>,
    pub(crate) receiver: Receiver,
    /// Messages at QoS 0 for an online receiver, encoded.
    pub(crate) direct: Transmit,
    direct_messages: usize,
    /// Messages at QoS 1 and 2 in the order of their coming; for a local receiver those at QoS 0 too.
    pub(crate) queue: VecDeque<Entry>,
    queue_bytes: usize,
    /// The messages of a durable session.
    pub(crate) stored: Option<Box<StoredQueue>>,
    pub(crate) command: Option<Command>,
    /// Those who wait until the owner has gone.
    pub(crate) successors: Vec<oneshot::Sender<()>>,
    limits: QueueLimits,
    /// Whether messages have been dropped since the owner last took everything: that is told once.
    is_overflowing: bool,
}

/// How messages for the owner are encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receiver {
    pub(crate) version: Version,
    pub(crate) packet_bytes_max: usize,
    /// Has no socket: takes messages as they are.
    pub(crate) is_local: bool,
}

/// What the owner is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// End the connection for this reason.
    Disconnect(ReasonCode),
    /// End the connection and the session: the user is gone.
    Expel,
    /// Ask again what the client may do.
    Reauthorize,
}

/// What became of a message that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It waits.
    Waiting,
    /// It waits, and so many older ones were dropped for it.
    DroppedOldest(usize),
    /// It was dropped: the queue is full of direct bytes.
    Dropped,
    /// It was dropped: the receiver accepts no packet so large.
    TooLarge,
    /// Nobody is there, and QoS 0 is not kept.
    Absent,
    /// The session does not want it, or may not have it.
    Unwanted,
}

impl Left {
    /// Tells whether the message was taken.
    pub(crate) const fn is_waiting(self) -> bool {
        matches!(self, Self::Waiting | Self::DroppedOldest(_))
    }
}

/// What is left of a possession.
#[derive(Debug)]
pub(crate) struct Detached {
    /// Those who waited for its end; they hear of it when this is dropped.
    pub(crate) successors: Vec<oneshot::Sender<()>>,
    /// How many messages at QoS 0 the owner had not taken.
    pub(crate) dropped: usize,
}

impl Mailbox {
    pub(crate) fn new(limits: QueueLimits, receiver: Receiver) -> Self {
        Self {
            is_online: false,
            is_scheduled: false,
            waker: None,
            receiver,
            direct: Transmit::default(),
            direct_messages: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            stored: None,
            command: None,
            successors: Vec::new(),
            limits,
            is_overflowing: false,
        }
    }

    /// Takes possession for a new connection. The old one is gone: it gives the session back before.
    pub(crate) fn attach(&mut self, receiver: Receiver) {
        self.is_online = true;
        self.is_scheduled = true;
        self.receiver = receiver;
        self.command = None;
    }

    /// Ends the possession. What was encoded for the connection is dropped, what is queued stays.
    pub(crate) fn detach(&mut self) -> Detached {
        self.is_online = false;
        self.is_scheduled = false;
        self.waker = None;
        self.direct = Transmit::default();
        Detached {
            successors: std::mem::take(&mut self.successors),
            dropped: std::mem::take(&mut self.direct_messages),
        }
    }

    /// Tells whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.direct.is_empty() && !self.is_stored_ready()
    }

    fn is_stored_ready(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.is_ready())
    }

    /// Notes that messages were dropped for want of room, and tells whether that is news.
    pub(crate) const fn note_overflow(&mut self) -> bool {
        !std::mem::replace(&mut self.is_overflowing, true)
    }

    /// Notes that one more message stands in `direct`.
    pub(crate) const fn note_direct(&mut self) {
        self.direct_messages += 1;
    }

    /// Moves what is encoded into `out`, which is empty, and returns how many messages that were.
    pub(crate) fn take_direct(&mut self, out: &mut Transmit) -> usize {
        std::mem::swap(&mut self.direct, out);
        std::mem::take(&mut self.direct_messages)
    }

    /// Notes that something was left, and returns the owner's waker if it has to be woken.
    pub(crate) fn schedule(&mut self) -> Option<Waker> {
        if self.is_scheduled {
            return None;
        }
        self.is_scheduled = true;
        self.waker.take()
    }

    /// Notes that the owner has looked, and whom to wake next time.
    pub(crate) fn settle(&mut self, waker: &Waker) {
        self.is_scheduled = false;
        self.is_overflowing &= !self.is_empty();
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Leaves a command and returns the owner's waker if it has to be woken.
    pub(crate) fn give(&mut self, command: Command) -> Option<Waker> {
        // Who is to go is not told anything less.
        if !matches!(self.command, Some(Command::Disconnect(_) | Command::Expel)) {
            self.command = Some(command);
        }
        self.schedule()
    }

    /// Tells whether so many more direct bytes may be left. One message always may, however large.
    pub(crate) fn has_direct_room(&self, bytes: usize) -> bool {
        self.direct.is_empty() || self.direct.len() + bytes <= self.limits.direct_bytes
    }

    /// Leaves a message in the queue; when it is full the oldest one goes.
    pub(crate) fn push(&mut self, entry: Entry) -> Left {
        if !self.is_online && entry.qos == QoS::AtMostOnce {
            return Left::Absent;
        }
        if self.is_too_large(&entry) {
            return Left::TooLarge;
        }
        self.queue_bytes += entry_bytes(&entry);
        self.queue.push_back(entry);
        let mut dropped = 0;
        while self.queue.len() > self.limits.messages
            || (self.queue_bytes > self.limits.bytes && self.queue.len() > 1)
        {
            self.pop();
            dropped += 1;
        }
        if dropped == 0 { Left::Waiting } else { Left::DroppedOldest(dropped) }
    }

    /// Puts a message back where it was taken from.
    pub(crate) fn push_front(&mut self, entry: Entry) {
        self.queue_bytes += entry_bytes(&entry);
        self.queue.push_front(entry);
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.queue.pop_front()?;
        self.queue_bytes -= entry_bytes(&entry);
        if self.queue.is_empty() {
            // A queue that was long once must not stay large.
            self.queue.shrink_to(64);
        }
        Some(entry)
    }

    /// Takes the next message: what was kept for a client that left comes before what is stored, and messages at QoS 0
    /// after it. When the next one waits in the store only, `wanted` tells what to read.
    pub(crate) fn take(&mut self, wanted: &mut Option<Wanted>) -> Option<Entry> {
        let is_first = self.queue.front().is_some_and(|entry| entry.qos != QoS::AtMostOnce);
        if !is_first && let Some(stored) = &mut self.stored {
            match stored.take() {
                Taken::Entry(position, entry) => return Some(Entry { position, ..entry }),
                Taken::Read(read) => *wanted = Some(read),
                Taken::Nothing => {}
            }
        }
        self.pop()
    }

    /// Leaves a message that is durable now. The session is the one that has this queue.
    pub(crate) fn push_stored(&mut self, position: u64, entry: Entry) -> Left {
        let is_too_large = self.is_online && self.is_too_large(&entry);
        let Some(stored) = &mut self.stored else { return Left::Absent };
        if is_too_large {
            stored.skip(position);
            return Left::TooLarge;
        }
        match stored.push(position, entry, &self.limits) {
            0 => Left::Waiting,
            dropped => Left::DroppedOldest(dropped),
        }
    }

    /// Takes what is to be changed in the store.
    pub(crate) fn take_settled(&mut self) -> Settled {
        self.stored.as_mut().map(|stored| stored.take_settled()).unwrap_or_default()
    }

    /// Drops everything that waits, and returns how many messages that were.
    pub(crate) fn clear(&mut self) -> usize {
        let stored = self.stored.take().map_or(0, |stored| stored.len());
        self.queue_bytes = 0;
        std::mem::take(&mut self.queue).len() + usize::try_from(stored).unwrap_or(usize::MAX)
    }

    /// Drops what is queued and does not pass, and returns how many were dropped.
    pub(crate) fn retain(&mut self, mut passes: impl FnMut(&Entry) -> bool) -> usize {
        let before = self.queue.len();
        self.queue.retain(|entry| passes(entry));
        self.queue_bytes = self.queue.iter().map(entry_bytes).sum();
        let mut dropped = before - self.queue.len();
        if let Some(stored) = &mut self.stored {
            stored.generation = stored.generation.wrapping_add(1);
            dropped += stored.retain(passes);
        }
        dropped
    }

    fn is_too_large(&self, entry: &Entry) -> bool {
        if entry.message.len() + 64 + 5 * entry.subscription_ids.len() <= self.receiver.packet_bytes_max {
            return false;
        }
        let head = PublishHead {
            version: self.receiver.version,
            qos: entry.qos,
            retain: entry.retain,
            dup: false,
            packet_id: 1,
            topic_alias: 0,
            omit_topic: false,
            subscription_ids: &entry.subscription_ids,
        };
        entry.message.encoded_len(&head) > self.receiver.packet_bytes_max
    }
}

/// What an entry counts for in the queue's byte limit: the message and its place.
fn entry_bytes(entry: &Entry) -> usize {
    entry.message.len() + size_of::<Entry>()
}
