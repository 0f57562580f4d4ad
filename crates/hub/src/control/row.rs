//! Messages as rows: what `show` and `export` tell of them.

use base64::{Engine, prelude::BASE64_STANDARD};
use crosspoint_protocol::Message;
use crosspoint_protocol::packet::PublishProperty;
use crosspoint_store::Damage;
use serde_json::{Map, Value, json};

use crate::outbox::{DeadLetter, Item};

/// Returns a message that waits, with at most so many bytes of its payload.
pub(super) fn of_waiting(position: u64, item: &Item, payload_bytes: u64) -> Value {
    Value::Object(of_item(position, item, payload_bytes))
}

/// Returns a message that was given up.
pub(super) fn of_dead(position: u64, letter: &DeadLetter, payload_bytes: u64) -> Value {
    let mut row = of_item(position, &letter.item, payload_bytes);
    let more = [
        ("died_wall_ms", json!(letter.died_wall_ms)),
        ("reason", json!(letter.reason)),
        ("last_error", json!(letter.last_error)),
        ("attempts", json!(letter.attempts)),
        ("may_be_delivered", json!(letter.may_be_delivered)),
    ];
    row.extend(more.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(row)
}

/// Returns what stands where the store is damaged.
pub(super) fn of_unreadable(position: u64, damage: &Damage) -> Value {
    json!({"position": position, "unreadable": damage.to_string()})
}

fn of_item(position: u64, item: &Item, payload_bytes: u64) -> Map<String, Value> {
    let message = &item.message;
    let (key, payload) = payload(message.payload(), payload_bytes);
    let members = [
        ("position", json!(position)),
        ("accepted_wall_ms", json!(item.accepted_wall_ms)),
        ("expires_wall_ms", json!(message.expires_wall_ms())),
        ("flow", json!(&*item.flow)),
        ("qos", json!(item.qos.bits())),
        ("retain", json!(item.retain)),
        ("topic", json!(message.topic())),
        ("payload_bytes", json!(message.payload().len())),
        (key, payload),
        ("properties", properties(message)),
    ];
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns a payload as text where it is text, else in Base64. One that is cut short ends with an ellipsis, and is
/// not given at all if it is no text.
fn payload(payload: &[u8], bytes_max: u64) -> (&'static str, Value) {
    let max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    match (std::str::from_utf8(payload), payload.len() <= max) {
        (Ok(text), true) => ("payload", json!(text)),
        (Ok(text), false) => {
            ("payload", json!(format!("{}…", text.get(..text.floor_char_boundary(max)).unwrap_or_default())))
        }
        (Err(_), true) => ("payload_base64", json!(BASE64_STANDARD.encode(payload))),
        (Err(_), false) => ("payload_base64", Value::Null),
    }
}

fn properties(message: &Message) -> Value {
    let (mut members, mut user) = (Map::new(), Vec::new());
    for property in message.properties().iter() {
        let (key, value) = match property {
            PublishProperty::PayloadFormatIndicator(is_text) => ("payload_is_text", json!(is_text)),
            PublishProperty::ContentType(text) => ("content_type", json!(text)),
            PublishProperty::ResponseTopic(topic) => ("response_topic", json!(topic)),
            PublishProperty::CorrelationData(bytes) => {
                ("correlation_data_base64", json!(BASE64_STANDARD.encode(bytes)))
            }
            PublishProperty::UserProperty(name, value) => {
                user.push(json!([name, value]));
                continue;
            }
            // What belongs to one connection, or is told by the row itself.
            _ => continue,
        };
        members.insert(key.to_owned(), value);
    }
    if !user.is_empty() {
        members.insert("user".to_owned(), Value::Array(user));
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_the_rest_is_base64() {
        assert_eq!(payload(b"a\"b", u64::MAX), ("payload", json!("a\"b")));
        assert_eq!(payload(b"", 0), ("payload", json!("")));
        assert_eq!(payload(b"\xff\0", u64::MAX), ("payload_base64", json!("/wA=")));
    }

    #[test]
    fn a_preview_ends_between_letters_and_says_that_it_does() {
        assert_eq!(payload("größe".as_bytes(), 3), ("payload", json!("gr…")));
        assert_eq!(payload("größe".as_bytes(), 4), ("payload", json!("grö…")));
        assert_eq!(payload(b"\xff\0\0", 2), ("payload_base64", Value::Null));
    }
}
