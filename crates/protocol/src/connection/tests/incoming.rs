//! What a peer publishes: QoS 2 across connections, order of answers, decisions that come late.

use super::*;
use crate::{
    PacketId, QoS,
    connection::{Delta, EndCause},
    fuzz::{ends::Persisting, pair::publish},
    packet::Publish,
    session::{IncomingId, SessionState},
};

fn qos2(id: u16) -> Packet {
    Packet::Publish(publish("t", QoS::ExactlyOnce, id))
}

fn qos1(id: u16) -> Packet {
    Packet::Publish(publish("t", QoS::AtLeastOnce, id))
}

fn again(id: u16) -> Packet {
    Packet::Publish(Publish { dup: true, ..publish("t", QoS::ExactlyOnce, id) })
}

fn recorded(id: u16) -> SessionState {
    let mut session = SessionState::default();
    session.incoming.restore(IncomingId::from_stored(PacketId::new(id).unwrap()));
    session
}

/// A server that has been sent a message at QoS 2 under identifier 7 and has answered PUBREC.
fn after_pubrec(version: Version) -> Scripted<super::super::ServerConnection> {
    let mut server = Scripted::server(version, Persisting::AtOnce);
    server.sent();
    server.give(&[qos2(7)]);
    let token = take_token(&mut server);
    server.accept(token);
    assert_eq!(server.sent(), [pubrec(7)]);
    server
}

#[test]
fn a_dup_after_our_pubrec_on_a_resumed_session_is_answered_and_not_delivered_twice() {
    for version in VERSIONS {
        let session = after_pubrec(version).cut();
        let mut server = Scripted::resumed_server(version, session, Persisting::AtOnce);
        server.sent();
        assert_eq!(server.exchange(&[again(7)]), [pubrec(7)]);
        assert_eq!(server.exchange(&[pubrel(7)]), [pubcomp(7)]);
        assert!(server.end.events.is_empty(), "{version}: {:?}", server.end.events);
        assert!(server.end.core.session().is_empty());
    }
}

#[test]
fn a_dup_after_a_restart_is_not_delivered_twice_either() {
    for version in VERSIONS {
        let mut server = Scripted::resumed_server(version, recorded(7), Persisting::AtOnce);
        server.sent();
        assert_eq!(server.exchange(&[again(7)]), [pubrec(7)]);
        assert!(server.end.events.is_empty());
    }
}

#[test]
fn a_client_does_not_deliver_a_dup_twice_either() {
    for version in VERSIONS {
        let mut client = Scripted::resumed_client(version, recorded(7), Persisting::AtOnce);
        client.end.events.clear();
        assert_eq!(client.exchange(&[again(7)]), [pubrec(7)]);
        assert_eq!(client.exchange(&[pubrel(7)]), [pubcomp(7)]);
        assert!(client.end.events.is_empty());
    }
}

#[test]
fn a_pubrel_for_a_known_identifier_after_a_resumption_is_answered_with_pubcomp() {
    for version in VERSIONS {
        let session = after_pubrec(version).cut();
        let mut server = Scripted::resumed_server(version, session, Persisting::AtOnce);
        server.sent();
        assert_eq!(server.exchange(&[pubrel(7)]), [pubcomp(7)]);
        assert!(server.end.core.is_open());
    }
}

#[test]
fn a_pubrel_for_an_unknown_identifier_is_answered_and_never_ends_the_connection() {
    for version in VERSIONS {
        let mut server = Scripted::resumed_server(version, SessionState::default(), Persisting::AtOnce);
        server.sent();
        let answers = server.exchange(&[pubrel(7), pubrel(7), pubrel(9)]);
        let expected = [7, 7, 9].map(|id| pubcomp_not_found(id, version));
        assert_eq!(answers, expected);
        assert!(server.end.core.is_open());

        let mut client = Scripted::resumed_client(version, SessionState::default(), Persisting::AtOnce);
        assert_eq!(client.exchange(&[pubrel(7)]), [pubcomp_not_found(7, version)]);
        assert!(client.end.core.is_open());
    }
}

#[test]
fn a_released_identifier_takes_a_new_message() {
    for version in VERSIONS {
        let mut server = after_pubrec(version);
        server.exchange(&[pubrel(7)]);
        server.give(&[qos2(7)]);
        take_token(&mut server);
    }
}

#[test]
fn a_message_that_is_repeated_before_it_is_decided_is_delivered_once_and_answered_once() {
    for version in VERSIONS {
        let mut server = Scripted::server(version, Persisting::AtOnce);
        server.sent();
        server.give(&[qos2(7), again(7), again(7)]);
        let token = take_token(&mut server);
        assert!(server.end.events.is_empty());
        assert_eq!(server.sent(), []);
        server.accept(token);
        assert_eq!(server.sent(), [pubrec(7)]);
    }
}

