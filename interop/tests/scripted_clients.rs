//! paho-mqtt (Python) and mqtt.js (JavaScript) against our broker. Their scripts stand in `peers/`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crosspoint_net::Transport;
use interop::{OurBroker, Peer, find, run, text};
use tokio::process::Command;

/// How long a script may take; it sets a shorter deadline to each of its waits.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(120);

fn script(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("peers").join(name)
}

async fn judge(program: &Path, script_name: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let finished = run(command.arg(script(script_name)).args(arguments), b"", SCRIPT_DEADLINE).await;
    let output = finished.succeeded();
    assert_eq!(output.lines().last(), Some("all right"), "{output}");
}

#[tokio::test]
async fn paho_agrees_with_3_1_and_3_1_1_and_5_0() {
    let Some(python) = find(Peer::PahoMqtt) else { return };
    let broker = OurBroker::start().await;
    judge(&python, "paho_roundtrip.py", &[&broker.port(Transport::Tcp).to_string()]).await;
    broker.stop().await;
}

#[tokio::test]
async fn mqtt_js_agrees_over_websocket() {
    let Some(node) = find(Peer::MqttJs) else { return };
    let broker = OurBroker::start().await;
    let url = format!("ws://127.0.0.1:{}/mqtt", broker.port(Transport::Ws));
    judge(&node, "mqttjs_roundtrip.js", &[&url]).await;
    broker.stop().await;
}

#[tokio::test]
async fn mqtt_js_agrees_over_websocket_and_tls() {
    let Some(node) = find(Peer::MqttJs) else { return };
    let broker = OurBroker::start().await;
    let url = format!("wss://localhost:{}/mqtt", broker.port(Transport::Wss));
    judge(&node, "mqttjs_roundtrip.js", &[&url, text(&broker.authority.file())]).await;
    broker.stop().await;
}
