//! Chapter 2: packet identifiers.

use std::collections::HashSet;

use crosspoint_protocol::{
    TopicFilter,
    fuzz::pair::outgoing,
    packet::{SubscribeProperties, SubscribedFilter, SubscriptionOptions},
};

use super::*;

fn filters() -> Vec<SubscribedFilter> {
    let filter = TopicFilter::parse("a").unwrap();
    vec![SubscribedFilter { filter, options: SubscriptionOptions::default() }]
}

#[test]
fn mqtt_2_2_1_2_a_publish_at_qos_0_has_no_identifier() {
    let mut client = client();
    client.publish(outgoing("t", QoS::AtMostOnce, 0));
    assert_eq!(published(&client.sent())[0].packet_id, None);
}

#[test]
fn mqtt_2_2_1_3_a_new_request_of_a_client_takes_an_identifier_that_is_not_in_use() {
    let mut client = client();
    let mut used = HashSet::new();
    for number in 0..300 {
        client.publish(outgoing("t", QoS::AtLeastOnce, number));
        client.publish(outgoing("t", QoS::ExactlyOnce, number));
        assert!(
            used.insert(
                client.end.core.subscribe(filters(), SubscribeProperties::default()).unwrap().value()
            )
        );
        for id in
            ids(&client.sent().into_iter().filter(|p| matches!(p, Packet::Publish(_))).collect::<Vec<_>>())
        {
            assert!(used.insert(id));
        }
    }
    assert!(!used.contains(&0));
}

#[test]
fn mqtt_2_2_1_4_a_new_publish_of_a_server_takes_an_identifier_that_is_not_in_use() {
    let mut server = server();
    let mut used = HashSet::new();
    for number in 0..500 {
        server.publish(outgoing("t", QoS::ExactlyOnce, number));
        for id in ids(&server.sent()) {
            assert!(used.insert(id));
        }
        // PUBREC does not free it.
        server.give(&[pubrec(u16::try_from(number + 1).unwrap())]);
        server.sent();
    }
}

#[test]
fn mqtt_2_2_1_5_acknowledgements_bear_the_identifier_of_their_publish() {
    let mut server = server();
    server.give(&[qos1(700), qos2(800)]);
    for token in tokens(&mut server) {
        server.accept(token);
    }
    assert_eq!(server.sent(), [puback(700), pubrec(800)]);
    assert_eq!(server.exchange(&[pubrel(800)]), [pubcomp(800)]);
    let mut client = client();
    client.publish(outgoing("t", QoS::ExactlyOnce, 0));
    let id = ids(&client.sent())[0];
    assert_eq!(client.exchange(&[pubrec(id)]), [pubrel(id)]);
}

#[test]
fn mqtt_2_2_1_6_suback_and_unsuback_bear_the_identifier_of_their_request() {
    let mut client = client();
    client.end.core.subscribe(filters(), SubscribeProperties::default()).unwrap();
    client.end.core.unsubscribe(vec![TopicFilter::parse("a").unwrap()], Vec::new()).unwrap();
    let requests = client.sent();
    let mut server = server();
    server.give(&requests);
    for event in std::mem::take(&mut server.end.events) {
        match event {
            ServerEvent::Subscribe(it) => server.end.core.suback(it.packet_id, vec![ReasonCode::Success]),
            ServerEvent::Unsubscribe(it) => server.end.core.unsuback(it.packet_id, vec![ReasonCode::Success]),
            other => panic!("{other:?}"),
        }
    }
    let answers = server.sent();
    client.give(&answers);
    assert!(client.end.core.is_open());
    assert!(matches!(client.end.events.pop_front(), Some(ClientEvent::Subscribed(_))));
    assert!(matches!(client.end.events.pop_front(), Some(ClientEvent::Unsubscribed(_))));
}
