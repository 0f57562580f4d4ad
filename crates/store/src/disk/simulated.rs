//! A disk in memory that can lose what was not synced.

use std::io;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;

use super::{Disk, FileName};
use content::Change;
use image::{Fault, Image, NameChange};

mod content;
mod image;

/// A disk in memory, with a live and a durable image; for tests, for simulation, and for a store that shall
/// not outlive its process.
///
/// Clones are handles of the same disk. It can fail at a chosen operation, run full, and have its power cut.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    image: Arc<Mutex<Image>>,
}

impl SimulatedDisk {
    /// Makes an empty disk without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits what all files may take together, in bytes; `None` lifts the limit.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.image.lock().bytes_max = bytes_max;
    }

    /// Lets the n-th operation from now (0 is the next) that can fail do so, once.
    pub fn fail_once(&self, operation: u64) {
        let mut image = self.image.lock();
        image.fault = Some(Fault::Once(image.operations + operation));
    }

    /// Lets the n-th operation from now and all after it fail.
    pub fn fail_from(&self, operation: u64) {
        let mut image = self.image.lock();
        image.fault = Some(Fault::From(image.operations + operation));
    }

    /// Cuts the power when the n-th sync from now begins: it and everything after it fails, and nothing more
    /// gets durable.
    pub fn cut_power_at_sync(&self, sync: u64) {
        let mut image = self.image.lock();
        image.fault = Some(Fault::PowerAtSync(image.syncs + sync));
    }

    /// Ends every fault.
    pub fn heal(&self) {
        let mut image = self.image.lock();
        image.fault = None;
        image.is_dead = false;
    }

    /// Returns how many operations and how many of them syncs there have been.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let image = self.image.lock();
        (image.operations, image.syncs)
    }

    /// Returns a disk as it may be found after the power failed now.
    ///
    /// What was synced is there. Of the rest each write is kept, lost, or torn, and of the changes of names a
    /// first part is kept. The same seed gives the same disk.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let image = self.image.lock().after_power_cut(&mut Rng::with_seed(seed));
        Self::of(image)
    }

    /// Returns a disk that has lost everything that was not synced.
    #[must_use]
    pub fn after_total_loss(&self) -> Self {
        let image = self.image.lock().after_total_loss();
        Self::of(image)
    }

    /// Returns a disk with what is live now, all of it durable: what another process finds after this one was
    /// killed.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let image = self.image.lock().after_kill();
        Self::of(image)
    }

    /// Returns what all files take together now, in bytes.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.image.lock().taken_bytes()
    }

    /// Returns the bytes of a file.
    #[must_use]
    pub fn contents(&self, file: FileName) -> Option<Vec<u8>> {
        self.image.lock().bytes(file).map(<[u8]>::to_vec)
    }

    /// Replaces the bytes of a file, live and durable, behind the store's back.
    pub fn set_contents(&self, file: FileName, bytes: Vec<u8>) {
        self.image.lock().replace(file, bytes);
    }

    fn of(image: Image) -> Self {
        Self { image: Arc::new(Mutex::new(image)) }
    }
}

impl Disk for SimulatedDisk {
    fn list(&mut self) -> io::Result<Vec<FileName>> {
        let mut image = self.image.lock();
        image.step()?;
        Ok(image.live.keys().copied().collect())
    }

