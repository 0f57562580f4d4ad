//! CONNECT, CONNACK, DISCONNECT: what is agreed on, and what becomes of the Will.

use super::*;
use crate::{
    Offence, PacketId, QoS,
    connection::{
        AcceptConnect, ClientConnection, ClientOptions, EndCause, PublishError, ServerConnection,
        ServerOptions,
    },
    fuzz::{
        ends::{End as Driven, Persisting},
        pair::{Pair, START, connack, connect, outgoing, publish},
    },
    packet::{ConnAck, ConnAckProperties, Connect, Disconnect, Will},
    session::{IncomingId, SessionState},
};

fn fresh_server(version: Version) -> Scripted<ServerConnection> {
    let end = Driven::new(ServerConnection::new(ServerOptions::default(), START), Persisting::AtOnce);
    let mut server = Scripted { end, now: START, version };
    server.end.drain(START);
    server
}

fn deciding(connect: &Connect) -> Scripted<ServerConnection> {
    let mut server = fresh_server(connect.version);
    server.give(&[Packet::Connect(Box::new(connect.clone()))]);
    server
}

fn with_will(version: Version) -> Connect {
    let topic = crate::fuzz::pair::topic_name("dead");
    let will = Will {
        topic,
        payload: bytes::Bytes::new(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Default::default(),
    };
    Connect { will: Some(will), keep_alive_s: 10, ..connect(version) }
}

fn open_with_will(version: Version) -> Scripted<ServerConnection> {
    let accept = AcceptConnect::default();
    let connect = with_will(version);
    let mut server = Scripted::server_with(ServerOptions::default(), &connect, accept, Persisting::AtOnce);
    server.sent();
    server
}

fn leaving(reason: ReasonCode, session_expiry_s: Option<u32>) -> Packet {
    Packet::Disconnect(Box::new(Disconnect { session_expiry_s, ..Disconnect::new(reason) }))
}

fn only_connack(packets: &[Packet]) -> &ConnAck {
    match packets {
        [Packet::ConnAck(connack)] => connack,
        other => panic!("CONNACK is expected and not {other:?}"),
    }
}

fn unfinished() -> SessionState {
    let mut client = Scripted::client(Version::V5, Persisting::AtOnce);
    client.publish(outgoing("t", QoS::AtLeastOnce, 1));
    let mut session = client.cut();
    session.incoming.restore(IncomingId::from_stored(PacketId::MIN));
    session
}

#[test]
fn connack_is_the_first_packet_and_input_rests_until_connect_is_decided() {
    for version in VERSIONS {
        let mut server = deciding(&connect(version));
        assert!(!server.end.core.wants_input());
        assert_eq!(server.exchange(&[Packet::PingReq]), []);
        server.end.let_in(AcceptConnect::default(), server.now);
        let sent = server.sent();
        assert!(matches!(sent.as_slice(), [Packet::ConnAck(_), Packet::PingResp]), "{sent:?}");
        assert!(server.end.core.wants_input());
    }
}

#[test]
fn a_session_that_is_there_is_said_to_be_present_where_the_version_can_say_it() {
    for version in VERSIONS {
        let mut server = Scripted::resumed_server(version, SessionState::default(), Persisting::AtOnce);
        let sent = server.sent();
        assert_eq!(only_connack(&sent).session_present, version != Version::V3_1);
    }
}

#[test]
fn a_server_never_says_that_a_session_is_present_after_a_clean_start() {
    let clean = Connect { clean_start: true, ..connect(Version::V5) };
    let accept = AcceptConnect { session: unfinished(), session_present: true, ..AcceptConnect::default() };
    let mut server = Scripted::server_with(ServerOptions::default(), &clean, accept, Persisting::AtOnce);
    let sent = server.sent();
    assert!(!only_connack(&sent).session_present);
    // Nor is anything of it sent, or known.
    server.give(&[Packet::Publish(publish("t", QoS::ExactlyOnce, 1))]);
    take_token(&mut server);
}

#[test]
fn a_server_without_a_session_sends_nothing_of_one() {
    let accept = AcceptConnect { session: unfinished(), session_present: false, ..AcceptConnect::default() };
    let connect = connect(Version::V5);
    let mut server = Scripted::server_with(ServerOptions::default(), &connect, accept, Persisting::AtOnce);
    assert!(!only_connack(&server.sent()).session_present);
    assert!(server.end.core.session().is_empty());
}

#[test]
fn a_client_refuses_a_session_after_a_clean_start() {
    let options = ClientOptions::new(Connect { clean_start: true, ..connect(Version::V5) });
    let client = Scripted::client_with(options, unfinished(), &connack(true), Persisting::AtOnce);
    let EndCause::Violation(violation) = &client_end(&client.end).cause else { panic!("no violation") };
    assert_eq!(violation.rule, Some("MQTT-3.2.2-2"));
    // What was unfinished is not lost by that.
    assert_eq!(client.cut().outgoing.len(), 1);
}

#[test]
fn a_client_without_state_refuses_a_session_if_it_is_told_to() {
    let mut options = ClientOptions::new(connect(Version::V5));
    let lenient = options.clone();
    options.refuse_unknown_session = true;
    let session = SessionState::default();
    let client = Scripted::client_with(options, session, &connack(true), Persisting::AtOnce);
    let EndCause::Violation(violation) = &client_end(&client.end).cause else { panic!("no violation") };
    assert_eq!(violation.rule, Some("MQTT-3.2.2-4"));
    let session = SessionState::default();
    assert!(Scripted::client_with(lenient, session, &connack(true), Persisting::AtOnce).end.core.is_open());
}

#[test]
fn a_client_that_is_told_of_no_session_gets_its_messages_back() {
    let options = ClientOptions::new(connect(Version::V5));
    let client = Scripted::client_with(options, unfinished(), &connack(false), Persisting::AtOnce);
    let Some(ClientEvent::Connected { lost, connack }) = client.end.events.front() else {
        panic!("not let in")
    };
    assert!(!connack.session_present);
    assert_eq!(lost.len(), 1);
    assert!(client.cut().is_empty());
}

#[test]
fn a_3_1_server_cannot_say_it_so_the_session_goes_on_unless_a_clean_one_was_asked_for() {
    for (clean_start, lost_count) in [(false, 0), (true, 1)] {
        let options = ClientOptions::new(Connect { clean_start, ..connect(Version::V3_1) });
        let client = Scripted::client_with(options, unfinished(), &connack(false), Persisting::AtOnce);
        let Some(ClientEvent::Connected { lost, .. }) = client.end.events.front() else {
            panic!("not let in")
        };
        assert_eq!(lost.len(), lost_count);
    }
}

#[test]
fn a_refusal_is_told_with_its_reason_and_keeps_the_session() {
    let options = ClientOptions::new(connect(Version::V5));
    let refusal = ConnAck { reason: ReasonCode::ServerBusy, ..connack(false) };
    let client = Scripted::client_with(options, unfinished(), &refusal, Persisting::AtOnce);
    assert!(matches!(client.end.events.front(), Some(ClientEvent::Refused(_))));
    assert_eq!(client_end(&client.end).cause, EndCause::Refused(ReasonCode::ServerBusy));
    let session = client.cut();
    assert_eq!((session.outgoing.len(), session.incoming.len()), (1, 1));
}

#[test]
fn nothing_but_connect_is_accepted_in_time_before_it() {
    let mut server = fresh_server(Version::V5);
    server.wait_ms(9_999);
    assert!(!server.end.is_closed);
    server.wait_ms(1);
    let end = server_end(&server.end);
    assert!(matches!(&end.cause, EndCause::Violation(violation)
        if matches!(violation.offence, Offence::DeadlineExceeded("CONNECT"))));
    assert_eq!(server.sent(), []);
}

#[test]
fn a_decision_that_takes_too_long_is_a_refusal_and_our_own_fault() {
    let mut server = deciding(&connect(Version::V5));
    server.wait_ms(10_000);
    assert_eq!(only_connack(&server.sent()).reason, ReasonCode::ServerBusy);
    assert_eq!(server_end(&server.end).cause, EndCause::Local(ReasonCode::ServerBusy));
}

#[test]
fn a_reason_that_connack_cannot_bear_becomes_one_that_it_can() {
    let mut server = deciding(&connect(Version::V5));
    server.end.core.disconnect(ReasonCode::SessionTakenOver);
    assert_eq!(only_connack(&server.sent()).reason, ReasonCode::UnspecifiedError);
}

#[test]
fn a_version_that_we_do_not_speak_is_refused_in_the_form_of_the_nearest() {
    for (level, connack) in [(2, &[0x20, 2, 0, 1][..]), (6, &[0x20, 3, 0, 0x84, 0])] {
        let mut server = fresh_server(Version::V3_1_1);
        server.end.receive(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 0, 0, 1, b'c'], server.now);
        assert_eq!(server.end.sent_bytes(server.now), connack);
        assert!(server.end.is_closed);
    }
}

