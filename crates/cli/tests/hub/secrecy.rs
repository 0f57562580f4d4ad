//! No secret of a project is in anything that the program writes, shows or answers.

mod declared;
mod identity;
mod importing;
mod needle;
mod proxy;
mod site;

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::support::{Up, WITHIN, read_until, wait};
use needle::{NEEDLE, assert_silent, secret};
use site::Site;

/// Every command that shows anything of a project or of a hub, and ends by itself.
const WAYS: &[&[&str]] = &[
    &["check"],
    &["explain"],
    &["explain", "--json"],
    &["explain", "connector.right.password"],
    &["explain", "connector.right", "--json"],
    &["explain", "connector.sealed.password", "--json"],
    &["explain", "connector.file.websocket.headers"],
    &["explain", "connector.mutual.tls", "--json"],
    &["explain", "connector.mutual.tls.key_password"],
    &["explain", "connector.archive.tls.key_password", "--json"],
    &["explain", "connector.http-proxy.proxy"],
    &["explain", "connector.http-proxy.proxy", "--json"],
    &["explain", "connector.socks-proxy.proxy"],
    &["explain", "connector.socks-proxy.proxy.password", "--json"],
    &["explain", "broker.user.al.password"],
    &["explain", "broker.listener.tls.tls.key", "--json"],
    &["schema"],
    &["schema", "--markdown"],
    &["secret", "list"],
    &["secret", "list", "--json"],
    &["export", "--redacted"],
    &["status"],
    &["status", "--json"],
    &["outbox", "list", "--json"],
    &["outbox", "show", "closed", "--json"],
    &["dead", "list", "--json"],
    &["store", "status", "--json"],
    &["pub", "--connector", "right", "-t", "a/1", "-m", "x", "-q", "1", "-d"],
    &["pub", "--connector", "scram", "-t", "a/1", "-m", "x", "-q", "1", "-d", "-W", "5"],
    &["doctor", "scram"],
    &["doctor", "scram-wrong", "--json"],
    &["pub", "--connector", "variable", "-t", "a/1", "-m", "x", "-d", "-W", "5"],
    &["pub", "--connector", "closed", "-t", "a/1", "-m", "x", "-d"],
    &["pub", "--connector", "tls", "-t", "a/1", "-m", "x", "-d", "-W", "5"],
    &["pub", "--connector", "file", "-t", "a/1", "-m", "x", "-d", "-W", "5"],
    &["pub", "--connector", "mutual", "-t", "c", "-m", "x", "-q", "1", "-d", "-W", "5"],
    &["pub", "--connector", "archive", "-t", "c", "-m", "x", "-q", "1", "-d", "-W", "5"],
    &["pub", "--connector", "http-proxy", "-t", "c", "-m", "x", "-d", "-W", "5"],
    &["pub", "--connector", "socks-proxy", "-t", "c", "-m", "x", "-d", "-W", "5"],
    &["sub", "--connector", "right", "-t", "a/#", "-t", "$SYS/#", "-v", "-d", "-W", "1"],
    &["sub", "--connector", "broker", "-t", "#", "-t", "$SYS/#", "-v", "-d", "-W", "1"],
    &["sub", "--connector", "variable", "-t", "a/#", "-d", "-W", "5"],
    &["sub", "--connector", "socks-proxy", "-t", "a/#", "-d", "-W", "5"],
    &["request", "--connector", "right", "-t", "a/q", "-m", "x", "-d", "-W", "1"],
    &["request", "--connector", "file", "-t", "a/q", "-m", "x", "-d", "-W", "5"],
    &["request", "--connector", "http-proxy", "-t", "a/q", "-m", "x", "-d", "-W", "5"],
    &["secret", "set", "connector.nobody.password", "--keep"],
];

fn sealing_key(site: &Site) -> String {
    let file = fs::read_to_string(site.path().join("crosspoint-data/sealing.key")).unwrap();
    file.lines().last().unwrap().to_owned()
}

/// Asks in every way.
fn ask_everything(site: &Site) {
    let key = sealing_key(site);
    for arguments in WAYS {
        let said = site.ask(arguments);
        assert!(!said.contains(&key), "{arguments:?} tells the key");
    }
}

/// Looks at what the system shows of a process and its threads to everyone.
fn look_at_process(id: u32) {
    for file in ["cmdline", "comm", "status"] {
        assert_silent(file, &fs::read(format!("/proc/{id}/{file}")).unwrap());
    }
    for thread in fs::read_dir(format!("/proc/{id}/task")).unwrap().map_while(Result::ok) {
        // One that has ended in between has no name.
        assert_silent("the name of a thread", &fs::read(thread.path().join("comm")).unwrap_or_default());
    }
}

/// Returns the log up to a line with this. It is long, so each line is looked at once.
#[track_caller]
fn log_until(up: &Up, what: &str) -> String {
    let (begin, mut log) = (Instant::now(), String::new());
    loop {
        let line = up.log.recv_timeout(WITHIN.saturating_sub(begin.elapsed())).unwrap_or_else(|_| {
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            panic!(
                "no {what:?} in {} lines, the last of which, backwards, are\n{}",
                log.lines().count(),
                last.join("\n")
            )
        });
        log += &line;
        log.push('\n');
        if line.contains(what) {
            return log;
        }
    }
}

/// Looks into every file below a folder.
fn look_into(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            look_into(&path);
        } else if kind.is_file() {
            assert_silent(&path.display().to_string(), &fs::read(&path).unwrap());
        }
    }
}

