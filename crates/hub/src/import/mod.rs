//! Imports: from the configuration of another system to a project file of ours.
//!
//! ```text
//!  file of the system ─► one reader a system ─► Draft (sections of the project) ─► commented TOML
//!                                          └──► Note: each thing that is not carried over, or not as it was
//! ```
//!
//! Invariants: what the file says is either in the project or named in a [`Note`]; nothing is imported that would let
//! more in than the system did; no secret is ever part of a note. What is not here: running what comes out, and
//! writing it anywhere.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

mod connection;
mod draft;
mod forms;
mod home_assistant;
mod mosquitto;
mod names;
mod node_red;
mod note;
mod object;
mod oibus;
mod yaml;

pub use note::{Note, NoteKind};

use crate::config::Secret;
use crate::secret::{self, KeyError, KeyRing, KeySource, ProjectId, SealError, Seat};
use draft::Draft;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A system whose configuration can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Home Assistant: `configuration.yaml` with `mqtt:`, or `.storage/core.config_entries`.
    HomeAssistant,
    /// Eclipse Mosquitto: `mosquitto.conf` and the files that it names.
    Mosquitto,
    /// Node-RED: `flows.json`, with the credentials beside it.
    NodeRed,
    /// OIBus: the JSON of its configuration, or of one connector.
    Oibus,
    /// AVstudio: MQTT connectors by the fields of its form, as JSON.
    AvStudio,
    /// Mendix: connections of its MQTT connector by the fields of its page, as JSON.
    Mendix,
    /// Boomi: MQTT connections by the fields of its page, as JSON.
    Boomi,
}

/// What an import makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The text of the project file.
    pub text: String,
    /// What is not in it, or not as it was, in the order of the file that was read.
    pub notes: Vec<Note>,
}

/// Why nothing could be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The file is not what was expected.
    #[error("{path} is not {expected}: {reason}")]
    Unexpected {
        /// The file.
        path: String,
        /// What it should be.
        expected: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file has nothing about MQTT.
    #[error("{path} has no {expected}")]
    Nothing {
        /// The file.
        path: String,
        /// What was looked for.
        expected: &'static str,
    },
}

/// A key to seal passwords with, and the project that they are sealed for.
#[derive(Debug)]
pub struct Sealing {
    project: ProjectId,
    keys: KeyRing,
}

impl Sealing {
    /// Takes the key of a source, for a project that is new.
    ///
    /// # Errors
    /// There is no key, what is there is none, or the system gives no randomness.
    pub fn with(source: &KeySource) -> Result<Self, KeyError> {
        let wrong = |cause| KeyError::Wrong { origin: source.origin().clone(), cause };
        let project = ProjectId::generate().map_err(wrong)?;
        Ok(Self { project, keys: source.keys(Some(project))? })
    }

    fn seal(&self, path: &str, plain: &str) -> Result<String, SealError> {
        let seat = Seat { project: self.project, path: path.to_owned() };
        secret::seal(&Secret::new(plain), &seat, &self.keys)
    }
}

/// Reads the configuration of another system and makes a project file of it.
///
/// Passwords are sealed; without a key they stand in the project as plain text, each with a [`Note`]. Files that the
/// configuration names are read too. Nothing is written.
///
/// # Errors
/// The file cannot be read, is not of the format, or has nothing about MQTT.
pub fn import(format: Format, path: &Path, sealing: Option<&Sealing>) -> Result<Imported, ImportError> {
    let mut import = Import { path, draft: Draft::default(), notes: Vec::new(), sealing };
    match format {
        Format::HomeAssistant => home_assistant::read(&mut import)?,
        Format::Mosquitto => mosquitto::read(&mut import)?,
        Format::NodeRed => node_red::read(&mut import)?,
        Format::Oibus => oibus::read(&mut import)?,
        Format::AvStudio => forms::read(&mut import, &forms::AVSTUDIO)?,
        Format::Mendix => forms::read(&mut import, &forms::MENDIX)?,
        Format::Boomi => forms::read(&mut import, &forms::BOOMI)?,
    }
    Ok(Imported { text: import.draft.render(), notes: import.notes })
}

/// One import while it runs.
struct Import<'a> {
    path: &'a Path,
    draft: Draft,
    notes: Vec<Note>,
    sealing: Option<&'a Sealing>,
}

impl Import<'_> {
    /// Returns the name of the file for notes and comments.
    fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Returns where a file is that the configuration names, as an absolute path.
    fn beside(&self, name: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let joined = folder.join(name);
        std::path::absolute(&joined).unwrap_or(joined)
    }

    /// Returns what a file is called in the project: its absolute path.
    fn file(&self, name: &str) -> String {
        self.beside(name).display().to_string()
    }

    fn left_out(&mut self, at: impl Into<String>, what: impl Into<String>, why: impl Into<String>) {
        self.notes.push(Note::new(NoteKind::LeftOut, at, what, why));
    }

    fn changed(&mut self, at: impl Into<String>, what: impl Into<String>, why: impl Into<String>) {
        self.notes.push(Note::new(NoteKind::Changed, at, what, why));
    }

    /// Returns how a password stands in the project: sealed when a key is at hand, else as plain text with a note.
    /// `None` for a text that would mean something else there.
    fn seal_or_warn(&mut self, at: &str, key_path: &str, plain: &str) -> Option<String> {
        if let Some(sealing) = self.sealing {
            match sealing.seal(key_path, plain) {
                Ok(sealed) => {
                    self.draft.id = Some(sealing.project.to_string());
                    return Some(sealed);
                }
                Err(error) => {
                    self.left_out(at, key_path, format!("it {error}"));
                    return None;
                }
            }
        }
        let has_meaning = ["env:", "file:", "sealed:", "$argon2", "$7$", "$6$", "$5$", "$2", "$pbkdf2"]
            .iter()
            .any(|start| plain.starts_with(start));
        if has_meaning {
            let why =
                format!("it begins like something else; seal it with: crosspoint secret set {key_path}");
            self.left_out(at, "a password", why);
            return None;
        }
        let why = format!("seal it once it is in the project file: crosspoint secret set --keep {key_path}");
        self.notes.push(Note::new(NoteKind::Plain, at, key_path, why));
        Some(plain.to_owned())
    }
}

/// Reads a file of text.
fn read_text(path: &Path) -> Result<String, ImportError> {
    let unreadable = |reason: String| ImportError::Unreadable { path: path.display().to_string(), reason };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable("it is larger than 16 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))
}
