//! Walks through DER, as far as is needed to tell what it is.
//!
//! Nothing here checks more than tags and lengths: whoever uses a certificate or key parses it in earnest.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const CONTEXT_0: u8 = 0xa0;

/// One element: its tag, what is in it, and all of its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Returns the first element of some bytes and what comes after it; `None` when there is no whole one.
    pub(super) fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, after_tag) = bytes.split_first()?;
        let (length, content) = length(after_tag)?;
        let (content, rest) = content.split_at_checked(length)?;
        let whole = bytes.get(..bytes.len() - rest.len())?;
        Some((Self { tag: *tag, content, whole }, rest))
    }

    /// Returns the elements inside, up to the first that is broken.
    pub(super) fn children(&self) -> Elements<'a> {
        Elements { rest: self.content }
    }

    /// Returns the child at a place, if it has this tag.
    pub(super) fn child(&self, place: usize, tag: u8) -> Option<Element<'a>> {
        self.children().nth(place).filter(|child| child.tag == tag)
    }
}

/// The elements that stand one behind another.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (element, rest) = Element::first(self.rest)?;
        self.rest = rest;
        Some(element)
    }
}

/// Reads a length of up to four bytes; the indefinite one of BER is none.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let count = match first {
        0..=0x7f => return Some((usize::from(*first), rest)),
        // 0x80 begins the indefinite length.
        0x80 | 0x85.. => return None,
        count => usize::from(count & 0x7f),
    };
    let (digits, rest) = rest.split_at_checked(count)?;
    let length = digits.iter().fold(0_u64, |length, digit| length << 8 | u64::from(*digit));
    Some((usize::try_from(length).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_is_too_long_or_cut_off_is_no_element() {
        for bytes in
            [&b""[..], b"\x30", b"\x30\x03ab", b"\x30\x80\0\0", b"\x30\x85\0\0\0\0\0", b"\x30\x82\x01"]
        {
            assert!(Element::first(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn children_stand_in_their_order() {
        let (outer, rest) = Element::first(b"\x30\x05\x02\x01\x07\x05\x00tail").unwrap();
        let tags: Vec<u8> = outer.children().map(|child| child.tag).collect();
        assert_eq!((tags, rest), (vec![INTEGER, 0x05], &b"tail"[..]));
        assert_eq!(outer.child(0, INTEGER).unwrap().content, b"\x07");
        assert!(outer.child(1, INTEGER).is_none());
    }
}
