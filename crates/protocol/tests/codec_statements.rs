//! What the codec refuses, by the statement of the specification that is broken; and the bytes of its examples.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use Version::{V3_1, V3_1_1, V5};
use bytes::Bytes;
use crosspoint_protocol::{
    Fault, Offence, PacketId, QoS, ReasonCode, TopicFilter, TopicName, Version, Violation,
    codec::{
        Direction::{self, FromClient, FromServer},
        EncodeError, Frames, decode_packet, encode, encode_ack, encode_ping_req, encode_ping_resp,
    },
    packet::{
        Ack, ConnAck, ConnAckProperties, Disconnect, Packet, PacketType, Publish, PublishProperties,
        RetainHandling, SubAck, Subscribe, SubscribeProperties, SubscribedFilter, SubscriptionOptions,
        Unsubscribe,
    },
};

/// Decodes a packet given by its first byte and its body.
fn read(
    version: impl Into<Option<Version>>,
    direction: Direction,
    first: u8,
    body: &[u8],
) -> Result<Packet, Violation> {
    let mut frame = vec![first];
    crosspoint_protocol::codec::varint::put(u32::try_from(body.len()).unwrap(), &mut frame);
    frame.extend_from_slice(body);
    decode_packet(&Bytes::from(frame), version.into(), direction)
}

/// Checks that a packet is refused for this rule and answered with this reason code.
#[track_caller]
fn refused(came: Result<Packet, Violation>, rule: impl Into<Option<&'static str>>, reason: ReasonCode) {
    let violation = came.unwrap_err();
    assert_eq!((violation.rule, violation.reason_code()), (rule.into(), reason), "{violation}");
}

/// A CONNECT with this name, level, flags and what follows the keep alive.
fn connect(name: &str, level: u8, flags: u8, rest: &[u8]) -> Result<Packet, Violation> {
    let mut body = text(name);
    body.extend_from_slice(&[level, flags, 0, 60]);
    body.extend_from_slice(rest);
    read(None, FromClient, 0x10, &body)
}

fn connect_v5_properties(properties: &[u8]) -> Result<Packet, Violation> {
    connect("MQTT", 5, 2, &[&[u8::try_from(properties.len()).unwrap()], properties, &[0, 0]].concat())
}

/// Reads a packet of some kind with these properties.
type ReadProperties = fn(&[u8]) -> Result<Packet, Violation>;

/// A CONNACK of MQTT 5 with these properties.
fn connack(properties: &[u8]) -> Result<Packet, Violation> {
    let len = u8::try_from(properties.len()).unwrap();
    read(V5, FromServer, 0x20, &[&[0, 0, len], properties].concat())
}

/// A PUBLISH of MQTT 5 to "t" at QoS 0 with these properties.
fn publish(direction: Direction, properties: &[u8]) -> Result<Packet, Violation> {
    let len = u8::try_from(properties.len()).unwrap();
    read(V5, direction, 0x30, &[&[0, 1, b't', len], properties].concat())
}

