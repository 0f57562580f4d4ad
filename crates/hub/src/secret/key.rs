//! The keys that seal.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::ProjectId;

/// What a key begins with when it is written down.
const PREFIX: &str = "crosspoint-key-v1:";

/// How many bytes a key has.
pub(super) const KEY_BYTES: usize = 32;

/// What a passphrase costs: 64 MiB, three passes, one lane. A project file may be public, so guesses must be dear.
const PASSPHRASE_COST: (u32, u32, u32) = (64 * 1024, 3, 1);

/// A key that seals and unseals. It cannot be printed.
#[derive(Clone)]
pub struct SealingKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: KeyId,
}

/// Tells one key from another without telling anything of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

/// Keys that unseal, of which the first seals.
#[derive(Debug, Clone)]
pub struct KeyRing {
    first: SealingKey,
    others: Vec<SealingKey>,
}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongKey {
    /// No line of it is a key.
    #[error("holds no key: a key is a line that begins with {PREFIX}")]
    None,
    /// A line begins as a key does and is not one.
    #[error("holds a key that is cut off or misspelt, in line {line}")]
    Damaged {
        /// Counted from 1.
        line: usize,
    },
    /// The system gives no random bytes, or Argon2id no memory.
    #[error("cannot be made: the system gives neither random bytes nor the memory that it takes")]
    System,
}

impl SealingKey {
    /// Makes a key of the system's randomness.
    ///
    /// # Errors
    /// The system has none.
    pub fn generate() -> Result<Self, WrongKey> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| WrongKey::System)?;
        Ok(Self::of(bytes))
    }

    /// Makes the key of a passphrase and a project, the same one each time. It takes 64 MiB and about 0.2 s.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn of_passphrase(passphrase: &[u8], project: ProjectId) -> Result<Self, WrongKey> {
        let (memory_kib, passes, lanes) = PASSPHRASE_COST;
        let params = Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).map_err(|_| WrongKey::System)?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &project.bytes(), bytes.as_mut_slice())
            .map_err(|_| WrongKey::System)?;
        Ok(Self::of(bytes))
    }

    /// Reads a key as [`expose_text`](Self::expose_text) writes it.
    fn parse(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        (decoded.len() == KEY_BYTES).then(|| bytes.copy_from_slice(&decoded))?;
        Some(Self::of(bytes))
    }

    fn of(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let mut named = Zeroizing::new(b"crosspoint sealing key id v1\0".to_vec());
        named.extend_from_slice(bytes.as_slice());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest(&SHA256, &named).as_ref()) {
            *to = *from;
        }
        Self { bytes, id: KeyId(id) }
    }

    /// Returns the key as it is written down, for the one place that writes it.
    pub fn expose_text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.bytes.as_slice()));
        Zeroizing::new(format!("{PREFIX}{}", *encoded))
    }

    /// Returns what tells it from others.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

impl PartialEq for SealingKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl KeyRing {
    /// Returns a ring of one key.
    pub const fn of(key: SealingKey) -> Self {
        Self { first: key, others: Vec::new() }
    }

    /// Reads keys, one a line; lines that are empty or begin with `#` say nothing.
    ///
    /// # Errors
    /// There is no key, or one that is damaged.
    pub fn parse(text: &str) -> Result<Self, WrongKey> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong =
                if line.starts_with(PREFIX) { WrongKey::Damaged { line: index + 1 } } else { WrongKey::None };
            keys.push(SealingKey::parse(line).ok_or(wrong)?);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(WrongKey::None)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// Returns the same keys behind a new first one.
    #[must_use]
    pub fn under(self, first: SealingKey) -> Self {
        let mut others = vec![self.first];
        others.extend(self.others);
        others.retain(|key| *key != first);
        Self { first, others }
    }

    /// Returns the key that seals.
    pub const fn first(&self) -> &SealingKey {
        &self.first
    }

    /// Returns every key, that which seals first.
    pub fn keys(&self) -> impl Iterator<Item = &SealingKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Returns the key of an identifier.
    pub fn key(&self, id: KeyId) -> Option<&SealingKey> {
        self.keys().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_written_down_is_read_back() {
        let key = SealingKey::generate().unwrap();
        let ring = KeyRing::parse(&format!("# a remark\n\n{}\n", *key.expose_text())).unwrap();
        assert_eq!(ring.first().bytes(), key.bytes());
        assert_eq!(ring.key(key.id()).map(SealingKey::id), Some(key.id()));
    }

    #[test]
    fn what_is_no_key_is_told_from_a_damaged_one() {
        assert_eq!(KeyRing::parse("").unwrap_err(), WrongKey::None);
        assert_eq!(KeyRing::parse("hunter2").unwrap_err(), WrongKey::None);
        let whole = SealingKey::generate().unwrap().expose_text();
        let cut = whole.get(..whole.len() - 3).unwrap();
        assert_eq!(KeyRing::parse(&format!("#\n{cut}")).unwrap_err(), WrongKey::Damaged { line: 2 });
    }

    #[test]
    fn a_new_first_key_leaves_the_others_in_place() {
        let [a, b] = [SealingKey::generate().unwrap(), SealingKey::generate().unwrap()];
        let ring = KeyRing::of(a.clone()).under(b.clone());
        assert_eq!(ring.keys().map(SealingKey::id).collect::<Vec<_>>(), [b.id(), a.id()]);
        assert_eq!(ring.under(a.clone()).keys().count(), 2, "no key stands twice");
    }

    #[test]
    fn a_passphrase_makes_the_same_key_for_a_project_and_another_for_another() {
        let [one, two] = [ProjectId::generate().unwrap(), ProjectId::generate().unwrap()];
        let id = |phrase: &str, project| SealingKey::of_passphrase(phrase.as_bytes(), project).unwrap().id();
        assert_eq!(id("correct horse", one), id("correct horse", one));
        assert_ne!(id("correct horse", one), id("correct horse", two));
        assert_ne!(id("correct horse", one), id("correct horsf", one));
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let key = SealingKey::generate().unwrap();
        let text = key.expose_text();
        let shown = format!("{:?} {:?}", key, KeyRing::of(key.clone()));
        assert!(!shown.contains(text.strip_prefix(PREFIX).unwrap()) && shown.contains(&key.id().to_string()));
    }
}
