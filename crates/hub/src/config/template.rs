//! The topic of a sink: text with placeholders that each message fills.
//!
//! Parsed once at check. [`Template::render`] makes the Topic Name of one message; [`Template::widen`] makes the
//! Topic Filter of every name that can come out, which is what the search for loops needs.

use std::fmt;

use crosspoint_protocol::topic::InvalidTopic;
use crosspoint_protocol::{TopicFilter, TopicName};

mod parse;
mod widen;

/// The topic of a sink, with placeholders.
///
/// `{topic}` is the topic of the message, `{topic[1]}` its second level, `{topic[1..]}` that level and what follows,
/// `{connector}` the name of the source, `{payload.site}` a field of a JSON payload; `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Topic,
    Level(usize),
    LevelsFrom(usize),
    Connector,
    Payload(Vec<String>),
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidTemplate {
    /// What is wrong, as a part of a sentence.
    pub what: String,
    /// What to write instead.
    pub help: String,
    /// Where the fault is, as bytes of the text.
    pub at: std::ops::Range<usize>,
}

/// Why a message has no topic after a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The template asks for a level that the topic does not have.
    #[error("the topic has no level {level}, only 0 to {last}")]
    NoLevel {
        /// The level that was asked for, counted from 0.
        level: usize,
        /// The last level that exists.
        last: usize,
    },
    /// The template asks for a field and the payload is not JSON.
    #[error("the payload is not JSON, and the template asks for its field `{field}`")]
    PayloadNotJson {
        /// The path of the field.
        field: String,
    },
    /// The payload has no such field.
    #[error("the payload has no field `{field}`")]
    FieldMissing {
        /// The path of the field.
        field: String,
    },
    /// The field is null, a list or an object.
    #[error("the field `{field}` of the payload is neither text, number nor true or false")]
    FieldNotPlain {
        /// The path of the field.
        field: String,
    },
    /// What came out is not a Topic Name.
    #[error("the template made no valid topic: {0}")]
    NotATopicName(#[from] InvalidTopic),
}

impl Template {
    /// Checks a text and makes it a template.
    ///
    /// # Errors
    /// The first fault, with its place and what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        parse::parse(text)
    }

    /// Returns the template that leaves the topic as it came.
    pub fn unchanged() -> Self {
        Self { text: "{topic}".to_owned(), parts: vec![Part::Topic] }
    }

    /// Returns the text that was checked.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether the topic leaves as it came, so that nothing needs rendering.
    pub fn is_unchanged(&self) -> bool {
        self.parts == [Part::Topic]
    }

    /// Makes the topic of one message.
    ///
    /// # Errors
    /// The topic or the payload lacks what the template asks for, or the result is not a Topic Name; the message
    /// belongs to the dead letters.
    pub fn render(&self, topic: &str, connector: &str, payload: &[u8]) -> Result<TopicName, RenderError> {
        let mut rendered = String::with_capacity(self.text.len() + topic.len());
        let mut fields = Fields::unread(payload);
        for part in &self.parts {
            match part {
                Part::Literal(text) => rendered.push_str(text),
                Part::Topic => rendered.push_str(topic),
                Part::Level(level) => rendered.push_str(one_level(topic, *level)?),
                Part::LevelsFrom(level) => rendered.push_str(levels_from(topic, *level)?),
                Part::Connector => rendered.push_str(connector),
                Part::Payload(path) => rendered.push_str(&fields.text_at(path)?),
            }
        }
        Ok(TopicName::parse(rendered)?)
    }

    /// Returns the filter of every topic that can come out for messages of `source`, or `None` if none can.
    pub fn widen(&self, source: &TopicFilter, connector: &str) -> Option<TopicFilter> {
        widen::widen(&self.parts, source, connector)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn one_level(topic: &str, level: usize) -> Result<&str, RenderError> {
    topic.split('/').nth(level).ok_or_else(|| no_level(topic, level))
}

fn levels_from(topic: &str, level: usize) -> Result<&str, RenderError> {
    let Some(before) = level.checked_sub(1) else { return Ok(topic) };
    let slash = topic.match_indices('/').nth(before);
    slash.and_then(|(at, _)| topic.get(at + 1..)).ok_or_else(|| no_level(topic, level))
}

fn no_level(topic: &str, level: usize) -> RenderError {
    RenderError::NoLevel { level, last: topic.matches('/').count() }
}

/// The payload as JSON, parsed at the first field that is asked for.
struct Fields<'a> {
    payload: &'a [u8],
    json: Option<serde_json::Value>,
}

impl<'a> Fields<'a> {
    fn unread(payload: &'a [u8]) -> Self {
        Self { payload, json: None }
    }

    fn text_at(&mut self, path: &[String]) -> Result<String, RenderError> {
        let field = || path.join(".");
        let json = match self.json.take() {
            Some(json) => json,
            None => serde_json::from_slice(self.payload)
                .map_err(|_| RenderError::PayloadNotJson { field: field() })?,
        };
        let found =
            path.iter().try_fold(self.json.insert(json) as &serde_json::Value, |value, step| match value {
                serde_json::Value::Array(items) => items.get(step.parse::<usize>().ok()?),
                other => other.get(step),
            });
        match found {
            None => Err(RenderError::FieldMissing { field: field() }),
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(serde_json::Value::Number(number)) => Ok(number.to_string()),
            Some(serde_json::Value::Bool(flag)) => Ok(flag.to_string()),
            Some(_) => Err(RenderError::FieldNotPlain { field: field() }),
        }
    }
}

#[cfg(test)]
mod tests;
