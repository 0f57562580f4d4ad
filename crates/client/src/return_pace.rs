//! When it is looked whether the first server of a list is there again.

/// What the pause between two looks grows to, in milliseconds. A server that has been away for long is found again
/// within twice this, and one that opens streams but lets nobody in costs the connection no more often.
const PAUSE_MAX_MS: u64 = 300_000;

/// The shortest pause, in milliseconds, however short the waits between attempts are: a return costs a connection that
/// works. Whoever takes connections that end quickly for trouble must not see any in returns.
const PAUSE_MIN_MS: u64 = 10_000;

/// Pauses that begin with the longest wait between attempts, at least ten seconds, and double while the first server does not take us.
///
/// Each is drawn between itself and twice as much, so that clients who lost a server together do not all come back to
/// it together.
#[derive(Debug, Clone)]
pub(crate) struct ReturnPace {
    shortest_ms: u64,
    pause_ms: u64,
    due_ms: Option<u64>,
}

impl ReturnPace {
    pub(crate) const fn new(reconnect_max_ms: u64) -> Self {
        let shortest_ms = if reconnect_max_ms < PAUSE_MIN_MS { PAUSE_MIN_MS } else { reconnect_max_ms };
        Self { shortest_ms, pause_ms: shortest_ms, due_ms: None }
    }

    /// Returns when it is looked next, if it is.
    pub(crate) const fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Plans the next look.
    pub(crate) fn plan(&mut self, now_ms: u64, random: &mut fastrand::Rng) {
        let pause_ms = random.u64(self.pause_ms..=self.pause_ms.saturating_mul(2));
        self.due_ms = Some(now_ms.saturating_add(pause_ms));
    }

    /// Plans no look: there is nowhere to return to.
    pub(crate) const fn rest(&mut self) {
        self.due_ms = None;
    }

    /// Doubles the pause: the first server is not there, or has yet to show that it takes us.
    pub(crate) fn slow_down(&mut self) {
        self.pause_ms = self.pause_ms.saturating_mul(2).min(PAUSE_MAX_MS.max(self.shortest_ms));
    }

    /// Notes how long a connection to the first server lived. One that outlived the pause earns short ones again.
    pub(crate) const fn on_life_at_first(&mut self, lived_ms: u64) {
        if lived_ms >= self.pause_ms {
            self.pause_ms = self.shortest_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(pace: &mut ReturnPace, random: &mut fastrand::Rng) -> u64 {
        pace.plan(1_000, random);
        pace.due_ms().unwrap() - 1_000
    }

    #[test]
    fn pauses_double_to_some_minutes_and_are_drawn() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut pace = ReturnPace::new(30_000);
        let drawn: Vec<u64> = (0..1_000).map(|_| pause(&mut pace, &mut random)).collect();
        assert!(drawn.iter().all(|pause| (30_000..=60_000).contains(pause)));
        assert!(drawn.iter().any(|pause| *pause < 35_000) && drawn.iter().any(|pause| *pause > 55_000));
        pace.slow_down();
        assert!((60_000..=120_000).contains(&pause(&mut pace, &mut random)));
        (0..100).for_each(|_| pace.slow_down());
        assert!((300_000..=600_000).contains(&pause(&mut pace, &mut random)));
    }

    #[test]
    fn only_a_life_longer_than_the_pause_makes_it_short_again() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut pace = ReturnPace::new(30_000);
        pace.slow_down();
        pace.on_life_at_first(59_999);
        assert!(pause(&mut pace, &mut random) >= 60_000);
        pace.on_life_at_first(60_000);
        assert!(pause(&mut pace, &mut random) <= 60_000);
    }

    #[test]
    fn a_working_connection_is_not_interrupted_sooner_than_after_ten_seconds() {
        let mut random = fastrand::Rng::with_seed(7);
        assert!(pause(&mut ReturnPace::new(10), &mut random) >= 10_000);
    }

    #[test]
    fn waits_that_are_longer_than_the_longest_pause_are_kept() {
        let mut pace = ReturnPace::new(3_600_000);
        pace.slow_down();
        assert!(pause(&mut pace, &mut fastrand::Rng::with_seed(7)) >= 3_600_000);
    }
}
