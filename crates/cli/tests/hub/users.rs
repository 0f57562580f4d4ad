//! `user` and `acl`: who may sign in to the embedded broker, what a password is kept as, and who may do what.

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

const ROLES: &str = "# who may what\n[broker.role.plant] # the line\nallow = ['publish sensors/%u/#', 'subscribe sensors/#']\ndeny = 'subscribe sensors/secret'\n";

fn site() -> (tempfile::TempDir, String) {
    let written = format!("# ours\n{PROJECT}{ROLES}");
    (folder(&written), written)
}

fn written(folder: &tempfile::TempDir) -> String {
    fs::read_to_string(folder.path().join("crosspoint.toml")).unwrap()
}

#[track_caller]
fn done(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    text(&output.stderr)
}

#[test]
fn users_come_and_go_in_the_project_file_and_who_is_shut_out_is_said() {
    let (folder, before) = site();
    let add = |name: &str, more: &[&str]| {
        run_with(folder.path(), &[&["user", "add", name], more].concat(), &format!("{PASSWORD}\n"))
    };
    let said = done(&add("alice", &["--role", "plant"]));
    assert!(
        said.contains("alice is a user") && said.contains("without a name cannot come in any more"),
        "{said}"
    );
    assert!(said.contains("listener ") && said.contains("127.0.0.1"), "{said}");
    let one = written(&folder);
    assert!(
        one.starts_with(&before) && one.contains("\n[broker.user.alice]\npassword = \"$argon2id$"),
        "{one}"
    );
    assert!(one.ends_with("roles = [\"plant\"]\n") && !one.contains(PASSWORD), "{one}");

    let said = done(&add("bob", &["--scram"]));
    assert!(said.contains("bob has no role") && !said.contains("without a name"), "{said}");
    let listed = run(folder.path(), &["user", "list", "--json"]);
    done(&listed);
    let rows = "[\n{\"name\":\"alice\",\"kept_as\":\"argon2id\",\"roles\":[\"plant\"]},\n\
                {\"name\":\"bob\",\"kept_as\":\"scram-sha-256\",\"roles\":[]}\n]\n";
    assert_eq!(text(&listed.stdout), rows);

    assert!(!done(&run(folder.path(), &["user", "remove", "bob"])).contains("no user is left"));
    assert_eq!(written(&folder), one);
    let said = done(&run(folder.path(), &["user", "remove", "alice"]));
    assert!(said.contains("no user is left") && said.contains("127.0.0.1"), "{said}");
    assert_eq!(written(&folder), before);
}

#[test]
fn what_cannot_be_added_or_removed_changes_nothing() {
    let (folder, before) = site();
    let user = |arguments: &[&str], why: &str| {
        let refused = run_with(folder.path(), &[&["user"], arguments].concat(), "x\n");
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(text(&refused.stderr).contains(why), "{refused:?}");
    };
    user(&["add", "alice", "--role", "plan"], "did you mean \"plant\"?");
    user(&["add", ""], "a user has a name");
    user(&["remove", "alice"], "no user \"alice\"");
    assert_eq!(written(&folder), before);
    done(&run_with(folder.path(), &["user", "add", "alice"], "x\n"));
    let one = written(&folder);
    user(&["add", "alice"], "there is a user \"alice\" already");
    assert_eq!(written(&folder), one);
}

#[test]
fn a_user_that_is_removed_is_removed_from_every_environment() {
    let overlay = "[environment.live.broker.user.alice]\nroles = []\n";
    let (folder, before) = site();
    done(&run_with(folder.path(), &["user", "add", "alice", "--role", "plant"], "x\n"));
    let path = folder.path().join("crosspoint.toml");
    fs::write(&path, written(&folder) + overlay).unwrap();
    done(&run(folder.path(), &["user", "remove", "alice"]));
    assert!(!written(&folder).contains("alice"), "{}", written(&folder));
    assert!(written(&folder).starts_with(&before));
    done(&run(folder.path(), &["check", "--env", "all"]));
}

#[test]
fn a_connector_that_came_in_without_a_name_is_named_when_the_first_user_shuts_it_out() {
    let project = PROJECT.replace(":0", ":12345") + "[connector.self]\nurl = 'mqtt://127.0.0.1:12345'\n";
    let folder = folder(&project);
    let said = done(&run_with(folder.path(), &["user", "add", "alice"], "x\n"));
    assert!(said.contains("connector self is one of them"), "{said}");
}

#[test]
fn who_may_do_what_is_told_with_the_rule_that_decides() {
    let (folder, _) = site();
    let explain = |arguments: &[&str]| run(folder.path(), &[&["acl", "explain"], arguments].concat());
    let anonymous = explain(&["-", "pub", "a"]);
    assert!(text(&anonymous.stdout).starts_with("allowed: "), "{anonymous:?}");
    done(&run_with(folder.path(), &["user", "add", "alice", "--role", "plant"], "x\n"));
    for (arguments, code, expected) in [
        (
            ["alice", "pub", "sensors/alice/1"],
            0,
            "allowed: role `plant` has `publish sensors/%u/#` in its allow list (here `sensors/alice/#`)\n",
        ),
        (["alice", "pub", "sensors/bob/1"], 1, "denied: no rule allows it\n"),
        (
            ["alice", "sub", "sensors/secret"],
            1,
            "denied: role `plant` has `subscribe sensors/secret` in its deny list (here `sensors/secret`)\n",
        ),
        (
            ["alice", "sub", "sensors/+"],
            0,
            "allowed in part, messages are filtered at delivery: role `plant` has `subscribe sensors/secret` in its deny list (here `sensors/secret`)\n",
        ),
    ] {
        let explained = explain(&arguments);
        assert_eq!((explained.status.code(), text(&explained.stdout).as_str()), (Some(code), expected));
    }
    for (arguments, why) in [
        (["carol", "pub", "a"], "no user \"carol\""),
        (["-", "pub", "a"], "no listener lets a client in without a name"),
        (["alice", "pub", "a/#"], "give a topic for pub"),
    ] {
        let refused = explain(&arguments);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(text(&refused.stderr).contains(why), "{refused:?}");
    }
}
