//! `user`: what a password of the embedded broker is kept as.

use std::fs;

use crate::support::{PROJECT, folder, run, run_with, text};

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
