//! Time as an argument: the core never reads a clock.

/// The present moment, as the driver of a core sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds on a clock that never jumps, from any origin. Deadlines are on this clock.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970-01-01 UTC. Expiries are on this clock.
    pub wall_ms: u64,
}

impl Now {
    /// Returns the moment `ms` milliseconds later on both clocks.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self { monotonic_ms: self.monotonic_ms.saturating_add(ms), wall_ms: self.wall_ms.saturating_add(ms) }
    }
}
