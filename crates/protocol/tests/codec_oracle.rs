//! Another implementation as judge: what it reads and writes is what we read and write.
//!
//! On valid packets the two agree but for the differences in [`their_refusal`] and [`as_they_keep_it`]. On damaged
//! ones, each way in which the verdicts may differ has its reason here; any other is a failure.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod support;

use bytes::{Bytes, BytesMut};
use crosspoint_protocol::{
    Version,
    codec::decode_packet,
    packet::{ConnAckProperties, Connect, ConnectProperties, Packet, PublishProperties, PublishProperty},
};
use proptest::{prelude::*, test_runner::RngSeed};
use rmqtt_codec::{v3, v5};
use support::{Sent, sent};
use tokio_util::codec::{Decoder, Encoder};

/// What the other implementation lets pass. All but the first two stand in the specification.
const OUR_REFUSALS: &[&str] = &[
    // They stop at the end of the first packet, and do not know the direction or whether it is the first one.
    "the packet is not as long as it declares",
    "never sends this packet",
    "the first packet is not CONNECT",
    "[MQTT-3.15.2-1]",
    // They do not look at the text of strings and topics beyond UTF-8.
    "[MQTT-1.5.4-2]",
    "[MQTT-3.3.2-14]",
    "[MQTT-4.7.0-1]",
    "[MQTT-4.7.1-1]",
    "[MQTT-4.7.1-2]",
    "[MQTT-4.7.3-1]",
    "[MQTT-4.8.2-1]",
    "[MQTT-4.8.2-2]",
    // They do not look at what is reserved.
    "[MQTT-3.8.3-5]",
    // They do not look behind the last field.
    "bytes follow the last field",
    // They let through what says nothing or contradicts itself.
    "there is not even one reason code",
    "there is neither a topic name nor a topic alias",
    "there is no authentication method",
    "AUTH without an authentication method",
    "a password without a user name",
    "the property is given twice",
    "[MQTT-1.5.5-1]",
    "[MQTT-2.2.1-3]",
    "[MQTT-3.1.2-2]",
    "[MQTT-3.2.2-6]",
    "[MQTT-3.2.2-8]",
    "[MQTT-3.3.1-2]",
    "[MQTT-3.3.2-8]",
    "[MQTT-3.3.4-6]",
    "[MQTT-3.8.3-4]",
    "[MQTT-3.14.2-2]",
    "a client never sends it",
    "there is no retain handling 3",
    "the value 0 is not allowed",
];

/// Decodes with the other implementation and encodes what it understood; `Err` where it refuses.
fn through_the_other(bytes: &[u8], version: Version) -> Result<Bytes, String> {
    let mut source = BytesMut::from(bytes);
    let mut out = BytesMut::new();
    if version == Version::V5 {
        let mut codec = v5::Codec::new(0, 0);
        let (packet, _) =
            codec.decode(&mut source).map_err(|error| format!("{error:?}"))?.ok_or("incomplete")?;
        codec.encode(packet, &mut out).map_err(|error| format!("encode: {error:?}"))?;
    } else {
        let mut codec = v3::Codec::new(0);
        let (packet, _) =
            codec.decode(&mut source).map_err(|error| format!("{error:?}"))?.ok_or("incomplete")?;
        codec.encode(packet, &mut out).map_err(|error| format!("encode: {error:?}"))?;
    }
    Ok(out.freeze())
}

/// Tells why the other implementation may refuse a packet that is valid.
fn their_refusal(packet: &Packet) -> Option<&'static str> {
    match packet {
        Packet::Publish(publish) if publish.properties.message_expiry_s() == Some(0) => {
            Some("no expiry of 0")
        }
        Packet::Connect(connect) => connect_refusal(connect),
        _ => None,
    }
}

fn connect_refusal(connect: &Connect) -> Option<&'static str> {
    let will_expiry = connect.will.as_ref().and_then(|will| will.properties.message_expiry_s);
    if connect.is_bridge {
        Some("no bridge bit")
    } else if connect.client_id.is_empty() && !connect.clean_start {
        Some("no session without a client identifier, which our connection decides")
    } else if will_expiry == Some(0) {
        Some("no expiry of 0")
    } else {
        None
    }
}

