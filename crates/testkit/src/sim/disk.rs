//! The disk of a simulated machine, which outlives what runs there, and the store that is open on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_store::{Disk, Error, FileName, Options, SimulatedDisk, Store, Writer};
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::network::Process;
use super::trace::Trace;

/// Segments are small, so that few messages bring new ones, checkpoints and copies.
const SEGMENT_BYTES: u64 = 16 << 10;

/// What the log takes ahead: few frames.
const ROOM_BYTES: u64 = 1 << 10;

/// What is kept for a full disk.
const RESERVE_BYTES: u64 = 64 << 10;

/// The longest that a batch waits for the next sync without anything being wrong, in milliseconds.
const SYNC_MS_MAX: u64 = 8;

/// How what is on a disk is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Everything that was written is there.
    Nothing,
    /// What was not synced is there, lost or torn.
    Unsynced,
}

/// A disk with whatever it holds.
pub(super) struct MachineDisk {
    disk: SimulatedDisk,
    rng: Rng,
    trace: Trace,
    open: Option<Open>,
}

/// A store that is open.
struct Open {
    writer: JoinHandle<()>,
    trap: Trap,
}

/// The end of a process in the middle of what its disk does.
#[derive(Clone)]
pub(super) struct Trap {
    state: Arc<Mutex<TrapState>>,
    sprung: Arc<Notify>,
}

struct TrapState {
    process: Process,
    /// After how many operations it ends, and how.
    set: Option<(u64, Loss)>,
    /// What the next process finds.
    left: Option<SimulatedDisk>,
    seed: u64,
}

impl MachineDisk {
    pub(super) fn new(seed: u64, trace: &Trace) -> Self {
        Self { disk: SimulatedDisk::new(), rng: Rng::with_seed(seed), trace: trace.clone(), open: None }
    }

    /// Opens the store for a process, driven by a task of its own.
    pub(super) fn open(&mut self, process: &Process) -> Result<Store, Error> {
        let trap = Trap::new(process.clone(), self.rng.u64(..));
        let disk = TrappedDisk { disk: self.disk.clone(), trap: trap.clone() };
        let options =
            Options::new().segment_bytes(SEGMENT_BYTES).room_bytes(ROOM_BYTES).reserve_bytes(RESERVE_BYTES);
        let (store, writer) = Store::open_driven(disk, options)?;
        self.trace.note(format_args!("a store opens at {}", store.watermark()));
        let writer = tokio::spawn(drive(writer, self.rng.fork()));
        self.open = Some(Open { writer, trap });
        Ok(store)
    }

    /// Waits for the end of the store that every handle has left.
    pub(super) async fn closed(&mut self) {
        if let Some(Open { writer, .. }) = self.open.take() {
            // It has been stopped by nobody, so it has ended by itself.
            writer.await.unwrap_or_default();
        }
    }

    /// Ends the process in which the store is open.
    pub(super) fn crash(&mut self, loss: Loss) {
        let Some(Open { writer, trap }) = self.open.take() else { return };
        writer.abort();
        self.disk = trap.state.lock().left_behind(&self.disk, loss);
        self.trace.note(format_args!("a disk is found with the loss of {loss:?}"));
    }

    /// Returns what ends the process in the middle of an operation.
    pub(super) fn trap(&self) -> Option<Trap> {
        self.open.as_ref().map(|open| open.trap.clone())
    }

    /// Lets an operation that is soon to come fail, once.
    pub(super) fn fail_soon(&mut self) {
        let operation = self.rng.u64(0..20);
        self.disk.fail_once(operation);
    }

    /// Lets the disk be full, with little room left; or not any more.
    pub(super) fn set_full(&mut self, is_full: bool) {
        let room = self.rng.u64(0..30_000);
        let used: u64 = self.files().iter().map(|bytes| bytes.len() as u64).sum();
        self.disk.set_bytes_max(is_full.then_some(used + room));
    }

    fn files(&self) -> Vec<Vec<u8>> {
        let names = self.disk.clone().list().unwrap_or_default();
        names.into_iter().filter_map(|name| self.disk.contents(name)).collect()
    }

