//! What a Subscription promises: once, at which QoS, with which identifiers, and nothing after its end.

use crosspoint_protocol::{
    QoS, ReasonCode, Version,
    packet::{Connect, Packet, Publish, PublishProperties, PublishPropertyValues, SubscriptionOptions},
};

use crate::support::*;

#[tokio::test]
async fn mqtt_3_3_4_2_overlapping_filters_deliver_once_at_the_highest_qos() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for version in VERSIONS {
        let mut device = Device::connect(&broker, Connect { version, ..hello("d") }).await;
        let id = |n| version.is_v5().then_some(n);
        device.subscribe_with("a/#", at(QoS::AtMostOnce), id(3)).await;
        device.subscribe_with("a/b", at(QoS::ExactlyOnce), id(1)).await;
        device.subscribe_with("+/b", at(QoS::AtLeastOnce), None).await;
        device.subscribe_with("#", at(QoS::AtLeastOnce), id(2)).await;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            writer.publish(message("a/b", "x", qos)).await;
            let got = device.message().await;
            assert_eq!(got.qos, qos);
            let ids: Vec<_> = got.properties.subscription_ids().collect();
            assert_eq!(ids, if version.is_v5() { vec![1, 2, 3] } else { vec![] });
            device.hears_nothing().await;
        }
        // Another topic is matched by fewer.
        writer.publish(message("a/c", "x", QoS::ExactlyOnce)).await;
        assert_eq!(device.message().await.qos, QoS::AtLeastOnce);
        device.hears_nothing().await;
        device.leave().await;
    }
}

#[tokio::test]
async fn mqtt_3_3_4_3_the_one_copy_bears_the_identifiers_of_all_that_match_and_of_no_other() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut device = Device::v5(&broker, "d").await;
    for (n, filter) in ["a/b", "a/+", "+/b", "a/#", "#"].into_iter().enumerate() {
        device.subscribe_with(filter, at(QoS::AtLeastOnce), Some(n as u32 + 1)).await;
    }
    for (topic, expected) in
        [("a/b", vec![1, 2, 3, 4, 5]), ("a", vec![4, 5]), ("a/c", vec![2, 4, 5]), ("c", vec![5])]
    {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            writer.publish(message(topic, "x", qos)).await;
            let got = device.message().await;
            assert_eq!(got.properties.subscription_ids().collect::<Vec<_>>(), expected, "{topic}");
        }
    }
    device.hears_nothing().await;
}

#[tokio::test]
async fn others_are_not_disturbed_by_who_overlaps() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut devices = Vec::new();
    for n in 0..40 {
        let mut device = Device::v5(&broker, &format!("d{n}")).await;
        device.subscribe("a/b", QoS::AtLeastOnce).await;
        if n % 2 == 0 {
            device.subscribe("a/+", QoS::ExactlyOnce).await;
        }
        if n % 3 == 0 {
            device.subscribe("#", QoS::AtMostOnce).await;
        }
        devices.push(device);
    }
    writer.publish(message("a/b", "x", QoS::ExactlyOnce)).await;
    for (n, device) in devices.iter_mut().enumerate() {
        let expected = if n % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        assert_eq!(device.message().await.qos, expected);
        device.hears_nothing().await;
    }
}

#[tokio::test]
async fn no_local_leaves_out_what_the_client_published_itself() {
    let broker = broker().await;
    let no_local = SubscriptionOptions { no_local: true, ..at(QoS::AtLeastOnce) };
    let mut device = Device::v5(&broker, "d").await;
    device.subscribe_with("a/#", no_local, Some(1)).await;
    device.publish(message("a/b", "own", QoS::AtLeastOnce)).await;
    device.hears_nothing().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(message("a/b", "other's", QoS::AtLeastOnce)).await;
    assert_eq!(device.payloads(1).await, ["other's"]);
    // A second filter that matches and is not so restricted counts, alone.
    device.subscribe_with("#", at(QoS::AtMostOnce), Some(2)).await;
    device.publish(message("a/b", "own", QoS::AtLeastOnce)).await;
    let got = device.message().await;
    assert_eq!((got.qos, got.properties.subscription_ids().collect::<Vec<_>>()), (QoS::AtMostOnce, vec![2]));
    device.hears_nothing().await;
}

#[tokio::test]
async fn a_bridge_of_3_1_1_hears_nothing_of_its_own_and_keeps_the_retain_flag() {
    let broker = broker().await;
    let connect = Connect { version: Version::V3_1_1, is_bridge: true, ..hello("bridge") };
    let mut bridge = Device::connect(&broker, connect).await;
    bridge.subscribe("#", QoS::AtLeastOnce).await;
    bridge.publish(message("a", "own", QoS::AtLeastOnce)).await;
    bridge.hears_nothing().await;
    Device::v5(&broker, "writer").await.publish(retained("a", "x", QoS::AtLeastOnce)).await;
    assert!(bridge.message().await.retain);
}

