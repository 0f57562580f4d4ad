//! Programs from the Rust registry, built once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shelf::{Proof, Shelf};
use crate::{Outcome, process};

/// A program and how it is built.
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// Further words for `cargo install`.
    pub(crate) flags: &'static [&'static str],
}

/// Built without its own lock file: the versions of its dependencies written there no longer compile.
const RUMQTTD: Program = Program { package: "rumqttd", version: "0.20.0", flags: &[] };

pub(super) fn rumqttd(shelf: &Shelf) -> Outcome {
    let proof = Proof { program: "rumqttd", arguments: &["--help"], says: "--config" };
    shelf.bring_once("rumqttd", RUMQTTD.version, &[proof], || {
        install(shelf.folder(), &RUMQTTD)?;
        shelf.write_program("rumqttd", "exec \"$peers/cargo/bin/rumqttd\" \"$@\"")
    })
}

/// Builds a program unless it is there in its version, and returns where it is.
///
/// It is built at low priority in a folder of its own that is deleted afterwards, so that it neither waits for the
/// build of the workspace nor slows it much.
pub(crate) fn install(peers: &Path, program: &Program) -> Outcome<PathBuf> {
    let Program { package, version, flags } = program;
    let root = peers.join("cargo");
    let binary = root.join("bin").join(package);
    let installed = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    if binary.is_file() && installed.contains(&format!("\"{package} {version} ")) {
        return Ok(binary);
    }
    let build = peers.join("build").join(package);
    let logs = peers.join("logs");
    fs::create_dir_all(&logs)?;
    let mut command = Command::new("nice");
    command.args(["-n", "15"]).arg(process::cargo([]).get_program());
    command.args(["install", package, "--version", &format!("={version}"), "--force"]).args(*flags);
    command.arg("--root").arg(&root).env("CARGO_TARGET_DIR", &build);
    process::run_logged(&mut command, &logs.join(format!("{package}.log")))?;
    fs::remove_dir_all(&build)?;
    Ok(binary)
}
