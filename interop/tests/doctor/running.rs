//! A running connector says of a fault what the doctor says of it: code, cause, next step and setting.

use std::net::TcpListener;
use std::time::Duration;

use crosspoint_hub::control::{Control, Part, Request};
use crosspoint_hub::diagnosis::Fault;
use crosspoint_hub::{Condition, DataDir, Hub, config};
use interop::{Authority, DEADLINE, Mosquitto, Validity, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::rig::doctor;
use crate::tls::mosquitto_with;

/// Asks the doctor and a running connector of these lines, until they say the same; checks that it is this fault, and in
/// what state the connector is.
async fn agree(lines: &str, fault: Fault, condition: Condition) {
    let lines =
        format!("{lines}\nconnect_timeout_ms = 2000\nreconnect_min_ms = 100\nreconnect_max_ms = 1000");
    let doctor =
        doctor(&lines).await.conclusion().unwrap_or_else(|| panic!("nothing is wrong: {lines}")).clone();
    assert_eq!(doctor.fault, fault, "{doctor:?}");
    let project = format!("[broker]\nenabled = false\n[connector.a]\n{lines}\n");
    let (plan, _) = config::parse(&project, "crosspoint.toml", None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::start(plan, DataDir::open(folder.path().join("data")).unwrap()).await.unwrap();
    let (begin, mut look) = (Instant::now(), tokio::time::interval(Duration::from_millis(5)));
    loop {
        let known = hub.status()["a"].known.clone();
        if known.trouble.as_ref() == Some(&doctor) && known.condition == condition {
            break;
        }
        assert!(begin.elapsed() < DEADLINE, "the connector is {known:#?}, and the doctor says {doctor:#?}");
        look.tick().await;
    }
    hub.stop(Duration::ZERO).await;
}

fn ca(authority: &Authority) -> String {
    format!("tls.ca = {:?}", authority.file().display().to_string())
}

#[tokio::test]
async fn of_certificates() {
    for (names, validity, trusts, fault) in [
        ("localhost", Validity::Past, true, Fault::CertificateExpired),
        ("localhost", Validity::Future, true, Fault::CertificateNotYetValid),
        ("broker.example.com", Validity::Now, true, Fault::CertificateWrongHost),
        ("localhost", Validity::Now, false, Fault::UnknownAuthority),
    ] {
        let authority = Authority::new();
        let identity = authority.sign_as("broker", &[names], validity);
        let trusted = if trusts { ca(&authority) } else { String::new() };
        let Some(mosquitto) = mosquitto_with(authority, &identity).await else { return };
        let url = format!("url = \"mqtts://localhost:{}\"", mosquitto.port());
        agree(&format!("{url}\n{trusted}"), fault, Condition::Misconfigured).await;
    }
}

#[tokio::test]
async fn of_certificates_that_a_broker_demands() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let at = format!("url = \"mqtts://localhost:{}\"\n{}", mosquitto.tls_port(), ca(&mosquitto.authority));
    agree(&at, Fault::ClientCertificateRequired, Condition::Refused).await;
    let others = Authority::named("strange");
    let strange = others.sign("client");
    let shown = format!(
        "{at}\ntls.certificate = {:?}\ntls.key = {:?}",
        strange.certificate.display().to_string(),
        strange.key.display().to_string()
    );
    agree(&shown, Fault::ClientCertificateRefused, Condition::Refused).await;
}

#[tokio::test]
async fn of_ports_that_speak_something_else() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let (plain, tls) = (mosquitto.port(), mosquitto.tls_port());
    for (scheme, port, fault) in [
        ("mqtts", plain, Fault::TlsToPlain),
        ("wss", plain, Fault::TlsToPlain),
        ("ws", plain, Fault::NotWebSocket),
        ("mqtt", tls, Fault::PlainToTls),
        ("ws", tls, Fault::PlainToTls),
    ] {
        let url = format!("url = \"{scheme}://localhost:{port}\"");
        agree(&url, fault, Condition::Misconfigured).await;
    }
    let web = server(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
    let shell = server(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    for (scheme, port, fault) in [
        ("mqtt", web, Fault::HttpOnPort),
        ("mqtts", web, Fault::HttpOnPort),
        ("ws", web, Fault::UpgradeRefused),
        ("mqtt", shell, Fault::NotMqtt),
    ] {
        agree(&format!("url = \"{scheme}://127.0.0.1:{port}\""), fault, Condition::Misconfigured).await;
    }
}

#[tokio::test]
async fn of_ports_that_say_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["mqtt", "mqtts", "ws"] {
        agree(&format!("url = \"{scheme}://127.0.0.1:{port}\""), Fault::Silent, Condition::BackingOff).await;
    }
    let closing = server(b"").await;
    let url = |scheme| format!("url = \"{scheme}://127.0.0.1:{closing}\"");
    for scheme in ["mqtt", "mqtts"] {
        agree(&url(scheme), Fault::ClosedWithoutAnswer, Condition::BackingOff).await;
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    agree(&format!("url = \"mqtt://{nobody}\""), Fault::Refused, Condition::BackingOff).await;
    let name = format!("url = \"mqtt://{}\"", "x".repeat(64));
    agree(&name, Fault::NameNotFound, Condition::BackingOff).await;
}

/// The doctor says it as a limit; what the flows lose by it is told by the hub that runs.
#[tokio::test]
async fn of_a_broker_that_lowers_the_qos() {
    let limited = |_: &Authority, ports: [u16; 3]| {
        let listener = |port| format!("listener {port} 127.0.0.1\nmax_qos 1\n");
        format!("allow_anonymous true\n{}", ports.map(listener).concat())
    };
    let Some(mosquitto) = Mosquitto::start_as(Authority::new(), limited).await else { return };
    let connector = format!("[connector.a]\nurl = \"mqtt://127.0.0.1:{}\"\n", mosquitto.port());
    let flow = |from: &str, to: &str, qos: &str| {
        format!(
            "[flow.f]\nfrom = {{ connector = \"{from}\", topics = \"in/#\", qos = 2 }}\n\
             to = {{ connector = \"{to}\", topic = \"out\"{qos} }}\n"
        )
    };
    for (flow, cause, next_step) in [
        (
            flow("broker", "a", ""),
            "takes QoS 1 at most, and flow f sends at up to 2",
            "qos = 1 in `to` of flow.f",
        ),
        (flow("a", "broker", ""), "gives in/# at QoS 1, and 2 is asked for", "write qos = 1 in `from`"),
        (flow("broker", "a", ", qos = 1"), "", ""),
    ] {
        let project = format!("[broker.listener.main]\nbind = \"127.0.0.1:0\"\n{connector}{flow}");
        let (plan, _) = config::parse(&project, "crosspoint.toml", None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let hub = Hub::start(plan, DataDir::open(&data).unwrap()).await.unwrap();
        let wanted = if cause.is_empty() { "connected" } else { "degraded" };
        let row = soon(&format!("{flow} to be {wanted}"), shown(&data, wanted)).await;
        let text = |key: &str| row.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        assert!(text("cause").contains(cause) && text("next_step").contains(next_step), "{row:?}");
        assert_eq!(text("cause").is_empty(), cause.is_empty(), "{row:?}");
        hub.stop(Duration::ZERO).await;
    }
}

/// Asks a hub for the connector `a` until it is in this state.
async fn shown(data: &std::path::Path, state: &str) -> serde_json::Map<String, serde_json::Value> {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    loop {
        look.tick().await;
        let mut found = None;
        let mut asked = Control::of_running(data).unwrap();
        let take = |part| {
            match part {
                Part::Row(row) if row.get("connector").is_some_and(|name| name == "a") => found = Some(row),
                _ => {}
            }
            Ok(())
        };
        asked.ask(Request::Overview, take).await.unwrap();
        match found {
            Some(row) if row.get("state").is_some_and(|now| now == state) => return row,
            _ => {}
        }
    }
}

/// Starts a server that hears a little, says something of its own and closes, each time.
async fn server(says: &'static [u8]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Who leaves first is no fault.
                drop(stream.read(&mut [0; 4_096]).await);
                drop(stream.write_all(says).await);
            });
        }
    });
    port
}
