//! What is kept of a password for SCRAM: `$scram-sha-256$i=iterations$salt$stored key$server key`.
//!
//! Salt and keys are base64 without padding. Whoever reads it does not have the password, and can guess at it faster than
//! at an Argon2id hash; with the server key he can pretend to be this server.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use crosspoint_protocol::scram::{Iterations, Keys, Password, ScramFault};
use ring::rand::{SecureRandom, SystemRandom};

use super::password::{InvalidPassword, PASSWORD_BYTES_MAX};

/// How every one begins.
pub(super) const PREFIX: &str = "$scram-sha-256$";

/// How long a salt is, in bytes: ours, and those that are made up for users who do not exist.
pub(super) const SALT_BYTES: usize = 16;

/// Written without padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is kept of a password, read and checked.
#[derive(Clone)]
pub(super) struct Scrammed {
    pub(super) iterations: Iterations,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) keys: Keys,
}

impl Scrammed {
    /// Reads what [`hash`](Self::hash) writes.
    ///
    /// # Errors
    /// It is not whole, or its iterations are out of bounds.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidPassword> {
        let rest = text.strip_prefix(PREFIX).ok_or(InvalidPassword::NotScrammed)?;
        let parts: Vec<&str> = rest.split('$').collect();
        let [iterations, salt, stored, server] = parts.as_slice() else {
            return Err(InvalidPassword::NotScrammed);
        };
        let iterations = iterations.strip_prefix("i=").and_then(|number| number.parse().ok());
        let iterations = Iterations::new(iterations.ok_or(InvalidPassword::NotScrammed)?)
            .map_err(|_| InvalidPassword::ScramIterations)?;
        let keys = Keys::new(decode(stored)?, decode(server)?);
        Ok(Self { iterations, salt: decode(salt)?, keys })
    }

    /// Hashes a password with a new salt, and returns what is to be kept.
    pub(super) fn hash(password: &[u8]) -> Result<String, InvalidPassword> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(InvalidPassword::TooLong);
        }
        let password = Password::prepare(password).map_err(|_| InvalidPassword::Unpreparable)?;
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| InvalidPassword::Exhausted)?;
        let iterations = Iterations::DEFAULT;
        let keys = Keys::derive(&password, &salt, iterations).map_err(|_| InvalidPassword::Exhausted)?;
        let [salt, stored, server] =
            [&salt[..], keys.stored(), keys.server()].map(|bytes| BASE64.encode(bytes));
        Ok(format!("{PREFIX}i={}${salt}${stored}${server}", iterations.get()))
    }

    /// Hashes a password that stands in CONNECT, and compares the result in constant time.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let derived: Result<Keys, ScramFault> = Password::prepare(password)
            .and_then(|password| Keys::derive(&password, &self.salt, self.iterations));
        derived.is_ok_and(|keys| keys.are(&self.keys))
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], InvalidPassword> {
    let bytes = BASE64.decode(text).map_err(|_| InvalidPassword::NotScrammed)?;
    bytes.try_into().map_err(|_| InvalidPassword::NotScrammed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_that_was_hashed_is_right_and_no_other() {
        let text = Scrammed::hash(b"correct horse").unwrap();
        assert_ne!(text, Scrammed::hash(b"correct horse").unwrap(), "each has its own salt");
        let hash = Scrammed::parse(&text).unwrap();
        assert!(hash.verify(b"correct horse"), "{text}");
        assert!(!hash.verify(b"correct horsf") && !hash.verify(b"") && !hash.verify(&[0xFF]), "{text}");
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let text = Scrammed::hash(b"x").unwrap();
        for (at, _) in text.char_indices() {
            assert!(Scrammed::parse(&text[..at]).is_err(), "cut at {at}");
        }
        let few = text.replace("i=16384", "i=4095");
        assert_eq!(Scrammed::parse(&few).err(), Some(InvalidPassword::ScramIterations));
        assert_eq!(Scrammed::hash(&[0xFF]).err(), Some(InvalidPassword::Unpreparable));
    }
}
