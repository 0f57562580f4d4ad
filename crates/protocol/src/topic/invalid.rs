//! Why a text is no Topic Name or no Topic Filter, and what both have to keep.

use crate::limits::{STRING_BYTES_MAX, TOPIC_LEVELS_MAX};

/// Why a text is not a Topic Name or not a Topic Filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", Rule(*rule))]
pub struct InvalidTopic {
    /// What is wrong, as a part of a sentence: "a Topic Name holds no wildcard".
    pub what: &'static str,
    /// The statement of the specification that is broken, without brackets; `None` if the limit is ours.
    pub rule: Option<&'static str>,
    /// Where the fault begins, as a byte offset into the text: the place for a caret.
    pub at: usize,
}

impl InvalidTopic {
    pub(super) const fn of_rule(rule: &'static str, what: &'static str, at: usize) -> Self {
        Self { what, rule: Some(rule), at }
    }
}

/// Checks what Topic Names and Topic Filters have in common but for their depth.
pub(super) fn check_text(text: &str) -> Result<(), InvalidTopic> {
    if text.is_empty() {
        return Err(InvalidTopic::of_rule("MQTT-4.7.3-1", "a topic has at least one character", 0));
    }
    if text.len() > STRING_BYTES_MAX {
        let what = "a topic has at most 65,535 bytes";
        return Err(InvalidTopic::of_rule("MQTT-4.7.3-3", what, STRING_BYTES_MAX));
    }
    match memchr::memchr(0, text.as_bytes()) {
        None => Ok(()),
        Some(at) => Err(InvalidTopic::of_rule("MQTT-4.7.3-2", "a topic holds no character U+0000", at)),
    }
}

/// Checks the depth of the levels in `text`, which begins at byte `start` of what the user gave.
pub(super) fn check_depth(text: &str, start: usize) -> Result<(), InvalidTopic> {
    match memchr::memchr_iter(b'/', text.as_bytes()).nth(TOPIC_LEVELS_MAX - 1) {
        None => Ok(()),
        Some(at) => Err(InvalidTopic { what: "a topic has at most 200 levels", rule: None, at: start + at }),
    }
}

// Keeps the depth in the sentence above true.
const _: () = assert!(TOPIC_LEVELS_MAX == 200);

struct Rule(Option<&'static str>);

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |rule| write!(f, " [{rule}]"))
    }
}
