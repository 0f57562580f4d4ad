//! Takes a secret from a person or a program, and never from the command line, which everybody on the machine can read.

use std::io::{self, IsTerminal, Read};

use crosspoint_hub::config::Secret;

use crate::failure::Failure;

/// The longest secret that is taken.
const SECRET_BYTES_MAX: u64 = 1024 * 1024;

/// Asks for a secret twice on a terminal, or reads stdin to its end, without the line feed there.
///
/// # Errors
/// There is none, or the two differ.
pub(super) fn secret(path: &str) -> Result<Secret, Failure> {
    let secret = if io::stdin().is_terminal() { asked(path)? } else { read()? };
    match secret.expose().is_empty() {
        true => Err(Failure::usage("the secret is empty", "type it, or send it to stdin")),
        false => Ok(secret),
    }
}

fn asked(path: &str) -> Result<Secret, Failure> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).map(Secret::new).map_err(|error| {
            Failure::new(format!("the terminal cannot be read: {error}"), "send the secret to stdin")
        })
    };
    let first = ask(format!("{path}: "))?;
    match ask(format!("{path}, again: "))? == first {
        true => Ok(first),
        false => Err(Failure::usage("the two differ", "type the secret again")),
    }
}

fn read() -> Result<Secret, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(SECRET_BYTES_MAX + 3).read_to_end(&mut bytes);
    let secret = Secret::new(bytes);
    read.map_err(|error| Failure::new(format!("stdin cannot be read: {error}"), "see what writes to it"))?;
    let line = secret.expose().strip_suffix(b"\n").unwrap_or(secret.expose());
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() as u64 > SECRET_BYTES_MAX {
        return Err(Failure::usage("the secret has more than 1 MiB", "send the right file to stdin"));
    }
    Ok(Secret::new(line))
}
