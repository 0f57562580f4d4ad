//! Chapter 4: delivery, order, flow control, enhanced authentication.

use crosspoint_protocol::{
    fuzz::pair::{connack, connect, outgoing},
    packet::{Auth, AuthProperties},
};

use super::*;

fn again(id: u16) -> Packet {
    Packet::Publish(Publish { dup: true, ..publish("t", QoS::ExactlyOnce, id) })
}

/// A client that has sent a message at QoS 2 under identifier 1.
fn publishing() -> Client {
    let mut client = client();
    client.publish(outgoing("t", QoS::ExactlyOnce, 1));
    assert_eq!(ids(&client.sent()), [1]);
    client
}

/// A server that has answered a message at QoS 2 under identifier 1 with PUBREC.
fn receiving() -> Server {
    let mut server = server();
    server.give(&[qos2(1)]);
    for token in tokens(&mut server) {
        server.accept(token);
    }
    assert_eq!(server.sent(), [pubrec(1)]);
    server
}

#[test]
fn mqtt_4_3_2_4_a_receiver_answers_qos_1_with_puback() {
    let mut server = server();
    server.give(&[qos1(9)]);
    let token = tokens(&mut server)[0];
    assert_eq!(server.sent(), []);
    server.accept(token);
    assert_eq!(server.sent(), [puback(9)]);
}

#[test]
fn mqtt_4_3_2_5_after_puback_the_same_identifier_is_a_new_message() {
    let mut server = server();
    for _ in 0..2 {
        server.give(&[qos1(9)]);
        let token = tokens(&mut server)[0];
        server.accept(token);
    }
}

#[test]
fn mqtt_4_3_3_3_a_publish_is_unacknowledged_until_pubrec() {
    let mut client = Scripted::resumed_client(Version::V5, publishing().cut(), Persisting::AtOnce);
    assert!(published(&client.sent())[0].dup);
}

#[test]
fn mqtt_4_3_3_4_pubrel_follows_pubrec() {
    assert_eq!(publishing().exchange(&[pubrec(1)]), [pubrel(1)]);
    // But not a refusal.
    let refusal = Packet::PubRec(ack(1, ReasonCode::QuotaExceeded));
    assert_eq!(publishing().exchange(&[refusal]), []);
}

#[test]
fn mqtt_4_3_3_5_pubrel_is_unacknowledged_until_pubcomp() {
    let mut before = publishing();
    before.give(&[pubrec(1)]);
    let mut client = Scripted::resumed_client(Version::V5, before.cut(), Persisting::AtOnce);
    assert_eq!(client.sent(), [pubrel(1)]);
    client.give(&[pubcomp(1)]);
    assert!(client.cut().is_empty());
}

#[test]
fn mqtt_4_3_3_6_a_publish_does_not_go_again_after_its_pubrel() {
    let mut before = publishing();
    before.give(&[pubrec(1)]);
    let mut client = Scripted::resumed_client(Version::V5, before.cut(), Persisting::AtOnce);
    assert!(published(&client.sent()).is_empty());
}

#[test]
fn mqtt_4_3_3_8_a_receiver_answers_qos_2_with_pubrec() {
    receiving();
}

#[test]
fn mqtt_4_3_3_9_after_a_refusal_the_same_identifier_is_a_new_message() {
    let mut server = server();
    for _ in 0..2 {
        server.give(&[qos2(1)]);
        let token = tokens(&mut server)[0];
        server.reject(token, ReasonCode::QuotaExceeded);
    }
}

#[test]
fn mqtt_4_3_3_10_until_pubrel_the_same_message_is_answered_and_not_delivered_again() {
    let mut server = receiving();
    assert_eq!(server.exchange(&[again(1)]), [pubrec(1)]);
    let mut server = Scripted::resumed_server(Version::V5, server.cut(), Persisting::AtOnce);
    server.sent();
    assert_eq!(server.exchange(&[again(1)]), [pubrec(1)]);
    assert!(server.end.events.is_empty());
}

