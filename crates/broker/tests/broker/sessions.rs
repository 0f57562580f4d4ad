//! Sessions: resumed, taken over, ended, and what they hold meanwhile.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crosspoint_broker::{
    Broker, ListenerOptions,
    access::{Password, User, Users},
};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_protocol::{
    QoS, ReasonCode, Version,
    packet::{Ack, Connect, Disconnect, Packet, Publish},
};

use crate::support::*;

#[tokio::test]
async fn a_session_keeps_what_comes_while_its_client_is_away() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for version in VERSIONS {
        let mut connect = Connect { version, ..durable("d") };
        if !version.is_v5() {
            connect.properties.session_expiry_s = None;
        }
        let mut device = Device::connect(&broker, connect.clone()).await;
        device.subscribe("a", QoS::ExactlyOnce).await;
        device.leave().await;
        for n in 0..100 {
            let qos = if n % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            writer.publish(message("a", n.to_string(), qos)).await;
        }
        writer.publish(message("a", "not kept", QoS::AtMostOnce)).await;
        let mut device = Device::connect(&broker, connect).await;
        assert_eq!(device.session_present(), version != Version::V3_1);
        assert_eq!(device.payloads(100).await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
        device.hears_nothing().await;
        device.leave().await;
        let mut clean = Device::connect(&broker, Connect { version, ..hello("d") }).await;
        assert!(!clean.session_present());
        writer.publish(message("a", "x", QoS::AtLeastOnce)).await;
        clean.hears_nothing().await;
        clean.leave().await;
    }
}

#[tokio::test]
async fn two_that_race_for_one_name_leave_one_connected_and_nothing_behind() {
    let broker = broker_with(options().workers(crosspoint_broker::Workers::Threads(2))).await;
    let mut writer = Device::v5(&broker, "writer").await;
    for round in 0..100 {
        let connect = if round % 2 == 0 { durable("twin") } else { hello("twin") };
        let (one, two) = tokio::join!(
            Device::try_connect(address(&broker), connect.clone()),
            Device::try_connect(address(&broker), connect),
        );
        // Who was let in last has the session; the other one was gone before that.
        let mut alive = 0;
        for mut device in [one, two] {
            device.send(&Packet::PingReq).await;
            match device.receive_or_end().await {
                Some(Packet::PingResp) => {
                    alive += 1;
                    device.subscribe("a", QoS::AtLeastOnce).await;
                    writer.publish(message("a", "x", QoS::AtLeastOnce)).await;
                    assert_eq!(device.payloads(1).await, ["x"]);
                    device.leave().await;
                }
                Some(Packet::Disconnect(disconnect)) => {
                    assert_eq!(disconnect.reason, ReasonCode::SessionTakenOver);
                }
                other => assert!(other.is_none(), "{other:?}"),
            }
        }
        assert_eq!(alive, 1, "round {round}");
        until("the connection is gone", || broker.statistics().connections == 1).await;
        Device::v5(&broker, "twin").await.leave().await;
        until("the connection is gone", || broker.statistics().connections == 1).await;
        assert_eq!((broker.statistics().sessions, broker.statistics().subscriptions), (1, 0));
    }
}

#[tokio::test]
async fn many_that_fight_for_one_name_end_with_one_session() {
    let broker = broker_with(options().workers(crosspoint_broker::Workers::Threads(2))).await;
    let address = address(&broker);
    let fighters: Vec<_> = (0..50)
        .map(|_| tokio::spawn(async move { Device::try_connect(address, durable("prize")).await }))
        .collect();
    let mut all = Vec::new();
    for fighter in fighters {
        all.push(fighter.await.unwrap());
    }
    assert_eq!(broker.statistics().sessions, 1);
    all.clear();
    until("none is left", || broker.statistics().connections == 0).await;
}

#[tokio::test]
async fn another_user_does_not_get_the_session() {
    let user = |name: &str| User { name: name.into(), password: Password::plain("p"), roles: Vec::new() };
    let users = Arc::new(Users::new(vec![user("alice"), user("mallory")], Vec::new()).unwrap());
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, loopback()));
    let broker = Broker::builder().options(options()).listener(listener).access(users).start().await.unwrap();
    let of = |name: &str| {
        let mut connect = durable("panel");
        connect.login.username = Some(name.to_owned().into());
        connect.login.password = Some("p".into());
        connect
    };
    let mut alice = Device::connect(&broker, of("alice")).await;
    alice.subscribe("secret", QoS::AtLeastOnce).await;
    for clean_start in [false, true] {
        let thief = Device::try_connect(address(&broker), Connect { clean_start, ..of("mallory") }).await;
        assert_eq!(thief.connack.unwrap().reason, ReasonCode::NotAuthorized);
    }
    // As an anonymous client neither, nor while its owner is away.
    let nobody = Device::try_connect(address(&broker), durable("panel")).await;
    assert!(nobody.connack.unwrap().reason.is_error());
    alice.ping().await;
    alice.leave().await;
    let thief = Device::try_connect(address(&broker), of("mallory")).await;
    assert_eq!(thief.connack.unwrap().reason, ReasonCode::NotAuthorized);
    assert!(Device::connect(&broker, of("alice")).await.session_present());
}

