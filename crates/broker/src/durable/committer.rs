//! The one way to the disk: gathers what turns change, commits it batch after batch, and hands out what is durable.
//!
//! ```text
//!  turns ─► Part being built ─► Store::commit ─► ticket ─► mailboxes get their entries, owners are woken once
//!              ▲                    │ one at a time          └─► those who wait for the batch are woken once
//!              └── what comes meanwhile is the next one
//! ```
//!
//! There is one for the whole broker, so that batches, positions in queues and the records of a session have one order,
//! on whatever thread they were made. Its lock is a leaf: nothing else is locked and nobody is woken under it.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use bytes::Bytes;
use crosspoint_protocol::{Now, ReasonCode};
use crosspoint_store::{Batch, Committed, Error, State, Store, Ticket};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior},
};
use tracing::{error, info, warn};

use super::{
    changes::{Changes, Urgency},
    clock,
    commit::{Commit, Outcome, Promise},
    part::{Delivery, Part},
};
use crate::shared::Shared;

/// How long a change that nobody waits for may stay in memory.
const LAZY_DELAY: Duration = Duration::from_secs(1);

/// A part that holds so many bytes of messages takes no more.
const PART_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Committer {
    store: Store,
    gathered: Mutex<Gathered>,
    /// There is more to do than before.
    changed: Notify,
    is_full: AtomicBool,
    is_broken: AtomicBool,
    commits: AtomicU64,
}

/// What waits for its commit.
#[derive(Debug, Default)]
struct Gathered {
    /// Parts that take no more.
    whole: VecDeque<Part>,
    part: Part,
    is_closed: bool,
}

impl Gathered {
    /// Lets what comes next be part of another batch.
    fn end_part(&mut self) {
        if !self.part.is_idle() {
            let part = std::mem::take(&mut self.part);
            self.whole.push_back(part);
        }
    }
}

/// A batch that the store has.
struct Flight {
    ticket: Ticket<Committed>,
    deliveries: Vec<Delivery>,
    /// What of it must not be lost when the disk is full.
    essential: Batch,
    is_refusable: bool,
    promise: Promise,
}

/// What is known from one submission to the next.
#[derive(Default)]
struct Submitting {
    /// When the clock was last stored.
    stamped_ms: Option<u64>,
    /// Essential changes that were refused: they come before everything else, or memory is ahead of the disk for good.
    unkept: Batch,
}

impl Committer {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            gathered: Mutex::default(),
            changed: Notify::new(),
            is_full: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            commits: AtomicU64::new(0),
        }
    }

    /// Tells whether the disk was full when something was last committed: no message is accepted then.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// Returns how many batches are durable.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Relaxed)
    }

    /// Takes what a turn changes, and returns the batch that it is part of. Leaves `changes` empty.
    pub(crate) fn append(&self, changes: &mut Changes) -> Arc<Commit> {
        self.append_with(changes, None)
    }

    /// Takes what a turn changes together with a batch of somebody else's making.
    pub(crate) fn append_with(&self, changes: &mut Changes, batch: Option<Batch>) -> Arc<Commit> {
        let stored = Bytes::from(std::mem::take(&mut changes.stored));
        let mut urgency = std::mem::take(&mut changes.urgency);
        let is_refusable = batch.is_some() || changes.is_refusable();
        let is_separate = self.is_full() && is_refusable;
        let mut gathered = self.gathered.lock();
        if gathered.is_closed {
            changes.list.clear();
            return Promise::default().commit();
        }
        if is_separate {
            // What may be refused must not take with it what may not, and comes behind it.
            gathered.end_part();
        }
        let part = &mut gathered.part;
        if let Some(batch) = batch {
            part.targets += batch.targets();
            part.batch.append(batch);
            part.is_refusable = true;
            urgency = Urgency::Synced;
        }
        part.bytes += stored.len();
        let add = if is_refusable { Part::add } else { Part::add_essential };
        changes.list.drain(..).for_each(|change| add(part, change, &stored));
        part.urgency = part.urgency.max(urgency);
        let is_urgent = part.urgency != Urgency::Lazy;
        let commit = part.promise.commit();
        if is_separate || part.bytes > PART_BYTES_MAX {
            gathered.end_part();
        }
        drop(gathered);
        // A permit that is there already is enough: the task looks at everything.
        if is_urgent {
            self.changed.notify_one();
        }
        commit
    }

    /// Commits what there is, and then ends [`run`].
    pub(crate) fn close(&self) {
        self.gathered.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Takes the next part that has something in it; `urgent_only` leaves what can wait.
    fn take(&self, is_due: impl Fn(&Part) -> bool) -> Option<Part> {
        let mut gathered = self.gathered.lock();
        if let Some(part) = gathered.whole.pop_front() {
            return Some(part);
        }
        let is_due = gathered.is_closed || is_due(&gathered.part);
        (is_due && !gathered.part.is_idle()).then(|| std::mem::take(&mut gathered.part))
    }

    /// Waits for the next part; `None` when it is closed and nothing is left.
    ///
    /// `lazily` ticks when what can wait has waited. It is one for all parts: a timer that is set anew for each wakes the
    /// thread that sets it, before the answers of the last part are on their way.
    async fn next(&self, lazily: &mut Interval) -> Option<Part> {
        loop {
            if let Some(part) = self.take(|part| part.urgency != Urgency::Lazy) {
                return Some(part);
            }
            if self.gathered.lock().is_closed {
                return None;
            }
            let part = tokio::select! {
                biased;
                () = self.changed.notified() => None,
                _ = lazily.tick() => self.take_lazily(),
            };
            if part.is_some() {
                return part;
            }
        }
    }

    /// Takes what nobody waits for. While the disk is full there is always something: the store looks for room whenever it
    /// is asked for anything.
    fn take_lazily(&self) -> Option<Part> {
        self.take(|_| true).or_else(|| self.is_full().then(Part::default))
    }

    fn submit(&self, part: Part, submitting: &mut Submitting, now: Now) -> Flight {
        let Part { batch: new, essential: new_essential, deliveries, promise, is_refusable, urgency, .. } =
            part;
        let mut batch = std::mem::take(&mut submitting.unkept);
        let mut essential = batch.clone();
        // What is submitted again may have been urgent.
        if urgency != Urgency::Synced && batch.is_empty() {
            batch.written();
        }
        batch.append(new);
        essential.append(new_essential);
        if !is_refusable {
            // Whatever records that something has ended must find room, or nothing ever gets free.
            batch.essential();
        }
        clock::stamp(&mut batch, &mut submitting.stamped_ms, now);
        Flight { ticket: self.store.commit(batch), deliveries, essential, is_refusable, promise }
    }

    fn note_success(&self) {
        self.commits.fetch_add(1, Relaxed);
        if self.is_full() && !matches!(self.store.state(), State::Full) {
            self.is_full.store(false, SeqCst);
            info!("The disk has room again: messages at QoS 1 and 2 are accepted.");
        }
    }

    fn note_failure(&self, failure: &Error) -> Outcome {
        if is_full(failure) {
            if !self.is_full.swap(true, SeqCst) {
                warn!(%failure, "The disk is full: no message at QoS 1 or 2 is accepted.");
            }
            return Outcome::Full;
        }
        if !self.is_broken.swap(true, SeqCst) {
            error!(
                %failure,
                "The store has failed: connections that depend on it are closed until the program is started again."
            );
        }
        Outcome::Broken
    }
}

