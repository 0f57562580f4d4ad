//! Our client against the MQTT listener of NATS.

use crosspoint_client::{Protocol, QoS, ReasonCode, SessionKeeping, Version};
use interop::{Nats, OurClient, client_options};

#[tokio::test]
async fn auto_steps_down_to_3_1_1_and_messages_flow_at_qos_0_and_1() {
    let Some(nats) = Nats::start().await else { return };
    // NATS 2.9 answers a CONNECT of MQTT 5 with return code 1, "unacceptable protocol version", and closes.
    let mut client = OurClient::connect(client_options(nats.port()).protocol(Protocol::Auto)).await;
    assert_eq!(client.agreed().version, Version::V3_1_1);
    // It grants QoS 1 at most, and says so.
    assert_eq!(client.subscribe("room/+/temperature", QoS::ExactlyOnce).await, ReasonCode::GrantedQoS1);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        client.publish("room/1/temperature", "21.5", qos).await;
        assert_eq!(client.next().await, ("room/1/temperature".to_owned(), b"21.5".to_vec(), qos));
    }
    assert_eq!(client.close().await, 0);
}

#[tokio::test]
async fn a_durable_session_gets_what_came_while_it_was_away() {
    let Some(nats) = Nats::start().await else { return };
    let durable = || client_options(nats.port()).client_id("durable").session(SessionKeeping::Durable);
    let client = OurClient::connect(durable()).await;
    client.subscribe("kept", QoS::AtLeastOnce).await;
    client.close().await;
    let publisher = OurClient::connect(client_options(nats.port())).await;
    for message in ["one", "two", "three"] {
        publisher.publish("kept", message, QoS::AtLeastOnce).await;
    }
    let mut client = OurClient::connect(durable()).await;
    assert!(client.agreed().session_present);
    for message in ["one", "two", "three"] {
        assert_eq!(client.next().await.1, message.as_bytes());
    }
}