/// A SUBSCRIBE of this version with one filter and its options.
fn subscribe(version: Version, filter: &str, options: u8) -> Result<Packet, Violation> {
    let mut body = vec![0, 1];
    if version == V5 {
        body.push(0);
    }
    body.extend_from_slice(&text(filter));
    body.push(options);
    read(version, FromClient, 0x82, &body)
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

#[test]
fn mqtt_1_5_4_1_text_that_is_not_well_formed_utf_8_is_refused() {
    let surrogate = &[0xED, 0xA0, 0x80][..];
    let overlong = &[0xC0, 0xAF][..];
    let beyond = &[0xF4, 0x90, 0x80, 0x80][..];
    for bytes in [surrogate, overlong, beyond, &[0xFF], &[0xC3]] {
        let body = [&[0, u8::try_from(bytes.len()).unwrap()], bytes].concat();
        for version in [V3_1, V3_1_1, V5] {
            refused(read(version, FromClient, 0x30, &body), "MQTT-1.5.4-1", ReasonCode::MalformedPacket);
        }
    }
}

#[test]
fn mqtt_1_5_4_2_the_character_0_is_refused_in_every_text() {
    refused(read(V5, FromClient, 0x30, &[0, 1, 0, 0]), "MQTT-1.5.4-2", ReasonCode::MalformedPacket);
    refused(connect("MQTT", 4, 2, &[0, 1, 0]), "MQTT-1.5.4-2", ReasonCode::MalformedPacket);
    refused(publish(FromClient, &[0x26, 0, 1, 0, 0, 0]), "MQTT-1.5.4-2", ReasonCode::MalformedPacket);
    refused(subscribe(V3_1_1, "a\0", 0), "MQTT-1.5.4-2", ReasonCode::MalformedPacket);
    let disconnect =
        Disconnect { reason_string: Some("\0".into()), ..Disconnect::new(ReasonCode::ServerBusy) };
    assert_eq!(
        encode(&Packet::Disconnect(Box::new(disconnect)), V5, &mut Vec::new()),
        Err(EncodeError::Invalid { field: "reason string", what: "the text holds the character U+0000" })
    );
}

#[test]
fn a_byte_order_mark_is_a_character_like_any_other() {
    let Ok(Packet::Publish(publish)) = read(V5, FromClient, 0x30, &[0, 4, 0xEF, 0xBB, 0xBF, b'a', 0]) else {
        panic!("refused")
    };
    assert_eq!(publish.topic.unwrap().as_str(), "\u{FEFF}a");
}

#[test]
fn mqtt_1_5_5_1_padded_lengths_are_refused() {
    let padded_remaining = Bytes::from_static(&[0xC0, 0x80, 0x00]);
    refused(
        decode_packet(&padded_remaining, Some(V5), FromClient),
        "MQTT-1.5.5-1",
        ReasonCode::MalformedPacket,
    );
    refused(read(V5, FromClient, 0x30, &[0, 1, b't', 0x80, 0]), "MQTT-1.5.5-1", ReasonCode::MalformedPacket);
    refused(publish(FromServer, &[0x0B, 0x81, 0x00]), "MQTT-1.5.5-1", ReasonCode::MalformedPacket);
}

#[test]
fn lengths_of_five_bytes_are_refused() {
    let remaining = Bytes::from_static(&[0xC0, 0x80, 0x80, 0x80, 0x80, 0x01]);
    refused(decode_packet(&remaining, Some(V5), FromClient), None, ReasonCode::MalformedPacket);
    let mut frames = Frames::new(1_000_000);
    frames.push(remaining.slice(..5));
    assert_eq!(frames.next(Some(V5), FromClient).unwrap_err().field, "remaining length");
    let properties = [0, 1, b't', 0x80, 0x80, 0x80, 0x80, 0x01];
    refused(read(V5, FromClient, 0x30, &properties), None, ReasonCode::MalformedPacket);
}

#[test]
fn mqtt_2_1_3_1_reserved_flags_must_be_as_they_are_listed() {
    for flags in 1..=0x0F {
        let ping = read(V5, FromClient, 0xC0 | flags, &[]);
        refused(ping, "MQTT-2.1.3-1", ReasonCode::MalformedPacket);
        let puback = read(V3_1_1, FromServer, 0x40 | flags, &[0, 1]);
        refused(puback, "MQTT-2.1.3-1", ReasonCode::MalformedPacket);
        let connack = read(V5, FromServer, 0x20 | flags, &[0, 0, 0]);
        refused(connack, "MQTT-2.1.3-1", ReasonCode::MalformedPacket);
    }
}

#[test]
fn mqtt_2_2_1_2_a_publish_at_qos_0_has_no_identifier() {
    let topic = TopicName::parse("t").unwrap();
    let publish = Publish {
        topic: Some(topic),
        payload: Bytes::new(),
        properties: PublishProperties::default(),
        packet_id: Some(PacketId::MIN),
        qos: QoS::AtMostOnce,
        dup: false,
        retain: false,
    };
    let what = "it is there at QoS 1 and 2 and at no other";
    let error = Err(EncodeError::Invalid { field: "packet identifier", what });
    let mut out = vec![7];
    assert_eq!(encode(&Packet::Publish(publish.clone()), V5, &mut out), error);
    let without = Publish { qos: QoS::AtLeastOnce, packet_id: None, ..publish };
    assert_eq!(encode(&Packet::Publish(without), V3_1_1, &mut out), error);
    assert_eq!(out, [7], "a refused packet leaves nothing behind");
    // What stands where the identifier would is payload.
    let Ok(Packet::Publish(read)) = read(V3_1_1, FromClient, 0x30, &[0, 1, b't', 0, 0]) else {
        panic!("refused")
    };
    assert_eq!((read.packet_id, read.payload.as_ref()), (None, &[0, 0][..]));
}

#[test]
fn mqtt_2_2_1_3_the_identifier_0_is_refused() {
    let publish = read(V5, FromClient, 0x32, &[0, 1, b't', 0, 0, 0]);
    refused(publish, "MQTT-2.2.1-3", ReasonCode::ProtocolError);
    for (first, direction) in [(0x40, FromClient), (0x50, FromClient), (0x62, FromClient), (0x70, FromServer)]
    {
        refused(read(V3_1_1, direction, first, &[0, 0]), "MQTT-2.2.1-3", ReasonCode::ProtocolError);
    }
    refused(read(V5, FromClient, 0x82, &[0, 0, 0]), "MQTT-2.2.1-3", ReasonCode::ProtocolError);
    refused(read(V5, FromClient, 0xA2, &[0, 0, 0]), "MQTT-2.2.1-3", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_1_0_1_any_other_first_packet_is_refused_at_its_first_byte() {
    for first in [0x20, 0x30, 0x40, 0x82, 0xC0, 0xE0, 0xF0] {
        let mut frames = Frames::new(1_000);
        frames.push(Bytes::from(vec![first]));
        let came = frames.next(None, FromClient).map(|_| Packet::PingReq);
        refused(came, "MQTT-3.1.0-1", ReasonCode::ProtocolError);
    }
}

#[test]
fn mqtt_3_1_0_2_a_second_connect_is_refused_at_its_first_byte() {
    for version in [V3_1, V3_1_1, V5] {
        let mut frames = Frames::new(1_000);
        frames.push(Bytes::from_static(&[0x10]));
        let came = frames.next(Some(version), FromClient).map(|_| Packet::PingReq);
        refused(came, "MQTT-3.1.0-2", ReasonCode::ProtocolError);
    }
}

#[test]
fn packets_of_the_other_side_are_refused() {
    for first in [0x20, 0x90, 0xB0, 0xD0] {
        refused(read(V5, FromClient, first, &[0, 1, 0]), None, ReasonCode::ProtocolError);
    }
    for first in [0x10, 0x82, 0xA2, 0xC0] {
        refused(read(V5, FromServer, first, &[0, 1, 0]), None, ReasonCode::ProtocolError);
    }
    refused(read(V3_1_1, FromServer, 0xE0, &[]), None, ReasonCode::ProtocolError);
    refused(read(V3_1_1, FromClient, 0xF0, &[]), None, ReasonCode::ProtocolError);
    let reserved = read(V5, FromClient, 0x00, &[]).unwrap_err();
    assert_eq!(
        (reserved.packet, reserved.reason_code()),
        (PacketType::Reserved, ReasonCode::MalformedPacket)
    );
}

#[test]
fn mqtt_3_1_2_1_a_foreign_protocol_name_is_refused() {
    for (name, level) in [("HTTP", 4), ("mqtt", 4), ("MQTTX", 5), ("", 4)] {
        refused(connect(name, level, 2, &[0, 0]), "MQTT-3.1.2-1", ReasonCode::UnsupportedProtocolVersion);
    }
}

#[test]
fn mqtt_3_1_2_2_a_level_that_is_unknown_or_of_another_name_is_refused() {
    for (name, level) in [("MQTT", 6), ("MQTT", 3), ("MQIsdp", 4), ("MQIsdp", 5), ("MQTT", 0x85), ("MQTT", 0)]
    {
        refused(connect(name, level, 2, &[0, 0]), "MQTT-3.1.2-2", ReasonCode::UnsupportedProtocolVersion);
    }
}

#[test]
fn the_bridge_bit_is_known_in_3_1_and_3_1_1() {
    for (name, level, version) in [("MQIsdp", 3, V3_1), ("MQTT", 4, V3_1_1)] {
        for bridge in [false, true] {
            let level = level | if bridge { 0x80 } else { 0 };
            let Ok(Packet::Connect(connect)) = connect(name, level, 2, &[0, 1, b'c']) else {
                panic!("refused")
            };
            assert_eq!((connect.version, connect.is_bridge, connect.clean_start), (version, bridge, true));
        }
    }
}

#[test]
fn mqtt_3_1_2_3_the_reserved_connect_flag_is_refused() {
    refused(connect("MQTT", 4, 3, &[0, 0]), "MQTT-3.1.2-3", ReasonCode::MalformedPacket);
    refused(connect("MQTT", 5, 3, &[0, 0, 0]), "MQTT-3.1.2-3", ReasonCode::MalformedPacket);
    assert!(connect("MQIsdp", 3, 3, &[0, 1, b'c']).is_ok(), "3.1 leaves the bit unused");
}

#[test]
fn mqtt_3_1_2_11_a_will_qos_without_a_will_is_refused() {
    for flags in [0x08, 0x10] {
        refused(connect("MQTT", 4, 2 | flags, &[0, 0]), "MQTT-3.1.2-11", ReasonCode::MalformedPacket);
    }
}

#[test]
fn mqtt_3_1_2_12_will_qos_3_is_refused() {
    refused(connect("MQTT", 5, 0x1E, &[0, 0, 0]), "MQTT-3.1.2-12", ReasonCode::MalformedPacket);
}

#[test]
fn mqtt_3_1_2_13_will_retain_without_a_will_is_refused() {
    refused(connect("MQTT", 4, 0x22, &[0, 0]), "MQTT-3.1.2-13", ReasonCode::MalformedPacket);
}

#[test]
fn a_password_without_a_user_name_is_known_in_mqtt_5_only() {
    refused(connect("MQTT", 4, 0x42, &[0, 0, 0, 1, b'p']), None, ReasonCode::MalformedPacket);
    let Ok(Packet::Connect(connect)) = connect("MQTT", 5, 0x42, &[0, 0, 0, 0, 1, b'p']) else {
        panic!("refused")
    };
    assert_eq!(connect.login.username, None);
    assert_eq!(connect.login.password.as_deref(), Some(&b"p"[..]));
}

#[test]
fn a_login_may_be_missing_at_the_end_of_a_connect_of_3_1() {
    let Ok(Packet::Connect(old)) = connect("MQIsdp", 3, 0xC2, &[0, 1, b'c']) else { panic!("refused") };
    assert_eq!((old.login.username, old.login.password), (None, None));
    assert!(connect("MQTT", 4, 0xC2, &[0, 1, b'c']).is_err());
}

#[test]
fn an_empty_client_identifier_is_refused_in_3_1_only() {
    let came = connect("MQIsdp", 3, 2, &[0, 0]);
    refused(came, None, ReasonCode::ClientIdentifierNotValid);
    assert!(connect("MQTT", 4, 2, &[0, 0]).is_ok());
    assert!(
        connect("MQTT", 4, 0, &[0, 0]).is_ok(),
        "whether it goes with a session is not the codec's matter"
    );
    let long = "x".repeat(100);
    assert!(connect("MQIsdp", 3, 2, &text(&long)).is_ok(), "longer ones than 23 bytes are accepted");
}

#[test]
fn mqtt_3_1_2_24_and_mqtt_3_2_2_15_a_large_packet_is_refused_before_its_body() {
    for (direction, rule) in [(FromClient, "MQTT-3.2.2-15"), (FromServer, "MQTT-3.1.2-24")] {
        let mut frames = Frames::new(1_000);
        frames.push(Bytes::from_static(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]));
        let violation = frames.next(Some(V5), direction).unwrap_err();
        assert_eq!(violation.offence, Offence::TooLarge { bytes: 268_435_460, max: 1_000 });
        assert_eq!((violation.rule, violation.fault()), (Some(rule), Fault::OurLimit));
        assert_eq!(violation.reason_code(), ReasonCode::PacketTooLarge);
    }
}

#[test]
fn a_packet_of_just_the_largest_size_is_accepted() {
    let frame = Bytes::from_static(&[0x30, 4, 0, 1, b't', 0]);
    let mut frames = Frames::new(6);
    frames.push(frame.clone());
    assert!(matches!(frames.next(Some(V5), FromClient), Ok(Some(_))));
    let mut frames = Frames::new(5);
    frames.push(frame);
    assert!(frames.next(Some(V5), FromClient).is_err());
}

#[test]
fn mqtt_3_2_2_1_reserved_acknowledge_flags_are_refused() {
    refused(read(V3_1_1, FromServer, 0x20, &[2, 0]), "MQTT-3.2.2-1", ReasonCode::MalformedPacket);
    refused(read(V5, FromServer, 0x20, &[0x81, 0, 0]), "MQTT-3.2.2-1", ReasonCode::MalformedPacket);
    assert!(read(V3_1, FromServer, 0x20, &[2, 0]).is_ok(), "3.1 leaves the byte unused");
}

#[test]
fn mqtt_3_2_2_6_no_session_is_present_where_the_connection_is_refused() {
    refused(read(V3_1_1, FromServer, 0x20, &[1, 5]), "MQTT-3.2.2-6", ReasonCode::ProtocolError);
    refused(read(V5, FromServer, 0x20, &[1, 0x87, 0]), "MQTT-3.2.2-6", ReasonCode::ProtocolError);
    let properties = ConnAckProperties::default();
    let connack = ConnAck { session_present: true, reason: ReasonCode::NotAuthorized, properties };
    assert!(encode(&Packet::ConnAck(Box::new(connack)), V5, &mut Vec::new()).is_err());
}

#[test]
fn mqtt_3_2_2_8_connack_bears_its_own_reason_codes_only() {
    refused(read(V5, FromServer, 0x20, &[0, 0x8E, 0]), "MQTT-3.2.2-8", ReasonCode::ProtocolError);
    refused(read(V5, FromServer, 0x20, &[0, 0x01, 0]), "MQTT-3.2.2-8", ReasonCode::ProtocolError);
    refused(read(V3_1_1, FromServer, 0x20, &[0, 6]), "MQTT-3.2.2-8", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_3_1_2_dup_at_qos_0_is_refused() {
    for version in [V3_1, V3_1_1, V5] {
        let came = read(version, FromClient, 0x38, &[0, 1, b't', 0]);
        refused(came, "MQTT-3.3.1-2", ReasonCode::MalformedPacket);
    }
}

#[test]
fn mqtt_3_3_1_4_qos_3_is_refused() {
    for flags in [0x36, 0x37, 0x3E, 0x3F] {
        let came = read(V5, FromServer, flags, &[0, 1, b't', 0, 1, 0]);
        refused(came, "MQTT-3.3.1-4", ReasonCode::MalformedPacket);
    }
}

#[test]
fn mqtt_3_3_2_8_topic_alias_0_is_refused() {
    refused(publish(FromClient, &[0x23, 0, 0]), "MQTT-3.3.2-8", ReasonCode::TopicAliasInvalid);
}

#[test]
fn mqtt_3_3_2_14_a_response_topic_with_a_wildcard_is_refused() {
    for topic in ["a/+", "#"] {
        let property = [&[0x08][..], &text(topic)].concat();
        refused(publish(FromServer, &property), "MQTT-3.3.2-14", ReasonCode::TopicNameInvalid);
        let len = u8::try_from(property.len()).unwrap();
        let rest = [&[0, 0, 0, len], &property[..], &text("will"), &[0, 0]].concat();
        refused(connect("MQTT", 5, 6, &rest), "MQTT-3.3.2-14", ReasonCode::TopicNameInvalid);
    }
}

#[test]
fn mqtt_3_3_4_6_a_subscription_identifier_from_a_client_is_refused() {
    refused(publish(FromClient, &[0x0B, 1]), "MQTT-3.3.4-6", ReasonCode::ProtocolError);
    let Ok(Packet::Publish(publish)) = publish(FromServer, &[0x0B, 1, 0x0B, 0x80, 0x01]) else {
        panic!("refused")
    };
    assert_eq!(publish.properties.subscription_ids().collect::<Vec<_>>(), [1, 128]);
}

#[test]
fn mqtt_4_7_0_1_and_mqtt_4_7_3_1_topics_with_wildcards_and_empty_ones_are_refused() {
    for version in [V3_1, V3_1_1, V5] {
        let body = [text("a/+"), vec![0]].concat();
        refused(read(version, FromClient, 0x30, &body), "MQTT-4.7.0-1", ReasonCode::TopicNameInvalid);
    }
    refused(read(V3_1_1, FromClient, 0x30, &[0, 0]), "MQTT-4.7.3-1", ReasonCode::TopicNameInvalid);
    refused(publish(FromClient, &[0x08, 0, 0]), "MQTT-4.7.3-1", ReasonCode::TopicNameInvalid);
}

#[test]
fn an_empty_topic_needs_an_alias() {
    refused(read(V5, FromClient, 0x30, &[0, 0, 0]), None, ReasonCode::ProtocolError);
    let Ok(Packet::Publish(publish)) = read(V5, FromClient, 0x30, &[0, 0, 3, 0x23, 0, 9]) else {
        panic!("refused")
    };
    assert_eq!((publish.topic, publish.properties.topic_alias()), (None, Some(9)));
}

#[test]
fn mqtt_3_4_2_1_puback_bears_its_own_reason_codes_only() {
    refused(read(V5, FromClient, 0x40, &[0, 1, 0x92]), "MQTT-3.4.2-1", ReasonCode::ProtocolError);
    refused(read(V5, FromClient, 0x40, &[0, 1, 0x03]), "MQTT-3.4.2-1", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_5_2_1_pubrec_bears_its_own_reason_codes_only() {
    refused(read(V5, FromServer, 0x50, &[0, 1, 0x04]), "MQTT-3.5.2-1", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_6_1_1_pubrel_has_the_flags_0010() {
    for flags in (0..=0x0F).filter(|flags| *flags != 2) {
        let came = read(V3_1_1, FromClient, 0x60 | flags, &[0, 1]);
        refused(came, "MQTT-3.6.1-1", ReasonCode::MalformedPacket);
    }
    assert!(read(V3_1, FromClient, 0x6A, &[0, 1]).is_ok(), "3.1 sends it again with DUP");
    assert!(read(V3_1, FromClient, 0x60, &[0, 1]).is_err());
}

#[test]
fn mqtt_3_6_2_1_pubrel_bears_its_own_reason_codes_only() {
    refused(read(V5, FromClient, 0x62, &[0, 1, 0x80]), "MQTT-3.6.2-1", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_7_2_1_pubcomp_bears_its_own_reason_codes_only() {
    refused(read(V5, FromClient, 0x70, &[0, 1, 0x10]), "MQTT-3.7.2-1", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_8_1_1_subscribe_has_the_flags_0010() {
    let body = [&[0, 1][..], &text("a"), &[0]].concat();
    refused(read(V3_1_1, FromClient, 0x80, &body), "MQTT-3.8.1-1", ReasonCode::MalformedPacket);
    refused(read(V3_1_1, FromClient, 0x8A, &body), "MQTT-3.8.1-1", ReasonCode::MalformedPacket);
    assert!(read(V3_1, FromClient, 0x8A, &body).is_ok(), "3.1 sends it again with DUP");
}

#[test]
fn mqtt_3_8_3_2_a_subscribe_without_a_filter_is_refused() {
    refused(read(V3_1_1, FromClient, 0x82, &[0, 1]), "MQTT-3.8.3-2", ReasonCode::ProtocolError);
    refused(read(V5, FromClient, 0x82, &[0, 1, 0]), "MQTT-3.8.3-2", ReasonCode::ProtocolError);
    let properties = SubscribeProperties::default();
    let subscribe = Subscribe { packet_id: PacketId::MIN, filters: Vec::new(), properties };
    assert!(encode(&Packet::Subscribe(Box::new(subscribe)), V5, &mut Vec::new()).is_err());
}

#[test]
fn mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_refused() {
    refused(subscribe(V5, "$share/g/a", 0x04), "MQTT-3.8.3-4", ReasonCode::ProtocolError);
    assert!(subscribe(V5, "$share/g/a", 0x00).is_ok());
    assert!(subscribe(V5, "a", 0x04).is_ok());
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let filters = vec![SubscribedFilter { filter: TopicFilter::parse("$share/g/a").unwrap(), options }];
    let subscribe =
        Subscribe { packet_id: PacketId::MIN, filters, properties: SubscribeProperties::default() };
    assert!(encode(&Packet::Subscribe(Box::new(subscribe)), V5, &mut Vec::new()).is_err());
}

#[test]
fn mqtt_3_8_3_5_reserved_subscription_options_are_refused() {
    refused(subscribe(V5, "a", 0x40), "MQTT-3.8.3-5", ReasonCode::MalformedPacket);
    refused(subscribe(V5, "a", 0x80), "MQTT-3.8.3-5", ReasonCode::MalformedPacket);
    refused(subscribe(V3_1_1, "a", 0x04), "MQTT-3.8.3-5", ReasonCode::MalformedPacket);
}

#[test]
fn subscription_options_without_a_meaning_are_refused() {
    refused(subscribe(V5, "a", 0x03), None, ReasonCode::ProtocolError);
    refused(subscribe(V5, "a", 0x30), None, ReasonCode::ProtocolError);
    refused(subscribe(V3_1_1, "a", 0x03), None, ReasonCode::ProtocolError);
}

#[test]
fn filters_that_are_not_well_formed_are_refused() {
    refused(subscribe(V3_1_1, "a/#/b", 0), "MQTT-4.7.1-1", ReasonCode::TopicFilterInvalid);
    refused(subscribe(V5, "a+", 0), "MQTT-4.7.1-2", ReasonCode::TopicFilterInvalid);
    refused(subscribe(V5, "$share//a", 0), "MQTT-4.8.2-1", ReasonCode::TopicFilterInvalid);
    refused(subscribe(V5, "", 0), "MQTT-4.7.3-1", ReasonCode::TopicFilterInvalid);
}

#[test]
fn mqtt_3_9_3_2_suback_bears_its_own_reason_codes_only() {
    refused(read(V5, FromServer, 0x90, &[0, 1, 0, 0x11]), "MQTT-3.9.3-2", ReasonCode::ProtocolError);
    refused(read(V3_1_1, FromServer, 0x90, &[0, 1, 0x87]), "MQTT-3.9.3-2", ReasonCode::ProtocolError);
    refused(read(V3_1_1, FromServer, 0x90, &[0, 1]), None, ReasonCode::MalformedPacket);
    let Ok(Packet::SubAck(suback)) = read(V3_1_1, FromServer, 0x90, &[0, 1, 2, 0x80]) else {
        panic!("refused")
    };
    assert_eq!(suback.reasons, [ReasonCode::GrantedQoS2, ReasonCode::UnspecifiedError]);
}

#[test]
fn mqtt_3_10_1_1_unsubscribe_has_the_flags_0010() {
    let body = [&[0, 1][..], &text("a")].concat();
    refused(read(V3_1_1, FromClient, 0xA0, &body), "MQTT-3.10.1-1", ReasonCode::MalformedPacket);
    assert!(read(V3_1, FromClient, 0xAA, &body).is_ok(), "3.1 sends it again with DUP");
}

#[test]
fn mqtt_3_10_3_2_an_unsubscribe_without_a_filter_is_refused() {
    refused(read(V3_1_1, FromClient, 0xA2, &[0, 1]), "MQTT-3.10.3-2", ReasonCode::ProtocolError);
    let unsubscribe =
        Unsubscribe { packet_id: PacketId::MIN, filters: Vec::new(), user_properties: Vec::new() };
    assert!(encode(&Packet::Unsubscribe(Box::new(unsubscribe)), V5, &mut Vec::new()).is_err());
}

#[test]
fn mqtt_3_11_3_2_unsuback_bears_its_own_reason_codes_only() {
    refused(read(V5, FromServer, 0xB0, &[0, 1, 0, 0x01]), "MQTT-3.11.3-2", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_14_1_1_reserved_flags_of_disconnect_are_refused() {
    refused(read(V5, FromClient, 0xE1, &[]), "MQTT-3.14.1-1", ReasonCode::MalformedPacket);
}

#[test]
fn mqtt_3_14_2_1_disconnect_bears_its_own_reason_codes_only() {
    refused(read(V5, FromClient, 0xE0, &[0x10]), "MQTT-3.14.2-1", ReasonCode::ProtocolError);
    refused(read(V5, FromServer, 0xE0, &[0x85]), "MQTT-3.14.2-1", ReasonCode::ProtocolError);
}

#[test]
fn mqtt_3_14_2_2_a_session_expiry_from_the_server_is_refused() {
    let body = [0x00, 5, 0x11, 0, 0, 0, 1];
    refused(read(V5, FromServer, 0xE0, &body), "MQTT-3.14.2-2", ReasonCode::ProtocolError);
    let Ok(Packet::Disconnect(disconnect)) = read(V5, FromClient, 0xE0, &body) else { panic!("refused") };
    assert_eq!(disconnect.session_expiry_s, Some(1));
}

#[test]
fn mqtt_3_15_1_1_reserved_flags_of_auth_are_refused() {
    refused(read(V5, FromClient, 0xF4, &[]), "MQTT-3.15.1-1", ReasonCode::MalformedPacket);
}

#[test]
fn mqtt_3_15_2_1_auth_bears_the_reason_codes_of_its_sender_only() {
    let method = [4, 0x15, 0, 1, b'm'];
    let auth = |reason, direction| read(V5, direction, 0xF0, &[&[reason][..], &method].concat());
    refused(auth(0x80, FromClient), "MQTT-3.15.2-1", ReasonCode::ProtocolError);
    refused(auth(0x00, FromClient), "MQTT-3.15.2-1", ReasonCode::ProtocolError);
    refused(auth(0x19, FromServer), "MQTT-3.15.2-1", ReasonCode::ProtocolError);
    assert!(auth(0x18, FromClient).is_ok() && auth(0x19, FromClient).is_ok());
    assert!(auth(0x18, FromServer).is_ok() && auth(0x00, FromServer).is_ok());
    refused(read(V5, FromClient, 0xF0, &[0x18, 0]), None, ReasonCode::ProtocolError);
    assert!(read(V5, FromServer, 0xF0, &[]).is_ok(), "success may leave out everything");
}

#[test]
fn a_property_given_twice_is_refused() {
    let twice: [(&[u8], ReadProperties); 8] = [
        (&[0x01, 1], |bytes| publish(FromClient, bytes)),
        (&[0x02, 0, 0, 0, 1], |bytes| publish(FromClient, bytes)),
        (&[0x23, 0, 1], |bytes| publish(FromServer, bytes)),
        (&[0x03, 0, 0], |bytes| publish(FromClient, bytes)),
        (&[0x11, 0, 0, 0, 1], connect_v5_properties),
        (&[0x21, 0, 1], connect_v5_properties),
        (&[0x27, 0, 0, 0, 1], connack),
        (&[0x1F, 0, 0], connack),
    ];
    for (property, read) in twice {
        assert!(read(property).is_ok());
        refused(read(&property.repeat(2)), None, ReasonCode::ProtocolError);
    }
    let user = [0x26, 0, 1, b'n', 0, 1, b'v'].repeat(2);
    assert!(
        publish(FromClient, &user).is_ok() && connack(&user).is_ok() && connect_v5_properties(&user).is_ok()
    );
}

#[test]
fn values_that_a_property_cannot_have_are_refused() {
    for property in [&[0x21, 0, 0][..], &[0x27, 0, 0, 0, 0], &[0x19, 2], &[0x17, 2]] {
        refused(connect_v5_properties(property), None, ReasonCode::ProtocolError);
    }
    for property in [&[0x24, 2][..], &[0x25, 2], &[0x28, 2], &[0x29, 2], &[0x2A, 2], &[0x27, 0, 0, 0, 0]] {
        refused(connack(property), None, ReasonCode::ProtocolError);
    }
    refused(publish(FromClient, &[0x01, 2]), None, ReasonCode::ProtocolError);
    refused(publish(FromServer, &[0x0B, 0]), None, ReasonCode::ProtocolError);
    refused(connect_v5_properties(&[0x16, 0, 0]), None, ReasonCode::ProtocolError);
    refused(connack(&[0x16, 0, 0]), None, ReasonCode::ProtocolError);
}

#[test]
fn properties_that_do_not_belong_into_the_packet_are_refused() {
    refused(publish(FromClient, &[0x11, 0, 0, 0, 1]), None, ReasonCode::MalformedPacket);
    refused(connect_v5_properties(&[0x23, 0, 1]), None, ReasonCode::MalformedPacket);
    refused(connack(&[0x17, 1]), None, ReasonCode::MalformedPacket);
    refused(publish(FromClient, &[0x04, 0]), None, ReasonCode::MalformedPacket);
    refused(publish(FromClient, &[0x81, 0x01, 0]), None, ReasonCode::MalformedPacket);
    refused(read(V5, FromClient, 0x40, &[0, 1, 0, 2, 0x01, 1]), None, ReasonCode::MalformedPacket);
}

#[test]
fn bytes_behind_the_last_field_are_refused() {
    for (first, direction, body) in [
        (0xC0, FromClient, &[0][..]),
        (0xD0, FromServer, &[0]),
        (0x40, FromClient, &[0, 1, 0]),
        (0xB0, FromServer, &[0, 1, 0]),
        (0x20, FromServer, &[0, 0, 0]),
        (0xE0, FromClient, &[0]),
    ] {
        refused(read(V3_1_1, direction, first, body), None, ReasonCode::MalformedPacket);
    }
    refused(read(V5, FromClient, 0x40, &[0, 1, 0, 0, 0]), None, ReasonCode::MalformedPacket);
    refused(connect("MQTT", 4, 2, &[0, 0, 0]), None, ReasonCode::MalformedPacket);
}

#[test]
fn our_limits_are_kept_and_called_ours() {
    let property = [0x26, 0, 0, 0, 0];
    let with = |count: usize| {
        let properties = property.repeat(count);
        let mut body = vec![0, 1, b't'];
        crosspoint_protocol::codec::varint::put(u32::try_from(properties.len()).unwrap(), &mut body);
        body.extend_from_slice(&properties);
        read(V5, FromClient, 0x30, &body)
    };
    assert!(with(256).is_ok());
    assert_eq!(with(257).unwrap_err().fault(), Fault::OurLimit);

    let deep = [text(&"/".repeat(200)), vec![0]].concat();
    assert_eq!(read(V5, FromClient, 0x30, &deep).unwrap_err().fault(), Fault::OurLimit);
    let deepest = [text(&"/".repeat(199)), vec![0]].concat();
    assert!(read(V5, FromClient, 0x30, &deepest).is_ok());

    let filters =
        |count: usize| read(V3_1_1, FromClient, 0xA2, &[&[0, 1][..], &text("a").repeat(count)].concat());
    assert!(filters(10_000).is_ok());
    assert_eq!(filters(10_001).unwrap_err().fault(), Fault::OurLimit);

    let large = [vec![0, 1, b't', 0x81, 0x80, 0x10], vec![0; 262_145]].concat();
    assert_eq!(read(V5, FromClient, 0x30, &large).unwrap_err().fault(), Fault::OurLimit);
}

#[test]
fn violations_read_as_a_sentence_with_packet_field_and_rule() {
    let violation = read(V5, FromClient, 0x30, &[0, 1, 0, 0]).unwrap_err();
    assert_eq!(
        violation.to_string(),
        "PUBLISH: topic name: the text holds the character U+0000 [MQTT-1.5.4-2]"
    );
}

#[test]
fn the_connect_of_the_specification_is_read_and_written() {
    let frame = [
        0x10,
        39,
        0,
        4,
        b'M',
        b'Q',
        b'T',
        b'T',
        5,
        0b1100_1110,
        0,
        10,
        5,
        0x11,
        0,
        0,
        0,
        10,
        0,
        1,
        b'c',
        0,
        0,
        1,
        b'w',
        0,
        2,
        b'b',
        b'y',
        0,
        4,
        b'u',
        b's',
        b'e',
        b'r',
        0,
        4,
        b'p',
        b'a',
        b's',
        b's',
    ];
    let Ok(Packet::Connect(connect)) = decode_packet(&Bytes::copy_from_slice(&frame), None, FromClient)
    else {
        panic!("refused")
    };
    assert_eq!((connect.version, connect.clean_start, connect.keep_alive_s), (V5, true, 10));
    assert_eq!(connect.properties.session_expiry_s, Some(10));
    let will = connect.will.as_ref().unwrap();
    assert_eq!((will.topic.as_str(), will.qos, will.retain), ("w", QoS::AtLeastOnce, false));
    assert_eq!(will.payload.as_ref(), b"by");
    assert_eq!(connect.login.username.as_deref(), Some("user"));
    let mut again = Vec::new();
    encode(&Packet::Connect(connect), V5, &mut again).unwrap();
    assert_eq!(again, frame);
}

#[test]
fn the_publish_of_the_specification_is_written() {
    let publish = Publish {
        topic: Some(TopicName::parse("a/b").unwrap()),
        payload: Bytes::new(),
        properties: PublishProperties::default(),
        packet_id: PacketId::new(10),
        qos: QoS::AtLeastOnce,
        dup: false,
        retain: false,
    };
    let mut out = Vec::new();
    encode(&Packet::Publish(publish.clone()), V5, &mut out).unwrap();
    assert_eq!(out, [0x32, 8, 0, 3, b'a', b'/', b'b', 0, 10, 0]);
    out.clear();
    encode(&Packet::Publish(publish), V3_1_1, &mut out).unwrap();
    assert_eq!(out, [0x32, 7, 0, 3, b'a', b'/', b'b', 0, 10]);
}

#[test]
fn the_subscribe_of_the_specification_is_read() {
    let body = [&[0, 10, 0][..], &text("a/b"), &[1], &text("c/d"), &[2]].concat();
    let Ok(Packet::Subscribe(subscribe)) = read(V5, FromClient, 0x82, &body) else { panic!("refused") };
    let filters: Vec<_> =
        subscribe.filters.iter().map(|one| (one.filter.as_str(), one.options.qos)).collect();
    assert_eq!(filters, [("a/b", QoS::AtLeastOnce), ("c/d", QoS::ExactlyOnce)]);
    assert_eq!(subscribe.filters[0].options.retain_handling, RetainHandling::Send);
}

#[test]
fn short_forms_of_acknowledgements_are_read_and_written() {
    let id = PacketId::new(0x1234).unwrap();
    for body in [&[0x12, 0x34][..], &[0x12, 0x34, 0], &[0x12, 0x34, 0, 0]] {
        assert_eq!(read(V5, FromClient, 0x40, body), Ok(Packet::PubAck(Ack::new(id, ReasonCode::Success))));
    }
    let mut out = Vec::new();
    encode_ack(PacketType::PubAck, id, ReasonCode::Success, V5, &mut out);
    encode_ack(PacketType::PubRel, id, ReasonCode::PacketIdentifierNotFound, V5, &mut out);
    encode_ack(PacketType::PubRec, id, ReasonCode::QuotaExceeded, V3_1_1, &mut out);
    encode_ping_req(&mut out);
    encode_ping_resp(&mut out);
    let acks = [0x40, 2, 0x12, 0x34, 0x62, 3, 0x12, 0x34, 0x92, 0x50, 2, 0x12, 0x34, 0xC0, 0, 0xD0, 0];
    assert_eq!(out, acks);
}

#[test]
fn reason_codes_become_the_return_codes_of_3_1_1() {
    let connack = |reason| {
        let properties = ConnAckProperties::default();
        let mut out = Vec::new();
        let connack = ConnAck { session_present: false, reason, properties };
        encode(&Packet::ConnAck(Box::new(connack)), V3_1_1, &mut out).unwrap();
        out
    };
    assert_eq!(connack(ReasonCode::NotAuthorized), [0x20, 2, 0, 5]);
    assert_eq!(connack(ReasonCode::UnsupportedProtocolVersion), [0x20, 2, 0, 1]);
    assert_eq!(connack(ReasonCode::ServerBusy), [0x20, 2, 0, 3]);
    let reasons = vec![ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized];
    let suback = SubAck { packet_id: PacketId::MIN, reasons, properties: Default::default() };
    let mut out = Vec::new();
    encode(&Packet::SubAck(Box::new(suback.clone())), V3_1_1, &mut out).unwrap();
    encode(&Packet::UnsubAck(Box::new(suback)), V3_1_1, &mut out).unwrap();
    assert_eq!(out, [0x90, 4, 0, 1, 1, 0x80, 0xB0, 2, 0, 1]);
}

#[test]
fn nothing_is_held_between_packets_and_little_of_a_large_one() {
    let mut frames = Frames::new(300_000_000);
    frames.push(Bytes::from_static(&[0xC0, 0, 0xC0]));
    assert_eq!(frames.next(Some(V5), FromClient), Ok(Some(Packet::PingReq)));
    assert!(!frames.is_empty());
    assert_eq!(frames.next(Some(V5), FromClient), Ok(None));
    frames.push(Bytes::from_static(&[0]));
    assert_eq!(frames.next(Some(V5), FromClient), Ok(Some(Packet::PingReq)));
    assert!(frames.is_empty());
    assert!(size_of::<Packet>() <= 120 && size_of::<Frames>() <= 72);
}
