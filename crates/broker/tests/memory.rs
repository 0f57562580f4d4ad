//! What waiting messages, idle connections and hostile sockets cost, by a counting allocator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what helps a test may fail like the test"
)]

#[path = "broker/support.rs"]
mod support;

use std::{
    alloc::System,
    time::{Duration, Instant},
};

use crosspoint_broker::{Broker, ListenerOptions};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_protocol::{
    QoS,
    packet::{Connect, Packet, Publish},
};
use crosspoint_store::{Directory, Options, Store};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::*;

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The tests measure the whole process, so they take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn held_bytes() -> usize {
    let stats = GLOBAL.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

/// Waits until no more than so many bytes are held.
async fn until_at_most(what: &str, bytes_max: usize) {
    let begun = Instant::now();
    while held_bytes() > bytes_max {
        assert!(begun.elapsed() < DEADLINE, "{what}: {} bytes are held, more than {bytes_max}", held_bytes());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn ten_thousand_waiting_messages_cost_less_than_5_mib() {
    let _turn = TURN.lock().await;
    let broker = broker().await;
    let mut device = Device::connect(&broker, durable("d")).await;
    device.subscribe("sensors/+/temperature", QoS::AtLeastOnce).await;
    device.leave().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let publish = message("sensors/17/temperature", vec![b'x'; 20], QoS::AtLeastOnce);
    let at_first = held_bytes();
    // Several rounds: what stayed behind would add up, while the buffers that threads keep for reuse do not.
    for _ in 0..4 {
        let before = held_bytes();
        for _ in 0..10_000 {
            writer.publish(publish.clone()).await;
        }
        let cost = held_bytes().saturating_sub(before);
        println!("10,000 messages of 20 bytes: {cost} bytes");
        assert!(cost < 5 * 1024 * 1024, "{cost}");
        // Once they are taken, the memory comes back.
        let mut device = Device::connect(&broker, durable("d")).await;
        device.payloads(10_000).await;
        device.leave().await;
    }
    until_at_most("after the queue has drained", at_first + 2 * 1024 * 1024).await;
}

#[tokio::test]
async fn what_waits_on_disk_takes_no_memory_for_each() {
    let _turn = TURN.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let disk = Directory::open(directory.path()).unwrap();
    let store = Store::open(disk, Options::new().reserve_bytes(0)).unwrap();
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, loopback()));
    let builder = Broker::builder().options(options()).listener(listener);
    let broker = builder.store(store).start().await.unwrap();
    let mut device = Device::connect(&broker, durable("d")).await;
    device.subscribe("sensors/+/temperature", QoS::AtLeastOnce).await;
    device.leave().await;
    let mut writer = Device::v5(&broker, "writer").await;
    // What does not grow with the queue is there before: its front, and the last frames.
    writer.publish_numbers("sensors/17/temperature", 0..100_000).await;
    let before = held_bytes();
    writer.publish_numbers("sensors/17/temperature", 100_000..200_000).await;
    let cost = held_bytes().saturating_sub(before);
    println!("100,000 messages on disk: {cost} bytes");
    assert!(cost < 1024 * 1024, "{cost}");
    assert_eq!(broker.statistics().stored_messages, 200_000);
    broker.stop().await;
}

#[tokio::test]
async fn a_message_that_waits_for_a_thousand_sessions_is_kept_once() {
    let _turn = TURN.lock().await;
    let broker = broker().await;
    for n in 0..1_000 {
        let mut device = Device::connect(&broker, durable(&format!("d{n}"))).await;
        device.subscribe("a", QoS::AtLeastOnce).await;
        device.leave().await;
    }
    until("all have gone", || broker.statistics().connections == 0).await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(message("a", vec![b'x'; 100_000], QoS::AtLeastOnce)).await;
    let before = held_bytes();
    for _ in 0..10 {
        writer.publish(message("a", vec![b'x'; 100_000], QoS::AtLeastOnce)).await;
    }
    let cost = held_bytes().saturating_sub(before);
    assert!(cost < 10 * 100_000 + 1_000 * 1_024 + 256 * 1024, "{cost}");
}

#[tokio::test]
async fn an_idle_connection_costs_at_most_4_kib() {
    let _turn = TURN.lock().await;
    let broker = broker().await;
    let mut streams = Vec::with_capacity(1_000);
    // What grows once and for all is there before.
    for n in 0..1_000 {
        streams.push(Device::v5(&broker, &format!("w{n}")).await.into_stream());
    }
    let before = held_bytes();
    for n in 0..1_000 {
        let connect = Connect { keep_alive_s: 60, ..hello(&format!("d{n}")) };
        streams.push(Device::connect(&broker, connect).await.into_stream());
    }
    // The other end of each socket is in this process as well, and is counted.
    let each = (held_bytes() - before) / 1_000;
    println!("an idle connection: {each} bytes");
    assert!(each <= 4 * 1024, "{each}");
}

#[tokio::test]
async fn a_burst_of_large_messages_leaves_nothing_behind() {
    let _turn = TURN.lock().await;
    let broker = broker().await;
    let mut reader = Device::v5(&broker, "reader").await;
    reader.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(message("a", "x", QoS::AtLeastOnce)).await;
    reader.message().await;
    let before = held_bytes();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for _ in 0..3 {
            writer.publish(message("a", vec![b'x'; 4 * 1024 * 1024], qos)).await;
            assert_eq!(reader.message().await.payload.len(), 4 * 1024 * 1024);
        }
    }
    reader.ping().await;
    writer.ping().await;
    // The devices of this test keep their own input; theirs goes with them.
    drop((reader, writer));
    until_at_most("after the burst", before + 1024 * 1024).await;
}

