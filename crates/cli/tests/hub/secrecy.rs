//! No secret of a project is in anything that the program writes, shows or answers.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::support::{PROJECT, Up, WITHIN, crosspoint, folder, read_until, run_with, text, wait};

/// What every secret here holds. It is random enough to occur nowhere by chance.
const NEEDLE: &str = "kQ7vZw3XjN";

/// A secret of a place.
fn secret(place: &str) -> String {
    format!("{place}-{NEEDLE}-{place}")
}

/// Base64 of the needle, at each of the three places in which it may begin, without the characters at the ends that its
/// neighbours change.
fn encoded_needles() -> Vec<String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = |skip: usize| {
        let bits: Vec<u8> =
            NEEDLE.bytes().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).skip(skip).collect();
        let digit = |six: &[u8]| DIGITS[six.iter().fold(0, |all, bit| all << 1 | usize::from(*bit))];
        String::from_utf8(bits.chunks_exact(6).map(digit).collect()).unwrap()
    };
    // The first whole digit begins at bit 0, 4 or 2 of the needle, as it stands at byte 0, 1 or 2 of three.
    vec![at(0), at(4), at(2)]
}

#[track_caller]
fn assert_silent(what: &str, said: &[u8]) {
    let said = String::from_utf8_lossy(said);
    for needle in encoded_needles().iter().map(String::as_str).chain([NEEDLE]) {
        if let Some(at) = said.find(needle) {
            let from = said[..at].rfind('\n').map_or(0, |line| line + 1);
            panic!("{what} tells a secret: {}", said[from..].lines().next().unwrap());
        }
    }
}

fn said(output: &Output) -> Vec<u8> {
    [output.stdout.as_slice(), &output.stderr].concat()
}

