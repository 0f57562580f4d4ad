//! Both ends against each other: the same numbers in both directions, links that break at every byte.

use super::*;
use crate::{
    QoS,
    connection::{ClientOptions, ServerOptions},
    fuzz::{
        ends::Persisting,
        pair::{Pair, connect, outgoing},
    },
    session::SessionState,
};

fn open(version: Version, sessions: (SessionState, SessionState), persisting: Persisting) -> Pair {
    let options = ClientOptions::new(connect(version));
    Pair::open(options, sessions.0, ServerOptions::default(), Some(sessions.1), persisting)
}

fn publish_both_ways(pair: &mut Pair, qos: QoS, cookies: std::ops::RangeInclusive<u64>) {
    for cookie in cookies {
        pair.client.core.publish(outgoing("up", qos, cookie), pair.now).unwrap();
        pair.server.core.publish(outgoing("down", qos, cookie), pair.now).unwrap();
    }
    pair.client.drain(pair.now);
    pair.server.drain(pair.now);
}

#[test]
fn qos_2_in_both_directions_on_the_same_numbers_does_not_mix() {
    for version in VERSIONS {
        let mut pair = open(version, Default::default(), Persisting::AtOnce);
        publish_both_ways(&mut pair, QoS::ExactlyOnce, 1..=50);
        let (to_server, to_client) = pair.settle();
        assert_eq!(to_server, (1..=50).collect::<Vec<_>>());
        assert_eq!(to_client, (1..=50).collect::<Vec<_>>());
        let (client, server) = pair.cut();
        assert!(client.is_empty() && server.is_empty());
    }
}

#[test]
fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    for version in VERSIONS {
        let mut pair = open(version, Default::default(), Persisting::AtOnce);
        pair.chunk_bytes = 1;
        publish_both_ways(&mut pair, QoS::ExactlyOnce, 1..=5);
        assert_eq!(pair.settle(), ((1..=5).collect(), (1..=5).collect()));
    }
}

#[test]
fn a_link_that_breaks_at_any_byte_of_any_round_loses_and_doubles_nothing() {
    for version in VERSIONS {
        for persisting in [Persisting::AtOnce, Persisting::Late] {
            for round in 0..6 {
                for byte in 0..40 {
                    let mut pair = open(version, Default::default(), persisting);
                    pair.client.core.publish(outgoing("t", QoS::ExactlyOnce, 1), pair.now).unwrap();
                    pair.server.core.publish(outgoing("t", QoS::ExactlyOnce, 2), pair.now).unwrap();
                    pair.client.drain(pair.now);
                    pair.server.drain(pair.now);
                    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
                    for step in 0..=round {
                        let bytes_max = if step == round { byte } else { usize::MAX };
                        pair.carry_to_server(bytes_max);
                        pair.carry_to_client(bytes_max);
                        let (server, client) = pair.accept_all();
                        to_server.extend(server);
                        to_client.extend(client);
                        if step != round {
                            pair.client.confirm_one(pair.now);
                            pair.server.confirm_one(pair.now);
                        }
                    }
                    let mut pair = open(version, pair.cut(), persisting);
                    let (server, client) = pair.settle();
                    to_server.extend(server);
                    to_client.extend(client);
                    assert_eq!(
                        (to_server, to_client),
                        (vec![1], vec![2]),
                        "{version} {persisting:?} {round} {byte}"
                    );
                    let (client, server) = pair.cut();
                    assert!(client.is_empty() && server.is_empty());
                }
            }
        }
    }
}

#[test]
fn a_thousand_broken_connections_leave_nothing_behind() {
    let mut sessions = Default::default();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    for round in 1..=1_000_u64 {
        let mut pair = open(Version::V5, sessions, Persisting::AtOnce);
        publish_both_ways(&mut pair, QoS::ExactlyOnce, round..=round);
        pair.carry_to_server((round % 30) as usize);
        pair.carry_to_client((round % 17) as usize);
        let (server, client) = pair.accept_all();
        to_server.extend(server);
        to_client.extend(client);
        sessions = pair.cut();
    }
    let mut pair = open(Version::V5, sessions, Persisting::AtOnce);
    let (server, client) = pair.settle();
    to_server.extend(server);
    to_client.extend(client);
    assert_eq!(to_server, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(to_client, (1..=1_000).collect::<Vec<_>>());
    let (client, server) = pair.cut();
    assert!(client.is_empty() && server.is_empty());
}