    /// Returns how many messages at QoS 1 and 2 wait in each queue of the store that was closed, where some do.
    pub(super) fn waiting(&self) -> Result<Vec<(u64, usize)>, Error> {
        let options = Options::new().reserve_bytes(0);
        let (store, mut writer) = Store::open_driven(self.disk.after_kill(), options)?;
        let mut waiting = Vec::new();
        for queue in store.queues() {
            let ticket = store.read(queue, 0, usize::MAX, usize::MAX);
            writer.turn();
            // The lowest bits of an entry's flags are its QoS: `docs/formats/records.md`.
            let promised = ticket.wait()?.iter().filter(|entry| entry.flags & 3 != 0).count();
            if promised > 0 {
                waiting.push((queue, promised));
            }
        }
        Ok(waiting)
    }
}

/// Writes and syncs what arrives, after a while; one sync serves everything that came meanwhile.
async fn drive(mut writer: Writer, mut rng: Rng) {
    while writer.arrived().await {
        let is_slow = rng.u8(0..100) == 0;
        let wait_ms = if is_slow { rng.u64(0..800) } else { rng.u64(0..=SYNC_MS_MAX) };
        sleep(Duration::from_millis(wait_ms)).await;
        writer.turn();
        // What is done when nothing else is: the pieces of a checkpoint.
        while rng.u8(0..4) != 0 && writer.turn() {}
        writer.sync();
    }
    writer.close();
}

impl Trap {
    fn new(process: Process, seed: u64) -> Self {
        let state = TrapState { process, set: None, left: None, seed };
        Self { state: Arc::new(Mutex::new(state)), sprung: Arc::default() }
    }

    /// Sets it: after so many operations of the disk the process ends.
    pub(super) fn set(&self, operations: u64, loss: Loss) {
        self.state.lock().set = Some((operations, loss));
    }

    /// Waits until the process has ended that way.
    pub(super) async fn sprung(&self) {
        self.sprung.notified().await;
    }

    /// Counts an operation; from the one on that was chosen none is done.
    fn step(&self, disk: &SimulatedDisk) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.left.is_some() {
            return Err(io::Error::other("the process is no more"));
        }
        match &mut state.set {
            Some((0, loss)) => {
                let loss = *loss;
                state.left = Some(state.left_behind(disk, loss));
                match loss {
                    Loss::Nothing => state.process.kill(),
                    Loss::Unsynced => state.process.power_off(),
                }
                self.sprung.notify_one();
                Err(io::Error::other("the process is no more"))
            }
            Some((operations, _)) => {
                *operations -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl TrapState {
    fn left_behind(&self, disk: &SimulatedDisk, loss: Loss) -> SimulatedDisk {
        match (&self.left, loss) {
            (Some(left), _) => left.clone(),
            (None, Loss::Nothing) => disk.after_kill(),
            (None, Loss::Unsynced) => disk.after_power_cut(self.seed),
        }
    }
}

/// A disk on which a process can end in the middle of anything.
struct TrappedDisk {
    disk: SimulatedDisk,
    trap: Trap,
}

impl Disk for TrappedDisk {
    fn list(&mut self) -> io::Result<Vec<FileName>> {
        self.trap.step(&self.disk)?;
        self.disk.list()
    }

    fn create(&mut self, file: FileName) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.create(file)
    }

    fn length(&mut self, file: FileName) -> io::Result<u64> {
        self.trap.step(&self.disk)?;
        self.disk.length(file)
    }

    fn read_at(&mut self, file: FileName, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.read_at(file, offset, buffer)
    }

    fn write_at(&mut self, file: FileName, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.write_at(file, offset, bytes)
    }

    fn truncate(&mut self, file: FileName, length: u64) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.truncate(file, length)
    }

    fn allocate(&mut self, file: FileName, bytes: u64) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.allocate(file, bytes)
    }

    fn extend(&mut self, file: FileName, length: u64) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.extend(file, length)
    }

    fn sync(&mut self, file: FileName) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.sync(file)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.sync_directory()
    }

    fn rename(&mut self, from: FileName, to: FileName) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.rename(from, to)
    }

    fn remove(&mut self, file: FileName) -> io::Result<()> {
        self.trap.step(&self.disk)?;
        self.disk.remove(file)
    }
}
