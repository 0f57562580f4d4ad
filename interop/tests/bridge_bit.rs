//! The bridge bit of MQTT 3.1 and 3.1.1: mosquitto as a bridge to our broker, and we as a bridge to the brokers of others.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what goes wrong in a helper fails its test"
)]

use std::time::Duration;

use crosspoint_client::{
    BridgeBit, ClientOptions, Protocol, Publication, QoS, SessionKeeping, State, SubscribedFilter,
    SubscriptionOptions, TopicFilter, Transport, Version,
};
use interop::{ActiveMq, Mosquitto, Nats, OurBroker, OurClient, RabbitMq, Rumqttd, client_options, soon};

/// Publishes with the retain flag and waits for the confirmation.
async fn retain(client: &OurClient, topic: &str, payload: &str) {
    let publication = Publication::new(topic, payload.to_owned()).unwrap().qos(QoS::AtLeastOnce).retain(true);
    soon("a confirmation", client.client.publish(publication)).await.unwrap();
}

/// Subscribes in MQTT 5 so that the retain flag comes as it was published.
async fn watch(client: &OurClient, filter: &str) {
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        retain_as_published: true,
        ..SubscriptionOptions::default()
    };
    let filter = SubscribedFilter { filter: TopicFilter::parse(filter).unwrap(), options };
    let granted = soon("SUBACK", client.client.subscribe(vec![filter])).await.unwrap();
    assert!(!granted[0].is_error());
}

/// Returns payload and retain flag of the next message.
async fn next(client: &mut OurClient) -> (String, bool) {
    let message = client.next_message().await;
    (String::from_utf8_lossy(message.payload()).into_owned(), message.retain())
}

fn said(payload: &str, retain: bool) -> (String, bool) {
    (payload.to_owned(), retain)
}

#[tokio::test]
async fn a_mosquitto_that_bridges_to_our_broker_keeps_the_retain_flag_and_hears_no_echo() {
    let ours = OurBroker::start().await;
    let mut here = OurClient::connect(client_options(ours.port(Transport::Tcp))).await;
    watch(&here, "#").await;
    // `try_private` is on by default: it connects with protocol level 0x84.
    let bridge = format!(
        "allow_anonymous true\nconnection up\naddress 127.0.0.1:{}\nbridge_protocol_version mqttv311\n\
         notifications false\nrestart_timeout 1\ntopic # both 1",
        ours.port(Transport::Tcp)
    );
    let Some(mosquitto) = Mosquitto::start_talking(&bridge, &[]).await else { return };
    let mut there = OurClient::connect(client_options(mosquitto.port())).await;
    watch(&there, "#").await;
    // With the bridge's subscription our broker has two.
    soon("the bridge", async {
        while ours.subscriptions() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await; // pace: a broker tells nobody who subscribes
        }
    })
    .await;

    retain(&here, "from/here", "1").await;
    assert_eq!(next(&mut here).await, said("1", true));
    assert_eq!(next(&mut there).await, said("1", true));
    for payload in ["2", "3"] {
        retain(&there, "from/there", payload).await;
        assert_eq!(next(&mut there).await, said(payload, true));
        assert_eq!(next(&mut here).await, said(payload, true));
    }
    // An echo would be in front of it, on the same connection.
    here.publish("from/here", "4", QoS::AtLeastOnce).await;
    assert_eq!(next(&mut here).await, said("4", false));
    assert_eq!(next(&mut there).await, said("4", false));
    ours.stop().await;
}

fn bridging(port: u16) -> ClientOptions {
    client_options(port).client_id("gateway").protocol(Protocol::V3_1_1).bridge_bit(BridgeBit::Try)
}

