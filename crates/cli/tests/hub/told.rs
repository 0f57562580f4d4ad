//! What `pub` and `sub` tell of the way through a hub, and what they do where that way is not the right one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::{
    PROJECT, Up, WITHIN, crosspoint, folder, lines, port, read_until, run, run_with, text, wait,
};

/// What the broker of the other site allows its one user.
const RULES: &str =
    "[broker.user.u]\npassword = \"p\"\nroles = [\"r\"]\n[broker.role.r]\nallow = [\"both in/#\"]\n";

/// A site whose connector `plant` goes to a broker that allows one user a part of its topics.
struct Sites {
    site: TempDir,
    far: TempDir,
    up: Up,
    far_up: Up,
}

impl Sites {
    fn start(more: &str) -> Self {
        let far = folder(&format!("{PROJECT}{RULES}"));
        let (far_up, printed) = Up::running(far.path(), &[]);
        let site = folder(&format!(
            "{PROJECT}[connector.plant]\nurl = \"mqtt://127.0.0.1:{}\"\nusername = \"u\"\npassword = \"p\"\n{more}",
            port(&printed, "mqtt://")
        ));
        let (up, _) = Up::running(site.path(), &[]);
        let sites = Self { site, far, up, far_up };
        let begin = Instant::now();
        while !text(&run(sites.site.path(), &["status"]).stdout).contains("plant      connected") {
            assert!(begin.elapsed() < WITHIN, "{}", text(&run(sites.site.path(), &["status"]).stdout));
        }
        sites
    }

    /// Runs a command to its end; returns how it ended and what it said.
    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = run(self.site.path(), words);
        (output.status.code(), text(&output.stderr))
    }

    fn sub(&self, words: &[&str]) -> Sub {
        let words = [&["sub", "-d", "--connector", "plant"], words].concat();
        Sub::start(crosspoint(self.site.path(), &words))
    }

    fn stop(self) {
        assert_eq!((self.up.stop("TERM").0, self.far_up.stop("TERM").0), (Some(0), Some(0)));
        drop((self.site, self.far));
    }
}

/// A command that listens; killed if the test ends before it.
struct Sub {
    child: Child,
    said: Receiver<String>,
}

impl Sub {
    /// Starts it and waits until it has subscribed.
    fn start(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = lines(child.stderr.take().unwrap());
        let sub = Self { child, said };
        read_until(&sub.said, "debug: subscribed");
        sub
    }

    /// Waits for its end; returns what it printed.
    fn printed(&mut self) -> String {
        let out = self.child.stdout.take().unwrap();
        let printed = lines(out);
        assert_eq!(wait(&mut self.child).code(), Some(0));
        printed.iter().map(|line| line + "\n").collect()
    }
}