#[tokio::test]
async fn subscribing_again_replaces() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut device = Device::v5(&broker, "d").await;
    device.subscribe_with("a", at(QoS::ExactlyOnce), Some(1)).await;
    device.subscribe_with("a", at(QoS::AtMostOnce), Some(2)).await;
    writer.publish(message("a", "x", QoS::ExactlyOnce)).await;
    let got = device.message().await;
    assert_eq!((got.qos, got.properties.subscription_ids().collect::<Vec<_>>()), (QoS::AtMostOnce, vec![2]));
    device.hears_nothing().await;
    assert_eq!(broker.statistics().subscriptions, 1);
    assert_eq!(device.unsubscribe("a").await.reasons, [ReasonCode::Success]);
    assert_eq!(device.unsubscribe("a").await.reasons, [ReasonCode::NoSubscriptionExisted]);
}

#[tokio::test]
async fn wildcards_do_not_match_topics_of_the_system() {
    let broker = broker().await;
    let mut device = Device::v5(&broker, "d").await;
    device.subscribe("#", QoS::AtLeastOnce).await;
    device.subscribe("+/x", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(message("$own/x", "x", QoS::AtLeastOnce)).await;
    device.hears_nothing().await;
    device.subscribe("$own/+", QoS::AtLeastOnce).await;
    writer.publish(message("$own/x", "x", QoS::AtLeastOnce)).await;
    assert_eq!(device.payloads(1).await, ["x"]);
}

#[tokio::test]
async fn the_properties_of_a_message_travel_and_those_of_a_connection_do_not() {
    let broker = broker().await;
    let mut device = Device::v5(&broker, "d").await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    let values = PublishPropertyValues {
        payload_is_utf8: Some(true),
        response_topic: Some("r".into()),
        correlation_data: Some("c".into()),
        content_type: Some("t".into()),
        user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
        ..PublishPropertyValues::default()
    };
    let plain = PublishProperties::from_values(&values).unwrap();
    // With a Topic Alias in front, which must not come through.
    let mut bytes = vec![0x23, 0, 5];
    bytes.extend_from_slice(plain.as_bytes());
    let aliased =
        PublishProperties::from_wire(bytes.into(), crosspoint_protocol::codec::Direction::FromClient);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        writer.publish(Publish { properties: aliased.clone().unwrap(), ..message("a", "x", qos) }).await;
        assert_eq!(device.message().await.properties, plain);
    }
}

#[tokio::test]
async fn topic_aliases_in_both_directions_name_the_right_topic() {
    let broker = broker().await;
    let mut connect = hello("d");
    connect.properties.topic_alias_maximum = Some(2);
    let mut device = Device::connect(&broker, connect).await;
    device.subscribe("t/#", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    let alias = |n: u8| {
        PublishProperties::from_wire(
            vec![0x23, 0, n].into(),
            crosspoint_protocol::codec::Direction::FromClient,
        )
        .unwrap()
    };
    for n in 1..=3u8 {
        let publish = Publish { properties: alias(n), ..message(&format!("t/{n}"), "set", QoS::AtLeastOnce) };
        writer.publish(publish).await;
    }
    for n in [3, 1, 2, 1] {
        writer
            .publish(Publish { topic: None, properties: alias(n), ..message("x", "used", QoS::AtLeastOnce) })
            .await;
    }
    let mut names = Vec::new();
    let mut left_out = 0;
    for _ in 0..7 {
        let Packet::Publish(raw) = device.receive().await else { panic!("a message expected") };
        left_out += usize::from(raw.topic.is_none());
        device.acknowledge(&raw).await;
        names.push((raw.properties.topic_alias(), raw.topic));
    }
    assert!(left_out >= 2, "the broker uses the aliases that the client accepts: {names:?}");
    assert!(names.iter().all(|(alias, _)| alias.is_none_or(|alias| (1..=2).contains(&alias))));
    let mut known = std::collections::HashMap::new();
    let resolved: Vec<_> = names
        .into_iter()
        .map(|(alias, topic)| match (alias, topic) {
            (Some(alias), Some(topic)) => known.entry(alias).insert_entry(topic).get().clone(),
            (Some(alias), None) => known[&alias].clone(),
            (None, topic) => topic.unwrap(),
        })
        .map(|topic| topic.as_str().to_owned())
        .collect();
    assert_eq!(resolved, ["t/1", "t/2", "t/3", "t/3", "t/1", "t/2", "t/1"]);
    // One that the broker did not offer ends the connection.
    writer
        .send(&Packet::Publish(Publish { properties: alias(99), ..message("t/9", "x", QoS::AtMostOnce) }))
        .await;
    assert_eq!(writer.end_reason().await, ReasonCode::TopicAliasInvalid);
}

#[tokio::test]
async fn receive_maximum_of_the_client_is_never_exceeded() {
    let broker = broker().await;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut connect = hello("d");
        connect.properties.receive_maximum = Some(3);
        let mut device = Device::connect(&broker, connect).await;
        device.subscribe("a", qos).await;
        let mut writer = Device::v5(&broker, "writer").await;
        for n in 0..20 {
            writer.publish(message("a", n.to_string(), qos)).await;
        }
        let mut unfinished = std::collections::VecDeque::new();
        for n in 0..20 {
            while unfinished.len() < 3 && unfinished.len() + n < 20 {
                unfinished.push_back(device.unanswered().await);
            }
            device.hears_nothing().await;
            let next: Publish = unfinished.pop_front().unwrap();
            assert_eq!(text(&next), n.to_string());
            device.acknowledge(&next).await;
        }
        device.leave().await;
    }
}

