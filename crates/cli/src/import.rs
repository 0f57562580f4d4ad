//! `crosspoint import`: a project file made of the configuration of another system.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use crosspoint_hub::config::{self, Severity};
use crosspoint_hub::import::{self, Format, ImportError, Imported, Note, Sealing};
use crosspoint_hub::secret::{KeyError, KeySource};
use serde_json::json;

use crate::failure::{Exit, Failure, Verbosity, Voice};

/// What `import` is asked for.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The project file goes to the standard output, what is not carried over to the standard error.\n\
                  crosspoint import mosquitto /etc/mosquitto/mosquitto.conf > crosspoint.toml"
)]
pub(crate) struct ImportFlags {
    /// The system that the file is of
    #[arg(value_enum)]
    format: System,
    /// Its configuration; files that it names are read too
    file: PathBuf,
    /// Writes the project file here, which must not exist yet
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints one JSON object with the project file and the notes instead
    #[arg(long)]
    json: bool,
}

/// A system, as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum System {
    /// configuration.yaml with `mqtt:`, or .storage/core.config_entries
    HomeAssistant,
    /// mosquitto.conf with password file, ACL file and bridges
    Mosquitto,
    /// flows.json, with flows_cred.json beside it
    NodeRed,
    /// the JSON export of a configuration or of one connector
    Oibus,
    /// MQTT connectors as JSON, by the fields of the form
    Avstudio,
    /// connections as JSON, by the fields of the page
    Mendix,
    /// connections as JSON, by the fields of the page
    Boomi,
}

impl From<System> for Format {
    fn from(system: System) -> Self {
        match system {
            System::HomeAssistant => Self::HomeAssistant,
            System::Mosquitto => Self::Mosquitto,
            System::NodeRed => Self::NodeRed,
            System::Oibus => Self::Oibus,
            System::Avstudio => Self::AvStudio,
            System::Mendix => Self::Mendix,
            System::Boomi => Self::Boomi,
        }
    }
}

/// Runs `import`.
pub(crate) fn run(flags: &ImportFlags) -> ExitCode {
    let voice = Voice::new(Verbosity::Normal);
    match imported(flags, voice) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            voice.fail(&failure);
            failure.exit.into()
        }
    }
}

fn imported(flags: &ImportFlags, voice: Voice) -> Result<(), Failure> {
    let project = flags.output.clone().unwrap_or_else(|| PathBuf::from(crate::check::PROJECT_FILE));
    let sealing = match Sealing::with(&KeySource::beside(&project)) {
        Ok(sealing) => Some(sealing),
        Err(KeyError::Missing { .. }) => None,
        Err(error) => return Err(Failure::usage(&error, error.mend())),
    };
    let imported = import::import(flags.format.into(), &flags.file, sealing.as_ref()).map_err(failure)?;
    if flags.json {
        let report = json!({ "project": imported.text, "notes": notes(&imported.notes) });
        write(flags.output.as_deref(), format!("{report}\n").as_bytes())?;
    } else {
        write(flags.output.as_deref(), imported.text.as_bytes())?;
        for note in &imported.notes {
            voice.warn(format_args!("{}: {}: {}: {}", note.at, note.kind.as_str(), note.what, note.why));
        }
    }
    judge(&project, &imported, voice);
    Ok(())
}

fn notes(notes: &[Note]) -> Vec<serde_json::Value> {
    let note = |note: &Note| json!({ "kind": note.kind.as_str(), "at": note.at, "what": note.what, "why": note.why });
    notes.iter().map(note).collect()
}

/// Checks what came out as `check` does, and says what is to be mended before it runs.
fn judge(project: &Path, imported: &Imported, voice: Voice) {
    let Err(findings) = config::parse(&imported.text, &project.display().to_string(), None) else { return };
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
        voice.warn(format_args!("the project needs a change before it runs: {finding}"));
    }
}

/// Writes to a new file, or to the standard output.
fn write(output: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    let Some(path) = output else {
        let written = std::io::stdout().lock().write_all(bytes);
        return written.map_err(|error| Failure::new(error, "give a file with --output"));
    };
    // It may hold secrets, and what it would replace may be a project somebody needs.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let cannot = |error: std::io::Error| {
        let cause = format!("{} cannot be written: {error}", path.display());
        Failure::new(cause, "name a file that does not exist yet, in a folder that you may write to")
    };
    options.open(path).and_then(|mut file| file.write_all(bytes)).map_err(cannot)
}

fn failure(error: ImportError) -> Failure {
    let next = match &error {
        ImportError::Unreadable { .. } => {
            "look whether the file is there and may be read; files that it names count too"
        }
        ImportError::Nothing { .. } => {
            "name the file that holds it; crosspoint import --help says which one of each system"
        }
        _ => "name the right file and format; crosspoint import --help lists them",
    };
    Failure::usage(error, next)
}