#[test]
fn mqtt_4_3_3_11_pubrel_is_answered_with_pubcomp() {
    assert_eq!(receiving().exchange(&[pubrel(1)]), [pubcomp(1)]);
    let not_found = Packet::PubComp(ack(1, ReasonCode::PacketIdentifierNotFound));
    assert_eq!(server().exchange(&[pubrel(1)]), [not_found]);
}

#[test]
fn mqtt_4_3_3_12_after_pubcomp_the_same_identifier_is_a_new_message() {
    let mut server = receiving();
    server.exchange(&[pubrel(1)]);
    server.give(&[qos2(1)]);
    assert_eq!(tokens(&mut server).len(), 1);
}

#[test]
fn mqtt_4_4_0_1_what_is_unacknowledged_goes_again_after_a_reconnect_and_only_then() {
    let mut client = publishing();
    client.publish(outgoing("t", QoS::AtLeastOnce, 2));
    client.publish(outgoing("t", QoS::ExactlyOnce, 3));
    client.sent();
    client.give(&[pubrec(3)]);
    client.sent();
    client.wait_ms(86_400_000);
    assert!(published(&client.sent()).is_empty());
    let mut client = Scripted::resumed_client(Version::V5, client.cut(), Persisting::AtOnce);
    let sent = client.sent();
    assert_eq!(ids(&sent), [1, 2]);
    assert_eq!(sent.last(), Some(&pubrel(3)));
}

#[test]
fn mqtt_4_6_0_1_publish_packets_go_again_in_their_order() {
    let mut client = client();
    for number in 0..50 {
        let qos = if number % 3 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        client.publish(outgoing("t", qos, number));
    }
    let first = ids(&client.sent());
    let mut client = Scripted::resumed_client(Version::V5, client.cut(), Persisting::AtOnce);
    assert_eq!(ids(&client.sent()), first);
}

#[test]
fn mqtt_4_6_0_2_pubacks_keep_publish_order() {
    let mut server = server();
    server.give(&[qos1(3), qos1(1), qos1(2)]);
    let mut tokens = tokens(&mut server);
    tokens.reverse();
    for token in tokens {
        server.accept(token);
    }
    assert_eq!(server.sent(), [puback(3), puback(1), puback(2)]);
}

#[test]
fn mqtt_4_6_0_3_pubrecs_keep_publish_order() {
    let mut server = server();
    server.give(&[qos2(3), qos2(1), qos2(2)]);
    let mut tokens = tokens(&mut server);
    tokens.reverse();
    for token in tokens {
        server.accept(token);
    }
    assert_eq!(server.sent(), [pubrec(3), pubrec(1), pubrec(2)]);
}

#[test]
fn mqtt_4_6_0_4_pubrels_keep_pubrec_order() {
    for persisting in [Persisting::AtOnce, Persisting::Late] {
        let mut client = Scripted::client(Version::V5, persisting);
        for number in 0..3 {
            client.publish(outgoing("t", QoS::ExactlyOnce, number));
        }
        client.end.confirm_all(client.now);
        client.sent();
        client.give(&[pubrec(2), pubrec(3), pubrec(1)]);
        client.end.confirm_all(client.now);
        assert_eq!(client.sent(), [pubrel(2), pubrel(3), pubrel(1)]);
    }
}

#[test]
fn mqtt_4_9_0_1_the_quota_begins_at_the_receive_maximum() {
    let mut answer = connack(false);
    answer.properties.receive_maximum = Some(3);
    assert_eq!(answered(connect(Version::V5), &answer).end.core.send_quota(), 3);
}

#[test]
fn mqtt_4_9_0_2_nothing_at_qos_1_and_2_is_sent_without_quota() {
    let mut answer = connack(false);
    answer.properties.receive_maximum = Some(1);
    let mut client = answered(connect(Version::V5), &answer);
    client.publish(outgoing("t", QoS::AtLeastOnce, 1));
    client.sent();
    assert!(client.end.core.publish(outgoing("t", QoS::AtLeastOnce, 2), client.now).is_err());
    assert_eq!(client.sent(), []);
}

