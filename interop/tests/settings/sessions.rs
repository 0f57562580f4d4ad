//! What is agreed upon for a session: how long it is kept, and what may be on its way.

use std::time::Duration;

use crosspoint_client::QoS;
use interop::{OurClient, client_options, within};

use crate::support::{Relay, Running, State, mosquitto};

#[tokio::test]
async fn a_session_is_kept_or_begun_anew_as_it_is_written() {
    let Some(mosquitto) = mosquitto().await else { return };
    // A connector that only writes at QoS 1 has a clean one by itself, and one that reads a durable one.
    for (lines, shown) in [("", "c1"), ("session = \"durable\"", "c0"), ("session = \"clean\"", "c1")] {
        let id = format!("writes-{}-{shown}", lines.len());
        let hub = Running::writing_to(mosquitto.port(), &format!("{lines}\nclient_id = \"{id}\"")).await;
        let line = mosquitto.logged(&format!(" as {id} (")).await;
        assert!(line.contains(&format!(", {shown}, ")), "{lines}: {line}");
        hub.stop().await;
    }
    for (lines, shown) in [("", "c0"), ("session = \"clean\"", "c1")] {
        let id = format!("reads-{shown}");
        let hub = Running::reading_from(mosquitto.port(), &format!("{lines}\nclient_id = \"{id}\"")).await;
        let line = mosquitto.logged(&format!(" as {id} (")).await;
        assert!(line.contains(&format!(", {shown}, ")), "{lines}: {line}");
        hub.stop().await;
    }
}

/// By default mosquitto keeps it for a week.
#[tokio::test]
async fn a_session_that_expires_is_given_up_by_the_broker() {
    let Some(mosquitto) = mosquitto().await else { return };
    let hub = Running::reading_from(mosquitto.port(), "session_expiry_s = 1\nclient_id = \"brief\"").await;
    mosquitto.logged("Sending SUBACK to brief").await;
    hub.stop().await;
    mosquitto.logged("Expiring client brief due to timeout").await;
}

#[tokio::test]
async fn no_more_than_receive_maximum_is_on_its_way() {
    const MESSAGES: usize = 20;
    let Some(mosquitto) = mosquitto().await else { return };
    let lines = "receive_maximum = 1\nclient_id = \"one\"";
    let hub = Running::reading_from(mosquitto.port(), lines).await;
    let mut device = hub.device().await;
    device.subscribe("in/#", QoS::AtLeastOnce).await;
    mosquitto.logged("Sending SUBACK to one").await;
    let publisher = OurClient::connect(client_options(mosquitto.port())).await;
    let (sender, mut confirmations) = publisher.client.publisher();
    let sending = async move {
        for number in 0..MESSAGES {
            let publication = crosspoint_client::Publication::new("in/n", number.to_string()).unwrap();
            sender.send(publication.qos(QoS::AtLeastOnce), number as u64).await.unwrap();
        }
    };
    let confirming = async { while confirmations.next().await.is_some() {} };
    tokio::join!(sending, confirming);
    for number in 0..MESSAGES {
        assert_eq!(device.next().await.1, number.to_string().into_bytes());
    }
    let (mut on_their_way, mut sent) = (0, 0);
    for line in mosquitto.log().lines() {
        if line.contains("Sending PUBLISH to one (") {
            (on_their_way, sent) = (on_their_way + 1, sent + 1);
            assert_eq!(on_their_way, 1, "{line}");
        } else if line.contains("Received PUBACK from one (") {
            on_their_way -= 1;
        }
    }
    assert_eq!(sent, MESSAGES);
    hub.stop().await;
}

#[tokio::test]
async fn a_packet_that_is_too_large_is_not_sent_to_us() {
    let Some(mosquitto) = mosquitto().await else { return };
    let hub = Running::reading_from(mosquitto.port(), "max_packet_bytes = 1024\nclient_id = \"small\"").await;
    let mut device = hub.device().await;
    device.subscribe("in/#", QoS::AtLeastOnce).await;
    mosquitto.logged("Sending SUBACK to small").await;
    let publisher = OurClient::connect(client_options(mosquitto.port())).await;
    publisher.publish("in/large", vec![b'x'; 2_000], QoS::AtLeastOnce).await;
    publisher.publish("in/small", "fits", QoS::AtLeastOnce).await;
    assert_eq!(device.next().await.0, "in/small");
    hub.stop().await;
}

/// Mosquitto uses no aliases towards its clients, so the offer itself is looked at: property 0x22 of CONNECT.
#[tokio::test]
async fn topic_aliases_are_offered() {
    let Some(mosquitto) = mosquitto().await else { return };
    let relay = Relay::start(mosquitto.port(), State::Open).await;
    let hub = Running::writing_to(relay.port, "topic_alias_max = 4660\nclient_id = \"aliases\"").await;
    mosquitto.logged(" as aliases (").await;
    let sent = relay.sent();
    assert!(sent.windows(3).any(|bytes| bytes == [0x22, 0x12, 0x34]), "{sent:x?}");
    hub.stop().await;
}

#[tokio::test]
async fn a_canary_flies_where_it_is_told() {
    let Some(mosquitto) = mosquitto().await else { return };
    let lines = "canary = { topic = \"coal/mine\", interval_s = 1 }\nclient_id = \"miner\"";
    let hub = Running::writing_to(mosquitto.port(), lines).await;
    let line = mosquitto.logged("Received PUBLISH from miner (").await;
    assert!(line.contains("'coal/mine'"), "{line}");
    mosquitto.logged("Sending PUBLISH to miner (").await;
    // By default the next one flies after half a minute.
    let next = hub
        .until("the next canary", |_| mosquitto.log().matches("Received PUBLISH from miner (").count() > 2);
    within(Duration::from_secs(20), "canaries every second", next).await;
    hub.stop().await;
}

/// By default the broker may be silent for half a minute.
#[tokio::test]
async fn a_broker_that_acknowledges_nothing_is_left_when_the_ack_deadline_is_over() {
    let Some(mosquitto) = mosquitto().await else { return };
    let relay = Relay::start(mosquitto.port(), State::Open).await;
    let lines = "ack_deadline_ms = 1000\nsession = \"durable\"\nclient_id = \"waits\"";
    let hub = Running::writing_to(relay.port, lines).await;
    mosquitto.logged(" as waits (").await;
    let device = hub.device().await;
    relay.set(State::Deaf);
    device.publish("in/a", "kept", QoS::AtLeastOnce).await;
    let confirmed =
        hub.until("a confirmation over a new connection", |hub| hub.status()["a"].outbox.confirmed == 1);
    within(Duration::from_secs(20), "the ack deadline", confirmed).await;
    assert!(mosquitto.log().matches(" as waits (").count() >= 2, "{}", mosquitto.log());
    hub.stop().await;
}
