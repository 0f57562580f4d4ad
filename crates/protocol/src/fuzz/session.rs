//! A client and a server over a link that breaks, with disks that forget what was not written, against what the
//! specification promises.
//!
//! Each step of an input publishes, moves bytes, writes to a disk, decides a message, breaks the link, crashes a side
//! or loses a session. A crash leaves nothing but what was written: the session is rebuilt from deltas alone. At the
//! end everything is mended, and then must hold: QoS 1 came at least once, QoS 2 exactly once (at least once where a
//! session was lost), first deliveries kept their order, neither side broke the protocol, and nothing is left behind.

mod disk;
mod ledger;
mod side;
mod world;

pub use ledger::Report;

use world::World;

/// The most steps of one input.
const STEPS_MAX: usize = 4_000;

/// How many steps a seed stands for.
const SEED_STEPS: usize = 500;

/// Plays an input and reports what came of it.
///
/// The first four bytes choose version, limits and how disks behave; every two of the rest are a step.
pub fn run(input: &[u8]) -> Report {
    let Some((conditions, steps)) = input.split_first_chunk::<4>() else { return Report::default() };
    let mut world = World::new(*conditions);
    for step in steps.chunks_exact(2).take(STEPS_MAX) {
        let [action, amount] = *step else { continue };
        world.step(action, amount);
        if !world.is_sound() {
            break;
        }
    }
    world.finish()
}

/// Makes the input that a seed stands for, by a generator of its own: a seed stays what it is.
pub fn input(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(4 + 2 * SEED_STEPS).collect()
}

/// The promises hold after every input.
pub(super) fn session(input: &[u8]) {
    let report = run(input);
    assert!(report.is_clean(), "{report}");
}

#[cfg(test)]
mod tests;