#[test]
fn an_empty_client_id_needs_a_clean_session_in_3_1_1() {
    let nameless = |clean_start, version| Connect { client_id: "".into(), clean_start, ..connect(version) };
    let mut server = deciding(&nameless(false, Version::V3_1_1));
    assert_eq!(only_connack(&server.sent()).reason, ReasonCode::ClientIdentifierNotValid);
    assert!(server.end.is_closed);
    for connect in [nameless(true, Version::V3_1_1), nameless(false, Version::V5)] {
        assert!(matches!(deciding(&connect).end.events.front(), Some(ServerEvent::Connect(_))));
    }
}

#[test]
fn an_assigned_client_id_and_the_limits_of_the_server_reach_the_client() {
    let options = ClientOptions::new(Connect { client_id: "".into(), ..connect(Version::V5) });
    let server = ServerOptions { receive_maximum: 7, packet_bytes_max: 5_000, ..ServerOptions::default() };
    let mut pair = Pair::new(options, SessionState::default(), server, Persisting::AtOnce, START);
    pair.run();
    let properties =
        ConnAckProperties { assigned_client_id: Some("made-up".into()), ..ConnAckProperties::default() };
    pair.server.let_in(AcceptConnect { properties, ..AcceptConnect::default() }, pair.now);
    pair.run();
    let Some(ClientEvent::Connected { connack, .. }) = pair.client.events.front() else {
        panic!("not let in")
    };
    assert_eq!(connack.properties.assigned_client_id.as_deref(), Some("made-up"));
    assert_eq!(connack.properties.receive_maximum, Some(7));
    assert_eq!(connack.properties.topic_alias_maximum, Some(16));
    assert_eq!(pair.client.core.peer_packet_bytes_max(), 5_000);
    assert_eq!(pair.client.core.send_quota(), 7);
}

