//! Who is let in, and what they may do there.

use std::net::SocketAddr;
use std::time::Duration;

use crosspoint_client::{Cause, Client, SessionKeeping, State};
use crosspoint_hub::config;
use crosspoint_hub::config::plan::ConnectorPlan;
use crosspoint_hub::diagnosis::{Fault, of_cause};
use crosspoint_hub::doctor::{Order, Stage};
use interop::{
    Authority, Mosquitto, Nats, Peer, Rumqttd, client_options, find, mosquitto_with_scram, soon, text,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::rig::{doctor, examined, failed, impatient, mend, warned, well};

/// Starts a mosquitto with these lines, and a user `u` with the password `p`.
async fn mosquitto_of(lines: &str, acl: &str) -> Option<Mosquitto> {
    let authority = Authority::new();
    let folder = authority.folder().to_owned();
    let (passwords, rules) = (folder.join("passwords"), folder.join("acl"));
    let made = Command::new(find(Peer::MosquittoPasswd)?)
        .args(["-b", "-c", text(&passwords), "u", "p"])
        .status()
        .await
        .unwrap();
    assert!(made.success());
    std::fs::write(&rules, acl).unwrap();
    let acl_line = if acl.is_empty() { String::new() } else { format!("acl_file {}\n", rules.display()) };
    Mosquitto::start_as(authority, |_, ports| {
        let listeners = ports.map(|port| format!("listener {port} 127.0.0.1\n")).concat();
        format!("{listeners}password_file {}\n{acl_line}{lines}\n", passwords.display())
    })
    .await
}

fn at(mosquitto: &Mosquitto, lines: &str) -> String {
    format!("url = \"mqtt://127.0.0.1:{}\"\n{lines}", mosquitto.port())
}

#[tokio::test]
async fn a_login_that_is_missing_wrong_or_right() {
    let Some(mosquitto) = mosquitto_of("allow_anonymous false", "").await else { return };
    for protocol in ["protocol = \"5.0\"", "protocol = \"3.1.1\""] {
        let nobody = doctor(&at(&mosquitto, protocol)).await;
        assert_eq!(mend(&failed(&nobody, Stage::Connect, Fault::NotAuthorized)), "username = ...");
        let wrong = format!("{protocol}\nusername = \"u\"\npassword = \"not it\"");
        let wrong = doctor(&at(&mosquitto, &wrong)).await;
        // Mosquitto says "not authorised" to a wrong password, too.
        let diagnosis = failed(&wrong, Stage::Connect, Fault::NotAuthorized);
        assert_eq!(mend(&diagnosis), "password = ...");
        assert!(!format!("{wrong:?}").contains("not it"), "no password is shown");
        assert!(wrong.notes.iter().any(|note| note.contains("client id")), "{:?}", wrong.notes);
        let right = format!("{protocol}\nusername = \"u\"\npassword = \"p\"");
        well(&doctor(&at(&mosquitto, &right)).await);
    }
}

#[tokio::test]
async fn a_keep_alive_that_is_too_long() {
    let Some(mosquitto) = mosquitto_of("allow_anonymous true\nmax_keepalive 30", "").await else { return };
    let new = doctor(&at(&mosquitto, "protocol = \"5.0\"\nkeep_alive_s = 120")).await;
    assert_eq!(mend(&warned(&new, Stage::Limits, Fault::KeepAliveTooHigh)), "keep_alive_s = 30");
}

#[tokio::test]
async fn a_keep_alive_that_is_too_long_for_a_broker_without_a_word_for_it() {
    // Mosquitto 2.0.11 holds clients of 3.1.1 to no keep alive. Newer ones refuse the identifier, as this one does.
    let address = broker_that_takes_keep_alives_up_to(30).await;
    let lines = |rest: &str| format!("url = \"mqtt://{address}\"\nprotocol = \"3.1.1\"\n{rest}");
    let diagnosis =
        failed(&doctor(&lines("keep_alive_s = 120")).await, Stage::Connect, Fault::KeepAliveTooHigh);
    assert_eq!(mend(&diagnosis), "keep_alive_s = 30");
    let short = doctor(&lines(&mend(&diagnosis))).await;
    assert!(short.steps.iter().any(|step| step.stage == Stage::Connect && step.diagnoses.is_empty()));
}

#[tokio::test]
async fn a_keep_alive_that_is_too_short() {
    // No broker that can be had here raises a keep alive; hosted ones do.
    let address = broker_that_sets_a_keep_alive_of(60).await;
    let lines = format!("url = \"mqtt://{address}\"\nprotocol = \"5.0\"\nkeep_alive_s = 5");
    let diagnosis = warned(&doctor(&lines).await, Stage::Limits, Fault::KeepAliveTooLow);
    assert_eq!(mend(&diagnosis), "keep_alive_s = 60");
}

/// Listens for CONNECT of MQTT 5, and answers with another keep alive; pings too, and nothing else.
async fn broker_that_sets_a_keep_alive_of(seconds: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut packet = [0; 512];
                let [high, low] = seconds.to_be_bytes();
                while let Ok(1..) = stream.read(&mut packet).await {
                    let answer: &[u8] = match packet[0] {
                        0x10 => &[0x20, 6, 0, 0, 3, 0x13, high, low],
                        0xC0 => &[0xD0, 0],
                        _ => return,
                    };
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Listens for CONNECT, and answers nothing else but pings.
async fn broker_that_takes_keep_alives_up_to(seconds_max: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut packet = [0; 512];
                // The keep alive stands behind "MQTT", the level and the flags.
                while let Ok(count @ 1..) = stream.read(&mut packet).await {
                    let keep_alive_s = u16::from_be_bytes([packet[10], packet[11]]);
                    let answer: &[u8] = match packet[0] {
                        0x10 if count > 12 && keep_alive_s <= seconds_max => &[0x20, 2, 0, 0],
                        0x10 => &[0x20, 2, 0, 2],
                        0xC0 => &[0xD0, 0],
                        _ => return,
                    };
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_version_that_is_not_spoken() {
    if let Some(nats) = Nats::start().await {
        let lines = format!("url = \"mqtt://127.0.0.1:{}\"\nprotocol = \"5.0\"", nats.port());
        let diagnosis = failed(&doctor(&lines).await, Stage::Connect, Fault::VersionRefused);
        assert!(diagnosis.cause.contains("3.1.1"), "{diagnosis:?}");
        assert_eq!(mend(&diagnosis), "protocol = \"auto\"");
    }
    if let Some(rumqttd) = Rumqttd::start().await {
        // Its 3.1.1 port closes without a word.
        let lines = format!("url = \"mqtt://127.0.0.1:{}\"\nprotocol = \"5.0\"", rumqttd.v4_port());
        let diagnosis = failed(&doctor(&lines).await, Stage::Connect, Fault::VersionRefused);
        assert_eq!(mend(&diagnosis), "protocol = \"auto\"");
    }
}

#[tokio::test]
async fn a_topic_that_may_not_be_written_or_read() {
    let rules = "user u\ntopic readwrite plant/#\ntopic read crosspoint/#\n";
    let Some(mosquitto) = mosquitto_of("allow_anonymous false", rules).await else { return };
    let login = "username = \"u\"\npassword = \"p\"";
    let new = doctor(&at(&mosquitto, &format!("{login}\nprotocol = \"5.0\""))).await;
    failed(&new, Stage::Publish, Fault::PublishDenied);
    assert!(new.notes.iter().any(|note| note.contains("client id")), "{:?}", new.notes);
    // MQTT 3.1.1 cannot say it: only the loop back shows it.
    let old = doctor(&at(&mosquitto, &format!("{login}\nprotocol = \"3.1.1\""))).await;
    let diagnosis = failed(&old, Stage::RoundTrip, Fault::PublishDenied);
    assert!(diagnosis.cause.contains("asked in MQTT 5"), "{diagnosis:?}");
    let given = Order { topic: Some("plant/doctor".parse_topic()), ..impatient() };
    let project = format!("[connector.a]\n{}", at(&mosquitto, &format!("{login}\nprotocol = \"3.1.1\"")));
    well(&examined(&project, &given).await);
}

#[tokio::test]
async fn a_message_that_is_too_large() {
    let with = |bytes| Order { payload_bytes: bytes, ..impatient() };
    for (limit, protocol, bytes) in [
        ("max_packet_size 2000", "5.0", 4_000),
        ("max_packet_size 2000", "3.1.1", 4_000),
        ("message_size_limit 2000", "5.0", 4_000),
        ("message_size_limit 2000", "3.1.1", 4_000),
    ] {
        let Some(mosquitto) = mosquitto_of(&format!("allow_anonymous true\n{limit}"), "").await else {
            return;
        };
        let project = format!("[connector.a]\n{}", at(&mosquitto, &format!("protocol = {protocol:?}")));
        let examination = examined(&project, &with(bytes)).await;
        failed(&examination, Stage::Size, Fault::PacketTooLarge);
        well(&examined(&project, &with(1_000)).await);
    }
}

#[tokio::test]
async fn no_login_travels_without_the_tls_that_was_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, mut words) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut bytes = vec![0; 4_096];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    heard.send(bytes[..count].to_vec()).unwrap_or_default();
                    // It lets in whoever speaks plain MQTT, to hear more.
                    stream.write_all(&[0x20, 2, 0, 0]).await.unwrap_or_default();
                }
            });
        }
    });
    let lines = format!("url = \"mqtts://{address}\"\nusername = \"somebody\"\npassword = \"hunter2\"");
    failed(&doctor(&lines).await, Stage::Tls, Fault::TlsToPlain);
    let mut all = Vec::new();
    while let Ok(bytes) = words.try_recv() {
        all.extend(bytes);
    }
    let all = String::from_utf8_lossy(&all);
    assert!(all.contains("MQTT"), "it was asked what it speaks");
    assert!(!all.contains("hunter2") && !all.contains("somebody"), "{all:?}");
}