#[test]
fn an_accept_that_comes_after_the_reconnect_answers_the_repeated_message() {
    for version in VERSIONS {
        let mut server = Scripted::server(version, Persisting::AtOnce);
        server.give(&[qos2(7)]);
        let token = take_token(&mut server);
        let session = server.cut();

        let mut server = Scripted::resumed_server(version, session, Persisting::AtOnce);
        server.sent();
        assert_eq!(server.exchange(&[again(7)]), []);
        assert!(server.end.events.is_empty());
        server.accept(token);
        assert_eq!(server.sent(), [pubrec(7)]);
        assert_eq!(server.exchange(&[pubrel(7)]), [pubcomp(7)]);
    }
}

#[test]
fn an_accept_between_two_connections_is_kept_in_the_session() {
    for version in VERSIONS {
        let mut server = Scripted::server(version, Persisting::AtOnce);
        server.give(&[qos2(7)]);
        let token = take_token(&mut server);
        let mut session = server.cut();
        session.incoming.decide(token, ReasonCode::Success);
        assert_eq!(session.incoming.recorded().count(), 1);

        let mut server = Scripted::resumed_server(version, session, Persisting::AtOnce);
        server.sent();
        assert_eq!(server.exchange(&[again(7)]), [pubrec(7)]);
        assert!(server.end.events.is_empty());
    }
}

#[test]
fn an_accept_between_connect_and_connack_is_not_lost() {
    for version in VERSIONS {
        let mut client = Scripted::client(version, Persisting::AtOnce);
        client.end.events.clear();
        client.give(&[qos2(7)]);
        let Some(ClientEvent::Publish(incoming)) = client.end.events.pop_front() else {
            panic!("no message")
        };
        let session = client.cut();

        let options = crate::connection::ClientOptions::new(crate::fuzz::pair::connect(version));
        let mut client = Scripted::waiting_client(options, session, Persisting::AtOnce);
        client.accept(incoming.token.unwrap());
        client.give(&[Packet::ConnAck(Box::new(crate::fuzz::pair::connack(true)))]);
        client.end.events.clear();
        assert_eq!(client.exchange(&[again(7)]), [pubrec(7)]);
        assert!(client.end.events.is_empty());
    }
}

#[test]
fn a_reject_after_the_reconnect_answers_with_its_reason_and_frees_the_identifier() {
    let version = Version::V5;
    let mut server = Scripted::server(version, Persisting::AtOnce);
    server.give(&[qos2(7)]);
    let token = take_token(&mut server);
    let session = server.cut();

    let mut server = Scripted::resumed_server(version, session, Persisting::AtOnce);
    server.sent();
    server.give(&[again(7)]);
    server.reject(token, ReasonCode::QuotaExceeded);
    assert_eq!(server.sent(), [Packet::PubRec(ack(7, ReasonCode::QuotaExceeded))]);
    assert!(server.end.core.session().is_empty());
    server.give(&[qos2(7)]);
    take_token(&mut server);
}

#[test]
fn a_rejection_that_3_1_1_cannot_say_ends_the_connection_and_leaves_the_message_to_be_offered_again() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let mut server = Scripted::server(version, Persisting::AtOnce);
        server.sent();
        server.give(&[qos2(7)]);
        let token = take_token(&mut server);
        server.reject(token, ReasonCode::QuotaExceeded);
        assert_eq!(server.sent(), []);
        assert_eq!(server_end(&server.end).cause, EndCause::Local(ReasonCode::QuotaExceeded));
        let session = server.cut();

        let mut server = Scripted::resumed_server(version, session, Persisting::AtOnce);
        server.give(&[again(7)]);
        take_token(&mut server);
    }
}

#[test]
fn a_message_that_3_1_1_may_not_publish_is_acknowledged_all_the_same() {
    let mut server = Scripted::server(Version::V3_1_1, Persisting::AtOnce);
    server.sent();
    server.give(&[qos1(7)]);
    let token = take_token(&mut server);
    server.reject(token, ReasonCode::NotAuthorized);
    assert_eq!(server.sent(), [puback(7)]);
    assert!(server.end.core.is_open());
}

