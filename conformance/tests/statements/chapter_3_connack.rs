//! Chapter 3.2: CONNACK.

use crosspoint_protocol::{
    connection::PublishError,
    fuzz::pair::{connack, connect, outgoing},
    packet::ConnAckProperties,
};

use super::*;

#[test]
fn mqtt_3_2_0_1_a_server_sends_connack_before_anything_else() {
    let mut before = server();
    before.publish(outgoing("t", QoS::AtLeastOnce, 1));
    let accept = AcceptConnect { session: before.cut(), session_present: true, ..AcceptConnect::default() };
    let mut server = let_in(&connect(Version::V5), accept);
    assert!(matches!(server.sent().as_slice(), [Packet::ConnAck(_), Packet::Publish(_)]));

    let options = ClientOptions::new(connect(Version::V5));
    let mut client = Scripted::waiting_client(options, SessionState::default(), Persisting::AtOnce);
    client.give(&[qos1(1)]);
    assert!(is_violation(cause_of_client(&client)));
}

#[test]
fn mqtt_3_2_0_2_a_second_connack_breaks_the_protocol() {
    let mut client = client();
    client.give(&[Packet::ConnAck(Box::new(connack(false)))]);
    assert!(is_violation(cause_of_client(&client)));
}

#[test]
fn mqtt_3_2_2_2_no_session_is_present_after_a_clean_start() {
    let clean = || Connect { clean_start: true, ..connect(Version::V5) };
    let accept = AcceptConnect { session_present: true, ..AcceptConnect::default() };
    assert!(!only_connack(&let_in(&clean(), accept).sent()).session_present);
    assert!(is_violation(cause_of_client(&answered(clean(), &connack(true)))));
}

#[test]
fn mqtt_3_2_2_3_a_session_that_there_is_is_said_to_be_present() {
    for session_present in [false, true] {
        let accept = AcceptConnect { session_present, ..AcceptConnect::default() };
        let mut server = let_in(&connect(Version::V5), accept);
        assert_eq!(only_connack(&server.sent()).session_present, session_present);
    }
}

#[test]
fn mqtt_3_2_2_4_a_client_without_state_can_refuse_a_session() {
    let mut options = ClientOptions::new(connect(Version::V5));
    options.refuse_unknown_session = true;
    let session = SessionState::default();
    let client = Scripted::client_with(options, session, &connack(true), Persisting::AtOnce);
    assert!(is_violation(cause_of_client(&client)));
}

#[test]
fn mqtt_3_2_2_5_a_client_discards_a_session_that_the_server_does_not_have() {
    let mut before = client();
    before.publish(outgoing("t", QoS::ExactlyOnce, 1));
    let options = ClientOptions::new(connect(Version::V5));
    let mut client = Scripted::client_with(options, before.cut(), &connack(false), Persisting::AtOnce);
    assert_eq!(client.sent(), []);
    assert!(client.cut().is_empty());
}

#[test]
fn mqtt_3_2_2_6_a_refusal_says_that_no_session_is_present() {
    let mut server = deciding(&connect(Version::V5));
    server.end.core.reject_connect(ReasonCode::ServerBusy, ConnAckProperties::default());
    assert!(!only_connack(&server.sent()).session_present);
}

#[test]
fn mqtt_3_2_2_7_a_refusal_ends_the_connection() {
    let mut server = deciding(&connect(Version::V5));
    server.end.core.reject_connect(ReasonCode::ServerBusy, ConnAckProperties::default());
    server.end.drain(server.now);
    assert!(server.end.is_closed);
}

#[test]
fn mqtt_3_2_2_11_a_client_does_not_exceed_the_maximum_qos() {
    let mut answer = connack(false);
    answer.properties.maximum_qos = Some(QoS::AtLeastOnce);
    let mut client = answered(connect(Version::V5), &answer);
    let now = client.now;
    let refused = client.end.core.publish(outgoing("t", QoS::ExactlyOnce, 1), now);
    assert_eq!(refused, Err(PublishError::QosNotSupported));
    assert_eq!(client.end.core.publish(outgoing("t", QoS::AtLeastOnce, 1), now), Ok(()));
}