#[tokio::test]
async fn the_doctor_does_not_end_the_connector_s_connection() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let options = client_options(mosquitto.port()).client_id("mine").session(SessionKeeping::Durable);
    let (client, _deliveries) = Client::start(options).unwrap();
    soon("a connection", client.connected()).await;
    well(&doctor(&at(&mosquitto, "client_id = \"mine\"\nsession = \"durable\"")).await);
    assert!(client.state().borrow().is_connected());
    assert_eq!(client.counters().connected, 1, "it was never away");
    client.close(Duration::ZERO).await;
}

#[tokio::test]
async fn two_clients_with_one_identifier() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let options = || client_options(mosquitto.port()).client_id("twin");
    let (first, _first) = Client::start(options()).unwrap();
    let (second, _second) = Client::start(options()).unwrap();
    let mut state = first.state();
    let fights = |state: &State| {
        let cause = match state {
            State::BackingOff { cause, .. } | State::Refused { cause, .. } => cause,
            _ => return false,
        };
        matches!(cause, Cause::ClientIdFight { .. })
            || matches!(cause, Cause::Disconnected { reason, .. } if reason.byte() == 0x8E)
    };
    let state = soon("a fight", state.wait_for(fights)).await.unwrap().clone();
    let State::BackingOff { cause, .. } = state else { panic!("{state:?}") };
    let project = format!("[connector.a]\nclient_id = \"twin\"\n{}", at(&mosquitto, ""));
    let (plan, _) = config::parse(&project, "crosspoint.toml", None).unwrap();
    let ConnectorPlan::Mqtt(mqtt) = &plan.connectors["a"] else { panic!() };
    let diagnosis = of_cause(mqtt, &cause, None);
    assert_eq!(diagnosis.fault, Fault::ClientIdFight);
    assert_eq!(mend(&diagnosis), "client_id = ...");
    assert!(diagnosis.cause.contains("\"twin\""), "{diagnosis:?}");
    first.close(Duration::ZERO).await;
    second.close(Duration::ZERO).await;
}