#[test]
fn mqtt_4_9_0_3_other_packets_need_no_quota() {
    let mut answer = connack(false);
    answer.properties.receive_maximum = Some(1);
    let mut client = answered(connect(Version::V5), &answer);
    client.publish(outgoing("t", QoS::AtLeastOnce, 1));
    client.sent();
    client.publish(outgoing("t", QoS::AtMostOnce, 2));
    let not_found = Packet::PubComp(ack(5, ReasonCode::PacketIdentifierNotFound));
    assert!(client.exchange(&[pubrel(5)]).contains(&not_found));
}

// --- enhanced authentication ---

fn with_method() -> Connect {
    let mut connect = connect(Version::V5);
    connect.properties.authentication_method = Some("M".into());
    connect
}

fn auth(reason: ReasonCode, method: &str) -> Packet {
    let properties = AuthProperties { method: Some(method.to_owned().into()), ..AuthProperties::default() };
    Packet::Auth(Box::new(Auth { reason, properties }))
}

#[test]
fn mqtt_4_12_0_2_a_server_asks_for_more_with_continue_authentication() {
    let mut server = deciding(&with_method());
    server.end.core.challenge(AuthProperties::default());
    assert_eq!(server.sent(), [auth(ReasonCode::ContinueAuthentication, "M")]);
}

#[test]
fn mqtt_4_12_0_3_a_client_answers_with_continue_authentication() {
    let options = ClientOptions::new(with_method());
    let mut client = Scripted::waiting_client(options, SessionState::default(), Persisting::AtOnce);
    client.give(&[auth(ReasonCode::ContinueAuthentication, "M")]);
    client.end.core.continue_auth(AuthProperties::default());
    assert_eq!(client.sent(), [auth(ReasonCode::ContinueAuthentication, "M")]);

    let mut server = deciding(&with_method());
    server.end.core.challenge(AuthProperties::default());
    server.give(&[auth(ReasonCode::ReAuthenticate, "M")]);
    assert!(is_violation(cause_of_server(&server)));
}

#[test]
fn mqtt_4_12_0_5_the_method_stays_the_same() {
    let mut server = let_in(&with_method(), AcceptConnect::default());
    let connack = only_connack(&server.sent());
    assert_eq!(connack.properties.authentication_method.as_deref(), Some("M"));
    server.give(&[auth(ReasonCode::ReAuthenticate, "N")]);
    assert!(is_violation(cause_of_server(&server)));
}

#[test]
fn mqtt_4_12_0_6_without_a_method_in_connect_there_is_no_auth_from_the_server() {
    let mut client = client();
    client.give(&[auth(ReasonCode::ContinueAuthentication, "M")]);
    assert!(is_violation(cause_of_client(&client)));
    let mut server = deciding(&connect(Version::V5));
    server.end.core.challenge(AuthProperties::default());
    assert_eq!(server.sent(), []);
}

#[test]
fn mqtt_4_12_0_7_without_a_method_in_connect_there_is_no_auth_from_the_client() {
    let mut client = client();
    client.end.core.reauthenticate(AuthProperties::default());
    assert_eq!(client.sent(), []);
    let mut server = server();
    server.give(&[auth(ReasonCode::ReAuthenticate, "M")]);
    assert!(is_violation(cause_of_server(&server)));
}

#[test]
fn mqtt_4_12_1_1_a_client_authenticates_again_with_the_method_of_connect() {
    let mut answer = connack(false);
    answer.properties.authentication_method = Some("M".into());
    let mut client = answered(with_method(), &answer);
    client.end.core.reauthenticate(AuthProperties::default());
    assert_eq!(client.sent(), [auth(ReasonCode::ReAuthenticate, "M")]);
}

#[test]
fn mqtt_4_13_1_1_a_malformed_packet_ends_the_connection_and_is_told_why() {
    let mut server = server();
    server.end.receive(&[0x36, 0], server.now);
    assert_eq!(farewell(&server.sent()), ReasonCode::MalformedPacket);
    assert!(server.end.is_closed);
}
