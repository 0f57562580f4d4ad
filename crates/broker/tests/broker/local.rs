//! Clients without a socket.

use crosspoint_broker::{LocalOptions, LocalRefused};
use crosspoint_protocol::{QoS, ReasonCode, packet::PublishProperties};

use crate::support::*;

async fn open(broker: &crosspoint_broker::Broker, options: LocalOptions) -> crosspoint_broker::LocalClient {
    broker.connect_local(options).await.unwrap()
}

fn payload(delivery: &crosspoint_broker::LocalDelivery) -> &str {
    std::str::from_utf8(delivery.message.payload()).unwrap()
}

#[tokio::test]
async fn they_talk_with_devices_both_ways() {
    let broker = broker().await;
    let local = open(&broker, LocalOptions::new("local")).await;
    local.subscribe(&filter("up/#"), at(QoS::ExactlyOnce), 7);
    let mut device = Device::v5(&broker, "device").await;
    device.subscribe("down/#", QoS::ExactlyOnce).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        device.publish(message("up/a", "u", qos)).await;
        let got = within("a message", local.next()).await.unwrap();
        assert_eq!((got.message.topic(), payload(&got), got.qos), ("up/a", "u", qos));
        assert_eq!((got.retain, got.subscription_ids), (false, vec![7]));
        let is_wanted = local.publish(topic("down/a"), "d".into(), qos, false, PublishProperties::default());
        assert_eq!(is_wanted, Ok(true));
        assert_eq!(device.message().await.qos, qos);
    }
    let is_wanted =
        local.publish(topic("nobody"), "d".into(), QoS::AtLeastOnce, false, PublishProperties::default());
    assert_eq!(is_wanted, Ok(false));
}

#[tokio::test]
async fn what_is_put_back_comes_next() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..3 {
        writer.publish(retained(&format!("a/{n}"), "kept", QoS::AtLeastOnce)).await;
    }
    let local = open(&broker, LocalOptions::new("local")).await;
    local.subscribe(&filter("a/#"), at(QoS::AtLeastOnce), 0);
    writer.publish(message("a/live", "live", QoS::AtLeastOnce)).await;
    for _ in 0..3 {
        let first = local.next().await.unwrap();
        let name = first.message.topic().to_owned();
        local.put_back(first);
        assert_eq!(local.next().await.unwrap().message.topic(), name);
    }
    let live = local.next().await.unwrap();
    local.put_back(live);
    assert_eq!(payload(&local.next().await.unwrap()), "live");
}

#[tokio::test]
async fn a_session_that_goes_on_keeps_everything_that_was_not_taken_in_order() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(retained("a", "0", QoS::AtLeastOnce)).await;
    let durable = || LocalOptions::new("local").session_expiry_s(60);
    let local = open(&broker, durable()).await;
    assert!(!local.session_present());
    local.subscribe(&filter("a"), at(QoS::AtLeastOnce), 0);
    writer.publish(message("a", "1", QoS::AtLeastOnce)).await;
    let taken = local.next().await.unwrap();
    local.put_back(taken);
    drop(local);
    writer.publish(message("a", "2", QoS::AtLeastOnce)).await;
    writer.publish(message("a", "not kept", QoS::AtMostOnce)).await;
    let local = open(&broker, durable()).await;
    assert!(local.session_present());
    for expected in ["0", "1", "2"] {
        assert_eq!(payload(&within("a message", local.next()).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn a_device_of_the_same_name_is_somebody_else() {
    let broker = broker().await;
    let mut squatter = Device::v5(&broker, "flow").await;
    let local = open(&broker, LocalOptions::new("flow").session_expiry_s(60)).await;
    local.subscribe(&filter("secret"), at(QoS::AtLeastOnce), 0);
    squatter.ping().await;
    let mut thief = Device::connect(&broker, durable("flow")).await;
    assert!(!thief.session_present());
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(message("secret", "x", QoS::AtLeastOnce)).await;
    assert_eq!(payload(&local.next().await.unwrap()), "x");
    thief.hears_nothing().await;
    drop(local);
    let offline = Device::connect(&broker, durable("flow")).await;
    assert!(offline.session_present(), "its own session, not the other one");
}

#[tokio::test]
async fn a_second_one_of_the_same_name_takes_over_once_the_first_has_gone() {
    let broker = broker().await;
    let first = open(&broker, LocalOptions::new("local")).await;
    let handle = broker.handle();
    let second = tokio::spawn(async move { handle.connect_local(LocalOptions::new("local")).await });
    let closed = within("the first is told", first.next()).await.unwrap_err();
    assert_eq!(closed.0, ReasonCode::SessionTakenOver);
    drop(first);
    let second: Result<_, LocalRefused> = within("the second is let in", second).await.unwrap();
    assert!(second.is_ok());
}

#[tokio::test]
async fn what_has_expired_is_not_handed_out_and_what_is_unsubscribed_neither() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let local = open(&broker, LocalOptions::new("local")).await;
    local.subscribe(&filter("#"), at(QoS::AtLeastOnce), 0);
    local.subscribe(&filter("a"), at(QoS::AtLeastOnce), 0);
    writer.publish(expiring(message("a", "brief", QoS::AtLeastOnce), 0)).await;
    writer.publish(message("b", "gone", QoS::AtLeastOnce)).await;
    writer.publish(message("a", "here", QoS::AtLeastOnce)).await;
    assert!(local.unsubscribe(&filter("#")));
    assert!(!local.unsubscribe(&filter("#")));
    assert_eq!(payload(&local.next().await.unwrap()), "here");
    let statistics = broker.statistics();
    assert_eq!((statistics.dropped_expired, statistics.dropped_unsubscribed), (1, 1));
    assert_eq!(local.filters(), [filter("a")]);
}

#[tokio::test]
async fn a_broker_that_stops_tells_them() {
    let broker = broker().await;
    let local = open(&broker, LocalOptions::new("local")).await;
    let mut device = Device::v5(&broker, "device").await;
    let (_, closed, _) = tokio::join!(broker.stop(), local.next(), device.end());
    assert_eq!(closed.unwrap_err().0, ReasonCode::ServerShuttingDown);
}