#[tokio::test]
async fn mqtt_3_1_4_3_a_takeover_ends_the_old_connection_and_keeps_what_waits_or_is_in_flight() {
    let broker = broker().await;
    let mut connect = durable("d");
    connect.properties.receive_maximum = Some(10);
    let mut old = Device::connect(&broker, connect.clone()).await;
    old.subscribe("a", QoS::AtLeastOnce).await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..50 {
        writer.publish(message("a", n.to_string(), QoS::AtLeastOnce)).await;
    }
    for n in 0..10 {
        let got = old.unanswered().await;
        assert_eq!((text(&got), got.dup), (n.to_string().as_str(), false));
    }
    let mut new = Device::connect(&broker, connect).await;
    assert!(new.session_present());
    assert_eq!(old.end_reason().await, ReasonCode::SessionTakenOver);
    for n in 0..50 {
        let got = new.message().await;
        assert_eq!((text(&got), got.dup), (n.to_string().as_str(), n < 10));
    }
    new.hears_nothing().await;
}

#[tokio::test]
async fn qos_2_towards_a_client_goes_on_where_it_was() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    let mut device = Device::connect(&broker, durable("d")).await;
    device.subscribe("a", QoS::ExactlyOnce).await;
    for n in 0..3 {
        writer.publish(message("a", n.to_string(), QoS::ExactlyOnce)).await;
    }
    let first = device.unanswered().await;
    let second = device.unanswered().await;
    let third = device.unanswered().await;
    // The first one got as far as PUBREL, the second as far as PUBREC, the third nowhere.
    device.send(&Packet::PubRec(Ack::new(first.packet_id.unwrap(), ReasonCode::Success))).await;
    assert!(matches!(device.receive().await, Packet::PubRel(_)));
    device.send(&Packet::PubRec(Ack::new(second.packet_id.unwrap(), ReasonCode::Success))).await;
    device.cut();
    until("the connection is gone", || broker.statistics().connections == 1).await;
    let mut device = Device::connect(&broker, durable("d")).await;
    let mut released = HashSet::new();
    let mut again = Vec::new();
    for _ in 0..3 {
        match device.receive().await {
            Packet::PubRel(ack) => {
                released.insert(ack.packet_id);
                device.send(&Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success))).await;
            }
            Packet::Publish(publish) => {
                assert!(publish.dup);
                again.push(publish.packet_id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(released.contains(&first.packet_id.unwrap()), "a message that was received is not sent again");
    assert!(again.contains(&third.packet_id), "one that was not is sent again under its identifier");
    assert!(!again.contains(&first.packet_id));
}

#[tokio::test]
async fn qos_2_from_a_client_is_delivered_once_across_connections() {
    let broker = broker().await;
    let mut reader = Device::v5(&broker, "reader").await;
    reader.subscribe("a", QoS::ExactlyOnce).await;
    let mut device = Device::connect(&broker, durable("d")).await;
    let id = device.new_id();
    let publish = Publish { packet_id: Some(id), ..message("a", "once", QoS::ExactlyOnce) };
    device.send(&Packet::Publish(publish.clone())).await;
    assert!(matches!(device.receive().await, Packet::PubRec(_)));
    device.cut();
    until("the connection is gone", || broker.statistics().connections == 1).await;
    let mut device = Device::connect(&broker, durable("d")).await;
    device.send(&Packet::Publish(Publish { dup: true, ..publish })).await;
    assert!(matches!(device.receive().await, Packet::PubRec(ack) if ack.reason == ReasonCode::Success));
    for expected in [ReasonCode::Success, ReasonCode::PacketIdentifierNotFound] {
        device.send(&Packet::PubRel(Ack::new(id, ReasonCode::Success))).await;
        assert!(matches!(device.receive().await, Packet::PubComp(ack) if ack.reason == expected));
    }
    assert_eq!(reader.payloads(1).await, ["once"]);
    reader.hears_nothing().await;
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over_and_takes_everything_with_it() {
    let broker = broker().await;
    let mut connect = durable("d");
    connect.properties.session_expiry_s = Some(1);
    let mut device = Device::connect(&broker, connect.clone()).await;
    device.subscribe("a", QoS::AtLeastOnce).await;
    device.leave().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(message("a", "1", QoS::AtLeastOnce)).await;
    // One that comes back in time keeps it, however often.
    let device = Device::connect(&broker, connect.clone()).await;
    assert!(device.session_present());
    device.leave().await;
    let left = std::time::Instant::now();
    until("the session has ended", || broker.statistics().sessions == 1).await;
    assert!(left.elapsed() >= Duration::from_millis(900));
    assert_eq!(broker.statistics().subscriptions, 0);
    assert_eq!(broker.statistics().dropped_receiver_gone, 1);
    assert!(!Device::connect(&broker, connect).await.session_present());
}

#[tokio::test]
async fn the_farewell_may_change_how_long_the_session_goes_on() {
    let broker = broker().await;
    let mut device = Device::connect(&broker, durable("d")).await;
    let farewell = Disconnect { session_expiry_s: Some(0), ..Disconnect::new(ReasonCode::Success) };
    device.leave_with(farewell).await;
    until("the session has ended", || broker.statistics().sessions == 0).await;
    // From nothing to something is not allowed [MQTT-3.14.2-2].
    let mut device = Device::v5(&broker, "e").await;
    let farewell = Disconnect { session_expiry_s: Some(5), ..Disconnect::new(ReasonCode::Success) };
    device.send(&Packet::Disconnect(Box::new(farewell))).await;
    assert_eq!(device.end_reason().await, ReasonCode::ProtocolError);
}

#[tokio::test]
async fn who_asks_for_a_longer_session_than_there_is_gets_the_longest() {
    let broker = broker_with(options().session_expiry_max_s(60)).await;
    let device = Device::connect(&broker, durable("d")).await;
    assert_eq!(device.connack.as_ref().unwrap().properties.session_expiry_s, Some(60));
}

#[tokio::test]
async fn messages_tell_what_is_left_of_their_time_and_are_dropped_when_none_is() {
    let broker = broker().await;
    let mut device = Device::connect(&broker, durable("d")).await;
    device.subscribe("#", QoS::AtLeastOnce).await;
    device.leave().await;
    let mut writer = Device::v5(&broker, "writer").await;
    writer.publish(expiring(message("a", "short", QoS::AtLeastOnce), 1)).await;
    writer.publish(expiring(message("a", "long", QoS::AtLeastOnce), 100)).await;
    writer.publish(message("a", "ever", QoS::AtLeastOnce)).await;
    // A retained message with the same time tells when it is over.
    writer.publish(expiring(retained("$clock", "x", QoS::AtLeastOnce), 1)).await;
    let mut clock = Device::v5(&broker, "clock").await;
    within("a second", async {
        while broker.statistics().retained_messages != 0 {
            clock.subscribe("$clock", QoS::AtMostOnce).await;
            clock.unsubscribe("$clock").await;
        }
    })
    .await;
    let mut device = Device::connect(&broker, durable("d")).await;
    let long = device.message().await;
    assert_eq!(text(&long), "long");
    assert!(long.properties.message_expiry_s().is_some_and(|left_s| (60..=99).contains(&left_s)));
    let ever = device.message().await;
    assert_eq!((text(&ever), ever.properties.message_expiry_s()), ("ever", None));
    device.hears_nothing().await;
    assert_eq!(broker.statistics().dropped_expired, 1);
}

#[tokio::test]
async fn retained_messages_that_were_not_sent_yet_are_kept_before_what_came_later() {
    let broker = broker().await;
    let mut writer = Device::v5(&broker, "writer").await;
    for n in 0..20 {
        writer.publish(retained(&format!("r/{n}"), "old", QoS::AtLeastOnce)).await;
    }
    let mut connect = durable("d");
    connect.properties.receive_maximum = Some(3);
    let mut device = Device::connect(&broker, connect.clone()).await;
    device.subscribe("r/#", QoS::AtLeastOnce).await;
    writer.publish(message("r/live", "new", QoS::AtLeastOnce)).await;
    device.ping().await;
    device.cut();
    until("the connection is gone", || broker.statistics().connections == 1).await;
    let mut device = Device::connect(&broker, connect).await;
    let mut expected = vec!["old"; 20];
    expected.push("new");
    assert_eq!(device.payloads(21).await, expected);
    device.hears_nothing().await;
}
