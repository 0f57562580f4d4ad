//! Reading and writing the parts of what is kept: of the log itself, and of the rows and entries of the rooms above.
//!
//! Integers of a fixed length are little-endian; a varint has seven bits a byte, the lowest first (LEB128). Nothing here
//! knows what a part means.

/// The rest of some bytes that may be anything; each step takes from its front, or gives `None` when they end or make
/// no sense.
#[derive(Clone, Copy, Debug)]
pub struct BytesIn<'a> {
    rest: &'a [u8],
}

impl<'a> BytesIn<'a> {
    /// Begins at the front of some bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Begins behind the first byte, which tells the form of a record; `None` when it is of another form.
    pub fn of_form(form: u8, record: &'a [u8]) -> Option<Self> {
        let mut bytes = Self::new(record);
        (bytes.u8()? == form).then_some(bytes)
    }

    /// Takes so many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// Takes an integer of two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes an integer of four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes an integer of eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a varint; one that does not fit into 64 bits is none.
    pub fn varint(&mut self) -> Option<u64> {
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

    /// Takes a varint as a type of fewer bits; one that does not fit is none.
    pub fn varint_as<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.varint()?).ok()
    }

    /// Takes bytes that are preceded by their count, a varint.
    pub fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.varint_as()?;
        self.take(count)
    }

    /// Takes a text that is preceded by the count of its bytes, a varint.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.counted()?).ok()
    }

    /// Returns everything that is left.
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Returns whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Says that nothing is left, or refuses.
    pub fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }
}

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // Truncation is meant: seven bits and the sign that more come.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes, preceded by their count.
pub fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_overlong_ones_do_not() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut bytes = BytesIn::new(&out);
            assert_eq!(bytes.varint(), Some(value));
            assert!(bytes.is_empty());
            assert_eq!(BytesIn::new(out.split_last().unwrap().1).varint(), None);
        }
        assert_eq!(BytesIn::new(&[0xff; 10]).varint(), None);
        assert_eq!(BytesIn::new(&[0x80; 11]).varint(), None);
    }

    #[test]
    fn texts_come_back_and_what_is_none_does_not() {
        let mut out = Vec::new();
        put_counted(&mut out, "å b".as_bytes());
        assert_eq!(BytesIn::new(&out).text(), Some("å b"));
        assert_eq!(BytesIn::new(&out[..out.len() - 1]).text(), None, "it ends too early");
        assert_eq!(BytesIn::new(&[1, 0xff]).text(), None, "it is no UTF-8");
        assert_eq!(BytesIn::new(&[0xff; 10]).text(), None, "its count makes no sense");
    }

    #[test]
    fn integers_are_little_endian_and_whole_or_none() {
        let mut bytes = BytesIn::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!((bytes.u8(), bytes.u16()), (Some(1), Some(0x0302)));
        assert_eq!((bytes.u32(), bytes.u64()), (Some(0x0706_0504), Some(0x0f0e_0d0c_0b0a_0908)));
        assert_eq!((bytes.u16(), bytes.end()), (None, None), "one byte is left");
        assert_eq!((bytes.u8(), bytes.end()), (Some(16), Some(())));
    }

    #[test]
    fn a_record_of_another_form_is_not_read() {
        assert_eq!(BytesIn::of_form(1, &[1, 7]).map(BytesIn::rest), Some(&[7][..]));
        assert!(BytesIn::of_form(1, &[2, 7]).is_none());
        assert!(BytesIn::of_form(1, &[]).is_none());
    }
}
