//! What each end accepts: packet size, Receive Maximum, Topic Aliases, memory.

use super::*;
use crate::{
    Offence, QoS,
    connection::{
        AcceptConnect, ClientConnection, ClientOptions, EndCause, Output, PublishError, ServerConnection,
        ServerOptions,
    },
    fuzz::{
        ends::Persisting,
        pair::{Scripted, connack, connect, outgoing, publish},
    },
    packet::{ConnAckProperties, Connect, Disconnect, Publish},
    session::SessionState,
};

fn announcing(change: impl FnOnce(&mut crate::packet::ConnectProperties)) -> Connect {
    let mut connect = connect(Version::V5);
    change(&mut connect.properties);
    connect
}

fn server_for(connect: &Connect, options: ServerOptions) -> Scripted<ServerConnection> {
    let mut server = Scripted::server_with(options, connect, AcceptConnect::default(), Persisting::AtOnce);
    server.sent();
    server
}

/// The reason of the DISCONNECT that must be all that was sent.
fn farewell(packets: &[Packet]) -> ReasonCode {
    match packets {
        [Packet::Disconnect(disconnect)] => disconnect.reason,
        other => panic!("DISCONNECT is expected and not {other:?}"),
    }
}

fn topics_and_aliases(packets: &[Packet]) -> Vec<(Option<&str>, Option<u16>)> {
    packets
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => {
                (publish.topic.as_ref().map(|topic| topic.as_str()), publish.properties.topic_alias())
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A PUBLISH that bears an alias, as bytes.
fn aliased(topic: &str, alias: u16) -> Vec<u8> {
    let [high, low] = alias.to_be_bytes();
    let length = u8::try_from(topic.len()).unwrap();
    let mut bytes = vec![0x30, length + 6, 0, length];
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(&[3, 0x23, high, low]);
    bytes
}

#[test]
fn an_output_is_small_and_so_is_a_connection() {
    assert!(size_of::<Output<ServerEvent>>() <= 128, "{}", size_of::<Output<ServerEvent>>());
    assert!(size_of::<Output<ClientEvent>>() <= 128, "{}", size_of::<Output<ClientEvent>>());
    assert!(size_of::<ServerConnection>() <= 640, "{}", size_of::<ServerConnection>());
    assert!(size_of::<ClientConnection>() <= 640, "{}", size_of::<ClientConnection>());
}

#[test]
fn no_publish_is_larger_than_the_peer_accepts_with_or_without_alias() {
    for max in 1..60_u32 {
        for topic in ["a", "ab", "abc", "a/long/topic"] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let connect = announcing(|properties| {
                    properties.maximum_packet_bytes = Some(max.max(30));
                    properties.topic_alias_maximum = Some(8);
                });
                let mut server = server_for(&connect, ServerOptions::default());
                for cookie in 0..3 {
                    let mut message = outgoing(topic, qos, cookie);
                    message.subscription_ids =
                        [1, 268_435_455, 3].into_iter().take((max % 4) as usize).collect();
                    let expected = server.end.core.publish(message, server.now);
                    server.end.drain(server.now);
                    let bytes = server.end.sent_bytes(server.now);
                    assert!(bytes.len() <= max.max(30) as usize, "{topic} {qos} {max}: {bytes:02x?}");
                    assert_eq!(expected.is_ok(), !bytes.is_empty());
                }
            }
        }
    }
}

#[test]
fn a_message_that_became_too_large_for_the_next_connection_ends_there() {
    for stage in ["published", "received"] {
        let mut first = Scripted::client(Version::V5, Persisting::AtOnce);
        for cookie in 1..=3 {
            let topic = if cookie == 2 { "a/topic/that/is/much/too/long/for/the/next/server" } else { "t" };
            first.publish(outgoing(topic, QoS::ExactlyOnce, cookie));
        }
        if stage == "received" {
            first.give(&[pubrec(2)]);
        }
        let mut answer = connack(true);
        answer.properties.maximum_packet_bytes = Some(30);
        let options = ClientOptions::new(connect(Version::V5));
        let mut client = Scripted::client_with(options, first.cut(), &answer, Persisting::AtOnce);
        let sent = client.sent();
        let ended = client.end.events.iter().any(|event| {
            matches!(event, ClientEvent::Acknowledged { cookie: 2, reason: ReasonCode::PacketTooLarge })
        });
        if stage == "published" {
            assert_eq!(sent.len(), 2, "{sent:?}");
            assert!(ended);
            client.give(&[pubrec(1), pubcomp(1), pubrec(3), pubcomp(3)]);
            assert!(client.cut().is_empty());
        } else {
            // PUBREL is small: the exchange goes on.
            assert_eq!(sent.len(), 3, "{sent:?}");
            assert_eq!(sent[1], pubrel(2));
            assert!(!ended);
        }
    }
}

