//! The simulation of a whole hub plays what its seed says, and keeps what it once got wrong.

use crosspoint_testkit::sim::{self, FAILED_ONCE, Scope};

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..12 {
        let (first, again) = (sim::run(seed, Scope::Whole, false), sim::run(seed, Scope::Whole, false));
        assert_eq!(first, again, "seed {seed}");
        assert!(first.tally.came > 0, "seed {seed}");
    }
}

#[test]
fn seeds_that_failed_once_do_not_any_more() {
    for (seed, scope) in FAILED_ONCE {
        let violation = sim::run(*seed, *scope, false).violation;
        assert!(violation.is_none(), "seed {seed}:\n{}", violation.unwrap());
    }
}
