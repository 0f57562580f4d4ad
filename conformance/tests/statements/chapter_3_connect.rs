//! Chapter 3.1: CONNECT.

use crosspoint_protocol::{
    fuzz::{
        ends::bytes,
        pair::{connack, connect, outgoing},
    },
    packet::{AuthProperties, Disconnect},
};

use super::*;

fn keeping_alive(keep_alive_s: u16) -> Connect {
    Connect { keep_alive_s, ..connect(Version::V5) }
}

#[test]
fn mqtt_3_1_0_1_the_first_packet_of_a_client_is_connect() {
    for packet in [Packet::PingReq, qos1(1), puback(1)] {
        let mut server = fresh(Version::V5);
        server.give(&[packet]);
        assert!(is_violation(cause_of_server(&server)));
    }
    let options = ClientOptions::new(connect(Version::V5));
    let mut client = ClientConnection::new(options, SessionState::default(), START).unwrap();
    assert_eq!(client.transmit().to_vec()[0] >> 4, 1);
}

#[test]
fn mqtt_3_1_0_2_a_second_connect_breaks_the_protocol() {
    let mut server = server();
    let again = bytes(&[Packet::Connect(Box::new(connect(Version::V5)))], Version::V5);
    server.end.receive(&again, server.now);
    assert!(is_violation(cause_of_server(&server)));
    assert_eq!(farewell(&server.sent()), ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_1_2_2_a_version_that_is_not_supported_is_refused_and_closed() {
    let mut server = fresh(Version::V3_1_1);
    server.end.receive(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 9, 2, 0, 0, 0, 1, b'c'], server.now);
    assert_eq!(server.end.sent_bytes(server.now), [0x20, 3, 0, 0x84, 0]);
    assert!(server.end.is_closed);
}

#[test]
fn mqtt_3_1_2_4_a_clean_start_discards_the_session() {
    let mut before = client();
    before.publish(outgoing("t", QoS::AtLeastOnce, 1));
    let accept = AcceptConnect { session: before.cut(), session_present: true, ..AcceptConnect::default() };
    let mut server = let_in(&Connect { clean_start: true, ..connect(Version::V5) }, accept);
    assert!(!only_connack(&server.sent()).session_present);
    assert!(server.end.core.session().is_empty());
}

#[test]
fn mqtt_3_1_2_20_a_client_sends_pingreq_when_it_has_sent_nothing_else() {
    let mut client = answered(keeping_alive(10), &connack(false));
    client.wait_ms(10_000);
    assert_eq!(client.sent(), [Packet::PingReq]);
}

#[test]
fn mqtt_3_1_2_22_a_server_closes_after_one_and_a_half_times_the_keep_alive() {
    let mut server = let_in(&keeping_alive(10), AcceptConnect::default());
    server.sent();
    server.wait_ms(14_999);
    assert!(server.end.core.is_open());
    server.wait_ms(1);
    assert_eq!(farewell(&server.sent()), ReasonCode::KeepAliveTimeout);
}

#[test]
fn mqtt_3_1_2_24_nothing_larger_than_the_maximum_packet_size_is_sent() {
    let mut connect = connect(Version::V5);
    connect.properties.maximum_packet_bytes = Some(40);
    let mut server = let_in(&connect, AcceptConnect::default());
    server.sent();
    for length in 1..60 {
        let topic = "t".repeat(length);
        let is_sent = server.end.core.publish(outgoing(&topic, QoS::AtMostOnce, 0), server.now).is_ok();
        let bytes = server.end.sent_bytes(server.now);
        assert!(bytes.len() <= 40);
        assert_eq!(is_sent, !bytes.is_empty());
    }
}

#[test]
fn mqtt_3_1_2_25_a_message_that_is_too_large_counts_as_sent() {
    let mut before = server();
    before.publish(outgoing("a/topic/that/is/much/too/long/for/this/client", QoS::ExactlyOnce, 1));
    before.publish(outgoing("t", QoS::ExactlyOnce, 2));
    let mut connect = connect(Version::V5);
    connect.properties.maximum_packet_bytes = Some(40);
    let accept = AcceptConnect { session: before.cut(), session_present: true, ..AcceptConnect::default() };
    let mut server = let_in(&connect, accept);
    assert_eq!(ids(&server.sent()), [2]);
    assert_eq!(server.end.core.session().outgoing.len(), 1);
    assert!(matches!(server.end.events.pop_front(), Some(ServerEvent::Acknowledged { cookie: 1, .. })));
}

#[test]
fn mqtt_3_1_2_26_no_topic_alias_above_the_maximum_is_sent() {
    let mut connect = connect(Version::V5);
    connect.properties.topic_alias_maximum = Some(3);
    let mut server = let_in(&connect, AcceptConnect::default());
    server.sent();
    for topic in ["a", "b", "c", "d", "e", "a", "e"] {
        server.publish(outgoing(topic, QoS::AtMostOnce, 0));
    }
    let sent = server.sent();
    assert!(published(&sent).iter().all(|it| it.properties.topic_alias().is_none_or(|alias| alias <= 3)));
}

#[test]
fn mqtt_3_1_2_27_no_topic_alias_is_sent_where_none_is_allowed() {
    let mut server = server();
    for _ in 0..3 {
        server.publish(outgoing("a", QoS::AtMostOnce, 0));
    }
    let sent = server.sent();
    assert!(published(&sent).iter().all(|it| it.properties.topic_alias().is_none() && it.topic.is_some()));
}

#[test]
fn mqtt_3_1_2_30_a_client_that_authenticates_sends_only_auth_or_disconnect_before_connack() {
    let mut connect = connect(Version::V5);
    connect.properties.authentication_method = Some("M".into());
    for (packet, is_allowed) in [
        (Packet::PingReq, false),
        (qos1(1), false),
        (Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))), true),
    ] {
        let mut server = deciding(&connect);
        server.end.core.challenge(AuthProperties::default());
        server.give(&[packet]);
        assert_eq!(is_violation(cause_of_server(&server)), !is_allowed);
    }
}

#[test]
fn mqtt_3_1_4_1_what_follows_connect_is_not_read_before_it_is_decided() {
    let mut server = deciding(&connect(Version::V5));
    server.give(&[qos1(1), Packet::PingReq]);
    assert!(matches!(server.end.events.make_contiguous(), [ServerEvent::Connect(_)]));
    assert_eq!(server.sent(), []);
}

#[test]
fn mqtt_3_1_4_6_what_follows_a_refused_connect_is_never_read() {
    let mut server = deciding(&connect(Version::V5));
    server.give(&[qos1(1)]);
    server.end.core.reject_connect(ReasonCode::NotAuthorized, Default::default());
    server.end.drain(server.now);
    assert!(server.end.events.iter().all(|event| !matches!(event, ServerEvent::Publish(_))));
    assert_eq!(only_connack(&server.sent()).reason, ReasonCode::NotAuthorized);
}

#[test]
fn mqtt_3_1_4_5_connack_with_success_answers_connect() {
    let mut server = deciding(&connect(Version::V5));
    server.end.let_in(AcceptConnect::default(), server.now);
    assert_eq!(only_connack(&server.sent()).reason, ReasonCode::Success);
}
