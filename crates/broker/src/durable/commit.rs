//! What becomes of one batch, for those who wait for it.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// One batch on its way to the disk, or several that somebody depends on. Its outcome is asked for, or waited for.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    outcome: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
    /// What has its outcome in place of its own: it is the worse one of both.
    both: Option<[Arc<Commit>; 2]>,
}

/// How a batch ended, the better before the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It is durable.
    Durable,
    /// The disk is full: nothing of it was kept, or only what may not be refused.
    Full,
    /// The store has failed: nobody knows what was kept.
    Broken,
}

impl Commit {
    /// Returns what ends when both have: whoever has changed something in one batch and then in another depends on both.
    pub(crate) fn of_both(earlier: Arc<Self>, later: Arc<Self>) -> Arc<Self> {
        let is_part = |[_, last]: &[Arc<Self>; 2]| Arc::ptr_eq(last, &later);
        if Arc::ptr_eq(&earlier, &later) || earlier.both.as_ref().is_some_and(is_part) {
            return earlier;
        }
        Arc::new(Self { both: Some([earlier, later]), ..Self::default() })
    }

    /// Returns how it ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        if let Some([earlier, later]) = &self.both {
            return Some(earlier.outcome()?.max(later.outcome()?));
        }
        match self.outcome.load(SeqCst) {
            1 => Some(Outcome::Durable),
            2 => Some(Outcome::Full),
            3 => Some(Outcome::Broken),
            _ => None,
        }
    }

    /// Wakes a task when it has ended; at once if it has.
    pub(crate) fn wake_at_end(&self, waker: &Waker) {
        if let Some(both) = &self.both {
            // One that has ended already would wake at once, and in vain.
            let mut open = both.iter().filter(|commit| commit.outcome().is_none()).peekable();
            if open.peek().is_none() {
                waker.wake_by_ref();
            }
            return open.for_each(|commit| commit.wake_at_end(waker));
        }
        let mut wakers = self.wakers.lock();
        if self.outcome().is_none() {
            return wakers.push(waker.clone());
        }
        drop(wakers);
        waker.wake_by_ref();
    }

    /// Notes how it ended, and wakes who waits. Only the first time counts.
    fn end(&self, outcome: Outcome) {
        let mut wakers = self.wakers.lock();
        if self.outcome().is_some() {
            return;
        }
        let outcome = match outcome {
            Outcome::Durable => 1,
            Outcome::Full => 2,
            Outcome::Broken => 3,
        };
        self.outcome.store(outcome, SeqCst);
        let wakers = std::mem::take(&mut *wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Tells how a batch ended, in any case: one that is dropped without a word will not be durable.
#[derive(Debug, Default)]
pub(super) struct Promise(Arc<Commit>);

impl Promise {
    pub(super) fn commit(&self) -> Arc<Commit> {
        self.0.clone()
    }

    pub(super) fn end(self, outcome: Outcome) {
        self.0.end(outcome);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.end(Outcome::Broken);
    }
}

/// The wait for the end of a batch.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Arc<Commit>);

impl Future for Ended {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.0.outcome() {
            return Poll::Ready(outcome);
        }
        // A future may move from task to task, so every poll leaves its waker; there are few.
        self.0.wake_at_end(cx.waker());
        Poll::Pending
    }
}
