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
    /// A process has the store open and cannot be asked.
    #[error("the store in {} is in use by process {owner}, which takes no commands", path.display())]
    Deaf {
        /// Where the store is.
        path: PathBuf,
        /// The process.
        owner: String,
    },
    /// No hub runs on this folder, and only one that runs can be asked this.
    #[error("no hub runs on {}", path.display())]
    NotRunning {
        /// The data directory.
        path: PathBuf,
    },
    /// The hub has refused what was asked.
    #[error("{cause}")]
    Refused {
        /// Why.
        cause: String,
        /// What to do about it.
        mend: String,
    },
    /// The hub ended before it had answered.
    #[error("the hub ended before it had answered")]
    Gone,
    /// Whoever asked wants no more of the answer.
    #[error("the answer is not wanted any more")]
    Stopped,
    /// There is no such connector or message.
    #[error("{cause}")]
    NotThere {
        /// What is not there.
        cause: String,
        /// What to do about it.
        mend: String,
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
            Self::Deaf { owner, .. } if cfg!(unix) => {
                format!("wait until it has started or stopped, or stop it with `kill -TERM {owner}`")
            }
            Self::Deaf { .. } => "on this system, stop the hub first".to_owned(),
            Self::NotRunning { .. } if cfg!(unix) => {
                "start it with `crosspoint up`, or name its folder with --data or its project with --project".to_owned()
            }
            Self::NotRunning { .. } => "on this system a hub cannot be asked while it runs; see its log".to_owned(),
            Self::Refused { mend, .. } | Self::NotThere { mend, .. } => mend.clone(),
            Self::Gone => "look with `crosspoint outbox list` how far it came, and try again".to_owned(),
            Self::Stopped => "ask again".to_owned(),
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