#[tokio::test]
async fn sessions_that_come_and_go_leave_nothing_behind() {
    let _turn = TURN.lock().await;
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut come_and_go = async |rounds: usize| {
        for n in 0..rounds {
            let mut connect = if n % 2 == 0 { hello("") } else { durable("d") };
            connect.will = Some(will("w", b"x"));
            let mut device = Device::connect(&broker, connect).await;
            let root = if n % 2 == 0 { "a" } else { "b" };
            device.subscribe(&format!("{root}/+/x"), QoS::AtLeastOnce).await;
            // In even rounds unfinished in both directions, and never finished.
            writer.publish(message(&format!("{root}/y/x"), "x", QoS::AtLeastOnce)).await;
            if n % 2 == 0 {
                let id = Some(device.new_id());
                let publish = message("q", "x", QoS::ExactlyOnce);
                device.send(&Packet::Publish(Publish { packet_id: id, ..publish })).await;
                while !matches!(device.receive().await, Packet::PubRec(_)) {}
            } else {
                device.payloads(1).await;
                device.ping().await;
            }
            device.cut();
            until("it is gone", || broker.statistics().connections == 1).await;
        }
    };
    come_and_go(100).await;
    let before = held_bytes();
    come_and_go(500).await;
    until_at_most("after 500 more", before + 64 * 1024).await;
    assert_eq!(broker.statistics().sessions, 2);
}

#[tokio::test]
async fn sockets_that_declare_a_packet_and_stall_cost_next_to_nothing_and_are_closed_in_time() {
    let _turn = TURN.lock().await;
    // Both ends of each socket are in this process, which may have 20,000 open files on a small machine.
    const SOCKETS: usize = 5_000;
    let deadline = Duration::from_secs(10);
    let broker = broker_with(options().connect_deadline(deadline).packet_bytes_max(u32::MAX)).await;
    let address = address(&broker);
    let mut streams = Vec::with_capacity(SOCKETS);
    let before = held_bytes();
    let begun = Instant::now();
    for _ in 0..SOCKETS {
        let mut device = Device::dial(address).await;
        device.send_bytes(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0]).await;
        streams.push(device);
    }
    until("all bytes have been read", || broker.statistics().bytes_received == 6 * SOCKETS as u64).await;
    assert_eq!(broker.statistics().connections, SOCKETS as u64);
    let each = (held_bytes() - before) / SOCKETS;
    println!("a stalled socket: {each} bytes");
    assert!(each < 4 * 1024, "{each}");
    for mut device in streams {
        device.end().await;
    }
    assert!(begun.elapsed() < deadline + Duration::from_secs(10), "{:?}", begun.elapsed());
    until("all are gone", || broker.statistics().connections == 0).await;
}
