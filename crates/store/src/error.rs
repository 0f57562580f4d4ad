//! What can go wrong, and who is at fault.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::disk::FileName;

/// Why the store refuses something.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the store open.
    #[error("the store is in use by process {owner}")]
    InUse {
        /// What that process wrote about itself: its identifier in decimal digits, or "unknown".
        owner: String,
    },
    /// The disk, or its reserve, has no space left. Nothing of the batch was kept; it may be offered again.
    #[error("the disk is full")]
    Full,
    /// A batch is larger than a frame may be. Nothing of it was kept.
    #[error("a batch of {bytes} bytes is more than the {bytes_max} that are allowed")]
    TooLarge {
        /// What the batch would take, in bytes.
        bytes: u64,
        /// What a batch may take, in bytes.
        bytes_max: u64,
    },
    /// What was synced has changed, or is missing.
    #[error("the store is damaged: {0}")]
    Corrupt(#[from] Damage),
    /// The disk failed. The store writes no more until it is opened again.
    #[error("{operation} {file} failed: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        file: FileName,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// An earlier operation failed, so that what memory says may differ from what the disk has. Open the
    /// store again.
    #[error("the store is out of order since an earlier failure: {0}")]
    Poisoned(Box<Error>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(operation: &'static str, file: FileName, source: io::Error) -> Self {
        if is_full(&source) { Self::Full } else { Self::failed(operation, file, source) }
    }

    /// Returns an error that is a failure also when the disk is full: after it, nobody knows what the disk
    /// has.
    pub(crate) fn failed(operation: &'static str, file: FileName, source: io::Error) -> Self {
        Self::Io { operation, file, source: Arc::new(source) }
    }

    pub(crate) fn poisoned(self) -> Self {
        match self {
            Self::Poisoned(_) => self,
            other => Self::Poisoned(Box::new(other)),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A place in the store that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} at offset {offset}: expected {expected}, found {found}")]
pub struct Damage {
    /// The damaged file.
    pub file: FileName,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Damage {
    pub(crate) fn new(
        file: FileName,
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self { file, offset, expected: expected.to_string(), found: found.to_string() }
    }
}
