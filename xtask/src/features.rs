//! Feature sets: a feature may add, never alter, and no crate may lean on a neighbour's.

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use crate::{Outcome, process};

/// Checks each package that has features without any of them, and with all.
///
/// The other parts build the whole workspace at once, where cargo joins the features that anyone asks for.
pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Outcome {
    arguments.finish()?;
    check(workspace)
}

pub(crate) fn check(workspace: &Workspace) -> Outcome {
    for package in workspace.packages.iter().filter(|package| !package.features.is_empty()) {
        for set in ["--no-default-features", "--all-features"] {
            process::run(&mut process::cargo(["check", "--quiet", "--package", &package.name, set]))?;
        }
    }
    Ok(())
}
