//! WebSocket as a byte stream: the upgrade on both sides, then binary frames.
//!
//! Where a frame begins and ends has no meaning: a packet may span frames, a frame may hold many packets.

mod client;
mod frames;
mod head;
mod server;

use std::fmt;

pub(crate) use client::{ClientUpgrade, upgrade};
pub(crate) use frames::WsStream;
pub(crate) use head::{HEADERS_MAX, HeadError, read_head};
pub(crate) use server::{UpgradeError, WsPolicy, accept};

pub use server::Refusal;

use base64::Engine;
pub(crate) use base64::engine::general_purpose::STANDARD as BASE64;

/// The WebSocket subprotocols that are spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Subprotocol {
    /// `mqtt`. The default.
    #[default]
    Mqtt,
    /// `mqttv3.1`, for servers and clients of old.
    MqttV31,
}

impl Subprotocol {
    /// Returns the name as it stands in the upgrade.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::MqttV31 => "mqttv3.1",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Mqtt, Self::MqttV31].into_iter().find(|known| known.name() == name)
    }
}

impl fmt::Display for Subprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Computes what a server answers to a key, which proves that it has understood the upgrade (RFC 6455, 4.2.2).
fn accept_of(key: &str) -> String {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(hash.finish())
}

/// Tells whether a header that lists words, such as `Connection`, has this one.
fn lists(header: &str, word: &str) -> bool {
    header.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_specification() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn lists_are_of_whole_words() {
        assert!(lists("keep-alive, Upgrade", "upgrade"));
        assert!(!lists("no-upgrade", "upgrade"));
    }
}