#[test]
fn mqtt_3_2_2_14_a_client_does_not_retain_where_that_is_not_supported() {
    let mut answer = connack(false);
    answer.properties.retain_available = Some(false);
    let mut client = answered(connect(Version::V5), &answer);
    let mut message = outgoing("t", QoS::AtMostOnce, 1);
    message.retain = true;
    assert_eq!(client.end.core.publish(message, client.now), Err(PublishError::RetainNotSupported));
}

#[test]
fn mqtt_3_2_2_15_a_client_sends_nothing_larger_than_the_server_accepts() {
    let mut answer = connack(false);
    answer.properties.maximum_packet_bytes = Some(30);
    let mut client = answered(connect(Version::V5), &answer);
    let message = outgoing("a/topic/that/is/too/long", QoS::AtLeastOnce, 1);
    let refused = client.end.core.publish(message, client.now);
    assert!(matches!(refused, Err(PublishError::TooLarge { max: 30, .. })));
    assert_eq!(client.sent(), []);
}

#[test]
fn mqtt_3_2_2_17_a_client_sends_no_topic_alias_above_the_maximum() {
    let mut answer = connack(false);
    answer.properties.topic_alias_maximum = Some(1);
    let mut client = answered(connect(Version::V5), &answer);
    client.publish(outgoing("a", QoS::AtMostOnce, 1));
    client.publish(outgoing("b", QoS::AtMostOnce, 1));
    let sent = client.sent();
    let aliases: Vec<_> = published(&sent).iter().map(|it| it.properties.topic_alias()).collect();
    assert_eq!(aliases, [Some(1), None]);
}

#[test]
fn mqtt_3_2_2_18_a_client_sends_no_topic_alias_where_none_is_allowed() {
    let mut client = client();
    client.publish(outgoing("a", QoS::AtMostOnce, 1));
    assert_eq!(published(&client.sent())[0].properties.topic_alias(), None);
}

fn talkative(reason_string: bool) -> AcceptConnect {
    let text = "a text that makes the packet larger than the client accepts";
    let mut properties = ConnAckProperties::default();
    if reason_string {
        properties.reason_string = Some(text.into());
    } else {
        properties.user_properties = vec![("text".into(), text.into())];
    }
    AcceptConnect { properties, ..AcceptConnect::default() }
}

fn narrow() -> Connect {
    let mut connect = connect(Version::V5);
    connect.properties.maximum_packet_bytes = Some(40);
    connect
}

#[test]
fn mqtt_3_2_2_19_a_reason_string_does_not_make_connack_too_large() {
    let mut server = let_in(&narrow(), talkative(true));
    assert_eq!(only_connack(&server.sent()).properties.reason_string, None);
}

#[test]
fn mqtt_3_2_2_20_user_properties_do_not_make_connack_too_large() {
    let mut server = let_in(&narrow(), talkative(false));
    assert!(only_connack(&server.sent()).properties.user_properties.is_empty());
}

#[test]
fn mqtt_3_2_2_21_a_client_uses_the_keep_alive_of_the_server() {
    let mut answer = connack(false);
    answer.properties.server_keep_alive_s = Some(7);
    let mut client = answered(Connect { keep_alive_s: 60, ..connect(Version::V5) }, &answer);
    client.wait_ms(7_000);
    assert_eq!(client.sent(), [Packet::PingReq]);
}

#[test]
fn mqtt_3_2_2_22_without_another_the_server_uses_the_keep_alive_of_the_client() {
    let asked = Connect { keep_alive_s: 60, ..connect(Version::V5) };
    let mut server = let_in(&asked, AcceptConnect::default());
    assert_eq!(only_connack(&server.sent()).properties.server_keep_alive_s, None);
    assert_eq!(server.end.core.keep_alive_s(), 60);
}
