//! Chapter 3.14: DISCONNECT, and 3.12: PINGREQ.

use crosspoint_protocol::{fuzz::pair::outgoing, packet::Disconnect};

use super::*;

fn leave(disconnect: Disconnect) -> Packet {
    Packet::Disconnect(Box::new(disconnect))
}

fn publishes_will(reason: ReasonCode) -> bool {
    let mut server = server();
    server.give(&[leave(Disconnect::new(reason))]);
    match server.end.events.back() {
        Some(ServerEvent::Ended(end)) => end.publish_will,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mqtt_3_12_4_1_pingreq_is_answered_with_pingresp() {
    let mut server = server();
    assert_eq!(server.exchange(&[Packet::PingReq]), [Packet::PingResp]);
}

#[test]
fn mqtt_3_14_0_1_a_server_says_disconnect_only_after_connack() {
    let mut server = fresh(Version::V5);
    server.end.core.disconnect(ReasonCode::ServerBusy);
    assert_eq!(server.sent(), []);
    let connect = crosspoint_protocol::fuzz::pair::connect(Version::V5);
    let mut server = deciding(&connect);
    server.end.core.disconnect(ReasonCode::ServerBusy);
    assert_eq!(only_connack(&server.sent()).reason, ReasonCode::ServerBusy);
}

#[test]
fn mqtt_3_14_2_2_a_server_names_no_session_expiry() {
    let mut server = server();
    let disconnect = Disconnect { session_expiry_s: Some(9), ..Disconnect::new(ReasonCode::ServerBusy) };
    server.end.core.disconnect_with(disconnect);
    assert_eq!(server.sent(), [leave(Disconnect::new(ReasonCode::ServerBusy))]);
}

#[test]
fn mqtt_3_14_4_1_nothing_is_sent_after_disconnect() {
    let mut server = server();
    server.give(&[qos1(1)]);
    let token = tokens(&mut server)[0];
    server.end.core.disconnect(ReasonCode::ServerBusy);
    server.accept(token);
    assert!(server.end.core.publish(outgoing("t", QoS::AtMostOnce, 1), server.now).is_err());
    server.give(&[Packet::PingReq]);
    assert_eq!(farewell(&server.sent()), ReasonCode::ServerBusy);
}

#[test]
fn mqtt_3_14_4_2_the_connection_is_closed_after_disconnect() {
    let mut client = client();
    client.end.core.disconnect(Disconnect::new(ReasonCode::Success));
    client.end.drain(client.now);
    assert!(client.end.is_closed);
}

#[test]
fn mqtt_3_14_4_3_the_will_is_discarded_after_a_normal_disconnect() {
    assert!(!publishes_will(ReasonCode::Success));
    assert!(publishes_will(ReasonCode::DisconnectWithWill));
    assert!(publishes_will(ReasonCode::UnspecifiedError));
}
