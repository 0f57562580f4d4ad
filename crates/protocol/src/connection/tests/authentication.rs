//! Enhanced authentication, before the client is let in and again later.

use bytes::Bytes;

use super::*;
use crate::{
    Offence, PacketId,
    connection::{AcceptConnect, ClientConnection, ClientOptions, EndCause, ServerConnection, ServerOptions},
    fuzz::{
        ends::{End, Persisting},
        pair::{Pair, START, connack, connect},
    },
    packet::{Auth, AuthProperties, ConnAckProperties, Connect, Disconnect},
    scram::{ClientExchange, ClientFirst, Iterations, Keys, Password},
    session::{IncomingId, SessionState},
};

fn with_method() -> Connect {
    let mut connect = connect(Version::V5);
    connect.properties.authentication_method = Some("SCRAM".into());
    connect
}

fn step(reason: ReasonCode, method: &'static str) -> Packet {
    let properties = AuthProperties { method: Some(method.into()), ..AuthProperties::default() };
    Packet::Auth(Box::new(Auth { reason, properties }))
}

fn said(data: &'static [u8]) -> AuthProperties {
    AuthProperties { data: Some(Bytes::from_static(data)), ..AuthProperties::default() }
}

/// A server that decides on a CONNECT with a method.
fn deciding() -> Scripted<ServerConnection> {
    let end = End::new(ServerConnection::new(ServerOptions::default(), START), Persisting::AtOnce);
    let mut server = Scripted { end, now: START, version: Version::V5 };
    server.give(&[Packet::Connect(Box::new(with_method()))]);
    server.end.events.clear();
    server
}

fn open_server() -> Scripted<ServerConnection> {
    let accept = AcceptConnect::default();
    let mut server =
        Scripted::server_with(ServerOptions::default(), &with_method(), accept, Persisting::AtOnce);
    server.sent();
    server
}

fn open_client() -> Scripted<ClientConnection> {
    let options = ClientOptions::new(with_method());
    let mut answer = connack(false);
    answer.properties.authentication_method = Some("SCRAM".into());
    let mut client = Scripted::client_with(options, SessionState::default(), &answer, Persisting::AtOnce);
    client.end.events.clear();
    client
}

fn is_violation(cause: &EndCause, rule: &str) -> bool {
    matches!(cause, EndCause::Violation(violation) if violation.rule == Some(rule))
}

#[test]
fn a_client_is_let_in_after_two_challenges() {
    let options = ClientOptions::new(with_method());
    let mut pair =
        Pair::new(options, SessionState::default(), ServerOptions::default(), Persisting::AtOnce, START);
    pair.run();
    assert!(matches!(pair.server.events.pop_front(), Some(ServerEvent::Connect(_))));
    for data in [b"one", b"two"] {
        pair.server.core.challenge(said(data));
        pair.server.drain(pair.now);
        pair.run();
        let Some(ClientEvent::Auth(auth)) = pair.client.events.pop_front() else { panic!("no challenge") };
        assert_eq!(auth.reason, ReasonCode::ContinueAuthentication);
        assert_eq!(auth.properties.data.as_deref(), Some(&data[..]));
        assert_eq!(auth.properties.method.as_deref(), Some("SCRAM"));
        pair.client.core.continue_auth(said(b"answer"));
        pair.client.drain(pair.now);
        pair.run();
        let Some(ServerEvent::Auth(auth)) = pair.server.events.pop_front() else { panic!("no answer") };
        assert_eq!(auth.properties.data.as_deref(), Some(&b"answer"[..]));
        assert_eq!(auth.properties.method.as_deref(), Some("SCRAM"));
    }
    pair.server.core.accept_connect(AcceptConnect::default(), pair.now);
    pair.server.drain(pair.now);
    pair.run();
    let Some(ClientEvent::Connected { connack, .. }) = pair.client.events.pop_front() else {
        panic!("not let in")
    };
    assert_eq!(connack.properties.authentication_method.as_deref(), Some("SCRAM"));
}

