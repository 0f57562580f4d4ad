//! `outbox`, `dead` and `pub --store` on what a hub that has stopped left.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use crosspoint_client::protocol::{Message, Now, QoS, TopicName, packet::PublishProperties};
use crosspoint_store::{Batch, Directory, Options, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{crosspoint, run, text};

/// Returns a folder with what a hub left that had the connectors `plant` and `cloud`, and has these dead letters of
/// `plant`: topics and reasons.
fn stopped(dead: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path().join("crosspoint-data/store")).unwrap();
    let store = Store::open(directory, Options::default().reserve_bytes(0)).unwrap();
    let mut batch = Batch::new();
    for (name, number) in [("plant", 1_u64), ("cloud", 2)] {
        let row = [&[1][..], &number.to_le_bytes()].concat();
        batch.put(16, name.as_bytes().to_vec().into(), row.into());
    }
    for (topic, reason) in dead {
        batch.publish(letter(topic, reason).into(), [(8 + 3, 1)]);
    }
    store.commit(batch).wait().unwrap();
    store.close();
    folder
}

/// A dead letter as `docs/formats/records.md` has it.
fn letter(topic: &str, reason: &str) -> Vec<u8> {
    // Form, may have been delivered, died at 5 ms, 3 attempts.
    let mut bytes = vec![1, 1, 5, 3];
    for words in [reason, "the last error"] {
        bytes.push(words.len().try_into().unwrap());
        bytes.extend_from_slice(words.as_bytes());
    }
    // Form, accepted at 4 ms, the flow.
    bytes.extend_from_slice(&[1, 4, 1, b'f']);
    let (topic, none) = (TopicName::parse(topic).unwrap(), PublishProperties::default());
    let now = Now { monotonic_ms: 0, wall_ms: 0 };
    Message::new(&topic, b"old", QoS::AtLeastOnce, false, &none, now).to_stored(&mut bytes);
    bytes
}

#[track_caller]
fn done(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder.path(), arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn json(folder: &TempDir, arguments: &[&str]) -> Value {
    let said = done(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"))
}

/// Says how a command ended: its exit code, its cause and its next step.
#[track_caller]
fn refused(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stderr, .. } = run(folder.path(), arguments);
    let said = text(&stderr);
    let line = |start: &str| {
        let mut lines = said.lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned);
        let line = lines.next().unwrap_or_else(|| panic!("no {start} in {said}"));
        assert_eq!(lines.next(), None, "{said}");
        line
    };
    (status.code(), line("error: "), line(" next: "))
}

fn publish(folder: &TempDir, topic: &str, more: &[&str]) -> Output {
    run(folder.path(), &[&["pub", "--store", "--connector", "plant", "-t", topic], more].concat())
}

