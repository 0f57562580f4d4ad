//! Packets as bytes.

use super::{Connect, Publish, Step, Version, Will};

/// How long a session outlives its connection, in seconds (MQTT 5).
const SESSION_EXPIRY_S: u32 = 86_400;

/// Appends a CONNECT without a keep alive: whether a connection lives is the test's own affair.
pub(crate) fn connect(out: &mut Vec<u8>, version: Version, wanted: &Connect) {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.push(match version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    let will_flags = wanted.will.map_or(0, |will| 0b100 | will.qos << 3);
    body.push(if wanted.is_clean { 0b10 } else { 0 } | will_flags);
    number(&mut body, 0);
    if version == Version::V5 {
        let mut properties = Vec::new();
        if !wanted.is_clean {
            properties.push(0x11);
            properties.extend(SESSION_EXPIRY_S.to_be_bytes());
        }
        if let Some(receive_max) = wanted.receive_max {
            properties.push(0x21);
            number(&mut properties, receive_max);
        }
        length(&mut body, properties.len());
        body.extend(properties);
    }
    text(&mut body, wanted.client_id);
    if let Some(will) = wanted.will {
        write_will(&mut body, version, will);
    }
    packet(out, 0x10, &body);
}

fn write_will(body: &mut Vec<u8>, version: Version, will: &Will) {
    if version == Version::V5 {
        body.extend([5, 0x18]);
        body.extend(will.delay_s.to_be_bytes());
    }
    text(body, &will.topic);
    // A will of the test has a few bytes, as its texts have.
    number(body, will.payload.len() as u16);
    body.extend(&will.payload);
}

/// Appends a PUBLISH.
pub(crate) fn publish(out: &mut Vec<u8>, version: Version, publish: &Publish) {
    let mut body = Vec::with_capacity(publish.payload.len() + publish.topic.len() + 8);
    text(&mut body, &publish.topic);
    if publish.qos > 0 {
        number(&mut body, publish.id);
    }
    no_properties(&mut body, version);
    body.extend_from_slice(&publish.payload);
    let flags = u8::from(publish.is_again) << 3 | publish.qos << 1 | u8::from(publish.retain);
    packet(out, 0x30 | flags, &body);
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP that says success; its form is that of both versions.
pub(crate) fn acknowledge(out: &mut Vec<u8>, step: Step, id: u16) {
    let first = match step {
        Step::Ack => 0x40,
        Step::Rec => 0x50,
        Step::Rel => 0x62,
        Step::Comp => 0x70,
    };
    packet(out, first, &id.to_be_bytes());
}

/// Appends a SUBSCRIBE for one filter.
pub(crate) fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, filter: &str, qos: u8) {
    let mut body = id.to_be_bytes().to_vec();
    no_properties(&mut body, version);
    text(&mut body, filter);
    body.push(qos);
    packet(out, 0x82, &body);
}

/// Appends an UNSUBSCRIBE of one filter.
pub(crate) fn unsubscribe(out: &mut Vec<u8>, version: Version, id: u16, filter: &str) {
    let mut body = id.to_be_bytes().to_vec();
    no_properties(&mut body, version);
    text(&mut body, filter);
    packet(out, 0xA2, &body);
}

/// Appends a DISCONNECT that keeps the session.
pub(crate) fn disconnect(out: &mut Vec<u8>) {
    packet(out, 0xE0, &[]);
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    length(out, body.len());
    out.extend_from_slice(body);
}

fn no_properties(out: &mut Vec<u8>, version: Version) {
    if version == Version::V5 {
        out.push(0);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    // The texts of the test are short constants with a number.
    number(out, text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

fn number(out: &mut Vec<u8>, number: u16) {
    out.extend(number.to_be_bytes());
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let digit = (length % 128) as u8;
        length /= 128;
        if length == 0 {
            return out.push(digit);
        }
        out.push(digit | 0x80);
    }
}
