//! The attributes that a message is made of: `a=value`, separated by commas.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ScramFault;

/// The longest message that is read, in bytes: a user name and nonces, or a salt and nonces, and room for more.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// Reads the attributes of a message one after the other.
pub(super) struct Attributes<'a> {
    rest: Option<&'a str>,
}

/// Returns a message as text, if it is one and not too long.
pub(super) fn text(message: &[u8]) -> Result<&str, ScramFault> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramFault::Malformed("it is longer than 4,096 bytes"));
    }
    std::str::from_utf8(message).map_err(|_| ScramFault::Malformed("it is not text"))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, ScramFault> {
    STANDARD.decode(text).map_err(|_| ScramFault::Malformed("a value is not base64"))
}

pub(super) fn decode_key(text: &str) -> Result<[u8; 32], ScramFault> {
    decode(text)?.try_into().map_err(|_| ScramFault::Malformed("a proof has not 32 bytes"))
}

/// Returns a nonce that may be sent or taken: printable characters, at least one.
pub(super) fn check_nonce(nonce: &str) -> Result<&str, ScramFault> {
    let is_nonce = !nonce.is_empty() && nonce.bytes().all(|byte| matches!(byte, 0x21..=0x7E if byte != b','));
    is_nonce.then_some(nonce).ok_or(ScramFault::Malformed("the nonce is not printable"))
}

impl<'a> Attributes<'a> {
    pub(super) const fn of(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }

    /// Returns the value of the next attribute, which must have this name.
    pub(super) fn take(&mut self, name: char) -> Result<&'a str, ScramFault> {
        let attribute = self.next().ok_or(ScramFault::Malformed("an attribute is missing"))?;
        // An extension that must be understood: none is.
        if attribute.starts_with("m=") {
            return Err(ScramFault::Unsupported("an extension"));
        }
        let value = attribute.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        value.ok_or(ScramFault::Malformed("an attribute is not the one that belongs there"))
    }

    /// Returns the next attribute as it is written.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let (attribute, rest) = match rest.split_once(',') {
            Some((attribute, rest)) => (attribute, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Some(attribute)
    }
}