impl Drop for Sub {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

#[test]
fn what_the_broker_refuses_or_is_otherwise_than_usual_is_told() {
    let sites = Sites::start("");
    let (code, said) = sites.run(&["sub", "--connector", "plant", "-t", "secret/#", "-t", "in/n", "-E"]);
    assert!(
        code == Some(0) && said.contains("refuses the subscription to secret/#: not authorized"),
        "{said}"
    );
    let (code, said) = sites.run(&["sub", "--connector", "plant", "-t", "secret/#", "-E"]);
    assert!(
        code == Some(1) && said.contains("error: the broker refuses the subscription to secret/#"),
        "{said}"
    );
    let (code, said) =
        sites.run(&["sub", "--connector", "plant", "--retain-as-published", "-t", "in/n", "-E"]);
    assert!(
        code == Some(0) && said.contains("beside connector plant, with a client id of its own"),
        "{said}"
    );
    let _first = sites.sub(&["-t", "in/n"]);
    let (code, said) = sites.run(&["sub", "--connector", "plant", "-t", "in/n", "-E"]);
    assert!(code == Some(0) && said.contains("has subscribed to in/n before"), "{said}");
    let (code, said) = sites.run(&["pub", "--connector", "plant", "-t", "secret/x", "-m", "x", "-q", "1"]);
    assert!(code == Some(1) && said.contains("error: ") && said.contains("not authorized"), "{said}");
    assert!(said.contains(" next: check what the broker allows"), "{said}");
    sites.stop();
}

#[test]
fn what_is_about_a_connection_gets_one_of_its_own_or_is_refused() {
    let sites = Sites::start("");
    for words in [
        &["sub", "-t", "in/n", "-E", "-D", "subscribe", "subscription-identifier", "7"][..],
        &["pub", "-t", "in/n", "-m", "x", "-q", "1", "--will-topic", "in/will"],
    ] {
        let (code, said) = sites.run(&[words, &["-d", "--connector", "plant"]].concat());
        assert!(code == Some(0) && !said.contains("the hub's connector"), "{words:?}: {said}");
    }
    let connect =
        ["pub", "--connector", "plant", "-t", "in/n", "-m", "x", "-D", "connect", "user-property", "a", "b"];
    let (code, said) = sites.run(&connect);
    assert!(code == Some(2) && said.contains("-D connect and -D will do not go with --connector"), "{said}");
    let (code, said) = sites.run(&["sub", "--connector", "broker", "-i", "me", "-t", "in/n", "-E"]);
    assert!(code == Some(2) && said.contains("the embedded broker is reached without one"), "{said}");
    sites.stop();
    let old = Sites::start("protocol = \"3.1.1\"\n");
    let words =
        ["pub", "--connector", "plant", "-t", "in/n", "-m", "x", "-D", "publish", "content-type", "a"];
    let (code, said) = old.run(&words);
    assert!(code == Some(2) && said.contains("not with one of MQTT 3.1 or 3.1.1"), "{said}");
    old.stop();
}

/// With room for one the broker sends the next when the one before is acknowledged.
#[test]
fn who_listens_beside_the_connector_acknowledges_what_is_printed() {
    let sites = Sites::start("receive_maximum = 1\n");
    let mut sub = sites.sub(&["--retain-as-published", "-q", "1", "-t", "in/n", "-C", "3"]);
    for number in ["1", "2", "3"] {
        let (code, said) = sites.run(&["pub", "--connector", "plant", "-t", "in/n", "-m", number, "-q", "1"]);
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(sub.printed(), "1\n2\n3\n");
    sites.stop();
}

#[test]
fn lines_go_through_the_hub_in_their_order_and_all_are_confirmed_at_the_end() {
    // More than go together, and what is said about them fits into a pipe.
    const LINES: usize = 700;
    let sites = Sites::start("");
    let input: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    for connector in ["plant", "broker"] {
        let count = LINES.to_string();
        let words = ["sub", "-d", "--connector", connector, "-t", "in/n", "-q", "1", "-C", &count];
        let mut sub = Sub::start(crosspoint(sites.site.path(), &words));
        let out = sub.child.stdout.take().unwrap();
        let printed = lines(out);
        let words = ["pub", "-d", "--connector", connector, "-t", "in/n", "-q", "1", "-l"];
        let ended = run_with(sites.site.path(), &words, &input);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{said}");
        assert_eq!(said.matches("published to in/n: success (0x00)").count(), LINES, "{connector}");
        assert_eq!(printed.iter().map(|line| line + "\n").collect::<String>(), input, "{connector}");
        assert_eq!(wait(&mut sub.child).code(), Some(0));
    }
    let refused = run_with(
        sites.site.path(),
        &["pub", "--connector", "plant", "-t", "secret", "-q", "1", "-l"],
        "a\nb\nc\n",
    );
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("warning: line 1: ") && said.contains("3 of 3 messages were not published"),
        "{said}"
    );
    sites.stop();
}

#[test]
fn lines_that_do_not_end_are_published_as_they_come_and_given_up_when_the_time_is_over() {
    let sites = Sites::start("");
    let mut sub = sites.sub(&["-t", "in/n", "-C", "1"]);
    let mut publishing =
        crosspoint(sites.site.path(), &["pub", "--connector", "plant", "-t", "in/n", "-l", "-W", "2"]);
    let mut publishing = publishing.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = publishing.stdin.take().unwrap();
    stdin.write_all(b"one\n").unwrap();
    assert_eq!(sub.printed(), "one\n");
    assert_eq!(wait(&mut publishing).code(), Some(27));
    drop(stdin);
    sites.stop();
}

#[test]
fn what_is_left_out_for_who_reads_too_slowly_is_told() {
    const LINES: usize = 6_000;
    let sites = Sites::start("");
    let mut sub = sites.sub(&["-t", "in/n", "-q", "1"]);
    let input: String = (0..LINES).map(|_| "x".repeat(1_000) + "\n").collect();
    let words = ["pub", "--connector", "plant", "-t", "in/n", "-q", "1", "-l"];
    assert_eq!(run_with(sites.site.path(), &words, &input).status.code(), Some(0));
    // Nobody has read so far: more has come than pipes, sockets and the hub hold.
    let mut printed = BufReader::new(sub.child.stdout.take().unwrap()).lines();
    assert!(printed.next().unwrap().unwrap().starts_with('x'));
    let reading =
        std::thread::spawn(move || printed.map_while(Result::ok).take_while(|line| line != "end").count());
    let begin = Instant::now();
    while !reading.is_finished() {
        assert!(begin.elapsed() < WITHIN);
        sites.run(&["pub", "--connector", "plant", "-t", "in/n", "-q", "1", "-m", "end"]);
    }
    let said = read_until(&sub.said, "are left out");
    assert!(said.contains("they came faster than they were taken"), "{said}");
    assert!(reading.join().unwrap() < LINES);
    sites.stop();
}
