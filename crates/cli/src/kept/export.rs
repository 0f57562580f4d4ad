//! Every message of an outbox, or every dead letter, as a line of JSON each.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crosspoint_hub::control::{Kept, Request};

use super::columns;
use crate::amount::things;
use crate::ask;
use crate::failure::{Failure, Verbosity, Voice};
use crate::place::Place;
use crate::table;

/// Writes to a file, or to stdout.
pub(super) fn run(place: &Place, of: Kept, name: &str, to: Option<&Path>) -> Result<(), Failure> {
    let mut out = open(to)?;
    let request =
        Request::Show { of, name: name.to_owned(), from: 0, count: u64::MAX, payload_bytes: u64::MAX };
    let columns = columns::of_messages(of);
    let mut is_left = false;
    let asked = ask::each(place, request, |row| {
        writeln!(out, "{}", table::object(columns, &row)).map_err(|error| {
            is_left = error.kind() == io::ErrorKind::BrokenPipe;
            unwritable(to, &error)
        })
    });
    let flushed = out.flush();
    // Whoever reads it has seen enough.
    if is_left || flushed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return Ok(());
    }
    let count = asked?;
    flushed.map_err(|error| unwritable(to, &error))?;
    if let Some(to) = to {
        let messages = things(count, "message", "messages");
        Voice::new(Verbosity::Normal).note(format_args!("{messages} written to {}", to.display()));
    }
    Ok(())
}

fn open(to: Option<&Path>) -> Result<Box<dyn Write>, Failure> {
    let Some(path) = to else { return Ok(Box::new(BufWriter::new(io::stdout().lock()))) };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    Ok(Box::new(BufWriter::new(file.map_err(|error| unwritable(to, &error))?)))
}

fn unwritable(to: Option<&Path>, error: &io::Error) -> Failure {
    match to {
        Some(path) if error.kind() == io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} is there already", path.display()), "name another file with --to")
        }
        Some(path) => Failure::new(
            format!("{} cannot be written: {error}", path.display()),
            "name a file that this user may write to",
        ),
        None => Failure::new(format!("stdout: {error}"), "see what reads it"),
    }
}
