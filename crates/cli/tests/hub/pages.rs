//! `completions` and `man`, on the built program.

use crate::support::{crosspoint, run, text};

#[test]
fn every_shell_gets_every_command() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = crosspoint(folder.path(), &["completions", shell]).output().unwrap();
        let script = text(&output.stdout);
        for word in ["explain", "doctor", "--env", "--project"] {
            assert!(script.contains(word.trim_start_matches('-')), "{word} is not in the words of {shell}");
        }
    }
    assert_eq!(run(folder.path(), &["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let output = crosspoint(folder.path(), &["man"]).output().unwrap();
    assert!(text(&output.stdout).contains(".TH crosspoint 1"), "{}", text(&output.stdout));
    let output = run(folder.path(), &["man", "--to", "pages"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for page in ["crosspoint.1", "crosspoint-explain.1", "crosspoint-outbox-list.1"] {
        let page = std::fs::read_to_string(folder.path().join("pages").join(page)).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}
