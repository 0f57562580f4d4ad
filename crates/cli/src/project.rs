//! Which project a command works on, and with which key its secrets are opened.

use std::path::{Path, PathBuf};

use clap::Args;
use crosspoint_hub::DataDir;
use crosspoint_hub::config::{self, Diagnostic, Plan};
use crosspoint_hub::secret::KeySource;

use crate::check::{PROJECT_FILE, print_all};
use crate::failure::Failure;
use crate::secret::KeyFlags;

/// Which project file, and which key.
#[derive(Debug, Args)]
pub(crate) struct ProjectFlags {
    /// The project file
    #[arg(long, value_name = "FILE", default_value = PROJECT_FILE)]
    project: PathBuf,
    /// The hub's own folder (default: crosspoint-data beside the project file)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    key: KeyFlags,
}

impl ProjectFlags {
    /// Returns the project file.
    pub(crate) fn file(&self) -> &Path {
        &self.project
    }

    /// Returns where the key is.
    pub(crate) fn key(&self) -> KeySource {
        let data = self.data.clone().unwrap_or_else(|| DataDir::beside(&self.project));
        self.key.source(&data)
    }

    /// Reads the project, with the overlay of an environment.
    ///
    /// # Errors
    /// It is not valid; what is wrong has been printed.
    pub(crate) fn plan(&self, environment: Option<&str>) -> Result<Plan, Failure> {
        self.checked(config::load_with(&self.project, environment, &self.key()))
    }

    /// Returns what the project would be with another text.
    ///
    /// # Errors
    /// It would not be valid; what is wrong has been printed.
    pub(crate) fn plan_of(&self, text: &str) -> Result<Plan, Failure> {
        let name = self.project.display().to_string();
        self.checked(config::parse_with(text, &name, None, &self.key()))
    }

    fn checked(&self, read: Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>>) -> Result<Plan, Failure> {
        read.map(|(plan, _)| plan).map_err(|findings| {
            print_all(&findings);
            let cause = format!("{} would not run, so nothing was done", self.project.display());
            Failure::usage(cause, "correct what is said above, or name another file with --project")
        })
    }
}
