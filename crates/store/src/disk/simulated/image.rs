//! What a simulated disk holds: names that point to contents, and the fault that waits for its moment.

use std::collections::BTreeMap;
use std::io;

use fastrand::Rng;

use super::content::{Change, Content};
use crate::disk::FileName;

/// What a file system knows: names point to contents, and each side has changes that are not durable yet.
#[derive(Debug, Default)]
pub(super) struct Image {
    contents: BTreeMap<u64, Content>,
    pub(super) live: BTreeMap<FileName, u64>,
    durable: BTreeMap<FileName, u64>,
    /// Changes of names since the last sync of the directory, in order.
    renamed: Vec<NameChange>,
    contents_made: u64,
    pub(super) bytes_max: Option<u64>,
    pub(super) operations: u64,
    pub(super) syncs: u64,
    pub(super) fault: Option<Fault>,
    pub(super) is_dead: bool,
}

/// One change of the names.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Set(FileName, u64),
    Remove(FileName),
}

/// What goes wrong, counted in operations or syncs since the disk was made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The operation with this number fails.
    Once(u64),
    /// It and everything after it fails.
    From(u64),
    /// The power goes when this sync begins.
    PowerAtSync(u64),
}

impl Image {
    /// Returns what may be found after the power failed now.
    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> Self {
        let mut names = self.durable.clone();
        let kept = rng.usize(0..=self.renamed.len());
        self.renamed.iter().take(kept).for_each(|change| change.apply(&mut names));
        self.found(names, |content| content.torn(rng))
    }

    /// Returns what is left when everything is lost that was not synced.
    pub(super) fn after_total_loss(&self) -> Self {
        self.found(self.durable.clone(), Content::synced)
    }

    /// Returns what is live now, all of it durable.
    pub(super) fn after_kill(&self) -> Self {
        self.found(self.live.clone(), |content| Content::of(content.live.clone()))
    }

    fn found(&self, names: BTreeMap<FileName, u64>, mut content: impl FnMut(&Content) -> Content) -> Self {
        let contents = self.contents.iter().map(|(id, of)| (*id, content(of))).collect();
        let contents_made = self.contents_made;
        Self { contents, live: names.clone(), durable: names, contents_made, ..Self::default() }
    }

    /// Counts an operation that may fail, and lets it fail when its moment has come.
    pub(super) fn step(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let fails = match self.fault {
            Some(Fault::Once(at)) => number == at,
            Some(Fault::From(at)) => number >= at,
            Some(Fault::PowerAtSync(_)) | None => false,
        };
        if fails || self.is_dead { Err(io::Error::other("a simulated fault")) } else { Ok(()) }
    }

    /// The same for a sync, with which the power may go.
    pub(super) fn step_sync(&mut self) -> io::Result<()> {
        if matches!(self.fault, Some(Fault::PowerAtSync(at)) if self.syncs >= at) {
            self.is_dead = true;
        }
        self.syncs += 1;
        self.step()
    }

    /// Makes a file of no bytes under a name.
    pub(super) fn create(&mut self, file: FileName) {
        let id = self.add(Content::default());
        self.change_name(NameChange::Set(file, id));
    }

    /// Puts bytes under a name, live and durable.
    pub(super) fn replace(&mut self, file: FileName, bytes: Vec<u8>) {
        let id = self.add(Content::of(bytes));
        self.live.insert(file, id);
        self.durable.insert(file, id);
    }

    fn add(&mut self, content: Content) -> u64 {
        self.contents_made += 1;
        self.contents.insert(self.contents_made, content);
        self.contents_made
    }

    /// Makes every change of names durable, and drops the contents to which no name can lead any more.
    pub(super) fn sync_names(&mut self) {
        self.renamed.drain(..).for_each(|change| change.apply(&mut self.durable));
        let (live, durable) = (&self.live, &self.durable);
        self.contents.retain(|id, _| live.values().chain(durable.values()).any(|named| named == id));
    }

    pub(super) fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.renamed.push(change);
    }

    /// Returns the live content of a file, to read or to change.
    pub(super) fn content_mut(&mut self, file: FileName) -> io::Result<&mut Content> {
        let id = self.live.get(&file).ok_or(io::ErrorKind::NotFound)?;
        self.contents.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn extend(&mut self, file: FileName, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let room = self.room();
        let content = self.content_mut(file)?;
        if length.saturating_sub(content.live.len()) as u64 > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.change(Change::Extend(length));
        Ok(())
    }

    /// Returns the live bytes of a file.
    pub(super) fn bytes(&self, file: FileName) -> Option<&[u8]> {
        self.contents.get(self.live.get(&file)?).map(|content| content.live.as_slice())
    }

    /// Returns how many bytes may still be written.
    pub(super) fn room(&self) -> u64 {
        let Some(bytes_max) = self.bytes_max else { return u64::MAX };
        bytes_max.saturating_sub(self.taken_bytes())
    }

    pub(super) fn taken_bytes(&self) -> u64 {
        let length = |id| self.contents.get(id).map_or(0, |content| content.live.len() as u64);
        self.live.values().map(length).sum()
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
