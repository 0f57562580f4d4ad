//! What is acknowledged survives a power cut, and nothing is acknowledged that does not.

use crosspoint_broker::BrokerOptions;
use crosspoint_protocol::{
    QoS, ReasonCode, Version,
    packet::{Ack, Connect, Packet, Publish},
};

use crate::{rig::Rig, support::*};

/// A device with a durable session that has subscribed and left.
async fn absent(rig: &Rig, client_id: &str, filter: &str) {
    let mut device = Device::connect(&rig.broker, durable(client_id)).await;
    device.subscribe(filter, QoS::ExactlyOnce).await;
    device.leave().await;
}

async fn send(device: &mut Device, name: &str, payload: &str, qos: QoS) -> Publish {
    let packet_id = Some(device.new_id());
    let publish = Publish { packet_id, ..message(name, payload.to_owned(), qos) };
    device.send(&Packet::Publish(publish.clone())).await;
    publish
}

/// Asserts that the next thing the broker says is an answer to a ping: nothing that was asked before is answered.
async fn is_owed(device: &mut Device) {
    device.send(&Packet::PingReq).await;
    assert_eq!(device.receive().await, Packet::PingResp);
}

#[tokio::test]
async fn what_is_acknowledged_for_an_absent_session_survives_a_power_cut() {
    let rig = Rig::new().await;
    absent(&rig, "d", "a/#").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    let mut expected = Vec::new();
    for n in 0..50 {
        let qos = if n % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        writer.publish(message(&format!("a/{n}"), n.to_string(), qos)).await;
        expected.push((format!("a/{n}"), n.to_string(), qos));
    }
    let rig = rig.cut_power().await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    assert!(device.session_present());
    for expected in &expected {
        let got = device.message().await;
        assert_eq!((name(&got).to_owned(), text(&got).to_owned(), got.qos), *expected);
    }
    device.hears_nothing().await;
    // What was taken does not come again.
    device.leave().await;
    let rig = rig.restart_with(options()).await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.hears_nothing().await;
    assert_eq!(rig.broker.statistics().stored_messages, 0);
}

#[tokio::test]
async fn sessions_of_every_version_survive_with_their_subscriptions() {
    let rig = Rig::new().await;
    for version in VERSIONS {
        let mut connect = Connect { version, ..durable(&format!("d{version}")) };
        connect.properties = if version.is_v5() { connect.properties } else { Default::default() };
        let mut device = Device::connect(&rig.broker, connect).await;
        device.subscribe("gone", QoS::AtLeastOnce).await;
        device.subscribe("a/+", QoS::AtLeastOnce).await;
        device.unsubscribe("gone").await;
    }
    let rig = rig.cut_power().await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    assert_eq!(
        writer.publish(message("gone", "x", QoS::AtLeastOnce)).await,
        ReasonCode::NoMatchingSubscribers
    );
    writer.publish(message("a/b", "x", QoS::AtLeastOnce)).await;
    for version in VERSIONS {
        let mut connect = Connect { version, ..durable(&format!("d{version}")) };
        connect.properties = if version.is_v5() { connect.properties } else { Default::default() };
        let mut device = Device::connect(&rig.broker, connect).await;
        assert_eq!(device.session_present(), version != Version::V3_1);
        assert_eq!(device.payloads(1).await, ["x"]);
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_synced() {
    let rig = Rig::new().await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    rig.hold().await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        send(&mut writer, "a", "lost", qos).await;
        is_owed(&mut writer).await;
    }
    // QoS 0, and what nobody keeps, is not held back.
    let mut nobody = Device::v5(&rig.broker, "nobody").await;
    assert_eq!(nobody.publish(message("b", "x", QoS::AtLeastOnce)).await, ReasonCode::NoMatchingSubscribers);
    let rig = rig.cut_power().await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.hears_nothing().await;
}

#[tokio::test]
async fn what_was_held_back_is_answered_in_its_order_once_it_is_synced() {
    let rig = Rig::new().await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    rig.hold().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(send(&mut writer, "a", &n.to_string(), QoS::AtLeastOnce).await.packet_id.unwrap());
    }
    is_owed(&mut writer).await;
    rig.release();
    for id in ids {
        assert_eq!(writer.receive().await, Packet::PubAck(Ack::new(id, ReasonCode::Success)));
    }
}

