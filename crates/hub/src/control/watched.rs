//! A disk that tells how far the work on it is.

use std::io;
use std::sync::Arc;

use crosspoint_store::{Disk, FileName};

use super::store_folder::{Counted, Progress};

/// A disk whose traffic is counted.
pub(super) struct Watched<D> {
    disk: D,
    counted: Arc<Counted>,
    syncs: Syncs,
}

/// What becomes of a sync that is asked for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Syncs {
    /// It is done.
    Each,
    /// It is left to whoever made this: nobody relies on what is written before all of it is.
    AtTheEnd,
}

impl<D> Watched<D> {
    pub(super) const fn new(disk: D, counted: Arc<Counted>, syncs: Syncs) -> Self {
        Self { disk, counted, syncs }
    }
}

impl<D: Disk> Disk for Watched<D> {
    fn list(&mut self) -> io::Result<Vec<FileName>> {
        self.disk.list()
    }

    fn create(&mut self, file: FileName) -> io::Result<()> {
        self.disk.create(file)
    }

    fn length(&mut self, file: FileName) -> io::Result<u64> {
        self.disk.length(file)
    }

    fn read_at(&mut self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.counted.add(Progress { read: buffer.len() as u64, ..Progress::default() });
        self.disk.read_at(file, offset, buffer)
    }

    fn write_at(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counted.add(Progress { written: bytes.len() as u64, ..Progress::default() });
        self.disk.write_at(file, offset, bytes)
    }

    fn truncate(&mut self, file: FileName, length: u64) -> io::Result<()> {
        self.disk.truncate(file, length)
    }

    fn allocate(&mut self, file: FileName, bytes: u64) -> io::Result<()> {
        self.disk.allocate(file, bytes)
    }

    fn extend(&mut self, file: FileName, length: u64) -> io::Result<()> {
        self.disk.extend(file, length)
    }

    fn sync(&mut self, file: FileName) -> io::Result<()> {
        if self.syncs == Syncs::Each { self.disk.sync(file) } else { Ok(()) }
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        if self.syncs == Syncs::Each { self.disk.sync_directory() } else { Ok(()) }
    }

    fn rename(&mut self, from: FileName, to: FileName) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, file: FileName) -> io::Result<()> {
        self.disk.remove(file)
    }
}
