//! The way from a cargo-fuzz target to the fuzz function of the same name.

use crosspoint_net::fuzz::TARGETS as OF_NET;
use crosspoint_protocol::fuzz::TARGETS as OF_PROTOCOL;
use crosspoint_store::fuzz::TARGETS as OF_STORE;

/// Runs one target on one input.
///
/// # Panics
/// When an invariant does not hold for the input, and when there is no such target.
pub fn run(target: &str, input: &[u8]) {
    let found = OF_PROTOCOL.iter().chain(OF_STORE).chain(OF_NET).find(|(name, _)| *name == target);
    let (_, function) = found.expect("a file in fuzz_targets is named after its target");
    function(input);
}
