//! `up` and `check`: what they print, how they end, and what they make of bad input.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{PROJECT, Up, WITHIN, crosspoint, folder, lines, port, read_until, run, text};

#[test]
fn the_first_run_writes_the_sample_says_where_it_listens_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let (up, printed) = Up::running(folder.path(), &[]);
    assert!(printed.starts_with("made crosspoint.toml, a sample project"), "{printed}");
    assert!(printed.contains("crosspoint sub") && printed.contains("demo/out/#"), "{printed}");
    let port = port(&printed, "mqtt://").to_string();
    assert_ne!(crate::support::port(&printed, "ws://"), 0);
    let mut sub = crosspoint(
        folder.path(),
        &["sub", "-p", &port, "-t", "demo/out/#", "-v", "-C", "1", "-W", "20", "-q", "1"],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    // Nobody says when the subscription is there: publish until it is.
    let begin = Instant::now();
    while sub.try_wait().unwrap().is_none() && begin.elapsed() < WITHIN {
        assert!(
            run(folder.path(), &["pub", "-p", &port, "-t", "demo/in/hello", "-m", "Hello!"]).status.success()
        );
    }
    assert_eq!(text(&sub.wait_with_output().unwrap().stdout), "demo/out/hello Hello!\n");
    assert_eq!(up.stop("TERM").0, Some(0));
    let data = folder.path().join("crosspoint-data");
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(data.join(".gitignore")).unwrap(), "*\n");
    assert_eq!(run(folder.path(), &["check"]).status.code(), Some(0), "what it wrote is valid");
}

#[test]
fn a_default_port_that_is_taken_moves_and_says_so() {
    // Taken by this test, or by whoever has it already.
    let _taken = TcpListener::bind("127.0.0.1:1883");
    let folder = folder("[console]\nenabled = false\n");
    let (up, printed) = Up::running(folder.path(), &[]);
    assert!(printed.contains("(port 1883 is taken)"), "{printed}");
    assert!(TcpStream::connect(("127.0.0.1", port(&printed, "mqtt://"))).is_ok());
    let log = read_until(&up.log, "Port 1883 is taken");
    assert!(log.contains("WARN"), "{log}");
    assert_eq!(up.stop("INT").0, Some(0));
}

#[test]
fn a_written_port_that_is_taken_is_an_error_that_names_it() {
    let first = folder(PROJECT);
    let (up, printed) = Up::running(first.path(), &[]);
    let bind = format!("127.0.0.1:{}", port(&printed, "mqtt://"));
    let second = folder(&PROJECT.replace("127.0.0.1:0", &bind));
    let output = run(second.path(), &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("[broker.listener.main] cannot listen on {bind}")), "{said}");
    assert!(said.lines().count() >= 2, "a next step follows: {said}");
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn a_wrong_project_is_shown_with_its_place_and_nothing_starts() {
    let folder = folder(&format!("{PROJECT}[connector.plant]\nurl = \"mqtt://h\"\nkeepalive_s = 5\n"));
    for arguments in [&[][..], &["up"], &["check"], &["check", "crosspoint.toml"]] {
        let output = run(folder.path(), arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("crosspoint.toml:7:1") && said.contains("^^^^"), "{said}");
        assert!(said.contains("keep_alive_s"), "what to write instead: {said}");
        assert!(!said.contains('\u{1b}'), "no colours without a terminal");
    }
    assert!(!folder.path().join("crosspoint-data").exists());
}

