//! Python's paho-mqtt in a virtual environment.

use std::process::Command;

use super::debian;
use super::shelf::{Proof, Shelf, need};
use crate::{Outcome, process};

const VERSION: &str = "2.1.0";

pub(super) fn paho_mqtt(shelf: &Shelf) -> Outcome {
    let says_version: &[&str] = &["-c", "import paho.mqtt; print('paho', paho.mqtt.__version__)"];
    let proof = Proof { program: "python", arguments: says_version, says: "paho 2.1.0" };
    shelf.bring_once("paho-mqtt", VERSION, &[proof], || {
        need("python3", "python3")?;
        let mut pip = environment(shelf)?;
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        pip.arg(format!("paho-mqtt=={VERSION}")).env("PIP_CACHE_DIR", shelf.folder().join("cache/pip"));
        process::run_logged(&mut pip, &shelf.log("paho-mqtt"))?;
        shelf.write_program("python", "exec \"$peers/venv/bin/python\" \"$@\"")
    })
}

/// Makes the virtual environment and returns its pip.
///
/// Debian keeps the pip that `venv` puts into new environments in a package of its own; where that is not installed it
/// is unpacked beside, and runs from there.
fn environment(shelf: &Shelf) -> Outcome<Command> {
    let venv = shelf.fresh_folder("venv")?;
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&venv);
    let Err(error) = process::run_logged(&mut make, &shelf.log("venv")) else {
        return Ok(Command::new(venv.join("bin/pip")));
    };
    let venv = shelf.fresh_folder("venv")?;
    let mut make = Command::new("python3");
    process::run_logged(make.args(["-m", "venv", "--without-pip"]).arg(&venv), &shelf.log("venv"))?;
    let wheel = debian::pip_wheel(shelf)
        .map_err(|other| format!("python3 has no ensurepip (package python3-venv): {error}; {other}"))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.arg(wheel.join("pip"));
    Ok(pip)
}
