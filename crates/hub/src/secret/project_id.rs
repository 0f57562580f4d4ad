//! What a project is known by, so that a sealed value of one cannot be used in another.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

use super::WrongKey;

/// The `id` of a project file: 16 random bytes, written as 32 hexadecimal digits. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProjectId([u8; 16]);

impl ProjectId {
    /// Makes one of the system's randomness.
    ///
    /// # Errors
    /// The system has none.
    pub fn generate() -> Result<Self, WrongKey> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).map_err(|_| WrongKey::System)?;
        Ok(Self(bytes))
    }

    /// Reads what [`Display`](fmt::Display) writes; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes()))
    }

    pub(super) const fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_nothing_else_is() {
        let id = ProjectId::generate().unwrap();
        assert_eq!(ProjectId::parse(&id.to_string()), Some(id));
        for wrong in ["", "+0000000000000000000000000000000", "0", "ABCDEFABCDEFABCDEFABCDEFABCDEFAB"] {
            assert_eq!(ProjectId::parse(wrong), None, "{wrong}");
        }
    }
}
