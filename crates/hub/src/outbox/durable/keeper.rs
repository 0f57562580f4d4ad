//! Writes what an outbox has to remember: where its head is, how what is before it ended, and marks.
//!
//! All of it is told by one batch at a time, now and then and at the end. What a crash makes it forget waits again.

use std::future::pending;
use std::sync::Arc;

use crosspoint_store::{Batch, Committed, Error, State as StoreState, Ticket, Waiting};
use tracing::{error, warn};

use super::archive::Archive;
use super::figures::Kept;
use super::shared::{FIGURES_TABLE, Shared, Tally};

/// How long something may stay unwritten.
pub(super) const WRITE_EVERY_MS: u64 = 1_000;

/// How many messages may have left before that is written.
const UNWRITTEN_MAX: u64 = 4_096;

/// What was waited for.
#[derive(Debug)]
pub(super) enum Done {
    Written(Result<Committed, Error>),
    Read(Result<Vec<Waiting>, Error>),
}

/// The one who writes, for one pump.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// What is being written, with the ticket.
    writing: Option<(Batch, Ticket<Committed>)>,
    archive: Archive,
    /// What could not be written and is tried again.
    failed: Option<Batch>,
    /// How many have left since the last writing.
    unwritten: u64,
    due_ms: Option<u64>,
    has_said: bool,
}

impl Keeper {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let archive = Archive::new(shared);
        let shared = shared.clone();
        Self { shared, writing: None, archive, failed: None, unwritten: 0, due_ms: None, has_said: false }
    }

    /// Counts what has left, moves the head, and writes when it is time.
    pub(super) fn turn(&mut self, tally: &mut Tally, now_ms: u64) {
        self.shared.ended(tally);
        self.advance();
        let is_due = self.due_ms.is_some_and(|due_ms| now_ms >= due_ms);
        self.archive.turn(&mut tally.sent, is_due, now_ms);
        if !self.shared.state().is_dirty && self.failed.is_none() {
            self.due_ms = None;
            return;
        }
        if self.writing.is_some() {
            return;
        }
        let due_ms = *self.due_ms.get_or_insert(now_ms + WRITE_EVERY_MS);
        if now_ms >= due_ms || (self.unwritten >= UNWRITTEN_MAX && self.failed.is_none()) {
            self.write();
        }
    }

    /// Returns when it is time to write.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due_ms.filter(|_| self.writing.is_none())
    }

    /// Waits until something is written, or read for the archive.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Done {
        let written = async {
            match &mut self.writing {
                Some((_, ticket)) => ticket.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            result = written => Done::Written(result),
            result = self.archive.read() => Done::Read(result),
        }
    }

    /// Takes what [`next`](Self::next) said.
    pub(super) fn take(&mut self, done: Done, now_ms: u64) {
        match done {
            Done::Written(result) => self.on_written(result, now_ms),
            Done::Read(result) => self.archive.on_read(result),
        }
    }

    /// Waits until what is being written is written.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn written(&mut self) -> Result<Committed, Error> {
        match &mut self.writing {
            Some((_, ticket)) => ticket.await,
            None => pending().await,
        }
    }

    fn on_written(&mut self, result: Result<Committed, Error>, now_ms: u64) {
        let Some((batch, _)) = self.writing.take() else { return };
        let Err(error) = result else {
            self.has_said = false;
            return;
        };
        // It says where things are, so that saying it again is no harm.
        self.failed = Some(batch);
        self.due_ms = Some(now_ms + WRITE_EVERY_MS);
        if !std::mem::replace(&mut self.has_said, true) {
            let connector = &*self.shared.connector;
            match self.shared.store.state() {
                StoreState::Poisoned(_) => {
                    error!(connector, %error, "The outbox cannot be written any more.")
                }
                _ => warn!(connector, %error, "The outbox cannot be written now; it is tried again."),
            }
        }
    }

    /// Writes everything, for the end of a pump.
    pub(super) async fn finish(mut self, tally: &mut Tally) {
        if self.writing.is_some() {
            let result = self.written().await;
            self.on_written(result, 0);
        }
        self.shared.ended(tally);
        self.advance();
        self.archive.turn(&mut tally.sent, true, 0);
        self.shared.state().mark_ended();
        if self.shared.state().is_dirty || self.failed.is_some() {
            self.write();
            let result = self.written().await;
            self.on_written(result, 0);
        }
    }

    fn advance(&mut self) {
        self.unwritten += self.shared.state().advance();
    }

    fn write(&mut self) {
        let mut batch = self.failed.take().unwrap_or_default();
        self.shared.write(&mut batch);
        batch.essential();
        (self.due_ms, self.unwritten) = (None, 0);
        self.writing = Some((batch.clone(), self.shared.store.commit(batch)));
    }
}

impl Shared {
    /// Puts everything that has changed since the last time into a batch.
    fn write(&self, batch: &mut Batch) {
        let next = self.store.queue_status(self.queue).map_or(0, |status| status.next);
        let mut state = self.state();
        let (live, revived_bytes) = (state.live, state.queue.revived_bytes());
        let figures = &mut state.kept.figures;
        (figures.maybe_twice, figures.reordered) = (live.maybe_twice, live.reordered);
        figures.waiting_bytes = live.waiting_bytes + revived_bytes;
        state.kept.bytes_until = next;
        let kept: Kept = state.kept;
        let head = state.queue.head();
        state.gone.write(batch, self.number, head);
        let folded = std::mem::take(&mut state.folded);
        state.is_dirty = false;
        drop(state);
        batch.consume(self.queue, head);
        self.trim_letters(batch);
        batch.put(FIGURES_TABLE, self.figures_key(0), kept.encode());
        for id in folded {
            batch.delete(FIGURES_TABLE, self.figures_key(id));
        }
    }
}
