//! `sub --keep`, `sub --kept` and `subscriptions`.

use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{PROJECT, Up, WITHIN, crosspoint, folder, lines, port, read_until, run, text, wait};

/// A site with a connector to another one, which runs.
struct Sites {
    site: TempDir,
    up: Option<Up>,
    far: TempDir,
    _far_up: Up,
}

impl Sites {
    fn start(more: &str) -> Self {
        let far = folder(PROJECT);
        let (far_up, printed) = Up::running(far.path(), &[]);
        let site = folder(&format!(
            "{PROJECT}[connector.plant]\nurl = \"mqtt://127.0.0.1:{}\"\nreconnect_min_ms = 100\nreconnect_max_ms = 200\n{more}",
            port(&printed, "mqtt://")
        ));
        let mut sites = Self { site, up: None, far, _far_up: far_up };
        sites.start_hub();
        sites
    }

    fn start_hub(&mut self) {
        self.up = Some(Up::running(self.site.path(), &[]).0);
        self.until("its connector is connected", |sites| {
            let status: Value =
                serde_json::from_slice(&run(sites.site.path(), &["status", "--json"]).stdout).unwrap();
            let rows = status["connectors"].as_array().unwrap().clone();
            rows.iter().any(|row| row["connector"] == "plant" && row["state"] == "connected")
        });
    }

