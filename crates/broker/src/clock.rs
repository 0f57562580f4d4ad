use std::time::{SystemTime, UNIX_EPOCH};

use crosspoint_protocol::Now;
use tokio::time::Instant;

/// The broker's clocks: the runtime's for deadlines, so that a test can pause it, and the wall for expiries.
///
/// The wall is read once and carried on by the monotonic clock: a turn costs one clock read, and a jump of the
/// wall clock expires nothing.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    wall_origin_ms: u64,
}

impl Clock {
    /// Starts with the machine's wall clock, or with this one.
    pub(crate) fn start(wall_ms: Option<u64>) -> Self {
        let machine_ms = || millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Self { origin: Instant::now(), wall_origin_ms: wall_ms.unwrap_or_else(machine_ms) }
    }

    pub(crate) fn now(&self) -> Now {
        let monotonic_ms = millis(self.origin.elapsed());
        Now { monotonic_ms, wall_ms: self.wall_origin_ms.saturating_add(monotonic_ms) }
    }

    pub(crate) fn instant(&self, monotonic_ms: u64) -> Instant {
        self.origin + std::time::Duration::from_millis(monotonic_ms)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