#[tokio::test]
async fn subscribing_connecting_and_leaving_a_topic_are_answered_when_they_are_synced() {
    let rig = Rig::new().await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    rig.hold().await;
    device.send_subscribe("a", at(QoS::AtLeastOnce), None).await;
    is_owed(&mut device).await;
    // A message at QoS 0 comes after SUBACK.
    writer.publish(message("a", "x", QoS::AtMostOnce)).await;
    is_owed(&mut device).await;
    rig.let_one();
    assert!(matches!(device.receive().await, Packet::SubAck(_)));
    assert_eq!(device.payloads(1).await, ["x"]);
    device.send_unsubscribe("a").await;
    is_owed(&mut device).await;
    rig.let_one();
    assert!(matches!(device.receive().await, Packet::UnsubAck(_)));
    let other = address(&rig.broker);
    let connecting = tokio::spawn(async move { Device::try_connect(other, durable("other")).await });
    until("the session is there", || rig.broker.statistics().sessions == 3).await;
    writer.ping().await;
    assert!(!connecting.is_finished());
    rig.let_one();
    assert!(within("CONNACK", connecting).await.unwrap().connack.is_some());
}

#[tokio::test]
async fn an_unsubscribed_topic_that_was_on_its_way_does_not_arrive_after_unsuback() {
    let rig = Rig::new().await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    device.subscribe("b", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    rig.hold().await;
    send(&mut writer, "a", "unwanted", QoS::AtLeastOnce).await;
    send(&mut writer, "b", "wanted", QoS::AtLeastOnce).await;
    is_owed(&mut writer).await;
    device.send_unsubscribe("a").await;
    is_owed(&mut device).await;
    rig.release();
    assert!(matches!(device.answer().await, Packet::UnsubAck(_)));
    device.ping().await;
    let got = device.forget_inbox();
    assert!(got <= 1);
    let statistics = rig.broker.statistics();
    assert_eq!((statistics.dropped_unsubscribed, statistics.stored_messages), (1, 0));
}

#[tokio::test]
async fn retained_messages_survive_set_replaced_and_cleared() {
    let rig = Rig::new().await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    for (topic, payload) in [("r/1", "old"), ("r/1", "new"), ("r/2", "x"), ("r/3", "y"), ("r/2", "")] {
        writer.publish(retained(topic, payload, QoS::AtLeastOnce)).await;
    }
    let rig = rig.cut_power().await;
    assert_eq!(rig.broker.statistics().retained_messages, 2);
    let mut device = Device::v5(&rig.broker, "d").await;
    device.subscribe("r/#", QoS::AtLeastOnce).await;
    let mut got: Vec<_> = [device.message().await, device.message().await]
        .iter()
        .map(|got| (name(got).to_owned(), text(got).to_owned(), got.retain))
        .collect();
    got.sort();
    assert_eq!(got, [("r/1".into(), "new".into(), true), ("r/3".into(), "y".into(), true)]);
}

#[tokio::test]
async fn a_retained_message_at_qos_0_is_kept_soon_and_one_that_expired_is_not() {
    let at_noon = || options().wall_clock_ms(1_700_000_000_000);
    let rig = Rig::with(Default::default(), at_noon()).await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish(retained("r/0", "x", QoS::AtMostOnce)).await;
    writer.publish(expiring(retained("r/short", "x", QoS::AtLeastOnce), 60)).await;
    writer.publish(expiring(retained("r/long", "x", QoS::AtLeastOnce), 600)).await;
    until("it is written", || rig.store.value(6, b"r/0").is_some()).await;
    let rig = rig.restart_with(options().wall_clock_ms(1_700_000_000_000 + 61_000)).await;
    assert_eq!(rig.broker.statistics().retained_messages, 2);
    until("it is gone", || rig.store.value(6, b"r/short").is_none()).await;
}

fn later(seconds: u64) -> BrokerOptions {
    options().wall_clock_ms(1_700_000_000_000 + seconds * 1_000)
}

#[tokio::test]
async fn a_session_whose_time_was_over_meanwhile_does_not_come_back() {
    let rig = Rig::with(Default::default(), later(0)).await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish(message("a", "x", QoS::AtLeastOnce)).await;
    let rig = rig.restart_with(later(3_500)).await;
    assert_eq!(rig.broker.statistics().stored_sessions, 1, "its hour is not over");
    let rig = rig.restart_with(later(3_700)).await;
    assert_eq!((rig.broker.statistics().sessions, rig.broker.statistics().subscriptions), (0, 0));
    until("it is gone", || {
        (1..=4).all(|table| rig.store.scan(table, None, 1).is_empty()) && rig.store.queues().is_empty()
    })
    .await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    assert!(!device.session_present());
    device.hears_nothing().await;
}

#[tokio::test]
async fn a_clock_that_lost_the_time_expires_nothing() {
    let rig = Rig::with(Default::default(), later(0)).await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish(expiring(message("a", "x", QoS::AtLeastOnce), 60)).await;
    writer.publish(expiring(retained("r", "x", QoS::AtLeastOnce), 60)).await;
    // A board without a battery begins in 1970, and learns the time in 2030.
    for wall_ms in [5_000, 1_900_000_000_000] {
        let other = options().wall_clock_ms(wall_ms);
        let rig = Rig::with(rig.disk.after_total_loss(), other).await;
        assert_eq!(rig.broker.statistics().retained_messages, 1);
        let mut device = Device::connect(&rig.broker, durable("d")).await;
        assert!(device.session_present());
        let got = device.message().await;
        let left_s = got.properties.message_expiry_s().unwrap();
        // What the clock said last is known to the minute.
        assert!((1..=120).contains(&left_s), "{left_s}");
    }
}

#[tokio::test]
async fn a_clean_start_takes_everything_out_of_the_store() {
    let rig = Rig::new().await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish(message("a", "x", QoS::ExactlyOnce)).await;
    let mut device = Device::connect(&rig.broker, hello("d")).await;
    assert!(!device.session_present());
    device.hears_nothing().await;
    let rig = rig.cut_power().await;
    assert!((1..=5).all(|table| rig.store.scan(table, None, 1).is_empty()));
    assert!(rig.store.queues().is_empty());
    assert_eq!(rig.broker.statistics().sessions, 0);
}

#[tokio::test]
async fn a_message_on_its_way_to_a_session_that_ends_leaves_no_queue_behind() {
    let rig = Rig::new().await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    rig.hold().await;
    send(&mut writer, "a", "1", QoS::AtLeastOnce).await;
    is_owed(&mut writer).await;
    // Its successor waits for the disk as well.
    let to = address(&rig.broker);
    let connecting = tokio::spawn(async move { Device::try_connect(to, hello("d")).await });
    until("the old one is gone", || rig.broker.statistics().stored_sessions == 0).await;
    rig.release();
    within("CONNACK", connecting).await.unwrap();
    until("nothing is left", || rig.store.queues().is_empty()).await;
}

#[tokio::test]
async fn ten_thousand_waiting_messages_come_from_the_disk_in_order() {
    let rig = Rig::new().await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish_numbers("a", 0..10_000).await;
    assert_eq!(rig.broker.statistics().stored_messages, 10_000);
    for _ in 0..2 {
        // Not all of them at once: the session goes on where it was.
        let mut device = Device::connect(&rig.broker, durable("d")).await;
        let next = device.unanswered().await;
        device.cut();
        drop(next);
    }
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    for n in 0..10_000 {
        assert_eq!(text(&device.message().await), n.to_string());
    }
    device.hears_nothing().await;
    assert_eq!(rig.broker.statistics().stored_messages, 0);
}

#[tokio::test]
async fn a_full_queue_drops_its_oldest_on_disk_too() {
    let limits = crosspoint_broker::QueueLimits::default().messages(2_000);
    let rig = Rig::with(Default::default(), options().queue(limits)).await;
    absent(&rig, "d", "a").await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish_numbers("a", 0..3_000).await;
    let statistics = rig.broker.statistics();
    assert_eq!((statistics.stored_messages, statistics.dropped_queue_full), (2_000, 1_000));
    let rig = rig.restart_with(options().queue(limits)).await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    for n in 1_000..3_000 {
        assert_eq!(text(&device.message().await), n.to_string());
    }
    device.hears_nothing().await;
}

#[tokio::test]
async fn without_a_wait_for_the_disk_sessions_live_as_long_as_the_process() {
    let rig = Rig::new().await;
    let to = rig.broker.address("memory").unwrap();
    absent(&rig, "kept", "a").await;
    let mut fleeting = Device::try_connect(to, durable("fleeting")).await;
    rig.hold().await;
    fleeting.subscribe("a", QoS::AtLeastOnce).await;
    // It goes to the session of the other listener all the same, and the answer does not wait.
    assert_eq!(fleeting.publish(message("a", "x", QoS::AtLeastOnce)).await, ReasonCode::Success);
    assert_eq!(fleeting.payloads(1).await, ["x"]);
    rig.release();
    until("it is stored", || rig.broker.statistics().stored_messages == 1).await;
    let rig = rig.kill().await;
    assert_eq!(rig.broker.statistics().stored_sessions, 1);
    let mut device = Device::connect(&rig.broker, durable("kept")).await;
    assert_eq!(device.payloads(1).await, ["x"]);
}

#[tokio::test]
async fn what_is_only_written_survives_the_end_of_the_process() {
    let rig = Rig::new().await;
    absent(&rig, "d", "a").await;
    let (_, syncs) = rig.disk.counts();
    let mut writer = Device::try_connect(rig.broker.address("written").unwrap(), hello("writer")).await;
    for n in 0..10 {
        writer.publish(message("a", n.to_string(), QoS::AtLeastOnce)).await;
    }
    assert!(rig.disk.counts().1 <= syncs + 2, "nobody waited for a sync");
    let rig = rig.kill().await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    assert_eq!(device.payloads(10).await.len(), 10);
}

#[tokio::test]
async fn retained_messages_that_a_new_subscription_gets_survive_with_it() {
    let rig = Rig::new().await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    for n in 0..3 {
        writer.publish(retained(&format!("r/{n}"), n.to_string(), QoS::AtLeastOnce)).await;
    }
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    device.subscribe_with("r/+", at(QoS::ExactlyOnce), Some(5)).await;
    device.cut();
    let rig = rig.cut_power().await;
    let mut writer = Device::v5(&rig.broker, "writer").await;
    writer.publish(message("r/0", "live", QoS::AtLeastOnce)).await;
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    let mut got = Vec::new();
    for _ in 0..4 {
        let publish = device.message().await;
        got.push((text(&publish).to_owned(), publish.retain));
    }
    assert_eq!(got.pop(), Some(("live".to_owned(), false)), "live ones come behind");
    got.sort();
    assert_eq!(got, [("0".into(), true), ("1".into(), true), ("2".into(), true)]);
    device.hears_nothing().await;
}

#[tokio::test]
async fn a_client_that_goes_before_its_connack_is_on_disk_leaves_its_session_to_the_next() {
    // While a client is being let in nothing is read: that it has gone is noticed at the deadline.
    let deadline = std::time::Duration::from_secs(2);
    let rig = Rig::with(Default::default(), options().connect_deadline(deadline)).await;
    absent(&rig, "d", "a").await;
    rig.hold().await;
    for connect in [durable("d"), durable("new")] {
        let mut device = Device::dial(address(&rig.broker)).await;
        device.send(&Packet::Connect(Box::new(connect))).await;
        let sessions = || rig.broker.statistics().sessions;
        until("it is being let in", || rig.broker.statistics().connections == 1 && sessions() != 0).await;
        device.cut();
        until("it is gone", || rig.broker.statistics().connections == 0).await;
    }
    rig.release();
    let mut device = Device::connect(&rig.broker, durable("d")).await;
    assert!(device.session_present());
    device.publish(message("a", "x", QoS::ExactlyOnce)).await;
    assert_eq!(device.payloads(1).await, ["x"]);
    let mut new = Device::connect(&rig.broker, durable("new")).await;
    new.ping().await;
}
