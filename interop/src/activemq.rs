//! ActiveMQ with its MQTT transport.

use std::net::TcpListener;
use std::time::Duration;

use crosspoint_client::Protocol;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::{Started, start_server};
use crate::{OurClient, Peer, client_options, find, within};

/// How long the start of its Java may take.
const START_MAX: Duration = Duration::from_secs(60);

/// How often its port is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// ActiveMQ Classic with its MQTT transport alone, for everybody, in memory. Version 5.17 speaks 3.1.1.
#[derive(Debug)]
pub struct ActiveMq {
    port: u16,
    _server: Started,
    _folder: TempDir,
}

impl ActiveMq {
    /// Starts it, and waits until it has answered a CONNECT: the first one makes its Java load half of itself, for
    /// seconds on a busy machine.
    ///
    /// # Panics
    /// When it does not start in time.
    pub async fn start() -> Option<Self> {
        let program = find(Peer::ActiveMq)?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let broker = format!("broker:(mqtt://127.0.0.1:{port})?persistent=false&useJmx=false");
        let mut command = Command::new(program);
        command.args(["start", &broker]).env("ACTIVEMQ_HOME", folder.path()).current_dir(folder.path());
        let log = folder.path().join("server.log");
        let mut server = start_server(&mut command, &log);
        within(START_MAX, "ActiveMQ", async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                assert!(!server.has_ended(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
                tokio::time::sleep(RETRY_PAUSE).await; // pace: a server tells nobody that it listens
            }
        })
        .await;
        OurClient::connect(client_options(port).protocol(Protocol::V3_1_1)).await.close().await;
        Some(Self { port, _server: server, _folder: folder })
    }

    /// Returns the port of its MQTT transport.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// Returns a port on loopback that nobody listens on. Another program may take it before it is used.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
