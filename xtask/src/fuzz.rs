//! The fuzz functions under the testkit's seeded mutator, on the stable toolchain.

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use crate::{Outcome, process};

/// Fuzzes every target, or one; an input that panics is kept under `fuzz/artifacts` and printed.
pub(crate) fn run(workspace: &Workspace, mut arguments: Arguments) -> Outcome {
    let seconds = arguments.option("--seconds")?;
    let seed = arguments.option("--seed")?;
    let target = arguments.option("--target")?;
    arguments.finish()?;
    fuzz(workspace, seconds, seed, target)
}

/// Runs the mutator for some seconds in all; its own defaults hold for what is not given.
pub(crate) fn fuzz(
    workspace: &Workspace,
    seconds: Option<u64>,
    seed: Option<u64>,
    target: Option<String>,
) -> Outcome {
    let mut command = process::cargo(["run", "--quiet", "--package", "crosspoint-testkit", "--bin", "fuzz"]);
    command.arg("--").current_dir(&workspace.root);
    if let Some(seconds) = seconds {
        command.arg("--seconds").arg(seconds.to_string());
    }
    if let Some(seed) = seed {
        command.arg("--seed").arg(seed.to_string());
    }
    if let Some(target) = target {
        command.arg("--target").arg(target);
    }
    process::run(&mut command)
}
