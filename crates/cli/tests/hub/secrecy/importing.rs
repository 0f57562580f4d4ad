//! `import`: a password of another system is in the project file that is made, and nowhere else; sealed, with a key.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use super::needle::{NEEDLE, assert_silent, secret};
use crate::support::{run, text};

/// The password of each sample, which the needle takes the place of.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("home-assistant", "home-assistant/configuration.yaml", "the secret of the house"),
    ("home-assistant", "home-assistant/core.config_entries", "the secret of the add-on"),
    ("mosquitto", "mosquitto/mosquitto.conf", "the secret of the bridge"),
    ("node-red", "node-red/flows.json", "the secret of the flows"),
    ("oibus", "oibus/export.json", "\"password\": \"\""),
    ("avstudio", "forms/avstudio.json", "the secret of the studio"),
    ("mendix", "forms/mendix.json", "the secret of the app"),
    ("boomi", "forms/boomi.json", "the secret of the atom"),
];

/// Copies a folder of samples, with the needle for the password.
fn plant(from: &Path, to: &Path, password: &str) {
    fs::create_dir(to).unwrap();
    let needle = match password.contains("password") {
        true => format!("\"password\": \"{}\"", secret("import")),
        false => secret("import"),
    };
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            plant(&entry.path(), &to, password);
        } else {
            fs::write(to, fs::read_to_string(entry.path()).unwrap().replace(password, &needle)).unwrap();
        }
    }
}

fn with_needle(file: &str, password: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let samples = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../hub/tests/import");
    let (of, _) = file.split_once('/').unwrap();
    plant(&samples.join(of), &folder.path().join(of), password);
    folder
}

#[track_caller]
fn done(output: Output) -> Output {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    output
}

#[test]
fn without_a_key_an_imported_password_is_in_the_project_alone() {
    for (format, file, password) in SAMPLES {
        let folder = with_needle(file, password);
        let plain = done(run(folder.path(), &["import", format, file]));
        assert!(text(&plain.stdout).contains(NEEDLE), "{file}: there is no key to seal it with");
        assert_silent(file, &plain.stderr);
        assert!(text(&plain.stderr).contains("secret set --keep"), "{file}: that it is plain is said");
        let mut report: Value =
            serde_json::from_slice(&done(run(folder.path(), &["import", format, file, "--json"])).stdout)
                .unwrap();
        let project = report.as_object_mut().unwrap().remove("project").unwrap();
        assert!(project.as_str().unwrap().contains(NEEDLE), "{file}");
        assert_silent(&format!("{file} --json"), report.to_string().as_bytes());
    }
}

#[test]
fn with_a_key_an_imported_password_is_sealed_and_nowhere_else() {
    for (format, file, password) in SAMPLES {
        let folder = with_needle(file, password);
        fs::create_dir(folder.path().join("crosspoint-data")).unwrap();
        done(run(folder.path(), &["secret", "keygen", "--to", "crosspoint-data/sealing.key"]));
        for more in [&[][..], &["--json"], &["--output", "crosspoint.toml"]] {
            let output = done(run(folder.path(), &[&["import", format, file], more].concat()));
            assert_silent(&format!("{file} {more:?}"), &[output.stdout, output.stderr].concat());
        }
        let project = fs::read_to_string(folder.path().join("crosspoint.toml")).unwrap();
        assert_silent(file, project.as_bytes());
        assert!(project.contains("\"sealed:v1:"), "{file}: {project}");
    }
}

#[test]
fn what_cannot_be_imported_tells_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let password = secret("import");
    for (format, text) in [
        ("mosquitto", format!("remote_password {password}\nconnection\naddress mqtt://u:{password}@h\n")),
        ("mosquitto", format!("connection a\naddress u:{password}@h\nremote_pasword {password}\n")),
        (
            "node-red",
            format!("[{{\"type\":\"mqtt-broker\",\"broker\":\"mqtt://u:{password}@h\" \"{password}\"}}]"),
        ),
        (
            "node-red",
            format!(
                "[{{\"id\":\"1\",\"type\":\"mqtt-broker\",\"broker\":\"x://u:{password}@h\",\"port\":\"{password}\"}}]"
            ),
        ),
        ("home-assistant", format!("mqtt:\n  broker: h\n  password: [{password}\n")),
        (
            "home-assistant",
            format!(
                "mqtt:\n  broker: h\n  username: u\n  password: {{ a: {password} }}\n  pasword: {password}\n"
            ),
        ),
        ("oibus", format!("{{\"config\": \"{password}\"")),
        (
            "mendix",
            format!(
                "{{\"BrokerHost\":\"h\",\"UserName\":\"m\",\"Passwort\":\"{password}\",\"Password\":[\"{password}\"]}}"
            ),
        ),
        ("boomi", format!("{{\"Host\":\"u:{password}@h\",\"Password\":\"{password}")),
        (
            "avstudio",
            format!("{{\"Host\":\"h\",\"Port\":\"{password}\",\"Password\":{{\"x\":\"{password}\"}}}}"),
        ),
    ] {
        fs::write(folder.path().join("wrong"), &text).unwrap();
        for more in [&[][..], &["--json"]] {
            let output = run(folder.path(), &[&["import", format, "wrong"], more].concat());
            assert_silent(
                &format!("import {format} {more:?} of {text}").replace(NEEDLE, "?"),
                &output.stderr,
            );
            // What stands in the project itself is where it belongs.
            if let Ok(mut report) = serde_json::from_slice::<Value>(&output.stdout) {
                report.as_object_mut().unwrap().remove("project");
                assert_silent(&format!("the notes of {format}"), report.to_string().as_bytes());
            }
        }
    }
}
