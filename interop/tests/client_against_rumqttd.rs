//! Our client against the broker of rumqtt, which has a port for each version.

use crosspoint_client::{Protocol, QoS, Version};
use interop::{OurClient, Rumqttd, client_options};

/// Sends messages at each QoS from one client to another.
async fn round_trip(port: u16, protocol: Protocol, version: Version) {
    // rumqttd refuses a client without an identifier.
    let options = |id: &str| client_options(port).protocol(protocol).client_id(id);
    let mut reader = OurClient::connect(options("reader")).await;
    let writer = OurClient::connect(options("writer")).await;
    assert_eq!(reader.agreed().version, version);
    for (topic, qos) in [("zero", QoS::AtMostOnce), ("one", QoS::AtLeastOnce), ("two", QoS::ExactlyOnce)] {
        // rumqttd delivers at the QoS of the subscription, whatever that of the message was: so each has its own.
        assert!(!reader.subscribe(topic, qos).await.is_error());
        for message in ["one", "two", "three"] {
            writer.publish(topic, message, qos).await;
            assert_eq!(reader.next().await, (topic.to_owned(), message.as_bytes().to_vec(), qos));
        }
    }
    assert_eq!((writer.close().await, reader.close().await), (0, 0));
}

#[tokio::test]
async fn messages_flow_at_every_qos_with_3_1_1() {
    let Some(rumqttd) = Rumqttd::start().await else { return };
    round_trip(rumqttd.v4_port(), Protocol::V3_1_1, Version::V3_1_1).await;
}

#[tokio::test]
async fn messages_flow_at_every_qos_with_5() {
    let Some(rumqttd) = Rumqttd::start().await else { return };
    round_trip(rumqttd.v5_port(), Protocol::V5, Version::V5).await;
}

#[tokio::test]
async fn auto_steps_down_where_only_3_1_1_is_spoken() {
    let Some(rumqttd) = Rumqttd::start().await else { return };
    // Its 3.1.1 port closes after a CONNECT of MQTT 5 without saying why.
    round_trip(rumqttd.v4_port(), Protocol::Auto, Version::V3_1_1).await;
}