#[test]
fn a_project_that_is_not_there_is_an_error_unless_it_is_to_be_made() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["--project", "site.toml"][..],
        &["up", "--project", "site.toml"],
        &["check", "site.toml"],
        &["check"],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output.stderr).contains(arguments.last().unwrap().trim_start_matches("check")),
            "{output:?}"
        );
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    let (up, _) = Up::running(folder.path(), &["up", "--project", "site.toml", "--init"]);
    assert!(folder.path().join("site.toml").exists());
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn both_signals_end_it_soon_also_while_a_connector_dials() {
    // Takes connections and never answers.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let project = format!(
        "{PROJECT}[connector.dead]\nurl = \"mqtt://127.0.0.1:{}\"\n[flow.f]\nfrom = {{ connector = \"dead\", topics = \"#\" }}\nto = {{ connector = \"broker\" }}\n",
        dead.local_addr().unwrap().port()
    );
    for signal in ["TERM", "INT"] {
        let folder = folder(&project);
        let (up, _) = Up::running(folder.path(), &[]);
        let (_waiting, _) = dead.accept().unwrap();
        let (code, took) = up.stop(signal);
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(7), "{took:?}");
    }
}

#[test]
fn a_changed_file_is_taken_over_and_a_wrong_one_is_not() {
    let folder = folder(PROJECT);
    let file = folder.path().join("crosspoint.toml");
    let (up, printed) = Up::running(folder.path(), &[]);
    let first = port(&printed, "mqtt://");
    fs::write(&file, format!("{PROJECT}[broker.listener.more]\nbind = 7\n")).unwrap();
    read_until(&up.log, "what ran keeps running as it was");
    let (free, replaced) = (TcpListener::bind("127.0.0.1:0").unwrap(), folder.path().join("new.toml"));
    let bind = free.local_addr().unwrap();
    drop(free);
    // As editors do it: a new file takes the place of the old.
    fs::write(&replaced, format!("{PROJECT}[broker.listener.more]\nbind = \"{bind}\"\n")).unwrap();
    fs::rename(&replaced, &file).unwrap();
    read_until(&up.log, "has been taken over");
    assert!(TcpStream::connect(bind).is_ok());
    assert!(TcpStream::connect(("127.0.0.1", first)).is_ok());
    assert_eq!(up.stop("TERM").0, Some(0));
}

#[test]
fn log_lines_are_json_when_asked_for() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = folder(&format!(
        "{PROJECT}[connector.away]\nurl = \"mqtt://{refused}\"\n[flow.f]\nfrom = {{ connector = \"away\", topics = \"#\" }}\nto = {{ connector = \"broker\" }}\n"
    ));
    let (up, _) = Up::running(folder.path(), &["--log-format", "json"]);
    let mut log = read_until(&up.log, "Not connected.");
    up.signal("TERM");
    log += &read_until(&up.log, "Stopping.");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            line["message"].is_string() && line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().filter(|line| line["message"] == "Not connected.").collect();
    assert_eq!(
        (told.len(), told[0]["connector"].as_str()),
        (1, Some("away")),
        "one line for one thing: {log}"
    );
}

#[test]
fn a_folder_that_may_not_be_written_to_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // A file in the way stops root as well.
    fs::write(folder.path().join("crosspoint.toml"), PROJECT).unwrap();
    fs::write(folder.path().join("crosspoint-data"), "").unwrap();
    let output = run(folder.path(), &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("crosspoint-data") && said.contains("--data"), "{said}");
}

#[test]
fn check_prints_what_would_start_and_changes_nothing() {
    let folder = folder(&format!(
        "{PROJECT}[connector.plant]\nurl = \"mqtt://h\"\n[flow.f]\nfrom = {{ connector = \"plant\", topics = \"a\" }}\nto = {{ connector = \"broker\" }}\n"
    ));
    let output = run(folder.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    for line in [
        "+ start     connector broker",
        "+ start     connector plant",
        "+ start     flow f",
        "+ open      listener main",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!folder.path().join("crosspoint-data").exists());
}

#[test]
fn without_colours_means_without() {
    let folder = folder(PROJECT);
    let mut child = crosspoint(folder.path(), &[]);
    child.env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1");
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, log) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
    let printed = read_until(&out, "Ctrl-C stops it.");
    let up = Up { child, out, log };
    up.signal("TERM");
    let logged = read_until(&up.log, "Stopping.");
    assert!(!printed.contains('\u{1b}') && !logged.contains('\u{1b}'), "{printed}{logged}");
}
