//! The machines that can fail: the hub's, and those of the remote brokers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::{Broker, BrokerHandle, BrokerOptions, Durability, QueueLimits, Workers};
use crosspoint_hub::config::{self, Plan};
use crosspoint_hub::control::{Control, Kept, Part, Request, Which};
use crosspoint_hub::{DataDir, Environment, Hub};
use crosspoint_store::Store;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::time::timeout;

use super::bounds::OutboxBound;
use super::device::Bench;
use super::disk::{Loss, MachineDisk};
use super::ledger::{Forgot, Lane, Letter, Place};
use super::network::Process;
use super::scenario::{Change, FlowPlan, HUB, REMOTES, Scenario};

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

    /// Accuses what still waits on its disk when everything has arrived and everybody has gone.
    pub(super) fn look_at_disk(&self) {
        let Some(disk) = &self.disk else { return };
        let found = match disk.waiting() {
            // What a client was not given because it had expired is consumed with whatever comes after it.
            Ok(waiting)
                if waiting.iter().map(|(_, messages)| *messages as u64).sum::<u64>() <= self.dropped() =>
            {
                return;
            }
            Ok(waiting) => format!("{waiting:?} wait, by queue and how many"),
            Err(error) => error.to_string(),
        };
        self.bench.ledger.lock().accuse(format!("left over: on the disk of {}: {found}", self.place));
    }

    /// Ends what the rest of the world still believes of its earlier life.
    pub(super) fn deny_old_connections(&self) {
        self.bench.network.cut(self.place);
    }

    pub(super) const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Tells the judge that it remembers again, once everybody is subscribed.
    pub(super) fn look_at_subscriptions(&self) {
        if self.is_complete() {
            let now_ms = self.bench.clock.now().monotonic_ms;
            self.bench.ledger.lock().remember(self.place, now_ms);
        }
    }

    /// Tells whether everybody is subscribed.
    pub(super) fn is_complete(&self) -> bool {
        self.broker().is_some_and(|broker| broker.statistics().subscriptions >= self.subscriptions())
    }

    /// Returns how many subscriptions there are when everybody is there.
    fn subscriptions(&self) -> u64 {
        let visitors = u64::from(*self.bench.visited.lock() == Some(self.place));
        self.scenario.subscriptions_at(self.place) as u64 + visitors
    }

    fn broker(&self) -> Option<BrokerHandle> {
        match &*self.running.lock() {
            Some(Running::Broker(broker)) => Some(broker.handle()),
            Some(Running::Hub(hub)) => hub.broker().map(Broker::handle),
            None => None,
        }
    }

    /// Accuses outboxes that have counted less than what went through them, restarts included (C9).
    pub(super) fn look_at_accounts(&self) {
        let Some(Running::Hub(hub)) = &*self.running.lock() else { return };
        let mut ledger = self.bench.ledger.lock();
        for (name, connector) in &hub.status() {
            let place = REMOTES.into_iter().find(|remote| *remote == name.as_str()).unwrap_or(HUB);
            let (passed, outbox) = (ledger.passed(place), connector.outbox);
            if outbox.ended() + ledger.dropped() < passed {
                ledger.accuse(format!(
                    "accounting: {passed} messages went through the outbox of {name}: {outbox:?}"
                ));
            }
        }
    }

    /// Returns what waits in the outboxes of a hub.
    pub(super) fn waiting(&self) -> u64 {
        let Some(Running::Hub(hub)) = &*self.running.lock() else { return 0 };
        hub.status().values().map(|connector| connector.outbox.waiting()).sum()
    }

    /// Accuses what is not within its bounds, and what is not accounted for (C8, C9).
    pub(super) fn look_at_bounds(&mut self) {
        let (found, status) = match &*self.running.lock() {
            Some(Running::Hub(hub)) => (hub.audit(), hub.status()),
            Some(Running::Broker(broker)) => (broker.audit(), BTreeMap::new()),
            None => return,
        };
        let mut ledger = self.bench.ledger.lock();
        found.iter().for_each(|found| ledger.accuse(format!("bound: at {}: {found}", self.place)));
        self.dropped_by_outboxes = 0;
        for (name, connector) in status {
            let outbox = connector.outbox;
            self.dropped_by_outboxes += outbox.dropped_full + outbox.dropped_expired + outbox.replaced;
            let tricks = &self.scenario.tricks;
            let dead = if tricks.may_bury(&name) { 0 } else { outbox.dead };
            let replaced = if tricks.of(&name).keeps_latest { 0 } else { outbox.replaced };
            if dead + outbox.damaged + outbox.dropped_by_command + replaced > 0 {
                ledger.accuse(format!("accounting: the outbox of {name} has {outbox:?}"));
            }
            let waiting = outbox.waiting();
            let before = self.waited.insert(name.clone(), waiting).unwrap_or(waiting);
            let bound = self.scenario.bounds.outboxes.iter().find(|(place, _)| **place == name);
            // What was there before a limit was lowered, or waits again after a crash, may be beyond.
            if let Some((_, bound)) = bound.filter(|(_, bound)| waiting > bound.messages.max(before)) {
                ledger.accuse(format!("bound: {waiting} messages wait in the outbox of {name}: {bound:?}"));
            }
        }
    }

    /// Returns how many messages its limits have dropped.
    pub(super) fn dropped(&self) -> u64 {
        let now = self.broker().map_or(0, |broker| dropped_by(&broker));
        self.dropped_before + self.dropped_by_outboxes + now
    }

    /// Returns how many messages its disk has for sessions and in outboxes, where what it promises is on disk.
    pub(super) fn waiting_on_disk(&self) -> Option<(u64, u64)> {
        let store = self.store.as_ref().filter(|_| self.durability() == Durability::Synced)?;
        let waiting = |kind| {
            let queues = store.queues().into_iter().filter(|queue| queue % 8 == kind);
            queues.filter_map(|queue| Some(store.queue_status(queue)?.waiting)).sum()
        };
        // The kinds of queues: `docs/formats/records.md`. Dead letters have left no more than what waits.
        Some((waiting(0), waiting(1) + waiting(3)))
    }

    /// Returns how many dead letters there have been for a broker.
    pub(super) fn dead(&self, name: &str) -> u64 {
        let Some(Running::Hub(hub)) = &*self.running.lock() else { return 0 };
        hub.status().get(name).map_or(0, |connector| connector.outbox.dead)
    }

    /// Returns the dead letters for a broker.
    pub(super) async fn letters(&self, name: &str) -> Vec<Letter> {
        let request = Request::Show {
            of: Kept::Dead,
            name: name.to_owned(),
            from: 0,
            count: u64::MAX,
            payload_bytes: 64,
        };
        let mut letters = Vec::new();
        let taking = |part| {
            if let Part::Row(row) = part {
                letters.extend(letter(&row));
            }
            Ok(())
        };
        if let Some(mut control) = self.control()
            && let Err(error) = control.ask(request, taking).await
        {
            self.bench.ledger.lock().accuse(format!("letters: {name} does not show them: {error}"));
        }
        letters
    }

    /// Sends the dead letters for a broker again, as many as there is room for.
    pub(super) async fn retry_letters(&self, name: &str) {
        let request = Request::Retry { of: Kept::Dead, name: name.to_owned(), which: Which::All };
        let Some(mut control) = self.control() else { return };
        if let Err(error) = control.ask(request, |_| Ok(())).await {
            self.bench.trace.note(format_args!("not all letters for {name} are sent again: {error}"));
        }
    }

    fn control(&self) -> Option<Control> {
        match &*self.running.lock() {
            Some(Running::Hub(hub)) => Some(hub.control()),
            _ => None,
        }
    }
}

