//! What waits for one connector until its broker has confirmed it, on disk.
//!
//! ```text
//!  Outbox::admit ─► add (into the batch of its source) ─► commit ─► settled ─► Front ─► pump ─► client
//!                                                                     │ beyond its limits    │ outcome
//!                                                                     ▼                      ▼
//!                                                              store, read back     head, figures: keeper
//! ```
//!
//! Invariants (C9): accepted = confirmed + sent + waiting + dead + dropped, at all times and over restarts. A message
//! is accepted when its batch is durable, and has left when the head has passed it or a durable mark says so: what ends
//! in between and is forgotten by a crash waits again.
//!
//! What it does *not* do: it commits nothing of a source, and it knows no flow but by name.

use std::sync::Arc;

use crosspoint_broker::LocalClient;
use crosspoint_client::{Client, PublishResult};
use crosspoint_store::{Batch, Committed};
use tokio::sync::oneshot;

use crate::config::plan::OutboxPlan;
use crate::environment::Clock;

mod admission;
mod archive;
mod audit;
mod dead_letter;
mod entry;
mod figures;
mod gone;
mod keeper;
mod lanes;
mod latest;
mod letters;
mod opening;
mod pump;
mod queue;
mod reading;
mod room;
mod shared;
mod state;
mod suspicion;
mod waiting;

pub(crate) use admission::Admission;
pub(crate) use dead_letter::DeadLetter;
pub(crate) use entry::{Item, decode_entry};
pub use figures::OutboxFigures;
pub(crate) use gone::Gone;
pub(crate) use opening::open;
pub(crate) use queue::IN_FLIGHT_MAX;
use reading::Seats;
pub(crate) use reading::{Chair, Reading};

use figures::Aside;
use shared::Shared;

/// What the outbox of a connector is made of.
#[derive(Clone)]
pub(crate) struct OutboxOptions {
    /// The number of the connector.
    pub(crate) number: u64,
    /// Its name.
    pub(crate) connector: Arc<str>,
    /// Limits and what becomes of what is beyond them.
    pub(crate) policy: Arc<OutboxPlan>,
    /// The clock, whose monotonic part runs like that of `tokio::time`.
    pub(crate) clock: Clock,
}

/// Where a pump sends to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Remote(Client),
    Local(Arc<LocalClient>),
}

/// A position of which an earlier process has stored how far its exchange came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) position: u64,
    /// Whether the exchange has ended; if not, the client goes on with it by itself.
    pub(crate) is_done: bool,
}

/// The writing end. Cheap to clone; it outlives the connections of its connector.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

/// The reading end, while nobody pumps.
#[derive(Debug)]
pub(crate) struct Backlog {
    shared: Arc<Shared>,
}

/// What one batch adds to one outbox. It has to be given to [`Outbox::settled`] when the batch is through.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// Each with the place of its position among those that the commit tells.
    items: Vec<(usize, Item)>,
    /// What goes past the queue: nothing is promised about it.
    direct: Vec<Item>,
    aside: Aside,
    /// The row that tells `aside`.
    aside_id: Option<u64>,
}

impl Outbox {
    /// Waits until there is room for a message, or decides by the policy at once; QoS 0 never waits.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nothing has changed. What it returns holds the room until it is added or dropped.
    pub(crate) async fn admit(&self, item: &Item) -> Admission {
        admission::admit(&self.shared, item).await
    }

    /// Puts a message, or that it is dropped, into the batch that acknowledges it to its source.
    ///
    /// The batch must be committed as it is, without another before it in the same commit: its positions are counted
    /// from its beginning.
    pub(crate) fn add(&self, batch: &mut Batch, added: &mut Added, item: Item, admission: Admission) {
        if !admission.take() {
            self.shared.put_aside(batch, added, |aside| aside.full += 1);
        } else if self.shared.goes_direct(&item, added) {
            added.direct.push(item);
        } else {
            self.shared.add(batch, added, item);
        }
    }

    /// Puts a message that can never be delivered into the dead letters, in the same batch.
    pub(crate) fn bury(&self, batch: &mut Batch, added: &mut Added, item: &Item, reason: &str) {
        let letter = DeadLetter::unsent(item, reason, self.shared.now().wall_ms);
        self.shared.put_letter(batch, &letter, added.aside.dead);
        self.shared.put_aside(batch, added, |aside| aside.dead += 1);
    }

    /// Says that the batch is durable, with what its ticket answered, or that nothing of it was kept.
    pub(crate) fn settled(&self, added: Added, committed: Option<&Committed>) {
        self.shared.settled(added, committed);
    }

    /// Returns what it has counted.
    pub(crate) fn figures(&self) -> OutboxFigures {
        self.shared.figures()
    }

    /// Returns the flow whose message waits for room.
    pub(crate) fn blocked_by(&self) -> Option<Arc<str>> {
        self.shared.blocked()
    }

    /// Returns the durable head: everything before it has left.
    pub(crate) fn head(&self) -> u64 {
        self.shared.durable_head()
    }

    /// Replaces limits and policies; what waits stays.
    pub(crate) fn set_policy(&self, policy: Arc<OutboxPlan>) {
        self.shared.set_policy(policy);
    }

    /// Says how a publication ended that the client had restored by itself.
    pub(crate) fn restored_ended(&self, position: u64, outcome: PublishResult) {
        self.shared.restored_ended(position, outcome);
    }
}

impl Backlog {
    /// Sends until it is told to stop, and gives back what is left.
    ///
    /// `restored` are the positions of which the session's store knows, in ascending order. For a remote target, stopping
    /// ends when the client has told every outcome: close it at the same time.
    pub(crate) async fn pump(
        self,
        target: Target,
        restored: Vec<Restored>,
        stop: oneshot::Receiver<()>,
    ) -> Self {
        match target {
            Target::Local(client) => pump::local::run(&self.shared, &client, stop).await,
            Target::Remote(client) => pump::remote::run(&self.shared, &client, restored, stop).await,
        }
        self
    }

    /// Gives what waits to whoever takes a seat, until it is told to stop.
    pub(crate) async fn serve(self, mut seats: Seats, stop: oneshot::Receiver<()>) {
        pump::reader::run(&self.shared, &mut seats, stop).await;
    }
}

#[cfg(test)]
mod tests;
