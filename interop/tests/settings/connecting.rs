//! Where a connector connects, as whom, and how long it waits.

use std::time::Duration;

use crosspoint_client::QoS;
use interop::{Mosquitto, mosquitto_with_scram, within};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Relay, Running, State, mosquitto};

/// `sesame`, as mosquitto_passwd hashes it.
const PASSWORDS: &str = "gate:$7$101$Y3Jvc3Nwb2ludDEy$ytIMZKqsHxWbge+KJJro0nRQpAMtqFVcWCWeFlrV0qkGZp+okgLMdPvjKY8DMCMViO0YtzXtHltxQJTOp3PGbA==\n";

#[tokio::test]
async fn a_connector_that_is_not_enabled_stays_away() {
    let Some(mosquitto) = mosquitto().await else { return };
    let place = format!("url = \"mqtt://127.0.0.1:{}\"", mosquitto.port());
    let hub = Running::start(&format!(
        "[connector.off]\n{place}\nenabled = false\nclient_id = \"off\"\n[connector.on]\n{place}\nclient_id = \"on\"\n"
    ))
    .await;
    mosquitto.logged(" as on (").await;
    let status = hub.hub.status();
    assert!(status["on"].is_running && status.get("off").is_none_or(|off| !off.is_running));
    hub.stop().await;
    assert!(!mosquitto.log().contains(" as off ("), "{}", mosquitto.log());
}

#[tokio::test]
async fn the_next_url_of_a_list_is_tried() {
    let Some(mosquitto) = mosquitto().await else { return };
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let list = format!(
        "url = [\"mqtt://127.0.0.1:{nobody}\", \"mqtt://127.0.0.1:{}\"]\nclient_id = \"second\"",
        mosquitto.port()
    );
    let hub = Running::writing_to(0, &list).await;
    mosquitto.logged(" as second (").await;
    hub.stop().await;
}

/// The first look comes 10 to 20 seconds after the connection where the pauses between tries are short.
#[tokio::test]
async fn the_hub_returns_to_the_first_url_of_a_list() {
    let (Some(mut first), Some(second)) = (mosquitto().await, mosquitto().await) else { return };
    let list = format!(
        "url = [\"mqtt://127.0.0.1:{}\", \"mqtt://127.0.0.1:{}\"]\nclient_id = \"me\"",
        first.port(),
        second.port()
    );
    let hub = Running::writing_to(0, &list).await;
    first.logged(" as me (").await;
    first.terminate().await;
    second.logged(" as me (").await;
    first.run_again().await;
    let is_back = |hub: &crosspoint_hub::Hub| {
        let port = format!(":{}", first.port());
        matches!(&hub.status()["a"].state, Some(crosspoint_client::State::Connected(agreed)) if agreed.server.ends_with(&port))
    };
    hub.until("the hub to return", is_back).await;
    second.logged("Received DISCONNECT from me").await;
    second.logged("Client me disconnected.").await;
    let device = hub.device().await;
    device.publish("in/1", "1", QoS::AtLeastOnce).await;
    first.logged("Received PUBLISH from me").await;
    hub.stop().await;
}

