//! What is encoded is decoded to the same, whatever the chunks; and no damage to it makes a panic.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use bytes::Bytes;
use crosspoint_protocol::{
    Version, Violation,
    codec::{Direction, Frames, decode_packet, encode, varint},
    limits::PACKET_BYTES_DEFAULT,
    packet::{Packet, PublishProperties, PublishPropertyValues},
};
use proptest::{collection::vec, prelude::*};
use support::{Sent, packet, sent, version};

/// Returns all packets that a stream gives which comes in chunks of these sizes, in turn.
fn packets(
    stream: &Bytes,
    chunks: &[usize],
    version: Option<Version>,
    direction: Direction,
) -> Result<Vec<Packet>, Violation> {
    let mut frames = Frames::new(PACKET_BYTES_DEFAULT);
    let mut packets = Vec::new();
    let mut at = 0;
    for size in chunks.iter().cycle() {
        let end = (at + size).min(stream.len());
        frames.push(stream.slice(at..end));
        while let Some(packet) = frames.next(version, direction)? {
            packets.push(packet);
        }
        at = end;
        if at == stream.len() {
            break;
        }
    }
    Ok(packets)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_packet_comes_back_as_it_was(sent in sent()) {
        let bytes = sent.bytes();
        prop_assert_eq!(decode_packet(&bytes, sent.known_version(), sent.direction), Ok(sent.packet));
    }

    #[test]
    fn any_chunking_gives_the_same_packets(
        (version, sent) in version().prop_flat_map(|version| {
            (Just(version), vec(packet(version, Direction::FromServer), 1..6))
        }),
        chunks in vec(1..40_usize, 1..6),
    ) {
        let mut stream = Vec::new();
        for packet in &sent {
            encode(packet, version, &mut stream).unwrap();
        }
        let stream = Bytes::from(stream);
        let whole = packets(&stream, &[stream.len()], Some(version), Direction::FromServer);
        prop_assert_eq!(whole, Ok(sent.clone()));
        let chunked = packets(&stream, &chunks, Some(version), Direction::FromServer);
        prop_assert_eq!(chunked, Ok(sent));
    }

    #[test]
    fn no_truncation_makes_a_packet_of_it_or_a_panic(sent in sent()) {
        let bytes = sent.bytes();
        for end in 0..bytes.len().min(400) {
            let cut = bytes.slice(..end);
            let came = packets(&cut, &[cut.len().max(1)], sent.known_version(), sent.direction);
            prop_assert_eq!(came, Ok(Vec::new()));
            prop_assert!(decode_packet(&cut, sent.known_version(), sent.direction).is_err());
        }
    }

    #[test]
    fn no_other_remaining_length_makes_a_panic(sent in sent(), change in -8_i64..=8) {
        let _ = with_remaining_length(&sent, change);
    }

    #[test]
    fn no_changed_byte_makes_a_panic(sent in sent(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = sent.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode_packet(&Bytes::from(bytes), sent.known_version(), sent.direction);
    }

    #[test]
    fn what_is_forwarded_keeps_what_belongs_to_the_message(sent in sent()) {
        let Packet::Publish(publish) = sent.packet else { return Ok(()) };
        let mut kept = Vec::new();
        crosspoint_protocol::codec::forwardable(publish.properties.as_bytes(), &mut kept);
        let kept = PublishProperties::from_wire(Bytes::from(kept), Direction::FromClient).unwrap();
        prop_assert_eq!(kept.topic_alias(), None);
        prop_assert_eq!(kept.message_expiry_s(), None);
        prop_assert_eq!(kept.subscription_ids().count(), 0);
        prop_assert_eq!(kept.content_type(), publish.properties.content_type());
        prop_assert_eq!(kept.response_topic(), publish.properties.response_topic());
        prop_assert_eq!(kept.correlation_data(), publish.properties.correlation_data());
        prop_assert_eq!(kept.payload_is_utf8(), publish.properties.payload_is_utf8());
        prop_assert!(kept.user_properties().eq(publish.properties.user_properties()));
    }
}

/// Decodes the body of a packet behind a remaining length that is wrong by `change`, with bytes to match.
fn with_remaining_length(sent: &Sent, change: i64) -> Option<Result<Packet, Violation>> {
    let bytes = sent.bytes();
    let (len, header) = varint::read(&bytes[1..]).unwrap().unwrap();
    let wrong = usize::try_from(i64::from(len) + change).ok()?;
    let mut body = bytes[1 + header..].to_vec();
    body.resize(wrong, 0x26);
    let mut stream = vec![bytes[0]];
    varint::put(u32::try_from(wrong).unwrap(), &mut stream);
    stream.extend_from_slice(&body);
    Some(decode_packet(&Bytes::from(stream), sent.known_version(), sent.direction))
}

#[test]
fn values_become_the_properties_that_they_name() {
    let values = PublishPropertyValues {
        payload_is_utf8: Some(true),
        message_expiry_s: Some(60),
        response_topic: Some("answers/7".into()),
        correlation_data: Some(Bytes::from_static(&[0, 255])),
        content_type: Some("text/plain".into()),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
    };
    let properties = PublishProperties::from_values(&values).unwrap();
    assert_eq!(properties.payload_is_utf8(), Some(true));
    assert_eq!(properties.message_expiry_s(), Some(60));
    assert_eq!(properties.response_topic(), Some("answers/7"));
    assert_eq!(properties.correlation_data(), Some(&[0, 255][..]));
    assert_eq!(properties.content_type(), Some("text/plain"));
    assert!(properties.user_properties().eq([("a", "1"), ("a", "2")]));
    assert_eq!(properties.topic_alias(), None);
    assert!(PublishProperties::from_values(&PublishPropertyValues::default()).unwrap().is_empty());
}
