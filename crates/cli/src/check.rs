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

/// The word that asks for every environment.
const ALL: &str = "all";

/// What `check` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The project file.
    #[arg(default_value = PROJECT_FILE)]
    file: PathBuf,
    /// The environment whose overlay is applied; `all` checks the project without one and with each.
    #[arg(long, value_name = "NAME", env = "CROSSPOINT_ENV")]
    env: Option<String>,
    #[command(flatten)]
    key: KeyFlags,
}

/// Runs `check`.
pub(crate) fn run(check: &Check) -> ExitCode {
    let key = check.key.source(&DataDir::beside(&check.file));
    if check.env.as_deref() == Some(ALL) {
        return run_all(&check.file, &key);
    }
    match load(&check.file, check.env.as_deref(), &key) {
        Some(plan) => {
            println!("{} is a valid project. Starting it would:", check.file.display());
            print!("{}", config::diff(&Plan::default(), &plan));
            ExitCode::SUCCESS
        }
        None => ExitCode::from(WRONG),
    }
}

/// Checks a project without an environment and with each that it has. What was said without one is not said again.
fn run_all(file: &Path, key: &KeySource) -> ExitCode {
    let environments = match config::environments(file) {
        Ok(environments) => environments,
        Err(diagnostics) => {
            print_all(&diagnostics);
            count_errors(file, "", &diagnostics);
            return ExitCode::from(WRONG);
        }
    };
    let base = check_one(file, None, key, &[]);
    let mut is_valid = base.is_valid;
    for name in &environments {
        is_valid &= check_one(file, Some(name), key, &base.said).is_valid;
    }
    if is_valid { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}

/// How the check of one environment went.
struct Checked {
    is_valid: bool,
    said: Vec<Diagnostic>,
}

fn check_one(file: &Path, environment: Option<&str>, key: &KeySource, said: &[Diagnostic]) -> Checked {
    let title =
        environment.map_or_else(|| "without an environment".to_owned(), |name| format!("environment {name}"));
    let (plan, diagnostics) = match config::load_with(file, environment, key) {
        Ok((plan, warnings)) => (Some(plan), warnings),
        Err(diagnostics) => (None, diagnostics),
    };
    let new: Vec<Diagnostic> = diagnostics.iter().filter(|one| !said.contains(one)).cloned().collect();
    if !new.is_empty() {
        eprintln!("{title}:\n");
    }
    print_all(&new);
    match &plan {
        Some(plan) => {
            println!("{title}: valid; starting it would:\n{}", config::diff(&Plan::default(), plan))
        }
        None => count_errors(file, &format!(", {title}"), &diagnostics),
    }
    Checked { is_valid: plan.is_some(), said: diagnostics }
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
            count_errors(file, "", &diagnostics);
            None
        }
    }
}

fn count_errors(file: &Path, which: &str, diagnostics: &[Diagnostic]) {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let noun = if errors == 1 { "error" } else { "errors" };
    eprintln!("{}{which}: {errors} {noun}; nothing has been changed", file.display());
}

/// Prints findings to standard error.
pub(crate) fn print_all(diagnostics: &[Diagnostic]) {
    let colour = if logging::is_coloured(&io::stderr()) { Colour::Always } else { Colour::Never };
    for diagnostic in diagnostics {
        eprintln!("{}\n", diagnostic.render(colour));
    }
}
