//! Small pieces of bytes.

use bytes::Bytes;

/// Reads a value from its beginning; everything it gives is `None` once the bytes do not fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn leb128(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.leb128()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}

pub(crate) fn put_leb128(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_leb128(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Returns the key of something of a connector: big-endian, so that a table is in the order of its numbers.
pub(super) fn key<const N: usize>(number: u64, rest: [u8; N]) -> Bytes {
    let mut key = Vec::with_capacity(8 + N);
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&rest);
    key.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_come_back() {
        for value in [0, 1, 127, 128, 16_384, u64::MAX] {
            let mut bytes = Vec::new();
            put_leb128(value, &mut bytes);
            put_text("a b", &mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.leb128(), reader.text(), reader.u8()), (Some(value), Some("a b"), None));
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert_eq!(Reader::new(&[0x80; 11]).leb128(), None);
        assert_eq!(Reader::new(&[5, b'a']).text(), None);
        assert_eq!(Reader::new(&[1]).u16(), None);
    }
}
