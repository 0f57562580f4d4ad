//! The crash test: the built program, killed at random moments, under a judge that shares no code with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Arguments;
use crate::workspace::{self, Workspace};
use crate::{Outcome, process};

/// Which program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What users run.
    Release,
    /// What the tests of the gate have built anyway.
    Dev,
}

/// What is asked of the test; its own defaults hold for what is not given.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub(crate) rounds: Option<u64>,
    pub(crate) seed: Option<u64>,
    pub(crate) scenario: Option<String>,
}

/// Runs rounds; `--dev` kills the program of the dev profile in place of that of the release profile, `--help` lists the
/// scenarios.
pub(crate) fn run(workspace: &Workspace, mut arguments: Arguments) -> Outcome {
    let profile = if arguments.has_flag("--dev") { Profile::Dev } else { Profile::Release };
    if arguments.has_flag("--help") {
        println!("builds crosspoint in the release profile, or with --dev in the dev profile, and runs:\n");
        build(Profile::Dev, &["crosspoint-crash"])?;
        return process::run(Command::new(built(workspace, Profile::Dev, "crosspoint-crash")).arg("--help"));
    }
    let wish = Wish {
        rounds: arguments.option("--rounds")?,
        seed: arguments.option("--seed")?,
        scenario: arguments.option("--scenario")?,
    };
    arguments.finish()?;
    let mosquitto = workspace.peers().join("bin/mosquitto");
    let mosquitto = mosquitto.is_file().then_some(mosquitto);
    if mosquitto.is_none() && workspace::is_ci() {
        return Err("in CI nothing may be left out, and mosquitto is: `cargo xtask peers` brings it".into());
    }
    crash(workspace, profile, mosquitto.as_deref(), &wish)
}

/// Builds the program and its judge, and runs rounds; those that need a mosquitto are left out without.
///
/// # Errors
/// When a promise was broken, which the judge has told, or something cannot be built or started.
pub(crate) fn crash(
    workspace: &Workspace,
    profile: Profile,
    mosquitto: Option<&Path>,
    wish: &Wish,
) -> Outcome {
    build(profile, &["crosspoint", "crosspoint-crash"])?;
    let mut command = Command::new(built(workspace, profile, "crosspoint-crash"));
    command.arg("--crosspoint").arg(built(workspace, profile, "crosspoint"));
    command.arg("--folder").arg(workspace.target.join("crash"));
    if let Some(mosquitto) = mosquitto {
        command.arg("--mosquitto").arg(mosquitto);
    }
    if let Some(rounds) = wish.rounds {
        command.arg("--rounds").arg(rounds.to_string());
    }
    if let Some(seed) = wish.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    if let Some(scenario) = &wish.scenario {
        command.arg("--scenario").arg(scenario);
    }
    process::run(&mut command)
}

fn build(profile: Profile, packages: &[&str]) -> Outcome {
    let mut command = process::cargo(["build", "--quiet"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    for package in packages {
        command.arg("--package").arg(package);
    }
    process::run(&mut command)
}

fn built(workspace: &Workspace, profile: Profile, program: &str) -> PathBuf {
    let folder = match profile {
        Profile::Release => "release",
        Profile::Dev => "debug",
    };
    workspace.target.join(folder).join(program).with_extension(std::env::consts::EXE_EXTENSION)
}
