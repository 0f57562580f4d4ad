//! What is subscribed to: a topic that may hold wildcards and name a group that shares it.

use std::fmt;

use bytestring::ByteString;

use super::invalid::{InvalidTopic, check_depth, check_text};

const SHARE_PREFIX: &str = "$share/";

/// A Topic Filter: 1 to 65,535 bytes, at most 200 levels, wildcards only where the specification has them.
///
/// A filter `$share/{name}/{filter}` is a Shared Subscription. Its [`topic_part`](Self::topic_part) is what topics
/// are compared with; [`matches`](Self::matches), [`covers`](Self::covers) and [`overlaps`](Self::overlaps) do not
/// see the group.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(ByteString);

impl TopicFilter {
    /// Checks a text and makes it a Topic Filter.
    ///
    /// # Errors
    /// The first rule that the text breaks, with its place.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, InvalidTopic> {
        let text = text.into();
        check_text(&text)?;
        let start = check_share(&text)?;
        let topic_part = text.get(start..).unwrap_or_default();
        check_wildcards(topic_part, start)?;
        check_depth(topic_part, start)?;
        Ok(Self(text))
    }

    /// Returns the whole filter as text, with `$share/{name}/` if it is a Shared Subscription.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the whole filter as the bytes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the name of the group that shares the subscription, if there is one.
    pub fn share_name(&self) -> Option<&str> {
        self.share().map(|(name, _)| name)
    }

    /// Tells whether this is a Shared Subscription.
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(SHARE_PREFIX)
    }

    /// Returns the filter that topics are compared with: without `$share/{name}/`.
    pub fn topic_part(&self) -> &str {
        self.share().map_or(self.as_str(), |(_, filter)| filter)
    }

    /// Returns the levels of the topic part, of which there is at least one; they may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.topic_part().split('/')
    }

    /// Tells whether more than one topic can match.
    pub fn has_wildcards(&self) -> bool {
        has_wildcards(self.topic_part())
    }

    /// Tells whether a topic matches.
    ///
    /// A filter that begins with a wildcard matches no topic that begins with `$` [MQTT-4.7.2-1].
    pub fn matches(&self, topic: &str) -> bool {
        Pattern::of(self.topic_part()).matches(topic)
    }

    /// Tells whether every topic that matches `other` matches this filter as well.
    pub fn covers(&self, other: &Self) -> bool {
        Pattern::of(self.topic_part()).covers(Pattern::of(other.topic_part()))
    }

    /// Tells whether there can be a topic that matches both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        Pattern::of(self.topic_part()).overlaps(Pattern::of(other.topic_part()))
    }

    /// Returns a copy in an allocation of its own, which keeps no larger buffer alive.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self(ByteString::from(self.as_str()))
    }

    /// Returns the text that was checked.
    pub fn into_inner(self) -> ByteString {
        self.0
    }

    /// The group's name and the filter behind it. A filter that was parsed has both or neither.
    fn share(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix(SHARE_PREFIX)?.split_once('/')
    }
}

impl AsRef<str> for TopicFilter {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Tells whether a topic part holds a wildcard.
pub(super) fn has_wildcards(topic_part: &str) -> bool {
    memchr::memchr2(b'+', b'#', topic_part.as_bytes()).is_some()
}

/// Checks `$share/{name}/` and returns where the topic part begins.
fn check_share(text: &str) -> Result<usize, InvalidTopic> {
    let Some(shared) = text.strip_prefix(SHARE_PREFIX) else { return Ok(0) };
    let start = SHARE_PREFIX.len();
    let name = shared.split('/').next().unwrap_or_default();
    if name.is_empty() {
        let what = "the share name has at least one character";
        return Err(InvalidTopic::of_rule("MQTT-4.8.2-1", what, start));
    }
    if let Some(at) = memchr::memchr2(b'+', b'#', name.as_bytes()) {
        let what = "the share name holds no wildcard";
        return Err(InvalidTopic::of_rule("MQTT-4.8.2-2", what, start + at));
    }
    let topic_start = start + name.len() + 1;
    if topic_start >= text.len() {
        let what = "a Topic Filter follows the share name";
        return Err(InvalidTopic::of_rule("MQTT-4.8.2-2", what, text.len()));
    }
    Ok(topic_start)
}

/// Checks that wildcards fill their level and that `#` is the last one; `start` is where the topic part begins.
fn check_wildcards(topic_part: &str, start: usize) -> Result<(), InvalidTopic> {
    let bytes = topic_part.as_bytes();
    for at in memchr::memchr2_iter(b'+', b'#', bytes) {
        let begins_level = at == 0 || bytes.get(at - 1) == Some(&b'/');
        let next = bytes.get(at + 1);
        if bytes.get(at) == Some(&b'+') {
            if !begins_level || next.is_some_and(|byte| *byte != b'/') {
                return Err(InvalidTopic::of_rule("MQTT-4.7.1-2", "`+` fills a whole level", start + at));
            }
        } else if !begins_level || next.is_some() {
            let what = "`#` is a whole level, and the last one";
            return Err(InvalidTopic::of_rule("MQTT-4.7.1-1", what, start + at));
        }
    }
    Ok(())
}

/// A topic part as single levels, and whether any number of levels may follow them.
///
/// No topic is empty, so one that matches `#` has a first level, and one that matches `/#` a second: they are the
/// same patterns as `+/#` and `/+/#`.
#[derive(Clone, Copy)]
pub(super) struct Pattern<'a> {
    pub(super) levels: &'a str,
    pub(super) open: bool,
}

impl<'a> Pattern<'a> {
    pub(super) fn of(topic_part: &'a str) -> Self {
        match topic_part.strip_suffix("/#") {
            Some("") => Self { levels: "/+", open: true },
            Some(levels) => Self { levels, open: true },
            None if topic_part == "#" => Self { levels: "+", open: true },
            None => Self { levels: topic_part, open: false },
        }
    }

    fn matches(self, topic: &str) -> bool {
        let mut wanted = self.levels.split('/');
        let mut given = topic.split('/');
        let mut is_first = true;
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (None, Some(_)) => return self.open,
                (Some(_), None) => return false,
                (Some(filter), Some(level)) if !level_matches(filter, level, is_first) => return false,
                _ => is_first = false,
            }
        }
    }

    fn covers(self, other: Self) -> bool {
        let mut ours = self.levels.split('/');
        let mut theirs = other.levels.split('/');
        let mut is_first = true;
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return self.open || !other.open,
                (None, Some(_)) => return self.open,
                (Some(_), None) => return false,
                (Some(filter), Some(level)) if !level_matches(filter, level, is_first) => return false,
                _ => is_first = false,
            }
        }
    }

    fn overlaps(self, other: Self) -> bool {
        let mut ours = self.levels.split('/');
        let mut theirs = other.levels.split('/');
        let mut is_first = true;
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (None, Some(_)) => return self.open,
                (Some(_), None) => return other.open,
                (Some(a), Some(b)) => {
                    if !level_matches(a, b, is_first) && !level_matches(b, a, is_first) {
                        return false;
                    }
                    is_first = false;
                }
            }
        }
    }
}

/// Tells whether the level of a filter takes a level of a topic, or all that the level of another filter takes.
fn level_matches(filter: &str, level: &str, is_first: bool) -> bool {
    if filter == "+" { !(is_first && level.starts_with('$')) } else { filter == level }
}
