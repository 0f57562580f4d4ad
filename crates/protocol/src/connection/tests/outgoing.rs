//! What this side publishes: identifiers, ends, and sending again.

use super::*;
use crate::{
    Now, PacketId, QoS,
    connection::{ClientConnection, ClientOptions, EndCause, PublishError},
    fuzz::{
        ends::Persisting,
        pair::{connack, connect, outgoing},
    },
    packet::{ConnAckProperties, SubAck, SubscribeProperties, SubscribedFilter, SubscriptionOptions},
    session::{OutgoingId, SessionState, Stage},
};

fn client(version: Version) -> Scripted<ClientConnection> {
    let mut client = Scripted::client(version, Persisting::AtOnce);
    client.end.events.clear();
    client
}

/// The identifiers, DUP flags and payload numbers of PUBLISH packets, and the identifiers of PUBREL as (id, _, 0).
fn told(packets: &[Packet]) -> Vec<(u16, bool, u64)> {
    packets
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_id.map_or(0, PacketId::value);
                (id, publish.dup, crate::fuzz::pair::number(&publish.payload))
            }
            Packet::PubRel(ack) => (ack.packet_id.value(), false, 0),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn acknowledged(client: &mut Scripted<ClientConnection>) -> Vec<(u64, ReasonCode)> {
    let events = std::mem::take(&mut client.end.events);
    let mut ends = Vec::new();
    for event in events {
        match event {
            ClientEvent::Acknowledged { cookie, reason } => ends.push((cookie, reason)),
            other => panic!("{other:?}"),
        }
    }
    ends
}

fn filter() -> Vec<SubscribedFilter> {
    let filter = crate::TopicFilter::parse("a/b").unwrap();
    vec![SubscribedFilter { filter, options: SubscriptionOptions::default() }]
}

#[test]
fn an_error_in_pubrec_ends_the_exchange_without_pubrel() {
    let mut client = client(Version::V5);
    client.publish(outgoing("t", QoS::ExactlyOnce, 5));
    client.sent();
    let answer = client.exchange(&[Packet::PubRec(ack(1, ReasonCode::QuotaExceeded))]);
    assert_eq!(answer, []);
    assert_eq!(acknowledged(&mut client), [(5, ReasonCode::QuotaExceeded)]);
    let session = client.cut();
    assert!(session.is_empty());
}

#[test]
fn a_pubrec_is_followed_by_pubrel_and_its_repetition_too() {
    for version in VERSIONS {
        let mut client = client(version);
        client.publish(outgoing("t", QoS::ExactlyOnce, 5));
        client.sent();
        assert_eq!(client.exchange(&[pubrec(1)]), [pubrel(1)]);
        assert_eq!(client.exchange(&[pubrec(1)]), [pubrel(1)]);
        assert_eq!(client.exchange(&[pubcomp(1)]), []);
        assert_eq!(acknowledged(&mut client), [(5, ReasonCode::Success)]);
    }
}

#[test]
fn a_pubrec_for_an_unknown_identifier_is_answered_so_that_the_peer_can_finish() {
    let mut five = client(Version::V5);
    let not_found = Packet::PubRel(ack(9, ReasonCode::PacketIdentifierNotFound));
    assert_eq!(five.exchange(&[pubrec(9)]), [not_found]);
    assert_eq!(five.exchange(&[Packet::PubRec(ack(9, ReasonCode::QuotaExceeded))]), []);
    assert_eq!(client(Version::V3_1_1).exchange(&[pubrec(9)]), [pubrel(9)]);
}

#[test]
fn acknowledgements_that_nothing_waits_for_are_ignored() {
    let mut client = client(Version::V5);
    assert_eq!(client.exchange(&[puback(9), pubcomp(9)]), []);
    assert!(client.end.core.is_open());
    assert!(client.end.events.is_empty());
}

#[test]
fn the_wrong_kind_of_acknowledgement_breaks_the_protocol() {
    for (qos, wrong) in [(QoS::AtLeastOnce, pubrec(1)), (QoS::ExactlyOnce, puback(1))] {
        let mut client = client(Version::V5);
        client.publish(outgoing("t", qos, 5));
        client.sent();
        let answer = client.exchange(&[wrong]);
        assert!(matches!(answer.as_slice(), [Packet::Disconnect(_)]), "{answer:?}");
        assert!(matches!(client_end(&client.end).cause, EndCause::Violation(_)));
    }
}

