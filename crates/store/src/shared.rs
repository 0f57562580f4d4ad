//! What the handles of a store and its writer have in common.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::batch::Batch;
use crate::error::Error;
use crate::index::Index;
use crate::store::{Committed, State, Stats, Waiting};
use crate::ticket::Promise;

/// Locks are leaves: never two at once.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    /// Only the writer changes it.
    pub(crate) index: RwLock<Index>,
    /// The last frame that is synced.
    pub(crate) watermark: AtomicU64,
}

/// What waits for the writer, and what it says about itself.
#[derive(Debug, Default)]
struct Inbox {
    work: Work,
    /// When the writer shall write what was consumed, if it has seen some.
    consume_at: Option<Instant>,
    /// Who drives a writer that has no thread.
    driver: Option<Waker>,
    is_closed: bool,
    state: State,
    stats: Stats,
}

/// What the writer has to do.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) batches: Vec<Pending>,
    pub(crate) reads: Vec<Read>,
    /// Per queue up to where it is consumed; nobody waits for it.
    pub(crate) consumed: BTreeMap<u64, u64>,
}

/// A batch and who waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) batch: Batch,
    pub(crate) promise: Promise<Committed>,
}

/// A request to read from a queue.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) queue: u64,
    pub(crate) from: u64,
    pub(crate) count_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) promise: Promise<Vec<Waiting>>,
}

impl Work {
    fn is_urgent(&self) -> bool {
        !self.batches.is_empty() || !self.reads.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_urgent() && self.consumed.is_empty()
    }
}

impl Inbox {
    fn take(&mut self) -> Work {
        self.consume_at = None;
        std::mem::take(&mut self.work)
    }
}

impl Shared {
    pub(crate) fn commit(&self, pending: Pending) {
        if let Err((pending, error)) = self.add(pending, |work, pending| work.batches.push(pending)) {
            pending.promise.answer(Err(error));
        }
    }

    pub(crate) fn read(&self, read: Read) {
        if let Err((read, error)) = self.add(read, |work, read| work.reads.push(read)) {
            read.promise.answer(Err(error));
        }
    }

    pub(crate) fn consume(&self, queue: u64, position: u64) {
        // A store that is closed or poisoned forgets it, as a crash would.
        let _ = self.add((), |work, ()| {
            let consumed = work.consumed.entry(queue).or_default();
            *consumed = position.max(*consumed);
        });
    }

    /// Adds to the work, or hands it back with the reason.
    fn add<T>(&self, added: T, change: impl FnOnce(&mut Work, T)) -> Result<(), (T, Error)> {
        let mut inbox = self.inbox.lock();
        if let State::Poisoned(error) = &inbox.state {
            return Err((added, error.clone().poisoned()));
        }
        if inbox.is_closed {
            return Err((added, Error::Closed));
        }
        let had_work = !inbox.work.is_empty();
        let was_urgent = inbox.work.is_urgent();
        change(&mut inbox.work, added);
        let wakes = !had_work || (!was_urgent && inbox.work.is_urgent());
        let driver = inbox.driver.take();
        drop(inbox);
        // The writer looks again before it waits, so that one call is enough until it has taken the work.
        if wakes {
            self.arrived.notify_one();
        }
        driver.into_iter().for_each(Waker::wake);
        Ok(())
    }

    pub(crate) fn take(&self) -> Work {
        self.inbox.lock().take()
    }

    /// Waits for work, but not beyond a deadline; `None` when the store is closed and nothing is left to do.
    ///
    /// What was consumed comes along with batches, or when its time has come.
    pub(crate) fn wait(&self, consume_delay: Duration, until: Option<Instant>) -> Option<Work> {
        let mut inbox = self.inbox.lock();
        loop {
            if inbox.is_closed {
                return (!inbox.work.is_empty()).then(|| inbox.take());
            }
            if !inbox.work.batches.is_empty() {
                return Some(inbox.take());
            }
            if !inbox.work.consumed.is_empty() {
                inbox.consume_at.get_or_insert_with(|| Instant::now() + consume_delay);
            }
            let is_due =
                |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= Instant::now());
            if is_due(inbox.consume_at) {
                return Some(inbox.take());
            }
            if !inbox.work.reads.is_empty() || is_due(until) {
                return Some(Work { reads: std::mem::take(&mut inbox.work.reads), ..Work::default() });
            }
            match inbox.consume_at.into_iter().chain(until).min() {
                Some(deadline) => _ = self.arrived.wait_until(&mut inbox, deadline),
                None => self.arrived.wait(&mut inbox),
            }
        }
    }

    /// Looks for work as a task does: whether the store is open once there is some, or it is closed.
    pub(crate) fn poll_arrived(&self, context: &Context<'_>) -> Poll<bool> {
        let mut inbox = self.inbox.lock();
        if !inbox.work.is_empty() || inbox.is_closed {
            return Poll::Ready(!inbox.is_closed);
        }
        inbox.driver = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn close(&self) {
        let mut inbox = self.inbox.lock();
        inbox.is_closed = true;
        let driver = inbox.driver.take();
        drop(inbox);
        self.arrived.notify_one();
        driver.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn state(&self) -> State {
        self.inbox.lock().state.clone()
    }

    /// Changes the state, unless the store is poisoned, which stays.
    pub(crate) fn set_state(&self, state: State) {
        let mut inbox = self.inbox.lock();
        if !matches!(inbox.state, State::Poisoned(_)) {
            inbox.state = state;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.inbox.lock().stats
    }

    pub(crate) fn set_stats(&self, stats: Stats) {
        self.inbox.lock().stats = stats;
    }
}