#[test]
fn a_client_authenticates_again_on_an_open_connection() {
    let options = ClientOptions::new(with_method());
    let session = SessionState::default();
    let mut pair = Pair::open(options, session, ServerOptions::default(), None, Persisting::AtOnce);
    pair.client.events.clear();
    for _ in 0..2 {
        pair.client.core.reauthenticate(said(b"again"));
        // Only one at a time.
        pair.client.core.reauthenticate(said(b"again"));
        pair.run();
        let Some(ServerEvent::Auth(auth)) = pair.server.events.pop_front() else { panic!("no AUTH") };
        assert_eq!(auth.reason, ReasonCode::ReAuthenticate);
        pair.server.core.challenge(said(b"who?"));
        pair.run();
        assert!(matches!(pair.client.events.pop_front(), Some(ClientEvent::Auth(_))));
        pair.client.core.continue_auth(said(b"me"));
        pair.run();
        assert!(matches!(pair.server.events.pop_front(), Some(ServerEvent::Auth(_))));
        pair.server.core.reauthenticated(said(b"well"));
        pair.run();
        let Some(ClientEvent::Auth(auth)) = pair.client.events.pop_front() else { panic!("no AUTH") };
        assert_eq!(auth.reason, ReasonCode::Success);
    }
    assert!(pair.client.core.is_open() && pair.server.core.is_open());
    assert!(pair.server.events.is_empty() && pair.client.events.is_empty());
}

#[test]
fn a_failed_authentication_is_refused_with_its_reason() {
    let mut server = deciding();
    server.end.core.challenge(AuthProperties::default());
    server.sent();
    server.give(&[step(ReasonCode::ContinueAuthentication, "SCRAM")]);
    server.end.core.reject_connect(ReasonCode::NotAuthorized, ConnAckProperties::default());
    let sent = server.sent();
    assert!(
        matches!(sent.as_slice(), [Packet::ConnAck(connack)] if connack.reason == ReasonCode::NotAuthorized)
    );

    let mut server = open_server();
    server.give(&[step(ReasonCode::ReAuthenticate, "SCRAM")]);
    server.end.core.disconnect(ReasonCode::NotAuthorized);
    let sent = server.sent();
    assert!(matches!(sent.as_slice(), [Packet::Disconnect(end)] if end.reason == ReasonCode::NotAuthorized));
}

#[test]
fn a_challenged_client_may_only_answer_or_leave() {
    let mut server = deciding();
    server.end.core.challenge(AuthProperties::default());
    server.sent();
    server.give(&[Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::DisconnectWithWill)))]);
    let end = server_end(&server.end);
    assert!(matches!(end.cause, EndCause::Peer(_)));
    assert!(!end.publish_will, "the client was never let in");

    let mut server = deciding();
    server.end.core.challenge(AuthProperties::default());
    server.sent();
    server.give(&[Packet::PingReq]);
    assert!(is_violation(&server_end(&server.end).cause, "MQTT-3.1.2-30"));
    assert!(matches!(server.sent().as_slice(), [Packet::ConnAck(connack)] if connack.reason.is_error()));
}

#[test]
fn a_challenge_that_nobody_answers_ends_at_the_connect_deadline() {
    let mut server = deciding();
    server.wait_ms(5_000);
    server.end.core.challenge(AuthProperties::default());
    server.end.drain(server.now);
    server.sent();
    server.wait_ms(4_999);
    assert!(!server.end.is_closed);
    server.wait_ms(1);
    assert!(matches!(server_end(&server.end).cause, EndCause::Violation(_)));
}

