//! What may be asked, and what is answered, each as a line of JSON: `docs/adr/0013`.
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

/// What is asked of a hub, or of what it left on disk.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// How the store stands: one row.
    Status,
    /// What a hub that runs is doing: a row for each connector, for the broker, and for each flow.
    Overview,
    /// A row for each connector and what waits, died and was dropped there.
    List(Kept),
    /// Rows of messages, in their order.
    Show {
        /// Of which kind.
        of: Kept,
        /// Of which connector.
        name: String,
        /// From which position on.
        from: u64,
        /// At most so many.
        count: u64,
        /// At most so many bytes of each payload.
        payload_bytes: u64,
    },
    /// Sends messages again: those of an outbox now instead of later, dead letters as new ones.
    Retry {
        /// Of which kind.
        of: Kept,
        /// Of which connector.
        name: String,
        /// Which of them.
        which: Which,
    },
    /// Gives messages up for good.
    Drop {
        /// Of which kind.
        of: Kept,
        /// Of which connector.
        name: String,
        /// Which of them.
        which: Which,
    },
    /// Changes a dead letter.
    Edit {
        /// Of which connector.
        name: String,
        /// Which one.
        position: u64,
        /// What changes.
        edit: Edit,
    },
    /// Puts a message into a connector's outbox; done when it is durable there.
    Publish {
        /// Into which connector's.
        name: String,
        /// What is published.
        message: Message,
    },
    /// Publishes at once on a connector that runs, past its outbox: a row with what the broker said.
    PublishNow {
        /// On which connector.
        name: String,
        /// What is published.
        message: Message,
        /// How long the broker may take.
        within: Duration,
    },
    /// Subscribes on a connector that runs, until whoever asked hangs up: a row with what the broker said to each filter,
    /// then a row a message.
    Subscribe {
        /// On which connector.
        name: String,
        /// To what.
        filters: Vec<SubscribedFilter>,
        /// What is said to the broker besides (MQTT 5).
        user_properties: UserProperties,
        /// How long the broker may take to answer.
        within: Duration,
    },
    /// Asks on a connector that runs, until whoever asked hangs up: a row about the question, then a row an answer.
    Ask {
        /// On which connector.
        name: String,
        /// The question.
        message: Message,
        /// Where answers are awaited; `None`: on a topic of its own (MQTT 5).
        response_topic: Option<TopicName>,
        /// How long the broker may take to answer.
        within: Duration,
    },
}

/// What is kept for a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// What waits to be sent.
    Outbox,
    /// What could not be delivered.
    Dead,
    /// What was sent, as far as it is archived.
    Archive,
}

/// Which messages are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All that are there when it is asked.
    All,
    /// So many, the oldest first.
    Oldest(u64),
    /// Those at these positions.
    At(Vec<u64>),
}

/// What changes in a dead letter; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// Its topic.
    pub topic: Option<String>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// At which QoS it is delivered.
    pub qos: Option<QoS>,
    /// Whether it is retained.
    pub retain: Option<bool>,
}

/// A part of the answer to a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub(super) enum Answer {
    /// One thing that was asked for.
    Row(Map<String, Value>),
    /// How far a long run is: so many of so many.
    Progress(u64, u64),
    /// The end: it is done, and this many messages were meant.
    Done(u64),
    /// The end: what it was about is not there.
    NotThere {
        /// What is not there.
        cause: String,
        /// What to do about it.
        mend: String,
    },
    /// The end: it is not done.
    Failed {
        /// Why.
        cause: String,
        /// What to do about it.
        mend: String,
    },
}

impl Request {
    /// Returns the request as a line of JSON, without its end.
    pub(super) fn encode(&self) -> String {
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
            Self::PublishNow { name, message, within } => json!({
                "do": "publish_now", "name": name, "message": encode_message(message),
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
        };
        line.to_string()
    }

    /// Takes a request from a line of JSON, or says what is wrong with it.
    pub(super) fn decode(line: &[u8]) -> Result<Self, &'static str> {
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
                message: request.message()?,
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
            _ => Err("what it says to do is not known here"),
        }
    }
}

