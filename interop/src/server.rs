//! Brokers that others wrote.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::{Started, start_server};
use crate::{Authority, Peer, find, soon, text};

/// How often a server is started on other ports, when another program took one of those that were free before.
const STARTS_MAX: usize = 5;

/// How often a port is tried until the server behind it listens.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The name of the configuration file; rumqttd knows the format by its ending, the others do not look at it.
const CONFIGURATION: &str = "server.toml";

/// A program that listens on ports, and its folder.
#[derive(Debug)]
pub(crate) struct Server<const PORTS: usize> {
    program: PathBuf,
    arguments: Vec<String>,
    folder: TempDir,
    ports: [u16; PORTS],
    running: Option<Started>,
}

impl<const PORTS: usize> Server<PORTS> {
    /// Starts a program with a configuration file, which `configuration` writes for the folder and the ports.
    pub(crate) async fn start(
        peer: Peer,
        configuration: impl Fn(&str, [u16; PORTS]) -> String,
    ) -> Option<Self> {
        Self::start_by(peer, |folder, ports| {
            let file = folder.join(CONFIGURATION);
            std::fs::write(&file, configuration(text(folder), ports)).unwrap();
            vec!["-c".to_owned(), text(&file).to_owned()]
        })
        .await
    }

    /// Starts a program with the arguments for its folder and its ports.
    pub(crate) async fn start_by(
        peer: Peer,
        arguments: impl Fn(&Path, [u16; PORTS]) -> Vec<String>,
    ) -> Option<Self> {
        let program = find(peer)?;
        for _ in 0..STARTS_MAX {
            let folder = tempfile::tempdir().unwrap();
            let ports = free_ports();
            let arguments = arguments(folder.path(), ports);
            let mut server = Self { program: program.clone(), arguments, folder, ports, running: None };
            if server.try_run().await {
                return Some(server);
            }
            println!("{peer:?} does not start: {}", server.log());
        }
        panic!("{peer:?} does not start");
    }

    pub(crate) const fn ports(&self) -> [u16; PORTS] {
        self.ports
    }

    /// Starts it and waits until all its ports listen; `false` when it ends instead.
    async fn try_run(&mut self) -> bool {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let mut running = start_server(&mut command, &self.folder.path().join("server.log"));
        let listens = soon("a server that listens", async {
            for port in self.ports {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    if running.has_ended() {
                        return false;
                    }
                    tokio::time::sleep(RETRY_PAUSE).await; // pace: a server tells nobody that it listens
                }
            }
            true
        })
        .await;
        self.running = Some(running);
        listens
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// Waits for a line of its log that holds a text, and returns it.
    pub(crate) async fn logged(&self, text: &str) -> String {
        soon(&format!("{text} in the log of {}", self.program.display()), async {
            loop {
                if let Some(line) = self.log().lines().find(|line| line.contains(text)) {
                    return line.to_owned();
                }
                tokio::time::sleep(RETRY_PAUSE).await; // pace: a file tells nobody that it has grown
            }
        })
        .await
    }

    async fn terminate(&mut self) {
        self.running.take().expect("the server runs").terminate().await;
    }

    async fn run_again(&mut self) {
        assert!(self.try_run().await, "{}", self.log());
    }
}

