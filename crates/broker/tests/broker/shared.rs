//! Shared Subscriptions.

use std::collections::HashMap;

use crosspoint_protocol::QoS;

use crate::support::*;

async fn member(broker: &crosspoint_broker::Broker, name: &str) -> Device {
    let mut device = Device::v5(broker, name).await;
    device.subscribe("$share/g/a/#", QoS::AtLeastOnce).await;
    device
}

#[tokio::test]
async fn members_take_turns() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let broker = broker().await;
        let mut members = Vec::new();
        for n in 0..3 {
            members.push(member(&broker, &format!("m{n}")).await);
        }
        let mut writer = Device::v5(&broker, "writer").await;
        for n in 0..30 {
            writer.publish(message("a/b", n.to_string(), qos)).await;
        }
        let mut all: Vec<u32> = Vec::new();
        for device in &mut members {
            let mine: Vec<u32> = device.payloads(10).await.iter().map(|text| text.parse().unwrap()).collect();
            assert!(mine.is_sorted());
            device.hears_nothing().await;
            all.extend(mine);
        }
        all.sort_unstable();
        assert_eq!(all, (0..30).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn groups_and_plain_subscriptions_each_get_their_own() {
    let broker = broker().await;
    let mut both = member(&broker, "both").await;
    let mut other = Device::v5(&broker, "other").await;
    other.subscribe("$share/h/a/+", QoS::AtLeastOnce).await;
    let mut plain = Device::v5(&broker, "plain").await;
    plain.subscribe("a/b", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..10 {
        writer.publish(message("a/b", n.to_string(), QoS::AtLeastOnce)).await;
    }
    for device in [&mut both, &mut other, &mut plain] {
        assert_eq!(device.payloads(10).await.len(), 10);
        device.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_member_that_also_subscribed_plainly_gets_one_of_each() {
    let broker = broker().await;
    let mut device = member(&broker, "one").await;
    device.subscribe("a/b", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(message("a/b", "1", QoS::AtLeastOnce)).await;
    // One for the group and one for itself: they are two Subscriptions of two subscribers [MQTT-4.8.2-4].
    assert_eq!(device.payloads(2).await, ["1", "1"]);
    device.hears_nothing().await;
    // With another member in the group, that one's turn does not come here as well.
    let mut second = member(&broker, "two").await;
    for _ in 0..2 {
        writer.publish(message("a/b", "2", QoS::AtLeastOnce)).await;
    }
    assert_eq!(device.payloads(3).await.len(), 3);
    assert_eq!(second.payloads(1).await, ["2"]);
    device.hears_nothing().await;
    second.hears_nothing().await;
}

#[tokio::test]
async fn absent_members_are_passed_over_and_the_others_share_evenly() {
    let broker = broker().await;
    let mut away = Device::connect(&broker, durable("away")).await;
    away.subscribe("$share/g/a/#", QoS::AtLeastOnce).await;
    let mut here = HashMap::new();
    for name in ["one", "two"] {
        here.insert(name, member(&broker, name).await);
    }
    away.leave().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..30 {
        writer.publish(message("a/b", n.to_string(), QoS::AtLeastOnce)).await;
    }
    for device in here.values_mut() {
        assert_eq!(device.payloads(15).await.len(), 15);
        device.hears_nothing().await;
    }
    let mut away = Device::connect(&broker, durable("away")).await;
    away.hears_nothing().await;
}

#[tokio::test]
async fn while_all_are_absent_one_of_them_keeps_the_message() {
    let broker = broker().await;
    for name in ["one", "two"] {
        let mut device = Device::connect(&broker, durable(name)).await;
        device.subscribe("$share/g/a", QoS::AtLeastOnce).await;
        device.leave().await;
    }
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..10 {
        writer.publish(message("a", n.to_string(), QoS::AtLeastOnce)).await;
    }
    let mut all = Vec::new();
    for name in ["one", "two"] {
        let mut device = Device::connect(&broker, durable(name)).await;
        all.extend(device.payloads(5).await);
        device.hears_nothing().await;
    }
    all.sort_unstable();
    assert_eq!(all, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_member_that_accepts_no_packet_so_large_is_passed_over() {
    let broker = broker().await;
    let mut connect = hello("small");
    connect.properties.maximum_packet_bytes = Some(100);
    let mut small = Device::connect(&broker, connect).await;
    small.subscribe("$share/g/a/#", QoS::AtLeastOnce).await;
    let mut large = member(&broker, "large").await;
    let mut writer = Device::v5(&broker, "writer").await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        for _ in 0..4 {
            writer.publish(message("a/b", "x".repeat(200), qos)).await;
        }
        assert_eq!(large.payloads(4).await.len(), 4);
    }
    small.hears_nothing().await;
    assert_eq!(broker.statistics().dropped_too_large, 0);
}

#[tokio::test]
async fn leaving_a_group_ends_it_for_that_member_only() {
    let broker = broker().await;
    let mut one = member(&broker, "one").await;
    let mut two = member(&broker, "two").await;
    one.unsubscribe("$share/g/a/#").await;
    let mut writer = Device::v5(&broker, "writer").await;
    for _ in 0..4 {
        writer.publish(message("a/b", "1", QoS::AtLeastOnce)).await;
    }
    assert_eq!(two.payloads(4).await.len(), 4);
    one.hears_nothing().await;
    assert_eq!(broker.statistics().subscriptions, 1);
}
