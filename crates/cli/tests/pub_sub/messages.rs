//! What travels between `pub` and `sub`, and how it is printed.

use std::{
    fmt::Write,
    io::{BufRead, BufReader},
    time::Instant,
};

use crate::site::{DEADLINE, Program, Site};

#[test]
fn every_version_and_qos_arrives() {
    let site = Site::start();
    for version in ["5", "311", "31"] {
        for qos in ["0", "1", "2"] {
            let sub = site.subscribe(&[
                "-V",
                version,
                "-t",
                "a/#",
                "-q",
                qos,
                "-C",
                "1",
                "-F",
                "%m %t %q %r %l %p",
            ]);
            site.publish(&["-V", version, "-t", "a/b", "-q", qos, "-m", "hello"]).printed();
            let printed = sub.end().printed();
            let (packet_id, rest) = printed.split_once(' ').unwrap();
            assert_eq!(rest, format!("a/b {qos} 0 5 hello\n"), "{version}");
            assert_eq!(packet_id == "0", qos == "0", "{packet_id}");
        }
    }
}

#[test]
fn without_a_version_it_speaks_mqtt_5() {
    let site = Site::start();
    let ended = site.publish(&["-d", "-t", "a", "-m", "x", "-q", "1"]);
    assert!(ended.stderr.contains("with MQTT 5.0"), "{}", ended.stderr);
    assert!(ended.stderr.contains("published to a: no matching subscribers"), "{}", ended.stderr);
    ended.printed();
}

#[test]
fn what_happens_with_the_connection_is_said_once() {
    let site = Site::start();
    let sub = site.program("sub", &["-d", "-t", "a", "-q", "1", "-C", "3"]).start();
    let deadline = Instant::now() + DEADLINE;
    while !is_taken(&site) {
        assert!(Instant::now() < deadline, "nobody has subscribed");
    }
    site.program("pub", &["-t", "a", "-q", "1", "-l"]).input("y\nz\n").start().end().printed();
    let ended = sub.end();
    assert_eq!(ended.stdout, b"x\ny\nz\n");
    assert_eq!(ended.stderr.matches("debug: connected to").count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("debug: connecting to").count(), 1, "{}", ended.stderr);
}

#[test]
fn a_url_says_it_all_and_websocket_works() {
    let site = Site::start();
    let sub = site.subscribe(&["-t", "deep/+", "-C", "2", "-v"]);
    let (port, ws_port) = (site.port, site.ws_port);
    let url = format!("mqtt://127.0.0.1:{port}/deep/a");
    Program::new(&["pub", "-L", &url, "-q", "1", "-m", "tcp"]).start().end().printed();
    let url = format!("ws://127.0.0.1:{ws_port}/deep/b");
    Program::new(&["pub", "-L", &url, "-q", "1", "-m", "ws"]).start().end().printed();
    assert_eq!(sub.end().printed(), "deep/a tcp\ndeep/b ws\n");
}

#[test]
fn ten_thousand_lines_keep_their_order() {
    let site = Site::start();
    let mut lines = String::new();
    for number in 1..=10_000 {
        writeln!(lines, "{number}").unwrap();
    }
    for qos in ["1", "2"] {
        let sub = site.subscribe(&["-t", "lines", "-q", qos, "-C", "10000"]);
        let published =
            site.program("pub", &["-t", "lines", "-q", qos, "-l"]).input(lines.clone()).start().end();
        published.printed();
        assert_eq!(sub.end().printed(), lines);
    }
}

#[test]
fn payloads_come_from_stdin_files_and_nowhere() {
    let site = Site::start();
    let file = std::env::temp_dir().join(format!("crosspoint-payload-{}", std::process::id()));
    std::fs::write(&file, b"from\na file").unwrap();
    let sub = site.subscribe(&["-t", "p", "-q", "1", "-C", "6", "-v"]);
    let stdin = |words: &[&str], input: &str| {
        site.program("pub", &[&["-t", "p", "-q", "1"], words].concat()).input(input).start().end().printed()
    };
    stdin(&["-l"], "one\n\nlast");
    stdin(&["-s"], "all\nof it\n");
    stdin(&["-f", file.to_str().unwrap()], "");
    stdin(&["-n"], "");
    std::fs::remove_file(&file).unwrap();
    let expected = "p one\np (null)\np last\np all\nof it\n\np from\na file\np (null)\n";
    assert_eq!(sub.end().printed(), expected);
}

