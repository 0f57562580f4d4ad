//! `outbox`, `dead`, `store status` and `pub --store` while the hub runs, and what `up` says of what waits.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PROJECT, Up, WITHIN, crosspoint, folder, free_port, port, run, text};

/// A site that sends what comes under `out/` to a broker at a port. A message without a name in it dies.
fn site(port: u16) -> TempDir {
    folder(&format!(
        "{PROJECT}[connector.plant]\nurl = \"mqtt://127.0.0.1:{port}\"\nreconnect_min_ms = 100\n\
         reconnect_max_ms = 200\n\
         [flow.f]\nfrom = {{ connector = \"broker\", topics = \"out/#\" }}\nto = {{ connector = \"plant\" }}\n\
         [flow.named]\nfrom = {{ connector = \"broker\", topics = \"named\" }}\n\
         to = {{ connector = \"plant\", topic = \"to/{{payload.name}}\" }}\n"
    ))
}

#[track_caller]
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let said = done(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"))
}

/// Publishes to the site's own broker, confirmed.
fn publish(folder: &TempDir, port: u16, topic: &str, payload: &str) {
    let port = port.to_string();
    done(folder.path(), &["pub", "-p", &port, "-t", topic, "-m", payload, "-q", "1"]);
}

/// Returns what a list says of `plant`.
#[track_caller]
fn listed(folder: &TempDir, of: &str, key: &str) -> Value {
    let rows = json(folder.path(), &[of, "list"]);
    let row = rows.as_array().unwrap().iter().find(|row| row["connector"] == "plant");
    row.unwrap_or_else(|| panic!("{rows}"))[key].clone()
}

/// Waits until a list says so of `plant`.
#[track_caller]
fn wait_for(folder: &TempDir, of: &str, key: &str, value: u64) {
    let begin = Instant::now();
    loop {
        let now = listed(folder, of, key);
        if now == value {
            return;
        }
        assert!(begin.elapsed() < WITHIN, "{key} is {now}, not {value}");
    }
}

