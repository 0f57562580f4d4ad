//! `secret`: sealing, moving and rotating on the command line, and where the key comes from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::TempDir;

use crate::support::{PROJECT, Up, crosspoint, folder, run, run_with, text, wait};

const PLANT: &str =
    "[connector.plant] # ours\nurl = \"mqtts://127.0.0.1:1\"\nusername = \"me\"\nenabled = false\n";

const PATH: &str = "connector.plant.password";

fn site() -> TempDir {
    folder(&format!("{PROJECT}{PLANT}"))
}

fn project(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("crosspoint.toml")).unwrap()
}

fn key(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("crosspoint-data/sealing.key")
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    text(&output.stderr)
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    text(&output.stderr)
}

fn check_with(folder: &Path, name: &str, value: &str) -> Output {
    let mut command = crosspoint(folder, &["check"]);
    let mut child = command.env(name, value).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

#[test]
fn a_secret_that_is_set_is_sealed_in_the_file_and_the_key_is_made_once() {
    let site = site();
    let said = done(&run_with(site.path(), &["secret", "set", PATH], "hunter2\n"));
    assert!(said.contains("sealing.key") && said.contains("back this up"), "{said}");
    assert_eq!(fs::metadata(key(&site)).unwrap().permissions().mode() & 0o777, 0o600);
    let first = project(&site);
    assert!(
        first.contains("[connector.plant] # ours\n") && first.contains("password = \"sealed:v1:"),
        "{first}"
    );
    assert!(!first.contains("hunter2"));
    let said = done(&run(site.path(), &["check"]));
    assert!(!said.contains("warning"), "{said}");
    let said = done(&run_with(site.path(), &["secret", "set", PATH], "hunter3"));
    assert!(!said.contains("back this up"), "{said}");
    assert_ne!(project(&site), first);
    let listed = run(site.path(), &["secret", "list"]);
    assert!(
        text(&listed.stdout).lines().any(|line| line.contains(PATH) && line.contains("opens")),
        "{listed:?}"
    );
}

#[test]
fn what_seal_prints_may_be_written_into_the_file_by_hand() {
    let site = site();
    let output = run_with(site.path(), &["secret", "seal", PATH], "hunter2\n");
    done(&output);
    let sealed = text(&output.stdout);
    let with = format!("{}password = \"{}\"\n", project(&site), sealed.trim());
    fs::write(site.path().join("crosspoint.toml"), with).unwrap();
    done(&run(site.path(), &["check"]));
}

#[test]
fn the_first_start_makes_the_key_and_says_to_back_it_up() {
    let site = site();
    let (up, said) = Up::running(site.path(), &[]);
    assert!(said.contains("sealing.key") && said.contains("back this up"), "{said}");
    let made = fs::read_to_string(key(&site)).unwrap();
    assert!(made.starts_with("# The sealing key") && made.contains("Back this up"), "{made}");
    assert_eq!(up.stop("TERM").0, Some(0));
    let (up, _) = Up::running(site.path(), &[]);
    assert_eq!(up.stop("TERM").0, Some(0));
    assert_eq!(fs::read_to_string(key(&site)).unwrap(), made);
}

#[test]
fn without_its_key_a_project_does_not_start_and_gets_no_new_one() {
    let site = site();
    done(&run_with(site.path(), &["secret", "set", PATH], "hunter2"));
    let kept = fs::read_to_string(key(&site)).unwrap();
    fs::remove_file(key(&site)).unwrap();
    for arguments in [&["up"][..], &["check"]] {
        let said = refused(&run(site.path(), arguments), 2);
        assert!(said.contains("there is no sealing key") && said.contains("backup"), "{said}");
    }
    refused(&run_with(site.path(), &["secret", "set", PATH], "hunter2"), 1);
    assert!(!key(&site).exists());
    let elsewhere = site.path().join("my.key");
    fs::write(&elsewhere, &kept).unwrap();
    let elsewhere = elsewhere.to_str().unwrap();
    done(&run(site.path(), &["check", "--key-file", elsewhere]));
    done(&check_with(site.path(), "CROSSPOINT_KEY_FILE", elsewhere));
    done(&check_with(site.path(), "CROSSPOINT_KEY", &kept));
    fs::create_dir(site.path().join("credentials")).unwrap();
    fs::write(site.path().join("credentials/crosspoint-key"), &kept).unwrap();
    done(&check_with(
        site.path(),
        "CREDENTIALS_DIRECTORY",
        site.path().join("credentials").to_str().unwrap(),
    ));
}

#[test]
fn another_key_is_named_and_a_damaged_value_is_told_from_it() {
    let site = site();
    done(&run_with(site.path(), &["secret", "set", PATH], "hunter2"));
    let other = run(site.path(), &["secret", "keygen"]);
    let said = refused(&check_with(site.path(), "CROSSPOINT_KEY", text(&other.stdout).trim()), 2);
    assert!(said.contains("was sealed with key") && said.contains("and the key at hand is"), "{said}");
    let damaged = project(&site);
    let at = damaged.find("sealed:v1:").unwrap() + "sealed:v1:".len() + 150;
    let mut bytes = damaged.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    fs::write(site.path().join("crosspoint.toml"), bytes).unwrap();
    let said = refused(&run(site.path(), &["check"]), 2);
    assert!(said.contains("has been damaged since it was sealed"), "{said}");
}

#[test]
fn a_rename_is_refused_with_the_command_that_mends_it() {
    let site = site();
    done(&run_with(site.path(), &["secret", "set", PATH], "hunter2"));
    let renamed = project(&site).replace("[connector.plant]", "[connector.site]");
    fs::write(site.path().join("crosspoint.toml"), renamed).unwrap();
    let said = refused(&run(site.path(), &["check"]), 2);
    let mend = format!("crosspoint secret move {PATH} connector.site.password");
    assert!(said.contains(&format!("was sealed for `{PATH}`")) && said.contains(&mend), "{said}");
    let words: Vec<&str> = mend.split(' ').skip(1).collect();
    done(&run(site.path(), &words));
    done(&run(site.path(), &["check"]));
}

#[test]
fn the_warning_of_plain_text_names_a_command_that_mends_it() {
    let site = folder(&format!("{PROJECT}{PLANT}password = \"hunter2\"\n"));
    let said = done(&run(site.path(), &["check"]));
    let mend = format!("crosspoint secret set {PATH} --keep");
    assert!(said.contains(&mend), "{said}");
    let words: Vec<&str> = mend.split(' ').skip(1).collect();
    done(&run(site.path(), &words));
    assert!(!project(&site).contains("hunter2"));
    assert!(!done(&run(site.path(), &["check"])).contains("warning"));
}

#[test]
fn a_rotation_retires_the_key_and_a_running_hub_goes_on() {
    let site = site();
    done(&run_with(site.path(), &["secret", "set", PATH], "hunter2"));
    let (old, before) = (fs::read_to_string(key(&site)).unwrap(), project(&site));
    let (up, _) = Up::running(site.path(), &[]);
    let said = done(&run(site.path(), &["secret", "rotate"]));
    assert!(said.contains("1 value is sealed with key") && said.contains("destroy it"), "{said}");
    assert_ne!(project(&site), before);
    done(&run(site.path(), &["check"]));
    assert_eq!(up.stop("TERM").0, Some(0));
    let said = refused(&check_with(site.path(), "CROSSPOINT_KEY", &old), 2);
    assert!(said.contains("was sealed with key"), "{said}");
}

#[test]
fn an_environment_gets_a_secret_of_its_own_only_when_that_is_said() {
    let site = site();
    let file = site.path().join("crosspoint.toml");
    fs::write(&file, format!("{}[environment.live.connector.plant]\nenabled = false\n", project(&site)))
        .unwrap();
    let said = done(&run_with(site.path(), &["secret", "set", PATH, "--env", "live"], "hunter2"));
    assert!(said.contains("--overlay"), "{said}");
    let said =
        done(&run_with(site.path(), &["secret", "set", PATH, "--env", "live", "--overlay"], "hunter3"));
    assert!(said.contains("of environment live"), "{said}");
    let listed = run(site.path(), &["secret", "list", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&text(&listed.stdout)).unwrap();
    assert_eq!(
        (rows[0]["environment"].is_null(), rows[1]["environment"].as_str()),
        (true, Some("live")),
        "{rows}"
    );
    done(&run(site.path(), &["check", "--env", "live"]));
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_no_key_behind() {
    let site = site();
    let said = refused(&run_with(site.path(), &["secret", "set", "connector.plnt.password"], "x"), 2);
    assert!(said.contains("no `connector.plnt`"), "{said}");
    let said = refused(&run_with(site.path(), &["secret", "set", "connector.plant.url"], "x"), 2);
    assert!(said.contains("is not the path of a secret"), "{said}");
    let said = refused(&run_with(site.path(), &["secret", "set", PATH], "\n"), 2);
    assert!(said.contains("the secret is empty"), "{said}");
    assert!(!key(&site).exists());
    assert_eq!(project(&site), format!("{PROJECT}{PLANT}"));
}

#[test]
fn a_new_key_is_written_for_its_owner_only_and_over_nothing() {
    let site = site();
    done(&run(site.path(), &["secret", "keygen", "--to", "my.key"]));
    let path = site.path().join("my.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let said = refused(&run(site.path(), &["secret", "keygen", "--to", "my.key"]), 1);
    assert!(said.contains("my.key cannot be made"), "{said}");
    done(&run_with(site.path(), &["secret", "set", PATH], "hunter2"));
    let said = done(&run(site.path(), &["secret", "rotate", "--new-key-file", "my.key"]));
    assert!(said.contains("start the hub with the new key from my.key"), "{said}");
    done(&run(site.path(), &["check", "--key-file", "my.key"]));
    refused(&run(site.path(), &["check"]), 2);
}

#[test]
fn where_a_secret_goes_is_looked_at_before_anybody_is_asked_for_it() {
    let site = site();
    for (words, what) in [
        (&["secret", "set", "connector.plent.password"][..], "no `connector.plent`"),
        (&["secret", "set", PATH, "--env", "nowhere"], "no environment nowhere"),
        (&["secret", "seal", "connector.plant.url"], "not the path of a secret"),
    ] {
        // There is nothing on stdin.
        let said = refused(&run(site.path(), words), 2);
        assert!(said.contains(what) && !said.contains("is empty"), "{words:?}: {said}");
    }
    assert!(refused(&run(site.path(), &["secret", "set", PATH]), 2).contains("the secret is empty"));
}

#[test]
fn every_command_that_reads_the_project_takes_the_key_from_a_file() {
    let site = site();
    let set = run_with(site.path(), &["secret", "set", PATH], "hunter2");
    done(&set);
    let elsewhere = site.path().join("elsewhere.key");
    fs::rename(key(&site), &elsewhere).unwrap();
    let file = elsewhere.to_str().unwrap();
    for words in [&["explain", "connector.plant.keep_alive_s"][..], &["check"]] {
        done(&run(site.path(), &[words, &["--key-file", file]].concat()));
    }
    for words in [
        &["pub", "--connector", "plant", "-t", "a", "-m", "x"][..],
        &["sub", "--connector", "plant", "-t", "a"],
        &["request", "--connector", "plant", "-t", "a", "-m", "x"],
    ] {
        // The project is wrong without the key, and with it nobody answers at its port.
        let closed = refused(&run(site.path(), words), 2);
        assert!(closed.contains("cannot be used"), "{words:?}: {closed}");
        let opened = refused(&run(site.path(), &[words, &["--key-file", file, "-W", "20"]].concat()), 1);
        assert!(!opened.contains("cannot be used"), "{words:?}: {opened}");
    }
}
