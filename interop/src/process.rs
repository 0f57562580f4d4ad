//! Programs: run to their end, or in the background, and never left behind.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::{soon, within};

/// What a program said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub output: String,
    /// What it complained about.
    pub errors: String,
}

impl Finished {
    /// Returns what was written.
    ///
    /// # Panics
    /// When the program did not succeed.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.output, self.errors);
        self.output
    }
}

/// Returns the text of an argument that is a path.
///
/// # Panics
/// When it is not UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a program with something to read, to its end, for at most `limit`.
///
/// # Panics
/// When it does not start, or takes longer; it is killed then.
pub async fn run(command: &mut Command, input: &[u8], limit: Duration) -> Finished {
    let what = format!("{:?}", command.as_std());
    let mut child = spawn(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    let mut stdin = child.stdin.take().unwrap();
    let feed = async {
        // A program that has heard enough closes its end: its exit code tells whether that was right.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let (output, ()) = within(limit, &what, async { tokio::join!(child.wait_with_output(), feed) }).await;
    let output = output.unwrap();
    Finished {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Starts a program in the background, whose lines are read. It is killed when the value is dropped.
///
/// # Panics
/// When it does not start.
pub fn start(command: &mut Command) -> Started {
    let name = format!("{:?}", command.as_std());
    let mut child = spawn(command.stdin(Stdio::null()));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Started { name, child, lines: Some(lines) }
}

/// Starts a server in the background; what it says is added to a file. It is killed when the value is dropped.
///
/// # Panics
/// When it does not start.
pub(crate) fn start_server(command: &mut Command, log: &Path) -> Started {
    let name = format!("{:?}", command.as_std());
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let child = command.kill_on_drop(true).spawn();
    let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    Started { name, child, lines: None }
}

fn spawn(command: &mut Command) -> Child {
    let child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn();
    child.unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.as_std()))
}

/// A program that runs.
#[derive(Debug)]
pub struct Started {
    name: String,
    child: Child,
    /// What it writes, where that is read.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Started {
    /// Waits for its next line.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn line(&mut self) -> String {
        let what = format!("a line of {}", self.name);
        let lines = self.lines.as_mut().expect("its lines go to a file");
        soon(&what, lines.next_line()).await.unwrap().unwrap_or_else(|| panic!("no more than that: {what}"))
    }

    /// Waits for a line that holds a text, passing over others.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line().await;
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Kills it at once, as a crash would (SIGKILL).
    pub async fn kill(mut self) {
        soon("a killed program", self.child.kill()).await.unwrap();
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub async fn terminate(mut self) {
        let id = self.child.id().expect("the program has ended by itself").to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &id]).status().await.unwrap();
        assert!(sent.success(), "{} cannot be ended", self.name);
        soon(&format!("the end of {}", self.name), self.child.wait()).await.unwrap();
    }

    /// Tells whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}
