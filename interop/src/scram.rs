//! A mosquitto that speaks SCRAM-SHA-256, by a plugin in C that is built with OpenSSL: nothing of it is ours.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crosspoint_client::{Authentication, ClientOptions};

use crate::{Mosquitto, Peer, client_options, find, text};

/// Starts a mosquitto that lets the user `alice` with the password `right` in by SCRAM and nobody else, with more lines of
/// configuration: `plugin_opt_iterations N`, or `plugin_opt_lie 1` for one that does not know the password.
pub async fn mosquitto_with_scram(lines: &str) -> Option<Mosquitto> {
    let plugin = plugin()?;
    let lines = format!(
        "allow_anonymous false\nplugin {}\nplugin_opt_user alice\nplugin_opt_password right\n{lines}",
        text(&plugin)
    );
    Mosquitto::start_talking(&lines, &[]).await
}

/// Returns options that come in there as `alice`, with this password.
pub fn scram_options(port: u16, password: &str) -> ClientOptions {
    client_options(port).username("alice").password(password).authentication(Authentication::ScramSha256)
}

/// Builds the plugin, once for all tests of a program.
fn plugin() -> Option<PathBuf> {
    static PLUGIN: OnceLock<Option<PathBuf>> = OnceLock::new();
    PLUGIN.get_or_init(build_plugin).clone()
}

fn build_plugin() -> Option<PathBuf> {
    let compiler = find(Peer::MosquittoPlugins)?;
    let source = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("peers/mosquitto_scram.c");
    // Beside the test. Two programs of tests may build at once: a whole file takes the place of another.
    let test = std::env::current_exe().unwrap();
    let plugin = test.with_file_name("mosquitto_scram.so");
    let draft = test.with_file_name(format!("mosquitto_scram.{}.so", std::process::id()));
    let built = Command::new(compiler)
        .args(["-shared", "-fPIC", "-Wall", "-Wno-deprecated-declarations", "-o"])
        .args([&draft, &source])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::rename(draft, &plugin).unwrap();
    Some(plugin)
}
