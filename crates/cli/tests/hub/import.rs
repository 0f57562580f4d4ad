//! `crosspoint import`, as typed: what goes where, and that the result runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Up, port, run, text};

const CONF: &str = "listener 1883 127.0.0.1\nallow_anonymous true\nlog_type all\n\
                    connection up\naddress 192.0.2.1\nremote_username u\nremote_password hunter-two\ntopic a/# out\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mosquitto.conf"), CONF).unwrap();
    folder
}

#[test]
fn the_project_goes_to_stdout_and_the_rest_is_named_on_stderr() {
    let folder = folder();
    let output = run(folder.path(), &["import", "mosquitto", "mosquitto.conf"]);
    assert_eq!(output.status.code(), Some(0));
    let (project, named) = (text(&output.stdout), text(&output.stderr));
    assert!(project.starts_with("# Made of mosquitto.conf by"), "{project}");
    assert!(project.contains("[connector.up]\nurl = \"mqtt://192.0.2.1:1883\"\n"), "{project}");
    assert!(project.contains("password = \"hunter-two\""), "there is no key to seal it with: {project}");
    assert!(named.contains("warning: mosquitto.conf:3: not carried over: `log_type`: "), "{named}");
    assert!(named.contains("crosspoint secret set --keep connector.up.password"), "{named}");
    assert!(!named.contains("hunter"), "{named}");
}

#[test]
fn what_comes_out_runs_and_its_passwords_are_sealed_with_the_key_at_hand() {
    let folder = folder();
    fs::create_dir(folder.path().join("crosspoint-data")).unwrap();
    let key = run(folder.path(), &["secret", "keygen", "--to", "crosspoint-data/sealing.key"]);
    assert_eq!(key.status.code(), Some(0), "{}", text(&key.stderr));
    let output =
        run(folder.path(), &["import", "mosquitto", "mosquitto.conf", "--output", "crosspoint.toml"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(0), ""),
        "{}",
        text(&output.stderr)
    );
    let path = folder.path().join("crosspoint.toml");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let project = fs::read_to_string(&path).unwrap();
    assert!(project.contains("password = \"sealed:v1:") && !project.contains("hunter"), "{project}");
    let again = run(folder.path(), &["import", "mosquitto", "mosquitto.conf", "--output", "crosspoint.toml"]);
    assert_eq!(again.status.code(), Some(1), "a project is never overwritten: {}", text(&again.stderr));

    fs::write(&path, project.replace("127.0.0.1:1883", "127.0.0.1:0")).unwrap();
    let check = run(folder.path(), &["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    let (up, printed) = Up::running(folder.path(), &["up"]);
    let port = port(&printed, "mqtt://").to_string();
    let published = run(folder.path(), &["pub", "-p", &port, "-t", "x", "-m", "y", "-q", "1"]);
    assert_eq!(published.status.code(), Some(0), "{}", text(&published.stderr));
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn json_has_the_project_and_every_note() {
    let folder = folder();
    let output = run(folder.path(), &["import", "mosquitto", "mosquitto.conf", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["project"].as_str().unwrap().contains("[connector.up]"));
    let notes = report["notes"].as_array().unwrap();
    let log = notes.iter().find(|note| note["what"] == "`log_type`").unwrap();
    assert_eq!((&log["at"], &log["kind"]), (&"mosquitto.conf:3".into(), &"not carried over".into()));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn what_cannot_be_imported_has_one_cause_and_one_next_step() {
    let folder = folder();
    for (arguments, cause) in [
        (["import", "mosquitto", "none.conf"], "none.conf cannot be read"),
        (["import", "node-red", "mosquitto.conf"], "mosquitto.conf is not a flows.json of Node-RED"),
    ] {
        let output = run(folder.path(), &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error: {cause}")) && said.contains(" next: "), "{said}");
        assert!(output.stdout.is_empty());
    }
}
