//! The machines that can fail: the hub's, and those of the remote brokers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::{Broker, BrokerHandle, BrokerOptions, Durability, QueueLimits, Workers};
use crosspoint_hub::config::Plan;
use crosspoint_hub::{DataDir, Environment, Hub};
use crosspoint_store::Store;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::timeout;

use super::device::Bench;
use super::disk::{Loss, MachineDisk};
use super::ledger::{Forgot, Place};
use super::network::Process;
use super::scenario::{Change, HUB, Scenario};
use project::{data_folder, plan};

mod looking;
mod project;

/// How long a machine that is to end in the middle of what its disk does has for it.
const TRAP_MAX: Duration = Duration::from_secs(10);

/// How long Wills wait for their devices after a start.
const WILL_GRACE: Duration = Duration::from_secs(7);

/// How a machine goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Down {
    /// In order.
    Stopped,
    /// Its process is killed.
    Killed,
    /// Its power fails.
    Unpowered,
}

/// What runs on a machine.
enum Running {
    Hub(Box<Hub>),
    Broker(Box<Broker>),
}

/// A machine with a broker on it, or with the hub.
pub(super) struct Machine {
    pub(super) place: Place,
    bench: Bench,
    seed: u64,
    plan: Option<(Plan, TempDir)>,
    running: Arc<Mutex<Option<Running>>>,
    process: Option<Process>,
    /// Where it keeps what it has, unless in memory.
    disk: Option<MachineDisk>,
    /// What is open on it.
    store: Option<Store>,
    /// The scenario, with what has been changed since.
    scenario: Scenario,
    /// How many messages its brokers have dropped before the one that runs.
    dropped_before: u64,
    /// The same of its outboxes, which know that by themselves.
    dropped_by_outboxes: u64,
    /// How many messages waited in each outbox when it was last looked at.
    waited: BTreeMap<String, u64>,
    /// An operation of its disk has failed, so that what was not synced may go.
    is_disk_failed: bool,
}

impl Machine {
    pub(super) fn new(place: Place, bench: &Bench, scenario: &Scenario) -> Self {
        let is_durable = scenario.durable.contains(&place);
        Self {
            place,
            bench: bench.clone(),
            seed: scenario.seed,
            plan: (place == HUB).then(|| (plan(scenario), data_folder())),
            running: Arc::default(),
            process: None,
            disk: is_durable.then(|| MachineDisk::new(scenario.seed ^ place.len() as u64, &bench.trace)),
            store: None,
            scenario: scenario.clone(),
            dropped_before: 0,
            dropped_by_outboxes: 0,
            waited: BTreeMap::new(),
            is_disk_failed: false,
        }
    }

    /// Switches it on.
    pub(super) async fn start(&mut self) {
        self.bench.trace.note(format_args!("{} starts", self.place));
        let process = self.bench.network.process(self.place);
        let store = match self.disk.as_mut().map(|disk| disk.open(&process)).transpose() {
            Ok(store) => store,
            Err(error) => {
                return self.bench.ledger.lock().accuse(format!("{} does not open: {error}", self.place));
            }
        };
        self.store.clone_from(&store);
        self.waited.clear();
        let running = match &self.plan {
            Some((plan, folder)) => {
                Running::Hub(Box::new(self.start_hub(plan, folder, &process, store).await))
            }
            None => Running::Broker(Box::new(self.start_broker(store).await)),
        };
        *self.running.lock() = Some(running);
        self.process = Some(process);
        let (running, durability) = (self.running.clone(), self.durability());
        self.bench.network.listen(self.place, move |stream| match &*running.lock() {
            Some(Running::Broker(broker)) => broker.serve_stream(stream, durability),
            Some(Running::Hub(hub)) => {
                if let Some(broker) = hub.broker() {
                    broker.serve_stream(stream, durability);
                }
            }
            None => {}
        });
    }

    fn durability(&self) -> Durability {
        self.scenario.bounds.durability(self.place)
    }

