//! Silence, in both roles.

use super::*;
use crate::{
    Offence,
    connection::{AcceptConnect, ClientConnection, ClientOptions, EndCause, ServerConnection, ServerOptions},
    fuzz::{
        ends::Persisting,
        pair::{Pair, connack, connect},
    },
    packet::{ConnAck, Connect},
    session::SessionState,
};

fn asking(keep_alive_s: u16, version: Version) -> Connect {
    Connect { keep_alive_s, ..connect(version) }
}

fn client(keep_alive_s: u16, connack: &ConnAck) -> Scripted<ClientConnection> {
    let options = ClientOptions::new(asking(keep_alive_s, Version::V5));
    let mut client = Scripted::client_with(options, SessionState::default(), connack, Persisting::AtOnce);
    client.end.events.clear();
    client
}

fn server(keep_alive_s: u16, version: Version) -> Scripted<ServerConnection> {
    let accept = AcceptConnect::default();
    let connect = asking(keep_alive_s, version);
    let mut server = Scripted::server_with(ServerOptions::default(), &connect, accept, Persisting::AtOnce);
    server.sent();
    server
}

fn is_keep_alive(cause: &EndCause) -> bool {
    matches!(cause, EndCause::Violation(violation) if violation.offence == Offence::KeepAliveTimeout)
}

#[test]
fn a_client_pings_when_it_has_nothing_to_say() {
    let mut client = client(10, &connack(false));
    client.wait_ms(9_999);
    assert_eq!(client.sent(), []);
    client.wait_ms(1);
    assert_eq!(client.sent(), [Packet::PingReq]);
    client.give(&[Packet::PingResp]);
    assert_eq!(client.end.deadline_ms, Some(client.now.monotonic_ms + 10_000));
}

#[test]
fn a_client_that_only_sends_still_notices_a_dead_server() {
    let mut client = client(10, &connack(false));
    let mut pinged_at = None;
    for second in 1..=60 {
        client.publish(crate::fuzz::pair::outgoing("t", crate::QoS::AtMostOnce, second));
        client.wait_ms(1_000);
        if client.sent().contains(&Packet::PingReq) {
            pinged_at.get_or_insert(second);
        }
        if client.end.is_closed {
            assert_eq!(pinged_at, Some(10));
            assert_eq!(second, 20);
            assert!(is_keep_alive(&client_end(&client.end).cause));
            return;
        }
    }
    panic!("a half-open connection was not noticed");
}

#[test]
fn a_client_that_only_receives_pings_in_time() {
    let mut client = client(10, &connack(false));
    for _ in 0..10 {
        client.wait_ms(1_000);
        client.give(&[Packet::PingResp]);
    }
    assert_eq!(client.sent(), [Packet::PingReq]);
}

#[test]
fn a_client_gives_up_a_server_that_does_not_answer_and_says_nothing_to_it() {
    let mut client = client(10, &connack(false));
    client.wait_ms(10_000);
    assert_eq!(client.sent(), [Packet::PingReq]);
    client.wait_ms(9_999);
    assert!(client.end.core.is_open());
    client.wait_ms(1);
    assert!(is_keep_alive(&client_end(&client.end).cause));
    assert_eq!(client.sent(), []);
}

#[test]
fn a_deadline_that_came_is_never_named_again() {
    let mut client = client(10, &connack(false));
    for _ in 0..1_000 {
        client.wait_ms(5_000);
        // The driver of this test forgets to say that bytes were sent.
        let is_ping = !client.end.core.transmit().is_empty();
        client.end.core.transmit().clear();
        if is_ping {
            client.give(&[Packet::PingResp]);
        }
        assert!(client.end.deadline_ms.unwrap() > client.now.monotonic_ms);
    }
}

#[test]
fn the_keep_alive_of_the_server_replaces_that_of_the_client() {
    let mut answer = connack(false);
    answer.properties.server_keep_alive_s = Some(3);
    assert_eq!(client(10, &answer).end.deadline_ms, Some(client(10, &answer).now.monotonic_ms + 3_000));
    answer.properties.server_keep_alive_s = Some(0);
    assert_eq!(client(10, &answer).end.deadline_ms, None);
}

