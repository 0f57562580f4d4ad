//! How long to wait before the next attempt.

use crate::Pace;

/// The shortest wait after a refusal that only a person can mend, in milliseconds.
const REFUSED_WAIT_MIN_MS: u64 = 60_000;

/// Decorrelated jitter between two bounds: each wait is drawn between the shortest and three times the last.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min_ms: u64,
    max_ms: u64,
    previous_ms: u64,
}

impl Backoff {
    pub(crate) const fn new(min_ms: u64, max_ms: u64) -> Self {
        Self { min_ms, max_ms, previous_ms: min_ms }
    }

    /// Starts with short waits again.
    pub(crate) const fn reset(&mut self) {
        self.previous_ms = self.min_ms;
    }

    /// Returns the next wait in milliseconds.
    pub(crate) fn next_ms(&mut self, pace: Pace, random: &mut fastrand::Rng) -> u64 {
        match pace {
            Pace::Normal => {
                let highest = self.previous_ms.saturating_mul(3).clamp(self.min_ms, self.max_ms);
                self.previous_ms = random.u64(self.min_ms..=highest);
                self.previous_ms
            }
            // Two that fight over an identifier must fall out of step, or they throw each other out for ever.
            Pace::Contended => random.u64(self.max_ms..=self.max_ms.saturating_mul(3)),
            Pace::Refused => self.max_ms.saturating_mul(10).max(REFUSED_WAIT_MIN_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_between_their_bounds_and_reach_both_halves() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::new(1_000, 30_000);
        let waits: Vec<u64> = (0..10_000).map(|_| backoff.next_ms(Pace::Normal, &mut random)).collect();
        assert!(waits.iter().all(|wait| (1_000..=30_000).contains(wait)));
        assert!(waits.iter().any(|wait| *wait > 20_000));
        assert!(waits.first().is_some_and(|wait| *wait <= 3_000));
        backoff.reset();
        assert!(backoff.next_ms(Pace::Normal, &mut random) <= 3_000);
    }

    #[test]
    fn equal_bounds_give_a_constant_wait() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::new(5_000, 5_000);
        assert!((0..100).all(|_| backoff.next_ms(Pace::Normal, &mut random) == 5_000));
    }

    #[test]
    fn a_refusal_waits_long() {
        let mut random = fastrand::Rng::with_seed(7);
        assert_eq!(Backoff::new(10, 1_000).next_ms(Pace::Refused, &mut random), 60_000);
        assert_eq!(Backoff::new(1_000, 30_000).next_ms(Pace::Refused, &mut random), 300_000);
        let contended = Backoff::new(1_000, 30_000).next_ms(Pace::Contended, &mut random);
        assert!((30_000..=90_000).contains(&contended));
    }
}
