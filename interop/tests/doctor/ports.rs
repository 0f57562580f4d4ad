//! The way to the broker: names, ports, and what speaks there.

use std::net::{SocketAddr, TcpListener};

use crosspoint_hub::diagnosis::Fault;
use crosspoint_hub::doctor::Stage;
use interop::{Authority, Mosquitto, Peer, find, start};
use socket2::{Domain, Socket, Type};
use tokio::process::Command;

use crate::rig::{doctor, failed, mend, well};

#[tokio::test]
async fn a_connector_that_works_is_well_over_tcp_and_websocket() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    for url in
        [format!("mqtt://127.0.0.1:{}", mosquitto.port()), format!("ws://localhost:{}", mosquitto.ws_port())]
    {
        for protocol in ["auto", "5.0", "3.1.1", "3.1"] {
            let examination =
                doctor(&format!("url = {url:?}\nprotocol = {protocol:?}\nsession = \"durable\"")).await;
            well(&examination);
            let last = examination.steps.last().unwrap();
            assert_eq!((last.stage, last.seen.as_str()), (Stage::Session, "kept, with what came meanwhile"));
        }
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    // A label of more than 63 letters is no name: the resolver asks nobody.
    let examination = doctor(&format!("url = \"mqtt://{}\"", "x".repeat(64))).await;
    let diagnosis = failed(&examination, Stage::Name, Fault::NameNotFound);
    assert_eq!(mend(&diagnosis), "url = ...");
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let examination = doctor(&format!("url = \"mqtt://127.0.0.1:{port}\"")).await;
    failed(&examination, Stage::Tcp, Fault::Refused);
}

#[tokio::test]
async fn a_port_whose_packets_are_dropped() {
    let full = FullListener::new();
    let examination = doctor(&format!("url = \"mqtt://{}\"", full.address)).await;
    let diagnosis = failed(&examination, Stage::Tcp, Fault::Filtered);
    assert!(diagnosis.next_step.contains("firewall"), "{diagnosis:?}");
}

#[tokio::test]
async fn a_port_that_takes_connections_and_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let plain = doctor(&format!("url = \"mqtt://{address}\"")).await;
    failed(&plain, Stage::Connect, Fault::Silent);
    let tls = doctor(&format!("url = \"mqtts://{address}\"")).await;
    failed(&tls, Stage::Tls, Fault::Silent);
    let ws = doctor(&format!("url = \"ws://{address}\"")).await;
    failed(&ws, Stage::WebSocket, Fault::Silent);
}

#[tokio::test]
async fn tls_spoken_to_a_plain_port() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let examination = doctor(&format!("url = \"mqtts://127.0.0.1:{}\"", mosquitto.port())).await;
    let diagnosis = failed(&examination, Stage::Tls, Fault::TlsToPlain);
    assert!(diagnosis.cause.contains("speaks plain MQTT"), "{diagnosis:?}");
    assert_eq!(mend(&diagnosis), "url = ...", "a weaker URL is never offered");
}

#[tokio::test]
async fn plain_spoken_to_a_tls_port() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let port = mosquitto.tls_port();
    let examination = doctor(&format!("url = \"mqtt://127.0.0.1:{port}\"")).await;
    let diagnosis = failed(&examination, Stage::Connect, Fault::PlainToTls);
    assert_eq!(mend(&diagnosis), format!("url = \"mqtts://127.0.0.1:{port}\""));
}

#[tokio::test]
async fn a_web_server_on_the_port() {
    let Some(python) = find(Peer::PahoMqtt) else { return };
    let folder = Authority::new();
    let mut command = Command::new(python);
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]).current_dir(folder.folder());
    let mut server = start(&mut command);
    let line = server.line_with("Serving HTTP").await;
    let port = line.split_whitespace().skip_while(|word| *word != "port").nth(1).unwrap().to_owned();
    for scheme in ["mqtt", "mqtts"] {
        let examination = doctor(&format!("url = \"{scheme}://127.0.0.1:{port}\"")).await;
        let stage = if scheme == "mqtt" { Stage::Connect } else { Stage::Tls };
        failed(&examination, stage, Fault::HttpOnPort);
    }
    let examination = doctor(&format!("url = \"ws://127.0.0.1:{port}\"")).await;
    let diagnosis = failed(&examination, Stage::WebSocket, Fault::UpgradeRefused);
    assert!(diagnosis.cause.contains("404"), "{diagnosis:?}");
    server.kill().await;
}

#[tokio::test]
async fn websocket_spoken_to_a_plain_port() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let port = mosquitto.port();
    let examination = doctor(&format!("url = \"ws://127.0.0.1:{port}\"")).await;
    let diagnosis = failed(&examination, Stage::WebSocket, Fault::NotWebSocket);
    assert_eq!(mend(&diagnosis), format!("url = \"mqtt://127.0.0.1:{port}\""));
}

/// Listens without ever accepting, its queue full: further attempts to connect get no answer at all, as behind a firewall
/// that drops packets.
struct FullListener {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl FullListener {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let queue = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect(&address.into()).unwrap_err();
            socket
        };
        let queued = (0..8).map(queue).collect();
        Self { address, _listener: listener, _queued: queued }
    }
}