/// Tells whether nothing of a batch was kept, for want of room.
const fn is_full(failure: &Error) -> bool {
    matches!(failure, Error::Full | Error::TooLarge { .. })
}

/// Lets nobody wait for a committer that has ended, in whatever way.
struct GivenUp(Arc<Shared>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let Some(durable) = &self.0.durable else { return };
        let mut gathered = durable.committer.gathered.lock();
        gathered.is_closed = true;
        let left = (std::mem::take(&mut gathered.whole), std::mem::take(&mut gathered.part));
        drop(gathered);
        drop(left);
    }
}

/// Commits until the committer is closed.
pub(crate) fn run(shared: Arc<Shared>) -> impl Future<Output = ()> {
    // Also when it is dropped before it has begun.
    let given_up = GivenUp(shared);
    async move {
        let given_up = given_up;
        commit_all(&given_up.0).await;
    }
}

async fn commit_all(shared: &Shared) {
    let Some(durable) = &shared.durable else { return };
    let committer = &durable.committer;
    let mut submitting = Submitting::default();
    let mut lazily = tokio::time::interval_at(Instant::now() + LAZY_DELAY, LAZY_DELAY);
    lazily.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(part) = committer.next(&mut lazily).await {
        let mut flight = Some(committer.submit(part, &mut submitting, shared.clock.now()));
        while let Some(Flight { ticket, deliveries, essential, is_refusable, promise }) = flight {
            let answer = ticket.await;
            let mut next = None;
            if answer.as_ref().is_err_and(is_full) {
                // At once and alone, if it was refused for what stood beside it; else with what comes next.
                next = (is_refusable && !essential.is_empty()).then(Part::default);
                submitting.unkept = essential;
            }
            // The store has something to do while what is durable is handed out.
            let next = next.or_else(|| committer.take(|_| true));
            flight = next.map(|part| committer.submit(part, &mut submitting, shared.clock.now()));
            match answer {
                Ok(committed) => {
                    committer.note_success();
                    hand_out(shared, deliveries, &committed);
                    promise.end(Outcome::Durable);
                }
                Err(failure) => {
                    let outcome = committer.note_failure(&failure);
                    promise.end(outcome);
                    if outcome == Outcome::Broken {
                        shared.sessions.disconnect_durable(ReasonCode::UnspecifiedError);
                    }
                }
            }
        }
    }
    if !submitting.unkept.is_empty() {
        // The last chance. Without it, the next run gives again what it finds unfinished.
        let last = committer.submit(Part::default(), &mut submitting, shared.clock.now());
        _ = last.ticket.await;
    }
}

fn hand_out(shared: &Shared, deliveries: Vec<Delivery>, committed: &Committed) {
    let mut wakers = Vec::new();
    for delivery in deliveries {
        // The store tells a position for every target of the batch.
        let Some(position) = committed.positions.get(delivery.place) else { continue };
        shared.leave_stored(delivery.target, delivery.message, *position, &mut wakers);
    }
    wakers.into_iter().for_each(std::task::Waker::wake);
}
