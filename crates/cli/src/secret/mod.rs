//! `crosspoint secret`: passwords and keys that may stand in a project file which everybody reads.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use crosspoint_hub::secret::{
    KeyOrigin, KeyRing, KeySource, Rotated, SealingKey, Vault, VaultError, Written, make_key_file,
};

use crate::amount::things;
use crate::failure::{Failure, Verbosity, Voice};
use crate::project::ProjectFlags;
use crate::table::{self, Form};

pub(crate) mod entering;
mod listing;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 a wrong argument; nothing was changed then.";

/// What `secret` is asked for.
#[derive(Debug, Args)]
pub(crate) struct SecretFlags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a sealing key.
    #[command(after_help = EXIT_CODES)]
    Keygen(Keygen),
    /// Seals a secret for one place in the project file, and prints what to write there.
    #[command(after_help = EXIT_CODES)]
    Seal(Seal),
    /// Seals a secret and writes it into the project file.
    #[command(after_help = EXIT_CODES)]
    Set(Set),
    /// Seals anew what was sealed for another name, after a rename in the project file.
    #[command(after_help = EXIT_CODES)]
    Move(Move),
    /// Seals everything with a new key, after which the old one can be destroyed.
    #[command(after_help = EXIT_CODES)]
    Rotate(Rotate),
    /// Shows each secret of the project file: where it stands and how it is kept, never what it is.
    #[command(after_help = EXIT_CODES)]
    List(List),
}

/// Where the sealing key is.
#[derive(Debug, Args)]
pub(crate) struct KeyFlags {
    /// The file with the sealing key (default: what CROSSPOINT_KEY, CROSSPOINT_KEY_FILE, a systemd credential or
    /// CROSSPOINT_PASSPHRASE names, or else sealing.key in the hub's own folder)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyFlags {
    /// Returns where the key is looked for, with the hub's own folder as the last place.
    pub(crate) fn source(&self, data: &Path) -> KeySource {
        self.key_file.as_deref().map_or_else(|| KeySource::of_environment(data), KeySource::of_file)
    }
}

#[derive(Debug, Args)]
struct Keygen {
    /// Writes it to this new file, for its owner only, instead of to stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Seal {
    /// Where it will stand, such as connector.plant.password; the overlays of environments have the same path
    path: String,
    #[command(flatten)]
    project: ProjectFlags,
}

#[derive(Debug, Args)]
struct Set {
    /// Where it stands, such as connector.plant.password; with --keep everything when it is left out
    #[arg(required_unless_present = "keep")]
    path: Option<String>,
    /// Seals the plain text that stands there, in environments too, instead of asking for a secret
    #[arg(long, conflicts_with_all = ["env", "overlay"])]
    keep: bool,
    /// Writes it where the value of this environment comes from
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Writes it into the environment itself, so that it has a secret of its own
    #[arg(long, requires = "env")]
    overlay: bool,
    #[command(flatten)]
    project: ProjectFlags,
}

#[derive(Debug, Args)]
struct Move {
    /// What it was sealed for: connector.old.password, or all of connector.old
    from: String,
    /// Where it stands now
    to: String,
    #[command(flatten)]
    project: ProjectFlags,
}

#[derive(Debug, Args)]
struct Rotate {
    /// Seals with the key in this file, which stays where it is; the old key is left to you
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// Seals with the passphrase in this file; the old key is left to you
    #[arg(long, value_name = "FILE", conflicts_with = "new_key_file")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    project: ProjectFlags,
}

#[derive(Debug, Args)]
struct List {
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    project: ProjectFlags,
}

