//! cargo-deny over `deny.toml`: licences, bans, sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Arguments;
use crate::peers::crates;
use crate::workspace::Workspace;
use crate::{Outcome, process};

/// The version that `deny.toml` is written for.
///
/// Built without optimisation: it runs for a second, and building it well takes minutes.
const CARGO_DENY: crates::Program =
    crates::Program { package: "cargo-deny", version: "0.20.2", flags: &["--locked", "--debug"] };

/// Checks the dependencies, after building cargo-deny once.
pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Outcome {
    arguments.finish()?;
    check(workspace)
}

pub(crate) fn check(workspace: &Workspace) -> Outcome {
    let program = install(&workspace.peers())?;
    let mut command = Command::new(program);
    command.args(["--workspace", "--all-features", "check", "--hide-inclusion-graph"]);
    command.args(["licenses", "bans", "sources"]).current_dir(&workspace.root);
    process::run(&mut command)
}

/// Brings cargo-deny when it is not there and returns where it is.
pub(crate) fn install(peers: &Path) -> Outcome<PathBuf> {
    crates::install(peers, &CARGO_DENY)
}
