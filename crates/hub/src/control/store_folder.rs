//! The store of a hub, looked at as files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crosspoint_store::{Batch, Directory, Disk, FileName, Options, Report, Salvaged, Store, salvage, verify};
use parking_lot::Mutex;

use super::failure::ControlError;
use super::watched::{Syncs, Watched};

/// The folder of the store in a data directory.
const STORE: &str = "store";

/// Tables that name messages by their positions, and figures that count by them: `docs/formats/records.md`.
const BY_POSITION: [u32; 5] = [4, 19, 20, 21, 22];

/// Rows that are deleted in one batch.
const ROWS: usize = 1_024;

/// The folder in which a hub that has stopped keeps its store. Nothing is made where there is none.
#[derive(Debug, Clone)]
pub struct StoreFolder {
    path: PathBuf,
}

/// What the files of a store take up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSizes {
    /// How many segments the log has.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Bytes of the checkpoint.
    pub checkpoint_bytes: u64,
    /// Bytes that are kept allocated for a full disk.
    pub reserve_bytes: u64,
}

impl FileSizes {
    /// Returns the bytes of all files.
    pub const fn total_bytes(&self) -> u64 {
        self.segment_bytes + self.checkpoint_bytes + self.reserve_bytes
    }
}

/// How far a long run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that the files have which are to be read; what is saved is read a second time.
    pub total: u64,
    /// Bytes that were written elsewhere.
    pub written: u64,
}

/// Who is told how far it is.
type Tell = Box<dyn FnMut(Progress) + Send>;

/// Progress, and who is told.
pub(super) struct Counted {
    state: Mutex<(Progress, Tell)>,
}

impl Counted {
    pub(super) fn add(&self, more: Progress) {
        let (progress, tell) = &mut *self.state.lock();
        progress.read += more.read;
        progress.total += more.total;
        progress.written += more.written;
        tell(*progress);
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Counted").field(&self.state.lock().0).finish()
    }
}

