//! How a user's password is written down, and how it is hashed.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{self, CustomizedPasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{ARGON2ID_IDENT, Argon2, Params};

use super::crypted::Crypted;
use super::scrammed::{self, Scrammed};
use super::secret::Secret;

/// The longest password that is accepted, in bytes. It bounds the memory of passwords that wait to be checked.
pub const PASSWORD_BYTES_MAX: usize = 4096;

/// What [`hash_password`] spends: 19 MiB, two passes, one lane.
const PARAMS: Params = Params::DEFAULT;
const _: () = assert!(PARAMS.m_cost() == 19_456 && PARAMS.t_cost() == 2 && PARAMS.p_cost() == 1);

/// The most memory that a PHC string may ask for, in KiB.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// The most passes, and the most lanes, that a PHC string may ask for.
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 64;

/// A user's password as it is written down. It cannot be printed.
#[derive(Clone)]
pub struct Password(Written);

#[derive(Clone)]
pub(super) enum Written {
    Plain(Secret),
    Hashed(Arc<Hash>),
}

impl Password {
    /// Takes a plain password over. Comparing it costs nothing, so a login never waits; but whoever reads the file
    /// has it.
    pub fn plain(password: impl Into<Vec<u8>>) -> Self {
        Self(Written::Plain(Secret::new(password)))
    }

    /// Reads a PHC string, such as [`hash_password`] makes.
    ///
    /// # Errors
    /// The text is no complete PHC string of Argon2id, or asks for more than 1 GiB, 64 passes or 64 lanes.
    pub fn argon2id(phc: &str) -> Result<Self, InvalidPassword> {
        Hash::argon2id(phc).map(|hash| Self(Written::Hashed(Arc::new(hash))))
    }

    /// Reads a hash of Mosquitto's password file, without the name before it: `$7$iterations$salt$hash` (PBKDF2 with
    /// SHA-512) or `$6$salt$hash` (salted SHA-512).
    ///
    /// # Errors
    /// The text is no whole hash of these, or asks for more than ten million iterations.
    pub fn crypted(text: &str) -> Result<Self, InvalidPassword> {
        Hash::crypted(text).map(|hash| Self(Written::Hashed(Arc::new(hash))))
    }

    /// Reads what [`hash_password_for_scram`] makes: `$scram-sha-256$i=iterations$salt$stored key$server key`.
    ///
    /// # Errors
    /// The text is not whole, or its iterations are not 4,096 to 1,000,000.
    pub fn scram(text: &str) -> Result<Self, InvalidPassword> {
        Hash::scram(text).map(|hash| Self(Written::Hashed(Arc::new(hash))))
    }

    /// Reads any form: what begins with `$argon2` is a PHC string, with `$7$` or `$6$` a hash of Mosquitto's password
    /// file, with `$scram-sha-256$` keys of SCRAM, everything else a plain password.
    ///
    /// # Errors
    /// As of [`argon2id`](Self::argon2id), [`crypted`](Self::crypted) and [`scram`](Self::scram).
    pub fn parse(text: &str) -> Result<Self, InvalidPassword> {
        if text.starts_with("$argon2") {
            Self::argon2id(text)
        } else if Crypted::is_begun_by(text) {
            Self::crypted(text)
        } else if text.starts_with(scrammed::PREFIX) {
            Self::scram(text)
        } else {
            Ok(Self::plain(text))
        }
    }

    pub(super) fn written(&self) -> &Written {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Written::Plain(_) => "Plain(hidden)",
            Written::Hashed(_) => "Hashed(hidden)",
        })
    }
}

/// Why a text is no password that could be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPassword {
    /// The text is not in the form of a PHC string.
    #[error("the password hash is no PHC string such as `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`")]
    NotPhc,
    /// The PHC string is of another algorithm.
    #[error("the password hash is of `{0}`; write one of `argon2id`")]
    OtherAlgorithm(String),
    /// The PHC string ends before the salt or the hash.
    #[error("the password hash lacks its salt or its hash")]
    Incomplete,
    /// The PHC string has parameters that Argon2 does not know, or that are out of bounds.
    #[error(
        "the password hash has parameters that Argon2id does not have, or asks for more than {MEMORY_KIB_MAX} KiB, \
         {PASSES_MAX} passes or {LANES_MAX} lanes"
    )]
    Parameters,
    /// The text is no whole hash of Mosquitto's password file.
    #[error("the password hash is none of Mosquitto's, such as `$7$101$<salt>$<hash>` or `$6$<salt>$<hash>`")]
    NotCrypted,
    /// The hash of Mosquitto's password file asks for too much.
    #[error("the password hash asks for more than ten million iterations")]
    Iterations,
    /// The text is not what is kept of a password for SCRAM.
    #[error(
        "the password hash is not whole; for SCRAM it is `$scram-sha-256$i=16384$<salt>$<stored key>$<server key>`"
    )]
    NotScrammed,
    /// What is kept for SCRAM has too few or too many iterations.
    #[error("the password hash has not 4,096 to 1,000,000 iterations, which SCRAM needs")]
    ScramIterations,
    /// The password cannot be used with SCRAM.
    #[error("the password is not UTF-8, or has characters that SCRAM does not allow")]
    Unpreparable,
    /// The password is longer than [`PASSWORD_BYTES_MAX`].
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// The system gave no randomness for the salt, or no memory.
    #[error("the system gave no randomness or no memory to hash the password")]
    Exhausted,
}

