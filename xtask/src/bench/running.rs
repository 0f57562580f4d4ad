//! Programs at work during a measurement: brokers, and the generator that loads them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::peer::Peer;
use crate::{Outcome, process};

/// How long a broker may take until it accepts connections.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// The programs that load a broker.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) generator: PathBuf,
    /// `mosquitto_sub`, where it is at hand.
    pub(crate) subscriber: Option<String>,
}

impl Tools {
    /// Runs the generator against a port, with a process to be measured, and returns what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn load(&self, arguments: &str, port: u16, process: u32) -> Outcome<String> {
        let mut command = pinned(self.generator.as_os_str(), Core::Generator);
        command.args(arguments.split_whitespace());
        command.arg("--addr").arg(format!("127.0.0.1:{port}")).arg("--pid").arg(process.to_string());
        process::read(&mut command)
    }

    /// Returns how often our broker has committed since it started, as it says next.
    ///
    /// # Errors
    /// When there is no client to ask, or it says nothing.
    pub(crate) fn commits(&self, port: u16) -> Outcome<f64> {
        let program = self.subscriber.as_ref().ok_or("mosquitto_sub is not there (`cargo xtask peers`)")?;
        let mut command = Command::new(program);
        // What it said before is of no use.
        command.args([
            "-h",
            "127.0.0.1",
            "-R",
            "-C",
            "1",
            "-W",
            "30",
            "-t",
            "$SYS/broker/store/commits",
            "-p",
        ]);
        Ok(process::read(command.arg(port.to_string()))?.trim().parse()?)
    }

    /// Leaves the session of a client behind that wants everything at QoS 1.
    ///
    /// # Errors
    /// When there is no client to do it, or it fails.
    pub(crate) fn leave_session(&self, port: u16) -> Outcome {
        let program = self.subscriber.as_ref().ok_or("mosquitto_sub is not there (`cargo xtask peers`)")?;
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-c", "-i", "away", "-q", "1", "-t", "#", "-E", "-p"]);
        process::read(command.arg(port.to_string())).map(drop)
    }
}

/// Returns the last report among what the generator has printed.
///
/// # Errors
/// When there is none.
pub(crate) fn report(text: &str) -> Outcome<Value> {
    let line =
        text.lines().rev().find(|line| line.starts_with('{')).ok_or("the generator reported nothing")?;
    Ok(serde_json::from_str(line)?)
}

/// A broker that runs; killed when dropped.
pub(crate) struct Running {
    process: Child,
    pub(crate) port: u16,
}

/// Which core a program gets, where there are two.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Core {
    /// The one of what is measured.
    Measured,
    /// The one of the generator.
    Generator,
}

impl Running {
    /// Starts a broker on a free port, with more configuration behind its own, and waits until it accepts connections.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(peer: &Peer, more: &str, core: Core) -> Outcome<Self> {
        Self::start_at(peer, more, core, free_port()?)
    }

    /// Starts a broker as [`start`](Self::start) does, on this port.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start_at(peer: &Peer, more: &str, core: Core, port: u16) -> Outcome<Self> {
        let name = format!("{}-{port}", peer.name);
        // One of them goes by the ending of the name.
        let config = peer.folder().join(format!("{name}.toml"));
        std::fs::write(&config, peer.configuration(more, port, &config))?;
        let mut words = peer.words(port, &config).into_iter();
        let program = words.next().ok_or("a broker without a command")?;
        let log = File::create(peer.folder().join(format!("{name}.log")))?;
        let mut command = pinned(program.as_ref(), core);
        command.args(words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        let running = Self { process, port };
        wait_until_open(port)?;
        Ok(running)
    }

    /// Returns the process that serves: the child itself, or what a starting script has become or started.
    pub(crate) fn process_id(&self) -> Outcome<u32> {
        let mut id = self.process.id();
        while let Some(child) = only_child(id) {
            id = child;
        }
        Ok(id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let innermost = self.process_id().unwrap_or_else(|_| self.process.id());
        if innermost != self.process.id() {
            Command::new("kill").arg(innermost.to_string()).status().map(|_| ()).unwrap_or_default();
        }
        self.process.kill().unwrap_or_default();
        self.process.wait().map(|_| ()).unwrap_or_default();
    }
}

fn only_child(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Returns a command pinned to a core, where that can be done.
fn pinned(program: &std::ffi::OsStr, core: Core) -> Command {
    let core = match core {
        Core::Measured => "0",
        Core::Generator => "1",
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores < 2 || !process::is_on_path("taskset") {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// Returns a port that nobody has now.
pub(crate) fn free_port() -> Outcome<u16> {
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
