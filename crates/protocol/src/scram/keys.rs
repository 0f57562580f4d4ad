//! From a password to the keys of both sides.

use std::{fmt, num::NonZeroU32};

use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::ScramFault;

/// A key, a signature or a hash.
pub(super) type Key = [u8; 32];

/// The longest salt that is hashed, in bytes.
const SALT_BYTES_MAX: usize = 1_024;

/// How often a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iterations(NonZeroU32);

impl Iterations {
    /// The fewest that RFC 7677 allows. With fewer, whoever listens to an exchange guesses the password soon.
    pub const MIN: u32 = 4_096;

    /// The most that are hashed: about a second of a CPU. With more, a hostile server could keep it busy.
    pub const MAX: u32 = 1_000_000;

    /// What our own server asks for: milliseconds of a small device.
    pub const DEFAULT: Self = match NonZeroU32::new(16_384) {
        Some(default) => Self(default),
        None => Self(NonZeroU32::MIN),
    };

    /// Takes a number that is within the bounds.
    ///
    /// # Errors
    /// It is not.
    pub fn new(number: u32) -> Result<Self, ScramFault> {
        match NonZeroU32::new(number) {
            Some(_) if number > Self::MAX => Err(ScramFault::TooManyIterations(number)),
            Some(iterations) if number >= Self::MIN => Ok(Self(iterations)),
            _ => Err(ScramFault::TooFewIterations(number)),
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// A password that is prepared as SCRAM wants it (SASLprep). It cannot be printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Prepares a password.
    ///
    /// # Errors
    /// It is not UTF-8, or has characters that are forbidden there.
    pub fn prepare(password: &[u8]) -> Result<Self, ScramFault> {
        let text = std::str::from_utf8(password).map_err(|_| ScramFault::Unpreparable)?;
        let prepared = stringprep::saslprep(text).map_err(|_| ScramFault::Unpreparable)?;
        Ok(Self(Zeroizing::new(prepared.into_owned())))
    }

    /// Hashes the password so many times: **slow**.
    ///
    /// # Errors
    /// The salt is empty, or longer than 1,024 bytes.
    pub(super) fn salted(&self, salt: &[u8], iterations: Iterations) -> Result<Salted, ScramFault> {
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(ScramFault::Malformed("the salt is empty or too long"));
        }
        let mut salted = Zeroizing::new(Key::default());
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations.0,
            salt,
            self.0.as_bytes(),
            salted.as_mut_slice(),
        );
        Ok(Salted(salted))
    }
}

/// A password after all its iterations, from which every key is made.
pub(super) struct Salted(Zeroizing<Key>);

impl Salted {
    pub(super) fn client_key(&self) -> Key {
        sign(self.0.as_slice(), b"Client Key")
    }

    pub(super) fn keys(&self) -> Keys {
        Keys { stored: hash(&self.client_key()), server: sign(self.0.as_slice(), b"Server Key") }
    }
}

/// What a server knows of a password: enough to check a client and to prove itself, and not the password.
///
/// It cannot be printed: with it one could pretend to be the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub(super) stored: Key,
    pub(super) server: Key,
}

impl Keys {
    /// Takes the keys as they were kept: StoredKey and ServerKey of RFC 5802.
    pub const fn new(stored: [u8; 32], server: [u8; 32]) -> Self {
        Self { stored, server }
    }

    /// Makes the keys of a password: **slow**, it hashes so many times.
    ///
    /// # Errors
    /// The salt is empty, or longer than 1,024 bytes.
    pub fn derive(password: &Password, salt: &[u8], iterations: Iterations) -> Result<Self, ScramFault> {
        Ok(password.salted(salt, iterations)?.keys())
    }

    /// Returns StoredKey, to be kept.
    pub const fn stored(&self) -> &[u8; 32] {
        &self.stored
    }

    /// Returns ServerKey, to be kept.
    pub const fn server(&self) -> &[u8; 32] {
        &self.server
    }

    /// Tells whether these are the keys of the same password, salt and iterations, in constant time.
    pub fn are(&self, other: &Self) -> bool {
        is_equal(&self.stored, &other.stored) & is_equal(&self.server, &other.server)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

pub(super) fn sign(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    copied(tag.as_ref())
}

pub(super) fn hash(key: &Key) -> Key {
    copied(digest::digest(&digest::SHA256, key).as_ref())
}

pub(super) fn xor(a: &Key, b: &Key) -> Key {
    let mut made = *a;
    for (to, with) in made.iter_mut().zip(b) {
        *to ^= with;
    }
    made
}

/// Looks at every byte, so that the time tells nothing of where the first one differs.
pub(super) fn is_equal(a: &Key, b: &Key) -> bool {
    a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// Both hashes have the length of a key.
fn copied(bytes: &[u8]) -> Key {
    let mut key = Key::default();
    for (to, from) in key.iter_mut().zip(bytes) {
        *to = *from;
    }
    key
}
