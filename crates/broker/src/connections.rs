//! Which connections are open, whatever their stage: how many there may be, and how they are cut.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle};
use tracing::warn;

use crate::{counters::count, shared::Shared};

/// The tasks of all connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Open, FxBuildHasher>>,
    last_number: AtomicU64,
    /// Whether connections are being turned away: that is told once.
    is_full: AtomicBool,
    /// Whether all have been cut: whoever comes late is cut as well.
    is_cut: AtomicBool,
    gone: Notify,
}

#[derive(Debug)]
struct Open {
    /// The number of the listener through which it came in.
    listener: u64,
    /// `None` for a moment, until the task has been started.
    task: Option<AbortHandle>,
}

/// A connection's place among those that are open; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Connections {
    /// Starts the task of a connection, unless there are as many as may be.
    pub(crate) fn spawn<T>(
        shared: &Arc<Shared>,
        listener: u64,
        runtime: &Handle,
        task: impl FnOnce(Place) -> T,
    ) where
        T: Future<Output = ()> + Send + 'static,
    {
        let connections = &shared.connections;
        let mut open = connections.open.lock();
        if open.len() >= shared.options.connections_max {
            drop(open);
            return connections.turn_away(shared);
        }
        let place = Place::of(shared);
        let number = place.number;
        open.insert(number, Open { listener, task: None });
        // A task may end at once, or be dropped by a runtime that has ended: it gives its place back under the lock.
        drop(open);
        let task = runtime.spawn(task(place)).abort_handle();
        if let Some(open) = connections.open.lock().get_mut(&number) {
            open.task = Some(task.clone());
        }
        if connections.is_cut.load(SeqCst) {
            task.abort();
        }
    }

    /// Returns a number that no connection or listener has had.
    pub(crate) fn new_number(&self) -> u64 {
        self.last_number.fetch_add(1, Relaxed)
    }

    fn turn_away(&self, shared: &Shared) {
        count(&shared.counters(usize::MAX).connections_refused, 1);
        if !self.is_full.swap(true, Relaxed) {
            let max = shared.options.connections_max;
            warn!(max, "Connections are closed at once: there are as many as may be.");
        }
    }

    /// Returns how many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the last one has gone; there must be one.
    pub(crate) async fn gone(&self) {
        self.gone.notified().await;
    }

    /// Cuts all that are open, and those that are about to be.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, SeqCst);
        self.cut_if(|_| true);
    }

    /// Cuts those that came in through a listener.
    pub(crate) fn cut_of(&self, listener: u64) {
        self.cut_if(|open| open.listener == listener);
    }

    fn cut_if(&self, is_meant: impl Fn(&Open) -> bool) {
        // Aborted outside of the lock: a task that is dropped at once gives its place back.
        let open = self.open.lock();
        let meant: Vec<_> =
            open.values().filter(|open| is_meant(open)).filter_map(|open| open.task.clone()).collect();
        drop(open);
        meant.iter().for_each(AbortHandle::abort);
    }

    fn leave(&self, number: u64) {
        let mut open = self.open.lock();
        open.remove(&number);
        if open.is_empty() {
            // Many that were open once must not leave a large table.
            open.shrink_to(64);
            self.gone.notify_one();
        }
        self.is_full.store(false, Relaxed);
    }
}

impl Place {
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), number: shared.connections.new_number() }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.connections.leave(self.number);
    }
}