fn topics(folder: &TempDir, of: &str) -> Vec<String> {
    let rows = json(folder.path(), &[of, "show", "plant"]);
    rows.as_array().unwrap().iter().map(|row| row["topic"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_waits_in_a_running_hub_is_seen_and_dropped_and_told_at_the_next_start() {
    let site = site(free_port());
    let (up, printed) = Up::running(site.path(), &[]);
    let at = port(&printed, "mqtt://");
    assert!(!printed.contains("wait"), "{printed}");
    for topic in ["out/a", "out/b", "out/c", "out/d"] {
        publish(&site, at, topic, "x");
    }
    wait_for(&site, "outbox", "waiting", 4);
    let status = json(site.path(), &["store", "status"]);
    assert_eq!((&status["process"], &status["outboxes"]), (&json!(up.child.id()), &json!(4)), "{status}");
    assert_eq!(topics(&site, "outbox"), ["out/a", "out/b", "out/c", "out/d"]);
    assert_eq!(done(site.path(), &["outbox", "export", "plant"]).lines().count(), 4);
    // The first may be on its way to the connector's client, and such are not dropped.
    let said = done(site.path(), &["outbox", "drop", "plant", "--all"]);
    let dropped: u64 = said.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(listed(&site, "outbox", "dropped_by_command"), dropped, "{said}");
    assert_eq!(listed(&site, "outbox", "waiting"), 4 - dropped);
    publish(&site, at, "out/e", "x");
    wait_for(&site, "outbox", "waiting", 5 - dropped);
    assert_eq!(up.stop("TERM").0, Some(0));

    assert_eq!(listed(&site, "outbox", "waiting"), 5 - dropped, "and when it has stopped");
    let (up, printed) = Up::running(site.path(), &[]);
    let waiting = match 5 - dropped {
        1 => "1 message waits in an outbox".to_owned(),
        count => format!("{count} messages wait in outboxes"),
    };
    assert!(printed.contains(&format!("  {waiting}: crosspoint outbox list\n")), "{printed}");
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn what_is_published_into_the_outbox_of_a_running_hub_arrives_when_its_broker_is_there() {
    let far_port = free_port();
    let site = site(far_port);
    let (up, _) = Up::running(site.path(), &[]);
    let keep = |payload| {
        done(
            site.path(),
            &["pub", "--store", "--connector", "plant", "-t", "by/hand", "-m", payload, "-q", "2"],
        )
    };
    keep("first");
    keep("second");
    assert_eq!(listed(&site, "outbox", "waiting"), 2);
    assert_eq!(done(site.path(), &["outbox", "retry", "plant"]), "2 messages of plant on the way again\n");

    let far = folder(&PROJECT.replace("127.0.0.1:0", &format!("127.0.0.1:{far_port}")));
    let session =
        ["-p", &far_port.to_string(), "-t", "by/hand", "-q", "2", "-c", "-i", "reader"].map(str::to_owned);
    let (far_up, _) = Up::running(far.path(), &[]);
    let mut sub = crosspoint(far.path(), &["sub", "-C", "2", "-W", "30"]);
    let sub = sub.args(&session).stdout(std::process::Stdio::piped()).spawn().unwrap();
    // Whether the subscription or the messages come first is not told: one more comes for sure after it.
    wait_for(&site, "outbox", "confirmed", 2);
    let begin = Instant::now();
    let mut sub = sub;
    while sub.try_wait().unwrap().is_none() && begin.elapsed() < WITHIN {
        keep("more");
    }
    let heard = text(&sub.wait_with_output().unwrap().stdout);
    assert_eq!(heard.lines().count(), 2, "{heard}");
    assert_eq!((up.stop("TERM").0, far_up.stop("TERM").0), (Some(0), Some(0)));
}

#[test]
fn a_dead_letter_of_a_running_hub_is_mended_and_sent() {
    let far = folder(PROJECT);
    let (far_up, printed) = Up::running(far.path(), &[]);
    let far_port = port(&printed, "mqtt://");
    let site = site(far_port);
    let (up, printed) = Up::running(site.path(), &[]);
    publish(&site, port(&printed, "mqtt://"), "named", "{\"nom\": 1}");
    wait_for(&site, "dead", "dead", 1);
    let row = &json(site.path(), &["dead", "show", "plant"])[0];
    assert!(row["reason"].as_str().unwrap().contains("name"), "{row}");
    let position = row["position"].to_string();
    let said = done(site.path(), &["dead", "edit", "plant", &position, "-t", "to/mended", "-m", "mended"]);
    let moved = json(site.path(), &["dead", "show", "plant"])[0]["position"].to_string();
    assert!(said.contains(&format!("crosspoint dead retry plant {moved}")), "{said}");
    done(site.path(), &["dead", "retry", "plant", &moved]);
    wait_for(&site, "outbox", "confirmed", 1);
    assert_eq!(topics(&site, "dead"), [""; 0]);
    publish(&site, port(&printed, "mqtt://"), "named", "{}");
    wait_for(&site, "dead", "dead", 1);
    assert_eq!(up.stop("TERM").0, Some(0));
    let (up, printed) = Up::running(site.path(), &["--data", "crosspoint-data"]);
    assert!(printed.contains("  1 dead letter: crosspoint dead list --data crosspoint-data\n"), "{printed}");
    assert_eq!(up.stop("TERM").0, Some(0));
    assert_eq!(far_up.stop("TERM").0, Some(0));
}

#[test]
fn a_second_hub_on_the_same_folder_is_refused_and_names_the_first() {
    let site = folder(PROJECT);
    let (up, _) = Up::running(site.path(), &[]);
    let output = run(site.path(), &["up"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let process = up.child.id();
    assert!(
        said.contains(&format!("error: the data folder crosspoint-data is in use by process {process}\n")),
        "{said}"
    );
    let next: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix(" next: ")).collect();
    assert_eq!(next.len(), 1, "{said}");
    assert!(next[0].contains(&format!("kill -TERM {process}")) && next[0].contains("--data DIR"), "{said}");
    for arguments in [&["store", "verify"][..], &["store", "salvage", "saved"]] {
        let output = run(site.path(), arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(&format!("in use by process {process}")), "{output:?}");
    }
    assert_eq!(up.stop("TERM").0, Some(0), "the first goes on");
    assert_eq!(run(site.path(), &["store", "verify"]).status.code(), Some(0));
}

#[test]
fn a_hub_that_was_killed_is_asked_on_disk_and_the_next_one_answers_again() {
    let site = site(free_port());
    let (mut up, printed) = Up::running(site.path(), &[]);
    publish(&site, port(&printed, "mqtt://"), "out/a", "x");
    wait_for(&site, "outbox", "waiting", 1);
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    assert!(site.path().join("crosspoint-data/control.sock").exists(), "it had no time to remove it");
    assert_eq!(topics(&site, "outbox"), ["out/a"]);
    assert_eq!(json(site.path(), &["store", "status"])["process"], Value::Null);
    let (up, _) = Up::running(site.path(), &[]);
    assert_eq!(topics(&site, "outbox"), ["out/a"]);
    assert_eq!(json(site.path(), &["store", "status"])["process"], up.child.id());
    assert_eq!(up.stop("TERM").0, Some(0));
    assert!(!site.path().join("crosspoint-data/control.sock").exists());
    fs::remove_dir_all(site.path().join("crosspoint-data/store")).unwrap();
    assert_eq!(run(site.path(), &["outbox", "list"]).status.code(), Some(2), "there is nothing left to ask");
}
