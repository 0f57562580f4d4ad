//! Batches on their way to the disk, and what they promise when they are there.

use std::collections::VecDeque;
use std::sync::Arc;

use crosspoint_client::ReasonCode;
use crosspoint_store::{Committed, Error, Ticket};
use tracing::error;

use super::arrived::Arrived;
use super::gathering::Gathered;
use crate::durable::{Offered, Session, Storage};
use crate::listeners::Listeners;

/// Every batch of one source that has been handed in and not answered, oldest first.
pub(super) struct Commits {
    storage: Storage,
    session: Option<Session>,
    listeners: Arc<Listeners>,
    waiting: VecDeque<(Ticket<Committed>, Gathered)>,
    /// What could not be kept because the disk is full, in order.
    refused: Vec<Arrived>,
}

impl Commits {
    pub(super) const fn new(storage: Storage, session: Option<Session>, listeners: Arc<Listeners>) -> Self {
        Self { storage, session, listeners, waiting: VecDeque::new(), refused: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Tells whether something came back: nothing else may be handed in before it.
    pub(super) const fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(super) fn take_refused(&mut self) -> Vec<Arrived> {
        std::mem::take(&mut self.refused)
    }

    pub(super) fn hand_in(&mut self, mut gathered: Gathered) {
        let mut batch = std::mem::take(&mut gathered.batch);
        if let Some((queue, position)) = gathered.arrived.iter().rev().find_map(Arrived::kept_at) {
            batch.consume(queue, position + 1);
        }
        let offered: Vec<Offered> = gathered.arrived.iter().filter_map(Arrived::offered).collect();
        let ticket = match &self.session {
            Some(session) => session.commit(batch, &offered),
            None => self.storage.store().commit(batch),
        };
        self.waiting.push_back((ticket, gathered));
    }

    /// Waits for the oldest batch; `None` if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<(Gathered, Result<Committed, Error>)> {
        let outcome = (&mut self.waiting.front_mut()?.0).await;
        self.waiting.pop_front().map(|(_, gathered)| (gathered, outcome))
    }

    /// Keeps the promises of a batch, or takes its messages back. Returns `false` when the store is out of order.
    pub(super) async fn settle(&mut self, gathered: Gathered, outcome: Result<Committed, Error>) -> bool {
        match outcome {
            Ok(committed) => {
                let arrived = gathered.keep(&committed).await;
                self.listeners.hand(arrived.iter().map(Arrived::came));
                arrived.into_iter().for_each(Arrived::accept);
                true
            }
            Err(Error::Full) => {
                self.refused.extend(gathered.dissolve());
                true
            }
            Err(error @ Error::TooLarge { .. }) => {
                self.reject(gathered.dissolve(), &error);
                true
            }
            Err(error) => {
                self.storage.note(&error);
                gathered.dissolve();
                false
            }
        }
    }

    /// A message that is too large stands alone in its batch.
    fn reject(&self, arrived: Vec<Arrived>, error: &Error) {
        for arrived in arrived {
            let topic = arrived.message.topic();
            error!(topic, %error, "A message is too large to be kept, with all that flows made of it: it is refused.");
            if let Some((queue, position)) = arrived.kept_at() {
                self.storage.store().consume(queue, position + 1);
            }
            arrived.reject(ReasonCode::PacketTooLarge);
        }
    }
}