fn letter(row: &Map<String, Value>) -> Option<Letter> {
    let mut words = row.get("payload")?.as_str()?.split(' ');
    let mut number = || words.next()?.parse::<usize>().ok();
    let (lane, number) = (Lane(number()?), number()?);
    Some(Letter { lane, number, may_be_delivered: row.get("may_be_delivered")?.as_bool()? })
}

/// Returns how many messages a broker has dropped for its limits.
fn dropped_by(broker: &BrokerHandle) -> u64 {
    let statistics = broker.statistics();
    statistics.dropped_queue_full + statistics.dropped_expired
}

/// Makes a folder in which a hub has a name that does not change from run to run.
fn data_folder() -> TempDir {
    let made = tempfile::tempdir().and_then(|folder| {
        std::fs::write(folder.path().join("hub-id"), "5eed\n")?;
        Ok(folder)
    });
    made.unwrap_or_else(|error| panic!("a folder for the hub: {error}"))
}

/// Returns what the project says of an outbox, and of the order in which it sends.
fn outbox(scenario: &Scenario, remote: Place) -> String {
    let bound = scenario.bounds.outboxes.get(remote);
    let bound = bound.map(|OutboxBound { messages, when_full }| {
        format!("messages = {messages}, when_full = \"{when_full}\"")
    });
    let trick = scenario.tricks.of(remote);
    let filters: Vec<String> = scenario.flows.iter().map(|flow| format!("{}/#", flow.name)).collect();
    let settings: Vec<String> = bound.into_iter().chain(trick.settings(&filters)).collect();
    let ordering = if trick.by_topic { "ordering = \"topic\"\n" } else { "" };
    match settings.is_empty() {
        true => ordering.to_owned(),
        false => format!("{ordering}outbox = {{ {} }}\n", settings.join(", ")),
    }
}

fn plan(scenario: &Scenario) -> Plan {
    let mut text = format!("[broker]\nwill_grace_s = {}\n", WILL_GRACE.as_secs());
    if let Some(messages) = scenario.bounds.queues.get(HUB) {
        text += &format!("session_queue_messages = {messages}\n");
    }
    for remote in REMOTES {
        text += &format!(
            "[connector.{remote}]\nurl = \"mqtt://{remote}:1883\"\nkeep_alive_s = {}\nsession = \"durable\"\n\
             connect_timeout_ms = 3000\nreconnect_min_ms = 100\nreconnect_max_ms = 2000\n",
            scenario.keep_alive_s
        );
        text += &outbox(scenario, remote);
    }
    for FlowPlan { name, from, to, qos } in &scenario.flows {
        let connector = |place: Place| if place == HUB { "broker" } else { place };
        text += &format!(
            "[flow.{name}]\nfrom = {{ connector = \"{}\", topics = [\"{name}/#\"], qos = {qos} }}\n\
             to = {{ connector = \"{}\" }}\n",
            connector(from),
            connector(to)
        );
    }
    let (mut plan, _) =
        config::parse(&text, "crosspoint.toml", None).unwrap_or_else(|found| panic!("{text}\n{found:?}"));
    // Devices come over the simulated network.
    plan.broker.iter_mut().for_each(|broker| broker.listeners.clear());
    plan
}
