//! Start, stop, listeners, and who is let in at all.

use std::time::{Duration, Instant};

use crosspoint_broker::{Broker, Durability, ListenerOptions, StartError, Workers};
use crosspoint_net::{ListenOptions, Stream, Transport};
use crosspoint_protocol::{
    QoS, ReasonCode, Version,
    packet::{Connect, Packet},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[tokio::test]
async fn stopping_tells_every_client_and_ends_in_time() {
    for workers in [Workers::Here, Workers::Threads(2)] {
        let broker = broker_with(options().workers(workers).stop_deadline(Duration::from_secs(2))).await;
        let mut five = Device::v5(&broker, "five").await;
        let mut three =
            Device::connect(&broker, Connect { version: Version::V3_1_1, ..hello("three") }).await;
        let mut silent = Device::dial(address(&broker)).await;
        let mut stalled = Device::v5(&broker, "stalled").await;
        stalled.subscribe("a", QoS::AtMostOnce).await;
        for _ in 0..100 {
            five.publish(message("a", vec![b'x'; 100_000], QoS::AtMostOnce)).await;
        }
        let address = address(&broker);
        let begun = Instant::now();
        let stopping = tokio::spawn(broker.stop());
        assert_eq!(five.end_reason().await, ReasonCode::ServerShuttingDown);
        assert_eq!(three.end().await, None);
        drop((five, three));
        within("the end", stopping).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert_eq!(silent.end().await, None);
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn stopping_with_nobody_there_takes_no_time() {
    let broker = broker_with(options().stop_deadline(Duration::from_secs(3_600))).await;
    Device::v5(&broker, "d").await.leave().await;
    within("the end", broker.stop()).await;
}

#[tokio::test]
async fn dropping_a_broker_cuts_everybody() {
    for workers in [Workers::Here, Workers::Threads(2)] {
        let broker = broker_with(options().workers(workers)).await;
        let mut member = Device::v5(&broker, "member").await;
        let mut silent = Device::dial(address(&broker)).await;
        let handle = broker.handle();
        until("both are there", || handle.connections() == 2).await;
        drop(broker);
        member.end().await;
        silent.end().await;
        until("none is left", || handle.connections() == 0).await;
    }
}

#[test]
fn everything_runs_on_the_runtime_of_the_caller_if_that_is_asked_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = broker_with(options().workers(Workers::Here)).await;
        let mut reader = Device::v5(&broker, "reader").await;
        let mut writer = Device::v5(&broker, "writer").await;
        reader.subscribe("a", QoS::ExactlyOnce).await;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            writer.publish(message("a", "x", qos)).await;
            assert_eq!(reader.message().await.qos, qos);
        }
        drop((reader, writer));
        within("the end", broker.stop()).await;
    });
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once_and_places_are_given_back() {
    let broker = broker_with(options().connections_max(3)).await;
    let mut devices = Vec::new();
    for n in 0..3 {
        devices.push(Device::v5(&broker, &format!("d{n}")).await);
    }
    for _ in 0..5 {
        assert_eq!(Device::dial(address(&broker)).await.end().await, None);
    }
    assert_eq!(broker.statistics().connections, 3);
    assert_eq!(broker.statistics().connections_refused, 5);
    for device in devices {
        device.leave().await;
    }
    until("the places are free", || broker.statistics().connections == 0).await;
    Device::v5(&broker, "again").await.ping().await;
}

#[tokio::test]
async fn anonymous_clients_stay_out_where_they_are_not_allowed() {
    let listener =
        ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, loopback())).anonymous(false);
    let broker = Broker::builder().options(options()).listener(listener).start().await.unwrap();
    for version in VERSIONS {
        let device = Device::try_connect(address(&broker), Connect { version, ..hello("d") }).await;
        assert_eq!(device.connack.unwrap().reason, ReasonCode::NotAuthorized);
    }
    assert_eq!(broker.statistics().connections_refused, 3);
    broker.set_anonymous("main", true);
    Device::v5(&broker, "d").await.ping().await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_opened_is_named_and_nothing_runs() {
    let first = broker().await;
    let options = ListenOptions::new(Transport::Tcp, address(&first));
    let second = Broker::builder().listener(ListenerOptions::new("taken", options)).start().await;
    match second {
        Err(StartError::Listen { name, .. }) => assert_eq!(name, "taken"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn listeners_come_and_go_and_take_their_connections_with_them() {
    let mut broker = broker().await;
    let second = ListenerOptions::new("second", ListenOptions::new(Transport::Tcp, loopback()));
    broker.add_listener(second).await.unwrap();
    let its_address = broker.address("second").unwrap();
    let mut first = Device::v5(&broker, "first").await;
    let mut other = Device::try_connect(its_address, durable("other")).await;
    other.subscribe("a", QoS::AtLeastOnce).await;
    assert!(broker.remove_listener("second").await);
    assert!(!broker.remove_listener("second").await);
    other.end().await;
    first.ping().await;
    assert!(tokio::net::TcpStream::connect(its_address).await.is_err());
    assert!(Device::connect(&broker, durable("other")).await.session_present(), "sessions stay");
}

#[tokio::test]
async fn sys_topics_tell_what_is_going_on() {
    let broker = broker_with(options().sys_interval(Some(Duration::from_millis(20)))).await;
    let mut device = Device::v5(&broker, "d").await;
    device.subscribe("$SYS/broker/clients/connected", QoS::AtMostOnce).await;
    within("a count that includes us", async { while text(&device.message().await) != "1" {} }).await;
    let second = Device::v5(&broker, "e").await;
    within("a count that includes the other", async { while text(&device.message().await) != "2" {} }).await;
    second.leave().await;
    within("a count without it", async { while text(&device.message().await) != "1" {} }).await;
    device.unsubscribe("$SYS/broker/clients/connected").await;
    let mut reader = Device::v5(&broker, "f").await;
    reader.subscribe("$SYS/broker/+", QoS::AtMostOnce).await;
    let mut names = std::collections::HashSet::new();
    for _ in 0..2 {
        names.insert(name(&reader.message().await).to_owned());
    }
    assert!(names.contains("$SYS/broker/version") && names.contains("$SYS/broker/uptime"), "{names:?}");
}

#[tokio::test]
async fn time_limits_beyond_reason_are_no_reason_to_fall_over() {
    let forever = Duration::MAX;
    let options = options().connect_deadline(forever).sys_interval(Some(forever)).stop_deadline(forever);
    let broker = broker_with(options).await;
    let mut device = Device::v5(&broker, "d").await;
    device.send(&Packet::PingReq).await;
    device.leave().await;
    broker.stop().await;
}

#[tokio::test]
async fn a_stream_that_was_opened_elsewhere_is_served_like_any() {
    let broker = broker_with(options().workers(Workers::Here)).await;
    let (near, mut far) = tokio::io::duplex(1_024);
    broker.serve_stream(Stream::given(near, loopback()), Durability::Synced);
    far.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01d").await.unwrap();
    let mut connack = [0; 4];
    within("CONNACK", far.read_exact(&mut connack)).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    assert_eq!(broker.handle().connections(), 1);
    within("the end", broker.stop()).await;
    within("the end of the stream", far.read(&mut connack)).await.unwrap();
}
