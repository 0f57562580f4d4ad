//! Where a hub gets its clock, its randomness and its byte streams from (C14).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crosspoint_client::Dial;
use crosspoint_protocol::Now;

type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The clock, the randomness and the transport of a hub; the machine's, unless something else is set.
#[derive(Clone, Default)]
pub struct Environment {
    clock: Option<Clock>,
    seed: Option<u64>,
    dial: Option<Dial>,
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

    /// Returns what the wall clock shows, where it is not the machine's.
    pub(crate) fn wall_clock_ms(&self) -> Option<u64> {
        self.clock.as_ref().map(|clock| clock().wall_ms)
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
        match self.dial.clone() {
            Some(dial) => environment.dial(dial),
            None => environment,
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("seed", &self.seed).finish_non_exhaustive()
    }
}