#[test]
fn a_pubrec_for_a_message_that_was_not_sent_yet_breaks_the_protocol() {
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    client.publish(outgoing("t", QoS::ExactlyOnce, 5));
    assert_eq!(client.sent(), []);
    client.give(&[pubrec(1)]);
    assert!(matches!(client_end(&client.end).cause, EndCause::Violation(_)));
}

#[test]
fn unfinished_messages_go_again_in_order_under_their_identifiers() {
    for version in VERSIONS {
        let mut client = client(version);
        for cookie in 1..=4 {
            let qos = if cookie % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            client.publish(outgoing("t", qos, cookie));
        }
        assert_eq!(told(&client.sent()), [(1, false, 1), (2, false, 2), (3, false, 3), (4, false, 4)]);
        assert_eq!(client.exchange(&[pubrec(2)]), [pubrel(2)]);
        let mut client = Scripted::resumed_client(version, client.cut(), Persisting::AtOnce);
        assert_eq!(told(&client.sent()), [(1, true, 1), (2, false, 0), (3, true, 3), (4, true, 4)]);
        client.end.events.clear();
        client.give(&[puback(1), pubcomp(2), puback(3), pubrec(4), pubcomp(4)]);
        let cookies: Vec<u64> = acknowledged(&mut client).iter().map(|(cookie, _)| *cookie).collect();
        assert_eq!(cookies, [1, 2, 3, 4]);
        assert!(client.cut().is_empty());
    }
}

#[test]
fn new_messages_wait_until_the_old_ones_have_gone_again() {
    let mut first = client(Version::V5);
    for cookie in 1..=3 {
        first.publish(outgoing("t", QoS::AtLeastOnce, cookie));
    }
    let mut answer = connack(true);
    answer.properties.receive_maximum = Some(2);
    let options = ClientOptions::new(connect(Version::V5));
    let mut client = Scripted::client_with(options, first.cut(), &answer, Persisting::AtOnce);
    assert_eq!(told(&client.sent()), [(1, true, 1), (2, true, 2)]);
    assert_eq!(client.end.core.send_quota(), 0);
    let refused = client.end.core.publish(outgoing("t", QoS::AtLeastOnce, 4), Now::default());
    assert_eq!(refused, Err(PublishError::QuotaExhausted));
    assert_eq!(told(&client.exchange(&[puback(1)])), [(3, true, 3)]);
    client.give(&[puback(2)]);
    client.publish(outgoing("t", QoS::AtLeastOnce, 4));
    assert_eq!(told(&client.sent()), [(4, false, 4)]);
}

#[test]
fn a_pubrel_that_goes_again_counts_like_its_message() {
    let mut first = client(Version::V5);
    first.publish(outgoing("t", QoS::ExactlyOnce, 1));
    first.give(&[pubrec(1)]);
    let mut answer = connack(true);
    answer.properties.receive_maximum = Some(2);
    let options = ClientOptions::new(connect(Version::V5));
    let mut client = Scripted::client_with(options, first.cut(), &answer, Persisting::AtOnce);
    assert_eq!(client.sent(), [pubrel(1)]);
    client.publish(outgoing("t", QoS::AtLeastOnce, 2));
    assert_eq!(client.end.core.send_quota(), 0);
    client.give(&[pubcomp(1)]);
    assert_eq!(client.end.core.send_quota(), 1);
    client.give(&[puback(2)]);
    assert_eq!(client.end.core.send_quota(), 2);
}

