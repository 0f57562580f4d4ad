//! The lines of `mosquitto.conf` and of what it includes, in blocks: general, a listener, a bridge.
//!
//! As in Mosquitto each file begins outside of every block, and the main file goes on where it was after an
//! `include_dir`.

use std::path::Path;

use super::super::{Import, ImportError, read_text};

/// One line: a key and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// File and line, for notes.
    pub(super) at: String,
    pub(super) key: String,
    pub(super) value: String,
}

/// Lines that belong together. What is not taken out of it is named in the end.
#[derive(Debug, Default, Clone)]
pub(super) struct Block {
    /// Where it begins.
    pub(super) at: String,
    /// What its first line says: port and address of a listener, the name of a bridge.
    pub(super) head: String,
    lines: Vec<Line>,
}

/// Everything that a configuration says.
#[derive(Debug, Default)]
pub(super) struct Conf {
    pub(super) general: Block,
    pub(super) listeners: Vec<Block>,
    pub(super) bridges: Vec<Block>,
    pub(super) is_per_listener: bool,
}

impl Block {
    pub(super) fn new(at: &str, head: &str) -> Self {
        Self { at: at.to_owned(), head: head.to_owned(), lines: Vec::new() }
    }

    /// Takes the lines with a key out.
    pub(super) fn take_all(&mut self, key: &str) -> Vec<Line> {
        let (taken, left) = std::mem::take(&mut self.lines).into_iter().partition(|line| line.key == key);
        self.lines = left;
        taken
    }

    /// Takes a line with one of the keys out; the first one counts.
    pub(super) fn take(&mut self, keys: &[&str]) -> Option<Line> {
        let at = self.lines.iter().position(|line| keys.contains(&line.key.as_str()))?;
        Some(self.lines.remove(at))
    }

    /// Takes a line with a flag out.
    pub(super) fn take_flag(&mut self, key: &str) -> Option<bool> {
        self.take(&[key]).map(|line| matches!(line.value.as_str(), "true" | "1"))
    }

    /// Returns the first line with one of the keys, which stays.
    pub(super) fn find(&self, keys: &[&str]) -> Option<&Line> {
        self.lines.iter().find(|line| keys.contains(&line.key.as_str()))
    }

    /// Takes what is left.
    pub(super) fn rest(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }
}

/// Into which block a line goes that comes next.
#[derive(Clone, Copy, Default)]
struct Current {
    listener: Option<usize>,
    bridge: Option<usize>,
}

/// Keys of a listener.
const LISTENER_KEYS: &[&str] = &[
    "accept_protocol_versions",
    "bind_address",
    "bind_interface",
    "cafile",
    "capath",
    "certfile",
    "ciphers",
    "ciphers_tls1.3",
    "crlfile",
    "dhparamfile",
    "disable_client_cert_date_checks",
    "enable_proxy_protocol",
    "http_dir",
    "keyfile",
    "listener_allow_anonymous",
    "listener_auto_id_prefix",
    "max_connections",
    "max_qos",
    "maximum_qos",
    "max_topic_alias",
    "max_topic_alias_broker",
    "mount_point",
    "port",
    "protocol",
    "proxy_protocol_v2_require_tls",
    "psk_hint",
    "require_certificate",
    "socket_domain",
    "tls_engine",
    "tls_engine_kpass_sha1",
    "tls_keyform",
    "tls_version",
    "use_identity_as_username",
    "use_subject_as_username",
    "use_username_as_clientid",
    "websockets_origin",
];

/// Keys that belong to a listener with `per_listener_settings true`, and to all of them otherwise.
const SECURITY_KEYS: &[&str] = &[
    "acl_file",
    "allow_anonymous",
    "allow_zero_length_clientid",
    "auth_plugin",
    "auth_plugin_deny_special_chars",
    "auto_id_prefix",
    "password_file",
    "plugin",
    "psk_file",
];