impl Kept {
    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Dead => "dead",
            Self::Archive => "archive",
        }
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
    /// Tells whether anything changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

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
    pub(super) fn encode(&self) -> String {
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
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
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

/// Returns a message as text.
pub(super) fn encode_message(message: &Message) -> String {
    let mut stored = Vec::new();
    message.to_stored(&mut stored);
    BASE64_STANDARD.encode(stored)
}

/// Returns the message of a row of [`Request::Subscribe`] or [`Request::Ask`], and its packet identifier; `None` for a row without one.
pub fn message_of(row: &Map<String, Value>) -> Option<(Message, u16)> {
    let message = decode_message(row.get("message")?.as_str()?)?;
    Some((message, u16::try_from(row.get("packet_id")?.as_u64()?).ok()?))
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
mod tests {
    use super::*;
    use crosspoint_protocol::{Now, packet::PublishProperties};

    fn requests() -> Vec<Request> {
        let name = || "pläñt".to_owned();
        let topic = TopicName::parse("a/b").unwrap();
        let now = Now { monotonic_ms: 0, wall_ms: 0 };
        let none = PublishProperties::default();
        let message = Message::new(&topic, b"\0\xff", QoS::ExactlyOnce, true, &none, now);
        let edit = Edit {
            topic: Some("t".to_owned()),
            payload: Some(vec![0, 255]),
            qos: Some(QoS::AtLeastOnce),
            retain: Some(false),
        };
        let filter = SubscribedFilter {
            filter: TopicFilter::parse("a/+/#").unwrap(),
            options: SubscriptionOptions {
                qos: QoS::ExactlyOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
            },
        };
        vec![
            Request::Status,
            Request::Overview,
            Request::List(Kept::Dead),
            Request::List(Kept::Archive),
            Request::Show { of: Kept::Outbox, name: name(), from: u64::MAX, count: 3, payload_bytes: 4 },
            Request::Retry { of: Kept::Outbox, name: name(), which: Which::All },
            Request::Drop { of: Kept::Dead, name: name(), which: Which::At(vec![1, u64::MAX]) },
            Request::Drop { of: Kept::Outbox, name: name(), which: Which::Oldest(7) },
            Request::Edit { name: name(), position: 9, edit },
            Request::Edit { name: name(), position: 9, edit: Edit::default() },
            Request::Publish { name: name(), message: message.clone() },
            Request::PublishNow { name: name(), message: message.clone(), within: Duration::from_millis(7) },
            Request::Subscribe {
                name: name(),
                filters: vec![filter],
                user_properties: vec![("wér".into(), "a\"b".into())],
                within: Duration::from_secs(1),
            },
            Request::Ask {
                name: name(),
                message: message.clone(),
                response_topic: None,
                within: Duration::ZERO,
            },
            Request::Ask { name: name(), message, response_topic: Some(topic), within: Duration::ZERO },
        ]
    }

    #[test]
    fn requests_come_back_as_they_were_asked_and_are_one_line() {
        for request in requests() {
            let line = request.encode();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Request::decode(line.as_bytes()).as_ref(), Ok(&request), "{line}");
        }
    }

    #[test]
    fn answers_come_back_as_they_were_given() {
        let row = json!({"topic": "a\nb", "position": u64::MAX}).as_object().cloned().unwrap();
        for answer in [
            Answer::Row(row),
            Answer::Progress(1, u64::MAX),
            Answer::Done(0),
            Answer::NotThere { cause: "a\nb".to_owned(), mend: "c".to_owned() },
            Answer::Failed { cause: "a\nb".to_owned(), mend: String::new() },
        ] {
            let line = answer.encode();
            assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
            assert_eq!(Answer::decode(line.as_bytes()), Some(answer));
        }
        for other in ["", "[]", "{}", "{\"progress\":[1]}", "{\"done\":-1}", "{\"failed\":1}"] {
            assert_eq!(Answer::decode(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_and_never_a_panic() {
        for request in requests() {
            let line = request.encode();
            for end in 0..line.len() {
                assert!(Request::decode(line.as_bytes().get(..end).unwrap()).is_err(), "{line} up to {end}");
            }
        }
        for wrong in [
            r#"{"do":"format the disk"}"#,
            r#"{"do":"list","of":"everything"}"#,
            r#"{"do":"drop","of":"dead","name":"a","which":"some"}"#,
            r#"{"do":"drop","of":"dead","name":"a","which":[-1]}"#,
            r#"{"do":"edit","name":"a","position":1,"edit":{"qos":3}}"#,
            r#"{"do":"publish","name":"a","message":"!"}"#,
            r#"{"do":"subscribe","name":"a","filters":[{"filter":"a/#/b","qos":0}],"within_ms":1}"#,
        ] {
            assert!(Request::decode(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