#[test]
fn another_method_or_the_wrong_step_breaks_the_protocol() {
    let mut server = deciding();
    server.end.core.challenge(AuthProperties::default());
    server.give(&[step(ReasonCode::ContinueAuthentication, "OTHER")]);
    assert!(is_violation(&server_end(&server.end).cause, "MQTT-4.12.0-5"));

    let mut server = deciding();
    server.end.core.challenge(AuthProperties::default());
    server.give(&[step(ReasonCode::ReAuthenticate, "SCRAM")]);
    assert!(is_violation(&server_end(&server.end).cause, "MQTT-4.12.0-3"));

    let mut server = open_server();
    server.give(&[step(ReasonCode::ContinueAuthentication, "SCRAM")]);
    assert!(is_violation(&server_end(&server.end).cause, "MQTT-4.12.0-3"));

    let mut server = open_server();
    server.give(&[
        step(ReasonCode::ReAuthenticate, "SCRAM"),
        step(ReasonCode::ContinueAuthentication, "SCRAM"),
    ]);
    assert!(is_violation(&server_end(&server.end).cause, "MQTT-4.12.0-3"));

    let mut server = Scripted::server(Version::V5, Persisting::AtOnce);
    server.give(&[step(ReasonCode::ReAuthenticate, "SCRAM")]);
    assert!(is_violation(&server_end(&server.end).cause, "MQTT-4.12.0-5"));
}

#[test]
fn a_server_that_authenticates_whom_it_should_not_breaks_the_protocol() {
    let continuing = step(ReasonCode::ContinueAuthentication, "SCRAM");

    let mut client = Scripted::client(Version::V5, Persisting::AtOnce);
    client.give(std::slice::from_ref(&continuing));
    assert!(is_violation(&client_end(&client.end).cause, "MQTT-4.12.0-6"));

    let mut client = open_client();
    client.give(std::slice::from_ref(&continuing));
    assert!(is_violation(&client_end(&client.end).cause, "MQTT-4.12.0-2"));

    let mut client = open_client();
    client.end.core.reauthenticate(AuthProperties::default());
    client.give(&[step(ReasonCode::ContinueAuthentication, "OTHER")]);
    assert!(is_violation(&client_end(&client.end).cause, "MQTT-4.12.0-5"));

    let options = ClientOptions::new(with_method());
    let mut answer = connack(false);
    answer.properties.authentication_method = Some("OTHER".into());
    let client = Scripted::client_with(options, SessionState::default(), &answer, Persisting::AtOnce);
    assert!(is_violation(&client_end(&client.end).cause, "MQTT-4.12.0-5"));

    let options = ClientOptions::new(with_method());
    let mut client = Scripted::waiting_client(options, SessionState::default(), Persisting::AtOnce);
    client.give(&[step(ReasonCode::Success, "SCRAM")]);
    assert!(is_violation(&client_end(&client.end).cause, "MQTT-4.12.0-2"));
}

#[test]
fn nobody_authenticates_out_of_turn() {
    let mut server = open_server();
    server.end.core.challenge(AuthProperties::default());
    server.end.core.reauthenticated(AuthProperties::default());
    assert_eq!(server.sent(), []);

    let mut client = Scripted::client(Version::V5, Persisting::AtOnce);
    client.end.core.reauthenticate(AuthProperties::default());
    assert_eq!(client.sent(), []);

    let mut client = open_client();
    client.end.core.disconnect(Disconnect::new(ReasonCode::Success));
    client.end.core.continue_auth(AuthProperties::default());
    client.end.core.reauthenticate(AuthProperties::default());
    assert!(matches!(client.sent().as_slice(), [Packet::Disconnect(_)]));
}

