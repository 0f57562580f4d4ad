//! From text to parts.

use super::{InvalidTemplate, Part, Template};

const PLACEHOLDERS: &str = "placeholders are {topic}, {topic[1]}, {topic[1..]}, {connector} and {payload.field}; write {{ and }} for braces";

/// Levels beyond this exist in no topic.
const LEVEL_MAX: usize = crosspoint_protocol::limits::TOPIC_LEVELS_MAX - 1;

pub(super) fn parse(text: &str) -> Result<Template, InvalidTemplate> {
    if text.is_empty() {
        let help = "leave `topic` out to keep the topic of the message, or write a topic";
        return Err(InvalidTemplate {
            what: "a topic has at least one character".into(),
            help: help.into(),
            at: 0..0,
        });
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}', '+', '#', '\0']) {
        let at = text.len() - rest.len() + brace;
        let (before, from) = rest.split_at(brace);
        literal.push_str(before);
        rest = if let Some(after) = from.strip_prefix("{{") {
            literal.push('{');
            after
        } else if let Some(after) = from.strip_prefix("}}") {
            literal.push('}');
            after
        } else if let Some(after) = from.strip_prefix('{') {
            flush(&mut literal, &mut parts);
            let (inside, after) = after.split_once('}').ok_or_else(|| unclosed(at, text.len()))?;
            parts.push(placeholder(inside).ok_or_else(|| unknown(inside, at))?);
            after
        } else {
            return Err(stray(from, at));
        };
    }
    literal.push_str(rest);
    flush(&mut literal, &mut parts);
    Ok(Template { text: text.to_owned(), parts })
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal)));
    }
}

fn placeholder(inside: &str) -> Option<Part> {
    match inside {
        "topic" => return Some(Part::Topic),
        "connector" => return Some(Part::Connector),
        _ => {}
    }
    if let Some(path) = inside.strip_prefix("payload.") {
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        return path.iter().all(|step| !step.is_empty()).then_some(Part::Payload(path));
    }
    let index = inside.strip_prefix("topic[")?.strip_suffix(']')?;
    match index.strip_suffix("..") {
        Some(from) => level(from).map(Part::LevelsFrom),
        None => level(index).map(Part::Level),
    }
}

fn level(digits: &str) -> Option<usize> {
    digits
        .parse()
        .ok()
        .filter(|level| *level <= LEVEL_MAX && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

fn unclosed(at: usize, end: usize) -> InvalidTemplate {
    InvalidTemplate { what: "this brace is not closed".into(), help: PLACEHOLDERS.into(), at: at..end }
}

fn unknown(inside: &str, at: usize) -> InvalidTemplate {
    let what = format!("`{{{inside}}}` is not a placeholder");
    InvalidTemplate { what, help: PLACEHOLDERS.into(), at: at..at + inside.len() + 2 }
}

fn stray(from: &str, at: usize) -> InvalidTemplate {
    let (what, help) = match from.chars().next() {
        Some('}') => ("this brace was never opened", PLACEHOLDERS),
        Some('\0') => ("a topic holds no character U+0000", "leave the character out"),
        _ => (
            "a topic that is published to holds no wildcard",
            "`+` and `#` belong in `from.topics`; here write {topic[1]} for one level, {topic[1..]} for all that follow",
        ),
    };
    InvalidTemplate { what: what.into(), help: help.into(), at: at..at + 1 }
}