impl StoreFolder {
    /// Returns the store of a data directory.
    pub fn of(data: &Path) -> Self {
        Self { path: data.join(STORE) }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads every byte of the store and changes none.
    ///
    /// Blocks. Damage is no error: it is in the report.
    ///
    /// # Errors
    /// There is no store, a hub has it open, or the disk fails.
    pub fn verify(&self, tell: impl FnMut(Progress) + Send + 'static) -> Result<Report, ControlError> {
        let mut disk = self.watched(counted(tell))?;
        verify(&mut disk).map_err(|error| self.failed(error))
    }

    /// Reads what is whole and writes it into a new store in a folder that is empty or not there.
    ///
    /// There messages have new positions, so that what is kept by positions is left out: exchanges at QoS 2 that were open
    /// begin anew, what was dropped out of turn waits again, and outboxes count anew.
    ///
    /// Blocks. Ends when everything is synced; a target that it left before is no store.
    ///
    /// # Errors
    /// There is no store, a hub has it open, the target is not empty, or a disk fails.
    pub fn salvage(
        &self,
        to: &Path,
        tell: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Salvaged, ControlError> {
        let counted = counted(tell);
        let mut disk = self.watched(counted.clone())?;
        refuse_occupied(to)?;
        let failed = |error| ControlError::of_store(to, error);
        let target = Watched::new(Directory::open(to).map_err(failed)?, counted, Syncs::AtTheEnd);
        let saved = salvage(&mut disk, target, Options::default()).map_err(|error| match error {
            // Only the target is written.
            crosspoint_store::Error::Full => failed(error),
            other => self.failed(other),
        })?;
        let mut target = Directory::open(to).map_err(failed)?;
        sync_all(&mut target).map_err(|error| ControlError::of_system(to, &error))?;
        Store::open(target, Options::default()).and_then(|store| forget_positions(&store)).map_err(failed)?;
        Ok(saved)
    }

    /// Opens the store as a hub does.
    ///
    /// # Errors
    /// There is no store, a hub has it open, it is damaged, or the disk fails.
    pub fn open(&self) -> Result<Store, ControlError> {
        Store::open(self.lock()?, Options::default()).map_err(|error| self.failed(error))
    }

    /// Measures the files, also while a hub has them open.
    ///
    /// # Errors
    /// There is no store, or its folder cannot be read.
    pub fn sizes(&self) -> Result<FileSizes, ControlError> {
        self.look()?;
        let mut sizes = FileSizes::default();
        for entry in self.path.read_dir().map_err(|error| ControlError::of_system(&self.path, &error))? {
            // One that has gone meanwhile takes up nothing.
            let Some(entry) = entry.ok() else { continue };
            let Some(bytes) = entry.metadata().ok().map(|file| file.len()) else { continue };
            match entry.file_name().to_str().and_then(FileName::parse) {
                Some(FileName::Segment(_)) => {
                    sizes.segments += 1;
                    sizes.segment_bytes += bytes;
                }
                Some(FileName::Checkpoint(_) | FileName::Temporary) => sizes.checkpoint_bytes += bytes,
                Some(FileName::Reserve) => sizes.reserve_bytes += bytes,
                None => {}
            }
        }
        Ok(sizes)
    }

    /// Tells whether a store is there, without making one.
    fn look(&self) -> Result<(), ControlError> {
        let entries = self.path.read_dir().into_iter().flatten().filter_map(Result::ok);
        let mut names = entries.filter_map(|entry| entry.file_name().to_str().and_then(FileName::parse));
        if names.any(|name| matches!(name, FileName::Segment(_) | FileName::Checkpoint(_))) {
            return Ok(());
        }
        Err(ControlError::NoStore { path: self.path.clone() })
    }

    fn lock(&self) -> Result<Directory, ControlError> {
        self.look()?;
        Directory::open(&self.path).map_err(|error| self.failed(error))
    }

    fn watched(&self, counted: Arc<Counted>) -> Result<Watched<Directory>, ControlError> {
        let mut directory = self.lock()?;
        let total =
            read_bytes(&mut directory).map_err(|error| ControlError::of_system(&self.path, &error))?;
        counted.add(Progress { total, ..Progress::default() });
        Ok(Watched::new(directory, counted, Syncs::Each))
    }

    fn failed(&self, error: crosspoint_store::Error) -> ControlError {
        ControlError::of_store(&self.path, error)
    }
}

fn counted(tell: impl FnMut(Progress) + Send + 'static) -> Arc<Counted> {
    Arc::new(Counted { state: Mutex::new((Progress::default(), Box::new(tell))) })
}

/// Returns how many bytes a look at everything reads.
fn read_bytes(directory: &mut Directory) -> io::Result<u64> {
    let mut total = 0;
    for file in directory.list()? {
        if matches!(file, FileName::Segment(_) | FileName::Checkpoint(_)) {
            total += directory.length(file)?;
        }
    }
    Ok(total)
}

fn refuse_occupied(to: &Path) -> Result<(), ControlError> {
    let is_occupied = match to.read_dir() {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => true,
        Err(error) => return Err(ControlError::of_system(to, &error)),
    };
    if is_occupied { Err(ControlError::Occupied { path: to.to_owned() }) } else { Ok(()) }
}

/// Deletes what would be said of other messages now.
fn forget_positions(store: &Store) -> Result<(), crosspoint_store::Error> {
    for table in BY_POSITION {
        loop {
            let rows = store.scan(table, None, ROWS);
            if rows.is_empty() {
                break;
            }
            let mut batch = Batch::new();
            for (key, _) in rows {
                batch.delete(table, key);
            }
            store.commit(batch).wait()?;
        }
    }
    Ok(())
}

fn sync_all(directory: &mut Directory) -> io::Result<()> {
    for file in directory.list()? {
        directory.sync(file)?;
    }
    directory.sync_directory()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn open(path: &Path) -> Store {
        Store::open(Directory::open(path).unwrap(), Options::default().reserve_bytes(0)).unwrap()
    }

    #[test]
    fn what_is_saved_says_nothing_of_positions_that_other_messages_have_now() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (StoreFolder::of(folder.path()), folder.path().join("saved"));
        let store = open(from.path());
        for number in 0..1_100_u64 {
            let mut batch = Batch::new();
            for table in [4, 6, 16, 18, 19, 20, 21, 22] {
                batch.put(table, number.to_be_bytes().to_vec().into(), Bytes::from_static(b"x"));
            }
            batch.publish(Bytes::from_static(b"message"), [(9, 0)]);
            store.commit(batch).wait().unwrap();
        }
        store.close();
        let saved = from.salvage(&to, |_| {}).unwrap();
        assert_eq!((saved.messages, saved.messages_lost), (1_100, 0));
        let store = open(&to);
        let rows = |table| store.scan(table, None, usize::MAX).len();
        assert_eq!([4, 19, 20, 21, 22].map(rows), [0; 5]);
        assert_eq!([6, 16, 18].map(rows), [1_100; 3]);
        assert_eq!(store.queue_status(9).unwrap().waiting, 1_100);
    }

    #[test]
    fn progress_reaches_what_there_is_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let from = StoreFolder::of(folder.path());
        let store = open(from.path());
        let mut batch = Batch::new();
        batch.publish(vec![1; 100_000].into(), [(1, 0)]);
        store.commit(batch).wait().unwrap();
        store.close();
        let (sender, told) = std::sync::mpsc::channel();
        from.verify(move |progress| sender.send(progress).unwrap()).unwrap();
        let told: Vec<Progress> = told.iter().collect();
        let sizes = from.sizes().unwrap();
        assert_eq!(told.first().unwrap().total, sizes.segment_bytes + sizes.checkpoint_bytes);
        assert!(told.is_sorted_by_key(|progress| progress.read));
        assert_eq!(told.last().unwrap().read, told.last().unwrap().total);
    }
}
