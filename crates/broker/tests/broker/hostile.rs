//! Peers that mean harm: memory stays bounded, they are closed in time, and nobody else notices.

use std::time::{Duration, Instant};

use crosspoint_broker::{Broker, ListenerOptions};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_protocol::{
    QoS, ReasonCode,
    packet::{Packet, Publish},
};
use tokio::io::AsyncReadExt;

use crate::support::*;

#[tokio::test]
async fn a_packet_larger_than_allowed_is_refused_from_its_header_alone() {
    let broker = broker_with(options().packet_bytes_max(1_000)).await;
    let mut device = Device::v5(&broker, "d").await;
    assert_eq!(device.connack.as_ref().unwrap().properties.maximum_packet_bytes, Some(1_000));
    device.send_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    assert_eq!(device.end_reason().await, ReasonCode::PacketTooLarge);
    let mut device = Device::v5(&broker, "d").await;
    device.send_bytes(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]).await;
    assert_eq!(device.end_reason().await, ReasonCode::MalformedPacket);
}

#[tokio::test]
async fn more_unfinished_messages_than_allowed_end_the_connection() {
    let broker = broker_with(options().receive_maximum(10)).await;
    let mut device = Device::v5(&broker, "d").await;
    for _ in 0..11 {
        let packet_id = Some(device.new_id());
        device.send(&Packet::Publish(Publish { packet_id, ..message("a", "x", QoS::ExactlyOnce) })).await;
    }
    assert_eq!(device.end_reason().await, ReasonCode::ReceiveMaximumExceeded);
}

#[tokio::test]
async fn a_peer_that_never_reads_its_answers_is_not_read_for_ever() {
    let broker = broker().await;
    let mut bystander = Device::v5(&broker, "bystander").await;
    let device = Device::v5(&broker, "d").await;
    let pings = [0xC0, 0].repeat(32 * 1024);
    let stream = device.into_stream();
    stream.set_nodelay(true).unwrap();
    // Until the socket has taken nothing for a while: the broker has stopped to read.
    let mut sent = 0;
    let mut last_progress = Instant::now();
    within("the broker stops reading", async {
        while last_progress.elapsed() < Duration::from_secs(1) {
            // A write may end in the middle of a packet: the next one goes on there.
            match stream.try_write(&pings[sent % pings.len()..]) {
                Ok(bytes) => {
                    sent += bytes;
                    last_progress = Instant::now();
                }
                Err(_) => bystander.ping().await,
            }
        }
    })
    .await;
    assert!(broker.statistics().bytes_received < 64 * 1024 * 1024, "{sent}");
    // It goes on when its answers are read.
    let (mut source, mut sink) = stream.into_split();
    let answers = sent / 2 * 2;
    let reading = tokio::spawn(async move {
        let mut bytes = vec![0; 64 * 1024];
        let mut taken = 0;
        while taken < answers {
            let bytes = source.read(&mut bytes).await.unwrap();
            assert_ne!(bytes, 0, "the broker has hung up");
            taken += bytes;
        }
    });
    within("all answers", reading).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut sink).await.unwrap();
}

#[tokio::test]
async fn garbage_in_every_state_ends_that_connection_and_no_other() {
    let broker = broker().await;
    let mut bystander = Device::v5(&broker, "bystander").await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..300 {
        let mut device = if round % 2 == 0 {
            Device::dial(address(&broker)).await
        } else {
            Device::v5(&broker, "garbage").await
        };
        let mut bytes: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
        if round % 2 == 1 {
            // So that something behind the first byte is looked at.
            bytes[0] = [0x30, 0x32, 0x62, 0x82, 0xA2, 0xE0, 0xF0][round % 7];
        }
        device.send_bytes(&bytes).await;
        let mut stream = device.into_stream();
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap_or_default();
        let mut answer = Vec::new();
        within("the end", stream.read_to_end(&mut answer)).await.unwrap_or_default();
    }
    bystander.ping().await;
    until("the others are gone", || broker.statistics().connections == 1).await;
}

#[tokio::test]
async fn a_topic_as_deep_as_it_gets_is_refused_without_harm() {
    let broker = broker().await;
    let mut device = Device::v5(&broker, "d").await;
    let slashes = vec![b'/'; 65_535];
    let mut publish = vec![0x30, 0x82, 0x80, 0x04, 0xFF, 0xFF];
    publish.extend_from_slice(&slashes);
    publish.push(0);
    device.send_bytes(&publish).await;
    assert!(device.end_reason().await.is_error());
    Device::v5(&broker, "e").await.ping().await;
}

#[tokio::test]
async fn only_the_broker_publishes_under_sys() {
    let broker = broker().await;
    let mut reader = Device::v5(&broker, "reader").await;
    reader.subscribe("$SYS/#", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    assert_eq!(writer.publish(message("$SYS/x", "x", QoS::AtLeastOnce)).await, ReasonCode::NotAuthorized);
    writer.publish(retained("$SYS/x", "x", QoS::AtMostOnce)).await;
    reader.hears_nothing().await;
    assert_eq!(broker.statistics().dropped_not_authorized, 2);
}

#[tokio::test]
async fn a_web_page_from_elsewhere_does_not_get_in() {
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Ws, loopback()));
    let broker = Broker::builder().options(options()).listener(listener).start().await.unwrap();
    let upgrade = |origin: &str| {
        format!(
            "GET /mqtt HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n{origin}\r\n",
            address(&broker)
        )
    };
    let own = format!("Origin: http://{}\r\n", address(&broker));
    let cases = [
        ("", "101"),
        (own.as_str(), "101"),
        ("Origin: https://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
    ];
    for (origin, expected) in cases {
        let mut device = Device::dial(address(&broker)).await;
        device.send_bytes(upgrade(origin).as_bytes()).await;
        let mut answer = [0; 12];
        within("the answer", device.into_stream().read_exact(&mut answer)).await.unwrap();
        assert_eq!(std::str::from_utf8(&answer[9..]).unwrap(), expected, "{origin}");
    }
    assert_eq!(broker.statistics().connections_accepted, 0);
}

#[tokio::test]
async fn a_stranger_may_not_fill_the_memory_with_its_connect() {
    let broker = broker().await;
    let mut device = Device::dial(address(&broker)).await;
    // CONNECT with a Remaining Length of 16,000,000.
    device.send_bytes(&[0x10, 0x80, 0xC8, 0xD0, 0x07]).await;
    let stream = device.into_stream();
    let part = vec![0; 64 * 1024];
    within("the broker closes", async {
        loop {
            stream.writable().await.unwrap();
            match stream.try_write(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                _ => {}
            }
        }
    })
    .await;
    assert!(broker.statistics().bytes_received < 2 * 1024 * 1024);
}

#[tokio::test]
async fn more_subscriptions_than_allowed_are_refused_one_by_one() {
    let broker = broker_with(options().subscriptions_max(2)).await;
    let mut device = Device::v5(&broker, "d").await;
    for (filter, expected) in [
        ("a", ReasonCode::Success),
        ("b", ReasonCode::Success),
        ("c", ReasonCode::QuotaExceeded),
        ("a", ReasonCode::Success),
    ] {
        assert_eq!(device.subscribe_with(filter, at(QoS::AtMostOnce), None).await, expected, "{filter}");
    }
    device.unsubscribe("a").await;
    device.subscribe("c", QoS::AtMostOnce).await;
    assert_eq!(broker.statistics().subscriptions, 2);
}
