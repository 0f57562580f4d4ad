//! `pub` and `sub` with `--connector` beside a hub that runs.

use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{PROJECT, Up, WITHIN, crosspoint, folder, lines, port, read_until, run, text, wait};

/// A site with a connector to another one, which is started too.
struct Sites {
    site: TempDir,
    up: Up,
    far: TempDir,
    far_up: Up,
}

impl Sites {
    fn start(more: &str) -> Self {
        let far = folder(PROJECT);
        let (far_up, printed) = Up::running(far.path(), &[]);
        let site = folder(&format!(
            "{PROJECT}[connector.plant]\nurl = \"mqtt://127.0.0.1:{}\"\n{more}",
            port(&printed, "mqtt://")
        ));
        let (up, _) = Up::running(site.path(), &[]);
        Self { site, up, far, far_up }
    }

    /// What the connector is doing.
    fn connector(&self) -> Value {
        let status = status(&self.site);
        let rows = status["connectors"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["connector"] == "plant").unwrap()
    }

    fn until(&self, state: &str) {
        let begin = Instant::now();
        while self.connector()["state"] != state {
            assert!(begin.elapsed() < WITHIN, "{}", self.connector());
        }
    }

    /// How many clients the broker of the other site has.
    fn clients(&self) -> u64 {
        status(&self.far)["broker"]["connections"].as_u64().unwrap()
    }