/// Makes a topic of a text.
trait ParseTopic {
    fn parse_topic(&self) -> crosspoint_client::TopicName;
}

impl ParseTopic for str {
    fn parse_topic(&self) -> crosspoint_client::TopicName {
        crosspoint_client::TopicName::parse(self.to_owned()).unwrap()
    }
}

#[tokio::test]
async fn scram_that_is_not_offered_or_refused_or_not_proven_or_right() {
    let login =
        |password: &str| format!("username = \"alice\"\npassword = \"{password}\"\nauth = \"scram-sha-256\"");
    let Some(mosquitto) = mosquitto_of("allow_anonymous true", "").await else { return };
    let unknown =
        failed(&doctor(&at(&mosquitto, &login("right"))).await, Stage::Connect, Fault::MethodNotOffered);
    assert_eq!(mend(&unknown), "auth = ...");
    assert!(unknown.next_step.contains("offer it for this user"), "{unknown:?}");

    let Some(mosquitto) = mosquitto_with_scram("").await else { return };
    well(&doctor(&at(&mosquitto, &login("right"))).await);
    let wrong = doctor(&at(&mosquitto, &login("wrong"))).await;
    assert_eq!(mend(&failed(&wrong, Stage::Connect, Fault::NotAuthorized)), "password = ...");

    let Some(impostor) = mosquitto_with_scram("plugin_opt_lie 1").await else { return };
    let found = doctor(&at(&impostor, &login("right"))).await;
    let found = failed(&found, Stage::Connect, Fault::BrokerUnproven);
    assert!(found.cause.contains("did not prove"), "{found:?}");

    let Some(weak) = mosquitto_with_scram("plugin_opt_iterations 1000").await else { return };
    let found = failed(&doctor(&at(&weak, &login("right"))).await, Stage::Connect, Fault::ScramFailed);
    assert!(found.cause.contains("1000 iterations, fewer than 4096"), "{found:?}");
}
