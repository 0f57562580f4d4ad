//! Room behind the last frame, taken before it is needed: a sync that has no new length to note is a short one.

use super::Writer;
use crate::disk::FileName;
use crate::error::Error;

impl Writer {
    /// Takes room for a frame of so many bytes and for some of those after it, if the disk has it.
    pub(super) fn take_room(&mut self, bytes: usize) -> Result<(), Error> {
        let end = self.offset + bytes as u64;
        // On a full disk the reserve is for what is written, not for what may be.
        if end <= self.room_end || self.is_full || self.options.room_bytes == 0 {
            return Ok(());
        }
        let file = FileName::Segment(self.segment);
        let room_end = end.next_multiple_of(self.options.room_bytes).min(self.options.segment_bytes).max(end);
        match self.disk.0.extend(file, room_end).map_err(|error| Error::io("extending", file, error)) {
            Ok(()) => self.room_end = room_end,
            // What little it got is given back: the frame alone may fit.
            Err(Error::Full) => self.cut()?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Cuts the last segment off behind its last frame.
    pub(super) fn cut(&mut self) -> Result<(), Error> {
        let file = FileName::Segment(self.segment);
        self.disk.0.truncate(file, self.offset).map_err(|error| Error::failed("cutting", file, error))?;
        self.room_end = self.offset;
        Ok(())
    }

    /// Gives back what room is left in the last segment, for good: nothing but frames stands in one that others follow.
    pub(super) fn return_room(&mut self) -> Result<(), Error> {
        if self.room_end > self.offset {
            self.cut()?;
            let file = FileName::Segment(self.segment);
            self.disk.0.sync(file).map_err(|error| Error::failed("syncing", file, error))?;
        }
        Ok(())
    }
}
