//! Cuts a loop that runs: a message that comes back again and again stops its flow.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// How often the same message may come within [`WINDOW_MS`] before it counts as going round.
const REPEATS_MAX: u32 = 100;

/// How long a message is remembered, in milliseconds.
const WINDOW_MS: u64 = 1_000;

/// How many different messages are remembered at once.
const REMEMBERED_MAX: usize = 4_096;

/// Watches a flow that may be part of a cycle.
///
/// A loop repeats: the same payload comes to the same topic, as fast as the brokers pass it on. That is what is
/// counted; a device that says the same thing once a second is far from it. Once tripped, the flow stays stopped
/// until its configuration changes or the hub starts again.
#[derive(Debug, Default)]
pub(crate) struct LoopGuard {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    began_ms: u64,
    seen: HashMap<u64, u32>,
    is_tripped: bool,
}

impl LoopGuard {
    /// Tells whether a message may pass.
    pub(crate) fn lets_pass(&self, topic: &str, payload: &[u8], now_ms: u64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_tripped {
            return false;
        }
        if now_ms.saturating_sub(state.began_ms) >= WINDOW_MS || state.seen.len() >= REMEMBERED_MAX {
            state.seen.clear();
            state.began_ms = now_ms;
        }
        let count = state.seen.entry(self.hasher.hash_one((topic, payload))).or_default();
        *count += 1;
        let is_loop = *count > REPEATS_MAX;
        state.is_tripped = is_loop;
        !is_loop
    }

    /// Says why a message did not pass.
    pub(crate) const fn reason(&self) -> &'static str {
        "the flow is stopped: the same message came back more than 100 times within a second, so it goes round in a \
         loop; change the topics of the flow so that what it publishes is not what it, or a flow after it, reads"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_goes_round_stops_the_flow_for_good() {
        let guard = LoopGuard::default();
        let passed = (0..1_000).filter(|_| guard.lets_pass("a", b"same", 5)).count();
        assert_eq!(passed, REPEATS_MAX as usize);
        assert!(!guard.lets_pass("b", b"other", 10_000_000));
    }

    #[test]
    fn different_messages_and_slow_repetition_pass() {
        let guard = LoopGuard::default();
        assert!((0..100_000_u32).all(|n| guard.lets_pass("a", &n.to_be_bytes(), 5)));
        let guard = LoopGuard::default();
        assert!((0..1_000).all(|n| guard.lets_pass("a", b"same", n * 100)));
    }
}
