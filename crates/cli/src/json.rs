//! A message as one line of JSON: `%j` and `%J` of a format.

use crosspoint_client::{QoS, protocol::packet::PublishProperty};
use jiff::Zoned;

use crate::format::{Received, clock};

/// How the payload stands in the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadForm {
    /// As a string.
    Text,
    /// As what it is, which must be JSON.
    Json,
}

/// The payload is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson;

/// Appends a message as JSON, with the members and the order of `mosquitto_sub`.
///
/// # Errors
/// The payload is to stand there as JSON and is none; nothing is appended then.
pub(crate) fn write(
    message: &Received<'_>,
    at: &Zoned,
    form: PayloadForm,
    out: &mut Vec<u8>,
) -> Result<(), NotJson> {
    let payload = match form {
        PayloadForm::Text => quoted(message.payload),
        PayloadForm::Json if message.payload.is_empty() => b"null".to_vec(),
        PayloadForm::Json => compact(message.payload)?,
    };
    out.extend_from_slice(b"{\"tst\":");
    out.extend(quoted(clock("%Y-%m-%dT%H:%M:%S.%6f%z", at).as_bytes()));
    out.extend_from_slice(b",\"topic\":");
    out.extend(quoted(message.topic.as_bytes()));
    let (qos, retain, len) = (message.qos, u8::from(message.retain), message.payload.len());
    out.extend_from_slice(format!(",\"qos\":{qos},\"retain\":{retain},\"payloadlen\":{len}").as_bytes());
    if message.qos != QoS::AtMostOnce {
        out.extend_from_slice(format!(",\"mid\":{}", message.packet_id).as_bytes());
    }
    write_properties(message, out);
    out.extend_from_slice(b",\"payload\":");
    out.extend(payload);
    out.push(b'}');
    Ok(())
}

fn write_properties(message: &Received<'_>, out: &mut Vec<u8>) {
    let mut members: Vec<Vec<u8>> = Vec::new();
    if let Some(seconds) = message.expiry_s {
        members.push(member("message-expiry-interval", seconds.to_string().into_bytes()));
    }
    for property in message.properties.iter() {
        members.extend(of_property(&property));
    }
    let pairs: Vec<Vec<u8>> = message
        .properties
        .user_properties()
        .map(|(name, value)| member(name, quoted(value.as_bytes())))
        .collect();
    if !pairs.is_empty() {
        members.push(member("user-properties", object(&pairs)));
    }
    if !members.is_empty() {
        out.extend_from_slice(b",\"properties\":");
        out.extend(object(&members));
    }
}

/// Returns a property as a member of an object. Left out: User Properties, which stand together, and what belongs to
/// the connection and not to the message.
fn of_property(property: &PublishProperty<'_>) -> Option<Vec<u8>> {
    Some(match property {
        PublishProperty::PayloadFormatIndicator(is_utf8) => {
            member("payload-format-indicator", u8::from(*is_utf8).to_string().into_bytes())
        }
        PublishProperty::ContentType(text) => member("content-type", quoted(text.as_bytes())),
        PublishProperty::ResponseTopic(topic) => member("response-topic", quoted(topic.as_bytes())),
        PublishProperty::CorrelationData(bytes) => member("correlation-data", quoted(bytes)),
        _ => return None,
    })
}

fn member(name: &str, value: Vec<u8>) -> Vec<u8> {
    [quoted(name.as_bytes()), b":".to_vec(), value].concat()
}

fn object(members: &[Vec<u8>]) -> Vec<u8> {
    [b"{".to_vec(), members.join(&b","[..]), b"}".to_vec()].concat()
}

/// Returns bytes as a JSON string. Bytes that are not UTF-8 stay as they are, as with `mosquitto_sub`: what reads them
/// sees the payload that was sent.
fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            0x00..=0x1F => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

/// Returns JSON without the blanks around its parts, so that it fits on a line; numbers stay as they were written.
fn compact(json: &[u8]) -> Result<Vec<u8>, NotJson> {
    serde_json::from_slice::<serde_json::Value>(json).map_err(|_| NotJson)?;
    let mut out = Vec::with_capacity(json.len());
    let (mut is_string, mut is_escaped) = (false, false);
    for &byte in json {
        if is_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        if is_escaped {
            is_escaped = false;
        } else if byte == b'"' {
            is_string = !is_string;
        } else {
            is_escaped = is_string && byte == b'\\';
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_made_one_line_without_touching_strings_and_numbers() {
        let compacted = compact(b" { \"a b\" : [ 27.0 ,\n 1e3 ], \"q\\\" x\" : \"\\\\\" } ").unwrap();
        assert_eq!(compacted, b"{\"a b\":[27.0,1e3],\"q\\\" x\":\"\\\\\"}");
        for wrong in [&b"{"[..], b"", b"1 2", b"nope", b"\xff"] {
            assert_eq!(compact(wrong), Err(NotJson));
        }
    }

    #[test]
    fn strings_are_escaped_and_other_bytes_stay() {
        assert_eq!(
            quoted(b"a\"\\\n\r\t\x08\x0c\x00\x1f\xffz"),
            b"\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\xffz\""
        );
    }
}
