//! The seeded simulations of the testkit.

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use crate::{Outcome, process};

/// What is simulated, and from which seeds; the simulation's own defaults hold for what is not given.
pub(crate) struct Simulation {
    /// `session` or `hub`; both when not given.
    pub(crate) model: Option<String>,
    pub(crate) seeds: Option<u64>,
    pub(crate) seed: Option<u64>,
    /// Whether brokers that cannot bear a message are drawn together with everything else.
    pub(crate) is_wild: bool,
    pub(crate) is_verbose: bool,
}

/// Runs the simulations for some seeds; a failure is printed as a seed to run again.
pub(crate) fn run(_: &Workspace, mut arguments: Arguments) -> Outcome {
    let model = arguments.option("--model")?;
    let (seeds, seed) = (arguments.option("--seeds")?, arguments.option("--seed")?);
    let (is_wild, is_verbose) = (arguments.has_flag("--wild"), arguments.has_flag("--verbose"));
    arguments.finish()?;
    simulate(&Simulation { model, seeds, seed, is_wild, is_verbose })
}

/// Runs one simulation or both.
pub(crate) fn simulate(simulation: &Simulation) -> Outcome {
    let mut command =
        process::cargo(["run", "--quiet", "--package", "crosspoint-testkit", "--bin", "sim", "--"]);
    if let Some(model) = &simulation.model {
        command.args(["--model", model]);
    }
    if let Some(seeds) = simulation.seeds {
        command.args(["--seeds", &seeds.to_string()]);
    }
    if let Some(seed) = simulation.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if simulation.is_wild {
        command.arg("--wild");
    }
    if simulation.is_verbose {
        command.arg("--verbose");
    }
    process::run(&mut command)
}
