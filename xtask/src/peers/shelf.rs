//! The folder that the peers stand in, and the notes of what is there.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::{Outcome, process};

/// How long a program that was just written may be busy.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The folder, held by one process at a time for as long as this value lives.
pub(crate) struct Shelf {
    folder: PathBuf,
    _held: File,
}

/// A program in `bin` that shows with a word of what it writes that it starts.
pub(crate) struct Proof {
    pub(crate) program: &'static str,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) says: &'static str,
}

impl Shelf {
    /// Opens the folder, waiting for another process that holds it.
    pub(crate) fn open(folder: PathBuf) -> Outcome<Self> {
        for part in ["bin", "notes", "logs"] {
            fs::create_dir_all(folder.join(part))
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let held = File::create(folder.join("lock"))?;
        if held.try_lock().is_err() {
            println!("another task is bringing peers; waiting for it");
            held.lock()?;
        }
        Ok(Self { folder, _held: held })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// Brings something unless a note says that it is here in this version and its proofs hold.
    ///
    /// # Errors
    /// Those of `bring`, and proofs that fail afterwards.
    pub(crate) fn bring_once(
        &self,
        name: &str,
        version: &str,
        proofs: &[Proof],
        bring: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let note = self.folder.join("notes").join(name);
        let noted = fs::read_to_string(&note).unwrap_or_default();
        if noted == version && proofs.iter().all(|proof| self.prove(proof).is_ok()) {
            return Ok(());
        }
        bring()?;
        for proof in proofs {
            self.prove(proof)?;
        }
        Ok(fs::write(note, version)?)
    }

    /// Starts a program of `bin` and looks for the word that it has to say; how it exits is its own matter.
    fn prove(&self, proof: &Proof) -> Outcome {
        let output = started(Command::new(self.folder.join("bin").join(proof.program)).args(proof.arguments))
            .map_err(|error| format!("`{}` does not start: {error}", proof.program))?;
        let written = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if written.contains(proof.says) {
            return Ok(());
        }
        Err(format!("`{} {}` says: {}", proof.program, proof.arguments.join(" "), written.trim()).into())
    }

    /// Writes a program of `bin`: a script that sets up an environment and becomes the real one.
    ///
    /// In `lines` the shell variable `peers` is this folder, so the whole of it may be moved.
    pub(crate) fn write_program(&self, name: &str, lines: &str) -> Outcome {
        let path = self.folder.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\npeers=$(cd -- \"$(dirname -- \"$0\")/..\" && pwd)\n{lines}\n"))?;
        make_executable(&path)
    }

    /// Returns an empty folder of this name in place of what was there.
    pub(crate) fn fresh_folder(&self, name: &str) -> Outcome<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Runs a program that may just have been written.
///
/// A process that another thread starts meanwhile has the file open for writing until it becomes its own program, and
/// the system starts nothing that is.
fn started(command: &mut Command) -> std::io::Result<Output> {
    let begin = Instant::now();
    loop {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && begin.elapsed() < BUSY_MAX => {
                std::thread::yield_now();
            }
            result => return result,
        }
    }
}

/// Returns an error that names a program which is not on the search path.
pub(crate) fn need(program: &str, package: &str) -> Outcome {
    if process::is_on_path(program) {
        return Ok(());
    }
    Err(format!("no `{program}` on this machine; on Debian it comes with the package {package}").into())
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Outcome {
    Err("peers are brought on Unix only".into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const PROOFS: &[Proof] = &[Proof { program: "greeter", arguments: &["you"], says: "hello you" }];

    /// Asks for a program and returns whether it was brought anew.
    fn brings(shelf: &Shelf, version: &str, script: &str) -> Outcome<bool> {
        let mut brought = false;
        shelf.bring_once("greeter", version, PROOFS, || {
            brought = true;
            shelf.write_program("greeter", script)
        })?;
        Ok(brought)
    }

    #[test]
    fn a_peer_is_brought_once_a_version_and_again_when_it_no_longer_starts() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().to_owned()).unwrap();
        let script = "echo hello \"$1\" in \"$peers\"";
        assert!(brings(&shelf, "1", script).unwrap());
        assert!(!brings(&shelf, "1", script).unwrap());
        assert!(brings(&shelf, "2", script).unwrap());
        fs::remove_file(folder.path().join("bin/greeter")).unwrap();
        assert!(brings(&shelf, "2", script).unwrap());
    }

    #[test]
    fn a_program_that_is_still_being_written_is_started_when_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().to_owned()).unwrap();
        shelf.write_program("greeter", "echo hello you").unwrap();
        let path = folder.path().join("bin/greeter");
        let writing = fs::OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(Command::new(&path).output().unwrap_err().kind(), ErrorKind::ExecutableFileBusy);
        let closing = std::thread::spawn(move || {
            std::thread::yield_now();
            drop(writing);
        });
        assert!(started(&mut Command::new(&path)).is_ok());
        closing.join().unwrap();
    }

    #[test]
    fn a_peer_that_does_not_prove_itself_is_an_error_and_leaves_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().to_owned()).unwrap();
        let error = brings(&shelf, "1", "echo no library >&2; exit 127").unwrap_err().to_string();
        assert_eq!(error, "`greeter you` says: no library");
        assert!(brings(&shelf, "1", "echo hello you").unwrap());
    }
}
