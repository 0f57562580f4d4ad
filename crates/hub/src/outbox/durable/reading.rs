//! Whoever reads an outbox that nothing sends: one at a time. What he has confirmed has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::entry::Item;

/// How many messages one who reads may have and not have confirmed.
pub(super) const UNCONFIRMED_MAX: usize = 256;

/// How many bytes of them, unless one alone is larger.
pub(super) const UNCONFIRMED_BYTES_MAX: u64 = 16 << 20;

/// How many confirmations may wait to be looked at.
const CONFIRMS_MAX: usize = 64;

/// Where one who wants to read takes his seat. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Chair {
    seats: mpsc::Sender<Seat>,
    is_taken: Arc<AtomicBool>,
}

/// The pump's side of it.
#[derive(Debug)]
pub(crate) struct Seats(pub(super) mpsc::Receiver<Seat>);

/// One who reads, as the pump sees him.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) items: mpsc::Sender<(u64, Item)>,
    pub(super) confirms: mpsc::Receiver<Confirm>,
}

/// Everything up to a position is where it was to go.
#[derive(Debug)]
pub(super) struct Confirm {
    pub(super) up_to: u64,
    pub(super) is_known: Option<oneshot::Sender<()>>,
}

/// Somebody who reads an outbox, until this is dropped. What he has and has not confirmed comes again to the next.
#[derive(Debug)]
pub(crate) struct Reading {
    items: mpsc::Receiver<(u64, Item)>,
    confirms: mpsc::Sender<Confirm>,
    _taken: Taken,
}

/// Nobody else reads, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Taken(Arc<AtomicBool>);

impl Chair {
    /// Makes a chair, and the side of it for the pump.
    pub(crate) fn new() -> (Self, Seats) {
        let (seats, taken) = mpsc::channel(1);
        (Self { seats, is_taken: Arc::default() }, Seats(taken))
    }

    /// Tells whether somebody reads.
    pub(crate) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Acquire)
    }

    /// Keeps others from reading; `None` while somebody reads.
    pub(crate) fn reserve(&self) -> Option<Taken> {
        let is_taken = self.is_taken.swap(true, Ordering::AcqRel);
        (!is_taken).then(|| Taken(self.is_taken.clone()))
    }

    /// Begins to read; `None` while somebody else does, or when nothing can be read any more.
    pub(crate) async fn sit(&self) -> Option<Reading> {
        let taken = self.reserve()?;
        let (items, given) = mpsc::channel(UNCONFIRMED_MAX);
        let (confirms, confirmed) = mpsc::channel(CONFIRMS_MAX);
        self.seats.send(Seat { items, confirms: confirmed }).await.ok()?;
        Some(Reading { items: given, confirms, _taken: taken })
    }
}

impl Reading {
    /// Waits for the next message and its position; `None` when no more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub(crate) async fn next(&mut self) -> Option<(u64, Item)> {
        self.items.recv().await
    }

    /// Says that everything up to a position is where it was to go, and waits until that is known: it will not come
    /// again, unless the process dies within the next second.
    pub(crate) async fn confirm(&self, up_to: u64) {
        let (is_known, known) = oneshot::channel();
        if self.confirms.send(Confirm { up_to, is_known: Some(is_known) }).await.is_ok() {
            // A pump that has ended knows nothing any more: then it comes again.
            known.await.unwrap_or_default();
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
