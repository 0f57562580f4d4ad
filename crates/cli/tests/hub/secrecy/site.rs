//! A hub that connects to itself, rightly and wrongly, with a secret in every field that takes one.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::Instant;

use super::identity;
use super::needle::{assert_silent, secret};
use super::proxy;
use crate::support::{PROJECT, Up, WITHIN, crosspoint, folder, free_port, lines, run_with, text, wait};

/// The connectors: a name, and what is written of it. `MQTT`, `WS`, `TLS`, `P12`, `CLOSED` and `PROXY` stand for ports,
/// `{x}` for the secret of x, `KEY` for the key as it is.
const CONNECTORS: &[(&str, &str)] = &[
    ("right", "url = 'mqtt://127.0.0.1:MQTT'\npassword = '{user}'"),
    ("scram", "url = 'mqtt://127.0.0.1:MQTT'\npassword = '{user}'\nauth = 'scram-sha-256'"),
    ("scram-wrong", "url = 'mqtt://127.0.0.1:MQTT'\npassword = '{closed}'\nauth = 'scram-sha-256'"),
    ("sealed", "url = 'mqtt://127.0.0.1:MQTT'"),
    ("variable", "url = 'mqtt://127.0.0.1:MQTT'\npassword = 'env:SECRECY'"),
    (
        "file",
        "url = 'ws://127.0.0.1:WS'\npassword = 'file:secret.txt'\n\
         websocket.headers = { Authorization = '{header}', X-Other = 'env:SECRECY' }",
    ),
    ("closed", "url = 'mqtt://127.0.0.1:CLOSED'\npassword = '{closed}'"),
    ("tls", "url = 'mqtts://127.0.0.1:MQTT'\npassword = '{tls}'"),
    (
        "mutual",
        "url = 'mqtts://127.0.0.1:TLS'\npassword = '{user}'\n\
         tls = { ca = 'ca.pem', certificate = 'own.pem', key = 'own.key', key_password = '{key}' }",
    ),
    (
        "archive",
        "url = 'mqtts://127.0.0.1:P12'\npassword = '{user}'\n\
         tls = { ca = 'ca.pem', pkcs12 = 'own.p12', key_password = '{pkcs12}' }",
    ),
    (
        "inline",
        "url = 'mqtts://127.0.0.1:TLS'\npassword = '{closed}'\n\
         tls = { ca = 'ca.pem', certificate = 'own.pem', key = '''KEY''' }",
    ),
    (
        "http-proxy",
        "url = 'mqtt://127.0.0.1:MQTT'\npassword = '{user}'\nproxy = 'http://al:{proxy}@127.0.0.1:PROXY'",
    ),
    (
        "socks-proxy",
        "url = 'mqtt://127.0.0.1:MQTT'\npassword = '{user}'\n\
         proxy = { url = 'socks5://127.0.0.1:PROXY', username = 'al', password = '{proxy}' }",
    ),
];

/// What stands around the connectors.
const AROUND: &str = "
[broker.listener.web]
bind = '127.0.0.1:WS'
transport = 'ws'
[broker.listener.tls]
bind = '127.0.0.1:TLS'
transport = 'tls'
tls = { ca = 'ca.pem', certificate = 'own.pem', key = '''KEY''' }
[broker.listener.encrypted]
bind = '127.0.0.1:0'
transport = 'tls'
tls = { certificate = 'own.pem', key = 'own.key', key_password = '{key}' }
[broker.listener.p12]
bind = '127.0.0.1:P12'
transport = 'tls'
tls = { pkcs12 = 'own.p12', key_password = '{pkcs12}' }
[broker.user.al]
password = '{user}'
roles = ['all']
[broker.role.all]
allow = ['both #', 'both $SYS/#']
[flow.a]
from = { connector = 'right', topics = 'a/#' }
to = [SINKS]
";

/// What the secrets of the project are called.
const SECRETS: &[&str] = &["user", "header", "closed", "tls", "key", "pkcs12", "proxy"];

/// Returns the project with its ports, key and secrets.
fn project(key: &str, mqtt: u16) -> String {
    let sink = |name: &&str| format!("{{ connector = '{name}', topic = 'b/{{topic}}' }}");
    let names = CONNECTORS.iter().map(|(name, _)| name).filter(|name| **name != "right");
    let sinks: Vec<String> = names.map(sink).collect();
    let mut project = PROJECT.replace(":0", ":MQTT") + &AROUND.replace("SINKS", &sinks.join(", "));
    for (name, written) in CONNECTORS {
        project += &format!("[connector.{name}]\nusername = 'al'\n{written}\n");
    }
    for port in ["WS", "TLS", "P12", "CLOSED"] {
        project = project.replace(&format!(":{port}"), &format!(":{}", free_port()));
    }
    project = project.replace(":MQTT", &format!(":{mqtt}"));
    project = project.replace(":PROXY", &format!(":{}", proxy::start()));
    for place in SECRETS {
        project = project.replace(&format!("{{{place}}}"), &secret(place));
    }
    project.replace("KEY", key)
}

/// Reads to the end, on a thread of its own, so that a full pipe holds nobody up.
fn read(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

/// A folder with the project.
pub(super) struct Site {
    folder: tempfile::TempDir,
    pub(super) mqtt: u16,
}

impl Site {
    pub(super) fn new() -> Self {
        let (folder, mqtt) = (folder(""), free_port());
        let key = identity::write(folder.path());
        let site = Self { folder, mqtt };
        site.write(&project(&key, mqtt));
        fs::write(site.path().join("secret.txt"), secret("file")).unwrap();
        // What opens is the right password, so that this one connects.
        let set = run_with(site.path(), &["secret", "set", "connector.sealed.password"], &secret("user"));
        assert!(set.status.success(), "{set:?}");
        assert_silent("secret set", &[set.stdout, set.stderr].concat());
        let checked = site.ask(&["check"]);
        assert!(checked.contains("is a valid project"), "{checked}");
        site
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the hub, with the lowest level of its log.
    pub(super) fn start(&self) -> Up {
        let mut command = crosspoint(self.path(), &[]);
        command.env("SECRECY", secret("variable")).env("RUST_LOG", "trace");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, log) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Up { child, out: lines(out), log: lines(log) }
    }

    /// Runs a command, whose answer must be silent, and returns what it said.
    pub(super) fn ask(&self, arguments: &[&str]) -> String {
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
    pub(super) fn ask_until(&self, arguments: &[&str], words: &[&str]) {
        let begin = Instant::now();
        loop {
            let said = self.ask(arguments);
            if words.iter().all(|word| said.contains(word)) {
                return;
            }
            assert!(begin.elapsed() < WITHIN, "{arguments:?} does not say {words:?}: {said}");
        }
    }

    pub(super) fn project(&self) -> String {
        fs::read_to_string(self.path().join("crosspoint.toml")).unwrap()
    }

    pub(super) fn write(&self, project: &str) {
        fs::write(self.path().join("crosspoint.toml"), project).unwrap();
    }
}
