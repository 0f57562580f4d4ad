//! Takes a secret from a person or a program, and never from the command line, which everybody on the machine can read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crosspoint_hub::config::Secret;

use crate::failure::Failure;

/// The longest secret that is taken.
const SECRET_BYTES_MAX: u64 = 1024 * 1024;

/// Asks for a secret twice on a terminal, or reads stdin to its end, without the line feed there.
///
/// # Errors
/// There is none, or the two differ.
pub(crate) fn secret(path: &str) -> Result<Secret, Failure> {
    filled(if io::stdin().is_terminal() { asked(path)? } else { read()? })
}

/// Asks once for a secret that was made before, or reads stdin as [`secret`] does.
///
/// # Errors
/// There is none.
pub(crate) fn known_secret(name: &str) -> Result<Secret, Failure> {
    let secret = if io::stdin().is_terminal() { prompted(format!("{name}: "))? } else { read()? };
    filled(secret)
}

/// Reads a secret from a file, without the line feed at its end.
///
/// # Errors
/// The file cannot be read, or is empty.
pub(crate) fn from_file(path: &Path) -> Result<Secret, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(
            format!("{} cannot be read: {error}", path.display()),
            "name a file that this user may read",
        )
    };
    filled(line_of(File::open(path).map_err(unreadable)?).map_err(unreadable)?)
}

/// Reads a secret from `env:NAME` or `file:PATH`.
///
/// # Errors
/// It is neither, or there is nothing.
pub(crate) fn from_source(source: &str) -> Result<Secret, Failure> {
    if let Some(path) = source.strip_prefix("file:") {
        return from_file(Path::new(path));
    }
    let Some(name) = source.strip_prefix("env:") else {
        // What was typed may be the password itself, so it is not repeated.
        return Err(Failure::usage("a secret comes from env:NAME or file:PATH", "write one of the two"));
    };
    match std::env::var_os(name) {
        Some(value) => filled(Secret::new(value.into_encoded_bytes())),
        None => Err(Failure::usage(format!("the variable {name} is not set"), "set it, or name another")),
    }
}

fn filled(secret: Secret) -> Result<Secret, Failure> {
    if secret.expose().is_empty() {
        return Err(Failure::usage("the secret is empty", "type it, or send it to stdin"));
    }
    if secret.expose().len() as u64 > SECRET_BYTES_MAX {
        return Err(Failure::usage("the secret has more than 1 MiB", "name or send the right file"));
    }
    Ok(secret)
}

fn asked(path: &str) -> Result<Secret, Failure> {
    let first = prompted(format!("{path}: "))?;
    match prompted(format!("{path}, again: "))? == first {
        true => Ok(first),
        false => Err(Failure::usage("the two differ", "type the secret again")),
    }
}

fn prompted(prompt: String) -> Result<Secret, Failure> {
    rpassword::prompt_password(prompt).map(Secret::new).map_err(|error| {
        Failure::new(format!("the terminal cannot be read: {error}"), "send the secret to stdin")
    })
}

fn read() -> Result<Secret, Failure> {
    line_of(io::stdin().lock())
        .map_err(|error| Failure::new(format!("stdin cannot be read: {error}"), "see what writes to it"))
}

fn line_of(from: impl Read) -> io::Result<Secret> {
    let mut bytes = Vec::new();
    let read = from.take(SECRET_BYTES_MAX + 3).read_to_end(&mut bytes);
    let secret = Secret::new(bytes);
    read?;
    let line = secret.expose().strip_suffix(b"\n").unwrap_or(secret.expose());
    Ok(Secret::new(line.strip_suffix(b"\r").unwrap_or(line)))
}
