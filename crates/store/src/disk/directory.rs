//! A directory of the machine.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

use super::{Disk, FileName};
use crate::error::Error;

/// Files that are kept open. Beyond, the oldest segment is closed, never the one that is written: it is the
/// newest.
const OPEN_MAX: usize = 64;

/// A directory on a real disk, locked as long as this lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    open: BTreeMap<FileName, File>,
    /// Holds the lock; the system lets go of it when the process ends, however it does.
    _lock: File,
}

impl Directory {
    /// Opens a directory, makes it if it is missing (mode 0700), and locks it.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] when another process, or another part of this one, has it open; [`Error::Io`] when
    /// the system refuses.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let failed = |source| Error::io("opening the directory of", FileName::Segment(1), source);
        make_directory(&path).map_err(failed)?;
        let lock = open_file(&path.join("lock"), Content::Kept).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { owner: owner(&path) }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_owner(&path).map_err(failed)?;
        Ok(Self { path, open: BTreeMap::new(), _lock: lock })
    }

    /// Opens a directory that is there, as [`open`](Self::open), and makes none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Error::Io`] when there is no such directory or it holds no store.
    pub fn open_existing(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let failed = |source| Error::io("looking for", FileName::Segment(1), source);
        let mut names = fs::read_dir(&path).map_err(failed)?;
        let is_store = names.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_str().and_then(FileName::parse).is_some())
        });
        if !is_store {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        Self::open(path)
    }

    fn file(&mut self, name: FileName) -> io::Result<&File> {
        use std::collections::btree_map::Entry;
        if self.open.len() >= OPEN_MAX && !self.open.contains_key(&name) {
            self.open.pop_first();
        }
        match self.open.entry(name) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let path = self.path.join(name.to_string());
                Ok(entry.insert(OpenOptions::new().read(true).write(true).open(path)?))
            }
        }
    }

    fn path_of(&self, name: FileName) -> PathBuf {
        self.path.join(name.to_string())
    }
}

