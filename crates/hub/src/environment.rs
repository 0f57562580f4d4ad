//! Where a hub gets its clock, its randomness and its byte streams from (C14).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crosspoint_client::Dial;
use crosspoint_protocol::Now;
use crosspoint_store::Store;
use tokio::time::Instant;

use crate::connect_rate::ConnectRate;

/// What says what time it is.
pub(crate) type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The clock, the randomness and the transport of a hub; the machine's, unless something else is set.
#[derive(Clone, Default)]
pub struct Environment {
    clock: Option<Clock>,
    seed: Option<u64>,
    dial: Option<Dial>,
    store: Option<Store>,
    rate: Arc<ConnectRate>,
    /// How many clients there have been that live for one action.
    visits: Arc<AtomicU64>,
}

impl Environment {
    /// Returns the real world: this machine's clocks and the network.
    pub fn real() -> Self {
        Self::default()
    }

    /// Sets the clock. Its monotonic part must run like [`tokio::time`], and the embedded broker gets no threads of its
    /// own: it lives on the runtime that starts the hub. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the seed of what is random in connectors. Default: a random one.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how connectors reach their servers. Default: through the network.
    #[must_use]
    pub fn dial(mut self, dial: Dial) -> Self {
        self.dial = Some(dial);
        self
    }

    /// Sets the store, which its owner may drive by hand. The hub closes it when it stops. Default: the one in the data
    /// folder.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Returns the store, where it is not that of the data folder.
    pub(crate) const fn own_store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Returns what says what time it is.
    pub(crate) fn now(&self) -> Clock {
        match &self.clock {
            Some(clock) => clock.clone(),
            None => machine_clock(),
        }
    }

    /// Returns what the wall clock shows, where it is not the machine's.
    pub(crate) fn wall_clock_ms(&self) -> Option<u64> {
        self.clock.as_ref().map(|clock| clock().wall_ms)
    }

    /// Tells whether connectors reach their servers through the network, where other connections reach them too.
    pub(crate) const fn is_on_network(&self) -> bool {
        self.dial.is_none()
    }

    /// Returns the environment of a client that lives for one action. Each draws different lots.
    pub(crate) fn of_visit(&self) -> crosspoint_client::Environment {
        self.of_client(&format!("visit {}", self.visits.fetch_add(1, Ordering::Relaxed)))
    }

    /// Returns the environment of a connector's client. Connectors draw different lots from one seed.
    pub(crate) fn of_client(&self, connector: &str) -> crosspoint_client::Environment {
        let mut environment = crosspoint_client::Environment::real();
        if let Some(clock) = self.clock.clone() {
            environment = environment.clock(move || clock());
        }
        if let Some(seed) = self.seed {
            let mut hasher = std::hash::DefaultHasher::new();
            (seed, connector).hash(&mut hasher);
            environment = environment.seed(hasher.finish());
        }
        if let Some(dial) = self.dial.clone() {
            environment = environment.dial(dial);
        }
        let rate = self.rate.clone();
        environment.dial_in_turn(Arc::new(move || rate.turn()))
    }
}

/// This machine's clocks.
fn machine_clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || Now {
        monotonic_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        wall_ms: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
    })
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("seed", &self.seed).finish_non_exhaustive()
    }
}