#[tokio::test]
async fn a_packet_that_the_client_does_not_accept_is_dropped_counted_and_wedges_nothing() {
    let broker = broker().await;
    let mut connect = durable("d");
    connect.properties.maximum_packet_bytes = Some(50);
    let mut device = Device::connect(&broker, connect.clone()).await;
    device.subscribe("a", QoS::ExactlyOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut dropped = 0;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for bytes in 30..60 {
            writer.publish(message("a", "x".repeat(bytes), qos)).await;
            let overhead = if qos == QoS::AtMostOnce { 6 } else { 8 };
            if bytes + overhead <= 50 {
                assert_eq!(device.message().await.payload.len(), bytes);
            } else {
                dropped += 1;
            }
        }
        device.hears_nothing().await;
        assert_eq!(broker.statistics().dropped_too_large, dropped);
    }
    // What waits for a client that comes back and accepts less is dropped then.
    device.leave().await;
    writer.publish(message("a", "x".repeat(40), QoS::AtLeastOnce)).await;
    writer.publish(message("a", "small", QoS::AtLeastOnce)).await;
    connect.properties.maximum_packet_bytes = Some(30);
    let mut device = Device::connect(&broker, connect).await;
    assert_eq!(device.payloads(1).await, ["small"]);
    device.hears_nothing().await;
    assert_eq!(broker.statistics().dropped_too_large, dropped + 1);
}

#[tokio::test]
async fn nothing_arrives_after_unsuback() {
    let broker = broker_with(options().workers(crosspoint_broker::Workers::Threads(2))).await;
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let storms: Vec<_> = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
        .into_iter()
        .enumerate()
        .map(|(n, qos)| {
            let (is_over, address) = (is_over.clone(), address(&broker));
            tokio::spawn(async move {
                let mut writer = Device::try_connect(address, hello(&format!("storm-{n}"))).await;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    writer.publish(message("a", "x", qos)).await;
                }
            })
        })
        .collect();
    let mut device = Device::v5(&broker, "d").await;
    let mut heard = 0;
    for _ in 0..200 {
        device.subscribe("a", QoS::ExactlyOnce).await;
        device.message().await;
        device.send_unsubscribe("a").await;
        let mut is_unsubscribed = false;
        device.send(&Packet::PingReq).await;
        device.send(&Packet::PingReq).await;
        let mut pings = 0;
        while pings < 2 {
            match device.receive().await {
                Packet::UnsubAck(_) => is_unsubscribed = true,
                Packet::PingResp => pings += 1,
                Packet::Publish(publish) => {
                    assert!(!is_unsubscribed, "{publish:?} after UNSUBACK");
                    heard += 1;
                    let Some(id) = publish.packet_id else { continue };
                    let ack = crosspoint_protocol::packet::Ack::new(id, ReasonCode::Success);
                    let answer = if publish.qos == QoS::AtLeastOnce {
                        Packet::PubAck(ack)
                    } else {
                        Packet::PubRec(ack)
                    };
                    device.send(&answer).await;
                }
                Packet::PubRel(ack) => device.send(&Packet::PubComp(ack)).await,
                other => panic!("{other:?}"),
            }
        }
        assert!(is_unsubscribed);
        device.forget_inbox();
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    for storm in storms {
        storm.await.unwrap();
    }
    assert!(heard > 0, "the storm was too weak to prove anything");
}

#[tokio::test]
async fn an_unsuback_waits_for_the_retained_messages_before_it_and_live_ones_do_not_overtake_them() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..10 {
        writer.publish(retained(&format!("r/{n}"), "old", QoS::AtLeastOnce)).await;
    }
    let mut connect = hello("d");
    connect.properties.receive_maximum = Some(1);
    let mut device = Device::connect(&broker, connect).await;
    device.subscribe("other", QoS::AtMostOnce).await;
    device.subscribe("r/#", QoS::AtLeastOnce).await;
    let first = device.unanswered().await;
    writer.publish(message("r/9", "new", QoS::AtMostOnce)).await;
    device.send_unsubscribe("other").await;
    device.acknowledge(&first).await;
    let mut last = std::collections::HashMap::from([(name(&first).to_owned(), text(&first).to_owned())]);
    let mut is_unsubscribed = false;
    while !is_unsubscribed {
        match device.receive().await {
            Packet::UnsubAck(_) => is_unsubscribed = true,
            Packet::Publish(publish) => {
                last.insert(name(&publish).to_owned(), text(&publish).to_owned());
                device.acknowledge(&publish).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((last.len(), last["r/9"].as_str()), (10, "new"));
}
