//! `pub` and `sub` with `--connector` beside a hub that runs.

use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::support::{PROJECT, Up, WITHIN, crosspoint, folder, lines, port, read_until, run, text};

/// A site with a connector to another one, which is started too.
fn sites(more: &str) -> (tempfile::TempDir, Up, Up) {
    let far = folder(PROJECT);
    let (far_up, printed) = Up::running(far.path(), &[]);
    let site = folder(&format!(
        "{PROJECT}[connector.plant]\nurl = \"mqtt://127.0.0.1:{}\"\n{more}",
        port(&printed, "mqtt://")
    ));
    let (up, _) = Up::running(site.path(), &[]);
    (site, up, far_up)
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
fn who_visits_a_broker_does_not_throw_the_connector_out_and_says_what_may_differ() {
    let (site, up, far_up) = sites("client_id = \"gateway\"\n");
    let connector = || {
        let output = run(site.path(), &["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = status["connectors"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["connector"] == "plant").unwrap()
    };
    let begin = Instant::now();
    while connector()["state"] != "connected" {
        assert!(begin.elapsed() < WITHIN);
    }
    let visited = run(site.path(), &["sub", "-d", "--connector", "plant", "-t", "a", "-E"]);
    let said = text(&visited.stderr);
    assert_eq!(visited.status.code(), Some(0), "{said}");
    assert!(said.contains("warning: connector plant has a client id of its own"), "{said}");
    assert!(!said.contains("as \"gateway\""), "{said}");
    let stolen = run(site.path(), &["sub", "--connector", "plant", "-t", "a", "-i", "gateway", "-E"]);
    assert_eq!(stolen.status.code(), Some(2), "{}", text(&stolen.stderr));
    let after = connector();
    assert_eq!((after["state"].as_str(), after["drops"].as_u64()), (Some("connected"), Some(0)), "{after}");
    assert_eq!((up.stop("TERM").0, far_up.stop("TERM").0), (Some(0), Some(0)));
}
