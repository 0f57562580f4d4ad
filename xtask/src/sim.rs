//! The seeded simulation of the testkit.

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use crate::{Outcome, process};

/// Runs the simulation for some seeds; a failure is printed as a seed to run again.
pub(crate) fn run(_: &Workspace, mut arguments: Arguments) -> Outcome {
    let seeds = arguments.option("--seeds")?;
    let seed = arguments.option("--seed")?;
    arguments.finish()?;
    simulate(seeds, seed)
}

/// Runs `seeds` simulations, starting at `seed`; the simulation's own defaults hold for what is not given.
pub(crate) fn simulate(seeds: Option<u64>, seed: Option<u64>) -> Outcome {
    let mut command =
        process::cargo(["run", "--quiet", "--package", "crosspoint-testkit", "--bin", "sim", "--"]);
    if let Some(seeds) = seeds {
        command.arg("--seeds").arg(seeds.to_string());
    }
    if let Some(seed) = seed {
        command.arg("--seed").arg(seed.to_string());
    }
    process::run(&mut command)
}