#[tokio::test]
async fn mosquitto_takes_us_for_a_bridge_and_sends_the_retain_flag_and_no_echo() {
    let Some(mosquitto) = Mosquitto::start_talking("allow_anonymous true", &[]).await else { return };
    for protocol in [Protocol::V3_1_1, Protocol::V3_1] {
        let mut us = OurClient::connect(bridging(mosquitto.port()).protocol(protocol)).await;
        assert!(us.agreed().is_bridge);
        us.subscribe("a/#", QoS::AtLeastOnce).await;
        let other = OurClient::connect(client_options(mosquitto.port())).await;
        us.publish("a/1", "our own", QoS::AtLeastOnce).await;
        retain(&other, "a/2", "retained").await;
        assert_eq!(next(&mut us).await, said("retained", true));
        other.publish("a/2", "not", QoS::AtLeastOnce).await;
        assert_eq!(next(&mut us).await, said("not", false));
        assert_eq!(us.client.counters().connected, 1);
        us.close().await;
        // For the next round.
        retain(&other, "a/2", "").await;
    }
    mosquitto.logged("New bridge connected").await;
}

#[tokio::test]
async fn what_a_session_at_mosquitto_has_follows_the_bit() {
    let Some(mut mosquitto) = Mosquitto::start().await else { return };
    let other = OurClient::connect(client_options(mosquitto.port())).await;
    let at = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let options = bridging(mosquitto.port())
        .session(SessionKeeping::Durable)
        .subscribe(TopicFilter::parse("a/#").unwrap(), at)
        .bridge_bit(BridgeBit::Never);
    let mut us = OurClient::connect(options).await;
    for (payload, is_bridge) in [("1", false), ("2", true), ("3", false)] {
        if is_bridge {
            us.client.set_bridge_bit(BridgeBit::Try);
            mosquitto.terminate().await;
            mosquitto.run_again().await;
        } else {
            us.client.set_bridge_bit(BridgeBit::Never);
        }
        let is_there =
            |state: &State| matches!(state, State::Connected(agreed) if agreed.is_bridge == is_bridge);
        let connected = async { us.client.state().wait_for(is_there).await.map(drop) };
        soon("the other connection", connected).await.unwrap();
        assert_eq!(us.agreed().session_present, payload != "1");
        // What is asked last is answered last.
        us.subscribe("b", QoS::AtLeastOnce).await;
        us.publish("a/own", payload, QoS::AtLeastOnce).await;
        retain(&other, "a/1", payload).await;
        let mut came = Vec::new();
        while !came.contains(&("a/1".to_owned(), payload.to_owned(), is_bridge)) {
            let message = us.next_message().await;
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            came.push((message.topic().to_owned(), text, message.retain()));
        }
        let is_own = |(topic, text, _): &&(String, String, bool)| topic == "a/own" && text == payload;
        assert_eq!(came.iter().filter(is_own).count(), usize::from(!is_bridge), "{came:?}");
    }
}

/// Connects to a broker that does not know the bit.
async fn without(port: u16, change: impl FnOnce(ClientOptions) -> ClientOptions) {
    let mut us = OurClient::connect(change(bridging(port))).await;
    let agreed = us.agreed();
    assert_eq!((agreed.version, agreed.is_bridge), (Version::V3_1_1, false));
    us.subscribe("crosspoint/a", QoS::AtLeastOnce).await;
    us.publish("crosspoint/a", "comes back", QoS::AtLeastOnce).await;
    assert_eq!(us.next().await.1, b"comes back");
    assert_eq!(us.client.counters().connected, 1);
}

#[tokio::test]
async fn nats_closes_and_is_spoken_to_without_the_bit() {
    let Some(nats) = Nats::start().await else { return };
    without(nats.port(), |options| options).await;
    without(nats.port(), |options| options.protocol(Protocol::Auto)).await;
}

#[tokio::test]
async fn rumqttd_is_spoken_to_without_the_bit() {
    let Some(rumqttd) = Rumqttd::start().await else { return };
    without(rumqttd.v4_port(), |options| options).await;
}

#[tokio::test]
async fn rabbitmq_is_spoken_to_without_the_bit() {
    let Some(rabbit) = RabbitMq::start().await else { return };
    without(rabbit.port(), |options| options).await;
}

#[tokio::test]
async fn activemq_is_spoken_to_without_the_bit() {
    let Some(active) = ActiveMq::start().await else { return };
    without(active.port(), |options| options).await;
}
