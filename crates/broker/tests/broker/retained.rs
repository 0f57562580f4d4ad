//! Retained messages.

use crosspoint_protocol::{
    QoS, ReasonCode, Version,
    packet::{Connect, Packet, Publish, RetainHandling, SubscriptionOptions},
};

use crate::support::*;

/// Returns `topic=payload` of the retained messages that a new Subscription is sent, sorted.
async fn found(device: &mut Device, filter: &str, count: usize) -> Vec<String> {
    device.subscribe(filter, QoS::ExactlyOnce).await;
    let mut found = Vec::new();
    for _ in 0..count {
        let got = device.message().await;
        assert!(got.retain, "{filter}");
        found.push(format!("{}={}", name(&got), text(&got)));
    }
    device.hears_nothing().await;
    device.unsubscribe(filter).await;
    found.sort_unstable();
    found
}

#[tokio::test]
async fn every_shape_of_wildcard_finds_what_it_matches() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for name in ["a", "a/b", "a/b/c", "a/x/c", "/a", "a/", "b", "$own/a"] {
        writer.publish(retained(name, "1", QoS::AtLeastOnce)).await;
    }
    let cases: &[(&str, &[&str])] = &[
        ("#", &["/a=1", "a/=1", "a/b/c=1", "a/b=1", "a/x/c=1", "a=1", "b=1"]),
        ("+", &["a=1", "b=1"]),
        ("a/+/c", &["a/b/c=1", "a/x/c=1"]),
        ("a/#", &["a/=1", "a/b/c=1", "a/b=1", "a/x/c=1", "a=1"]),
        ("a/+", &["a/=1", "a/b=1"]),
        ("+/+", &["/a=1", "a/=1", "a/b=1"]),
        ("/+", &["/a=1"]),
        ("+/b/#", &["a/b/c=1", "a/b=1"]),
        ("a/b", &["a/b=1"]),
        ("$own/#", &["$own/a=1"]),
        ("$own/+", &["$own/a=1"]),
        ("+/a", &["/a=1"]),
        ("c/#", &[]),
    ];
    let mut reader = Device::v5(&broker, "reader").await;
    for (filter, expected) in cases {
        assert_eq!(found(&mut reader, filter, expected.len()).await, *expected, "{filter}");
    }
}

#[tokio::test]
async fn mqtt_3_3_1_6_an_empty_payload_deletes_and_is_itself_delivered_live() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut reader = Device::v5(&broker, "reader").await;
    writer.publish(retained("a", "1", QoS::AtLeastOnce)).await;
    writer.publish(retained("a", "2", QoS::AtLeastOnce)).await;
    assert_eq!(found(&mut reader, "a", 1).await, ["a=2"]);
    reader
        .subscribe_with(
            "a",
            SubscriptionOptions { retain_handling: RetainHandling::DoNotSend, ..at(QoS::AtMostOnce) },
            None,
        )
        .await;
    writer.publish(retained("a", "", QoS::AtLeastOnce)).await;
    assert!(reader.message().await.payload.is_empty());
    assert_eq!(broker.statistics().retained_messages, 0);
    reader.unsubscribe("a").await;
    assert!(found(&mut reader, "#", 0).await.is_empty());
}

#[tokio::test]
async fn retain_handling_says_when_they_are_sent() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(retained("a", "1", QoS::AtLeastOnce)).await;
    let mut reader = Device::v5(&broker, "reader").await;
    let with = |retain_handling| SubscriptionOptions { retain_handling, ..at(QoS::AtLeastOnce) };
    reader.subscribe_with("a", with(RetainHandling::DoNotSend), None).await;
    reader.hears_nothing().await;
    reader.subscribe_with("a", with(RetainHandling::SendIfNew), None).await;
    reader.hears_nothing().await;
    for _ in 0..2 {
        reader.subscribe_with("a", with(RetainHandling::Send), None).await;
        assert_eq!(reader.payloads(1).await, ["1"]);
        reader.hears_nothing().await;
    }
    reader.unsubscribe("a").await;
    reader.subscribe_with("a", with(RetainHandling::SendIfNew), None).await;
    assert_eq!(reader.payloads(1).await, ["1"]);
}

#[tokio::test]
async fn retain_as_published_keeps_the_flag_on_live_messages() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut plain = Device::v5(&broker, "plain").await;
    let mut as_published = Device::v5(&broker, "as-published").await;
    plain.subscribe("a", QoS::AtLeastOnce).await;
    let options = SubscriptionOptions { retain_as_published: true, ..at(QoS::AtLeastOnce) };
    as_published.subscribe_with("a", options, None).await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        writer.publish(retained("a", "1", qos)).await;
        writer.publish(message("a", "2", qos)).await;
        assert_eq!([plain.message().await.retain, plain.message().await.retain], [false, false]);
        assert_eq!([as_published.message().await.retain, as_published.message().await.retain], [true, false]);
    }
}

#[tokio::test]
async fn five_thousand_on_one_wildcard_all_come_even_when_the_socket_is_full() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    // More than the 256 KiB that are handed to a socket at once.
    let payload = "x".repeat(400);
    for n in 0..5_000 {
        let publish = retained(&format!("many/{n}"), payload.clone(), QoS::AtMostOnce);
        writer.send(&Packet::Publish(publish)).await;
    }
    writer.ping().await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut reader = Device::v5(&broker, "reader").await;
        reader.subscribe("many/#", qos).await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..5_000 {
            assert!(seen.insert(name(&reader.message().await).to_owned()));
        }
        reader.hears_nothing().await;
    }
}

