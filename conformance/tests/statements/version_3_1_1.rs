//! MQTT 3.1.1 where its statements differ from those of 5.0.

use crosspoint_protocol::fuzz::pair::connect;

use super::*;

fn old(version: Version) -> Server {
    let mut server = Scripted::server(version, Persisting::AtOnce);
    server.sent();
    server
}

#[test]
fn mqtt_3_1_3_8_an_empty_client_id_without_clean_session_is_refused() {
    let nameless = |clean_start| Connect { client_id: "".into(), clean_start, ..connect(Version::V3_1_1) };
    let mut server = deciding(&nameless(false));
    assert_eq!(only_connack(&server.sent()).reason, ReasonCode::ClientIdentifierNotValid);
    assert!(server.end.is_closed);
    assert_eq!(deciding(&nameless(true)).sent(), []);
}

#[test]
fn mqtt_3_3_5_2_a_publish_that_is_not_authorized_is_acknowledged_or_ends_the_connection() {
    let mut server = old(Version::V3_1_1);
    server.give(&[qos1(1)]);
    let token = tokens(&mut server)[0];
    server.reject(token, ReasonCode::NotAuthorized);
    assert_eq!(server.sent(), [puback(1)]);
    server.give(&[qos2(2)]);
    let token = tokens(&mut server)[0];
    server.reject(token, ReasonCode::QuotaExceeded);
    assert_eq!(server.sent(), []);
    assert!(server.end.is_closed);
}

#[test]
fn mqtt_3_8_4_5_a_refused_filter_is_told_with_0x80() {
    let mut server = old(Version::V3_1_1);
    server.end.core.suback(PacketId::MIN, vec![ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized]);
    assert_eq!(server.end.sent_bytes(server.now), [0x90, 4, 0, 1, 1, 0x80]);
}

#[test]
fn mqtt_4_8_0_1_a_violation_closes_the_connection_without_a_word() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let mut server = old(version);
        server.end.receive(&[0x36, 0], server.now);
        assert_eq!(server.sent(), []);
        assert!(server.end.is_closed);
    }
}