/// Returns ports on loopback that nobody listens on. Another program may take one before it is used.
fn free_ports<const PORTS: usize>() -> [u16; PORTS] {
    let held: [TcpListener; PORTS] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Mosquitto, with sessions on disk, no limit on what it queues, and listeners for TCP, WebSocket and TLS.
///
/// Version 2.0.11, Debian's, forgets at a restart how far exchanges at QoS 2 have come beyond the first
/// `max_inflight_messages` of a session. With 0, "no limit", and with 65,535, which it takes for 0, it forgets all of
/// them: their PUBLISH comes again after PUBREL, and messages are there twice (`docs/conformance.md`). So it is 1,000
/// here, and tests that restart it keep fewer on their way. With MQTT 5 the number is announced as Receive
/// Maximum. A 3.1.1 client that has more unfinished at QoS 2 gets its PUBREC all the same, and the messages are gone;
/// at 20, the default, that is soon ([`Mosquitto::start_plain`]).
#[derive(Debug)]
pub struct Mosquitto {
    server: Server<3>,
    /// Who signed its certificate, and signs those of its clients.
    pub authority: Authority,
}

impl Mosquitto {
    /// Starts it. Its TLS listener wants a client certificate.
    pub async fn start() -> Option<Self> {
        Self::start_with(1_000).await
    }

    /// Starts it without a limit on unfinished exchanges, to show what it does with them at a restart.
    pub async fn start_unlimited() -> Option<Self> {
        Self::start_with(0).await
    }

    async fn start_with(in_flight_max: u16) -> Option<Self> {
        let authority = Authority::new();
        let identity = authority.sign("mosquitto");
        let server = Server::start(Peer::Mosquitto, |folder, [tcp, ws, tls]| {
            // Started by root it becomes the user `mosquitto` and does not start where there is none; for anybody else
            // `user` means nothing. What is queued is saved at SIGTERM, the changes in between do not matter here.
            format!(
                "user root\nallow_anonymous true\n\
                 persistence true\npersistence_location {folder}/\nautosave_interval 0\n\
                 max_queued_messages 0\nmax_inflight_messages {in_flight_max}\n\
                 listener {tcp} 127.0.0.1\n\
                 listener {ws} 127.0.0.1\nprotocol websockets\n\
                 listener {tls} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
                authority.file().display(),
                identity.certificate.display(),
                identity.key.display(),
            )
        });
        let server = server.await?;
        Some(Self { server, authority })
    }

    /// Starts it with a configuration, which must have a listener at each of the three ports.
    pub async fn start_of(configuration: impl Fn([u16; 3]) -> String) -> Option<Self> {
        let server =
            Server::start(Peer::Mosquitto, |_, ports| format!("user root\n{}", configuration(ports)));
        let server = server.await?;
        Some(Self { server, authority: Authority::new() })
    }

    /// Starts it as it is without a configuration, but for its ports: it takes 20 messages at once.
    pub async fn start_plain() -> Option<Self> {
        let server = Server::start(Peer::Mosquitto, |_, [tcp, ws, other]| {
            format!(
                "user root\nallow_anonymous true\nmax_queued_messages 0\n\
                 listener {tcp} 127.0.0.1\nlistener {ws} 127.0.0.1\nprotocol websockets\n\
                 listener {other} 127.0.0.1\n"
            )
        });
        let server = server.await?;
        Some(Self { server, authority: Authority::new() })
    }

    /// Starts it with a configuration of the test's own for its three ports, which all must listen. `authority` signed
    /// what the configuration names.
    pub async fn start_as(
        authority: Authority,
        configuration: impl Fn(&Authority, [u16; 3]) -> String,
    ) -> Option<Self> {
        let server = Server::start(Peer::Mosquitto, |_, ports| {
            format!("user root\n{}", configuration(&authority, ports))
        });
        let server = server.await?;
        Some(Self { server, authority })
    }

    /// Returns the ports of its listeners, in the order of the configuration.
    pub const fn ports(&self) -> [u16; 3] {
        self.server.ports
    }

    /// Starts it with lines of configuration of the caller's own, without TLS; it logs every packet
    /// ([`Mosquitto::logged`]). `{folder}` in the lines is its folder, where `files` are written first.
    pub async fn start_talking(lines: &str, files: &[(&str, &str)]) -> Option<Self> {
        let server = Server::start(Peer::Mosquitto, |folder, [tcp, ws, other]| {
            for (name, content) in files {
                std::fs::write(Path::new(folder).join(name), content).unwrap();
            }
            let lines = lines.replace("{folder}", folder);
            format!(
                "user root\nlog_type all\nlog_dest stderr\nmax_queued_messages 0\n{lines}\n\
                 listener {tcp} 127.0.0.1\nlistener {ws} 127.0.0.1\nprotocol websockets\n\
                 listener {other} 127.0.0.1\n"
            )
        });
        let server = server.await?;
        Some(Self { server, authority: Authority::new() })
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Waits for a line of its log that holds a text, and returns it.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn logged(&self, text: &str) -> String {
        self.server.logged(text).await
    }

    /// Returns the port of its TCP listener.
    pub const fn port(&self) -> u16 {
        self.server.ports[0]
    }

    /// Returns the port of its WebSocket listener.
    pub const fn ws_port(&self) -> u16 {
        self.server.ports[1]
    }

    /// Returns the port of its TLS listener.
    pub const fn tls_port(&self) -> u16 {
        self.server.ports[2]
    }

    /// Ends it with SIGTERM; it writes its sessions to disk.
    ///
    /// # Panics
    /// When it does not end in time, or does not run.
    pub async fn terminate(&mut self) {
        self.server.terminate().await;
    }

    /// Starts it again on the same ports, with what it wrote to disk.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn run_again(&mut self) {
        self.server.run_again().await;
    }
}

/// NATS with its MQTT listener. Version 2.9 speaks 3.1.1, QoS 0 and 1.
#[derive(Debug)]
pub struct Nats(Server<2>);

impl Nats {
    /// Starts it.
    pub async fn start() -> Option<Self> {
        let server = Server::start(Peer::NatsServer, |folder, [own, mqtt]| {
            // MQTT in NATS needs a name for the server, and JetStream for sessions and retained messages.
            format!(
                "host: \"127.0.0.1\"\nport: {own}\nserver_name: interop\n\
                 jetstream {{ store_dir: \"{folder}\" }}\n\
                 mqtt {{ host: \"127.0.0.1\", port: {mqtt} }}\n"
            )
        });
        server.await.map(Self)
    }

    /// Returns the port of its MQTT listener.
    pub const fn port(&self) -> u16 {
        self.0.ports[1]
    }
}

/// The broker of rumqtt, which has a port for each version.
#[derive(Debug)]
pub struct Rumqttd(Server<2>);

impl Rumqttd {
    /// Starts it.
    pub async fn start() -> Option<Self> {
        Server::start(Peer::Rumqttd, |_, [v4, v5]| {
            let listener = |version: &str, port: u16| {
                format!(
                    "[{version}.1]\nname = \"{version}\"\nlisten = \"127.0.0.1:{port}\"\nnext_connection_delay_ms = 1\n\
                     [{version}.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 1048576\n\
                     max_inflight_count = 100\ndynamic_filters = true\n"
                )
            };
            let router = "id = 0\n[router]\nid = 0\nmax_connections = 100\nmax_outgoing_packet_count = 200\n\
                          max_segment_size = 104857600\nmax_segment_count = 10\n";
            format!("{router}{}{}", listener("v4", v4), listener("v5", v5))
        })
        .await
        .map(Self)
    }

    /// Returns the port of its listener for MQTT 3.1.1.
    pub const fn v4_port(&self) -> u16 {
        self.0.ports[0]
    }

    /// Returns the port of its listener for MQTT 5.
    pub const fn v5_port(&self) -> u16 {
        self.0.ports[1]
    }
}