#[test]
fn binary_payloads_are_printed_as_they_are() {
    let site = Site::start();
    let payload: Vec<u8> = (0..=255).collect();
    let sub = site.subscribe(&["-t", "b", "-q", "1", "-C", "1", "-N"]);
    site.program("pub", &["-t", "b", "-q", "1", "-s"]).input(payload.clone()).start().end().printed();
    assert_eq!(sub.end().stdout, payload);
}

#[test]
fn repeats_wait_for_their_confirmation() {
    let site = Site::start();
    let sub = site.subscribe(&["-t", "r", "-q", "2", "-C", "3"]);
    let words = ["-t", "r", "-q", "2", "-m", "x", "--repeat", "3", "--repeat-delay", "0.01"];
    site.publish(&words).printed();
    assert_eq!(sub.end().printed(), "x\nx\nx\n");
}

#[test]
fn retained_messages_are_told_apart() {
    let site = Site::start();
    site.publish(&["-t", "r/a", "-q", "1", "-r", "-m", "old"]).printed();
    let stale = site.program("sub", &["-t", "r/#", "-C", "1", "-F", "%r %p"]).start().end();
    assert_eq!(stale.printed(), "1 old\n");

    let live = site.subscribe(&["-t", "r/#", "-R", "-C", "1", "-F", "%r %p"]);
    let as_published = site.subscribe(&["-t", "r/#", "--retain-as-published", "-R", "-q", "1", "-W", "2"]);
    let only = site.subscribe(&["-t", "r/#", "--retained-only", "-F", "%r %p"]);
    site.publish(&["-t", "r/a", "-q", "1", "-r", "-m", "new"]).printed();
    assert_eq!(live.end().printed(), "0 new\n");
    assert_eq!(only.end().printed(), "1 old\n");
    let ended = as_published.end();
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(27), &b""[..]));

    site.publish(&["-t", "r/a", "-q", "1", "-r", "-n"]).printed();
    site.program("sub", &["-t", "r/#", "-W", "1"]).start().end().failed(27, "-W", "more time");
}

#[test]
fn what_is_filtered_out_is_not_printed_and_not_counted() {
    let site = Site::start();
    let sub = site.subscribe(&["-t", "f/#", "-q", "1", "-T", "f/noise/+", "-C", "2"]);
    for (topic, text) in [("f/a", "1"), ("f/noise/x", "2"), ("f/noise", "3")] {
        site.publish(&["-t", topic, "-q", "1", "-m", text]).printed();
    }
    assert_eq!(sub.end().printed(), "1\n3\n");
}