#[test]
fn a_lost_session_gives_the_messages_back_and_none_keeps_an_identifier() {
    for version in [Version::V3_1_1, Version::V5] {
        let mut first = client(version);
        first.publish(outgoing("t", QoS::ExactlyOnce, 1));
        first.publish(outgoing("t", QoS::AtLeastOnce, 2));
        first.publish(outgoing("t", QoS::ExactlyOnce, 3));
        first.give(&[pubrec(3)]);
        let options = ClientOptions::new(connect(version));
        let mut client = Scripted::client_with(options, first.cut(), &connack(false), Persisting::AtOnce);
        assert_eq!(client.sent(), []);
        let Some(ClientEvent::Connected { lost, .. }) = client.end.events.pop_front() else {
            panic!("not let in")
        };
        assert_eq!(lost.iter().map(|lost| lost.cookie).collect::<Vec<_>>(), [1, 2, 3]);
        // Acknowledgements for the old ones meet nothing of the new ones.
        for lost in lost {
            client.publish(lost);
        }
        let ids: Vec<_> = told(&client.sent());
        assert!(ids.iter().all(|(_, dup, _)| !dup), "{ids:?}");
        assert_eq!(ids.len(), 3);
        let first = ids[0].0;
        client.give(&[
            pubrec(first),
            pubcomp(first),
            puback(first + 1),
            pubrec(first + 2),
            pubcomp(first + 2),
        ]);
        assert_eq!(acknowledged(&mut client).len(), 3);
        assert!(client.cut().is_empty());
    }
}

#[test]
fn a_lost_session_forgets_the_identifiers_of_the_server_too() {
    let mut session = SessionState::default();
    session.incoming.restore(crate::session::IncomingId::from_stored(PacketId::MIN));
    let options = ClientOptions::new(connect(Version::V5));
    let mut client = Scripted::client_with(options, session, &connack(false), Persisting::AtOnce);
    client.end.events.clear();
    // The same number, a new message: a collision would swallow it.
    client.give(&[Packet::Publish(crate::fuzz::pair::publish("t", QoS::ExactlyOnce, 1))]);
    assert!(matches!(client.end.events.pop_front(), Some(ClientEvent::Publish(_))));
}

#[test]
fn an_identifier_is_free_again_when_sending_fails() {
    let mut answer = connack(false);
    answer.properties = ConnAckProperties { maximum_packet_bytes: Some(20), ..answer.properties };
    let options = ClientOptions::new(connect(Version::V5));
    let mut client = Scripted::client_with(options, SessionState::default(), &answer, Persisting::AtOnce);
    let long: Vec<SubscribedFilter> = (0..10).flat_map(|_| filter()).collect();
    for _ in 0..100_000 {
        assert_eq!(client.end.core.subscribe(long.clone(), SubscribeProperties::default()), None);
        let refused = client.end.core.publish(outgoing("a/long/topic/name", QoS::AtLeastOnce, 1), client.now);
        assert!(matches!(refused, Err(PublishError::TooLarge { max: 20, .. })));
    }
    assert_eq!(client.sent(), []);
    let id = client.end.core.subscribe(filter(), SubscribeProperties::default()).unwrap();
    let answer = SubAck { packet_id: id, reasons: vec![ReasonCode::Success], properties: Default::default() };
    client.give(&[Packet::SubAck(Box::new(answer))]);
    assert!(matches!(client.end.events.back(), Some(ClientEvent::Subscribed(_))));
    assert!(client.cut().is_empty());
}

#[test]
fn an_identifier_in_use_is_not_given_out_again() {
    let mut client = client(Version::V5);
    client.publish(outgoing("t", QoS::AtLeastOnce, 0));
    client.sent();
    for cookie in 1..=100_000_u64 {
        if client.end.core.publish(outgoing("t", QoS::AtLeastOnce, cookie), client.now).is_err() {
            // The window ends where the oldest identifier would be met again, long before.
            assert!(cookie < 65_535);
            break;
        }
        let sent = told(&client.sent());
        assert_ne!(sent[0].0, 1, "cookie {cookie}");
        client.give(&[puback(sent[0].0)]);
        client.end.events.clear();
    }
    client.give(&[puback(1)]);
    assert_eq!(acknowledged(&mut client), [(0, ReasonCode::Success)]);
    assert!(client.end.core.send_quota() > 0);
}

