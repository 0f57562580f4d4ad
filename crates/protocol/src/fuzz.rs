//! What is fuzzed: functions that take any bytes and panic where an invariant does not hold.
//!
//! `cargo xtask test` runs them with a seeded mutator, cargo-fuzz where a nightly is at hand, and the tests replay
//! the corpus. The first bytes of an input choose the conditions, the rest is what a peer sends.

mod codec;
pub mod ends;
pub mod pair;
pub mod session;

/// A function to fuzz, and the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("decode", codec::decode),
    ("encode", codec::encode),
    ("topic", crate::topic::fuzz::topic),
    ("filter", crate::topic::fuzz::filter),
    ("session", session::session),
    ("scram", crate::scram::fuzz::scram),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::TARGETS;

    #[test]
    fn every_input_of_the_corpus_keeps_the_invariants() {
        for (name, target) in TARGETS {
            let folder =
                Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../fuzz/corpus").join(name);
            let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut count = 0;
            for file in files {
                target(&fs::read(file.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 0, "{} holds no input", folder.display());
        }
    }
}
