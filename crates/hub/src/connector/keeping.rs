//! Where the outbox of a connector is kept, and what it is made of.

use std::fmt;
use std::sync::Arc;

use crosspoint_store::{Options, Store};
use tracing::{error, info, warn};

use crate::config::plan::{Durability, OutboxPlan};
use crate::durable::outbox_queue;
use crate::intake::{Sink, Surroundings};
use crate::outbox::{self, Backlog, Outbox, OutboxOptions};

/// The outbox of a connector and its place.
#[derive(Clone)]
pub(crate) struct Keeping {
    sink: Sink,
    store: Store,
    options: OutboxOptions,
}

impl Keeping {
    /// Opens the outbox of a connector: in the hub's store, or in one that ends with the process.
    pub(crate) async fn open(
        name: &str,
        number: u64,
        durability: Durability,
        policy: Arc<OutboxPlan>,
        surroundings: &Surroundings,
    ) -> Result<(Self, Backlog), String> {
        let durability = effective(name, number, durability, surroundings.storage.store());
        let memory = match durability {
            Durability::Memory => {
                Some(Store::in_memory(Options::default()).map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        let store = memory.as_ref().unwrap_or(surroundings.storage.store()).clone();
        let clock = surroundings.clock.clone();
        let options = OutboxOptions { number, connector: name.into(), policy, clock };
        let (outbox, backlog) = outbox::open(store.clone(), options.clone()).await?;
        Ok((Self { sink: Sink { number, outbox, durability, memory }, store, options }, backlog))
    }

    pub(crate) fn sink(&self) -> Sink {
        self.sink.clone()
    }

    pub(crate) const fn outbox(&self) -> &Outbox {
        &self.sink.outbox
    }

    /// Takes other settings over; what waits stays.
    pub(crate) fn set(&mut self, durability: Durability, policy: Arc<OutboxPlan>) {
        let is_memory = |durability| durability == Durability::Memory;
        if is_memory(durability) == is_memory(self.sink.durability) {
            self.sink.durability = durability;
        } else {
            let connector = &*self.options.connector;
            warn!(connector, "Whether the outbox is on disk changes when the hub starts again.");
        }
        self.options.policy = policy.clone();
        self.sink.outbox.set_policy(policy);
    }

    /// Opens the outbox again after its pump has failed.
    pub(crate) async fn open_again(&mut self) -> Option<Backlog> {
        match outbox::open(self.store.clone(), self.options.clone()).await {
            Ok((outbox, backlog)) => {
                self.sink.outbox = outbox;
                Some(backlog)
            }
            Err(error) => {
                error!(connector = %self.options.connector, %error, "An outbox cannot be opened again.");
                None
            }
        }
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping").field("connector", &self.options.connector).finish_non_exhaustive()
    }
}

/// What waits on disk is sent from there, also when the outbox is to be in memory: it was promised.
fn effective(name: &str, number: u64, durability: Durability, store: &Store) -> Durability {
    let waiting = store.queue_status(outbox_queue(number)).map_or(0, |status| status.waiting);
    if durability == Durability::Memory && waiting > 0 {
        info!(connector = name, messages = waiting, "The outbox stays on disk until a start finds it empty.");
        return Durability::Synced;
    }
    durability
}