#[test]
fn a_disconnect_may_change_the_session_expiry_but_not_from_zero() {
    let with_expiry = |session_expiry_s| {
        let mut connect = connect(Version::V5);
        connect.properties.session_expiry_s = session_expiry_s;
        let accept = AcceptConnect::default();
        Scripted::server_with(ServerOptions::default(), &connect, accept, Persisting::AtOnce)
    };
    for asked in [None, Some(0)] {
        let mut server = with_expiry(asked);
        server.sent();
        server.give(&[leaving(ReasonCode::Success, Some(5))]);
        let end = server_end(&server.end);
        assert!(
            matches!(&end.cause, EndCause::Violation(violation) if violation.rule == Some("MQTT-3.14.2-2"))
        );
        assert!(end.publish_will, "it was no valid DISCONNECT");
        assert!(matches!(server.sent().as_slice(), [Packet::Disconnect(_)]));
    }
    for (asked, said) in [(Some(60), Some(0)), (Some(60), Some(90)), (Some(60), None), (Some(0), Some(0))] {
        let mut server = with_expiry(asked);
        server.give(&[leaving(ReasonCode::Success, said)]);
        let end = server_end(&server.end);
        assert!(matches!(end.cause, EndCause::Peer(_)));
        assert_eq!(end.session_expiry_s, said);
    }
}

#[test]
fn a_server_names_no_session_expiry_and_a_client_no_server_in_disconnect() {
    let mut both = Disconnect::new(ReasonCode::UnspecifiedError);
    both.session_expiry_s = Some(5);
    both.server_reference = Some("elsewhere".into());

    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.sent();
    server.end.core.disconnect_with(both.clone());
    let sent = server.sent();
    assert!(matches!(sent.as_slice(), [Packet::Disconnect(said)] if said.session_expiry_s.is_none()));

    let mut client = Scripted::client(Version::V5, Persisting::AtOnce);
    client.end.core.disconnect(both);
    let sent = client.sent();
    assert!(matches!(sent.as_slice(), [Packet::Disconnect(said)] if said.server_reference.is_none()));
}