/// Reads to the end, on a thread of its own, so that a full pipe holds nobody up.
fn read(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A hub that connects to itself, rightly and wrongly, with a secret in every field that takes one.
struct Site {
    folder: tempfile::TempDir,
    mqtt: u16,
}

impl Site {
    fn new() -> Self {
        let (mqtt, ws, closed) = (free_port(), free_port(), free_port());
        let right = secret("user");
        let project = format!(
            "{}
[broker.listener.web]
bind = \"127.0.0.1:{ws}\"
transport = \"ws\"
[broker.user.al]
password = \"{right}\"
roles = [\"all\"]
[broker.role.all]
allow = [\"both #\"]
[connector.right]
url = \"mqtt://127.0.0.1:{mqtt}\"
username = \"al\"
password = \"{right}\"
[connector.sealed]
url = \"mqtt://127.0.0.1:{mqtt}\"
username = \"al\"
[connector.variable]
url = \"mqtt://127.0.0.1:{mqtt}\"
username = \"al\"
password = \"env:SECRECY\"
[connector.file]
url = \"ws://127.0.0.1:{ws}\"
username = \"al\"
password = \"file:secret.txt\"
websocket.headers = {{ Authorization = \"{}\", X-Other = \"env:SECRECY\" }}
[connector.closed]
url = \"mqtt://127.0.0.1:{closed}\"
username = \"al\"
password = \"{}\"
[connector.tls]
url = \"mqtts://127.0.0.1:{mqtt}\"
username = \"al\"
password = \"{}\"
[flow.a]
from = {{ connector = \"right\", topics = \"a/#\" }}
to = [
    {{ connector = \"sealed\", topic = \"b/{{topic}}\" }},
    {{ connector = \"variable\", topic = \"b/{{topic}}\" }},
    {{ connector = \"file\", topic = \"b/{{topic}}\" }},
    {{ connector = \"closed\", topic = \"b/{{topic}}\" }},
    {{ connector = \"tls\", topic = \"b/{{topic}}\" }},
]
",
            PROJECT.replace("127.0.0.1:0", &format!("127.0.0.1:{mqtt}")),
            secret("header"),
            secret("closed"),
            secret("tls"),
        );
        let folder = folder(&project);
        fs::write(folder.path().join("secret.txt"), secret("file")).unwrap();
        let site = Self { folder, mqtt };
        // What opens is the right password, so that this one connects.
        let set = run_with(site.path(), &["secret", "set", "connector.sealed.password"], &right);
        assert!(set.status.success(), "{set:?}");
        assert_silent("secret set", &said(&set));
        let checked = site.ask(&["check"]);
        assert!(checked.contains("is a valid project"), "{checked}");
        site
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command, whose answer must be silent, and returns what it said.
    fn ask(&self, arguments: &[&str]) -> String {
        let mut command = crosspoint(self.path(), arguments);
        command.env("SECRECY", secret("variable")).env("RUST_LOG", "trace");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, log) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
        wait(&mut child);
        let all = [out.join().unwrap(), log.join().unwrap()].concat();
        assert_silent(&arguments.join(" "), &all);
        text(&all)
    }

    /// Asks until the answer holds all of this.
    fn ask_until(&self, arguments: &[&str], words: &[&str]) {
        let begin = Instant::now();
        loop {
            let said = self.ask(arguments);
            if words.iter().all(|word| said.contains(word)) {
                return;
            }
            assert!(begin.elapsed() < WITHIN, "{arguments:?} does not say {words:?}: {said}");
        }
    }

    fn project(&self) -> String {
        fs::read_to_string(self.path().join("crosspoint.toml")).unwrap()
    }

    fn write(&self, project: &str) {
        fs::write(self.path().join("crosspoint.toml"), project).unwrap();
    }
}

fn start(site: &Site) -> Up {
    let mut command = crosspoint(site.path(), &[]);
    command.env("SECRECY", secret("variable")).env("RUST_LOG", "trace");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, log) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    Up { child, out: crate::support::lines(out), log: crate::support::lines(log) }
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

/// Every command that shows anything of a project or of a hub.
fn ask_everything(site: &Site) {
    let key = fs::read_to_string(site.path().join("crosspoint-data/sealing.key")).unwrap();
    let key = key.lines().last().unwrap();
    for arguments in [
        &["check"][..],
        &["explain", "connector.right.password"],
        &["explain", "connector.right", "--json"],
        &["explain", "connector.sealed.password", "--json"],
        &["explain", "connector.file.websocket.headers"],
        &["explain", "broker.user.al.password"],
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
        &["pub", "--connector", "variable", "-t", "a/1", "-m", "x", "-d", "-W", "5"],
        &["pub", "--connector", "closed", "-t", "a/1", "-m", "x", "-d"],
        &["pub", "--connector", "tls", "-t", "a/1", "-m", "x", "-d", "-W", "5"],
        &["pub", "--connector", "file", "-t", "a/1", "-m", "x", "-d", "-W", "5"],
        &["secret", "set", "connector.nobody.password", "--keep"],
    ] {
        let said = site.ask(arguments);
        assert!(!said.contains(key), "{arguments:?} tells the key");
    }
}

#[test]
fn no_secret_is_in_anything_that_is_shown_logged_answered_or_kept() {
    let site = Site::new();
    let mut up = start(&site);
    let printed = read_until(&up.out, "Ctrl-C stops it.");
    assert_silent("the greeting", printed.as_bytes());
    // Some are connected, some are refused, some reach nobody: that is what there is to talk about.
    site.ask_until(&["status", "--json"], &["\"connected\"", "\"refused\"", "\"backing off\""]);
    ask_everything(&site);
    let title = fs::read(format!("/proc/{}/cmdline", up.child.id())).unwrap();
    assert_silent("the title of the process", &title);
    // Changes that are wrong, one of them no TOML, and one that is taken over.
    let (right, mut log) = (site.project(), String::new());
    for wrong in [
        format!("{right}[connector.worse]\nurl = \"mqtt://al:{}@h\"\npasword = \"{}\"\n", secret("url"), secret("typo")),
        format!("{right}[connector.worse]\npassword = \"{}\n", secret("cut")),
        right.replace("url = \"mqtts://", &format!("tls.key = '''-----BEGIN PRIVATE KEY-----\n{NEEDLE}\n-----END PRIVATE KEY-----'''\ntls.certificate = 'secret.txt'\nurl = \"mqtts://")),
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
    site.ask(&["secret", "rotate"]);
    assert!(log.contains("TRACE"), "the level was the lowest there is");
    up.signal("TERM");
    log += &log_until(&up, "Stopping.");
    assert_eq!(wait(&mut up.child).code(), Some(0));
    log.extend(up.log.iter().map(|line| line + "\n"));
    log.extend(up.out.iter());
    assert_silent("the log", log.as_bytes());
    look_into(&site.path().join("crosspoint-data"));
    assert!(site.mqtt != 0 && right.contains(NEEDLE), "the secrets were there to be told");
}

#[test]
fn what_the_command_line_needs_not_say_it_does_not_say() {
    let site = Site::new();
    let up = start(&site);
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
fn the_needle_is_found_when_it_is_there() {
    let shown = |text: &str| std::panic::catch_unwind(|| assert_silent("this", text.as_bytes())).is_err();
    assert!(shown(&secret("x")));
    assert!(!shown("nothing"));
    // In base64, by another hand: alone, behind `-` and behind `--`.
    for encoded in ["a1E3dlp3M1hqTg==", "LWtRN3ZadzNYak4=", "LS1rUTd2WnczWGpO"] {
        assert!(shown(encoded), "{encoded}");
    }
}