#[test]
fn properties_travel() {
    let site = Site::start();
    let sub = site.subscribe(&["-V", "5", "-t", "p", "-q", "1", "-C", "1", "-F", "%C|%R|%D|%P|%F|%E"]);
    let property = |identifier, values: &[&'static str]| [&["-D", "publish", identifier], values].concat();
    let words = [
        vec!["-t", "p", "-q", "1", "-m", "x"],
        property("content-type", &["text/plain"]),
        property("response-topic", &["re/p"]),
        property("correlation-data", &["c0"]),
        property("user-property", &["k", "v"]),
        property("user-property", &["k", "w"]),
        property("payload-format-indicator", &["1"]),
        property("message-expiry-interval", &["100000"]),
    ];
    site.publish(&words.concat()).printed();
    let printed = sub.end().printed();
    let (rest, expiry_s) = printed.trim_end().rsplit_once('|').unwrap();
    assert_eq!(rest, "text/plain|re/p|c0|k:v k:w|1");
    assert!((99_900..=100_000).contains(&expiry_s.parse().unwrap()), "{expiry_s}");
}

#[test]
fn a_durable_session_keeps_messages_and_gives_each_once() {
    let site = Site::start();
    let durable = ["-c", "-i", "keeper", "-q", "1", "-t", "d"];
    let sub = |words: &[&str]| site.program("sub", &[&durable, words].concat()).start().end();
    assert_eq!(sub(&["-E"]).printed(), "");
    site.program("pub", &["-t", "d", "-q", "1", "-l"]).input("1\n2\n3\n").start().end().printed();
    assert_eq!(sub(&["-C", "1"]).printed(), "1\n");
    assert_eq!(sub(&["-C", "2"]).printed(), "2\n3\n");
    sub(&["-W", "1"]).failed(27, "-W", "more time");

    sub(&["-E", "-U", "d"]).printed();
    site.publish(&["-t", "d", "-q", "1", "-m", "4"]).printed();
    let only_queued = site.program("sub", &["-c", "-i", "keeper", "-U", "other", "-W", "1"]).start().end();
    only_queued.failed(27, "-W", "more time");
}

#[test]
fn a_will_is_published_after_death_and_not_after_goodbye() {
    let site = Site::start();
    let mortal =
        ["-t", "x", "--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain"];
    let watcher = site.subscribe(&["-t", "w", "-q", "1", "-C", "1", "-v"]);
    drop(site.subscribe(&mortal));
    assert_eq!(watcher.end().printed(), "w gone\n");

    site.publish(&["-t", "w", "-q", "1", "-r", "-n"]).printed();
    #[cfg(unix)]
    for signal in ["TERM", "INT"] {
        let sub = site.subscribe(&mortal);
        let watcher = site.subscribe(&["-t", "w", "-q", "1", "-C", "1", "-v"]);
        sub.signal(signal);
        assert_eq!(sub.end().printed(), "");
        site.publish(&["-t", "w", "-q", "1", "-m", "alive"]).printed();
        assert_eq!(watcher.end().printed(), "w alive\n");
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let site = Site::start();
    let mut sub = site.subscribe(&["-t", "h", "-q", "1"]);
    let mut first = String::new();
    let mut stdout = BufReader::new(sub.take_stdout());
    site.publish(&["-t", "h", "-q", "1", "-m", "first"]).printed();
    stdout.read_line(&mut first).unwrap();
    assert_eq!(first, "first\n");
    drop(stdout);
    site.publish(&["-t", "h", "-q", "1", "-m", "second"]).printed();
    let ended = sub.end();
    assert_eq!((ended.code, ended.stderr.contains("error")), (Some(0), false), "{}", ended.stderr);
}

#[test]
fn sub_comes_back_after_the_broker_and_says_so() {
    let site = Site::start();
    let port = site.port;
    let mut sub = site.subscribe(&["-t", "a", "-q", "1", "-C", "1"]);
    drop(site);
    sub.wait_for("trying again");
    let site = Site::on_port(port);
    sub.wait_for("warning: connected to");
    let deadline = Instant::now() + DEADLINE;
    // The subscription is made again right after the connection; until then a message finds nobody.
    while !is_taken(&site) {
        assert!(Instant::now() < deadline, "nobody has subscribed again");
    }
    assert_eq!(sub.end().printed(), "x\n");
}

fn is_taken(site: &Site) -> bool {
    let ended = site.publish(&["-d", "-t", "a", "-q", "1", "-m", "x"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr.contains("published to a: success")
}

#[test]
fn a_subscription_identifier_that_is_asked_for_is_printed_and_one_of_our_own_is_not() {
    let site = Site::start();
    let asked =
        ["-D", "subscribe", "subscription-identifier", "7", "-D", "subscribe", "user-property", "k", "v"];
    for (words, expected) in [(&asked[..], "7 x\n"), (&[], " x\n")] {
        let sub = site.subscribe(&[&["-V", "5", "-t", "a/#", "-C", "1", "-F", "%S %p"], words].concat());
        site.publish(&["-t", "a/b", "-m", "x"]).printed();
        assert_eq!(sub.end().printed(), expected);
    }
    let words = ["-t", "a", "-m", "x", "-D", "subscribe", "user-property", "k", "v"];
    site.publish(&words).failed(2, "only sub sends", "leave them away");
}
