//! Tells a client what has become durable, in the order in which it asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crosspoint_client::SaveReceipt;
use crosspoint_store::{Committed, Ticket};
use tokio::sync::mpsc;
use tracing::warn;

use super::storage::Storage;

/// A save: what it waits for, unless that is only what came before.
type Save = (Option<Ticket<Committed>>, SaveReceipt);

/// The end of the session.
#[derive(Debug)]
pub(super) struct Receipts {
    saves: mpsc::UnboundedSender<Save>,
    /// How many have not been told.
    open: Arc<AtomicUsize>,
}

impl Receipts {
    /// Returns the end of the session, and the task that waits for commits: it ends when that end is dropped.
    pub(super) fn new(storage: Storage) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (saves, waiting) = mpsc::unbounded_channel();
        let open = Arc::<AtomicUsize>::default();
        let task = tell(storage, waiting, open.clone());
        (Self { saves, open }, task)
    }

    /// Tells whether everything that was handed in has been told.
    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Hands a save in, to be told when it and all before it are durable.
    pub(super) fn hand_in(&self, ticket: Option<Ticket<Committed>>, receipt: SaveReceipt) {
        self.open.fetch_add(1, Ordering::AcqRel);
        // When the task is gone the receipt is dropped, which says what is so.
        drop(self.saves.send((ticket, receipt)));
    }
}

async fn tell(storage: Storage, mut saves: mpsc::UnboundedReceiver<Save>, open: Arc<AtomicUsize>) {
    while let Some((ticket, receipt)) = saves.recv().await {
        let committed = match ticket {
            Some(ticket) => ticket.await.map(drop),
            None => Ok(()),
        };
        match committed {
            Ok(()) => receipt.durable(),
            Err(error) => {
                warn!(%error, "The session could not be saved: the connection ends.");
                storage.note(&error);
                drop(receipt);
            }
        }
        open.fetch_sub(1, Ordering::AcqRel);
    }
}