#[test]
fn a_packet_that_is_larger_than_we_accept_ends_the_connection() {
    let options = ServerOptions { packet_bytes_max: 20, ..ServerOptions::default() };
    for version in VERSIONS {
        let connect = Connect { properties: Default::default(), ..connect(version) };
        let end = crate::fuzz::ends::End::new(
            ServerConnection::new(options, crate::fuzz::pair::START),
            Persisting::AtOnce,
        );
        let mut server = Scripted { end, now: crate::fuzz::pair::START, version };
        server.give(&[Packet::Connect(Box::new(connect))]);
        server.end.let_in(AcceptConnect::default(), server.now);
        server.sent();
        // The declared size is enough.
        server.end.receive(&[0x30, 0x7F], server.now);
        let sent = server.sent();
        if version.is_v5() {
            assert_eq!(farewell(&sent), ReasonCode::PacketTooLarge);
        } else {
            assert_eq!(sent, []);
        }
        let EndCause::Violation(violation) = &server_end(&server.end).cause else { panic!("no violation") };
        assert!(matches!(violation.offence, Offence::TooLarge { bytes: 129, max: 20 }));
    }
}

#[test]
fn a_maximum_packet_size_of_zero_breaks_the_protocol() {
    let mut bytes = crate::fuzz::ends::bytes(
        &[Packet::Connect(Box::new(announcing(|properties| {
            properties.maximum_packet_bytes = Some(0x0101_0101)
        })))],
        Version::V5,
    );
    let place = bytes.windows(4).position(|window| window == [1, 1, 1, 1]).unwrap();
    bytes[place..place + 4].fill(0);
    let core = ServerConnection::new(ServerOptions::default(), crate::fuzz::pair::START);
    let mut end = crate::fuzz::ends::End::new(core, Persisting::AtOnce);
    end.receive(&bytes, crate::fuzz::pair::START);
    assert!(matches!(server_end(&end).cause, EndCause::Violation(_)));
}

#[test]
fn connack_leaves_out_what_the_client_would_not_accept() {
    let connect = announcing(|properties| properties.maximum_packet_bytes = Some(40));
    let properties = ConnAckProperties {
        reason_string: Some("a text for people that makes the packet much too large".into()),
        user_properties: vec![("a".into(), "b".into())],
        ..ConnAckProperties::default()
    };
    let accept = AcceptConnect { properties, ..AcceptConnect::default() };
    let mut server = Scripted::server_with(ServerOptions::default(), &connect, accept, Persisting::AtOnce);
    match server.sent().as_slice() {
        [Packet::ConnAck(connack)] => assert_eq!(connack.properties.reason_string, None),
        other => panic!("{other:?}"),
    }
    assert!(server.end.core.is_open());
}

#[test]
fn a_client_that_accepts_not_even_connack_is_cut_off_and_its_session_is_kept() {
    let connect = announcing(|properties| properties.maximum_packet_bytes = Some(3));
    let mut session = SessionState::default();
    session.incoming.restore(crate::session::IncomingId::from_stored(crate::PacketId::MIN));
    let accept = AcceptConnect { session, session_present: true, ..AcceptConnect::default() };
    let mut server = Scripted::server_with(ServerOptions::default(), &connect, accept, Persisting::AtOnce);
    assert_eq!(server.sent(), []);
    let end = server_end(&server.end);
    assert_eq!((&end.cause, end.publish_will), (&EndCause::Local(ReasonCode::PacketTooLarge), false));
    assert!(!server.cut().is_empty());
}