    fn create(&mut self, file: FileName) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        image.create(file);
        Ok(())
    }

    fn length(&mut self, file: FileName) -> io::Result<u64> {
        let mut image = self.image.lock();
        image.step()?;
        Ok(image.content_mut(file)?.live.len() as u64)
    }

    fn read_at(&mut self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let content = image.content_mut(file)?;
        let read = start.checked_add(buffer.len()).and_then(|end| content.live.get(start..end));
        buffer.copy_from_slice(read.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let room = image.room();
        let content = image.content_mut(file)?;
        let grown = (offset + bytes.len()).saturating_sub(content.live.len()) as u64;
        if grown <= room {
            content.change(Change::Write(offset, bytes.to_vec()));
            return Ok(());
        }
        // A full disk takes what fits.
        let fits = bytes.len().saturating_sub(usize::try_from(grown - room).unwrap_or(usize::MAX));
        content.change(Change::Write(offset, bytes.get(..fits).unwrap_or_default().to_vec()));
        Err(io::ErrorKind::StorageFull.into())
    }

    fn truncate(&mut self, file: FileName, length: u64) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        image.content_mut(file)?.change(Change::Truncate(length));
        Ok(())
    }

    fn allocate(&mut self, file: FileName, bytes: u64) -> io::Result<()> {
        if !self.image.lock().live.contains_key(&file) {
            self.create(file)?;
        }
        let mut image = self.image.lock();
        image.step()?;
        image.extend(file, bytes)
    }

    fn extend(&mut self, file: FileName, length: u64) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        image.extend(file, length)
    }

    fn sync(&mut self, file: FileName) -> io::Result<()> {
        let mut image = self.image.lock();
        let synced = image.step_sync();
        let is_dead = image.is_dead;
        let content = image.content_mut(file)?;
        if synced.is_err() && !is_dead {
            // What real systems do: the pages count as clean, so that no later sync writes them.
            content.forget_changes();
        }
        synced?;
        content.sync();
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step_sync()?;
        image.sync_names();
        Ok(())
    }

    fn rename(&mut self, from: FileName, to: FileName) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        let id = *image.live.get(&from).ok_or(io::ErrorKind::NotFound)?;
        // A crash between the two leaves both names, as some file systems do.
        image.change_name(NameChange::Set(to, id));
        image.change_name(NameChange::Remove(from));
        Ok(())
    }

    fn remove(&mut self, file: FileName) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        if !image.live.contains_key(&file) {
            return Err(io::ErrorKind::NotFound.into());
        }
        image.change_name(NameChange::Remove(file));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileName = FileName::Segment(1);

    #[test]
    fn only_what_was_synced_survives_a_total_loss() {
        let mut disk = SimulatedDisk::new();
        disk.create(FILE).unwrap();
        disk.write_at(FILE, 0, b"synced").unwrap();
        disk.sync(FILE).unwrap();
        assert_eq!(disk.after_total_loss().contents(FILE), None, "the name was not synced");
        disk.sync_directory().unwrap();
        disk.write_at(FILE, 6, b" and lost").unwrap();
        assert_eq!(disk.after_total_loss().contents(FILE).unwrap(), b"synced");
        assert_eq!(disk.after_kill().contents(FILE).unwrap(), b"synced and lost");
    }

    #[test]
    fn some_power_cuts_tear_a_write() {
        let mut disk = SimulatedDisk::new();
        disk.create(FILE).unwrap();
        disk.sync_directory().unwrap();
        disk.write_at(FILE, 0, &[7; 100]).unwrap();
        let after = |seed| disk.after_power_cut(seed).contents(FILE).unwrap();
        assert!((0..50).any(|seed| after(seed).is_empty()));
        assert!((0..50).any(|seed| after(seed) == [7; 100]));
        assert!((0..50).any(|seed| (1..100).contains(&after(seed).len())));
        assert_eq!(after(3), after(3));
    }

    #[test]
    fn a_full_disk_says_so_and_takes_what_fits() {
        let mut disk = SimulatedDisk::new();
        disk.create(FILE).unwrap();
        disk.set_bytes_max(Some(4));
        assert_eq!(disk.write_at(FILE, 0, b"123456").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.contents(FILE).unwrap(), b"1234");
        assert!(disk.allocate(FileName::Reserve, 1).is_err());
    }

    #[test]
    fn a_fault_comes_once_or_for_good() {
        let mut disk = SimulatedDisk::new();
        disk.fail_once(1);
        let tries = [disk.create(FILE).is_ok(), disk.create(FILE).is_ok(), disk.create(FILE).is_ok()];
        assert_eq!(tries, [true, false, true]);
        disk.fail_from(0);
        assert!(disk.list().is_err() && disk.list().is_err());
        disk.heal();
        disk.cut_power_at_sync(1);
        assert!(disk.sync(FILE).is_ok() && disk.sync(FILE).is_err() && disk.list().is_err());
    }
}
