//! A disk in memory that can lose what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::Mutex;

use super::{Disk, FileName};

/// A disk in memory, with a live and a durable image; for tests, for simulation, and for a store that shall
/// not outlive its process.
///
/// Clones are handles of the same disk. It can fail at a chosen operation, run full, and have its power cut.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    image: Arc<Mutex<Image>>,
}

/// What a file system knows: names point to contents, and each side has changes that are not durable yet.
#[derive(Debug, Default)]
struct Image {
    contents: BTreeMap<u64, Content>,
    live: BTreeMap<FileName, u64>,
    durable: BTreeMap<FileName, u64>,
    /// Changes of names since the last sync of the directory, in order.
    renamed: Vec<NameChange>,
    contents_made: u64,
    bytes_max: Option<u64>,
    operations: u64,
    syncs: u64,
    fault: Option<Fault>,
    is_dead: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
    Extend(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(FileName, u64),
    Remove(FileName),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The operation with this number fails.
    Once(u64),
    /// It and everything after it fails.
    From(u64),
    /// The power goes when this sync begins.
    PowerAtSync(u64),
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
        let mut rng = Rng::with_seed(seed);
        let image = self.image.lock();
        let mut names = image.durable.clone();
        let kept = rng.usize(0..=image.renamed.len());
        image.renamed.iter().take(kept).for_each(|change| change.apply(&mut names));
        let contents = image.contents.iter().map(|(id, content)| (*id, content.torn(&mut rng))).collect();
        Self::of(names, contents, image.contents_made)
    }

    /// Returns a disk that has lost everything that was not synced.
    #[must_use]
    pub fn after_total_loss(&self) -> Self {
        let image = self.image.lock();
        let contents = image.contents.iter().map(|(id, content)| (*id, Content::of(content.durable.clone())));
        Self::of(image.durable.clone(), contents.collect(), image.contents_made)
    }

    /// Returns a disk with what is live now, all of it durable: what another process finds after this one was
    /// killed.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let image = self.image.lock();
        let contents = image.contents.iter().map(|(id, content)| (*id, Content::of(content.live.clone())));
        Self::of(image.live.clone(), contents.collect(), image.contents_made)
    }

    /// Returns what all files take together now, in bytes.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.image.lock().taken_bytes()
    }

    /// Returns the bytes of a file.
    #[must_use]
    pub fn contents(&self, file: FileName) -> Option<Vec<u8>> {
        let image = self.image.lock();
        let id = image.live.get(&file)?;
        image.contents.get(id).map(|content| content.live.clone())
    }

    /// Replaces the bytes of a file, live and durable, behind the store's back.
    pub fn set_contents(&self, file: FileName, bytes: Vec<u8>) {
        let mut image = self.image.lock();
        let id = image.fresh();
        image.contents.insert(id, Content::of(bytes));
        image.live.insert(file, id);
        image.durable.insert(file, id);
    }

    fn of(names: BTreeMap<FileName, u64>, contents: BTreeMap<u64, Content>, contents_made: u64) -> Self {
        let live = names.clone();
        let image = Image { contents, live, durable: names, contents_made, ..Image::default() };
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
        let id = image.fresh();
        image.contents.insert(id, Content::default());
        image.change_name(NameChange::Set(file, id));
        Ok(())
    }

    fn length(&mut self, file: FileName) -> io::Result<u64> {
        let mut image = self.image.lock();
        image.step()?;
        Ok(image.content(file)?.live.len() as u64)
    }

    fn read_at(&mut self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let content = image.content(file)?;
        let read = start.checked_add(buffer.len()).and_then(|end| content.live.get(start..end));
        buffer.copy_from_slice(read.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let room = image.room();
        let content = image.content(file)?;
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
        image.content(file)?.change(Change::Truncate(length));
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
        let content = image.content(file)?;
        if synced.is_err() && !is_dead {
            // What real systems do: the pages count as clean, so that no later sync writes them.
            content.pending.clear();
        }
        synced?;
        for change in std::mem::take(&mut content.pending) {
            change.apply(&mut content.durable);
        }
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let mut image = self.image.lock();
        image.step_sync()?;
        let image = &mut *image;
        image.renamed.drain(..).for_each(|change| change.apply(&mut image.durable));
        image.forget_unnamed();
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

impl Image {
    fn step(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let fails = match self.fault {
            Some(Fault::Once(at)) => number == at,
            Some(Fault::From(at)) => number >= at,
            Some(Fault::PowerAtSync(_)) | None => false,
        };
        if fails || self.is_dead { Err(io::Error::other("a simulated fault")) } else { Ok(()) }
    }

    fn step_sync(&mut self) -> io::Result<()> {
        if matches!(self.fault, Some(Fault::PowerAtSync(at)) if self.syncs >= at) {
            self.is_dead = true;
        }
        self.syncs += 1;
        self.step()
    }

    fn fresh(&mut self) -> u64 {
        self.contents_made += 1;
        self.contents_made
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.renamed.push(change);
    }

    fn content(&mut self, file: FileName) -> io::Result<&mut Content> {
        let id = self.live.get(&file).ok_or(io::ErrorKind::NotFound)?;
        self.contents.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn extend(&mut self, file: FileName, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let room = self.room();
        let content = self.content(file)?;
        if length.saturating_sub(content.live.len()) as u64 > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.change(Change::Extend(length));
        Ok(())
    }

    /// Returns how many bytes may still be written.
    fn room(&self) -> u64 {
        let Some(bytes_max) = self.bytes_max else { return u64::MAX };
        bytes_max.saturating_sub(self.taken_bytes())
    }

    fn taken_bytes(&self) -> u64 {
        let length = |id| self.contents.get(id).map_or(0, |content| content.live.len() as u64);
        self.live.values().map(length).sum()
    }

    /// Drops the contents that no name can lead to any more, whatever happens.
    fn forget_unnamed(&mut self) {
        let (live, durable) = (&self.live, &self.durable);
        self.contents.retain(|id, _| live.values().chain(durable.values()).any(|named| named == id));
    }
}

impl Content {
    fn of(bytes: Vec<u8>) -> Self {
        Self { live: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    fn torn(&self, rng: &mut Rng) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match (rng.u8(0..3), change) {
                (0, _) => {}
                (1, Change::Write(offset, written)) => {
                    let start = rng.usize(0..=written.len());
                    let end = rng.usize(start..=written.len());
                    let part = written.get(start..end).unwrap_or_default().to_vec();
                    Change::Write(offset + start, part).apply(&mut bytes);
                }
                _ => change.apply(&mut bytes),
            }
        }
        Self::of(bytes)
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(length) => bytes.truncate(*length),
            Self::Extend(length) => bytes.resize(bytes.len().max(*length), 0),
            Self::Write(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(place) = bytes.get_mut(*offset..end) {
                    place.copy_from_slice(written);
                }
            }
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<FileName, u64>) {
        match self {
            Self::Set(name, id) => names.insert(*name, *id),
            Self::Remove(name) => names.remove(name),
        };
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
