//! Subscriptions that are made at run time and outlive whoever asked for them, his process and the hub.
//!
//! ```text
//!   source ──► intake ──► one batch ──► store ──► acknowledged
//!                │ what matches goes into the outbox of the subscription, as it came
//!                ▼
//!             outbox, under its limits ──► who reads, one at a time ──► what he confirms has left
//! ```
//!
//! Each is like a flow whose sink is an outbox that nothing sends. What it is stands in the store and not in the project
//! file, so that it stays while the project changes; also while its connector is disabled or gone.
//!
//! Invariant: nothing leaves an outbox here but what was confirmed, or dropped by a limit or by command, and counted.

mod definition;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crosspoint_store::{Batch, Store};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use definition::{KeptLimits, KeptSubscription};

use crate::config::plan::Durability;
use crate::connector::Task;
use crate::durable;
use crate::environment::Clock;
use crate::hub::HubError;
use crate::intake::{KeptRoute, Sink, Surroundings};
use crate::outbox::{self, Backlog, Chair, Outbox, OutboxOptions};

/// How many there are at most.
const COUNT_MAX: usize = 256;

/// How many messages are dropped in one batch.
const DROPPED_AT_ONCE: usize = 256;

/// Every kept subscription of a hub that runs. Its locks are leaves.
pub(crate) struct KeptSubscriptions {
    surroundings: Surroundings,
    all: Mutex<BTreeMap<String, Arc<Kept>>>,
    spare: Mutex<Spare>,
    /// Whoever makes or removes one has this.
    turn: tokio::sync::Mutex<()>,
}

/// One of them, while the hub runs.
#[derive(Debug)]
pub(crate) struct Kept {
    definition: KeptSubscription,
    place: Arc<Place>,
}

/// Where what comes waits.
#[derive(Debug)]
struct Place {
    sink: Sink,
    chair: Chair,
    /// Until the hub stops.
    pump: Mutex<Option<Task<()>>>,
}

/// Outboxes of subscriptions that are none any more. The last batches for one may still be on their way: it stays open
/// and makes room, so that they hold nobody up, and is the next one's.
#[derive(Default)]
struct Spare {
    open: Vec<Arc<Place>>,
    /// Numbers of those that this process has not opened.
    numbers: Vec<u64>,
}

/// Why one is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// There is one of this name that is another.
    Different(Box<KeptSubscription>),
    /// There are as many as may be.
    TooMany(usize),
    /// The store says so.
    Store(String),
}

/// Why one is not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotRemoved {
    /// There is none of this name.
    NotThere,
    /// So many messages wait for it.
    Waiting(u64),
    /// Somebody reads it.
    Read,
    /// The store says so.
    Store(String),
}

/// What becomes of what waits for a kept subscription that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhatWaits {
    /// It stays, and so does the subscription.
    Stays,
    /// It is dropped.
    IsDropped,
}

impl KeptSubscriptions {
    /// Opens what the store keeps.
    ///
    /// # Errors
    /// The store cannot be read, or was written by a newer version.
    pub(crate) async fn open(surroundings: Surroundings) -> Result<Arc<Self>, HubError> {
        let store = surroundings.storage.store().clone();
        let mend = || "use the `crosspoint` that wrote it".to_owned();
        let failed = |cause: String| HubError::Store { cause, mend: mend() };
        let mut numbers = durable::kept_numbers(&store).map_err(failed)?;
        let mut all = BTreeMap::new();
        for (definition, number) in durable::definitions(&store).map_err(failed)? {
            numbers.retain(|known| *known != number);
            let place = Place::open(&definition, number, &surroundings).await.map_err(failed)?;
            all.insert(definition.name.clone(), Arc::new(Kept { definition, place }));
        }
        let spare = Mutex::new(Spare { open: Vec::new(), numbers });
        Ok(Arc::new(Self { surroundings, all: Mutex::new(all), spare, turn: tokio::sync::Mutex::default() }))
    }

