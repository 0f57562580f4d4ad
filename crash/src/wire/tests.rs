//! The bytes are written out after the specification, so that a mistake in both directions does not pass.

use super::read::Malformed;
use super::*;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn whole(version: Version, bytes: &[u8]) -> Packet {
    let (packet, length) = decode(version, bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    packet
}

fn message(id: u16, qos: u8) -> Publish {
    Publish { is_again: false, qos, retain: false, topic: "a/b".to_owned(), id, payload: b"xyz".to_vec() }
}

#[test]
fn connect_asks_for_a_lasting_session_in_both_versions() {
    let wanted = Connect { client_id: "me", is_clean: false, receive_max: Some(10), will: None };
    assert_eq!(
        written(|out| connect(out, Version::V311, &wanted)),
        b"\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02me"
    );
    assert_eq!(
        written(|out| connect(out, Version::V5, &wanted)),
        b"\x10\x17\x00\x04MQTT\x05\x00\x00\x00\x08\x11\x00\x01\x51\x80\x21\x00\x0a\x00\x02me"
    );
}

#[test]
fn a_clean_connect_has_no_expiry() {
    let wanted = Connect { client_id: "me", is_clean: true, receive_max: None, will: None };
    assert_eq!(
        written(|out| connect(out, Version::V5, &wanted)),
        b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02me"
    );
}

#[test]
fn a_publish_is_written_and_read() {
    let again = Publish { is_again: true, retain: true, ..message(0x0102, 2) };
    let bytes = b"\x3d\x0b\x00\x03a/b\x01\x02\x00xyz";
    assert_eq!(written(|out| publish(out, Version::V5, &again)), bytes);
    assert_eq!(whole(Version::V5, bytes), Packet::Publish(again));
    let bytes = b"\x30\x08\x00\x03a/bxyz";
    assert_eq!(written(|out| publish(out, Version::V311, &message(0, 0))), bytes);
    assert_eq!(whole(Version::V311, bytes), Packet::Publish(message(0, 0)));
}

#[test]
fn properties_of_a_publish_are_passed_over() {
    let bytes = b"\x32\x10\x00\x03a/b\x00\x07\x05\x02\x00\x00\x00\x09xyz";
    assert_eq!(whole(Version::V5, bytes), Packet::Publish(message(7, 1)));
}

#[test]
fn requests_and_answers_have_their_flags() {
    assert_eq!(written(|out| acknowledge(out, Step::Ack, 1)), b"\x40\x02\x00\x01");
    assert_eq!(written(|out| acknowledge(out, Step::Rec, 1)), b"\x50\x02\x00\x01");
    assert_eq!(written(|out| acknowledge(out, Step::Rel, 1)), b"\x62\x02\x00\x01");
    assert_eq!(written(|out| acknowledge(out, Step::Comp, 0x1234)), b"\x70\x02\x12\x34");
    assert_eq!(written(|out| subscribe(out, Version::V311, 2, "a/#", 2)), b"\x82\x08\x00\x02\x00\x03a/#\x02");
    assert_eq!(written(|out| subscribe(out, Version::V5, 2, "a", 1)), b"\x82\x07\x00\x02\x00\x00\x01a\x01");
    assert_eq!(written(|out| unsubscribe(out, Version::V5, 3, "a")), b"\xa2\x06\x00\x03\x00\x00\x01a");
    assert_eq!(written(disconnect), b"\xe0\x00");
}

#[test]
fn what_a_broker_says_is_read() {
    let connected = |has_session, code, receive_max| Packet::Connected { has_session, code, receive_max };
    assert_eq!(whole(Version::V311, b"\x20\x02\x01\x00"), connected(true, 0, u16::MAX));
    assert_eq!(whole(Version::V5, b"\x20\x03\x00\x88\x00"), connected(false, 0x88, u16::MAX));
    let properties = b"\x20\x11\x01\x00\x0e\x24\x01\x13\x00\x3c\x21\x00\x14\x12\x00\x01x\x28\x01";
    assert_eq!(whole(Version::V5, properties), connected(true, 0, 20));
    let exchange = |step, id, reason| Packet::Exchange { step, id, reason };
    assert_eq!(whole(Version::V311, b"\x40\x02\x00\x09"), exchange(Step::Ack, 9, 0));
    assert_eq!(whole(Version::V5, b"\x50\x03\x00\x09\x97"), exchange(Step::Rec, 9, 0x97));
    assert_eq!(whole(Version::V5, b"\x62\x04\x00\x09\x92\x00"), exchange(Step::Rel, 9, 0x92));
    assert_eq!(whole(Version::V5, b"\x70\x02\x00\x09"), exchange(Step::Comp, 9, 0));
    let subscribed = Packet::Subscribed { id: 4, codes: vec![2, 0x80] };
    assert_eq!(whole(Version::V311, b"\x90\x04\x00\x04\x02\x80"), subscribed);
    assert_eq!(whole(Version::V5, b"\x90\x05\x00\x04\x00\x02\x80"), subscribed);
    assert_eq!(whole(Version::V311, b"\xb0\x02\x00\x05"), Packet::Unsubscribed { id: 5 });
    assert_eq!(whole(Version::V5, b"\xb0\x04\x00\x05\x00\x00"), Packet::Unsubscribed { id: 5 });
    assert_eq!(whole(Version::V5, b"\xe0\x01\x8e"), Packet::Disconnected { reason: 0x8E });
    assert_eq!(whole(Version::V5, b"\xe0\x00"), Packet::Disconnected { reason: 0 });
}

#[test]
fn what_is_not_all_there_is_waited_for() {
    let long = Publish { payload: vec![7; 300], ..message(1, 1) };
    let bytes = written(|out| publish(out, Version::V5, &long));
    for end in 0..bytes.len() {
        assert_eq!(decode(Version::V5, &bytes[..end]), Ok(None), "{end}");
    }
    let mut more = bytes.clone();
    more.extend(b"\xe0\x00");
    assert_eq!(decode(Version::V5, &more), Ok(Some((Packet::Publish(long), bytes.len()))));
}

#[test]
fn what_a_broker_must_not_send_is_refused() {
    let refused: &[&[u8]] = &[
        b"\x20\x02\x02\x00",             // CONNACK with a reserved flag
        b"\x36\x08\x00\x03a/b\x00\x01x", // QoS 3
        b"\x38\x06\x00\x03a/bx",         // DUP at QoS 0
        b"\x32\x08\x00\x03a/b\x00\x00x", // packet identifier 0
        b"\x32\x05\x00\x00\x00\x01x",    // no topic
        b"\x40\x03\x00\x01\x00",         // too long for 3.1.1
        b"\x60\x02\x00\x01",             // PUBREL with wrong flags
        b"\xe0\x00",                     // DISCONNECT before MQTT 5
        b"\xc0\x00",                     // PINGREQ
        b"\xd0\x00",                     // PINGRESP, which nobody asked for
        b"\x30\xff\xff\xff\xff\x01",     // a length of five bytes
    ];
    for bytes in refused {
        assert_eq!(decode(Version::V311, bytes), Err(Malformed), "{bytes:?}");
    }
}
