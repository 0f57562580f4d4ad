//! Requests and answers as lines of JSON.
//!
//! ```text
//!   {"do":"show","of":"dead","name":"plant","from":0,"count":20,"payload_bytes":80}
//!                                                   {"row":{"position":3,"topic":"a/b", ...}}
//!                                                   {"row":{"position":7, ...}}
//!                                                   {"done":2}
//! ```

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use crosspoint_protocol::packet::{RetainHandling, SubscribedFilter, SubscriptionOptions, UserProperties};
use crosspoint_protocol::{Message, QoS, TopicFilter, TopicName};
use serde_json::{Map, Value, json};

use super::{Answer, Confirmed, Edit, Kept, Request, Which, kept};
use crate::kept::WhatWaits;

impl Request {
    /// Returns the request as a line of JSON, without its end.
    pub(in crate::control) fn encode(&self) -> String {
        let line = match self {
            Self::Status => json!({"do": "status"}),
            Self::Overview => json!({"do": "overview"}),
            Self::List(of) => json!({"do": "list", "of": of.word()}),
            Self::Show { of, name, from, count, payload_bytes } => json!({
                "do": "show", "of": of.word(), "name": name, "from": from, "count": count,
                "payload_bytes": payload_bytes,
            }),
            Self::Retry { of, name, which } => {
                json!({"do": "retry", "of": of.word(), "name": name, "which": which.encode()})
            }
            Self::Drop { of, name, which } => {
                json!({"do": "drop", "of": of.word(), "name": name, "which": which.encode()})
            }
            Self::Edit { name, position, edit } => {
                json!({"do": "edit", "name": name, "position": position, "edit": edit.encode()})
            }
            Self::Publish { name, message } => {
                json!({"do": "publish", "name": name, "message": encode_message(message)})
            }
            Self::PublishNow { name, messages, within } => json!({
                "do": "publish_now", "name": name,
                "messages": messages.iter().map(encode_message).collect::<Vec<_>>(),
                "within_ms": milliseconds(*within),
            }),
            Self::Subscribe { name, filters, user_properties, within } => {
                let filters: Vec<Value> = filters.iter().map(encode_filter).collect();
                let said: Vec<[&str; 2]> =
                    user_properties.iter().map(|(name, value)| [&**name, &**value]).collect();
                json!({
                    "do": "subscribe", "name": name, "filters": filters, "user_properties": said,
                    "within_ms": milliseconds(*within),
                })
            }
            Self::Ask { name, message, response_topic, within } => json!({
                "do": "ask", "name": name, "message": encode_message(message),
                "response_topic": response_topic.as_ref().map(TopicName::as_str),
                "within_ms": milliseconds(*within),
            }),
            Self::Keep { subscription, within } => json!({
                "do": "keep", "subscription": kept::encode(subscription),
                "within_ms": milliseconds(*within),
            }),
            Self::KeptSubscriptions => json!({"do": "kept_subscriptions"}),
            Self::RemoveKept { name, what_waits } => {
                json!({"do": "remove_kept", "name": name, "drop": *what_waits == WhatWaits::IsDropped})
            }
            Self::Read { name } => json!({"do": "read", "name": name}),
        };
        line.to_string()
    }