/// They judge 3.1 by the rules of 3.1.1: flags that 3.1 leaves unused, and the DUP flag that it sets.
fn their_refusal_of_3_1(version: Version, bytes: &[u8]) -> Option<&'static str> {
    let first = bytes.first().copied().unwrap_or_default();
    match first >> 4 {
        _ if version != Version::V3_1 => None,
        1 | 2 => Some("no flags that are unused"),
        6 | 8 | 10 if first & 0x08 != 0 => Some("no DUP but in PUBLISH"),
        _ => None,
    }
}

/// What a packet means, where its bytes may differ: the properties of a PUBLISH, and the rest in the form in which
/// the other implementation keeps it.
fn meaning(mut packet: Packet) -> (Vec<String>, Packet) {
    let mut properties = Vec::new();
    match &mut packet {
        Packet::Publish(publish) => {
            // They write them in an order of their own, and leave out what is the default.
            let text = |property: PublishProperty<'_>| format!("{property:?}");
            properties = publish.properties.iter().map(text).collect();
            properties.retain(|property| property != "PayloadFormatIndicator(false)");
            properties.sort_by(|a, b| a.split('(').next().cmp(&b.split('(').next()));
            publish.properties = PublishProperties::default();
        }
        Packet::Connect(connect) => connect_as_they_keep_it(&mut connect.properties),
        Packet::ConnAck(connack) => connack_as_they_keep_it(&mut connack.properties),
        _ => {}
    }
    (properties, packet)
}

/// They keep a value that is the default as if it was not there.
fn connect_as_they_keep_it(properties: &mut ConnectProperties) {
    drop_default(&mut properties.session_expiry_s, 0);
    drop_default(&mut properties.topic_alias_maximum, 0);
    drop_default(&mut properties.request_problem_information, true);
    drop_default(&mut properties.request_response_information, false);
}

fn connack_as_they_keep_it(properties: &mut ConnAckProperties) {
    drop_default(&mut properties.receive_maximum, u16::MAX);
    drop_default(&mut properties.topic_alias_maximum, 0);
    drop_default(&mut properties.retain_available, true);
    drop_default(&mut properties.wildcard_subscription_available, true);
    drop_default(&mut properties.subscription_identifiers_available, true);
    drop_default(&mut properties.shared_subscription_available, true);
}

fn drop_default<T: PartialEq>(slot: &mut Option<T>, default: T) {
    if *slot == Some(default) {
        *slot = None;
    }
}

fn check(sent: &Sent, bytes: &Bytes) -> Result<(), TestCaseError> {
    let ours = decode_packet(bytes, sent.known_version(), sent.direction);
    // Damage can make a CONNECT one of another version.
    let version = match &ours {
        Ok(Packet::Connect(connect)) => connect.version,
        _ => sent.version,
    };
    let theirs = through_the_other(bytes, version);
    match (ours, theirs) {
        // They write a CONNECT of 3.1 with the name `MQTT`, which goes with no level 3.
        (Ok(Packet::Connect(connect)), Ok(_)) if connect.version == Version::V3_1 => {}
        (Ok(ours), Ok(theirs)) => {
            prop_assert_eq!(their_refusal(&ours), None, "they no longer refuse it");
            let again = decode_packet(&theirs, sent.known_version(), sent.direction).map(meaning);
            prop_assert_eq!(again, Ok(meaning(ours)));
        }
        (Ok(ours), Err(theirs)) => {
            let reason = their_refusal(&ours).or_else(|| their_refusal_of_3_1(version, bytes));
            prop_assert!(reason.is_some(), "they refuse ({}) {:?}", theirs, ours);
        }
        (Err(violation), Ok(_)) => {
            let refusal = violation.to_string();
            prop_assert!(
                OUR_REFUSALS.iter().any(|reason| refusal.contains(reason)),
                "we refuse: {}",
                refusal
            );
        }
        (Err(_), Err(_)) => {}
    }
    Ok(())
}

proptest! {
    // A fixed seed: whether two programs differ is no matter of luck. Another seed may be tried by hand.
    #![proptest_config(ProptestConfig { cases: 8_000, rng_seed: RngSeed::Fixed(2), ..ProptestConfig::default() })]

    #[test]
    fn valid_packets_mean_the_same_to_both(sent in sent()) {
        let bytes = sent.bytes();
        check(&sent, &bytes)?;
    }

    #[test]
    fn damaged_packets_are_judged_alike(sent in sent(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = sent.bytes().to_vec();
        let at = at.index(bytes.len().min(200));
        bytes[at] = byte;
        check(&sent, &Bytes::from(bytes))?;
    }
}
