//! Full rate, slow readers, limits of queues: nobody waits for anybody, and what is dropped is counted.

use std::time::Instant;

use bytes::BytesMut;
use crosspoint_broker::{Broker, ListenerOptions, QueueLimits, Workers};
use crosspoint_net::{DialOptions, ListenOptions, Transport, dial};
use crosspoint_protocol::{
    PacketId, QoS, ReasonCode, Version,
    codec::{self, Direction, Frames},
    packet::{Ack, Packet, Publish, Subscribe, SubscribeProperties, SubscribedFilter},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// Publishes `count` messages as fast as the socket takes them, while reading whatever comes, until `expected`
/// messages have come.
async fn at_full_rate(mut device: Device, to: &str, qos: QoS, count: usize, expected: usize) -> Vec<u32> {
    let mut outgoing = Vec::new();
    for n in 0..count {
        let packet_id = (qos != QoS::AtMostOnce).then(|| device.new_id());
        outgoing.extend(
            device.encoded(&Packet::Publish(Publish { packet_id, ..message(to, n.to_string(), qos) })),
        );
    }
    let (mut sink, mut source) = device.split();
    let (answers, mut to_answer) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
    let writing = tokio::spawn(async move {
        for part in outgoing.chunks(64 * 1024) {
            sink.write_all(part).await.unwrap();
            while let Ok(answer) = to_answer.try_recv() {
                sink.write_all(&answer).await.unwrap();
            }
        }
        while let Some(answer) = to_answer.recv().await {
            sink.write_all(&answer).await.unwrap();
        }
        sink
    });
    let mut heard = Vec::with_capacity(expected);
    let mut unfinished = if qos == QoS::AtMostOnce { 0 } else { count };
    let mut unreleased = 0;
    while heard.len() < expected || unfinished > 0 || unreleased > 0 {
        let answer = match source.receive().await {
            Packet::Publish(publish) => {
                heard.push(text(&publish).parse().unwrap());
                let Some(id) = publish.packet_id else { continue };
                let ack = Ack::new(id, ReasonCode::Success);
                unreleased += usize::from(publish.qos == QoS::ExactlyOnce);
                if publish.qos == QoS::AtLeastOnce { Packet::PubAck(ack) } else { Packet::PubRec(ack) }
            }
            Packet::PubRec(ack) => Packet::PubRel(Ack::new(ack.packet_id, ReasonCode::Success)),
            Packet::PubRel(ack) => {
                unreleased -= 1;
                Packet::PubComp(ack)
            }
            Packet::PubAck(_) | Packet::PubComp(_) => {
                unfinished -= 1;
                continue;
            }
            other => panic!("{other:?}"),
        };
        answers.send(source.encoded(&answer)).unwrap();
    }
    drop(answers);
    writing.await.unwrap();
    heard
}

async fn wide_broker(workers: usize) -> Broker {
    broker_with(
        options().workers(Workers::Threads(workers)).receive_maximum(u16::MAX).in_flight_maximum(10_000),
    )
    .await
}

#[tokio::test]
async fn a_client_that_is_its_own_target_at_full_rate_gets_everything_in_order() {
    let broker = wide_broker(1).await;
    for (qos, count) in [(QoS::AtMostOnce, 50_000), (QoS::AtLeastOnce, 20_000), (QoS::ExactlyOnce, 20_000)] {
        let mut device = Device::v5(&broker, "d").await;
        device.subscribe("own", qos).await;
        let heard = within("all messages", at_full_rate(device, "own", qos, count, count)).await;
        assert!(heard.iter().copied().eq(0..count as u32), "{qos:?}");
    }
    assert_eq!(broker.statistics().dropped_queue_full, 0);
}

#[tokio::test]
async fn a_publishes_to_b_while_b_publishes_to_a_at_full_rate() {
    for workers in [1, 2] {
        let broker = wide_broker(workers).await;
        for (qos, count) in
            [(QoS::AtMostOnce, 50_000), (QoS::AtLeastOnce, 20_000), (QoS::ExactlyOnce, 20_000)]
        {
            let (mut a, mut b) = (Device::v5(&broker, "a").await, Device::v5(&broker, "b").await);
            a.subscribe("to/a", qos).await;
            b.subscribe("to/b", qos).await;
            let (to_a, to_b) = tokio::join!(
                at_full_rate(a, "to/b", qos, count, count),
                at_full_rate(b, "to/a", qos, count, count),
            );
            assert!(to_a.iter().copied().eq(0..count as u32) && to_b.iter().copied().eq(0..count as u32));
        }
        assert_eq!(broker.statistics().dropped_queue_full, 0);
    }
}

#[tokio::test]
async fn a_client_that_writes_everything_before_it_reads_anything_is_not_stuck() {
    let broker = broker().await;
    let mut device = Device::v5(&broker, "d").await;
    device.subscribe("own", QoS::AtMostOnce).await;
    // More than both kernels' buffers and our own output hold.
    let count = 40;
    for _ in 0..count {
        device.send(&Packet::Publish(message("own", vec![b'x'; 256 * 1024], QoS::AtMostOnce))).await;
    }
    device.ping().await;
    device.ping().await;
    let heard = device.forget_inbox();
    let dropped = broker.statistics().dropped_queue_full as usize;
    assert_eq!(heard + dropped, count);
    assert!(heard > 0);
}

#[tokio::test]
async fn order_of_a_publisher_and_topic_holds_across_threads() {
    let broker = wide_broker(2).await;
    let publishers: usize = 4;
    let count = 5_000;
    let mut readers = Vec::new();
    for n in 0..4 {
        let mut reader = Device::v5(&broker, &format!("r{n}")).await;
        reader.subscribe("t/#", QoS::AtLeastOnce).await;
        readers.push(reader);
    }
    let mut tasks = Vec::new();
    for n in 0..publishers {
        let device = Device::v5(&broker, &format!("p{n}")).await;
        let to = format!("t/{n}");
        tasks.push(tokio::spawn(async move { at_full_rate(device, &to, QoS::AtLeastOnce, count, 0).await }));
    }
    for reader in &mut readers {
        let mut next = std::collections::HashMap::new();
        for _ in 0..publishers * count {
            let got = reader.message().await;
            let expected = next.entry(name(&got).to_owned()).or_insert(0u32);
            assert_eq!(text(&got).parse::<u32>().unwrap(), *expected);
            *expected += 1;
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn one_that_does_not_read_among_a_thousand_slows_nobody() {
    let limits = QueueLimits::default().direct_bytes(256 * 1024);
    let broker = broker_with(options().queue(limits)).await;
    let mut devices = Vec::new();
    for n in 0..1_000 {
        let mut device = Device::v5(&broker, &format!("d{n}")).await;
        device.subscribe("all", QoS::AtMostOnce).await;
        devices.push(device);
    }
    let mut stalled = devices.swap_remove(500);
    stalled.subscribe("flood", QoS::AtMostOnce).await;
    let mut stalled = stalled.into_stream();
    let mut writer = Device::v5(&broker, "writer").await;
    // More than the kernel, the output and the mailbox of one client hold.
    let (flood, large) = (400, 50_000);
    for _ in 0..flood {
        writer.publish(message("flood", vec![b'x'; large], QoS::AtMostOnce)).await;
    }
    let lost = broker.statistics().dropped_queue_full;
    assert!(lost > 0 && lost < flood);
    let begun = Instant::now();
    for n in 0..20 {
        writer.publish(message("all", n.to_string(), QoS::AtMostOnce)).await;
        for device in &mut devices {
            assert_eq!(text(&device.message().await), n.to_string());
        }
    }
    println!("20 rounds to 999 others in {:?}", begun.elapsed());
    // What it had room for, it gets as soon as it reads again.
    let expected = (flood - lost) as usize * large;
    let mut bytes = vec![0; 64 * 1024];
    let mut taken = 0;
    within("what was kept", async {
        while taken < expected {
            taken += stalled.read(&mut bytes).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts() {
    let broker = broker_with(options().queue(QueueLimits::default().messages(10))).await;
    let mut device = Device::connect(&broker, durable("d")).await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    device.leave().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..25 {
        assert!(!writer.publish(message("a", n.to_string(), QoS::AtLeastOnce)).await.is_error());
    }
    assert_eq!(broker.statistics().dropped_queue_full, 15);
    let mut device = Device::connect(&broker, durable("d")).await;
    assert_eq!(device.payloads(10).await, (15..25).map(|n| n.to_string()).collect::<Vec<_>>());
    device.hears_nothing().await;
}

#[tokio::test]
async fn bytes_are_limited_as_well_and_every_message_dropped_for_one_is_counted() {
    let broker = broker_with(options().queue(QueueLimits::default().bytes(10_000))).await;
    let mut device = Device::connect(&broker, durable("d")).await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    device.leave().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for _ in 0..9 {
        writer.publish(message("a", vec![b'x'; 1_000], QoS::AtLeastOnce)).await;
    }
    assert_eq!(broker.statistics().dropped_queue_full, 0);
    writer.publish(message("a", vec![b'y'; 50_000], QoS::AtLeastOnce)).await;
    assert_eq!(broker.statistics().dropped_queue_full, 9, "one always fits, alone");
    let mut device = Device::connect(&broker, durable("d")).await;
    assert_eq!(device.message().await.payload.len(), 50_000);
}

#[tokio::test]
async fn a_large_fan_out_of_many_messages_leaves_the_thread_to_others() {
    let broker = broker().await;
    let mut readers = Vec::new();
    for n in 0..200 {
        let mut reader = Device::v5(&broker, &format!("r{n}")).await;
        reader.subscribe("all", QoS::AtMostOnce).await;
        readers.push(reader);
    }
    let mut bystander = Device::v5(&broker, "bystander").await;
    let mut writer = Device::v5(&broker, "writer").await;
    // One read of the broker: 2,000 messages, 400,000 deliveries.
    let one = writer.encoded(&Packet::Publish(message("all", "x", QoS::AtMostOnce)));
    writer.send_bytes(&one.repeat(2_000)).await;
    until("the storm is being handled", || broker.statistics().messages_received > 0).await;
    bystander.ping().await;
    // Without interruption the answer would have waited for all of them.
    let handled = broker.statistics().messages_received;
    assert!(handled < 2_000, "{handled}");
    for reader in &mut readers {
        for _ in 0..2_000 {
            reader.message().await;
        }
    }
    assert_eq!(broker.statistics().messages_sent, 400_000);
}

#[tokio::test]
async fn what_an_absent_reader_had_not_taken_is_counted_when_it_leaves() {
    let broker = broker_with(options().queue(QueueLimits::default().direct_bytes(64 * 1024 * 1024))).await;
    let mut device = Device::v5(&broker, "d").await;
    device.subscribe("a", QoS::AtMostOnce).await;
    let stalled = device.into_stream();
    let mut writer = Device::v5(&broker, "writer").await;
    for _ in 0..200 {
        writer.publish(message("a", vec![b'x'; 100_000], QoS::AtMostOnce)).await;
    }
    drop(stalled);
    until("the connection is gone", || broker.statistics().connections == 1).await;
    let statistics = broker.statistics();
    assert!(statistics.dropped_receiver_gone > 0);
    assert_eq!(statistics.messages_sent + statistics.dropped_receiver_gone, 200);
}

#[tokio::test]
async fn a_client_on_a_websocket_that_is_its_own_target_gets_everything() {
    let listen = ListenOptions::new(Transport::Ws, loopback());
    let broker = Broker::builder()
        .options(options())
        .listener(ListenerOptions::new("main", listen))
        .start()
        .await
        .unwrap();
    let port = address(&broker).port();
    let stream = within("dial", dial(&DialOptions::new(Transport::Ws, "127.0.0.1", port))).await.unwrap();
    let (mut source, mut sink) = tokio::io::split(stream);
    let count = 2_000;
    let writing = tokio::spawn(async move {
        let mut bytes = Vec::new();
        let filters = vec![SubscribedFilter { filter: filter("own"), options: at(QoS::AtMostOnce) }];
        let packet_id = PacketId::MIN;
        let subscribe = Subscribe { packet_id, filters, properties: SubscribeProperties::default() };
        codec::encode(&Packet::Connect(Box::new(hello("d"))), Version::V5, &mut bytes).unwrap();
        codec::encode(&Packet::Subscribe(Box::new(subscribe)), Version::V5, &mut bytes).unwrap();
        for _ in 0..count {
            let publish = Packet::Publish(message("own", vec![b'x'; 3_000], QoS::AtMostOnce));
            codec::encode(&publish, Version::V5, &mut bytes).unwrap();
        }
        // Frames that begin and end anywhere in a packet.
        for part in bytes.chunks(1_234) {
            sink.write_all(part).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    let mut frames = Frames::new(u32::MAX);
    let mut heard = 0;
    within("all messages", async {
        while heard < count {
            let mut input = BytesMut::with_capacity(64 * 1024);
            assert_ne!(source.read_buf(&mut input).await.unwrap(), 0);
            frames.push(input.freeze());
            while let Some(packet) = frames.next(Some(Version::V5), Direction::FromServer).unwrap() {
                heard +=
                    usize::from(matches!(packet, Packet::Publish(publish) if publish.payload.len() == 3_000));
            }
        }
    })
    .await;
    writing.await.unwrap();
    assert_eq!(broker.statistics().dropped_queue_full, 0);
}

#[tokio::test]
async fn what_has_expired_leaves_its_place_in_the_window_to_what_is_behind_it() {
    let broker = broker().await;
    let mut connect = hello("reader");
    connect.properties.receive_maximum = Some(2);
    let mut reader = Device::connect(&broker, connect).await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    for payload in ["1", "2"] {
        writer.publish(message("a", payload, QoS::AtLeastOnce)).await;
    }
    let sent = [reader.unanswered().await, reader.unanswered().await];
    // More than there are places: of what is taken for one of them nothing is sent.
    for _ in 0..7 {
        writer.publish(expiring(message("a", "brief", QoS::AtLeastOnce), 0)).await;
    }
    writer.publish(message("a", "3", QoS::AtLeastOnce)).await;
    for publish in &sent {
        reader.acknowledge(publish).await;
    }
    assert_eq!(text(&reader.message().await), "3");
    assert_eq!(broker.statistics().dropped_expired, 7);
}