#[test]
fn more_messages_than_our_receive_maximum_end_the_connection() {
    let options = ServerOptions { receive_maximum: 2, ..ServerOptions::default() };
    let qos1 = |id| Packet::Publish(publish("t", QoS::AtLeastOnce, id));
    let qos2 = |id| Packet::Publish(publish("t", QoS::ExactlyOnce, id));

    let mut server = server_for(&connect(Version::V5), options);
    server.give(&[qos1(1), qos2(2), qos1(3)]);
    assert_eq!(farewell(&server.sent()), ReasonCode::ReceiveMaximumExceeded);

    // QoS 2 counts until PUBCOMP, QoS 0 never, a repetition once.
    let mut server = server_for(&connect(Version::V5), options);
    server.give(&[qos2(1), qos2(2), qos2(1), Packet::Publish(publish("t", QoS::AtMostOnce, 0))]);
    let (first, second) = (take_token(&mut server), take_token(&mut server));
    server.accept(first);
    server.accept(second);
    server.end.events.clear();
    assert_eq!(server.exchange(&[qos2(1)]), [pubrec(1), pubrec(2), pubrec(1)]);
    server.give(&[pubrel(1), qos2(3)]);
    assert_eq!(server.sent(), [pubcomp(1)]);
    server.give(&[qos2(4)]);
    assert_eq!(farewell(&server.sent()), ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn our_receive_maximum_counts_anew_on_each_connection() {
    let options = ServerOptions { receive_maximum: 1, ..ServerOptions::default() };
    let qos2 = |id| Packet::Publish(publish("t", QoS::ExactlyOnce, id));
    let mut server = server_for(&connect(Version::V5), options);
    server.give(&[qos2(1)]);
    let token = take_token(&mut server);
    server.accept(token);
    let session = server.cut();
    let accept = AcceptConnect { session, session_present: true, ..AcceptConnect::default() };
    let mut server = Scripted::server_with(options, &connect(Version::V5), accept, Persisting::AtOnce);
    server.sent();
    // The client goes on with PUBREL, which does not count, and may send a new one beside it.
    server.give(&[qos2(2), pubrel(1)]);
    take_token(&mut server);
    assert_eq!(server.sent(), [pubcomp(1)]);
    server.give(&[qos2(3)]);
    assert_eq!(farewell(&server.sent()), ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn we_never_send_more_than_the_receive_maximum_of_the_peer() {
    let connect = announcing(|properties| properties.receive_maximum = Some(3));
    let mut server = server_for(&connect, ServerOptions::default());
    assert_eq!(server.end.core.send_quota(), 3);
    for cookie in 0..3 {
        server.publish(outgoing("t", QoS::ExactlyOnce, cookie));
    }
    let refused = server.end.core.publish(outgoing("t", QoS::AtLeastOnce, 9), server.now);
    assert_eq!(refused, Err(PublishError::QuotaExhausted));
    server.publish(outgoing("t", QoS::AtMostOnce, 9));
    // PUBREC gives nothing back, PUBREC with an error and PUBCOMP do.
    server.give(&[pubrec(1)]);
    assert_eq!(server.end.core.send_quota(), 0);
    server.give(&[pubcomp(1), Packet::PubRec(ack(2, ReasonCode::QuotaExceeded))]);
    assert_eq!(server.end.core.send_quota(), 2);
}

#[test]
fn our_own_maximum_in_flight_holds_in_3_1_1_too() {
    let options = ServerOptions { in_flight_maximum: 2, ..ServerOptions::default() };
    let server = server_for(&connect(Version::V3_1_1), options);
    assert_eq!(server.end.core.send_quota(), 2);
}

#[test]
fn aliases_of_the_peer_are_resolved_and_die_with_the_connection() {
    let mut server = server_for(&connect(Version::V5), ServerOptions::default());
    let now = server.now;
    for bytes in [aliased("a/b", 3), aliased("", 3), aliased("c", 3), aliased("", 3)] {
        server.end.receive(&bytes, now);
    }
    let topics: Vec<String> = server
        .end
        .events
        .iter()
        .map(|event| match event {
            ServerEvent::Publish(incoming) => incoming.publish.topic.as_ref().unwrap().as_str().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(topics, ["a/b", "a/b", "c", "c"]);
    let mut server = Scripted::resumed_server(Version::V5, server.cut(), Persisting::AtOnce);
    server.sent();
    server.end.receive(&aliased("", 3), now);
    assert_eq!(farewell(&server.sent()), ReasonCode::TopicAliasInvalid);
}

#[test]
fn an_alias_of_0_above_the_maximum_or_unknown_ends_the_connection() {
    for (topic, alias) in [("a", 0), ("", 0), ("a", 17), ("", 1)] {
        let mut server = server_for(&connect(Version::V5), ServerOptions::default());
        server.end.receive(&aliased(topic, alias), server.now);
        let reason = farewell(&server.sent());
        assert!(
            matches!(reason, ReasonCode::TopicAliasInvalid | ReasonCode::ProtocolError),
            "{topic:?} {alias}: {reason}"
        );
    }
}

#[test]
fn we_set_aliases_as_far_as_the_peer_allows_and_anew_on_each_connection() {
    let connect = announcing(|properties| properties.topic_alias_maximum = Some(2));
    let mut server = server_for(&connect, ServerOptions::default());
    for topic in ["one", "two", "three", "one", "two", "three"] {
        server.publish(outgoing(topic, QoS::AtLeastOnce, 0));
    }
    let sent = server.sent();
    let expected = [
        (Some("one"), Some(1)),
        (Some("two"), Some(2)),
        (Some("three"), None),
        (None, Some(1)),
        (None, Some(2)),
        (Some("three"), None),
    ];
    assert_eq!(topics_and_aliases(&sent), expected);

    let accept = AcceptConnect { session: server.cut(), session_present: true, ..AcceptConnect::default() };
    let options = ServerOptions { topic_alias_own_maximum: 1, ..ServerOptions::default() };
    let mut server = Scripted::server_with(options, &connect, accept, Persisting::AtOnce);
    let sent = server.sent();
    let again = topics_and_aliases(sent.get(1..).unwrap());
    assert_eq!(again.first(), Some(&(Some("one"), Some(1))));
    assert_eq!(again.get(1), Some(&(Some("two"), None)));
    assert_eq!(again.get(3), Some(&(None, Some(1))));
}

#[test]
fn we_set_no_alias_for_a_peer_that_allows_none() {
    for version in VERSIONS {
        let mut server = server_for(&connect(version), ServerOptions::default());
        server.publish(outgoing("one", QoS::AtMostOnce, 0));
        server.publish(outgoing("one", QoS::AtMostOnce, 0));
        let sent = server.sent();
        assert_eq!(topics_and_aliases(&sent), [(Some("one"), None), (Some("one"), None)]);
    }
}

#[test]
fn a_disconnect_that_is_too_large_is_reduced_to_its_reason() {
    let connect = announcing(|properties| properties.maximum_packet_bytes = Some(30));
    let mut server = server_for(&connect, ServerOptions::default());
    let mut disconnect = Disconnect::new(ReasonCode::UseAnotherServer);
    disconnect.server_reference = Some("a.server.with.a.very.long.name.example".into());
    server.end.core.disconnect_with(disconnect);
    assert_eq!(server.sent(), [Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::UseAnotherServer)))]);
}

#[test]
fn input_after_the_end_is_not_kept() {
    let mut server = server_for(&connect(Version::V5), ServerOptions::default());
    server.end.core.disconnect(ReasonCode::ServerShuttingDown);
    server.end.drain(server.now);
    server.sent();
    server.end.events.clear();
    assert_eq!(server.exchange(&[Packet::PingReq, Packet::Publish(publish("t", QoS::ExactlyOnce, 1))]), []);
    assert!(server.end.events.is_empty());
}

#[test]
fn a_message_expires_while_it_waits_and_what_is_left_is_sent() {
    let properties = crate::packet::PublishPropertyValues {
        message_expiry_s: Some(60),
        ..crate::packet::PublishPropertyValues::default()
    };
    let mut client = Scripted::client(Version::V5, Persisting::Late);
    let message = crate::Message::new(
        &crate::fuzz::pair::topic_name("t"),
        b"x",
        QoS::ExactlyOnce,
        false,
        &crate::packet::PublishProperties::from_values(&properties).unwrap(),
        client.now,
    );
    client.publish(crate::session::Outgoing { message, ..outgoing("t", QoS::ExactlyOnce, 1) });
    client.now = client.now.plus_ms(20_500);
    client.end.confirm_all(client.now);
    let sent = client.sent();
    let [Packet::Publish(Publish { properties, .. })] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(properties.message_expiry_s(), Some(40));
}

#[test]
fn a_client_puts_up_with_as_much_more_than_its_receive_maximum_as_it_is_told_to() {
    let mut options = ClientOptions::new(announcing(|properties| properties.receive_maximum = Some(1)));
    options.receive_tolerance = 1;
    let session = SessionState::default();
    let mut client = Scripted::client_with(options, session, &connack(false), Persisting::AtOnce);
    let qos1 = |id| Packet::Publish(publish("t", QoS::AtLeastOnce, id));
    client.give(&[qos1(1), qos1(2)]);
    assert!(client.end.core.is_open());
    client.give(&[qos1(3)]);
    assert_eq!(farewell(&client.sent()), ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn the_send_quota_is_no_more_than_the_identifiers_that_are_left() {
    let options = ServerOptions { in_flight_maximum: u16::MAX, ..ServerOptions::default() };
    let mut server = server_for(&connect(Version::V5), options);
    let mut count = 0;
    while server.end.core.send_quota() > 0 {
        let quota = server.end.core.send_quota();
        server.publish(outgoing("t", QoS::AtLeastOnce, 0));
        count += 1;
        assert_eq!(server.end.core.send_quota(), quota - 1);
    }
    assert_eq!(count, 16_384);
}