    /// Returns those of a connector, as its intake knows them.
    pub(crate) fn routes(&self, connector: &str) -> Vec<KeptRoute> {
        let all = self.all.lock();
        all.values().filter(|kept| kept.definition.connector == connector).map(|kept| kept.route()).collect()
    }

    /// Returns all, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Kept>> {
        self.all.lock().values().cloned().collect()
    }

    /// Returns the one with this name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Kept>> {
        self.all.lock().get(name).cloned()
    }

    /// Makes one: it is on disk when this returns, and nothing leads to it yet. Returns whether it was not there before.
    ///
    /// # Errors
    /// There is another one of this name, there are too many, or the store refuses.
    pub(crate) async fn make(&self, definition: &KeptSubscription) -> Result<bool, NotMade> {
        let _turn = self.turn.lock().await;
        match self.named(&definition.name) {
            Some(known) if known.definition == *definition => return Ok(false),
            Some(known) => return Err(NotMade::Different(Box::new(known.definition.clone()))),
            None if self.all.lock().len() >= COUNT_MAX => return Err(NotMade::TooMany(COUNT_MAX)),
            None => {}
        }
        let place = self.place(definition).await.map_err(NotMade::Store)?;
        if let Err(error) = self.begin(definition, &place).await {
            self.spare.lock().open.push(place);
            return Err(NotMade::Store(error));
        }
        let kept = Kept { definition: definition.clone(), place };
        self.all.lock().insert(definition.name.clone(), Arc::new(kept));
        Ok(true)
    }

    /// Removes one; returns how many messages were dropped with it. `lead_away` is to see to it that nothing leads there any
    /// more.
    ///
    /// # Errors
    /// There is none, messages wait that are to stay, somebody reads it, or the store refuses: then it is still there.
    pub(crate) async fn remove(
        &self,
        name: &str,
        what_waits: WhatWaits,
        lead_away: impl FnOnce(&KeptSubscription),
    ) -> Result<u64, NotRemoved> {
        let _turn = self.turn.lock().await;
        let kept = self.named(name).ok_or(NotRemoved::NotThere)?;
        let taken = kept.place.chair.reserve().ok_or(NotRemoved::Read)?;
        let waiting = kept.place.sink.outbox.figures().waiting();
        if waiting > 0 && what_waits == WhatWaits::Stays {
            return Err(NotRemoved::Waiting(waiting));
        }
        let store = self.surroundings.storage.store();
        forget(store, name).await.map_err(NotRemoved::Store)?;
        self.all.lock().remove(name);
        lead_away(&kept.definition);
        let sink = &kept.place.sink;
        // From here on it holds nobody up.
        sink.outbox.set_policy(Arc::new(KeptLimits::default().policy()));
        let dropped = drop_all(&sink.outbox, store, sink.number).await;
        drop(taken);
        self.spare.lock().open.push(kept.place.clone());
        dropped.map_err(NotRemoved::Store)
    }

    /// Ends whatever gives messages to readers; no more are to come.
    pub(crate) async fn stop(&self) {
        let spare = std::mem::take(&mut self.spare.lock().open);
        for place in self.all().iter().map(|kept| kept.place.clone()).chain(spare) {
            let pump = place.pump.lock().take();
            if let Some(pump) = pump {
                pump.stop().await;
            }
        }
    }

    /// Counts what waits in each outbox; returns what is not as it must be.
    pub(crate) fn audit(&self) -> Vec<String> {
        let found = |kept: &Arc<Kept>| {
            let found = kept.place.sink.outbox.audit();
            let of = &kept.definition.name;
            found.into_iter().map(|what| format!("the kept subscription {of}: {what}")).collect::<Vec<_>>()
        };
        self.all().iter().flat_map(found).collect()
    }

    /// Returns an outbox that nobody has.
    async fn place(&self, definition: &KeptSubscription) -> Result<Arc<Place>, String> {
        let (open, number) = {
            let spare = &mut *self.spare.lock();
            match spare.open.pop() {
                Some(place) => (Some(place), None),
                None => (None, spare.numbers.pop()),
            }
        };
        if let Some(place) = open {
            place.sink.outbox.set_policy(Arc::new(definition.limits.policy()));
            return Ok(place);
        }
        let number = match number {
            Some(number) => number,
            None => self.new_number().await?,
        };
        Place::open(definition, number, &self.surroundings).await
    }

    async fn new_number(&self) -> Result<u64, String> {
        let storage = &self.surroundings.storage;
        let _turn = storage.numbering().await;
        durable::assign_kept(storage.store()).await
    }

    /// Makes it durable that an outbox is that of a subscription.
    async fn begin(&self, definition: &KeptSubscription, place: &Place) -> Result<(), String> {
        let (store, Sink { outbox, number, .. }) = (self.surroundings.storage.store(), &place.sink);
        // What an earlier one has left there was for somebody else.
        drop_all(outbox, store, *number).await?;
        let mut batch = Batch::new();
        durable::put_definition(&mut batch, definition, *number);
        batch.essential();
        store.commit(batch).await.map(drop).map_err(|error| error.to_string())
    }
}

