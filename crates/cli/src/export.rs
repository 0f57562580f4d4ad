//! `crosspoint export`: a project without its secrets, to be shown, or all of it encrypted, to be moved.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use crosspoint_hub::secret::{self, Bundle, BundleError, Lock, Opened, Unlock};

use crate::failure::{Failure, Verbosity, Voice};
use crate::project::ProjectFlags;
use crate::secret::entering;
use crate::table;

/// What `export` is asked for.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 a wrong argument; nothing was written then.")]
pub(crate) struct ExportFlags {
    /// Leaves every secret out of the project file, and comments with them, so that it can be shown to others
    #[arg(long, conflicts_with_all = ["recipient", "passphrase_file", "open"])]
    redacted: bool,
    /// The new file to write: the project without secrets (default: stdout), or encrypted with age, with the files that it
    /// names and its sealing key
    #[arg(long, value_name = "FILE", required_unless_present_any = ["redacted", "open"])]
    to: Option<PathBuf>,
    /// Encrypts for the owner of this age key (age1...) instead of with a passphrase; may be repeated
    #[arg(long, value_name = "KEY", conflicts_with = "passphrase_file")]
    recipient: Vec<String>,
    /// Takes the passphrase from this file instead of asking for it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Opens what was encrypted
    #[arg(long, value_name = "FILE", requires = "into", conflicts_with_all = ["to", "recipient"])]
    open: Option<PathBuf>,
    /// The folder to write it to
    #[arg(long, value_name = "DIR", requires = "open")]
    into: Option<PathBuf>,
    /// Opens it with the age key in this file
    #[arg(long, value_name = "FILE", requires = "open", conflicts_with = "passphrase_file")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    project: ProjectFlags,
}

/// Runs `export`.
pub(crate) fn run(flags: &ExportFlags) -> ExitCode {
    let done = match (&flags.open, &flags.into, &flags.to) {
        (Some(bundle), Some(into), _) => open(flags, bundle, into),
        (_, _, Some(to)) if !flags.redacted => encrypt(flags, to),
        _ => redact(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Voice::new(Verbosity::Normal).fail(&failure);
            failure.exit.into()
        }
    }
}

fn redact(flags: &ExportFlags) -> Result<(), Failure> {
    let shown = flags.project.file().display();
    let text = fs::read_to_string(flags.project.file()).map_err(|error| {
        Failure::new(format!("{shown} cannot be read: {error}"), "name the project file with --project FILE")
    })?;
    let redacted = secret::redacted(&text).ok_or_else(|| {
        Failure::new(format!("{shown} is not TOML"), "crosspoint check shows what is wrong")
    })?;
    match &flags.to {
        None => table::write(&redacted),
        Some(to) => write_new(to, redacted.as_bytes()),
    }
}

fn encrypt(flags: &ExportFlags, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        return Err(Failure::usage(
            format!("{} is there already", to.display()),
            "name another file with --to",
        ));
    }
    let lock = match (flags.recipient.is_empty(), &flags.passphrase_file) {
        (false, _) => Lock::Recipients(flags.recipient.clone()),
        (true, Some(file)) => Lock::Passphrase(entering::from_file(file)?),
        (true, None) => Lock::Passphrase(entering::secret("passphrase")?),
    };
    let Bundle { bytes, files, left_out } =
        secret::bundle(flags.project.file(), &flags.project.key(), &lock).map_err(failure)?;
    write_new(to, &bytes)?;
    let voice = Voice::new(Verbosity::Normal);
    voice.note(format_args!("{} holds {}", to.display(), files.join(", ")));
    left_out.iter().for_each(|what| voice.warn(format_args!("it does not hold {what}")));
    Ok(())
}

fn open(flags: &ExportFlags, bundle: &Path, into: &Path) -> Result<(), Failure> {
    let bytes = fs::read(bundle).map_err(|error| {
        Failure::new(format!("{} cannot be read: {error}", bundle.display()), "name the encrypted file")
    })?;
    let unlock = match (&flags.identity, &flags.passphrase_file) {
        (Some(file), _) => Unlock::Identities(file.clone()),
        (None, Some(file)) => Unlock::Passphrase(entering::from_file(file)?),
        (None, None) => Unlock::Passphrase(entering::known_secret("passphrase")?),
    };
    let Opened { files } = secret::open(&bytes, &unlock, into).map_err(failure)?;
    let voice = Voice::new(Verbosity::Normal);
    files.iter().for_each(|file| voice.note(format_args!("wrote {}", file.display())));
    if let Some(project) = files.first() {
        voice.note(format_args!("start it: crosspoint up --project {}", project.display()));
    }
    Ok(())
}

/// Writes a file that is not there yet, for its owner only.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} is there already", path.display()), "name another file with --to")
        }
        _ => Failure::new(
            format!("{} cannot be written: {error}", path.display()),
            "name a file that this user may write to",
        ),
    })
}

fn failure(error: BundleError) -> Failure {
    match &error {
        BundleError::Recipient(_) | BundleError::InTheWay(_) => Failure::usage(&error, error.mend()),
        _ => Failure::new(&error, error.mend()),
    }
}
