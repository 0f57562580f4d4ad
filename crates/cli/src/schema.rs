//! `crosspoint schema`: what a project file may hold, for editors and for readers.

use std::process::ExitCode;

use crosspoint_hub::config;

use crate::failure::{Verbosity, Voice};
use crate::table;

/// What `schema` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// Prints the reference of the guide instead: the same as Markdown.
    #[arg(long)]
    markdown: bool,
}

/// Runs `schema`.
pub(crate) fn run(asked: &Schema) -> ExitCode {
    let text = if asked.markdown { config::reference() } else { config::schema() };
    match table::write(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}
