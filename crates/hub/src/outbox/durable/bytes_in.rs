//! The integers and texts of what an outbox keeps, from bytes that may be anything.

/// The rest of some bytes; each step takes from its front, or gives `None` when they end or make no sense.
#[derive(Debug, Clone, Copy)]
pub(super) struct BytesIn<'a>(&'a [u8]);

impl<'a> BytesIn<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Takes an integer in LEB128.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Takes bytes that are preceded by their count.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a text that is preceded by its count of bytes.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.counted()?).ok()
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Appends an integer in LEB128.
pub(super) fn put_number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        // Truncation is meant: seven bits and the sign that more come.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes, preceded by their count.
pub(super) fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_and_overlong_ones_do_not() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_number(value, &mut out);
            assert_eq!(BytesIn::new(&out).number(), Some(value));
            assert_eq!(BytesIn::new(&out[..out.len() - 1]).number(), None);
        }
        assert_eq!(BytesIn::new(&[0xff; 10]).number(), None);
        assert_eq!(BytesIn::new(&[0x80; 11]).number(), None);
    }
}