/// Runs `secret`.
pub(crate) fn run(flags: &SecretFlags) -> ExitCode {
    let done = match &flags.command {
        Command::Keygen(flags) => keygen(flags),
        Command::Seal(flags) => seal(flags),
        Command::Set(flags) => set(flags),
        Command::Move(flags) => rename(flags),
        Command::Rotate(flags) => rotate(flags),
        Command::List(flags) => list(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

/// Makes the key of a hub that has none yet, and returns what to say about it.
///
/// # Errors
/// The project file cannot be read, or the key not written.
pub(crate) fn make_first_key(project: &Path, source: &KeySource) -> Result<Option<String>, Failure> {
    let mut vault = Vault::open(project, source.clone()).map_err(failure)?;
    vault.make_first_key().map_err(failure)?;
    Ok(made(&vault))
}

fn made(vault: &Vault) -> Option<String> {
    let path = vault.made_key()?.display();
    Some(format!("made {path}, the key of sealed secrets: back this up, apart from the project file"))
}

fn say_made(vault: &Vault) {
    if let Some(made) = made(vault) {
        note(made);
    }
}

fn vault(project: &ProjectFlags) -> Result<Vault, Failure> {
    Vault::open(project.file(), project.key()).map_err(failure)
}

fn keygen(keygen: &Keygen) -> Result<(), Failure> {
    let key = SealingKey::generate().map_err(|error| failure(error.into()))?;
    match &keygen.to {
        None => table::write(&format!("{}\n", *key.expose_text())),
        Some(path) => {
            make_key_file(path, &KeyRing::of(key.clone())).map_err(|error| {
                let cause = format!("{} cannot be made: {error}", path.display());
                Failure::new(
                    cause,
                    "name a file that is not there yet, in a folder that this user may write to",
                )
            })?;
            note(format_args!("key {} is in {}: back this up", key.id(), path.display()));
            Ok(())
        }
    }
}

fn seal(seal: &Seal) -> Result<(), Failure> {
    let mut vault = vault(&seal.project)?;
    Vault::check_path(&seal.path).map_err(failure)?;
    let secret = entering::secret(&seal.path)?;
    let sealed = vault.seal(&seal.path, &secret).map_err(failure)?;
    say_made(&vault);
    table::write(&format!("{sealed}\n"))
}

fn set(set: &Set) -> Result<(), Failure> {
    let mut vault = vault(&set.project)?;
    let written = match &set.path {
        path if set.keep => vault.keep(path.as_deref()).map_err(failure)?,
        Some(path) => {
            vault.check(path, set.env.as_deref()).map_err(failure)?;
            let secret = entering::secret(path)?;
            let written = match set.env.as_deref().filter(|_| set.overlay) {
                Some(environment) => vault.set_in_overlay(path, environment, &secret),
                None => vault.set(path, set.env.as_deref(), &secret),
            };
            vec![written.map_err(failure)?]
        }
        // The command line is not taken without one of the two.
        None => Vec::new(),
    };
    say_made(&vault);
    if written.is_empty() {
        note("no secret is written as plain text");
    }
    written.iter().for_each(|written| say_written(written, set));
    Ok(())
}

fn say_written(written: &Written, set: &Set) {
    let (path, project) = (&written.path, set.project.file().display());
    match (&written.environment, &set.env) {
        (Some(name), _) => note(format_args!("{path} of environment {name} is sealed in {project}")),
        (None, Some(name)) => note(format_args!(
            "{path} is sealed in {project}; {name} takes it from there, as the others do (--overlay gives it its own)"
        )),
        (None, None) => note(format_args!("{path} is sealed in {project}")),
    }
}

fn rename(renamed: &Move) -> Result<(), Failure> {
    let written = vault(&renamed.project)?.rename(&renamed.from, &renamed.to).map_err(failure)?;
    for written in written {
        let of = written.environment.map(|name| format!(" of environment {name}")).unwrap_or_default();
        note(format_args!("{}{of} opens again", written.path));
    }
    Ok(())
}

fn rotate(rotate: &Rotate) -> Result<(), Failure> {
    let mut vault = vault(&rotate.project)?;
    let new = match (&rotate.new_key_file, &rotate.new_passphrase_file) {
        (Some(path), _) => Some(KeySource::of_file(path)),
        (None, path) => path.as_deref().map(KeySource::of_passphrase_file),
    };
    let rotated = match &new {
        Some(new) => vault.rotate_to(new),
        None => vault.rotate(),
    };
    say_rotated(&rotated.map_err(failure)?, new.as_ref().map(KeySource::origin));
    Ok(())
}

fn say_rotated(rotated: &Rotated, new: Option<&KeyOrigin>) {
    let values = things(u64::try_from(rotated.values).unwrap_or(u64::MAX), "value is", "values are");
    note(format_args!("{values} sealed with key {}: back it up", rotated.key));
    let retired: Vec<String> = rotated.retired.iter().map(ToString::to_string).collect();
    if let Some(origin) = new {
        note(format_args!("start the hub with the new key from {origin}"));
    }
    if rotated.needed_by.is_empty() {
        note(format_args!("nothing in this file needs key {} any more: destroy it", retired.join(", ")));
    } else {
        let files = rotated.needed_by.join(", ");
        Voice::new(Verbosity::Normal)
            .warn(format_args!("key {} is kept for {files}: rotate there too", retired.join(", ")));
    }
}

fn list(list: &List) -> Result<(), Failure> {
    let listed = vault(&list.project)?.list().map_err(failure)?;
    listing::print(&listed, Form::of_flag(list.json))
}

fn note(what: impl std::fmt::Display) {
    Voice::new(Verbosity::Normal).note(what);
}

fn failure(error: VaultError) -> Failure {
    let (cause, mend) = (error.to_string(), error.mend());
    match error {
        VaultError::NotASecret { .. }
        | VaultError::NoSection { .. }
        | VaultError::NoEnvironment { .. }
        | VaultError::NotPlain { .. }
        | VaultError::NothingMoved { .. } => Failure::usage(cause, mend),
        _ => Failure::new(cause, mend),
    }
}
