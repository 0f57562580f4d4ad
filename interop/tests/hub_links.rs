//! How a connector's connection is made: through a server that demands a header of the WebSocket upgrade, and watched by
//! the operating system.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::time::Duration;

use crosspoint_hub::config::{Diagnostic, parse};
use crosspoint_hub::{DataDir, Hub};
use interop::{Mosquitto, Peer, find, soon, start};
use tempfile::TempDir;
use tokio::process::Command;

/// The WebSocket server of npm's `ws`, as mqtt.js brings it: it lets in only who shows the header, and hands bytes on.
const GATE: &str = "
const { WebSocketServer } = require('ws');
const net = require('net');
const server = new WebSocketServer({
  port: 0, host: '127.0.0.1', handleProtocols: () => 'mqtt',
  verifyClient: (asked, answer) => answer(asked.req.headers['x-token'] === 'open sesame', 403, 'Forbidden'),
}, () => console.log('port ' + server.address().port));
server.on('connection', (client) => {
  const broker = net.connect(Number(process.argv[1]), '127.0.0.1');
  client.on('message', (bytes) => broker.write(bytes));
  broker.on('data', (bytes) => client.send(bytes));
  client.on('close', () => broker.destroy());
  broker.on('close', () => client.close());
});
";

async fn hub(connector: &str) -> (Hub, TempDir) {
    let project = format!("[broker]\nenabled = false\n[connector.a]\nreconnect_min_ms = 100\n{connector}\n");
    let (plan, _) = parse(&project, "crosspoint.toml", None).unwrap_or_else(|findings| {
        panic!("{}", findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))
    });
    let data = tempfile::tempdir().unwrap();
    (Hub::start(plan, DataDir::open(data.path().join("data")).unwrap()).await.unwrap(), data)
}

/// Looks at the connector until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !is_so() {
            look.tick().await;
        }
    })
    .await;
}

fn is_connected(hub: &Hub) -> bool {
    hub.status().values().any(|status| status.state.as_ref().is_some_and(|state| state.is_connected()))
}

#[tokio::test]
async fn a_server_that_demands_a_header_of_the_upgrade_gets_it() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let Some(node) = find(Peer::MqttJs) else { return };
    let mut gate = start(Command::new(node).args(["-e", GATE, &mosquitto.port().to_string()]));
    let port = gate.line_with("port ").await.replace("port ", "");
    let url = format!("url = \"ws://127.0.0.1:{port}\"");

    let (refused, _data) = hub(&url).await;
    until("a refusal", || {
        let known = refused.status().into_values().next().and_then(|status| status.known.trouble);
        known.is_some_and(|trouble| trouble.cause.contains("403"))
    })
    .await;
    assert!(!is_connected(&refused));
    refused.stop(Duration::ZERO).await;

    let (let_in, _data) = hub(&format!("{url}\nwebsocket.headers = {{ X-Token = \"open sesame\" }}")).await;
    until("a connection", || is_connected(&let_in)).await;
    let_in.stop(Duration::ZERO).await;
}

/// The kernel shows for each connection which timer runs: 02 is that of the keepalive.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_system_watches_a_connection_exactly_when_it_is_told_to() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let remote = format!("0100007F:{:04X}", mosquitto.port());
    let timers = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let ours = table.lines().skip(1).map(fields).filter(|line| line[2] == remote && line[3] == "01");
        ours.map(|line| line[5][..2].to_owned()).collect::<Vec<_>>()
    };
    let url = format!("url = \"mqtt://127.0.0.1:{}\"\nkeep_alive_s = 0", mosquitto.port());
    for (keepalive, timer) in [("", "00"), ("tcp_keepalive = 60", "02")] {
        let (hub, _data) = hub(&format!("{url}\n{keepalive}")).await;
        until("a connection", || is_connected(&hub)).await;
        until(timer, || timers() == [timer]).await;
        hub.stop(Duration::ZERO).await;
        until("the end of the connection", || timers().is_empty()).await;
    }
}
