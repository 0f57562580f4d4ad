use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::options::Workers;

/// The runtimes on which connections live. A connection stays on the one where it was born.
#[derive(Debug, Clone)]
pub(crate) struct WorkerPool {
    workers: Arc<[Worker]>,
    next: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    thread: parking_lot::Mutex<Option<OwnThread>>,
}

/// A thread of the pool's own, which runs until it is told to stop.
#[derive(Debug)]
struct OwnThread {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl WorkerPool {
    /// Starts the threads, each with a runtime of its own.
    pub(crate) fn start(workers: Workers) -> io::Result<Self> {
        let workers: io::Result<Vec<Worker>> = match workers {
            Workers::Here => {
                Ok(vec![Worker { runtime: Handle::current(), thread: parking_lot::Mutex::new(None) }])
            }
            Workers::Threads(0) => (0..thread::available_parallelism()?.get()).map(Worker::start).collect(),
            Workers::Threads(count) => (0..count).map(Worker::start).collect(),
        };
        Ok(Self { workers: workers?.into(), next: Arc::new(AtomicUsize::new(0)) })
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Returns the runtime of the first worker.
    pub(crate) fn first(&self) -> Option<&Handle> {
        self.workers.first().map(|worker| &worker.runtime)
    }

    /// Returns the worker for the next connection: its number and its runtime.
    pub(crate) fn next(&self) -> Option<(usize, &Handle)> {
        let number = self.next.fetch_add(1, Relaxed) % self.workers.len().max(1);
        self.workers.get(number).map(|worker| (number, &worker.runtime))
    }

    /// Stops the threads; what still runs on them is dropped.
    pub(crate) async fn stop(&self) {
        let threads: Vec<OwnThread> =
            self.workers.iter().filter_map(|worker| worker.thread.lock().take()).collect();
        if threads.is_empty() {
            return;
        }
        let joined = tokio::task::spawn_blocking(move || {
            for OwnThread { stop, thread } in threads {
                // A thread that has ended by itself hears nothing and needs nothing.
                stop.send(()).unwrap_or_default();
                thread.join().unwrap_or_default();
            }
        });
        joined.await.unwrap_or_default();
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(format!("broker-{number}"))
            .spawn(move || wait_on(&runtime, stopped))?;
        let thread = parking_lot::Mutex::new(Some(OwnThread { stop, thread }));
        Ok(Self { runtime: handle, thread })
    }
}

fn wait_on(
    runtime: &tokio::runtime::Runtime,
    stopped: impl Future<Output = Result<(), oneshot::error::RecvError>>,
) {
    // A pool that was dropped without being stopped ends its threads as well.
    runtime.block_on(stopped).unwrap_or_default();
}
