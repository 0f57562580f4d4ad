//! Three versions on one port, and what may come first.

use std::time::{Duration, Instant};

use crosspoint_protocol::{
    QoS, ReasonCode, Version,
    packet::{Connect, ConnectProperties, Packet, Subscribe, SubscribedFilter},
};

use crate::support::*;

#[tokio::test]
async fn every_version_talks_to_every_other_on_one_port() {
    let broker = broker().await;
    for (n, from) in VERSIONS.into_iter().enumerate() {
        for (m, to) in VERSIONS.into_iter().enumerate() {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let mut reader =
                    Device::connect(&broker, Connect { version: to, ..hello(&format!("r{n}{m}")) }).await;
                let mut writer =
                    Device::connect(&broker, Connect { version: from, ..hello(&format!("w{n}{m}")) }).await;
                reader.subscribe("a/+", QoS::ExactlyOnce).await;
                writer.publish(message("a/b", "x", qos)).await;
                let got = reader.message().await;
                assert_eq!((name(&got), text(&got), got.qos, got.retain), ("a/b", "x", qos, false));
                reader.hears_nothing().await;
            }
        }
    }
    broker.stop().await;
}

#[tokio::test]
async fn an_unknown_version_is_told_so() {
    let broker = broker().await;
    let mut device = Device::dial(address(&broker)).await;
    device.send_bytes(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x00\x00\x01a").await;
    let mut answer = device.into_stream();
    let mut bytes = Vec::new();
    within("CONNACK", tokio::io::AsyncReadExt::read_to_end(&mut answer, &mut bytes)).await.unwrap();
    assert_eq!(bytes, [0x20, 3, 0, 0x84, 0], "in the form of MQTT 5");
}

#[tokio::test]
async fn a_first_packet_that_is_not_connect_ends_the_connection_at_once() {
    let broker = broker().await;
    for first_byte in (0..=255u8).filter(|byte| byte >> 4 != 1) {
        let mut device = Device::dial(address(&broker)).await;
        // Only the first byte: nothing behind it has to be waited for.
        device.send_bytes(&[first_byte]).await;
        assert_eq!(device.end().await, None);
    }
    assert_eq!(broker.statistics().connections_accepted, 0);
}

#[tokio::test]
async fn packets_of_the_other_side_end_an_open_connection_and_disturb_nobody() {
    let broker = broker().await;
    let mut bystander = Device::v5(&broker, "bystander").await;
    for first_byte in [0x00, 0x10, 0x20, 0x90, 0xB0, 0xD0, 0x36] {
        let mut device = Device::v5(&broker, "odd").await;
        device.send_bytes(&[first_byte, 0]).await;
        assert!(device.end_reason().await.is_error());
    }
    bystander.ping().await;
}

#[tokio::test]
async fn a_connect_that_comes_byte_by_byte_is_cut_at_the_deadline() {
    let broker = broker_with(options().connect_deadline(Duration::from_millis(300))).await;
    let mut device = Device::dial(address(&broker)).await;
    let connect = device.encoded(&Packet::Connect(Box::new(hello("slow"))));
    let begun = Instant::now();
    device.send_bytes(&connect[..4]).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut stream = device.into_stream();
    let mut rest = connect[4..].iter();
    let mut byte = [0];
    loop {
        tokio::select! {
            read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte) => {
                assert!(matches!(read, Ok(0) | Err(_)), "nothing is said before CONNECT is whole");
                break;
            }
            _ = ticks.tick() => {
                let next = rest.next().expect("the deadline passed unnoticed");
                tokio::io::AsyncWriteExt::write_all(&mut stream, &[*next]).await.unwrap_or_default();
            }
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_client_without_a_name_gets_one_and_keeps_it() {
    let broker = broker().await;
    let mut first = Device::v5(&broker, "").await;
    let given = first.connack.as_ref().unwrap().properties.assigned_client_id.clone().unwrap();
    let mut second = Device::v5(&broker, "").await;
    assert_ne!(Some(&given), second.connack.as_ref().unwrap().properties.assigned_client_id.as_ref());
    first.ping().await;
    second.ping().await;
    let again = Device::v5(&broker, &given).await;
    assert_eq!(first.end_reason().await, ReasonCode::SessionTakenOver);
    again.leave().await;
    second.leave().await;
    until("no session is left", || broker.statistics().sessions == 0).await;

    let nameless = Connect { version: Version::V3_1_1, clean_start: false, ..hello("") };
    let refused = Device::try_connect(address(&broker), nameless).await;
    assert_eq!(refused.connack.unwrap().reason, ReasonCode::ClientIdentifierNotValid);
}

#[tokio::test]
async fn what_comes_in_one_segment_with_connect_is_answered_without_another_push() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(retained("a/b", "kept", QoS::AtLeastOnce)).await;
    let mut device = Device::dial(address(&broker)).await;
    let mut bytes = device.encoded(&Packet::Connect(Box::new(hello("eager"))));
    let subscribe = {
        let packet_id = device.new_id();
        let filters = vec![SubscribedFilter { filter: filter("a/#"), options: at(QoS::AtLeastOnce) }];
        Packet::Subscribe(Box::new(Subscribe { packet_id, filters, properties: Default::default() }))
    };
    bytes.extend(device.encoded(&subscribe));
    device.send_bytes(&bytes).await;
    assert!(matches!(device.receive().await, Packet::ConnAck(_)));
    assert!(matches!(device.receive().await, Packet::SubAck(_)));
    assert_eq!(text(&device.message().await), "kept");
}

#[tokio::test]
async fn an_enhanced_authentication_that_nobody_offers_is_refused() {
    // Another method, and the one that is spoken here where there is no user.
    for method in ["SCRAM-SHA-1", "SCRAM-SHA-256"] {
        let broker = broker().await;
        let properties = ConnectProperties {
            authentication_method: Some(method.into()),
            authentication_data: Some("n,,n=alice,r=nonce".into()),
            ..ConnectProperties::default()
        };
        let device = Device::try_connect(address(&broker), Connect { properties, ..hello("scram") }).await;
        assert_eq!(device.connack.unwrap().reason, ReasonCode::BadAuthenticationMethod, "{method}");
    }
}

#[tokio::test]
async fn a_client_that_falls_silent_is_cut_after_one_and_a_half_keep_alives() {
    let broker = broker().await;
    let begun = Instant::now();
    let mut device = Device::connect(&broker, Connect { keep_alive_s: 1, ..hello("silent") }).await;
    assert_eq!(device.end_reason().await, ReasonCode::KeepAliveTimeout);
    assert!(begun.elapsed() >= Duration::from_millis(1_500));
}
