//! A subscription that the hub keeps, where the broker is one that others wrote.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::path::Path;
use std::time::Duration;

use crosspoint_client::{Publication, QoS, ReasonCode, TopicFilter};
use crosspoint_hub::actions::{KeptLimits, KeptReading, KeptSubscription};
use crosspoint_hub::config::parse;
use crosspoint_hub::{DataDir, Hub};
use interop::{Mosquitto, OurClient, client_options, soon};

const WITHIN: Duration = Duration::from_secs(30);

async fn start(port: u16, version: &str, data: &Path) -> Hub {
    let project = format!(
        "[broker]\nenabled = false\n[connector.far]\nurl = \"mqtt://127.0.0.1:{port}\"\nclient_id = \"gateway\"\n\
         protocol = \"{version}\"\nsession = \"durable\"\n"
    );
    let (plan, _) = parse(&project, "crosspoint.toml", None).unwrap();
    soon("the hub to start", Hub::start(plan, DataDir::open(data.join("data")).unwrap())).await.unwrap()
}

fn wanted() -> KeptSubscription {
    KeptSubscription {
        name: "night".to_owned(),
        connector: "far".to_owned(),
        filters: vec![TopicFilter::parse("in/#").unwrap()],
        qos: QoS::ExactlyOnce,
        limits: KeptLimits::default(),
    }
}

async fn next(reading: &mut KeptReading) -> (String, QoS, bool) {
    let kept = soon("a message", reading.next()).await.unwrap();
    reading.confirm(kept.position).await;
    let payload = String::from_utf8_lossy(kept.message.payload()).into_owned();
    (payload, kept.message.qos(), kept.message.retain())
}

async fn keeps_over_a_restart_and_takes_one_connect(version: &str) {
    let Some(mosquitto) = Mosquitto::start_talking("allow_anonymous true", &[]).await else { return };
    let device = OurClient::connect(client_options(mosquitto.port())).await;
    let retained = Publication::new("in/state", "retained").unwrap().qos(QoS::AtLeastOnce).retain(true);
    soon("PUBACK", device.client.publish(retained)).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let hub = start(mosquitto.port(), version, data.path()).await;
    mosquitto.logged("Sending CONNACK to gateway").await;
    // It is on its way to be connected, or is: either way the subscription is there in the end.
    let made = hub.actions().keep(wanted(), WITHIN).await.unwrap();
    assert!(made.is_new && !made.is_session_clean);
    mosquitto.logged("Sending SUBACK to gateway").await;
    for number in 0..100 {
        device.publish("in/n", number.to_string(), QoS::ExactlyOnce).await;
    }
    soon("the hub to stop", hub.stop(Duration::from_secs(5))).await;
    for number in 100..200 {
        device.publish("in/n", number.to_string(), QoS::ExactlyOnce).await;
    }
    let hub = start(mosquitto.port(), version, data.path()).await;
    let mut reading = hub.actions().read_kept("night").await.unwrap();
    assert_eq!(next(&mut reading).await, ("retained".to_owned(), QoS::AtLeastOnce, true));
    for number in 0..200 {
        assert_eq!(next(&mut reading).await, (number.to_string(), QoS::ExactlyOnce, false), "once, in order");
    }
    device.publish("in/n", "last", QoS::ExactlyOnce).await;
    assert_eq!(next(&mut reading).await.0, "last", "and what is retained does not come again");
    let log = mosquitto.log();
    assert_eq!(log.matches(" as gateway ").count(), 2, "one CONNECT a life:\n{log}");
    assert_eq!(log.matches("Sending SUBACK to gateway").count(), 1, "the session has it still:\n{log}");
    let status = hub.actions().kept().await;
    assert_eq!(status.first().unwrap().granted.first().unwrap().reason, Some(ReasonCode::GrantedQoS2));
    drop(reading);
    soon("the hub to stop", hub.stop(Duration::from_secs(5))).await;
}

#[tokio::test]
async fn mosquitto_sees_one_connect_a_life_and_qos_2_comes_once() {
    keeps_over_a_restart_and_takes_one_connect("5.0").await;
}

#[tokio::test]
async fn before_mqtt_5_too() {
    keeps_over_a_restart_and_takes_one_connect("3.1.1").await;
}
