//! The brokers that are measured, and how each is started.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::scenario::{OWN_IN_MEMORY, Scenario};
use crate::workspace::Workspace;
use crate::{Outcome, process};

/// How long a broker may take until it accepts connections.
const START_DEADLINE: Duration = Duration::from_secs(10);

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
    Ok([peer("crosspoint", CONFIG), peer(OWN_IN_MEMORY, IN_MEMORY)])
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

fn locate(workspace: &Workspace, name: &str) -> Option<String> {
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

    /// Returns where it keeps what it keeps.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the broker, loads it, stops it, and returns the generator's report.
    pub(crate) fn serve(&self, scenario: &Scenario, generator: &Path) -> Outcome<Value> {
        let port = free_port()?;
        // Nothing of another run is there.
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        std::fs::create_dir_all(&self.folder)?;
        let keeping = self.keeping.filter(|_| scenario.keeps).unwrap_or_default();
        let broker = Running::start(self, keeping, port)?;
        wait_until_open(port)?;
        let process = broker.process_id()?;
        for load in scenario.before {
            self.load(load, generator, port, process)?;
        }
        let text = self.load(scenario.load, generator, port, process)?;
        let line =
            text.lines().rev().find(|line| line.starts_with('{')).ok_or("the generator reported nothing")?;
        Ok(serde_json::from_str(line)?)
    }

    fn load(&self, load: &str, generator: &Path, port: u16, process: u32) -> Outcome<String> {
        let mut command = pinned(generator.as_os_str(), "1");
        command.args(load.split_whitespace());
        command.arg("--addr").arg(format!("127.0.0.1:{port}")).arg("--pid").arg(process.to_string());
        process::read(&mut command)
    }

    fn filled(&self, text: &str, port: u16, config: &Path) -> String {
        text.replace("{port}", &port.to_string())
            .replace("{config}", &config.to_string_lossy())
            .replace("{folder}", &self.folder.to_string_lossy())
    }
}

/// A broker that runs; killed when dropped.
struct Running(Child);

impl Running {
    fn start(peer: &Peer, keeping: &str, port: u16) -> Outcome<Self> {
        // One of them goes by the ending of the name.
        let config = peer.folder.join(format!("{}.toml", peer.name));
        std::fs::write(&config, peer.filled(&format!("{}{keeping}", peer.config), port, &config))?;
        let mut words = peer.command.iter().map(|word| peer.filled(word, port, &config));
        let program = words.next().ok_or("a broker without a command")?;
        let log = File::create(peer.folder.join(format!("{}.log", peer.name)))?;
        let mut command = pinned(program.as_ref(), "0");
        command.args(words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().map_err(|error| format!("{} does not start: {error}", peer.name))?;
        Ok(Self(child))
    }

    /// Returns the process that serves: the child itself, or what a starting script has become or started.
    fn process_id(&self) -> Outcome<u32> {
        let mut id = self.0.id();
        while let Some(child) = only_child(id) {
            id = child;
        }
        Ok(id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let innermost = self.process_id().unwrap_or_else(|_| self.0.id());
        if innermost != self.0.id() {
            Command::new("kill").arg(innermost.to_string()).status().map(|_| ()).unwrap_or_default();
        }
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

fn only_child(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Returns a command pinned to a core, where that can be done.
fn pinned(program: &std::ffi::OsStr, core: &str) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores < 2 || !process::is_on_path("taskset") {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_until_open(port: u16) -> Outcome {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let begun = Instant::now();
    while begun.elapsed() < START_DEADLINE {
        if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nothing listens on {address} after {} s", START_DEADLINE.as_secs()).into())
}
