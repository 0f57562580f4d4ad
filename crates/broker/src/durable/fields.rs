//! Reading and writing the fields of a record. Integers are little-endian, texts bear their length before them.

use bytestring::ByteString;

/// The form of every record that is written here, and the only one there is.
pub(super) const FORM: u8 = 1;

/// What is left of a record.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Begins to read a record; `None` when it has another form.
    pub(super) fn of(record: &'a [u8]) -> Option<Self> {
        let (form, rest) = record.split_first()?;
        (*form == FORM).then_some(Self(rest))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Option<ByteString> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(ByteString::from)
    }

    /// Returns everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Tells that the record ends here, or refuses.
    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Checks that a record comes back whole, and that no part of it and nothing behind it is taken for one.
#[cfg(test)]
pub(super) fn check<T: PartialEq + std::fmt::Debug>(
    record: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Option<T>,
) {
    let bytes = encode(record);
    assert_eq!(decode(&bytes).as_ref(), Some(record));
    for end in 0..bytes.len() {
        assert_ne!(decode(&bytes[..end]).as_ref(), Some(record), "{end} of {} bytes", bytes.len());
    }
    for form in [0, 2, 0xFF] {
        let mut other = bytes.clone();
        other[0] = form;
        assert_eq!(decode(&other), None, "form {form}");
    }
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let garbage: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
        let _ = decode(&garbage);
    }
}