#[test]
fn no_keep_alive_means_no_deadline() {
    assert_eq!(client(0, &connack(false)).end.deadline_ms, None);
    assert_eq!(server(0, Version::V5).end.deadline_ms, None);
}

#[test]
fn a_client_gives_up_a_server_that_does_not_answer_connect() {
    let options = ClientOptions::new(asking(0, Version::V5));
    let mut client = Scripted::waiting_client(options, SessionState::default(), Persisting::AtOnce);
    client.wait_ms(9_999);
    assert!(!client.end.is_closed);
    client.wait_ms(1);
    let EndCause::Violation(violation) = &client_end(&client.end).cause else { panic!("no violation") };
    assert!(matches!(violation.offence, Offence::DeadlineExceeded(_)));
}

#[test]
fn a_server_cuts_off_a_client_that_is_silent_for_one_and_a_half_times_its_keep_alive() {
    for version in VERSIONS {
        let mut server = server(10, version);
        server.wait_ms(14_000);
        assert_eq!(server.exchange(&[Packet::PingReq]), [Packet::PingResp]);
        server.wait_ms(14_999);
        assert!(server.end.core.is_open());
        server.wait_ms(1);
        let end = server_end(&server.end);
        assert!(is_keep_alive(&end.cause), "{version}: {:?}", end.cause);
        assert!(end.publish_will);
        let sent = server.sent();
        match (version.is_v5(), sent.as_slice()) {
            (true, [Packet::Disconnect(disconnect)]) => {
                assert_eq!(disconnect.reason, ReasonCode::KeepAliveTimeout)
            }
            (false, []) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn any_bytes_are_a_sign_of_life_even_half_a_packet() {
    let mut server = server(10, Version::V5);
    for _ in 0..10 {
        server.wait_ms(14_000);
        server.end.receive(&[0x30], server.now);
        if server.end.is_closed {
            break;
        }
        server.end.receive(&[5, 0, 1, b't', 0, b'x'], server.now);
    }
    assert!(server.end.core.is_open());
}

#[test]
fn a_server_may_shorten_the_keep_alive_of_mqtt_5_and_of_no_other() {
    let options = ServerOptions { keep_alive_max_s: 5, ..ServerOptions::default() };
    for (asked, version, expected) in
        [(0, Version::V5, 5), (60, Version::V5, 5), (3, Version::V5, 3), (60, Version::V3_1_1, 60)]
    {
        let connect = asking(asked, version);
        let accept = AcceptConnect::default();
        let mut server = Scripted::server_with(options, &connect, accept, Persisting::AtOnce);
        let sent = server.sent();
        let [Packet::ConnAck(connack)] = sent.as_slice() else { panic!("{sent:?}") };
        let told = (expected != asked).then_some(expected);
        assert_eq!(connack.properties.server_keep_alive_s, told);
        assert_eq!(server.end.core.keep_alive_s(), expected);
        let silence_ms = u64::from(expected) * 1_500;
        assert_eq!(server.end.deadline_ms, Some(server.now.monotonic_ms + silence_ms));
    }
}

#[test]
fn a_pair_that_has_nothing_to_say_stays_together() {
    let options = ClientOptions::new(asking(10, Version::V5));
    let session = SessionState::default();
    let mut pair = Pair::open(options, session, ServerOptions::default(), None, Persisting::AtOnce);
    for _ in 0..1_000 {
        pair.wait_ms(1_000);
        pair.run();
    }
    assert!(pair.client.core.is_open() && pair.server.core.is_open());
}

#[test]
fn each_end_of_a_link_that_swallows_everything_notices_by_itself() {
    let options = ClientOptions::new(asking(10, Version::V5));
    let session = SessionState::default();
    let mut pair = Pair::open(options, session, ServerOptions::default(), None, Persisting::AtOnce);
    for _ in 0..30 {
        pair.wait_ms(1_000);
        pair.carry_to_client(0);
        pair.carry_to_server(0);
    }
    assert!(pair.client.is_closed && pair.server.is_closed);
}
