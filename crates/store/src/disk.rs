//! What the log needs of a file system: the seam between the store and the machine.
//!
//! [`Directory`] is a real one; [`SimulatedDisk`] keeps what is live and what is durable apart, and fails on
//! demand. Nothing here knows what the files hold.

mod directory;
mod simulated;

use std::fmt;
use std::io;

pub use directory::Directory;
pub use simulated::SimulatedDisk;

/// The name of a file of the store. There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// A segment of the log, by its number.
    Segment(u64),
    /// A checkpoint, by the sequence of the last frame that it covers.
    Checkpoint(u64),
    /// A checkpoint that is being written.
    Temporary,
    /// The reserve for a full disk.
    Reserve,
}

impl FileName {
    /// Returns the name that is written so, or `None` when the store has no such file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| {
            let plain =
                digits.len() == 16 && digits.bytes().all(|digit| b"0123456789abcdef".contains(&digit));
            if plain { u64::from_str_radix(digits, 16).ok() } else { None }
        };
        match text {
            "temporary" => Some(Self::Temporary),
            "reserve" => Some(Self::Reserve),
            _ => match text.split_once('-')? {
                ("log", digits) => number(digits).map(Self::Segment),
                ("checkpoint", digits) => number(digits).map(Self::Checkpoint),
                _ => None,
            },
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(number) => write!(formatter, "log-{number:016x}"),
            Self::Checkpoint(sequence) => write!(formatter, "checkpoint-{sequence:016x}"),
            Self::Temporary => formatter.write_str("temporary"),
            Self::Reserve => formatter.write_str("reserve"),
        }
    }
}

/// A flat directory of files, held by one owner.
///
/// Operations block; the store calls them on its writer only. What is written, created, renamed or removed is
/// visible at once and durable after the matching sync. Whoever makes a `Disk` has locked it: there is never
/// a second one on the same files.
///
/// # Errors
///
/// Every operation passes on what the system says. "No space left" must come as
/// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`]; the store takes it for a state that
/// ends, and everything else for a failure.
pub trait Disk: Send + 'static {
    /// Returns the files of the store that there are, in no order.
    fn list(&mut self) -> io::Result<Vec<FileName>>;

    /// Makes a file of no bytes, or empties the one there is.
    fn create(&mut self, file: FileName) -> io::Result<()>;

    /// Returns the size of a file in bytes.
    fn length(&mut self, file: FileName) -> io::Result<u64>;

    /// Fills a buffer from an offset; a file that ends before is an error of kind `UnexpectedEof`.
    fn read_at(&mut self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all bytes at an offset that is not behind the end. After an error any part of them may stand there.
    fn write_at(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file to a length that is not above its own.
    fn truncate(&mut self, file: FileName, length: u64) -> io::Result<()>;

    /// Makes a file that takes this many bytes of the disk, contents unspecified, or brings it to that size.
    fn allocate(&mut self, file: FileName, bytes: u64) -> io::Result<()>;

    /// Brings a file to a length that is not below its own. What is new reads as zeros, and takes its space on the
    /// disk now where that costs no writing. After an error it may have any length between.
    fn extend(&mut self, file: FileName, length: u64) -> io::Result<()>;

    /// Makes a file's bytes and length durable.
    fn sync(&mut self, file: FileName) -> io::Result<()>;

    /// Makes every creation, renaming and removal so far durable.
    fn sync_directory(&mut self) -> io::Result<()>;

    /// Gives a file another name, in place of whatever had it.
    fn rename(&mut self, from: FileName, to: FileName) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, file: FileName) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::FileName;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_not() {
        for name in [FileName::Segment(0xab), FileName::Checkpoint(0), FileName::Temporary, FileName::Reserve]
        {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for other in ["log-1", "log-+00000000000000a", "log-00000000000000AB", "lock", "owner", "x-0", ""] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