#[test]
fn the_will_is_dropped_after_a_normal_disconnect_only() {
    type Death = fn(&mut Scripted<ServerConnection>);
    let deaths: [(&str, Death, bool); 9] = [
        ("normal disconnect", |server| server.give(&[leaving(ReasonCode::Success, None)]), false),
        (
            "then the end of the stream",
            |server| {
                server.give(&[leaving(ReasonCode::Success, None)]);
                server.end.hang_up(server.now);
            },
            false,
        ),
        ("the end of the stream", |server| server.end.hang_up(server.now), true),
        ("silence", |server| server.wait_ms(15_000), true),
        ("nonsense", |server| server.end.receive(&[0xFF, 0xFF], server.now), true),
        (
            "a second CONNECT",
            |server| {
                let again = crate::fuzz::ends::bytes(
                    &[Packet::Connect(Box::new(connect(server.version)))],
                    server.version,
                );
                server.end.receive(&again, server.now);
            },
            true,
        ),
        (
            "takeover",
            |server| {
                server.end.core.disconnect(ReasonCode::SessionTakenOver);
                server.end.drain(server.now);
            },
            true,
        ),
        (
            "an alias out of bounds",
            |server| {
                server.end.receive(&[0x30, 8, 0, 1, b'a', 3, 0x23, 0xFF, 0xFF, b'x'], server.now);
                server.end.hang_up(server.now);
            },
            true,
        ),
        (
            "half a packet and the end of the stream",
            |server| {
                server.end.receive(&[0x30, 8, 0], server.now);
                server.end.hang_up(server.now);
            },
            true,
        ),
    ];
    for version in VERSIONS {
        for (name, die, is_published) in &deaths {
            let mut server = open_with_will(version);
            die(&mut server);
            assert_eq!(server_end(&server.end).publish_will, *is_published, "{version}: {name}");
            assert!(server.end.is_closed);
            let ends =
                server.end.events.iter().filter(|event| matches!(event, ServerEvent::Ended(_))).count();
            assert_eq!(ends, 1, "{version}: {name}: one death, one will");
        }
    }
}

#[test]
fn a_disconnect_of_mqtt_5_with_another_reason_publishes_the_will() {
    for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError, ReasonCode::ProtocolError] {
        let mut server = open_with_will(Version::V5);
        server.give(&[leaving(reason, None)]);
        assert!(server_end(&server.end).publish_will, "{reason}");
    }
}

#[test]
fn who_was_never_let_in_has_no_will() {
    for version in VERSIONS {
        let mut gone = deciding(&with_will(version));
        gone.end.hang_up(gone.now);
        assert!(!server_end(&gone.end).publish_will);

        let mut refused = deciding(&with_will(version));
        refused.end.core.reject_connect(ReasonCode::NotAuthorized, ConnAckProperties::default());
        refused.end.drain(refused.now);
        assert!(!server_end(&refused.end).publish_will);

        let mut late = deciding(&with_will(version));
        late.wait_ms(10_000);
        assert!(!server_end(&late.end).publish_will);
    }
}

#[test]
fn nothing_is_published_before_connack_and_after_the_end() {
    let options = ClientOptions::new(connect(Version::V5));
    let mut client: Scripted<ClientConnection> =
        Scripted::waiting_client(options, SessionState::default(), Persisting::AtOnce);
    let now = client.now;
    let core = &mut client.end.core;
    assert_eq!(core.publish(outgoing("t", QoS::AtMostOnce, 1), now), Err(PublishError::NotOpen));
    assert_eq!(core.subscribe(Vec::new(), Default::default()), None);
    client.give(&[Packet::ConnAck(Box::new(connack(false)))]);
    client.end.core.disconnect(Disconnect::new(ReasonCode::Success));
    client.end.drain(now);
    assert_eq!(client.end.core.publish(outgoing("t", QoS::AtMostOnce, 1), now), Err(PublishError::NotOpen));
    assert_eq!(client.sent(), [Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success)))]);
    assert_eq!(client.end.core.send_quota(), 0);
}

#[test]
fn the_end_is_told_once_whatever_comes_after_it() {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.end.core.disconnect(ReasonCode::ServerShuttingDown);
    server.end.core.disconnect(ReasonCode::ServerBusy);
    server.end.hang_up(server.now);
    server.wait_ms(1_000_000);
    server.end.core.handle_timeout(server.now);
    server.end.drain(server.now);
    let ends = server.end.events.iter().filter(|event| matches!(event, ServerEvent::Ended(_))).count();
    assert_eq!(ends, 1);
    assert_eq!(server_end(&server.end).cause, EndCause::Local(ReasonCode::ServerShuttingDown));
}
