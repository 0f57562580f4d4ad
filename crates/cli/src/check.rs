//! `crosspoint check`: would this project run, and what would it do?

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crosspoint_hub::DataDir;
use crosspoint_hub::config::{self, Colour, Diagnostic, Plan, Severity};
use crosspoint_hub::secret::KeySource;

use crate::secret::KeyFlags;
use crate::{WRONG, logging};

/// The name of a project file.
pub(crate) const PROJECT_FILE: &str = "crosspoint.toml";

/// What `check` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The project file.
    #[arg(default_value = PROJECT_FILE)]
    file: PathBuf,
    /// The environment whose overlay is applied.
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV")]
    env: Option<String>,
    #[command(flatten)]
    key: KeyFlags,
}

/// Runs `check`.
pub(crate) fn run(check: &Check) -> ExitCode {
    match load(&check.file, check.env.as_deref(), &check.key.source(&DataDir::beside(&check.file))) {
        Some(plan) => {
            println!("{} is a valid project. Starting it would:", check.file.display());
            print!("{}", config::diff(&Plan::default(), &plan));
            ExitCode::SUCCESS
        }
        None => ExitCode::from(WRONG),
    }
}

/// Reads a project file, prints what is to be said about it to standard error, and returns the plan if it is valid.
pub(crate) fn load(file: &Path, env: Option<&str>, key: &KeySource) -> Option<Plan> {
    match config::load_with(file, env, key) {
        Ok((plan, warnings)) => {
            print_all(&warnings);
            Some(plan)
        }
        Err(diagnostics) => {
            print_all(&diagnostics);
            let errors =
                diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
            let noun = if errors == 1 { "error" } else { "errors" };
            eprintln!("{}: {errors} {noun}; nothing has been changed", file.display());
            None
        }
    }
}

fn print_all(diagnostics: &[Diagnostic]) {
    let colour = if logging::is_coloured(&io::stderr()) { Colour::Always } else { Colour::Never };
    for diagnostic in diagnostics {
        eprintln!("{}\n", diagnostic.render(colour));
    }
}
