//! `crosspoint completions` and `crosspoint man`: what a package puts beside the program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Arguments;
use crate::failure::{Failure, Verbosity, Voice};
use crate::table;

/// The name under which a shell knows the program.
const NAME: &str = "crosspoint";

/// What `completions` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell whose words are printed.
    shell: Shell,
}

/// What `man` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Writes the page of every command into this folder, which is made if it is not there, instead of printing the
    /// first one.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Runs `completions`.
pub(crate) fn run_completions(asked: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut Arguments::command(), NAME, &mut script);
    exit(table::write(&String::from_utf8_lossy(&script)))
}

/// Runs `man`.
pub(crate) fn run_man(asked: &Man) -> ExitCode {
    exit(match &asked.to {
        Some(folder) => write_pages(folder),
        None => page().and_then(|page| table::write(&page)),
    })
}

fn page() -> Result<String, Failure> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Arguments::command()).render(&mut page);
    rendered.map_err(|error| {
        Failure::new(format!("the page cannot be made: {error}"), "see the system's message")
    })?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_pages(folder: &std::path::Path) -> Result<(), Failure> {
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Arguments::command(), folder));
    written.map_err(|error| {
        Failure::new(format!("{}: {error}", folder.display()), "name a folder that can be written to")
    })
}

fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}