    /// Runs a command to its end, which must be a good one; returns what it printed and what it said.
    fn run(&self, words: &[&str]) -> (String, String) {
        let output = run(self.site.path(), words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }

    /// Starts a command and waits until it has said this.
    fn start_until(&self, words: &[&str], said: &str) -> Child {
        let mut child = crosspoint(self.site.path(), words);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        read_until(&lines(child.stderr.take().unwrap()), said);
        child
    }

    fn stop(self) {
        assert_eq!((self.up.stop("TERM").0, self.far_up.stop("TERM").0), (Some(0), Some(0)));
    }
}

fn status(site: &TempDir) -> Value {
    serde_json::from_slice(&run(site.path(), &["status", "--json"]).stdout).unwrap()
}

/// Waits for the end of a command; returns what it printed.
fn printed(mut child: Child) -> String {
    assert_eq!(wait(&mut child).code(), Some(0));
    text(&child.wait_with_output().unwrap().stdout)
}

#[test]
fn the_embedded_broker_is_reached_through_the_hub() {
    let site = folder(PROJECT);
    let (up, _) = Up::running(site.path(), &[]);
    let mut sub = crosspoint(
        site.path(),
        &["sub", "-d", "--connector", "broker", "-t", "a/#", "-q", "2", "-C", "3", "-F", "%t %q %r %C %p"],
    );
    let mut sub = sub.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = lines(sub.stderr.take().unwrap());
    read_until(&said, "debug: subscribed");
    let publish = |words: &[&str]| {
        let output = run(site.path(), &[&["pub", "-d", "--connector", "broker"], words].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let confirmed =
        publish(&["-t", "a/b", "-m", "hello", "-q", "2", "-D", "publish", "content-type", "text/plain"]);
    assert!(confirmed.contains("published to a/b: success"), "{confirmed}");
    let unheard = publish(&["-t", "elsewhere", "-m", "x", "-q", "1"]);
    assert!(unheard.contains("no matching subscribers"), "{unheard}");
    publish(&["-t", "a/b", "-m", "twice", "--repeat", "2"]);
    let ended = sub.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(text(&ended.stdout), "a/b 2 0 text/plain hello\na/b 0 0  twice\na/b 0 0  twice\n");

    let waited = run(site.path(), &["sub", "--connector", "broker", "-t", "a", "-W", "1"]);
    assert_eq!(waited.status.code(), Some(27), "{}", text(&waited.stderr));
    assert_eq!(up.stop("TERM").0, Some(0));
    for command in [&["pub", "-t", "a", "-m", "x"][..], &["sub", "-t", "a"]] {
        let output = run(site.path(), &[command, &["--connector", "broker"]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("no hub runs") && said.contains("crosspoint up"), "{said}");
    }
}

#[test]
fn many_that_listen_and_leave_without_a_word_leave_nothing_behind() {
    let site = folder(PROJECT);
    let (up, _) = Up::running(site.path(), &[]);
    // More than may listen at once.
    for _ in 0..40 {
        let mut sub = crosspoint(site.path(), &["sub", "-d", "--connector", "broker", "-t", "quiet"]);
        let mut sub = sub.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        read_until(&lines(sub.stderr.take().unwrap()), "debug: subscribed");
        sub.kill().unwrap();
        sub.wait().unwrap();
    }
    let begin = Instant::now();
    loop {
        let output = run(site.path(), &["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        if status["broker"]["subscriptions"] == 0 {
            break;
        }
        assert!(begin.elapsed() < WITHIN, "{status}");
    }
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn through_a_hub_that_runs_there_is_one_client_at_the_broker() {
    let sites = Sites::start("client_id = \"gateway\"\n");
    sites.until("connected");
    let own = "over the connection of the hub's connector plant";
    let words =
        ["sub", "-d", "--connector", "plant", "-t", "a/#", "-q", "1", "-C", "2", "-F", "%t %q %r %C %p"];
    let sub = sites.start_until(&words, "debug: subscribed");
    let publish = ["pub", "-d", "--connector", "plant", "-q", "1"];
    let words = ["-t", "a/b", "-m", "hello", "-D", "publish", "content-type", "text/plain"];
    let (_, said) = sites.run(&[&publish[..], &words].concat());
    assert!(said.contains("published to a/b: success (0x00), by the hub's connector plant"), "{said}");
    assert_eq!(sites.clients(), 1, "the hub's own");
    sites.run(&[&publish[..], &["-t", "a/c", "-n"]].concat());
    assert_eq!(printed(sub), "a/b 1 0 text/plain hello\na/c 1 0  \n");

    let (_, said) = sites.run(&["sub", "-d", "--connector", "plant", "-t", "x", "-E"]);
    assert!(said.contains(own) && !said.contains("warning"), "{said}");
    let question =
        ["request", "-d", "--connector", "plant", "-t", "ask", "-m", "?", "-e", "answers", "-q", "1"];
    let asked = sites.start_until(&question, "debug: asked on ask, answers come on answers");
    assert_eq!(sites.clients(), 1);
    sites.run(&[&publish[..], &["-t", "answers", "-m", "yes"]].concat());
    assert_eq!(printed(asked), "yes\n");
    let words = ["request", "--connector", "plant", "-t", "ask", "-m", "?", "-q", "1", "-W", "1"];
    let unanswered = run(sites.site.path(), &words);
    let said = text(&unanswered.stderr);
    assert_eq!(unanswered.status.code(), Some(27), "{said}");
    assert!(said.contains("nobody is subscribed to ask now"), "{said}");
    let drops = sites.connector()["drops"].clone();
    assert_eq!(drops, 0);
    sites.stop();
}

#[test]
fn a_question_goes_through_the_embedded_broker() {
    let site = folder(PROJECT);
    let (up, _) = Up::running(site.path(), &[]);
    let words = ["request", "-d", "--connector", "broker", "-t", "ask", "-m", "?", "-e", "answers", "-v"];
    let mut asked = crosspoint(site.path(), &words);
    let mut asked = asked.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    read_until(&lines(asked.stderr.take().unwrap()), "answers come on answers");
    let answered = run(site.path(), &["pub", "--connector", "broker", "-t", "answers", "-m", "here"]);
    assert_eq!(answered.status.code(), Some(0), "{}", text(&answered.stderr));
    assert_eq!(printed(asked), "answers here\n");
    assert_eq!(up.stop("TERM").0, Some(0));
    let output = run(site.path(), &words);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no hub runs"), "{}", text(&output.stderr));
}

#[test]
fn who_wants_a_connection_of_his_own_gets_one_and_does_not_throw_the_connector_out() {
    let sites = Sites::start("client_id = \"gateway\"\n");
    sites.until("connected");
    let (_, said) = sites.run(&["sub", "-d", "--connector", "plant", "-t", "a", "-I", "mine-", "-E"]);
    assert!(said.contains("as \"mine-") && !said.contains("the hub's connector"), "{said}");
    let stolen = run(sites.site.path(), &["sub", "--connector", "plant", "-t", "a", "-i", "gateway", "-E"]);
    assert_eq!(stolen.status.code(), Some(2), "{}", text(&stolen.stderr));
    let after = sites.connector();
    assert_eq!((after["state"].as_str(), after["drops"].as_u64()), (Some("connected"), Some(0)), "{after}");
    sites.stop();
}

#[test]
fn where_the_hub_is_not_connected_its_broker_is_gone_to_and_that_is_said() {
    let sites = Sites::start("client_id = \"gateway\"\nenabled = false\n");
    let (_, said) = sites.run(&["pub", "-d", "--connector", "plant", "-t", "a", "-m", "x", "-q", "1"]);
    assert!(
        said.contains(
            "warning: this does not go through the hub that runs, but to the broker of plant itself"
        ) && said.contains("off: it is disabled"),
        "{said}"
    );
    assert!(said.contains("has a client id of its own"), "{said}");
    let Sites { site, up, far, far_up } = sites;
    assert_eq!(up.stop("TERM").0, Some(0));
    let alone = run(site.path(), &["sub", "--connector", "plant", "-t", "a", "-E"]);
    let said = text(&alone.stderr);
    assert_eq!(alone.status.code(), Some(0), "{said}");
    assert!(!said.contains("the hub that runs"), "no hub runs: {said}");
    assert_eq!(far_up.stop("TERM").0, Some(0));
    drop(far);
}
