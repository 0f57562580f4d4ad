//! mqtt.js for Node.

use std::process::Command;

use super::shelf::{Proof, Shelf, need};
use crate::{Outcome, process};

const VERSION: &str = "5.16.0";

pub(super) fn mqtt_js(shelf: &Shelf) -> Outcome {
    let says_version: &[&str] =
        &["-e", "require('mqtt').connect.call; console.log('mqtt', require('mqtt/package.json').version)"];
    let proof = Proof { program: "node", arguments: says_version, says: "mqtt 5.16.0" };
    shelf.bring_once("mqtt.js", VERSION, &[proof], || {
        need("node", "nodejs")?;
        need("npm", "npm")?;
        let folder = shelf.fresh_folder("node")?;
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--ignore-scripts",
            "--prefix",
        ]);
        npm.arg(&folder).arg(format!("mqtt@{VERSION}")).current_dir(&folder);
        npm.env("npm_config_cache", shelf.folder().join("cache/npm"));
        process::run_logged(&mut npm, &shelf.log("mqtt.js"))?;
        shelf.write_program("node", "NODE_PATH=\"$peers/node/node_modules\" exec node \"$@\"")
    })
}