#[test]
fn identifiers_go_round_and_never_become_zero() {
    let mut client = client(Version::V5);
    let mut last = 0;
    for cookie in 0..70_000_u64 {
        client.publish(outgoing("t", QoS::AtLeastOnce, cookie));
        let sent = told(&client.sent());
        let id = sent[0].0;
        assert_eq!(id, if last == u16::MAX { 1 } else { last + 1 });
        last = id;
        client.give(&[puback(id)]);
        client.end.events.clear();
    }
}

#[test]
fn what_a_store_kept_goes_on_after_a_restart() {
    let id = |value| OutgoingId::from_stored(PacketId::new(value).unwrap());
    let mut session = SessionState::default();
    let stages =
        [(65_534, Stage::Assigned), (65_535, Stage::Received), (2, Stage::Published), (5, Stage::Released)];
    for (value, stage) in stages {
        assert!(session.outgoing.restore(
            id(value),
            stage,
            outgoing("t", QoS::ExactlyOnce, u64::from(value))
        ));
    }
    // What has been stored may have been sent, so all go as a second sending, and under no other identifier.
    assert!(!session.outgoing.restore(id(65_535), Stage::Published, outgoing("t", QoS::ExactlyOnce, 0)));
    let mut client = Scripted::resumed_client(Version::V5, session, Persisting::AtOnce);
    let expected = [(65_534, true, 65_534), (65_535, false, 0), (2, true, 2), (5, false, 0)];
    assert_eq!(told(&client.sent()), expected);
    client.publish(outgoing("t", QoS::ExactlyOnce, 6));
    assert_eq!(told(&client.sent()), [(6, false, 6)]);
}

#[test]
fn requests_do_not_outlive_a_connection() {
    let mut client = client(Version::V5);
    client.end.core.subscribe(filter(), SubscribeProperties::default()).unwrap();
    client.publish(outgoing("t", QoS::AtLeastOnce, 1));
    client.end.core.unsubscribe(vec![crate::TopicFilter::parse("a").unwrap()], Vec::new()).unwrap();
    let mut client = Scripted::resumed_client(Version::V5, client.cut(), Persisting::AtOnce);
    assert_eq!(told(&client.sent()), [(2, true, 1)]);
    client.give(&[puback(2)]);
    assert!(client.cut().is_empty());
}

#[test]
fn an_answer_to_no_request_or_with_the_wrong_count_breaks_the_protocol() {
    let suback = |id: u16, count: usize| SubAck {
        packet_id: PacketId::new(id).unwrap(),
        reasons: vec![ReasonCode::Success; count],
        properties: Default::default(),
    };
    for (id, count) in [(1, 2), (2, 1)] {
        let mut client = client(Version::V5);
        client.end.core.subscribe(filter(), SubscribeProperties::default()).unwrap();
        client.give(&[Packet::SubAck(Box::new(suback(id, count)))]);
        assert!(matches!(client_end(&client.end).cause, EndCause::Violation(_)), "{id} {count}");
        let mut client = self::client(Version::V5);
        client.end.core.unsubscribe(vec![crate::TopicFilter::parse("a").unwrap()], Vec::new()).unwrap();
        client.give(&[Packet::UnsubAck(Box::new(suback(id, count)))]);
        assert!(matches!(client_end(&client.end).cause, EndCause::Violation(_)), "{id} {count}");
    }
}

#[test]
fn what_the_server_does_not_support_is_refused_before_it_is_sent() {
    let mut answer = connack(false);
    answer.properties.maximum_qos = Some(QoS::AtLeastOnce);
    answer.properties.retain_available = Some(false);
    let options = ClientOptions::new(connect(Version::V5));
    let mut client = Scripted::client_with(options, SessionState::default(), &answer, Persisting::AtOnce);
    let now = client.now;
    let core = &mut client.end.core;
    assert_eq!(core.publish(outgoing("t", QoS::ExactlyOnce, 1), now), Err(PublishError::QosNotSupported));
    let mut retained = outgoing("t", QoS::AtMostOnce, 1);
    retained.retain = true;
    assert_eq!(core.publish(retained, now), Err(PublishError::RetainNotSupported));
    assert_eq!(core.publish(outgoing("t", QoS::AtLeastOnce, 1), now), Ok(()));
}
