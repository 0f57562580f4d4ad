//! Chapter 3.3: PUBLISH.

use crosspoint_protocol::{
    Message, Now,
    fuzz::pair::{connect, outgoing, topic_name},
    packet::{PublishProperties, PublishPropertyValues},
    session::Outgoing,
};

use super::*;

/// A message that is worth delivering for a minute from the start of the test.
fn for_a_minute(qos: QoS) -> Outgoing {
    let values = PublishPropertyValues { message_expiry_s: Some(60), ..PublishPropertyValues::default() };
    let properties = PublishProperties::from_values(&values).unwrap();
    let message = Message::new(&topic_name("t"), b"x", qos, false, &properties, START);
    Outgoing { message, ..outgoing("t", qos, 1) }
}

/// A PUBLISH at QoS 0 to this topic with this alias, as bytes.
fn aliased(topic: &str, alias: u16) -> Vec<u8> {
    let [high, low] = alias.to_be_bytes();
    let length = u8::try_from(topic.len()).unwrap();
    [&[0x30, length + 6, 0, length], topic.as_bytes(), &[3, 0x23, high, low]].concat()
}

#[test]
fn mqtt_3_3_1_1_dup_is_set_when_a_publish_goes_again() {
    let mut before = client();
    before.publish(outgoing("t", QoS::AtLeastOnce, 1));
    assert!(!published(&before.sent())[0].dup);
    let mut client = Scripted::resumed_client(Version::V5, before.cut(), Persisting::AtOnce);
    assert!(published(&client.sent())[0].dup);
}

#[test]
fn mqtt_3_3_1_2_dup_is_not_set_at_qos_0() {
    let mut client = client();
    client.publish(outgoing("t", QoS::AtMostOnce, 1));
    assert!(!published(&client.sent())[0].dup);
}

#[test]
fn mqtt_3_3_1_3_dup_of_an_incoming_publish_is_not_passed_on() {
    let mut server = server();
    server.give(&[Packet::Publish(Publish { dup: true, ..publish("t", QoS::AtLeastOnce, 1) })]);
    let Some(ServerEvent::Publish(incoming)) = server.end.events.pop_front() else { panic!("no message") };
    let message = Message::from_publish(&topic_name("t"), &incoming.publish, START);
    server.publish(Outgoing { message, ..outgoing("t", QoS::AtLeastOnce, 1) });
    assert!(!published(&server.sent())[0].dup);
}

#[test]
fn mqtt_3_3_2_5_a_message_is_expired_when_its_interval_is_over() {
    let message = for_a_minute(QoS::AtLeastOnce).message;
    assert!(!message.is_expired(START.plus_ms(59_999)));
    assert!(message.is_expired(START.plus_ms(60_000)));
    assert!(!outgoing("t", QoS::AtLeastOnce, 1).message.is_expired(Now { wall_ms: u64::MAX - 1, ..START }));
}

#[test]
fn mqtt_3_3_2_6_what_is_left_of_the_expiry_interval_is_sent() {
    for (waited_ms, left_s) in [(0, 60), (1, 60), (1_000, 59), (59_001, 1), (60_000, 0), (3_600_000, 0)] {
        let mut server = server();
        server.now = START.plus_ms(waited_ms);
        server.publish(for_a_minute(QoS::AtMostOnce));
        assert_eq!(
            published(&server.sent())[0].properties.message_expiry_s(),
            Some(left_s),
            "{waited_ms} ms"
        );
    }
}

#[test]
fn mqtt_3_3_2_7_aliases_do_not_outlive_a_connection() {
    let mut before = server();
    before.end.receive(&aliased("a", 1), before.now);
    let mut server = Scripted::resumed_server(Version::V5, before.cut(), Persisting::AtOnce);
    server.sent();
    server.end.receive(&aliased("", 1), server.now);
    assert_eq!(farewell(&server.sent()), ReasonCode::TopicAliasInvalid);
}

#[test]
fn mqtt_3_3_2_8_an_alias_of_0_is_refused() {
    let mut server = server();
    server.end.receive(&aliased("a", 0), server.now);
    assert_eq!(farewell(&server.sent()), ReasonCode::TopicAliasInvalid);
}

#[test]
fn mqtt_3_3_2_9_an_alias_above_our_maximum_is_refused() {
    for (alias, is_refused) in [(16, false), (17, true), (u16::MAX, true)] {
        let mut server = server();
        server.end.receive(&aliased("a", alias), server.now);
        assert_eq!(!server.end.core.is_open(), is_refused);
        if is_refused {
            assert_eq!(farewell(&server.sent()), ReasonCode::TopicAliasInvalid);
        }
    }
}

#[test]
fn mqtt_3_3_2_10_every_alias_up_to_our_maximum_is_accepted() {
    let mut server = server();
    for alias in 1..=16 {
        server.end.receive(&aliased(&format!("t/{alias}"), alias), server.now);
    }
    for alias in 1..=16 {
        server.end.receive(&aliased("", alias), server.now);
    }
    let topics: Vec<String> = std::mem::take(&mut server.end.events)
        .into_iter()
        .map(|event| match event {
            ServerEvent::Publish(incoming) => incoming.publish.topic.unwrap().as_str().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(topics[..16], topics[16..]);
}

#[test]
fn mqtt_3_3_4_1_a_publish_is_answered_as_its_qos_asks_for() {
    let mut server = server();
    server.give(&[Packet::Publish(publish("t", QoS::AtMostOnce, 0))]);
    server.end.events.clear();
    server.give(&[qos1(1), qos2(2)]);
    for token in tokens(&mut server) {
        server.accept(token);
    }
    assert_eq!(server.sent(), [puback(1), pubrec(2)]);
}

#[test]
fn mqtt_3_3_4_7_a_client_sends_no_more_than_the_receive_maximum() {
    let mut answer = crosspoint_protocol::fuzz::pair::connack(false);
    answer.properties.receive_maximum = Some(2);
    let mut client = answered(connect(Version::V5), &answer);
    client.publish(outgoing("t", QoS::AtLeastOnce, 1));
    client.publish(outgoing("t", QoS::ExactlyOnce, 2));
    assert!(client.end.core.publish(outgoing("t", QoS::AtLeastOnce, 3), client.now).is_err());
    // [MQTT-3.3.4-8]: nothing else is held back by that.
    client.publish(outgoing("t", QoS::AtMostOnce, 4));
    assert_eq!(client.sent().len(), 3);
}

#[test]
fn mqtt_3_3_4_9_a_server_sends_no_more_than_the_receive_maximum() {
    let mut connect = connect(Version::V5);
    connect.properties.receive_maximum = Some(2);
    let mut server = let_in(&connect, AcceptConnect::default());
    server.sent();
    server.publish(outgoing("t", QoS::AtLeastOnce, 1));
    server.publish(outgoing("t", QoS::ExactlyOnce, 2));
    assert!(server.end.core.publish(outgoing("t", QoS::AtLeastOnce, 3), server.now).is_err());
    // [MQTT-3.3.4-10]
    server.publish(outgoing("t", QoS::AtMostOnce, 4));
    assert_eq!(server.sent().len(), 3);
}
