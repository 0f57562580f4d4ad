//! Notices when the project file, or a file that it names, changes.
//!
//! The folders of the files are watched, so that a file which is replaced stays watched, and so are those that links lead
//! to. What counts is whether a file looks other than when it was last told: so it does not matter by which name
//! it was changed (a link of a mounted secret is turned somewhere else), nor what else happens in the folder. Where the
//! system tells nothing, as on some network drives, a look once a minute does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How long files must be left alone before they count as written: editors write in several steps, and a certificate and
/// its key are two files.
const QUIET: Duration = Duration::from_millis(200);

/// How often files are looked at without being told.
const LOOK: Duration = Duration::from_secs(60);

/// Watches a project file and the files that it names.
#[derive(Debug)]
pub struct ProjectWatch {
    project: PathBuf,
    /// How each file looked when it was last told.
    seen: BTreeMap<PathBuf, Option<Look>>,
    told: mpsc::Receiver<()>,
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
}

/// How a file looks, as far as a change of it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    /// Where links lead to.
    place: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

/// Why a file cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("changes of {} cannot be noticed: {source}", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

impl ProjectWatch {
    /// Begins to watch a project file. [`follow`](Self::follow) adds what it names.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn start(file: &Path) -> Result<Self, WatchError> {
        let failed = |source| WatchError { path: file.to_owned(), source };
        let (sender, told) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // One that waits already says the same.
                sender.try_send(()).unwrap_or_default();
            }
        });
        let mut watch = Self {
            project: file.to_owned(),
            seen: BTreeMap::new(),
            told,
            watcher: watcher.map_err(failed)?,
            folders: BTreeSet::new(),
        };
        watch.seen.insert(file.to_owned(), look_at(file));
        for folder in folders_of(file) {
            watch.watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed)?;
            watch.folders.insert(folder);
        }
        Ok(watch)
    }

    /// Watches these files besides the project file, and no others any more. How they look now is what they are
    /// compared with.
    ///
    /// A folder that cannot be watched is looked at once a minute.
    pub fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let followed = |path: &PathBuf| *path == self.project || files.contains(path);
        self.seen.retain(|path, _| followed(path));
        for file in files {
            self.seen.entry(file.clone()).or_insert_with(|| look_at(file));
        }
        self.watch_folders();
    }

    /// Waits until a file has changed and all have been left alone for a moment.
    ///
    /// # Cancel safety
    /// A change is not lost when this is dropped before it is told.
    pub async fn changed(&mut self) {
        loop {
            let now = self.looks();
            if now != self.seen {
                self.seen = self.settled(now).await;
                self.watch_folders();
                return;
            }
            // Told or not, the look decides.
            if timeout(LOOK, self.told.recv()).await == Ok(None) {
                sleep(LOOK).await;
            }
            // What comes in one go is looked at once.
            sleep(QUIET).await;
        }
    }

    /// Waits until nothing changes any more.
    async fn settled(&self, mut last: BTreeMap<PathBuf, Option<Look>>) -> BTreeMap<PathBuf, Option<Look>> {
        loop {
            sleep(QUIET).await;
            let now = self.looks();
            if now == last {
                return now;
            }
            last = now;
        }
    }

    fn looks(&self) -> BTreeMap<PathBuf, Option<Look>> {
        self.seen.keys().map(|path| (path.clone(), look_at(path))).collect()
    }

    /// Watches the folders that the files are in now, and no others.
    fn watch_folders(&mut self) {
        let wanted: BTreeSet<PathBuf> = self.seen.keys().flat_map(|path| folders_of(path)).collect();
        for folder in self.folders.difference(&wanted) {
            // One that is gone is not watched any more.
            self.watcher.unwatch(folder).unwrap_or_default();
        }
        let watcher = &mut self.watcher;
        self.folders = wanted
            .into_iter()
            .filter(|folder| {
                self.folders.contains(folder) || watcher.watch(folder, RecursiveMode::NonRecursive).is_ok()
            })
            .collect();
    }
}

/// Returns the folder of a file, and that of the file which links lead to.
fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let behind_links = file.canonicalize().ok().and_then(|place| place.parent().map(Path::to_owned));
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    [Some(folder), behind_links].into_iter().flatten().collect()
}

/// Looks at a file; `None` when it is not there.
fn look_at(file: &Path) -> Option<Look> {
    let place = file.canonicalize().ok()?;
    let metadata = place.metadata().ok()?;
    Some(Look { place, bytes: metadata.len(), modified: metadata.modified().ok() })
}
