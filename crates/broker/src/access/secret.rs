//! A password that cannot be printed.

use std::fmt;

/// Holds a password; it has no `Display`, and its `Debug` shows nothing of it.
///
/// The bytes are overwritten when it goes, as far as safe code can promise that.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into().into_boxed_slice())
    }

    /// Returns the bytes, for the one place that compares them.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader the compiler may leave the fill out.
        std::hint::black_box(&self.0);
    }
}
