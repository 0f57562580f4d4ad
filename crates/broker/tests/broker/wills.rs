//! Wills: exactly one for a death, none for a farewell, whatever the path.

use std::time::Duration;

use crosspoint_broker::{
    Broker,
    access::{Password, Role, Rule, User, Users},
};
use crosspoint_protocol::{
    QoS, ReasonCode, Version,
    packet::{Connect, Disconnect, Packet, Publish, WillProperties},
};

use crate::support::*;

fn mortal(client_id: &str) -> Connect {
    Connect { will: Some(will("wills/a", b"died")), ..hello(client_id) }
}

fn delayed(client_id: &str, delay_s: u32, session_expiry_s: u32) -> Connect {
    let mut connect = mortal(client_id);
    connect.clean_start = false;
    connect.properties.session_expiry_s = Some(session_expiry_s);
    if let Some(will) = &mut connect.will {
        will.properties.delay_s = Some(delay_s);
    }
    connect
}

/// Someone who hears of every death.
async fn heir(broker: &Broker) -> Device {
    let mut heir = Device::v5(broker, "heir").await;
    heir.subscribe("wills/#", QoS::ExactlyOnce).await;
    heir
}

#[tokio::test]
async fn a_cut_connection_leaves_one_will_in_every_version() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    for version in VERSIONS {
        Device::connect(&broker, Connect { version, ..mortal("m") }).await.cut();
        let got = heir.message().await;
        assert_eq!(
            (name(&got), text(&got), got.qos, got.retain),
            ("wills/a", "died", QoS::AtLeastOnce, false)
        );
        drop(Device::connect(&broker, Connect { version, ..mortal("m") }).await);
        assert_eq!(
            heir.payloads(1).await,
            ["died"],
            "a stream that ends without DISCONNECT is a death as well"
        );
        heir.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_farewell_leaves_none_and_one_that_asks_for_it_leaves_one() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    for version in VERSIONS {
        Device::connect(&broker, Connect { version, ..mortal("m") }).await.leave().await;
        heir.hears_nothing().await;
    }
    let mut device = Device::connect(&broker, mortal("m")).await;
    device.leave_with(Disconnect::new(ReasonCode::DisconnectWithWill)).await;
    assert_eq!(heir.payloads(1).await, ["died"]);
    heir.hears_nothing().await;
}

#[tokio::test]
async fn a_protocol_error_and_a_silence_each_leave_one() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    let mut device = Device::connect(&broker, mortal("m")).await;
    device.send_bytes(&[0x10, 0]).await;
    assert_eq!(device.end_reason().await, ReasonCode::ProtocolError);
    assert_eq!(heir.payloads(1).await, ["died"]);

    let mut silent = Device::connect(&broker, Connect { keep_alive_s: 1, ..mortal("m") }).await;
    assert_eq!(silent.end_reason().await, ReasonCode::KeepAliveTimeout);
    assert_eq!(heir.payloads(1).await, ["died"]);
    heir.hears_nothing().await;
}

#[tokio::test]
async fn a_takeover_leaves_one() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    let mut old = Device::connect(&broker, mortal("m")).await;
    let new = Device::connect(&broker, mortal("m")).await;
    assert_eq!(old.end_reason().await, ReasonCode::SessionTakenOver);
    assert_eq!(heir.payloads(1).await, ["died"]);
    new.leave().await;
    heir.hears_nothing().await;
}

#[tokio::test]
async fn mqtt_3_1_3_9_a_return_within_the_delay_takes_it_back() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    for _ in 0..3 {
        Device::connect(&broker, delayed("m", 3_600, 3_600)).await.cut();
        until("the connection is gone", || broker.statistics().connections == 1).await;
    }
    let device = Device::connect(&broker, delayed("m", 3_600, 3_600)).await;
    assert!(device.session_present());
    device.leave().await;
    heir.hears_nothing().await;
}

#[tokio::test]
async fn a_return_with_a_clean_start_ends_the_session_and_publishes_it() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    Device::connect(&broker, delayed("m", 3_600, 3_600)).await.cut();
    until("the connection is gone", || broker.statistics().connections == 1).await;
    heir.hears_nothing().await;
    Device::v5(&broker, "m").await.leave().await;
    assert_eq!(heir.payloads(1).await, ["died"]);
    heir.hears_nothing().await;
}