    /// Takes a request from a line of JSON, or says what is wrong with it.
    pub(in crate::control) fn decode(line: &[u8]) -> Result<Self, &'static str> {
        let value: Value = serde_json::from_slice(line).map_err(|_| "it is no JSON")?;
        let request = Object(&value);
        match request.text("do")? {
            "status" => Ok(Self::Status),
            "overview" => Ok(Self::Overview),
            "list" => Ok(Self::List(request.of()?)),
            "show" => Ok(Self::Show {
                of: request.of()?,
                name: request.name()?,
                from: request.number("from")?,
                count: request.number("count")?,
                payload_bytes: request.number("payload_bytes")?,
            }),
            "retry" => Ok(Self::Retry { of: request.of()?, name: request.name()?, which: request.which()? }),
            "drop" => Ok(Self::Drop { of: request.of()?, name: request.name()?, which: request.which()? }),
            "edit" => Ok(Self::Edit {
                name: request.name()?,
                position: request.number("position")?,
                edit: Edit::decode(value.get("edit").ok_or("it says no `edit`")?)?,
            }),
            "publish" => Ok(Self::Publish { name: request.name()?, message: request.message()? }),
            "publish_now" => Ok(Self::PublishNow {
                name: request.name()?,
                messages: request.messages()?,
                within: Duration::from_millis(request.number("within_ms")?),
            }),
            "subscribe" => Ok(Self::Subscribe {
                name: request.name()?,
                filters: request.filters()?,
                user_properties: request.user_properties()?,
                within: Duration::from_millis(request.number("within_ms")?),
            }),
            "ask" => Ok(Self::Ask {
                name: request.name()?,
                message: request.message()?,
                response_topic: request.response_topic()?,
                within: Duration::from_millis(request.number("within_ms")?),
            }),
            "keep" => Ok(Self::Keep {
                subscription: value
                    .get("subscription")
                    .and_then(kept::decode)
                    .ok_or("`subscription` is none")?,
                within: Duration::from_millis(request.number("within_ms")?),
            }),
            "kept_subscriptions" => Ok(Self::KeptSubscriptions),
            "remove_kept" => Ok(Self::RemoveKept {
                name: request.name()?,
                what_waits: match value.get("drop").and_then(Value::as_bool).ok_or("it says no `drop`")? {
                    true => WhatWaits::IsDropped,
                    false => WhatWaits::Stays,
                },
            }),
            "read" => Ok(Self::Read { name: request.name()? }),
            _ => Err("what it says to do is not known here"),
        }
    }
}

impl Confirmed {
    /// Returns it as a line of JSON with its end.
    pub(in crate::control) fn encode(self) -> String {
        format!("{}\n", json!({"confirmed": self.position, "last": self.is_last}))
    }

    /// Takes it from a line of JSON; `None` when it is none.
    pub(in crate::control) fn decode(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let position = value.get("confirmed").and_then(Value::as_u64)?;
        Some(Self { position, is_last: value.get("last").and_then(Value::as_bool)? })
    }
}

impl Which {
    fn encode(&self) -> Value {
        match self {
            Self::All => json!("all"),
            Self::Oldest(count) => json!({"oldest": count}),
            Self::At(positions) => json!(positions),
        }
    }

    fn decode(value: &Value) -> Option<Self> {
        match value {
            Value::String(word) => (word == "all").then_some(Self::All),
            Value::Object(object) => Some(Self::Oldest(object.get("oldest")?.as_u64()?)),
            Value::Array(positions) => {
                positions.iter().map(Value::as_u64).collect::<Option<_>>().map(Self::At)
            }
            _ => None,
        }
    }
}

impl Edit {
    fn encode(&self) -> Value {
        let payload = self.payload.as_ref().map(|payload| BASE64_STANDARD.encode(payload));
        json!({"topic": self.topic, "payload": payload, "qos": self.qos.map(QoS::bits), "retain": self.retain})
    }

    fn decode(value: &Value) -> Result<Self, &'static str> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let payload = text("payload").map(|payload| BASE64_STANDARD.decode(payload)).transpose();
        let qos = match value.get("qos").and_then(Value::as_u64) {
            None => None,
            Some(bits) => {
                let qos = u8::try_from(bits).ok().and_then(QoS::from_bits);
                Some(qos.ok_or("`qos` is none")?)
            }
        };
        Ok(Self {
            topic: text("topic").map(str::to_owned),
            payload: payload.map_err(|_| "`payload` is no Base64")?,
            qos,
            retain: value.get("retain").and_then(Value::as_bool),
        })
    }
}

impl Answer {
    /// Returns the answer as a line of JSON with its end.
    pub(in crate::control) fn encode(&self) -> String {
        let line = match self {
            Self::Row(row) => json!({"row": row}),
            Self::Progress(part, whole) => json!({"progress": [part, whole]}),
            Self::Done(count) => json!({"done": count}),
            Self::NotThere { cause, mend } => json!({"not_there": cause, "mend": mend}),
            Self::Failed { cause, mend } => json!({"failed": cause, "mend": mend}),
        };
        format!("{line}\n")
    }

    /// Takes an answer from a line of JSON; `None` when it is none that is known here.
    pub(in crate::control) fn decode(line: &[u8]) -> Option<Self> {
        let Value::Object(mut answer) = serde_json::from_slice(line).ok()? else { return None };
        if let Some(Value::Object(row)) = answer.remove("row") {
            return Some(Self::Row(row));
        }
        if let Some(Value::Array(progress)) = answer.get("progress") {
            return Some(Self::Progress(progress.first()?.as_u64()?, progress.get(1)?.as_u64()?));
        }
        if let Some(count) = answer.get("done").and_then(Value::as_u64) {
            return Some(Self::Done(count));
        }
        let text = |key| answer.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(cause) = text("not_there") {
            return Some(Self::NotThere { cause, mend: text("mend")? });
        }
        Some(Self::Failed { cause: text("failed")?, mend: text("mend")? })
    }
}

