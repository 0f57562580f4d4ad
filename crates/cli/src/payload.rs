//! What `pub` publishes: from the command line, a file, or stdin.

use std::{ffi::OsString, io::Read, path::PathBuf};

use clap::Args;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};

use crate::failure::Failure;

/// No MQTT packet is larger, so no payload is.
const PAYLOAD_BYTES_MAX: u64 = 268_435_455;

/// What was typed about the message.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PayloadFlags {
    /// Publish this text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Message")]
    message: Option<OsString>,
    /// Publish the content of this file
    #[arg(short, long, value_name = "FILE", help_heading = "Message")]
    file: Option<PathBuf>,
    /// Publish each line of stdin as a message of its own
    #[arg(short = 'l', long, help_heading = "Message")]
    stdin_line: bool,
    /// Publish all of stdin as one message
    #[arg(short, long, help_heading = "Message")]
    stdin_file: bool,
    /// Publish an empty message; with -r it removes the retained message of the topic
    #[arg(short, long, help_heading = "Message")]
    null_message: bool,
}

/// What was typed about the new payload of a message.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct EditedPayload {
    /// This text as its new payload
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<OsString>,
    /// The content of this file as its new payload
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// An empty payload
    #[arg(short, long)]
    null_message: bool,
}

impl EditedPayload {
    /// Reads the new payload, if there is to be one.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(text) = &self.message {
            return Ok(Some(text.clone().into_encoded_bytes()));
        }
        let Some(path) = &self.file else { return Ok(self.null_message.then(Vec::new)) };
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|error| unreadable(&name, &error))?;
        read_bytes(file, &name).map(Some)
    }
}

/// What is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// One message.
    One(Vec<u8>),
    /// A message a line of stdin.
    Lines,
}

impl PayloadFlags {
    /// Reads what one message consists of.
    ///
    /// # Errors
    /// The file or stdin cannot be read, or is too large.
    pub(crate) fn payload(&self) -> Result<Payload, Failure> {
        if let Some(text) = &self.message {
            return Ok(Payload::One(text.clone().into_encoded_bytes()));
        }
        if let Some(path) = &self.file {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).map_err(|error| unreadable(&name, &error))?;
            return read_all(file, &name);
        }
        match (self.stdin_line, self.stdin_file) {
            (true, _) => Ok(Payload::Lines),
            (_, true) => read_all(std::io::stdin().lock(), "stdin"),
            _ => Ok(Payload::One(Vec::new())),
        }
    }
}

fn read_all(from: impl Read, name: &str) -> Result<Payload, Failure> {
    read_bytes(from, name).map(Payload::One)
}

fn read_bytes(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX { Err(too_large(name)) } else { Ok(bytes) }
}

/// The lines of stdin.
#[derive(Debug)]
pub(crate) struct Lines(BufReader<Stdin>);

impl Lines {
    /// Begins to read stdin.
    pub(crate) fn of_stdin() -> Self {
        Self(BufReader::new(tokio::io::stdin()))
    }

    /// Returns the next line without its end, or `None` at the end. A last line may lack its end.
    ///
    /// # Errors
    /// Stdin cannot be read, or the line is larger than any MQTT message.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.0).take(PAYLOAD_BYTES_MAX + 1);
        bounded.read_until(b'\n', &mut line).await.map_err(|error| unreadable("stdin", &error))?;
        match line.last() {
            None => Ok(None),
            Some(b'\n') => {
                line.pop();
                Ok(Some(line))
            }
            Some(_) if line.len() as u64 > PAYLOAD_BYTES_MAX => Err(too_large("a line of stdin")),
            Some(_) => Ok(Some(line)),
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("{name} cannot be read: {error}"), "check its name, and that you may read it")
}

fn too_large(name: &str) -> Failure {
    let cause = format!("{name} has more than {PAYLOAD_BYTES_MAX} bytes, and no MQTT message is larger");
    Failure::new(cause, "publish it in parts")
}
