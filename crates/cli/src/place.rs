//! Where the hub that a command is about keeps what it must not forget.

use std::path::{Path, PathBuf};

use clap::Args;
use crosspoint_hub::DataDir;

use crate::check::PROJECT_FILE;

/// What was typed about the hub.
#[derive(Debug, Args)]
pub(crate) struct PlaceFlags {
    /// The hub's own folder (default: crosspoint-data beside the project file)
    #[arg(long, value_name = "DIR", conflicts_with = "project", help_heading = "Hub")]
    data: Option<PathBuf>,
    /// The project file of the hub
    #[arg(long, value_name = "FILE", default_value = PROJECT_FILE, help_heading = "Hub")]
    project: PathBuf,
}

/// A hub, by its own folder.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    data: PathBuf,
    /// The flag that names it again, for a command to try next.
    again: String,
}

impl PlaceFlags {
    /// Returns the hub that is meant.
    pub(crate) fn place(&self) -> Place {
        Place::of(self.data.as_deref(), &self.project)
    }
}

impl Place {
    /// Returns the hub with this folder, or that of a project.
    pub(crate) fn of(data: Option<&Path>, project: &Path) -> Self {
        let again = match data {
            Some(data) => format!(" --data {}", data.display()),
            None if project.as_os_str() != PROJECT_FILE => format!(" --project {}", project.display()),
            None => String::new(),
        };
        Self { data: data.map_or_else(|| DataDir::beside(project), Path::to_owned), again }
    }

    /// Returns the hub's own folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the flag that names the same hub again, behind a blank; empty where none is needed.
    pub(crate) fn again(&self) -> &str {
        &self.again
    }
}