#[tokio::test]
async fn the_delay_and_the_end_of_the_session_whichever_comes_first() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    for (delay_s, expiry_s) in [(1, 3_600), (3_600, 1)] {
        let begun = std::time::Instant::now();
        Device::connect(&broker, delayed("m", delay_s, expiry_s)).await.cut();
        assert_eq!(heir.payloads(1).await, ["died"]);
        assert!(begun.elapsed() >= Duration::from_secs(1));
        heir.hears_nothing().await;
        Device::v5(&broker, "m").await.leave().await;
    }
    // Without a session that goes on there is nothing to wait for.
    Device::connect(&broker, delayed("m", 3_600, 0)).await.cut();
    assert_eq!(heir.payloads(1).await, ["died"]);
    heir.hears_nothing().await;
}

#[tokio::test]
async fn a_will_is_a_message_like_any_other() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    let mut connect = mortal("m");
    let mut last = will("wills/b", b"gone");
    last.qos = QoS::ExactlyOnce;
    last.retain = true;
    last.properties = WillProperties {
        message_expiry_s: Some(100),
        content_type: Some("text/plain".into()),
        payload_is_utf8: Some(true),
        response_topic: Some("answers".into()),
        correlation_data: Some("c".into()),
        user_properties: vec![("k".into(), "v".into())],
        ..WillProperties::default()
    };
    connect.will = Some(last);
    Device::connect(&broker, connect).await.cut();
    let got = heir.message().await;
    assert_eq!((name(&got), text(&got), got.qos), ("wills/b", "gone", QoS::ExactlyOnce));
    let properties = &got.properties;
    assert!(properties.message_expiry_s().is_some_and(|left_s| (90..=100).contains(&left_s)));
    assert_eq!(properties.content_type(), Some("text/plain"));
    assert_eq!(properties.payload_is_utf8(), Some(true));
    assert_eq!(properties.response_topic(), Some("answers"));
    assert_eq!(properties.correlation_data(), Some(&b"c"[..]));
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("k", "v")]);
    let mut late = Device::v5(&broker, "late").await;
    late.subscribe("wills/b", QoS::AtMostOnce).await;
    assert!(late.message().await.retain, "it is retained");
}

#[tokio::test]
async fn a_will_to_a_topic_that_the_client_may_not_publish_to_keeps_it_out() {
    let broker = broker().await;
    for name in ["$SYS/broker/uptime", "$SYS/x"] {
        let connect = Connect { will: Some(will(name, b"x")), ..hello("m") };
        let device = Device::try_connect(address(&broker), connect).await;
        assert_eq!(device.connack.unwrap().reason, ReasonCode::NotAuthorized);
    }
    let users = Users::new(
        vec![User { name: "u".into(), password: Password::plain("p"), roles: vec!["r".into()] }],
        vec![Role { name: "r".into(), allow: vec![Rule::parse("publish own/#").unwrap()], deny: Vec::new() }],
    );
    let listener = crosspoint_broker::ListenerOptions::new(
        "main",
        crosspoint_net::ListenOptions::new(crosspoint_net::Transport::Tcp, loopback()),
    );
    let access = std::sync::Arc::new(users.unwrap());
    let guarded =
        Broker::builder().options(options()).listener(listener).access(access).start().await.unwrap();
    for (name, expected) in [("wills/a", ReasonCode::NotAuthorized), ("own/a", ReasonCode::Success)] {
        let mut connect = Connect { will: Some(will(name, b"x")), ..hello("m") };
        connect.login.username = Some("u".into());
        connect.login.password = Some("p".into());
        let device = Device::try_connect(address(&guarded), connect).await;
        assert_eq!(device.connack.as_ref().unwrap().reason, expected);
    }
}

#[tokio::test]
async fn a_clean_farewell_counts_even_if_the_client_is_gone_before_it_is_read() {
    let broker = broker().await;
    let mut heir = heir(&broker).await;
    for n in 0..50 {
        let mut device = Device::connect(&broker, Connect { version: Version::V3_1_1, ..mortal("m") }).await;
        let mut bytes = Vec::new();
        for _ in 0..20 {
            let packet_id = Some(device.new_id());
            let publish = Publish { packet_id, ..message("other", "x", QoS::AtLeastOnce) };
            bytes.extend(device.encoded(&Packet::Publish(publish)));
        }
        bytes.extend(device.encoded(&Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success)))));
        device.send_bytes(&bytes).await;
        // Closes with answers unread: the broker's writes will fail.
        drop(device);
        until("the connection is gone", || broker.statistics().connections == 1).await;
        heir.hears_nothing().await;
        assert_eq!(broker.statistics().messages_received, 20 * (n + 1));
    }
}
