//! Why a store cannot be looked at or changed from outside.

use std::io;
use std::path::{Path, PathBuf};

use crosspoint_store::{Damage, Error};

/// Why something that was asked of a hub, or of its store, is not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No hub has ever kept anything here.
    #[error("there is no store in {}", path.display())]
    NoStore {
        /// Where it would be.
        path: PathBuf,
    },
    /// A process has the store open.
    #[error("the store in {} is in use by process {owner}", path.display())]
    InUse {
        /// Where the store is.
        path: PathBuf,
        /// The process.
        owner: String,
    },
    /// What was synced has changed.
    #[error("the store in {} is damaged: {damage}", path.display())]
    Damaged {
        /// Where the store is.
        path: PathBuf,
        /// The first damage.
        damage: Damage,
    },
    /// There is something already where a new store is to be made.
    #[error("{} is there already and is not empty", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// The disk has no space left.
    #[error("the disk of {} is full", path.display())]
    Full {
        /// Where the store is.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("the store in {} cannot be used: {cause}", path.display())]
    Disk {
        /// Where the store is.
        path: PathBuf,
        /// What the store says about it.
        cause: String,
    },
}

impl ControlError {
    /// Returns what to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::NoStore { .. } => "name the hub's folder with --data, or its project with --project".to_owned(),
            Self::InUse { owner, .. } => {
                format!("stop that hub first, for example with `kill -TERM {owner}`, and try again")
            }
            Self::Damaged { .. } => {
                "list all damage with `crosspoint store verify`, and save what is whole with `crosspoint store salvage TO`"
                    .to_owned()
            }
            Self::Occupied { .. } => "name a folder that is empty or not there yet".to_owned(),
            Self::Full { .. } => "free some space on that disk".to_owned(),
            Self::Disk { .. } => "see whether the disk is well and this user may read and write there".to_owned(),
        }
    }

    pub(super) fn of_store(path: &Path, error: Error) -> Self {
        let path = path.to_owned();
        match error {
            Error::InUse { owner } => Self::InUse { path, owner },
            Error::Corrupt(damage) => Self::Damaged { path, damage },
            Error::Full => Self::Full { path },
            other => Self::Disk { path, cause: other.to_string() },
        }
    }

    pub(super) fn of_system(path: &Path, error: &io::Error) -> Self {
        Self::Disk { path: path.to_owned(), cause: error.to_string() }
    }
}
