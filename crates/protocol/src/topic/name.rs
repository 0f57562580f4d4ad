//! What is published to: a topic without wildcards.

use std::fmt;

use bytestring::ByteString;

use super::invalid::{InvalidTopic, check_depth, check_text};

/// A Topic Name: 1 to 65,535 bytes, at most 200 levels, no wildcard and no U+0000.
///
/// It is a slice of the buffer that it was decoded from, so it costs no allocation and keeps that buffer alive;
/// what is to live longer than a turn asks for a [`compact`](Self::compact) copy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(ByteString);

impl TopicName {
    /// Checks a text and makes it a Topic Name.
    ///
    /// # Errors
    /// The first rule that the text breaks, with its place.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, InvalidTopic> {
        let text = text.into();
        check_text(&text)?;
        if let Some(at) = memchr::memchr2(b'+', b'#', text.as_bytes()) {
            return Err(InvalidTopic::of_rule("MQTT-4.7.0-1", "a Topic Name holds no wildcard", at));
        }
        check_depth(&text, 0)?;
        Ok(Self(text))
    }

    /// Returns the topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the topic as the bytes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the levels, of which there is at least one; they may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Tells whether the topic begins with `$` and so belongs to the server, not to its clients.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
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
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

// Messages and packets hold a name by value: its size is theirs.
const _: () = assert!(size_of::<TopicName>() == 32 && size_of::<Option<TopicName>>() == 32);