#[test]
fn a_client_that_wants_no_texts_gets_none_in_auth() {
    let mut connect = with_method();
    connect.properties.request_problem_information = Some(false);
    let end = End::new(ServerConnection::new(ServerOptions::default(), START), Persisting::AtOnce);
    let mut server = Scripted { end, now: START, version: Version::V5 };
    server.give(&[Packet::Connect(Box::new(connect))]);
    server.end.core.challenge(AuthProperties {
        reason_string: Some("text".into()),
        user_properties: vec![("a".into(), "b".into())],
        ..AuthProperties::default()
    });
    let sent = server.sent();
    let [Packet::Auth(auth)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(auth.properties.reason_string, None);
    assert!(auth.properties.user_properties.is_empty());
}

const CHALLENGE: &[u8] = b"r=NS,s=c2FsdA==,i=4096";

/// A client that has answered a challenge of SCRAM, and what a server shows that knows the password.
fn answered(session: SessionState) -> (Scripted<ClientConnection>, Bytes) {
    let options = ClientOptions { server_must_prove: true, ..ClientOptions::new(with_method()) };
    let core = ClientConnection::new(options, session, START).unwrap();
    let mut client = Scripted { end: End::new(core, Persisting::AtOnce), now: START, version: Version::V5 };
    client.sent();
    let exchange = ClientExchange::begin("u", b"right", "N").unwrap();
    let first = ClientFirst::read(exchange.first().as_bytes()).unwrap();
    let iterations = Iterations::new(Iterations::MIN).unwrap();
    let keys = Keys::derive(&Password::prepare(b"right").unwrap(), b"salt", iterations).unwrap();
    let (last, proof) = exchange.challenged(CHALLENGE).unwrap().answer().unwrap();
    client.end.core.expect_proof(proof);
    let server = first.challenge(b"salt", iterations, "S");
    let shown = server.read(last.as_bytes()).unwrap().verify(&keys).unwrap();
    (client, shown.into())
}

fn yes(data: Option<Bytes>) -> Packet {
    let mut answer = connack(false);
    answer.properties.authentication_method = Some("SCRAM".into());
    answer.properties.authentication_data = data;
    Packet::ConnAck(Box::new(answer))
}

#[test]
fn a_server_that_proves_itself_is_believed() {
    let (mut client, shown) = answered(SessionState::default());
    client.give(&[yes(Some(shown))]);
    assert!(client.end.core.is_open());
}

#[test]
fn a_server_that_does_not_prove_itself_is_left_and_the_session_stays_as_it_was() {
    for data in [None, Some(Bytes::from_static(b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))] {
        let mut session = SessionState::default();
        session.incoming.restore(IncomingId(PacketId::new(7).unwrap()));
        let (mut client, _) = answered(session);
        client.give(&[yes(data)]);
        assert!(!client.end.core.is_open());
        assert!(!client.end.events.iter().any(|event| matches!(event, ClientEvent::Connected { .. })));
        let Some(ClientEvent::Ended(end)) = client.end.events.pop_back() else { panic!("not ended") };
        let EndCause::Violation(violation) = end.cause else { panic!("{:?}", end.cause) };
        assert_eq!(violation.offence, Offence::ServerUnproven);
        // An impostor's word that it holds no session must not end ours.
        assert!(!client.end.core.into_session().incoming.is_empty());
    }
}

#[test]
fn a_server_that_lets_us_in_without_a_challenge_has_proven_nothing() {
    let options = ClientOptions { server_must_prove: true, ..ClientOptions::new(with_method()) };
    let core = ClientConnection::new(options, SessionState::default(), START).unwrap();
    let mut client = Scripted { end: End::new(core, Persisting::AtOnce), now: START, version: Version::V5 };
    client.give(&[yes(Some(Bytes::from_static(b"v=AAAA")))]);
    assert!(!client.end.core.is_open());
}

#[test]
fn a_proof_counts_once() {
    let (mut client, shown) = answered(SessionState::default());
    client.give(&[yes(Some(shown.clone()))]);
    client.end.core.reauthenticate(said(b"again"));
    client.sent();
    let properties =
        AuthProperties { method: Some("SCRAM".into()), data: Some(shown), ..AuthProperties::default() };
    client.give(&[Packet::Auth(Box::new(Auth { reason: ReasonCode::Success, properties }))]);
    assert!(!client.end.core.is_open());
}