impl Place {
    async fn open(
        definition: &KeptSubscription,
        number: u64,
        surroundings: &Surroundings,
    ) -> Result<Arc<Self>, String> {
        let store = surroundings.storage.store();
        let (outbox, backlog) = open_outbox(definition, number, store, surroundings.clock.clone()).await?;
        let (chair, seats) = Chair::new();
        let (stop, stopped) = oneshot::channel();
        let pump = Task::new(stop, tokio::spawn(backlog.serve(seats, stopped)));
        let sink = Sink { number, outbox, durability: Durability::Synced, memory: None };
        Ok(Arc::new(Self { sink, chair, pump: Mutex::new(Some(pump)) }))
    }
}

impl Kept {
    pub(crate) const fn definition(&self) -> &KeptSubscription {
        &self.definition
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.place.sink.outbox
    }

    pub(crate) fn chair(&self) -> &Chair {
        &self.place.chair
    }

    fn route(&self) -> KeptRoute {
        let KeptSubscription { name, filters, qos, .. } = &self.definition;
        let flow = format!("the kept subscription {name}").into();
        KeptRoute { flow, filters: filters.clone(), qos: *qos, sink: self.place.sink.clone() }
    }
}

/// Opens the outbox of a kept subscription.
///
/// # Errors
/// The store cannot be read, or was written by a newer version.
pub(crate) async fn open_outbox(
    definition: &KeptSubscription,
    number: u64,
    store: &Store,
    clock: Clock,
) -> Result<(Outbox, Backlog), String> {
    // The name of a subscription is in what stands for the flow.
    let (connector, policy) = (format!("$kept/{number}").into(), Arc::new(definition.limits.policy()));
    outbox::open(store.clone(), OutboxOptions { number, connector, policy, clock }).await
}

/// Forgets what a kept subscription is.
///
/// # Errors
/// The store refuses.
pub(crate) async fn forget(store: &Store, name: &str) -> Result<(), String> {
    let mut batch = Batch::new();
    durable::forget_definition(&mut batch, name);
    batch.essential();
    store.commit(batch).await.map(drop).map_err(|error| error.to_string())
}

/// Drops everything that waits in an outbox now; returns how many messages that were.
///
/// # Errors
/// What the store says.
pub(crate) async fn drop_all(outbox: &Outbox, store: &Store, number: u64) -> Result<u64, String> {
    let until = store.queue_status(durable::outbox_queue(number)).map_or(0, |status| status.next);
    let (mut from, mut dropped) = (0, 0);
    while from < until {
        let waiting = outbox.waiting(from, DROPPED_AT_ONCE).await.map_err(|error| error.to_string())?;
        let positions: Vec<u64> =
            waiting.iter().map(|(position, _)| *position).filter(|position| *position < until).collect();
        let Some(last) = positions.last() else { break };
        from = last + 1;
        dropped += outbox.drop_waiting(&positions).await.map_err(|error| error.to_string())?;
    }
    Ok(dropped)
}

impl fmt::Debug for KeptSubscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptSubscriptions").field("count", &self.all.lock().len()).finish_non_exhaustive()
    }
}