#[tokio::test]
async fn host_port_transport_and_path_are_a_place_too() {
    let Some(mosquitto) = mosquitto().await else { return };
    let relay = Relay::start(mosquitto.ws_port(), State::Open).await;
    let hub = Running::start(&format!(
        "[connector.a]\nhost = \"127.0.0.1\"\nport = {}\ntransport = \"ws\"\npath = \"/over/there\"\nclient_id = \"parts\"\n",
        relay.port
    ))
    .await;
    mosquitto.logged(" as parts (").await;
    let sent = relay.sent();
    assert!(sent.starts_with(b"GET /over/there HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&sent));
    hub.stop().await;
}

#[tokio::test]
async fn the_headers_of_the_upgrade_are_sent() {
    let Some(mosquitto) = mosquitto().await else { return };
    let relay = Relay::start(mosquitto.ws_port(), State::Open).await;
    let lines = format!(
        "url = \"ws://127.0.0.1:{}\"\nwebsocket.headers = {{ X-Site = \"north\" }}\nclient_id = \"me\"",
        relay.port
    );
    let hub = Running::writing_to(0, &lines).await;
    mosquitto.logged(" as me (").await;
    let sent = String::from_utf8_lossy(&relay.sent()).to_lowercase();
    assert!(sent.contains("\r\nx-site: north\r\n"), "{sent}");
    hub.stop().await;
}

#[tokio::test]
async fn scram_opens_the_door_and_the_password_stays_here() {
    let Some(mosquitto) = mosquitto_with_scram("").await else { return };
    let relay = Relay::start(mosquitto.port(), State::Open).await;
    let login = "username = \"alice\"\npassword = \"right\"\nclient_id = \"me\"";
    let hub = Running::writing_to(relay.port, &format!("{login}\nauth = \"scram-sha-256\"")).await;
    let is_in = |hub: &crosspoint_hub::Hub| {
        hub.status()["a"].state.as_ref().is_some_and(crosspoint_client::State::is_connected)
    };
    hub.until("the connector to be in", is_in).await;
    let sent = String::from_utf8_lossy(&relay.sent()).into_owned();
    assert!(sent.contains("SCRAM-SHA-256") && sent.contains("n,,n=alice,r="), "{sent}");
    assert!(!sent.contains("right"), "the password stays here: {sent}");
    hub.stop().await;
    // Without it the same login is none there.
    let hub = Running::writing_to(mosquitto.port(), login).await;
    let is_refused = |hub: &crosspoint_hub::Hub| {
        matches!(&hub.status()["a"].state, Some(crosspoint_client::State::Refused { .. }))
    };
    hub.until("the connector to be refused", is_refused).await;
    hub.stop().await;
}

/// Mosquitto shows none of it, so the packet is looked at: User Property 0x26, Request Response Information 0x19,
/// Request Problem Information 0x17.
#[tokio::test]
async fn what_connect_carries_with_mqtt_5_is_sent() {
    let Some(mosquitto) = mosquitto().await else { return };
    let relay = Relay::start(mosquitto.port(), State::Open).await;
    let lines = "user_properties = { site = \"north\" }\nrequest_response_information = true\n\
                 request_problem_information = false\nclient_id = \"me\"";
    let hub = Running::writing_to(relay.port, lines).await;
    mosquitto.logged(" as me (").await;
    let sent = relay.sent();
    for property in [&b"\x26\x00\x04site\x00\x05north"[..], b"\x19\x01", b"\x17\x00"] {
        assert!(
            sent.windows(property.len()).any(|bytes| bytes == property),
            "{property:x?} is not in {sent:x?}"
        );
    }
    hub.stop().await;
}

#[tokio::test]
async fn each_protocol_is_spoken_and_auto_is_the_highest() {
    let Some(mosquitto) = mosquitto().await else { return };
    // The numbers are mosquitto's own.
    for (protocol, shown) in [("auto", "p5"), ("5.0", "p5"), ("3.1.1", "p2"), ("3.1", "p1")] {
        let id = format!("speaks-{protocol}");
        let hub = Running::writing_to(
            mosquitto.port(),
            &format!("protocol = \"{protocol}\"\nclient_id = \"{id}\""),
        )
        .await;
        let line = mosquitto.logged(&format!(" as {id} (")).await;
        assert!(line.contains(&format!("({shown}, ")), "{protocol}: {line}");
        hub.stop().await;
    }
}

/// CloudMQTT speaks 3.1.1 only.
#[tokio::test]
async fn a_preset_says_what_is_not_written() {
    let Some(mosquitto) = mosquitto().await else { return };
    for (lines, shown) in [("", "p5"), ("preset = \"cloudmqtt\"", "p2")] {
        let hub = Running::start(&format!(
            "[connector.a]\nhost = \"127.0.0.1\"\nport = {}\ntransport = \"tcp\"\nclient_id = \"preset-{shown}\"\n\
             username = \"me\"\npassword = \"secret\"\n{lines}\n",
            mosquitto.port()
        ))
        .await;
        let line = mosquitto.logged(&format!(" as preset-{shown} (")).await;
        assert!(line.contains(&format!("({shown}, ")), "{line}");
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_made_up_client_id_is_short_enough_for_3_1_and_one_for_each_connector() {
    let Some(mosquitto) = mosquitto().await else { return };
    let section = |name: &str| {
        format!("[connector.{name}]\nurl = \"mqtt://127.0.0.1:{}\"\nprotocol = \"3.1\"\n", mosquitto.port())
    };
    let names = ["a-connector-with-a-long-name-1", "a-connector-with-a-long-name-2"];
    let hub = Running::start(&names.map(section).concat()).await;
    let connected = |hub: &crosspoint_hub::Hub| {
        hub.status().iter().filter(|(name, _)| names.contains(&name.as_str())).all(|(_, status)| {
            status.state.as_ref().is_some_and(|state| matches!(state, crosspoint_client::State::Connected(_)))
        })
    };
    hub.until("both to be connected", connected).await;
    let log = mosquitto.log();
    let ids: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(" as ")?.1.split_once(" (p1"))
        .map(|(id, _)| id)
        .collect();
    assert!(ids.iter().all(|id| id.len() <= 23), "{ids:?}");
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 2, "{ids:?}");
    hub.stop().await;
}

#[tokio::test]
async fn user_name_and_password_open_the_door() {
    let lines = "allow_anonymous false\npassword_file {folder}/passwords";
    let Some(mosquitto) = Mosquitto::start_talking(lines, &[("passwords", PASSWORDS)]).await else { return };
    let wrong = Running::writing_to(
        mosquitto.port(),
        "client_id = \"wrong\"\nusername = \"gate\"\npassword = \"open\"",
    )
    .await;
    // mosquitto refuses with the code of a bad user name or password, or of one that is not authorised.
    let refused = |hub: &crosspoint_hub::Hub| {
        matches!(hub.status()["a"].state, Some(crosspoint_client::State::Refused { .. }))
    };
    wrong.until("a wrong password to be refused", refused).await;
    wrong.stop().await;
    let hub = Running::writing_to(
        mosquitto.port(),
        "client_id = \"me\"\nusername = \"gate\"\npassword = \"sesame\"",
    )
    .await;
    let line = mosquitto.logged(" as me (").await;
    assert!(line.contains("u'gate'"), "{line}");
    hub.stop().await;
}

#[tokio::test]
async fn the_keep_alive_is_the_one_that_is_written() {
    let Some(mosquitto) = mosquitto().await else { return };
    let hub = Running::writing_to(mosquitto.port(), "keep_alive_s = 17\nclient_id = \"me\"").await;
    let line = mosquitto.logged(" as me (").await;
    assert!(line.contains("k17"), "{line}");
    hub.stop().await;
}

/// By default a try may take 10 seconds.
#[tokio::test]
async fn a_server_that_says_nothing_is_left_when_the_connect_timeout_is_over() {
    let Some(mosquitto) = mosquitto().await else { return };
    // It listens, and nobody accepts: to the other side that is a server which never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let lines = format!(
        "url = [\"mqtt://127.0.0.1:{silent_port}\", \"mqtt://127.0.0.1:{}\"]\nconnect_timeout_ms = 200\nclient_id = \"me\"",
        mosquitto.port()
    );
    let begin = Instant::now();
    let hub = Running::writing_to(0, &lines).await;
    within(Duration::from_secs(9), "the other server", mosquitto.logged(" as me (")).await;
    assert!(begin.elapsed() >= Duration::from_millis(200));
    hub.stop().await;
}

/// By default ten tries take at least nine seconds.
/// Returns the first bytes that come, and closes.
async fn first_words(mut stream: TcpStream) -> Vec<u8> {
    let mut words = vec![0; 1_024];
    let length = stream.read(&mut words).await.unwrap_or_default();
    words.truncate(length);
    words
}

#[tokio::test]
async fn equal_pauses_are_a_constant_period() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines =
        "reconnect_min_ms = 150\nreconnect_max_ms = 150\nprotocol = \"3.1.1\"\nclient_id = \"steady\"";
    let hub = Running::writing_to(port, lines).await;
    let mut times = Vec::new();
    within(Duration::from_secs(8), "ten tries", async {
        let mut connections = JoinSet::new();
        while times.len() < 10 {
            tokio::select! {
                accepted = listener.accept() => connections.spawn(first_words(accepted.unwrap().0)),
                Some(words) = connections.join_next() => {
                    // The hub asks once what else the port may speak, and does not say who it is.
                    times.extend(words.unwrap().ends_with(b"steady").then(Instant::now));
                    continue;
                }
            };
        }
    })
    .await;
    let whole = times[9] - times[0];
    assert!(whole >= Duration::from_millis(9 * 150 - 50), "{whole:?}");
    hub.stop().await;
}