/// A request on its way in.
struct Object<'a>(&'a Value);

impl<'a> Object<'a> {
    fn text(&self, key: &'static str) -> Result<&'a str, &'static str> {
        self.0.get(key).and_then(Value::as_str).ok_or("a member is missing")
    }

    fn number(&self, key: &'static str) -> Result<u64, &'static str> {
        self.0.get(key).and_then(Value::as_u64).ok_or("a number is missing")
    }

    fn name(&self) -> Result<String, &'static str> {
        self.text("name").map(str::to_owned)
    }

    fn of(&self) -> Result<Kept, &'static str> {
        match self.text("of")? {
            "outbox" => Ok(Kept::Outbox),
            "dead" => Ok(Kept::Dead),
            "archive" => Ok(Kept::Archive),
            _ => Err("`of` is neither outbox nor dead nor archive"),
        }
    }

    fn message(&self) -> Result<Message, &'static str> {
        decode_message(self.text("message")?).ok_or("`message` is no stored message in Base64")
    }

    fn messages(&self) -> Result<Vec<Message>, &'static str> {
        let messages = self.0.get("messages").and_then(Value::as_array).ok_or("it says no `messages`")?;
        let decode = |one: &Value| decode_message(one.as_str()?);
        messages.iter().map(decode).collect::<Option<_>>().ok_or("one of `messages` is none")
    }

    fn filters(&self) -> Result<Vec<SubscribedFilter>, &'static str> {
        let filters = self.0.get("filters").and_then(Value::as_array).ok_or("it says no `filters`")?;
        filters.iter().map(decode_filter).collect::<Option<_>>().ok_or("one of `filters` is none")
    }

    fn user_properties(&self) -> Result<UserProperties, &'static str> {
        let said = self.0.get("user_properties").and_then(Value::as_array).into_iter().flatten();
        let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.into(), pair.get(1)?.as_str()?.into()));
        said.map(pair).collect::<Option<_>>().ok_or("one of `user_properties` is no pair")
    }

    fn response_topic(&self) -> Result<Option<TopicName>, &'static str> {
        let Some(topic) = self.0.get("response_topic").and_then(Value::as_str) else { return Ok(None) };
        TopicName::parse(topic).map(Some).map_err(|_| "`response_topic` is no topic")
    }

    fn which(&self) -> Result<Which, &'static str> {
        self.0.get("which").and_then(Which::decode).ok_or("it does not say which")
    }
}

/// Returns the message of a row of [`Request::Subscribe`], [`Request::Ask`] or [`Request::Read`], and its packet identifier; `None` for a row without one.
pub fn message_of(row: &Map<String, Value>) -> Option<(Message, u16)> {
    let message = decode_message(row.get("message")?.as_str()?)?;
    Some((message, u16::try_from(row.get("packet_id")?.as_u64()?).ok()?))
}

/// Returns a message as text.
pub(in crate::control) fn encode_message(message: &Message) -> String {
    let mut stored = Vec::new();
    message.to_stored(&mut stored);
    BASE64_STANDARD.encode(stored)
}

/// Takes a message from its text.
fn decode_message(text: &str) -> Option<Message> {
    Message::from_stored(&BASE64_STANDARD.decode(text).ok()?)
}

fn encode_filter(one: &SubscribedFilter) -> Value {
    let options = one.options;
    json!({
        "filter": one.filter.as_str(), "qos": options.qos.bits(), "no_local": options.no_local,
        "retain_as_published": options.retain_as_published, "retain_handling": options.retain_handling as u8,
    })
}

fn decode_filter(value: &Value) -> Option<SubscribedFilter> {
    let is = |key: &str| value.get(key).and_then(Value::as_bool);
    let bits = |key: &str| u8::try_from(value.get(key)?.as_u64()?).ok();
    let options = SubscriptionOptions {
        qos: QoS::from_bits(bits("qos")?)?,
        no_local: is("no_local")?,
        retain_as_published: is("retain_as_published")?,
        retain_handling: match bits("retain_handling")? {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        },
    };
    let filter = value.get("filter").and_then(Value::as_str)?;
    Some(SubscribedFilter { filter: TopicFilter::parse(filter).ok()?, options })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
