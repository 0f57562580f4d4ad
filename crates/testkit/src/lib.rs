//! What the tests of other rooms share; a dev-dependency only.

pub mod mutate;
pub mod sim;

/// A function to fuzz, with the name of its corpus.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Returns every fuzz function of every room.
pub fn fuzz_targets() -> impl Iterator<Item = &'static FuzzTarget> {
    let (protocol, store) = (crosspoint_protocol::fuzz::TARGETS, crosspoint_store::fuzz::TARGETS);
    protocol.iter().chain(store).chain(crosspoint_net::fuzz::TARGETS)
}