/// Keys of a bridge besides those that begin with `bridge_`, `local_`, `remote_` and `notification`.
const BRIDGE_KEYS: &[&str] = &[
    "address",
    "addresses",
    "cleansession",
    "clientid",
    "idle_timeout",
    "keepalive_interval",
    "password",
    "restart_timeout",
    "round_robin",
    "start_type",
    "threshold",
    "topic",
    "try_private",
    "username",
];

/// Reads the configuration with all that it includes.
pub(super) fn read(import: &mut Import<'_>) -> Result<Conf, ImportError> {
    let mut reading = Reading { lines: Vec::new(), is_included: false };
    reading.file(import.path, 0)?;
    let is_per_listener = |(_, line): &(usize, Line)| {
        line.key == "per_listener_settings" && matches!(line.value.as_str(), "true" | "1")
    };
    let is_per_listener = reading.lines.iter().any(is_per_listener);
    Ok(blocks(reading.lines, is_per_listener))
}

/// The lines so far, each with the number of its file.
struct Reading {
    lines: Vec<(usize, Line)>,
    is_included: bool,
}

impl Reading {
    fn file(&mut self, path: &Path, number: usize) -> Result<(), ImportError> {
        let text = read_text(path)?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let (key, value) = (key.to_owned(), value.trim().to_owned());
            let line = Line { at: format!("{name}:{}", index + 1), key, value };
            if line.key == "include_dir" && !self.is_included {
                self.folder(&path.with_file_name(&line.value))?;
            } else {
                self.lines.push((number, line));
            }
        }
        Ok(())
    }

    /// Reads the files of a folder whose names end in `.conf`, in the order of their names.
    fn folder(&mut self, folder: &Path) -> Result<(), ImportError> {
        let unreadable = |error: std::io::Error| ImportError::Unreadable {
            path: folder.display().to_string(),
            reason: error.to_string(),
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                files.push(path);
            }
        }
        files.sort();
        self.is_included = true;
        for (number, file) in files.iter().enumerate() {
            self.file(file, number + 1 + self.lines.len())?;
        }
        self.is_included = false;
        Ok(())
    }
}

fn blocks(lines: Vec<(usize, Line)>, is_per_listener: bool) -> Conf {
    let mut conf = Conf { is_per_listener, ..Conf::default() };
    let mut default_listener = None;
    let mut current: std::collections::BTreeMap<usize, Current> = std::collections::BTreeMap::new();
    for (file, line) in lines {
        let current = current.entry(file).or_default();
        match line.key.as_str() {
            "per_listener_settings" => {}
            "listener" => {
                conf.listeners.push(Block::new(&line.at, &line.value));
                current.listener = Some(conf.listeners.len() - 1);
            }
            "connection" => {
                // One connection may have several sections.
                let same = conf.bridges.iter().position(|bridge| bridge.head == line.value);
                let index = same.unwrap_or_else(|| {
                    conf.bridges.push(Block::new(&line.at, &line.value));
                    conf.bridges.len() - 1
                });
                current.bridge = Some(index);
            }
            key if is_of_bridge(key) && current.bridge.is_some() => {
                let bridge = current.bridge.and_then(|index| conf.bridges.get_mut(index));
                bridge.unwrap_or(&mut conf.general).lines.push(line);
            }
            key if LISTENER_KEYS.contains(&key) || is_per_listener && SECURITY_KEYS.contains(&key) => {
                let index = current.listener.or(default_listener).unwrap_or_else(|| {
                    conf.listeners.push(Block::new(&line.at, "1883"));
                    conf.listeners.len() - 1
                });
                if current.listener.is_none() {
                    default_listener = Some(index);
                }
                match (conf.listeners.get_mut(index), key) {
                    (Some(listener), "port") if current.listener.is_none() => listener.head = line.value,
                    (Some(listener), _) => listener.lines.push(line),
                    (None, _) => conf.general.lines.push(line),
                }
            }
            _ => conf.general.lines.push(line),
        }
    }
    conf
}

fn is_of_bridge(key: &str) -> bool {
    BRIDGE_KEYS.contains(&key)
        || ["bridge_", "local_", "remote_", "notification"].iter().any(|start| key.starts_with(start))
}