/// Hashes a password with a new salt and returns the PHC string (Argon2id, 19 MiB, 2 passes, 1 lane).
///
/// It takes tens of milliseconds of the calling thread.
///
/// # Errors
/// The password is longer than [`PASSWORD_BYTES_MAX`], or the system gave no randomness or no memory.
pub fn hash_password(password: &[u8]) -> Result<String, InvalidPassword> {
    hash_with(PARAMS, password)
}

/// Hashes a password for SCRAM-SHA-256 with a new salt and returns `$scram-sha-256$i=16384$salt$stored key$server key`.
///
/// It takes milliseconds of the calling thread, and is guessed at faster than what [`hash_password`] makes.
///
/// # Errors
/// The password is longer than [`PASSWORD_BYTES_MAX`] or has characters that SCRAM does not allow, or the system gave no
/// randomness.
pub fn hash_password_for_scram(password: &[u8]) -> Result<String, InvalidPassword> {
    Scrammed::hash(password)
}

/// Hashes with parameters of choice; tests choose cheap ones.
pub(super) fn hash_with(params: Params, password: &[u8]) -> Result<String, InvalidPassword> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(InvalidPassword::TooLong);
    }
    let salt = password_hash::try_generate_salt().map_err(|_| InvalidPassword::Exhausted)?;
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password_with_params(password, &salt, params);
    hash.map(|hash| hash.to_string()).map_err(|_| InvalidPassword::Exhausted)
}

/// A password hash that has been checked. It cannot be printed.
#[derive(Clone)]
pub(super) struct Hash {
    text: Box<str>,
    algorithm: Algorithm,
}

#[derive(Clone)]
enum Algorithm {
    Argon2id(Box<PasswordHash>),
    Crypted(Crypted),
    Scram(Scrammed),
}

impl Hash {
    fn argon2id(text: &str) -> Result<Self, InvalidPassword> {
        let hash = PasswordHash::new(text).map_err(|_| InvalidPassword::NotPhc)?;
        if hash.algorithm != ARGON2ID_IDENT {
            return Err(InvalidPassword::OtherAlgorithm(hash.algorithm.to_string()));
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(InvalidPassword::Incomplete);
        }
        let params = Params::try_from(&hash).map_err(|_| InvalidPassword::Parameters)?;
        let is_known_version = hash.version.is_none_or(|version| argon2::Version::try_from(version).is_ok());
        let is_bounded = params.m_cost() <= MEMORY_KIB_MAX
            && params.t_cost() <= PASSES_MAX
            && params.p_cost() <= LANES_MAX;
        if !is_known_version || !is_bounded {
            return Err(InvalidPassword::Parameters);
        }
        Ok(Self { text: text.into(), algorithm: Algorithm::Argon2id(Box::new(hash)) })
    }

    fn crypted(text: &str) -> Result<Self, InvalidPassword> {
        Ok(Self { text: text.into(), algorithm: Algorithm::Crypted(Crypted::parse(text)?) })
    }

    fn scram(text: &str) -> Result<Self, InvalidPassword> {
        Ok(Self { text: text.into(), algorithm: Algorithm::Scram(Scrammed::parse(text)?) })
    }

    /// Returns what SCRAM needs, if it is kept.
    pub(super) const fn scrammed(&self) -> Option<&Scrammed> {
        match &self.algorithm {
            Algorithm::Scram(kept) => Some(kept),
            Algorithm::Argon2id(_) | Algorithm::Crypted(_) => None,
        }
    }

    /// Returns the text of the hash, for the keyed hash.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Hashes a password and compares the result in constant time.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        match &self.algorithm {
            Algorithm::Argon2id(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Algorithm::Crypted(hash) => hash.verify(password),
            Algorithm::Scram(hash) => hash.verify(password),
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(hidden)")
    }
}