#[test]
fn answers_follow_the_order_of_the_messages_whatever_the_order_of_decisions() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
        server.sent();
        server.give(&[qos1(1), qos2(2), qos1(3), qos2(4)]);
        let tokens: Vec<Token> = (0..4).map(|_| take_token(&mut server)).collect();
        let mut answers = Vec::new();
        for decision in order {
            match decision {
                2 => server.reject(tokens[2], ReasonCode::QuotaExceeded),
                other => server.accept(tokens[other]),
            }
            answers.extend(server.sent());
        }
        let refused = Packet::PubAck(ack(3, ReasonCode::QuotaExceeded));
        assert_eq!(answers, [puback(1), pubrec(2), refused, pubrec(4)], "{order:?}");
    }
}

#[test]
fn a_repeated_known_message_is_answered_in_its_turn_too() {
    let mut server = Scripted::resumed_server(Version::V5, recorded(7), Persisting::AtOnce);
    server.sent();
    server.give(&[qos1(1), again(7)]);
    let token = take_token(&mut server);
    assert_eq!(server.sent(), []);
    server.accept(token);
    assert_eq!(server.sent(), [puback(1), pubrec(7)]);
}

#[test]
fn the_first_decision_counts() {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.sent();
    server.give(&[qos1(1), qos2(2)]);
    let (first, second) = (take_token(&mut server), take_token(&mut server));
    server.accept(second);
    server.reject(second, ReasonCode::QuotaExceeded);
    server.accept(first);
    server.reject(first, ReasonCode::QuotaExceeded);
    assert_eq!(server.sent(), [puback(1), pubrec(2)]);
    assert_eq!(server.end.core.session().incoming.recorded().count(), 1);
}

#[test]
fn a_reason_that_an_acknowledgement_cannot_bear_becomes_one_that_it_can() {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.sent();
    server.give(&[qos1(1), qos1(2)]);
    let (first, second) = (take_token(&mut server), take_token(&mut server));
    server.reject(first, ReasonCode::ServerBusy);
    server.end.core.accept_with(second, ReasonCode::NoMatchingSubscribers);
    let expected = [(1, ReasonCode::UnspecifiedError), (2, ReasonCode::NoMatchingSubscribers)]
        .map(|(id, reason)| Packet::PubAck(ack(id, reason)));
    assert_eq!(server.sent(), expected);
}

#[test]
fn nothing_is_answered_after_disconnect() {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.sent();
    server.give(&[qos2(7), qos1(8)]);
    let (first, second) = (take_token(&mut server), take_token(&mut server));
    server.end.core.disconnect(ReasonCode::ServerShuttingDown);
    server.end.drain(server.now);
    server.accept(first);
    server.accept(second);
    let sent = server.sent();
    assert!(matches!(sent.as_slice(), [Packet::Disconnect(_)]), "{sent:?}");
    // Only the session knows.
    assert_eq!(server.cut().incoming.recorded().count(), 1);
}

#[test]
fn a_pubrel_before_our_pubrec_waits_for_the_decision() {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.sent();
    server.give(&[qos2(7), pubrel(7)]);
    let token = take_token(&mut server);
    assert_eq!(server.sent(), []);
    assert_eq!(server.end.deltas, []);
    server.accept(token);
    assert_eq!(server.sent(), [pubrec(7), pubcomp(7)]);
    assert!(server.end.core.session().is_empty());
    assert!(matches!(server.end.deltas.as_slice(), [Delta::Released { .. }]));
}

#[test]
fn a_pubrel_for_a_message_that_no_pubrec_ever_answered_breaks_the_protocol() {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.give(&[qos2(7)]);
    take_token(&mut server);
    let session = server.cut();
    let mut server = Scripted::resumed_server(Version::V5, session, Persisting::AtOnce);
    server.give(&[pubrel(7)]);
    assert!(matches!(server_end(&server.end).cause, EndCause::Violation(_)));
}

#[test]
fn an_unfinished_message_of_a_rejected_or_finished_exchange_does_not_leak() {
    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    for round in 1..=2_000_u16 {
        server.give(&[qos2(round)]);
        let token = take_token(&mut server);
        if round % 2 == 0 {
            server.reject(token, ReasonCode::QuotaExceeded);
        } else {
            server.accept(token);
            server.give(&[pubrel(round)]);
        }
        server.sent();
    }
    assert!(server.end.core.is_open(), "{:?}", server.end.events);
    assert!(server.end.core.session().is_empty());
}

#[test]
fn a_message_at_qos_0_has_no_token() {
    let mut client = Scripted::client(Version::V5, Persisting::AtOnce);
    client.end.events.clear();
    assert_eq!(client.exchange(&[Packet::Publish(publish("t", QoS::AtMostOnce, 0))]), []);
    let Some(ClientEvent::Publish(incoming)) = client.end.events.pop_front() else { panic!("no message") };
    assert_eq!(incoming.token, None);
    assert_eq!(incoming.delta(), None);
}
