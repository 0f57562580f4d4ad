//! What the broker keeps on disk: which records, in which tables and queues, and the way there and back.
//!
//! The numbers of tables and queues stand in `docs/formats/records.md`, the bytes of each record where it is encoded.
//!
//! Invariant: memory may run ahead of the disk, what leaves may not. A turn changes memory at once and gathers what it
//! changes on disk; the answers that promise it wait for its [`Commit`].

mod changes;
mod clock;
mod commit;
mod committer;
mod exchange;
mod fields;
mod load;
mod part;
mod session;
mod subscription;
mod will;

pub(crate) use changes::{Changes, Target, Urgency, of_flags};
pub(crate) use commit::{Commit, Ended, Outcome};
pub(crate) use committer::{Committer, run};
pub(crate) use exchange::{KeptStage, OutgoingRecord};
pub use load::InvalidRecord;
pub(crate) use load::load;
pub(crate) use session::{Away, SessionRecord};
pub(crate) use subscription::SubscriptionRecord;
pub(crate) use will::WillRecord;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crosspoint_protocol::{Message, Now};
use crosspoint_store::Store;

/// Sessions, by client identifier.
pub(crate) const SESSIONS: u32 = 1;
/// Subscriptions, by session and filter.
pub(crate) const SUBSCRIPTIONS: u32 = 2;
/// Incoming messages at QoS 2 that are not released, by session and packet identifier.
pub(crate) const INCOMING: u32 = 3;
/// Outgoing messages at QoS 2 that are not finished, by session and position.
pub(crate) const OUTGOING: u32 = 4;
/// Wills, by client identifier.
pub(crate) const WILLS: u32 = 5;
/// Retained messages, by topic.
pub(crate) const RETAINED: u32 = 6;

/// What the wall clock said.
const CLOCK: u32 = 7;

/// Queues per number; the first is a session's.
const QUEUES: u64 = 8;

/// A broker's store, and what is known of it.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    last_number: AtomicU64,
    /// How far the wall clock has jumped since the last run, where no time can have passed like that, in milliseconds.
    jump_ms: i64,
}

impl Durable {
    pub(crate) fn new(store: Store, now: Now) -> Self {
        Self {
            committer: Committer::new(store.clone()),
            last_number: AtomicU64::new(0),
            jump_ms: clock::jump_ms(&store, now),
            store,
        }
    }

    /// Returns a number that no session has had in this run, and none that is kept has.
    pub(crate) fn new_number(&self) -> u64 {
        self.last_number.fetch_add(1, Relaxed) + 1
    }

    fn begin_numbers_after(&self, number: u64) {
        self.last_number.fetch_max(number, Relaxed);
    }

    /// Returns how much time has passed since a stamp of an earlier run, or `None` if nobody can know.
    fn elapsed_ms(&self, at_wall_ms: u64, now: Now) -> Option<u64> {
        clock::elapsed_ms(at_wall_ms, now).filter(|_| self.jump_ms == 0)
    }

    /// Returns a message of an earlier run as it counts in this one: a jump of the clock expires nothing.
    pub(crate) fn recall(&self, message: &Message) -> Message {
        clock::shifted(message, self.jump_ms)
    }
}

/// Returns the queue of the session with this number.
pub(crate) const fn queue_of(number: u64) -> u64 {
    number * QUEUES
}