    /// Ends the hub as a loss of power of the process does.
    fn kill_hub(&mut self) {
        let mut up = self.up.take().unwrap();
        up.child.kill().unwrap();
        wait(&mut up.child);
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < WITHIN, "not so: {what}");
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        run(self.site.path(), words)
    }

    /// Runs a command to its end, which must be a good one; returns what it printed.
    fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that is refused; returns what it said.
    fn refused(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains("error:") && said.contains("next:"), "{said}");
        said
    }

    /// Publishes at the other site; returns when its broker has it.
    fn publish(&self, payload: &str) {
        let words = ["pub", "--connector", "broker", "-t", "a/b", "-q", "2", "-m", payload];
        let output = run(self.far.path(), &words);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }

    fn kept(&self, name: &str) -> Value {
        let rows: Value = serde_json::from_str(&self.done(&["subscriptions", "--json"])).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["name"] == name).cloned().unwrap_or_default()
    }

    fn until_waiting(&self, name: &str, count: u64) {
        self.until(&format!("{count} wait in {name}"), |sites| sites.kept(name)["waiting"] == count);
    }

    fn spawn(&self, words: &[&str]) -> Child {
        let mut command: Command = crosspoint(self.site.path(), words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

const KEEP: [&str; 9] = ["sub", "--connector", "plant", "-t", "a/#", "-q", "2", "--keep", "night"];

#[test]
fn what_comes_outlives_the_one_who_asked_and_a_kill_of_the_hub() {
    let mut sites = Sites::start("session = \"durable\"\n");
    let made = sites.done(&KEEP);
    assert!(made.contains("kept as night") && made.contains("crosspoint sub --kept night"), "{made}");
    assert!(sites.done(&KEEP).contains("kept already as night"));
    for payload in ["1", "2", "3"] {
        sites.publish(payload);
    }
    sites.until_waiting("night", 3);
    // What was acknowledged to the other broker is on the disk: nobody else has it any more.
    sites.kill_hub();
    let stopped = sites.kept("night");
    assert_eq!((&stopped["waiting"], stopped["trouble"].as_str()), (&3.into(), Some("the hub does not run")));
    sites.publish("4");
    let said = sites.refused(&["sub", "--kept", "night"], 1);
    assert!(said.contains("no hub runs") && said.contains("crosspoint up"), "{said}");
    sites.start_hub();
    let read = sites.done(&["sub", "--kept", "night", "-C", "4", "-F", "%t %q %p"]);
    assert_eq!(read, "a/b 2 1\na/b 2 2\na/b 2 3\na/b 2 4\n");
    let row = sites.kept("night");
    assert_eq!(
        (&row["waiting"], &row["read"], row["granted_qos"].as_str()),
        (&0.into(), &4.into(), Some("2"))
    );
    let timed_out = sites.run(&["sub", "--kept", "night", "-W", "1"]);
    assert_eq!((timed_out.status.code(), text(&timed_out.stdout)), (Some(27), String::new()));
    let status: Value = serde_json::from_str(&sites.done(&["status", "--json"])).unwrap();
    assert_eq!(
        (status["kept"][0]["name"].as_str(), &status["flows"]),
        (Some("night"), &Value::Array(Vec::new()))
    );
    assert!(sites.done(&["status"]).contains("kept night  plant: a/#  0 messages wait  runs"));
    let listed = sites.done(&["outbox", "list"]);
    assert!(!listed.contains('$'), "it is no connector: {listed}");
}

#[test]
fn a_reader_that_dies_leaves_what_it_has_not_confirmed_and_a_second_one_is_refused() {
    let sites = Sites::start("");
    let made = sites.run(&KEEP);
    let said = text(&made.stderr);
    assert!(said.contains("session = \"durable\" in [connector.plant]"), "its session is clean: {said}");
    sites.publish("1");
    let mut reader = sites.spawn(&["sub", "-d", "--kept", "night"]);
    let printed = lines(reader.stdout.take().unwrap());
    assert_eq!(read_until(&printed, "1"), "1\n");
    let second = sites.refused(&["sub", "--kept", "night", "-C", "1"], 1);
    assert!(second.contains("night is being read") && second.contains("one at a time"), "{second}");
    assert_eq!(sites.kept("night")["is_read"], true);
    // It has said that it has it.
    sites.until_waiting("night", 0);
    reader.kill().unwrap();
    wait(&mut reader);
    sites.until("nobody reads", |sites| sites.kept("night")["is_read"] == false);
    sites.publish("2");
    sites.until_waiting("night", 1);
    // One whose stdout is gone has printed nothing.
    let mut deaf = sites.spawn(&["sub", "--kept", "night"]);
    drop(deaf.stdout.take());
    assert_eq!(wait(&mut deaf).code(), Some(0));
    sites.until("nobody reads", |sites| sites.kept("night")["is_read"] == false);
    assert_eq!(sites.done(&["sub", "--kept", "night", "-C", "1"]), "2\n");
}

#[test]
fn a_name_that_is_taken_and_messages_that_wait_are_told() {
    let mut sites = Sites::start("");
    sites.done(&KEEP);
    let other = sites.refused(&["sub", "--connector", "plant", "-t", "b", "--keep", "night"], 1);
    assert!(other.contains("a/# on plant at QoS 2") && other.contains("choose another name"), "{other}");
    assert!(sites.refused(&["sub", "--kept", "nigth"], 2).contains("night"));
    sites.publish("1");
    sites.until_waiting("night", 1);
    let said = sites.refused(&["subscriptions", "remove", "night"], 1);
    assert!(said.contains("night: 1") && said.contains("--drop"), "{said}");
    assert!(sites.refused(&["subscriptions", "remove", "other"], 2).contains("night"));
    assert_eq!(
        sites.done(&["subscriptions", "remove", "night", "--drop"]),
        "night removed, with 1 message that waited\n"
    );
    assert_eq!(sites.done(&["subscriptions", "--json"]), "[]\n");
    let limited =
        ["--max-messages", "2", "--when-full", "drop_newest", "--max-age", "3600", "--max-bytes", "65536"];
    sites.done(&[&KEEP[..], &limited].concat());
    let row = sites.kept("night");
    assert_eq!(row["when_full"], "drop_newest");
    assert_eq!([&row["messages_max"], &row["age_s_max"], &row["bytes_max"]], [2, 3_600, 65_536]);
    sites.done(&["sub", "--connector", "plant", "-t", "b", "--keep", "plain"]);
    assert_eq!(sites.kept("plain")["qos"], 1, "nothing is lost where nobody says otherwise");
    assert_eq!(sites.done(&["subscriptions", "remove", "plain"]), "plain removed\n");
    let wrong = sites.refused(&[&KEEP[..8], &["other", "--max-bytes", "1"]].concat(), 1);
    assert!(wrong.contains("65536 to 1099511627776"), "{wrong}");
    // Also where no hub runs.
    sites.kill_hub();
    assert_eq!(sites.done(&["subscriptions", "remove", "night"]), "night removed\n");
    assert_eq!(sites.done(&["subscriptions", "list", "--json"]), "[]\n");
    let off = sites.refused(&KEEP, 1);
    assert!(off.contains("no hub runs"), "{off}");
}

#[test]
fn flags_that_do_not_go_together_are_wrong_usage() {
    let site = folder(PROJECT);
    for words in [
        &["sub", "--keep", "a", "-t", "b"][..],
        &["sub", "--kept", "a", "-t", "b"],
        &["sub", "--kept", "a", "--connector", "plant"],
        &["sub", "--kept", "a", "-h", "localhost"],
        &["sub", "-t", "b", "--max-age", "1"],
        &["sub", "-t", "b", "--data", "x"],
        &["sub", "--connector", "plant", "-t", "b", "--keep", "a", "--when-full", "shrug"],
    ] {
        let output = run(site.path(), words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", text(&output.stderr));
    }
    let elsewhere = run(site.path(), &["sub", "--kept", "a", "--data", "nowhere"]);
    assert!(text(&elsewhere.stderr).contains("no hub runs on nowhere"), "{}", text(&elsewhere.stderr));
}