#[tokio::test]
async fn five_thousand_at_qos_1_come_in_windows_of_the_client() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..5_000 {
        let publish = retained(&format!("many/{n}"), "1", QoS::AtLeastOnce);
        let packet_id = Some(writer.new_id());
        writer.send(&Packet::Publish(Publish { packet_id, ..publish })).await;
        if n % 500 == 499 {
            for _ in 0..500 {
                writer.receive().await;
            }
        }
    }
    let mut connect = hello("reader");
    connect.properties.receive_maximum = Some(7);
    let mut reader = Device::connect(&broker, connect).await;
    reader.subscribe("many/+", QoS::AtLeastOnce).await;
    // What is live waits behind what is retained.
    writer.publish(message("many/live", "2", QoS::AtMostOnce)).await;
    for _ in 0..5_000 {
        assert_eq!(text(&reader.message().await), "1");
    }
    assert_eq!(name(&reader.message().await), "many/live");
}

#[tokio::test]
async fn they_keep_the_qos_at_which_they_were_published() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (name, qos) in ["q0", "q1", "q2"].into_iter().zip(all) {
        writer.publish(retained(name, "1", qos)).await;
    }
    let mut reader = Device::v5(&broker, "reader").await;
    for granted in all {
        for (name, published) in ["q0", "q1", "q2"].into_iter().zip(all) {
            reader.subscribe(name, granted).await;
            assert_eq!(reader.message().await.qos, granted.min(published));
        }
    }
}

#[tokio::test]
async fn they_expire_and_tell_what_is_left() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    // Before the short one: a second has passed for it too when that is gone.
    writer.publish(expiring(retained("long", "1", QoS::AtLeastOnce), 100)).await;
    writer.publish(expiring(retained("short", "1", QoS::AtLeastOnce), 1)).await;
    let mut reader = Device::v5(&broker, "reader").await;
    let left_s = within("the short one expires", async {
        loop {
            reader.subscribe("+", QoS::AtLeastOnce).await;
            // Live, and therefore behind what is retained.
            writer.publish(message("end", "", QoS::AtLeastOnce)).await;
            let mut got = Vec::new();
            while got.last().is_none_or(|publish| name(publish) != "end") {
                got.push(reader.message().await);
            }
            reader.unsubscribe("+").await;
            if let [long, _] = got.as_slice() {
                assert_eq!(name(long), "long");
                return long.properties.message_expiry_s().unwrap();
            }
        }
    })
    .await;
    assert!((60..=99).contains(&left_s), "{left_s}");
    assert_eq!(broker.statistics().retained_messages, 1, "what has expired is forgotten");
}

#[tokio::test]
async fn they_bear_the_identifier_of_the_subscription() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(retained("a", "1", QoS::AtLeastOnce)).await;
    let mut reader = Device::v5(&broker, "reader").await;
    reader.subscribe_with("#", at(QoS::AtLeastOnce), Some(268_435_455)).await;
    let got = reader.message().await;
    assert_eq!(got.properties.subscription_ids().collect::<Vec<_>>(), [268_435_455]);
}

#[tokio::test]
async fn a_shared_subscription_is_sent_none() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(retained("a", "1", QoS::AtLeastOnce)).await;
    let mut reader = Device::v5(&broker, "reader").await;
    reader.subscribe("$share/g/a", QoS::AtLeastOnce).await;
    reader.hears_nothing().await;
}

#[tokio::test]
async fn retained_precedes_live_and_no_message_falls_between() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(retained("a", "0", QoS::AtLeastOnce)).await;
    let rounds = 200;
    let writing = tokio::spawn(async move {
        for n in 1..=rounds {
            writer.publish(retained("a", n.to_string(), QoS::AtLeastOnce)).await;
        }
    });
    let mut round = 0;
    while !writing.is_finished() {
        let mut reader = Device::v5(&broker, &format!("reader-{round}")).await;
        reader.subscribe("a", QoS::AtLeastOnce).await;
        let first = reader.message().await;
        assert!(first.retain, "the snapshot comes first");
        let mut last: u32 = text(&first).parse().unwrap();
        for _ in 0..(rounds - last).min(5) {
            let next = reader.message().await;
            let value: u32 = text(&next).parse().unwrap();
            assert_eq!(
                (value, next.retain),
                (last + 1, false),
                "live follows without gap and without repetition"
            );
            last = value;
        }
        round += 1;
    }
    writing.await.unwrap();
    assert!(round > 0);
}

#[tokio::test]
async fn a_full_table_refuses_new_topics_only() {
    let broker = broker_with(options().retained_messages_max(2)).await;
    let mut writer = Device::v5(&broker, "writer").await;
    let quota = ReasonCode::QuotaExceeded;
    assert!(!writer.publish(retained("a", "1", QoS::AtLeastOnce)).await.is_error());
    assert!(!writer.publish(retained("b", "1", QoS::AtLeastOnce)).await.is_error());
    assert_eq!(writer.publish(retained("c", "1", QoS::AtLeastOnce)).await, quota);
    assert_eq!(writer.publish(retained("c", "1", QoS::ExactlyOnce)).await, quota);
    assert!(!writer.publish(retained("a", "2", QoS::AtLeastOnce)).await.is_error());
    writer.publish(retained("c", "1", QoS::AtMostOnce)).await;
    assert_eq!(broker.statistics().dropped_queue_full, 3);
    // 3.1.1 has no word for it: the connection ends.
    let v3 = Connect { version: Version::V3_1_1, ..hello("v3") };
    let mut old = Device::connect(&broker, v3).await;
    let publish = Publish { packet_id: Some(old.new_id()), ..retained("d", "1", QoS::AtLeastOnce) };
    old.send(&Packet::Publish(publish)).await;
    assert_eq!(old.end().await, None);
}
