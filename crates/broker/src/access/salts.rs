//! Salts that are made of user names.

use ring::hmac;

use super::scrammed::SALT_BYTES;

/// The key under which the salt of a user is made whose password is plain, and of one who does not exist: always the
/// same for a name, and nothing that the name tells.
///
/// It should outlive the process. A salt that changes at each start tells those users whose salts do not.
#[derive(Clone)]
pub struct SaltKey(hmac::Key);

impl SaltKey {
    /// Takes a secret of 32 random bytes over.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub(super) fn salt(&self, username: &str) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        for (to, from) in salt.iter_mut().zip(hmac::sign(&self.0, username.as_bytes()).as_ref()) {
            *to = *from;
        }
        salt
    }
}

impl std::fmt::Debug for SaltKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SaltKey(hidden)")
    }
}