    async fn start_hub(&self, plan: &Plan, folder: &TempDir, process: &Process, store: Option<Store>) -> Hub {
        let clock = self.bench.clock.clone();
        let mut environment =
            Environment::real().clock(move || clock.now()).seed(self.seed).dial(process.dial());
        if let Some(store) = store {
            environment = environment.store(store);
        }
        let data = DataDir::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
        Hub::start_in(plan.clone(), data, environment).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn start_broker(&self, store: Option<Store>) -> Broker {
        let mut options = BrokerOptions::default()
            .workers(Workers::Here)
            .sys_interval(None)
            .will_grace(WILL_GRACE)
            .wall_clock_ms(self.bench.clock.now().wall_ms);
        if let Some((receive_maximum, in_flight_maximum)) = self.scenario.bounds.windows.get(self.place) {
            options = options.receive_maximum(*receive_maximum).in_flight_maximum(*in_flight_maximum);
        }
        if let Some(messages) = self.scenario.bounds.queues.get(self.place) {
            options = options.queue(QueueLimits::default().messages(*messages));
        }
        let mut builder = Broker::builder().options(options);
        if let Some(store) = store {
            builder = builder.store(store);
        }
        builder.start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Takes it down, and tells the judge what it forgets thereby.
    pub(super) async fn stop(&mut self, down: Down) {
        self.bench.trace.note(format_args!("{} is {down:?}", self.place));
        let Some(process) = self.process.take() else { return };
        let broker = self.broker();
        self.store = None;
        match down {
            Down::Stopped => self.stop_in_order().await,
            Down::Killed => process.kill(),
            Down::Unpowered => process.power_off(),
        }
        self.dropped_before += broker.map_or(0, |broker| dropped_by(&broker));
        if let Some(disk) = &mut self.disk {
            match down {
                Down::Stopped => disk.closed().await,
                Down::Killed => disk.crash(Loss::Nothing),
                Down::Unpowered => disk.crash(Loss::Unsynced),
            }
        }
        drop(self.running.lock().take());
        self.note_what_it_forgets(down);
    }

    /// Lets a hub take a changed project over.
    pub(super) async fn reload(&mut self, change: Change) {
        let bounds = &mut self.scenario.bounds;
        let before = match change {
            Change::KeepAlive(seconds) => {
                self.scenario.keep_alive_s = seconds;
                None
            }
            Change::Outbox(place, bound) => {
                bounds.outboxes.insert(place, bound);
                None
            }
            Change::Queue(messages) => {
                let before = bounds.queues.insert(HUB, messages);
                (before != Some(messages)).then(|| self.broker()).flatten()
            }
        };
        let Some((known, _)) = &mut self.plan else { return };
        *known = plan(&self.scenario);
        let (known, running) = (known.clone(), self.running.lock().take());
        let Some(Running::Hub(mut hub)) = running else { return };
        if let Err(error) = hub.apply(known).await {
            self.bench.trace.note(format_args!("the change is not taken over: {error}"));
        }
        *self.running.lock() = Some(Running::Hub(hub));
        self.waited.clear();
        // The broker with the limits of before is gone, and has counted for the last time.
        self.dropped_before += before.as_ref().map_or(0, dropped_by);
        if before.is_some() && self.durability() == Durability::Memory {
            self.bench.ledger.lock().forget(self.place, Forgot::Messages);
        }
    }

    async fn stop_in_order(&self) {
        self.bench.network.stop_listening(self.place);
        let running = self.running.lock().take();
        match running {
            Some(Running::Hub(hub)) => hub.stop(Duration::from_secs(5)).await,
            Some(Running::Broker(broker)) => broker.stop().await,
            None => {}
        }
    }

    fn note_what_it_forgets(&mut self, down: Down) {
        let may_lose_unsynced = down == Down::Unpowered || std::mem::take(&mut self.is_disk_failed);
        let forgets = match self.durability() {
            _ if self.disk.is_none() => true,
            Durability::Memory => true,
            Durability::Written => may_lose_unsynced,
            Durability::Synced => false,
        };
        let mut ledger = self.bench.ledger.lock();
        if forgets {
            ledger.forget(self.place, Forgot::Messages);
        }
        // What devices were promised may be gone while outboxes are not.
        if self.disk.is_some() && down != Down::Stopped {
            ledger.forget(self.place, Forgot::Unpromised);
        }
    }

    /// Lets an operation of its disk fail, if it has one; returns whether it has.
    pub(super) fn fail_disk(&mut self) -> bool {
        self.is_disk_failed = self.disk.is_some();
        self.disk.iter_mut().for_each(MachineDisk::fail_soon);
        self.is_disk_failed
    }

    /// Notes that its disk was full: what is promised at once was promised too early.
    pub(super) fn note_full_disk(&self) {
        if self.durability() == Durability::Memory {
            self.bench.ledger.lock().forget(self.place, Forgot::Messages);
        }
    }

    /// Lets its process end in the middle of what the disk does, and returns when it has, or after a while.
    pub(super) async fn stop_in_disk(&mut self, operations: u64, loss: Loss) {
        let Some(trap) = self.disk.as_ref().and_then(MachineDisk::trap) else { return };
        trap.set(operations, loss);
        // A machine that has nothing to write goes down all the same.
        timeout(TRAP_MAX, trap.sprung()).await.unwrap_or_default();
        self.stop(if loss == Loss::Nothing { Down::Killed } else { Down::Unpowered }).await;
    }

    /// Returns its disk, unless it keeps everything in memory.
    pub(super) const fn disk(&mut self) -> Option<&mut MachineDisk> {
        self.disk.as_mut()
    }

    /// Ends what the rest of the world still believes of its earlier life.
    pub(super) fn deny_old_connections(&self) {
        self.bench.network.cut(self.place);
    }

    pub(super) const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn broker(&self) -> Option<BrokerHandle> {
        match &*self.running.lock() {
            Some(Running::Broker(broker)) => Some(broker.handle()),
            Some(Running::Hub(hub)) => hub.broker().map(Broker::handle),
            None => None,
        }
    }
}

/// Returns how many messages a broker has dropped for its limits.
fn dropped_by(broker: &BrokerHandle) -> u64 {
    let statistics = broker.statistics();
    statistics.dropped_queue_full + statistics.dropped_expired
}
