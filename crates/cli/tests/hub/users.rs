//! `user`: what a password of the embedded broker is kept as.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::support::{PROJECT, Up, folder, read_until, run, run_with, text};

const PASSWORD: &str = "a long password";

/// Returns the hash of the password that the command prints.
#[track_caller]
fn hash(folder: &Path, arguments: &[&str]) -> String {
    let made = run_with(folder, &[&["user", "hash"], arguments].concat(), &format!("{PASSWORD}\n"));
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    text(&made.stdout).trim_end().to_owned()
}

/// Returns a user of the embedded broker, and a connector of the same name that comes in by SCRAM at this port.
fn user_and_connector(name: &str, hash: &str, port: u16) -> String {
    format!(
        "[broker.user.{name}]\npassword = '{hash}'\nroles = 'all'\n\
         [connector.{name}]\nurl = 'mqtt://127.0.0.1:{port}'\nusername = '{name}'\npassword = '{PASSWORD}'\n\
         auth = 'scram-sha-256'\n"
    )
}

#[test]
fn a_hash_that_is_printed_is_a_password_of_the_project() {
    for (arguments, beginning) in [
        (&["user", "hash"][..], "$argon2id$v=19$"),
        (&["user", "hash", "--scram"], "$scram-sha-256$i=16384$"),
    ] {
        let folder = folder(PROJECT);
        let made = run_with(folder.path(), arguments, "a long password\n");
        assert_eq!(made.status.code(), Some(0), "{made:?}");
        let hash = text(&made.stdout);
        assert!(hash.starts_with(beginning) && hash.ends_with('\n') && !hash.contains("long"), "{hash}");
        let user = format!(
            "[broker.user.al]\npassword = '{}'\nroles = 'r'\n[broker.role.r]\nallow = 'both #'\n",
            hash.trim_end()
        );
        fs::write(folder.path().join("crosspoint.toml"), format!("{PROJECT}{user}")).unwrap();
        let checked = run(folder.path(), &["check"]);
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        assert!(!text(&checked.stderr).contains("warning"), "{checked:?}");
    }
}

#[test]
fn a_password_that_scram_does_not_allow_is_refused() {
    let made = run_with(folder("").path(), &["user", "hash", "--scram"], "bell \u{7}\n");
    assert_eq!(made.status.code(), Some(2), "{made:?}");
    assert!(text(&made.stderr).contains("characters that SCRAM does not allow"), "{made:?}");
}

#[test]
fn a_user_comes_in_by_scram_with_a_hash_for_it_and_another_is_named_in_the_log() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = folder("");
    let users = [("kept", &["--scram"][..]), ("argon", &[])];
    let users = users.map(|(name, how)| user_and_connector(name, &hash(folder.path(), how), port)).concat();
    let around = PROJECT.replace(":0", &format!(":{port}")) + "[broker.role.all]\nallow = 'both #'\n";
    fs::write(folder.path().join("crosspoint.toml"), around + &users).unwrap();
    let (up, _) = Up::running(folder.path(), &["up"]);
    let said = read_until(&up.log, "tried SCRAM and cannot");
    let line = said.lines().last().unwrap();
    assert!(line.contains("user=argon") && line.contains("crosspoint user hash --scram"), "{line}");
    let publish = |connector| {
        run(folder.path(), &["pub", "--connector", connector, "-t", "a", "-m", "x", "-q", "1", "-W", "10"])
    };
    let kept = publish("kept");
    assert_eq!(kept.status.code(), Some(0), "{kept:?}");
    let argon = publish("argon");
    assert_ne!(argon.status.code(), Some(0), "{argon:?}");
    assert!(text(&argon.stderr).contains("bad user name or password"), "{argon:?}");
    assert_eq!(up.stop("TERM").0, Some(0));
}
