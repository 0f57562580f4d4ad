//! What brokers do with retained messages and sessions.

use std::net::SocketAddr;

use crosspoint_broker::{Broker, BrokerOptions, ListenerOptions};
use crosspoint_hub::diagnosis::Fault;
use crosspoint_hub::doctor::{Examination, Stage};
use crosspoint_net::{ListenOptions, Transport};
use interop::{Authority, Mosquitto, Nats, OurBroker, Rumqttd};

use crate::rig::{doctor, warned, well};

async fn durable(port: u16, protocol: &str) -> Examination {
    let lines = format!("url = \"mqtt://127.0.0.1:{port}\"\nsession = \"durable\"\nprotocol = {protocol:?}");
    doctor(&lines).await
}

#[tokio::test]
async fn our_own_broker_nats_and_rumqttd_are_well() {
    let ours = OurBroker::start().await;
    for protocol in ["5.0", "3.1.1", "3.1"] {
        well(&durable(ours.port(Transport::Tcp), protocol).await);
    }
    ours.stop().await;
    if let Some(nats) = Nats::start().await {
        well(&durable(nats.port(), "auto").await);
    }
    if let Some(rumqttd) = Rumqttd::start().await {
        for (port, protocol) in [(rumqttd.v4_port(), "3.1.1"), (rumqttd.v5_port(), "5.0")] {
            well(&durable(port, protocol).await);
        }
    }
}

#[tokio::test]
async fn a_broker_that_keeps_no_retained_messages() {
    let started = Mosquitto::start_as(Authority::new(), |_, ports| {
        let listeners = ports.map(|port| format!("listener {port} 127.0.0.1\n")).concat();
        format!("{listeners}allow_anonymous true\nretain_available false\n")
    });
    let Some(mosquitto) = started.await else { return };
    warned(&durable(mosquitto.port(), "5.0").await, Stage::Limits, Fault::RetainedLost);
    let old = durable(mosquitto.port(), "3.1.1").await;
    warned(&old, Stage::Retained, Fault::RetainedLost);
}

#[tokio::test]
async fn a_broker_that_loses_what_comes_for_a_session() {
    // It keeps the session, and has no room for what comes meanwhile.
    let started = Mosquitto::start_as(Authority::new(), |_, ports| {
        let listeners = ports.map(|port| format!("listener {port} 127.0.0.1\n")).concat();
        format!("{listeners}allow_anonymous true\nmax_inflight_messages 1\nmax_queued_messages 1\n")
    });
    let Some(mosquitto) = started.await else { return };
    for protocol in ["5.0", "3.1.1"] {
        let diagnosis =
            warned(&durable(mosquitto.port(), protocol).await, Stage::Session, Fault::SessionNotKept);
        assert!(diagnosis.cause.contains("lost"), "{diagnosis:?}");
    }
}

#[tokio::test]
async fn a_broker_that_forgets_sessions() {
    let listen = ListenOptions::new(Transport::Tcp, SocketAddr::from(([127, 0, 0, 1], 0)));
    let broker = Broker::builder()
        .options(BrokerOptions::default().session_expiry_max_s(0))
        .listener(ListenerOptions::new("tcp", listen).anonymous(true));
    let broker = broker.start().await.unwrap();
    let examination = durable(broker.address("tcp").unwrap().port(), "5.0").await;
    let diagnosis = warned(&examination, Stage::Session, Fault::SessionNotKept);
    assert!(diagnosis.cause.contains("forgot"), "{diagnosis:?}");
    broker.stop().await;
}
