//! The brokers that are measured, and how each is started.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::running::{self, Core, Running, Tools};
use super::scenario::{Figure, OWN, OWN_IN_MEMORY, Scenario, Step};
use crate::workspace::Workspace;
use crate::{Outcome, process};

/// A broker to measure.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Its command, with `{port}` and `{config}` to be filled in.
    command: Vec<String>,
    /// Its configuration, with `{port}` and `{folder}` to be filled in.
    config: &'static str,
    /// What its configuration needs besides to keep what it has acknowledged; none if it cannot.
    keeping: Option<&'static str>,
    folder: PathBuf,
    qos_max: u8,
}

/// Crosspoint's own broker, built for release: as it comes, and told to keep nothing on disk.
pub(crate) fn crosspoint(workspace: &Workspace) -> Outcome<[Peer; 2]> {
    const CONFIG: &str = "[broker.listener.main]\nbind = \"127.0.0.1:{port}\"\n[console]\nenabled = false\n";
    const IN_MEMORY: &str = "[broker]\ndurability = \"memory\"\n[broker.listener.main]\n\
        bind = \"127.0.0.1:{port}\"\n[console]\nenabled = false\n";
    process::run(&mut process::cargo(["build", "--release", "--quiet", "--package", "crosspoint"]))?;
    let binary = workspace.target.join("release/crosspoint");
    let command = [&binary.to_string_lossy(), "up", "--project", "{config}", "--data", "{folder}/data"];
    let peer = |name: &str, config| Peer {
        name: name.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        config,
        keeping: Some(""),
        folder: workspace.target.join("bench/run"),
        qos_max: 2,
    };
    Ok([peer(OWN, CONFIG), peer(OWN_IN_MEMORY, IN_MEMORY)])
}

/// The brokers of others that `cargo xtask peers` has brought, or that are on the search path.
pub(crate) fn found(workspace: &Workspace) -> Outcome<Vec<Peer>> {
    const MOSQUITTO: &str = "listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\n\
        max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n";
    const NATS: &str = "host: 127.0.0.1\nport: -1\nserver_name: bench\n\
        jetstream { store_dir: \"{folder}/nats\" }\nmqtt { host: 127.0.0.1, port: {port}, max_ack_pending: 10000 }\n";
    const RUMQTTD: &str = "id = 0\n[router]\nid = 0\nmax_connections = 10010\nmax_outgoing_packet_count = 200\n\
        max_segment_size = 104857600\nmax_segment_count = 10\n[v4.1]\nname = \"bench\"\n\
        listen = \"127.0.0.1:{port}\"\nnext_connection_delay_ms = 0\n[v4.1.connections]\n\
        connection_timeout_ms = 60000\nmax_payload_size = 1048576\nmax_inflight_count = 100\n\
        dynamic_filters = true\n";
    const MOSQUITTO_KEEPING: &str =
        "user root\npersistence true\npersistence_location {folder}/\nautosave_interval 1\n";
    let peer = |name: &str, config: &'static str, keeping, qos_max: u8, words: &[&str]| {
        let program = locate(workspace, name)?;
        let command = std::iter::once(program).chain(words.iter().map(|word| (*word).to_owned())).collect();
        let folder = workspace.target.join("bench/run");
        Some(Peer { name: name.to_owned(), command, config, keeping, folder, qos_max })
    };
    Ok([
        peer("mosquitto", MOSQUITTO, Some(MOSQUITTO_KEEPING), 2, &["-c", "{config}"]),
        peer("nats-server", NATS, Some(""), 1, &["-c", "{config}"]),
        peer("rumqttd", RUMQTTD, None, 2, &["-q", "-c", "{config}"]),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// A broker given as `NAME=COMMAND`, with `{port}` in the command.
pub(crate) fn given(text: &str) -> Outcome<Peer> {
    let (name, command) =
        text.split_once('=').ok_or("--peer takes NAME=COMMAND, with {port} in the command")?;
    if !command.contains("{port}") {
        return Err(format!("the command of {name} does not say {{port}}").into());
    }
    let command = command.split_whitespace().map(str::to_owned).collect();
    let folder = std::env::temp_dir().join("crosspoint-bench");
    Ok(Peer { name: name.to_owned(), command, config: "", keeping: None, folder, qos_max: 2 })
}

pub(super) fn locate(workspace: &Workspace, name: &str) -> Option<String> {
    let brought = workspace.peers().join("bin").join(name);
    if brought.is_file() {
        return Some(brought.to_string_lossy().into_owned());
    }
    process::is_on_path(name).then(|| name.to_owned())
}

impl Peer {
    /// Says why this broker is not measured in a scenario, if it is not.
    pub(crate) fn leaves_out(&self, scenario: &Scenario) -> Option<&'static str> {
        if scenario.qos > self.qos_max {
            return Some("does not speak this QoS");
        }
        (scenario.keeps && self.keeping.is_none()).then_some("keeps nothing")
    }

    /// Tells whether this broker is measured only where its figures are asked for.
    pub(crate) fn is_reference(&self) -> bool {
        self.name == OWN_IN_MEMORY
    }

    /// Returns the program.
    pub(crate) fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    /// Returns where it keeps what it keeps.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what another run has left.
    ///
    /// # Errors
    /// When the folder cannot be made anew.
    pub(crate) fn clear(&self) -> Outcome {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        Ok(std::fs::create_dir_all(&self.folder)?)
    }

    /// Starts the broker, loads it, stops it, and returns the generator's report.
    pub(crate) fn serve(&self, scenario: &Scenario, tools: &Tools) -> Outcome<Value> {
        self.clear()?;
        let keeping = self.keeping.filter(|_| scenario.keeps).unwrap_or_default();
        let broker = Running::start(self, keeping, Core::Measured)?;
        let process = broker.process_id()?;
        for step in scenario.before {
            match step {
                Step::Load(load) => drop(tools.load(load, broker.port, process)?),
                Step::LeaveSession => tools.leave_session(broker.port)?,
            }
        }
        let mut report = running::report(&tools.load(scenario.load, broker.port, process)?)?;
        if scenario.asks_for(Figure::SyncsPerMessage) && self.name == OWN {
            let received = report.get("received").and_then(Value::as_f64).ok_or("nothing was received")?;
            let syncs = tools.commits(broker.port)? / received;
            if let Some(figures) = report.as_object_mut() {
                figures.insert("syncs_per_msg".to_owned(), Value::from(syncs));
            }
        }
        Ok(report)
    }

    /// Returns its command line, with everything filled in.
    pub(super) fn words(&self, port: u16, config: &Path) -> Vec<String> {
        self.command.iter().map(|word| self.filled(word, port, config)).collect()
    }

    /// Returns its configuration, with everything filled in.
    pub(super) fn configuration(&self, more: &str, port: u16, config: &Path) -> String {
        self.filled(&format!("{}{more}", self.config), port, config)
    }

    fn filled(&self, text: &str, port: u16, config: &Path) -> String {
        text.replace("{port}", &port.to_string())
            .replace("{config}", &config.to_string_lossy())
            .replace("{folder}", &self.folder.to_string_lossy())
    }
}
