//! Notices when the project file, or a file that it names, changes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// How long a file must be left alone before it counts as written: editors write in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// Watches one project file.
#[derive(Debug)]
pub struct ProjectWatch {
    changes: mpsc::Receiver<()>,
    /// Stops watching when dropped.
    _watcher: RecommendedWatcher,
}

/// Why a file cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("changes of {} cannot be noticed: {source}", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

impl ProjectWatch {
    /// Begins to watch a file. Its folder is watched, so that a file which is replaced stays watched.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn start(file: &Path) -> Result<Self, WatchError> {
        let failed = |source| WatchError { path: file.to_owned(), source };
        let name: OsString = file.file_name().unwrap_or_default().to_owned();
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (sender, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let is_ours = event.paths.iter().any(|path| path.file_name() == Some(&name));
            if is_ours && !event.kind.is_access() {
                // One that waits already says the same.
                sender.try_send(()).unwrap_or_default();
            }
        })
        .map_err(failed)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(failed)?;
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits until the file has changed and has been left alone for a moment.
    ///
    /// # Cancel safety
    /// A change is not lost when this is dropped before it came; one that is being waited out is.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            return std::future::pending().await;
        }
        while tokio::time::timeout(QUIET, self.changes.recv()).await.is_ok_and(|change| change.is_some()) {}
    }
}
