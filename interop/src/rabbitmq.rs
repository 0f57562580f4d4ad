//! RabbitMQ with its MQTT plugin.

use std::net::TcpListener;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::{Started, start_server};
use crate::{Peer, find, text, within};

/// How long its start may take: it waits for other nodes of a cluster for a while.
const START_MAX: Duration = Duration::from_secs(150);

/// How often its port is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// RabbitMQ with its MQTT plugin, for everybody. Version 3.10 speaks 3.1.1, QoS 0 and 1.
#[derive(Debug)]
pub struct RabbitMq {
    port: u16,
    _server: Started,
    _epmd: Started,
    _folder: TempDir,
}

impl RabbitMq {
    /// Starts it, and a port mapper of its own, so that none stays behind.
    ///
    /// # Panics
    /// When it does not start in time.
    pub async fn start() -> Option<Self> {
        let (program, epmd) = (find(Peer::RabbitMq)?, find(Peer::Epmd)?);
        let folder = tempfile::tempdir().unwrap();
        let [port, mapper_port, nodes_port] = [(), (), ()].map(|()| free_port());
        let at = |name: &str| text(&folder.path().join(name)).to_owned();
        let config = format!(
            "listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{port}\nmqtt.allow_anonymous = true\n\
             log.console = true\nlog.file = false\n"
        );
        std::fs::write(at("rabbitmq.conf"), config).unwrap();
        std::fs::write(at("plugins"), "[rabbitmq_mqtt].\n").unwrap();
        let mut mapper = Command::new(epmd);
        mapper.args(["-address", "127.0.0.1", "-port", &mapper_port.to_string()]);
        let mapper = start_server(&mut mapper, &folder.path().join("epmd.log"));
        let mut command = Command::new(program);
        command
            .env("HOME", at(""))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_NODENAME", format!("interop{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", nodes_port.to_string())
            .env("RABBITMQ_PID_FILE", at("pid"))
            .env("ERL_EPMD_PORT", mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let log = folder.path().join("server.log");
        let mut server = start_server(&mut command, &log);
        within(START_MAX, "RabbitMQ", async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                assert!(!server.has_ended(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
                tokio::time::sleep(RETRY_PAUSE).await; // pace: a server tells nobody that it listens
            }
        })
        .await;
        Some(Self { port, _server: server, _epmd: mapper, _folder: folder })
    }

    /// Returns the port of its MQTT listener.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// Returns a port on loopback that nobody listens on. Another program may take it before it is used.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
