//! The clocks of a simulated machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crosspoint_protocol::Now;
use tokio::time::Instant;

/// What the wall clock shows when a run begins, in milliseconds since 1970.
const WALL_START_MS: u64 = 1_800_000_000_000;

/// The clocks of one machine: the runtime's, and a wall clock that can jump.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    start: Instant,
    wall_start_ms: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), wall_start_ms: Arc::new(AtomicU64::new(WALL_START_MS)) }
    }

    pub(super) fn now(&self) -> Now {
        let monotonic_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { monotonic_ms, wall_ms: self.wall_start_ms.load(Relaxed).saturating_add(monotonic_ms) }
    }

    /// Moves the wall clock, forward or back.
    pub(super) fn jump(&self, by_ms: i64) {
        let wall_start_ms = self.wall_start_ms.load(Relaxed).saturating_add_signed(by_ms);
        self.wall_start_ms.store(wall_start_ms, Relaxed);
    }
}
