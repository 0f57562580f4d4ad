//! Walking through the frames of a segment, over what is damaged too.

use crate::frame::{self, Frame, Place};

/// A walk through the bytes of a segment.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    salt: u64,
    segment: u64,
    offset: usize,
}

/// What a walk comes to.
#[derive(Debug, PartialEq)]
pub(crate) enum Step<'a> {
    /// A whole frame, and its offset.
    Frame(u64, Frame<'a>),
    /// Bytes that are no frame, from here to there.
    Gap(u64, u64),
}

impl<'a> Scan<'a> {
    /// Begins at an offset of a segment.
    pub(crate) fn new(bytes: &'a [u8], salt: u64, segment: u64, offset: u64) -> Self {
        Self { bytes, salt, segment, offset: usize::try_from(offset).unwrap_or(usize::MAX) }
    }

    fn frame_at(&self, offset: usize) -> Option<Frame<'a>> {
        let place = Place { salt: self.salt, segment: self.segment, offset: offset as u64 };
        Frame::decode(self.bytes.get(offset..)?, place)
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let start = self.offset;
        if start >= self.bytes.len() {
            return None;
        }
        if let Some(frame) = self.frame_at(start) {
            self.offset += frame.length();
            return Some(Step::Frame(start as u64, frame));
        }
        let mut end = start;
        while let Some(next) = frame::find(self.bytes, end + 1) {
            end = next;
            if self.frame_at(end).is_some() {
                self.offset = end;
                return Some(Step::Gap(start as u64, end as u64));
            }
        }
        self.offset = self.bytes.len();
        Some(Step::Gap(start as u64, self.offset as u64))
    }
}
