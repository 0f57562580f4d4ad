//! One task a source connector: runs its flows and commits what they made.
//!
//! ```text
//!   source ──► gathering: flows, outboxes ──► one batch ──► store ──► acknowledgements, in order
//!     ▲            up to 256 messages        several on their way           ├──► who listens
//!     └────────────── again, when the disk was full ◄───────────────────────┘
//! ```
//!
//! Invariants: a message is accepted when the batch is durable that holds everything that it has become, and the change
//! of its source's session (C3); batches are handed in and accepted in the order in which the messages came.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::LocalClient;
use crosspoint_client::{Deliveries, QoS, TopicFilter};
use crosspoint_store::Store;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use crate::config::plan::Durability;
use crate::durable::{Session, Storage};
use crate::environment::Clock;
use crate::flow::Flows;
use crate::listeners::{Listeners, Wanted};
use crate::outbox::Outbox;

mod arrived;
mod commits;
mod gathering;

use commits::Commits;
use gathering::Gathering;

/// How many batches of one source may be on their way to the disk.
const COMMITS_MAX: usize = 8;

/// How long nothing is tried after the disk was full.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// How long a stop waits for the disk; what is not durable by then comes again.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// What an intake works with; replaced as a whole when the project changes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) flows: Arc<Flows>,
    pub(crate) sinks: BTreeMap<Arc<str>, Sink>,
    pub(crate) kept: Vec<KeptRoute>,
}

/// A kept subscription: what matches one of its filters goes into its outbox as it came.
#[derive(Debug, Clone)]
pub(crate) struct KeptRoute {
    /// What stands for the flow of its messages.
    pub(crate) flow: Arc<str>,
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) qos: QoS,
    pub(crate) sink: Sink,
}

impl Routes {
    /// Returns everything that has to be subscribed at the source, each filter once.
    ///
    /// A kept subscription gets nothing of our own where a flow that may be part of a cycle wants the same topics: it would
    /// bring that flow what it must not hear.
    pub(crate) fn subscriptions(&self) -> Vec<Wanted> {
        let of_flows = self.flows.subscriptions();
        let leaves_own_out = |filter: &TopicFilter| {
            let mut guarded = of_flows.iter().filter(|(.., no_local)| *no_local);
            !filter.is_shared() && guarded.any(|(flow, ..)| flow.overlaps(filter))
        };
        let mut wanted = of_flows.clone();
        for (filter, qos) in self.kept.iter().flat_map(KeptRoute::filters) {
            match wanted.iter_mut().find(|(known, ..)| known == filter) {
                Some((_, known, _)) => *known = (*known).max(qos),
                None => wanted.push((filter.clone(), qos, leaves_own_out(filter))),
            }
        }
        wanted
    }
}

impl KeptRoute {
    fn filters(&self) -> impl Iterator<Item = (&TopicFilter, QoS)> {
        self.filters.iter().map(|filter| (filter, self.qos))
    }

    fn matches(&self, topic: &str) -> bool {
        self.filters.iter().any(|filter| filter.matches(topic))
    }
}

/// Where a flow writes to.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    /// The connector's number.
    pub(crate) number: u64,
    pub(crate) outbox: Outbox,
    pub(crate) durability: Durability,
    /// The store of an outbox that is in memory: it has no part in the batch.
    pub(crate) memory: Option<Store>,
}

/// Where messages come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A remote broker, and the session there if it is durable.
    Remote(Deliveries, Option<Session>),
    /// The embedded broker.
    Local(Arc<LocalClient>),
}

/// What every intake of a hub has in common.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) storage: Storage,
    pub(crate) clock: Clock,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// Runs until the source has ended, the store is out of order, or it is told to stop.
pub(crate) async fn run(
    source: Source,
    routes: watch::Receiver<Arc<Routes>>,
    listeners: Arc<Listeners>,
    surroundings: Surroundings,
    mut stop: oneshot::Receiver<()>,
) {
    let session = source.session();
    let mut gathering = Gathering::new(source, routes, surroundings.clock);
    let mut commits = Commits::new(surroundings.storage, session, listeners);
    let mut full_until: Option<Instant> = None;
    loop {
        let may_gather = full_until.is_none() && !commits.is_refused() && commits.len() < COMMITS_MAX;
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some((gathered, outcome)) = commits.next(), if !commits.is_empty() => {
                if !commits.settle(gathered, outcome).await {
                    return;
                }
            }
            () = sleep_until(full_until.unwrap_or_else(Instant::now)), if full_until.is_some() => full_until = None,
            is_open = gathering.gather(), if may_gather => match gathering.take() {
                Some(gathered) => commits.hand_in(gathered),
                None if is_open => {}
                None => break,
            },
        }
        if commits.is_refused() && commits.is_empty() {
            gathering.begin_again(commits.take_refused());
            full_until = Some(Instant::now() + FULL_WAIT);
        }
    }
    finish(gathering, commits).await;
}

/// Waits for what is on its way to the disk. What was not handed in goes back to its source.
async fn finish(gathering: Gathering, mut commits: Commits) {
    drop(gathering);
    let waiting = async {
        while let Some((gathered, outcome)) = commits.next().await {
            if !commits.settle(gathered, outcome).await {
                return;
            }
        }
    };
    if timeout(STOP_WITHIN, waiting).await.is_err() {
        warn!("The disk is slow: messages that are not on it by now come again.");
    }
}

#[cfg(test)]
mod tests;
