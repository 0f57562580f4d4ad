//! `export`: a project without its secrets, and a project that moves.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::support::{PROJECT, crosspoint, folder, run, run_with, text};

fn site() -> TempDir {
    let site = folder(&format!(
        "{PROJECT}# hunter3\n[connector.plant]\nurl = \"mqtt://127.0.0.1:1\"\nusername = \"me\"\npassword = \"hunter2\"\nenabled = false\n\
         [broker.user.al]\npassword = \"file:al.txt\"\nroles = [\"all\"]\n[broker.role.all]\nallow = [\"both #\"]\n"
    ));
    fs::write(site.path().join("al.txt"), "hunter4\n").unwrap();
    assert!(run(site.path(), &["secret", "set", "--keep"]).status.success());
    site
}

#[test]
fn a_redacted_project_has_no_secret_and_can_be_used_with_others() {
    let site = site();
    let output = run(site.path(), &["export", "--redacted"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!shown.contains("sealed:") && !shown.contains("hunter"), "{shown}");
    assert!(
        shown.contains("password = \"env:CONNECTOR_PLANT_PASSWORD\"") && shown.contains("username = \"me\"")
    );
    assert!(run(site.path(), &["export", "--redacted", "--to", "shown.toml"]).status.success());
    assert_eq!(fs::read_to_string(site.path().join("shown.toml")).unwrap(), shown);
    let mut check = crosspoint(site.path(), &["check", "shown.toml"]);
    let checked = check.env("CONNECTOR_PLANT_PASSWORD", "mine").output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert_eq!(run(site.path(), &["export", "--redacted", "--to", "shown.toml"]).status.code(), Some(2));
}

#[test]
fn an_encrypted_project_moves_and_starts_elsewhere() {
    let site = site();
    let output = run_with(site.path(), &["export", "--to", "site.age"], "correct horse\n");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("crosspoint.toml, al.txt, crosspoint-data/sealing.key"), "{said}");
    let bundle = site.path().join("site.age");
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read(&bundle).unwrap().starts_with(b"age-encryption.org/v1\n"));
    let bundle = bundle.to_str().unwrap();
    let there = tempfile::tempdir().unwrap();
    fs::write(there.path().join("phrase"), "correct horse\n").unwrap();
    let arguments = ["export", "--open", bundle, "--into", "plant", "--passphrase-file", "phrase"];
    let output = run(there.path(), &arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("start it: crosspoint up --project plant/crosspoint.toml"), "{said}");
    let checked = run(there.path(), &["check", "plant/crosspoint.toml"]);
    assert_eq!(checked.status.code(), Some(0), "its sealed secrets open there: {checked:?}");
    let output = run_with(there.path(), &["export", "--open", bundle, "--into", "x"], "wrong");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!there.path().join("x").exists());
    let again = run(there.path(), &arguments);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
}

#[test]
fn what_export_is_to_do_must_be_said() {
    let site = site();
    for arguments in
        [&["export"][..], &["export", "--into", "x"], &["export", "--to", "x", "--recipient", "age1nobody"]]
    {
        let output = run(site.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert!(!site.path().join("x").exists());
}
