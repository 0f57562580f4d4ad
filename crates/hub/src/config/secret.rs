//! A value that cannot be printed.

use std::fmt;

use zeroize::Zeroize;

/// Holds a password, key or token; it has no `Display`, and its `Debug` shows nothing of it.
///
/// The bytes are overwritten when it goes; each copy is one of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into().into_boxed_slice())
    }

    /// Returns the bytes, for the one place that sends or compares them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text, or `None` where the bytes are not UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_the_text_nor_its_length() {
        assert_eq!(format!("{:?}", Secret::new("a")), "Secret(hidden)");
        assert_eq!(format!("{:?}", Secret::new("correct horse battery staple")), "Secret(hidden)");
    }

    #[test]
    fn what_was_put_in_comes_out() {
        assert_eq!(Secret::new("abc").expose(), b"abc");
        assert_eq!(Secret::new("abc").expose_text(), Some("abc"));
        assert_eq!(Secret::new([0xff]).expose_text(), None);
    }
}
