//! What leaves only when something is durable (C2): confirmed at once, late, and never.

use super::*;
use crate::{
    QoS,
    connection::Delta,
    fuzz::{
        ends::Persisting,
        pair::{outgoing, publish},
    },
    packet::Publish,
};

fn kinds(deltas: &[Delta]) -> Vec<&'static str> {
    deltas
        .iter()
        .map(|delta| match delta {
            Delta::Assigned { .. } => "assigned",
            Delta::Received { .. } => "received",
            Delta::Finished { .. } => "finished",
            Delta::Offered { .. } => "offered",
            Delta::Released { .. } => "released",
        })
        .collect()
}

#[test]
fn a_publish_at_qos_2_never_leaves_before_its_identifier_is_durable() {
    for version in VERSIONS {
        let mut client = Scripted::client(version, Persisting::Late);
        client.publish(outgoing("t", QoS::ExactlyOnce, 1));
        client.wait_ms(3_600_000);
        client.give(&[Packet::Publish(publish("t", QoS::AtMostOnce, 0))]);
        assert_eq!(client.sent(), [], "never confirmed, never sent");
        client.end.confirm_one(client.now);
        assert!(matches!(client.sent().as_slice(), [Packet::Publish(Publish { dup: false, .. })]));
    }
}

#[test]
fn a_pubrel_never_leaves_before_pubrec_is_recorded() {
    for version in VERSIONS {
        let mut client = Scripted::client(version, Persisting::Late);
        client.publish(outgoing("t", QoS::ExactlyOnce, 1));
        client.end.confirm_one(client.now);
        client.sent();
        // Not even when PUBREC is repeated.
        assert_eq!(client.exchange(&[pubrec(1), pubrec(1)]), []);
        assert_eq!(kinds(&client.end.deltas), ["assigned", "received"]);
        client.end.confirm_one(client.now);
        assert_eq!(client.sent(), [pubrel(1)]);
    }
}

#[test]
fn a_pubcomp_never_leaves_before_its_release_is_durable() {
    for version in VERSIONS {
        let mut server = Scripted::server(version, Persisting::Late);
        server.sent();
        server.give(&[Packet::Publish(publish("t", QoS::ExactlyOnce, 7))]);
        let token = take_token(&mut server);
        server.accept(token);
        assert_eq!(server.sent(), [pubrec(7)]);
        // A repeated PUBREL meets an identifier that is not known any more, and must wait as well.
        assert_eq!(server.exchange(&[pubrel(7), pubrel(7)]), []);
        server.end.confirm_all(server.now);
        assert_eq!(server.sent(), [pubcomp(7)]);
    }
}

#[test]
fn a_pubrel_on_the_next_connection_waits_for_the_release_that_the_last_one_did_not_finish() {
    for version in VERSIONS {
        let mut server = Scripted::server(version, Persisting::Late);
        server.give(&[Packet::Publish(publish("t", QoS::ExactlyOnce, 7))]);
        let token = take_token(&mut server);
        server.accept(token);
        server.give(&[pubrel(7)]);
        let mut server = Scripted::resumed_server(version, server.cut(), Persisting::Late);
        server.sent();
        assert_eq!(server.exchange(&[pubrel(7)]), []);
        server.end.confirm_all(server.now);
        assert_eq!(server.sent(), [pubcomp_not_found(7, version)]);
    }
}

#[test]
fn unfinished_steps_are_recorded_again_on_the_next_connection() {
    for version in VERSIONS {
        let mut client = Scripted::client(version, Persisting::Late);
        client.publish(outgoing("t", QoS::ExactlyOnce, 1));
        client.publish(outgoing("t", QoS::ExactlyOnce, 2));
        client.end.confirm_one(client.now);
        client.give(&[pubrec(1)]);
        // 1: PUBREC came and is not recorded; 2: the identifier is not recorded.
        let mut client = Scripted::resumed_client(version, client.cut(), Persisting::Late);
        assert_eq!(client.sent(), []);
        assert_eq!(kinds(&client.end.deltas), ["received", "assigned"]);
        client.end.confirm_one(client.now);
        assert_eq!(client.sent(), [pubrel(1)]);
        client.end.confirm_one(client.now);
        assert!(matches!(client.sent().as_slice(), [Packet::Publish(Publish { dup: false, .. })]));
    }
}

#[test]
fn first_transmissions_keep_their_order_while_some_wait() {
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    client.publish(outgoing("t", QoS::AtLeastOnce, 1));
    client.publish(outgoing("t", QoS::ExactlyOnce, 2));
    client.publish(outgoing("t", QoS::AtLeastOnce, 3));
    client.publish(outgoing("t", QoS::ExactlyOnce, 4));
    client.publish(outgoing("t", QoS::AtLeastOnce, 5));
    let ids = |packets: Vec<Packet>| -> Vec<u16> {
        packets
            .iter()
            .map(|packet| match packet {
                Packet::Publish(publish) => publish.packet_id.unwrap().value(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    assert_eq!(ids(client.sent()), [1]);
    client.end.confirm_one(client.now);
    assert_eq!(ids(client.sent()), [2, 3]);
    client.end.confirm_one(client.now);
    assert_eq!(ids(client.sent()), [4, 5]);
}

#[test]
fn qos_0_and_qos_1_wait_for_nothing() {
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    client.publish(outgoing("t", QoS::AtMostOnce, 1));
    client.publish(outgoing("t", QoS::AtLeastOnce, 2));
    assert_eq!(client.sent().len(), 2);
    assert_eq!(client.end.deltas, []);
}

#[test]
fn a_confirmation_takes_all_that_came_before_with_it() {
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    for cookie in 1..=3 {
        client.publish(outgoing("t", QoS::ExactlyOnce, cookie));
    }
    let sequences: Vec<u64> = client.end.unconfirmed.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
    client.end.core.handle_persisted(2, client.now);
    assert_eq!(client.sent().len(), 2);
    // An older confirmation changes nothing.
    client.end.core.handle_persisted(1, client.now);
    assert_eq!(client.sent(), []);
}

#[test]
fn a_confirmation_after_the_end_sends_nothing() {
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    client.publish(outgoing("t", QoS::ExactlyOnce, 1));
    client.end.core.disconnect(crate::packet::Disconnect::new(ReasonCode::Success));
    client.end.drain(client.now);
    assert!(matches!(client.sent().as_slice(), [Packet::Disconnect(_)]));
    client.end.confirm_all(client.now);
    assert_eq!(client.sent(), []);
}

#[test]
fn every_delta_comes_out_before_the_end() {
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    client.end.core.publish(outgoing("t", QoS::ExactlyOnce, 1), client.now).unwrap();
    client.end.hang_up(client.now);
    assert_eq!(kinds(&client.end.deltas), ["assigned"]);
}

#[test]
fn the_end_of_an_exchange_is_recorded_and_nothing_waits_for_it() {
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    client.publish(outgoing("t", QoS::AtLeastOnce, 1));
    client.sent();
    client.give(&[puback(1)]);
    assert!(matches!(client.end.events.back(), Some(ClientEvent::Acknowledged { cookie: 1, .. })));
    assert_eq!(kinds(&client.end.deltas), ["finished"]);
    client.publish(outgoing("t", QoS::AtLeastOnce, 2));
    assert_eq!(client.sent().len(), 1);
}
