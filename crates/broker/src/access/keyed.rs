//! Hashes under a key that is made at the start of the process and never leaves it.
//!
//! Whoever does not know the key can neither compute these hashes nor find two inputs with the same one, so they may
//! be compared and looked up without a care for how long that takes.

use std::hash::{BuildHasher, RandomState};

use ring::hmac;
use ring::rand::SystemRandom;

use super::password::Hash;

/// A keyed hash of 256 bits.
pub(super) type Tag = [u8; 32];

/// The key of one [`Users`](super::Users).
pub(super) struct ProcessKey(hmac::Key);

impl ProcessKey {
    /// Makes a key.
    pub(super) fn generate() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        // Without the system's randomness the keys of the standard library's hash maps, 128 bits, have to do.
        Self(key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &map_keys())))
    }

    /// Returns the tag by which a plain password is kept and compared.
    pub(super) fn plain_tag(&self, password: &[u8]) -> Tag {
        self.tag(b'p', &[password])
    }

    /// Returns the tag under which it is remembered that a password is right. Another hash of it gives another tag.
    pub(super) fn login_tag(&self, username: &str, password: &[u8], hash: &Hash) -> Tag {
        self.tag(b'l', &[username.as_bytes(), password, hash.as_str().as_bytes()])
    }

    /// Returns a number for a user name, known or unknown.
    pub(super) fn name_id(&self, username: &str) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.tag(b'n', &[username.as_bytes()]);
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Returns a secret for salts, for whoever has none that outlives the process.
    pub(super) fn salt_secret(&self) -> Tag {
        self.tag(b's', &[])
    }

    /// Hashes a purpose and parts, each behind its length, so that no two lists of parts look alike.
    fn tag(&self, purpose: u8, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[purpose]);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut tag = Tag::default();
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        tag
    }
}

fn map_keys() -> [u8; 16] {
    let state = RandomState::new();
    let half = |n: u8| u128::from(state.hash_one(n));
    (half(0) << 64 | half(1)).to_le_bytes()
}

impl std::fmt::Debug for ProcessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessKey(hidden)")
    }
}