impl Disk for Directory {
    fn list(&mut self) -> io::Result<Vec<FileName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().to_str().and_then(FileName::parse));
        }
        Ok(names)
    }

    fn create(&mut self, file: FileName) -> io::Result<()> {
        let created = open_file(&self.path_of(file), Content::Emptied)?;
        if self.open.len() >= OPEN_MAX {
            self.open.pop_first();
        }
        self.open.insert(file, created);
        Ok(())
    }

    fn length(&mut self, file: FileName) -> io::Result<u64> {
        Ok(self.file(file)?.metadata()?.len())
    }

    fn read_at(&mut self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_exact_at(self.file(file)?, offset, buffer)
    }

    fn write_at(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_all_at(self.file(file)?, offset, bytes)
    }

    fn truncate(&mut self, file: FileName, length: u64) -> io::Result<()> {
        self.file(file)?.set_len(length)
    }

    fn allocate(&mut self, file: FileName, bytes: u64) -> io::Result<()> {
        if !self.path_of(file).exists() {
            self.create(file)?;
        }
        let file = self.file(file)?;
        if take_space(file, bytes)? { Ok(()) } else { fill(file, bytes) }
    }

    fn extend(&mut self, file: FileName, length: u64) -> io::Result<()> {
        let file = self.file(file)?;
        if take_space(file, length)? { Ok(()) } else { file.set_len(length) }
    }

    fn sync(&mut self, file: FileName) -> io::Result<()> {
        self.file(file)?.sync_data()
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn rename(&mut self, from: FileName, to: FileName) -> io::Result<()> {
        // Closed first: some systems rename no open file.
        self.open.remove(&from);
        self.open.remove(&to);
        fs::rename(self.path_of(from), self.path_of(to))
    }

    fn remove(&mut self, file: FileName) -> io::Result<()> {
        self.open.remove(&file);
        fs::remove_file(self.path_of(file))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Content {
    Kept,
    Emptied,
}

fn open_file(path: &Path, content: Content) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(content == Content::Emptied);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Returns who has the lock. The file is not the lock itself, because some systems let nobody read a locked
/// file.
fn owner(path: &Path) -> String {
    let text = fs::read_to_string(path.join("owner")).unwrap_or_default();
    let text = text.trim();
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

fn write_owner(path: &Path) -> io::Result<()> {
    let mut file = open_file(&path.join("owner"), Content::Emptied)?;
    writeln!(file, "{}", process::id())
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_all_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek};
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    use std::io::Seek;
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

/// Takes space without writing it, and makes the file so long; tells whether the file system can do that.
#[cfg(target_os = "linux")]
fn take_space(file: &File, bytes: u64) -> io::Result<bool> {
    use rustix::{fs, io::Errno};
    match rustix::io::retry_on_intr(|| fs::fallocate(file, fs::FallocateFlags::empty(), 0, bytes)) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn take_space(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

/// Takes space by writing to it.
fn fill(file: &File, bytes: u64) -> io::Result<()> {
    let block = [0_u8; 65_536];
    let mut offset = file.metadata()?.len();
    while offset < bytes {
        let piece = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(block.len());
        write_all_at(file, offset, block.get(..piece).unwrap_or(&block))?;
        offset += piece as u64;
    }
    Ok(())
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file, and the file system's own journal keeps the order of its
/// changes.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = Directory::open(folder.path()).unwrap();
        let refused = Directory::open(folder.path()).unwrap_err();
        assert_eq!(refused.to_string(), format!("the store is in use by process {}", process::id()));
        drop(first);
        Directory::open(folder.path()).unwrap();
    }

    #[test]
    fn looking_for_a_store_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        assert!(Directory::open_existing(&path).is_err());
        assert!(!path.exists());
        drop(Directory::open(&path).unwrap());
        let refused = Directory::open_existing(&path).unwrap_err().to_string();
        assert!(refused.starts_with("looking for log-0000000000000001 failed"), "{refused}");
        Directory::open(&path).unwrap().create(FileName::Segment(1)).unwrap();
        Directory::open_existing(&path).unwrap();
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes"), "mine").unwrap();
        let mut disk = Directory::open(folder.path()).unwrap();
        disk.allocate(FileName::Reserve, 100_000).unwrap();
        assert_eq!(disk.list().unwrap(), [FileName::Reserve]);
        assert_eq!(disk.length(FileName::Reserve).unwrap(), 100_000);
    }

    #[test]
    fn what_a_file_is_extended_by_reads_as_zeros_though_something_stood_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Directory::open(folder.path()).unwrap();
        let file = FileName::Segment(1);
        disk.create(file).unwrap();
        disk.write_at(file, 0, &[7; 10_000]).unwrap();
        disk.truncate(file, 4).unwrap();
        disk.extend(file, 20_000).unwrap();
        let mut bytes = vec![1; 20_000];
        disk.read_at(file, 0, &mut bytes).unwrap();
        assert_eq!(disk.length(file).unwrap(), 20_000);
        assert!(bytes[..4] == [7; 4] && bytes[4..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn space_is_taken_by_writing_where_it_cannot_be_had_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let file = open_file(&folder.path().join("a"), Content::Emptied).unwrap();
        fill(&file, 70_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 70_000);
    }

    #[test]
    fn more_segments_than_may_be_open_are_read_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Directory::open(folder.path()).unwrap();
        for number in 0..200_u64 {
            disk.create(FileName::Segment(number)).unwrap();
            disk.write_at(FileName::Segment(number), 0, &number.to_le_bytes()).unwrap();
            disk.sync(FileName::Segment(number)).unwrap();
        }
        for number in 0..200_u64 {
            let mut bytes = [0; 8];
            disk.read_at(FileName::Segment(number), 0, &mut bytes).unwrap();
            assert_eq!(u64::from_le_bytes(bytes), number);
            assert!(disk.open.len() <= OPEN_MAX);
        }
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        Directory::open(&path).unwrap().create(FileName::Segment(1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for name in ["log-0000000000000001", "lock", "owner"] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
    }
}
