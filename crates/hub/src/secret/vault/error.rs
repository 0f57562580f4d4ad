//! Why a secret cannot be changed, and what to do about it.

use crate::config::edit::EditError;
use crate::config::settings::ENVIRONMENT;
use crate::secret::envelope::SealError;
use crate::secret::{KeyError, KeyOrigin, WrongKey};

/// Why a secret cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The file cannot be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key cannot be made.
    #[error("a key {0}")]
    Making(#[from] WrongKey),
    /// The value cannot be sealed.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// The path leads to nothing that is secret.
    #[error("`{path}` is not the path of a secret")]
    NotASecret {
        /// What was named.
        path: String,
    },
    /// The section that it belongs to is not there.
    #[error("the project has no `{section}`")]
    NoSection {
        /// What is missing.
        section: String,
    },
    /// There is no such environment.
    #[error("the project has no environment {name}")]
    NoEnvironment {
        /// What was named.
        name: String,
    },
    /// There is no plain text to seal.
    #[error("`{path}` is not written as plain text")]
    NotPlain {
        /// What was named.
        path: String,
    },
    /// Nothing was sealed for one path and stands at the other.
    #[error("nothing that was sealed for `{from}` stands at `{to}`")]
    NothingMoved {
        /// What it was sealed for.
        from: String,
        /// Where it should stand.
        to: String,
    },
    /// A sealed value does not open, so it cannot be sealed anew.
    #[error("{field} {cause}, so nothing was changed")]
    Closed {
        /// What it is.
        field: String,
        /// Why it does not open.
        cause: SealError,
    },
    /// The key file cannot be written.
    #[error("the sealing key cannot be written to {path}: {cause}")]
    KeyFile {
        /// The file.
        path: String,
        /// What the system says.
        cause: String,
    },
    /// The key does not come from a file that could be replaced.
    #[error("the key comes from {origin}, which cannot be replaced from here")]
    FixedKey {
        /// Where it comes from.
        origin: KeyOrigin,
    },
    /// The `id` of the project is no identity.
    #[error("the `id` of the project file is not one that crosspoint has made")]
    WrongId,
}

impl VaultError {
    /// Returns what to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Edit(error) => error.mend().to_owned(),
            Self::Key(error) => error.mend().to_owned(),
            Self::Making(_) => "see whether the machine has memory left".to_owned(),
            Self::Seal(_) => "name a shorter secret".to_owned(),
            Self::NotASecret { .. } => {
                "name one such as connector.NAME.password; crosspoint secret list shows those that are written".to_owned()
            }
            Self::NoSection { section } => format!("add a section [{section}] to the file first"),
            Self::NoEnvironment { name } => format!("add a section [{}.{name}] to the file first", ENVIRONMENT.key),
            Self::NotPlain { .. } => "enter it anew, without --keep".to_owned(),
            Self::NothingMoved { from, to } => {
                format!("rename `{from}` to `{to}` in the file first; crosspoint secret list shows what stands where")
            }
            Self::Closed { .. } => "enter that secret again, or give the key that sealed it".to_owned(),
            Self::KeyFile { .. } => "let this user write the file and its folder".to_owned(),
            Self::FixedKey { .. } => {
                "make the new key with crosspoint secret keygen, and name it: --new-key-file FILE".to_owned()
            }
            Self::WrongId => "restore the line `id = \"...\"` at the top of the file".to_owned(),
        }
    }
}
