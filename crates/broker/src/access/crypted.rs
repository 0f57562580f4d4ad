//! Password hashes as `mosquitto_passwd` writes them: `$7$iterations$salt$hash` and `$6$salt$hash`.
//!
//! `$7$` is PBKDF2 with HMAC-SHA-512, `$6$` one SHA-512 over password and salt. Salt and hash are base64. Both are weaker
//! than Argon2id and are here so that users who come from a Mosquitto keep their passwords; nothing makes new ones.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, pbkdf2};

use super::password::InvalidPassword;

/// Of how many bytes each hash is.
const HASH_BYTES: usize = digest::SHA512_OUTPUT_LEN;

/// How long a salt may be, in bytes; `mosquitto_passwd` makes 12 or 64.
const SALT_BYTES_MAX: usize = 1024;

/// The most iterations that a hash may ask for: some seconds of a CPU.
const ITERATIONS_MAX: u32 = 10_000_000;

/// A hash that `mosquitto_passwd` wrote, read and checked.
#[derive(Clone)]
pub(super) struct Crypted {
    /// `None` is one SHA-512 over password and salt.
    iterations: Option<NonZeroU32>,
    salt: Box<[u8]>,
    hash: [u8; HASH_BYTES],
}

impl Crypted {
    /// Tells whether a text begins as one of these hashes does.
    pub(super) fn is_begun_by(text: &str) -> bool {
        text.starts_with("$7$") || text.starts_with("$6$")
    }

    /// Reads a hash.
    ///
    /// # Errors
    /// It is not whole, or asks for more than ten million iterations.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidPassword> {
        let parts: Vec<&str> = text.split('$').collect();
        let (iterations, salt, hash) = match parts.as_slice() {
            ["", "7", iterations, salt, hash] => (Some(read_iterations(iterations)?), salt, hash),
            ["", "6", salt, hash] => (None, salt, hash),
            _ => return Err(InvalidPassword::NotCrypted),
        };
        let salt = STANDARD.decode(salt).map_err(|_| InvalidPassword::NotCrypted)?;
        let hash = STANDARD.decode(hash).map_err(|_| InvalidPassword::NotCrypted)?;
        let hash = hash.try_into().map_err(|_| InvalidPassword::NotCrypted)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(InvalidPassword::NotCrypted);
        }
        Ok(Self { iterations, salt: salt.into(), hash })
    }

    /// Hashes a password and compares the result in constant time.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        if let Some(iterations) = self.iterations {
            let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
            return pbkdf2::verify(algorithm, iterations, &self.salt, password, &self.hash).is_ok();
        }
        let mut context = digest::Context::new(&digest::SHA512);
        context.update(password);
        context.update(&self.salt);
        let made = context.finish();
        // Every byte is looked at, so that the time tells nothing of where the first one differs.
        made.as_ref().iter().zip(&self.hash).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

fn read_iterations(text: &str) -> Result<NonZeroU32, InvalidPassword> {
    let iterations: NonZeroU32 = text.parse().map_err(|_| InvalidPassword::NotCrypted)?;
    if iterations.get() > ITERATIONS_MAX { Err(InvalidPassword::Iterations) } else { Ok(iterations) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with Python's hashlib for the password `correct horse`: the salts are 12 and 64 bytes.
    const SEVEN: &str = "$7$101$AAECAwQFBgcICQoL$lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0tOj6l0UrRv41zqxmD4tg==";
    const SEVEN_LONG_SALT: &str = "$7$1000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==$53KiEygVzVVEVUVTe4h79yMtYp0OxxoKFip82vf7OCrEbcm4/E88oGkCyN0NhQ7fLOSBIpiITuELG/0ldDPFMQ==";
    const SIX: &str = "$6$AAECAwQFBgcICQoL$5W8GCQ9GLgmhmQvoa8jmRaPnsh82mRigdSv6mQsK0sMIII/WznlQb1g+RWddfoAKTMzBJP1deJU+Rp/1QZ0zZg==";

    #[test]
    fn the_password_that_was_hashed_is_right_and_no_other() {
        for text in [SEVEN, SEVEN_LONG_SALT, SIX] {
            let hash = Crypted::parse(text).unwrap();
            assert!(hash.verify(b"correct horse"), "{text}");
            assert!(!hash.verify(b"correct horsf") && !hash.verify(b""), "{text}");
        }
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for (at, _) in SEVEN.char_indices() {
            assert!(Crypted::parse(&SEVEN[..at]).is_err(), "cut at {at}");
        }
        let other = |from: &str, to: &str| Crypted::parse(&SEVEN.replacen(from, to, 1)).err();
        assert_eq!(other("$101$", "$0$"), Some(InvalidPassword::NotCrypted));
        assert_eq!(other("$101$", "$-1$"), Some(InvalidPassword::NotCrypted));
        assert_eq!(other("$101$", "$10000001$"), Some(InvalidPassword::Iterations));
        assert_eq!(other("$7$", "$8$"), Some(InvalidPassword::NotCrypted));
        let crypt = "$6$rounds=5000$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1";
        assert_eq!(Crypted::parse(crypt).err(), Some(InvalidPassword::NotCrypted), "that of crypt(3)");
    }
}
