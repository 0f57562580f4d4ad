//! What is said about an import.

/// Something of the file that is not in the project, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What became of it.
    pub kind: NoteKind,
    /// Where it stands: file and line, or the path of a key.
    pub at: String,
    /// What it is; never a secret.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
}

/// What became of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// It is not in the project.
    LeftOut,
    /// It is in the project, but not quite as it was.
    Changed,
    /// A secret stands in plain text.
    Plain,
}

impl NoteKind {
    /// Returns the words before the thing.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeftOut => "not carried over",
            Self::Changed => "carried over otherwise",
            Self::Plain => "in plain text",
        }
    }
}

impl Note {
    pub(super) fn new(
        kind: NoteKind,
        at: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { kind, at: at.into(), what: what.into(), why: why.into() }
    }
}
