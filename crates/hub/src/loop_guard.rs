//! Cuts a loop that runs: a message that comes back again and again stops its flow.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// How often the same message may come within [`WINDOW_MS`] before it counts as going round.
const REPEATS_MAX: u32 = 100;

/// How long a message is remembered, in milliseconds.
const WINDOW_MS: u64 = 10_000;

/// How many counters there are: different messages share one by chance, so there are many more than
/// [`REPEATS_MAX`] messages fill within a window.
const COUNTERS: usize = 16_384;

/// Watches a flow that may be part of a cycle.
///
/// A loop repeats: the same payload comes to the same topic, as fast as the brokers pass it on. That is what is
/// counted; a device that says the same thing once a second is far from it. Once tripped, the flow stays stopped
/// until the project changes or the hub starts again.
#[derive(Debug, Default)]
pub(crate) struct LoopGuard {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    began_ms: u64,
    /// How often a message with this hash came; made when the first comes.
    counters: Box<[u32]>,
    is_tripped: bool,
}

/// What a guard says to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may pass.
    Pass,
    /// It went round too often: from now on nothing passes.
    Trip,
    /// The flow has been stopped.
    Stopped,
}

impl LoopGuard {
    /// Tells whether a message may pass.
    pub(crate) fn judge(&self, topic: &str, payload: &[u8], now_ms: u64) -> Verdict {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_tripped {
            return Verdict::Stopped;
        }
        if state.counters.is_empty() || now_ms.saturating_sub(state.began_ms) >= WINDOW_MS {
            state.counters = vec![0; COUNTERS].into();
            state.began_ms = now_ms;
        }
        let place =
            usize::try_from(self.hasher.hash_one((topic, payload)) % COUNTERS as u64).unwrap_or_default();
        let Some(count) = state.counters.get_mut(place) else { return Verdict::Pass };
        *count += 1;
        if *count <= REPEATS_MAX {
            return Verdict::Pass;
        }
        state.is_tripped = true;
        Verdict::Trip
    }

    /// Tells whether it has tripped.
    pub(crate) fn is_tripped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_tripped
    }

    /// Says why a message did not pass.
    pub(crate) const fn reason() -> &'static str {
        "the flow is stopped: the same message came back more than 100 times within 10 seconds, so it goes round in a \
         loop; change the topics of the flow so that what it publishes is not what it, or a flow after it, reads"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_goes_round_stops_the_flow_for_good() {
        let guard = LoopGuard::default();
        let verdicts: Vec<Verdict> = (0..1_000).map(|_| guard.judge("a", b"same", 5)).collect();
        let (passed, stopped) = verdicts.split_at(REPEATS_MAX as usize);
        assert!(passed.iter().all(|verdict| *verdict == Verdict::Pass));
        assert_eq!(stopped.first(), Some(&Verdict::Trip));
        assert!(stopped.iter().skip(1).all(|verdict| *verdict == Verdict::Stopped));
        assert_eq!(guard.judge("b", b"other", 10_000_000), Verdict::Stopped);
    }

    #[test]
    fn different_messages_and_slow_repetition_pass() {
        let guard = LoopGuard::default();
        assert!((0..100_000_u32).all(|n| guard.judge("a", &n.to_be_bytes(), 5) == Verdict::Pass));
        let guard = LoopGuard::default();
        assert!((0..1_000).all(|n| guard.judge("a", b"same", n * 100) == Verdict::Pass));
    }

    #[test]
    fn a_loop_of_many_messages_is_noticed_too() {
        let guard = LoopGuard::default();
        let rounds = (0..200).flat_map(|_| 0..5_000_u32);
        assert!(
            rounds.map(|n| guard.judge("a", &n.to_be_bytes(), 5)).any(|verdict| verdict == Verdict::Trip)
        );
    }
}
