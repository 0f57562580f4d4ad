//! What these tests run: the built binary, in a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that a test waits for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// A project whose ports the system chooses.
pub(crate) const PROJECT: &str =
    "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n[console]\nenabled = false\n";

pub(crate) fn crosspoint(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crosspoint"));
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("RUST_LOG")
        .env_remove("CROSSPOINT_ENV")
        .env_remove("CROSSPOINT_KEY")
        .env_remove("CROSSPOINT_KEY_FILE")
        .env_remove("CROSSPOINT_PASSPHRASE")
        .env_remove("CROSSPOINT_PASSPHRASE_FILE")
        .env_remove("CREDENTIALS_DIRECTORY");
    command
}

/// Runs a command to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut child =
        crosspoint(folder, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// Runs a command to its end with this on its stdin.
pub(crate) fn run_with(folder: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut command = crosspoint(folder, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that wants nothing may have ended already.
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap_or_default();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for a process to end; one that does not is killed.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > WITHIN {
            child.kill().unwrap();
            panic!("it does not end");
        }
        thread::yield_now();
        thread::park_timeout(Duration::from_millis(5));
    }
}

pub(crate) fn folder(project: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crosspoint.toml"), project).unwrap();
    folder
}

/// Returns a port that nobody listens at. It is below those that the system gives to whoever asks for any, so that nobody
/// is given it before it is used.
pub(crate) fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    loop {
        // Each process of tests begins elsewhere.
        let place = std::process::id().wrapping_mul(97).wrapping_add(ASKED.fetch_add(1, Relaxed));
        let port = 12_000 + u16::try_from(place % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A hub that runs; killed if the test ends before it.
pub(crate) struct Up {
    pub(crate) child: Child,
    pub(crate) out: Receiver<String>,
    pub(crate) log: Receiver<String>,
}

impl Up {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child =
            crosspoint(folder, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, log) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, log }
    }

    /// Starts one and waits until it runs; returns what it printed.
    pub(crate) fn running(folder: &Path, arguments: &[&str]) -> (Self, String) {
        let up = Self::start(folder, arguments);
        let printed = read_until(&up.out, "Ctrl-C stops it.");
        (up, printed)
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends a signal and returns how it ended, and after how long.
    pub(crate) fn stop(mut self, signal: &str) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        self.signal(signal);
        (wait(&mut self.child).code(), begin.elapsed())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended, or the test has failed.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

pub(crate) fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[track_caller]
pub(crate) fn read_until(lines: &Receiver<String>, what: &str) -> String {
    let mut read = String::new();
    while !read.contains(what) {
        let line = lines.recv_timeout(WITHIN);
        let line = line.unwrap_or_else(|error| panic!("no {what:?} ({error}) in:\n{read}"));
        read = read + &line + "\n";
    }
    read
}

/// Returns the port of the first address with this scheme.
#[track_caller]
pub(crate) fn port(printed: &str, scheme: &str) -> u16 {
    let address = printed.split(scheme).nth(1).unwrap_or_else(|| panic!("no {scheme} in {printed}"));
    let port: String = address.split(':').nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    port.parse().unwrap()
}