#[test]
fn no_secret_is_in_anything_that_is_shown_logged_answered_or_kept() {
    let site = Site::new();
    let mut up = site.start();
    let printed = read_until(&up.out, "Ctrl-C stops it.");
    assert_silent("the greeting", printed.as_bytes());
    // Some are connected, some are refused, some reach nobody: that is what there is to talk about.
    site.ask_until(&["status", "--json"], &["\"connected\"", "\"refused\"", "\"backing off\""]);
    ask_everything(&site);
    look_at_process(up.child.id());
    site.ask_until(&["sub", "--connector", "broker", "-t", "$SYS/#", "-v", "-W", "1"], &["$SYS/broker/"]);
    // Changes that are wrong, one of them no TOML, and one that is taken over.
    let (right, mut log) = (site.project(), String::new());
    for wrong in [
        format!("{right}[connector.worse]\nurl = \"mqtt://al:{}@h\"\npasword = \"{}\"\n", secret("url"), secret("typo")),
        format!("{right}[connector.worse]\npassword = \"{}\n", secret("cut")),
        right.replace("[connector.tls]\n", &format!("[connector.tls]\ntls.key = '''-----BEGIN PRIVATE KEY-----\n{NEEDLE}\n-----END PRIVATE KEY-----'''\ntls.certificate = 'secret.txt'\n")),
        // The password of another key, and of nothing.
        right.replace(&secret("key"), &secret("other")),
        right.replace(&secret("pkcs12"), &secret("other")),
        right.replace("proxy = 'http://al:", "proxy = 'http://"),
    ] {
        site.write(&wrong);
        log += &log_until(&up, "what ran keeps running");
        for arguments in [&["check"][..], &["export", "--redacted"], &["secret", "list"]] {
            site.ask(arguments);
        }
    }
    site.write(&right.replace(&secret("closed"), &secret("changed")));
    log += &log_until(&up, "has been taken over");
    ask_everything(&site);
    // What is taken over behind a rotation has been opened with the new key.
    let key = sealing_key(&site);
    site.ask(&["secret", "rotate"]);
    site.write(&site.project().replace(&secret("changed"), &secret("closed")));
    log += &log_until(&up, "has been taken over");
    let keys = [key, sealing_key(&site)];
    assert_ne!(keys[0], keys[1], "the key was rotated");
    assert!(log.contains("TRACE"), "the level was the lowest there is");
    let scram = |name: &str| site.ask(&["doctor", name, "--json"]);
    assert!(scram("scram").contains("\"passed\""), "SCRAM works here: {}", scram("scram"));
    up.signal("TERM");
    log += &log_until(&up, "Stopping.");
    assert_eq!(wait(&mut up.child).code(), Some(0));
    log.extend(up.log.iter().map(|line| line + "\n"));
    log.extend(up.out.iter());
    assert_silent("the log", log.as_bytes());
    assert!(!keys.iter().any(|key| log.contains(key.as_str())), "the log tells a key");
    look_into(&site.path().join("crosspoint-data"));
    assert!(site.mqtt != 0 && right.contains(NEEDLE), "the secrets were there to be told");
}

#[test]
fn what_the_command_line_needs_not_say_it_does_not_say() {
    let site = Site::new();
    let up = site.start();
    read_until(&up.out, "Ctrl-C stops it.");
    let port = site.mqtt.to_string();
    let with = |source: &str| {
        site.ask(&[
            "pub",
            "-p",
            &port,
            "-t",
            "a",
            "-m",
            "x",
            "-q",
            "1",
            "-u",
            "al",
            "--password-from",
            source,
            "-d",
        ])
    };
    fs::write(site.path().join("right.txt"), secret("user") + "\n").unwrap();
    assert!(with("file:right.txt").contains("connected to"), "the password of the file is taken");
    assert!(with("env:SECRECY").contains("error: "), "that of the variable is another");
    assert!(with(&secret("typed")).contains("env:NAME or file:PATH"));
}

#[test]
fn the_doctor_tells_no_secret_whatever_he_finds() {
    let site = Site::new();
    let up = site.start();
    read_until(&up.out, "Ctrl-C stops it.");
    let url = format!("mqtt://127.0.0.1:{}", site.mqtt);
    let typed = secret("typed");
    let with_login = format!("mqtt://al:{typed}@127.0.0.1:{}", site.mqtt);
    for (arguments, must) in [
        (&["variable"][..], "password"),
        (&["variable", "--json"], "password"),
        (&["variable", "--probe", "--timeout", "2"], "password"),
        (&["variable", "--probe", "--json", "--timeout", "2"], "password"),
        (&["mutual", "--json"], "\"mutual\""),
        (&["archive"], "archive"),
        (&["file"], "password"),
        (&["closed", "--json"], "\"closed\""),
        (&["http-proxy"], "proxy.password"),
        (&["socks-proxy", "--json"], "proxy.password"),
        (&[&url, "-u", "al", "-P", &typed], "password"),
        (&[&url, "-u", "al", "-P", &typed, "--probe", "--json"], "password"),
        (&[&with_login], "password"),
        (&[&with_login, "--json"], "password"),
        // It writes into the project, and so comes last.
        (&["tls", "--fix"], "tls"),
        (&["--fix", "--json", "--timeout", "2"], "password"),
    ] {
        let said = site.ask(&[&["doctor"], arguments].concat());
        assert!(said.contains(must), "{arguments:?} does not speak of {must}: {said}");
    }
    assert!(site.project().contains(NEEDLE), "it was there to be told");
}
