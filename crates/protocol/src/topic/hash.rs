//! The hash of topics, levels and subscribers.

use std::hash::{BuildHasher, RandomState};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// A fast hash with a secret key.
///
/// Peers choose topics and levels. With a hash that they could compute they would choose ones that collide and
/// make every probe walk all of them. The key is the operating system's randomness, new for each tree. No order
/// that a caller can see depends on it, so a simulation runs the same from the same seed.
pub(super) type KeyedHasher = SeedableRandomState;

/// Returns a hasher with a key of its own.
pub(super) fn keyed_hasher() -> KeyedHasher {
    SeedableRandomState::with_seed(RandomState::new().hash_one(0), SharedSeed::global_random())
}