fn topics(folder: &TempDir, of: &str) -> Vec<String> {
    let rows = json(folder, &[of, "show", "plant"]);
    rows.as_array().unwrap().iter().map(|row| row["topic"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_published_into_an_outbox_waits_there_with_all_that_belongs_to_it() {
    let folder = stopped(&[]);
    let output = publish(
        &folder,
        "a/b",
        &["-m", "größe", "-q", "2", "-r", "-D", "publish", "user-property", "k", "v"],
    );
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()), "{output:?}");
    let rows = json(&folder, &["outbox", "show", "plant"]);
    let row = &rows[0];
    for (key, value) in [
        ("position", json!(0)),
        ("topic", json!("a/b")),
        ("qos", json!(2)),
        ("retain", json!(true)),
        ("payload", json!("größe")),
        ("payload_bytes", json!(7)),
        ("properties", json!({"user": [["k", "v"]]})),
    ] {
        assert_eq!(row[key], value, "{row}");
    }
    let table = done(&folder, &["outbox", "show", "plant"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..2], ["POSITION", "ACCEPTED"], "{table}");
    assert_eq!((lines.len(), lines[1].last()), (2, Some(&"größe")), "{table}");
}

#[test]
fn every_line_of_stdin_is_a_message_of_its_own() {
    let folder = stopped(&[]);
    let mut command =
        crosspoint(folder.path(), &["pub", "--store", "--connector", "plant", "-t", "t", "-l", "-q", "1"]);
    fs::write(folder.path().join("lines"), "one\ntwo\nthree").unwrap();
    let status = command.stdin(fs::File::open(folder.path().join("lines")).unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let rows = json(&folder, &["outbox", "show", "plant"]);
    let payloads: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["payload"].clone()).collect();
    assert_eq!(payloads, ["one", "two", "three"]);
    let output = publish(&folder, "t", &["-m", "x", "--repeat", "2"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(topics(&folder, "outbox").len(), 5);
}

#[test]
fn a_list_has_every_connector_and_adds_up() {
    let folder = stopped(&[("a", "denied")]);
    for topic in ["a", "b", "c"] {
        assert!(publish(&folder, topic, &["-m", "x"]).status.success());
    }
    done(&folder, &["outbox", "drop", "plant", "--oldest", "1"]);
    let rows = json(&folder, &["outbox", "list"]);
    assert_eq!((rows[0]["connector"].clone(), rows[0]["accepted"].clone()), (json!("cloud"), json!(0)));
    for (key, value) in [("waiting", 2), ("accepted", 3), ("dropped", 1), ("dropped_by_command", 1)] {
        assert_eq!(rows[1][key], value, "{rows}");
    }
    let table = done(&folder, &["outbox", "list"]);
    assert!(table.starts_with("CONNECTOR  WAITING "), "{table}");
    assert!(table.lines().any(|line| line.starts_with("plant ") && line.contains(" 2 ")), "{table}");
    let dead = json(&folder, &["dead", "list"]);
    assert_eq!((&dead[1]["dead"], &dead[1]["reason"]), (&json!(1), &json!("denied")), "{dead}");
}

#[test]
fn what_waits_is_dropped_only_as_far_as_it_is_said() {
    let folder = stopped(&[]);
    for topic in ["a", "b", "c", "d"] {
        assert!(publish(&folder, topic, &["-m", "x", "-q", "1"]).status.success());
    }
    assert_eq!(
        run(folder.path(), &["outbox", "drop", "plant"]).status.code(),
        Some(2),
        "all is not the default"
    );
    assert_eq!(topics(&folder, "outbox").len(), 4);
    assert_eq!(done(&folder, &["outbox", "drop", "plant", "--oldest", "2"]), "2 messages of plant dropped\n");
    assert_eq!(topics(&folder, "outbox"), ["c", "d"]);
    assert_eq!(done(&folder, &["outbox", "drop", "plant", "--all"]), "2 messages of plant dropped\n");
    assert_eq!(done(&folder, &["outbox", "show", "plant"]).lines().count(), 1, "only titles");
    assert_eq!(json(&folder, &["outbox", "show", "plant"]), json!([]));
}

#[test]
fn a_part_is_shown_and_everything_is_exported() {
    let folder = stopped(&[("a", "x")]);
    let input = (0..300).map(|number| format!("{number}\n")).collect::<String>();
    fs::write(folder.path().join("lines"), input).unwrap();
    let mut command = crosspoint(folder.path(), &["pub", "--store", "--connector", "plant", "-t", "t", "-l"]);
    let lines = fs::File::open(folder.path().join("lines")).unwrap();
    assert!(command.stdin(lines).status().unwrap().success());
    let part = json(&folder, &["outbox", "show", "plant", "--from", "290", "--count", "3"]);
    let positions: Vec<_> = part.as_array().unwrap().iter().map(|row| row["position"].clone()).collect();
    assert_eq!(positions, [290, 291, 292]);
    assert_eq!(json(&folder, &["outbox", "show", "plant"]).as_array().unwrap().len(), 20);

    let exported = done(&folder, &["outbox", "export", "plant"]);
    let rows: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[299]["payload"]), (300, &json!("299")));
    assert_eq!(topics(&folder, "outbox").len(), 20, "nothing is removed");
    assert_eq!(done(&folder, &["dead", "export", "plant", "--to", "dead.json"]), "");
    let file = fs::read_to_string(folder.path().join("dead.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap()["reason"], "x");
    let (code, cause, _) = refused(&folder, &["dead", "export", "plant", "--to", "dead.json"]);
    assert_eq!((code, cause.as_str()), (Some(2), "dead.json is there already"));
}

#[test]
fn a_dead_letter_is_looked_at_changed_and_sent_again() {
    let folder = stopped(&[("a", "denied"), ("b", "too large")]);
    let table = done(&folder, &["dead", "show", "plant"]);
    let first = table.lines().nth(1).unwrap();
    assert!(first.contains("denied") && first.contains("1970-01-01") && first.contains("yes"), "{table}");
    let row = &json(&folder, &["dead", "show", "plant"])[0];
    for (key, value) in [
        ("attempts", json!(3)),
        ("may_be_delivered", json!(true)),
        ("last_error", json!("the last error")),
        ("died_wall_ms", json!(5)),
        ("payload", json!("old")),
    ] {
        assert_eq!(row[key], value, "{row}");
    }
    fs::write(folder.path().join("new"), "new").unwrap();
    let said =
        done(&folder, &["dead", "edit", "plant", "0", "-t", "c", "-f", "new", "-q", "2", "-r", "true"]);
    assert!(said.contains("`crosspoint dead retry plant 2`"), "{said}");
    assert_eq!(
        done(&folder, &["dead", "retry", "plant", "2"]),
        "1 dead letter of plant in the outbox again\n"
    );
    assert_eq!(topics(&folder, "dead"), ["b"]);
    let row = &json(&folder, &["outbox", "show", "plant"])[0];
    for (key, value) in
        [("topic", json!("c")), ("payload", json!("new")), ("qos", json!(2)), ("retain", json!(true))]
    {
        assert_eq!(row[key], value, "{row}");
    }
    assert_eq!(done(&folder, &["dead", "drop", "plant", "--all"]), "1 dead letter of plant dropped\n");
    assert_eq!(topics(&folder, "dead"), [""; 0]);
}

#[test]
fn what_is_not_there_is_named_and_nothing_is_done() {
    let folder = stopped(&[("a", "denied")]);
    for (arguments, cause, next) in [
        (&["outbox", "show", "plnt"][..], "the hub knows no connector plnt", "cloud, plant"),
        (&["dead", "drop", "plant", "0", "9"], "plant has no dead letter 9", "crosspoint dead show plant"),
        (
            &["dead", "edit", "plant", "9", "-t", "x"],
            "plant has no dead letter 9",
            "crosspoint dead show plant",
        ),
        (&["dead", "edit", "plant", "0", "-t", "x/#"], "cannot be published to", "without + and #"),
        (&["dead", "edit", "plant", "0"], "nothing is to be changed", "-t"),
        (&["outbox", "list", "--data", "nowhere"], "there is no store in nowhere/store", "--data"),
        (
            &["pub", "--store", "--connector", "plnt", "-t", "a", "-m", "x"],
            "no connector plnt",
            "cloud, plant",
        ),
    ] {
        let (code, said, mend) = refused(&folder, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(cause) && mend.contains(next), "{arguments:?}: {said}; {mend}");
    }
    assert_eq!(topics(&folder, "dead"), ["a"]);
    let (code, said, mend) = refused(&folder, &["outbox", "retry", "plant"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not run") && mend.contains("crosspoint up"), "{said}; {mend}");
}

#[test]
fn wrong_arguments_are_wrong() {
    let folder = stopped(&[]);
    for arguments in [
        &["outbox"][..],
        &["outbox", "show"],
        &["outbox", "show", "plant", "--count", "0"],
        &["outbox", "drop", "plant", "--oldest", "0"],
        &["outbox", "drop", "plant", "--oldest", "1", "--all"],
        &["dead", "retry", "plant"],
        &["dead", "drop", "plant", "first"],
        &["dead", "drop", "plant", "1", "--all"],
        &["dead", "edit", "plant", "0", "-m", "x", "-n"],
        &["dead", "edit", "plant", "0", "-q", "3"],
        &["pub", "--store", "-t", "a", "-m", "x"],
        &["pub", "--store", "--connector", "plant", "-m", "x"],
        &["pub", "--store", "--connector", "plant", "-t", "a", "-m", "x", "-i", "me"],
        &["pub", "--data", "d", "-t", "a", "-m", "x"],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(!Path::new(&folder.path().join("d")).exists());
}

#[test]
fn a_store_that_another_process_has_and_that_cannot_be_asked_is_named() {
    let folder = stopped(&[]);
    let directory = Directory::open(folder.path().join("crosspoint-data/store")).unwrap();
    for arguments in [
        &["outbox", "list"][..],
        &["dead", "list"],
        &["pub", "--store", "--connector", "plant", "-t", "a", "-m", "x"],
    ] {
        let (code, cause, next) = refused(&folder, arguments);
        assert_eq!(code, Some(1));
        let process = format!("in use by process {}, which takes no commands", std::process::id());
        assert!(cause.contains(&process) && next.contains("kill -TERM"), "{cause}; {next}");
    }
    drop(directory);
}

#[test]
fn whoever_reads_may_leave_when_he_has_seen_enough() {
    let folder = stopped(&[]);
    fs::write(folder.path().join("lines"), format!("{}\n", "x".repeat(2_000)).repeat(300)).unwrap();
    let mut command = crosspoint(folder.path(), &["pub", "--store", "--connector", "plant", "-t", "t", "-l"]);
    let lines = fs::File::open(folder.path().join("lines")).unwrap();
    assert!(command.stdin(lines).status().unwrap().success());
    for arguments in
        [&["outbox", "export", "plant"][..], &["outbox", "show", "plant", "--count", "300", "--json"]]
    {
        let mut command = crosspoint(folder.path(), arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
}
