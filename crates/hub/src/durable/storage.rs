//! The store of a hub, and whether it can still be relied on.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_store::{Directory, Error, Options, State, Store};
use tokio::sync::{Mutex, MutexGuard, watch};
use tracing::{error, info, warn};

use crate::data_dir::DataDir;
use crate::hub::HubError;

/// How often it is looked whether the store is full, or out of order.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The store that everything durable of one hub is in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    store: Store,
    /// Why nothing can be kept any more.
    failure: Arc<watch::Sender<Option<Error>>>,
    /// Whoever gives out numbers has this.
    numbering: Arc<Mutex<()>>,
}

impl Storage {
    /// Opens the store of a data folder.
    ///
    /// # Errors
    /// Another process has it, it is damaged, or the disk refuses.
    pub(crate) async fn open(data: &DataDir) -> Result<Self, HubError> {
        let path = data.store_path();
        let opening = tokio::task::spawn_blocking(move || {
            Directory::open(path).and_then(|disk| Store::open(disk, Options::default()))
        });
        match opening.await {
            Ok(Ok(store)) => Ok(Self::of(store)),
            Ok(Err(error)) => Err(refused(data, &error)),
            Err(error) => Err(HubError::Start(error.to_string())),
        }
    }

    /// Takes a store that somebody else opened.
    pub(crate) fn of(store: Store) -> Self {
        Self { store, failure: Arc::new(watch::Sender::new(None)), numbering: Arc::default() }
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Waits for the turn to give out numbers, which nobody else does meanwhile.
    pub(crate) async fn numbering(&self) -> MutexGuard<'_, ()> {
        self.numbering.lock().await
    }

    /// Tells whether the disk is full, as far as the store knows.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.store.state(), State::Full)
    }

    /// Notes an error after which the store must be opened again; others pass.
    pub(crate) fn note(&self, error: &Error) {
        if !matches!(error, Error::Full | Error::TooLarge { .. }) {
            self.failure.send_if_modified(|failure| {
                let is_first = failure.is_none();
                failure.get_or_insert_with(|| error.clone());
                is_first
            });
        }
    }

    /// Waits until nothing can be kept any more, and returns why.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn failed(&self) -> Error {
        let mut failure = self.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        failed.ok().and_then(|failure| failure.clone()).unwrap_or(Error::Closed)
    }

    /// Says when the disk is full and when there is room again, until the store is out of order; says that too.
    pub(crate) async fn watch(self) {
        let mut was_full = false;
        loop {
            let state = self.store.state();
            if let State::Poisoned(error) = &state {
                self.note(error);
            }
            let failure = self.failure.borrow().clone();
            if let Some(failure) = failure {
                error!(error = %failure, "The store is out of order: nothing is taken any more.");
                return;
            }
            let is_full = matches!(state, State::Full);
            match (was_full, is_full) {
                (false, true) => warn!(
                    "The disk is full: messages stay unacknowledged at their sources until there is room again."
                ),
                (true, false) => info!("There is room on the disk again: messages are taken again."),
                _ => {}
            }
            was_full = is_full;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Closes the store: what was handed in is kept, the folder is free for another process.
    pub(crate) async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.store.close());
        if let Err(error) = closing.await {
            error!(%error, "The store did not close in order.");
        }
    }
}

fn refused(data: &DataDir, error: &Error) -> HubError {
    let folder = data.path().display();
    let (cause, mend) = match error {
        Error::InUse { owner } => (
            format!("the data folder {folder} is in use by process {owner}"),
            format!("stop that hub first, for example with `kill -TERM {owner}`, or name another folder with --data DIR"),
        ),
        Error::Corrupt(damage) => (
            format!("the store in {folder} is damaged: {damage}"),
            "list all damage with `crosspoint store verify`, and save what is whole with `crosspoint store salvage TO`"
                .to_owned(),
        ),
        Error::Full => (
            format!("the disk of the data folder {folder} is full"),
            "free some space on that disk".to_owned(),
        ),
        other => (
            format!("the store in {folder} cannot be opened: {other}"),
            "see whether the disk is well and this user may read and write there".to_owned(),
        ),
    };
    HubError::Store { cause, mend }
}
