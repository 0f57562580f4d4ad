//! The machines that can fail: the hub's, and those of the remote brokers.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::{Broker, BrokerHandle, BrokerOptions, Workers};
use crosspoint_hub::config::{self, Plan};
use crosspoint_hub::{DataDir, Environment, Hub};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::device::Bench;
use super::ledger::{Forgot, Place};
use super::network::Process;
use super::scenario::{FLOWS, FlowPlan, HUB, REMOTES, Scenario};

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
    /// How many subscriptions there are when everybody is there.
    subscriptions: usize,
}

impl Machine {
    pub(super) fn new(place: Place, bench: &Bench, scenario: &Scenario) -> Self {
        Self {
            place,
            bench: bench.clone(),
            seed: scenario.seed,
            plan: (place == HUB).then(|| (plan(scenario), data_folder())),
            running: Arc::default(),
            process: None,
            subscriptions: scenario.subscriptions_at(place),
        }
    }

    /// Switches it on.
    pub(super) async fn start(&mut self) {
        self.bench.trace.note(format_args!("{} starts", self.place));
        let process = self.bench.network.process(self.place);
        let running = match &self.plan {
            Some((plan, folder)) => Running::Hub(Box::new(self.start_hub(plan, folder, &process).await)),
            None => Running::Broker(Box::new(self.start_broker().await)),
        };
        *self.running.lock() = Some(running);
        self.process = Some(process);
        let running = self.running.clone();
        self.bench.network.listen(self.place, move |stream| match &*running.lock() {
            Some(Running::Broker(broker)) => broker.serve_stream(stream),
            Some(Running::Hub(hub)) => {
                if let Some(broker) = hub.broker() {
                    broker.serve_stream(stream);
                }
            }
            None => {}
        });
    }

    async fn start_hub(&self, plan: &Plan, folder: &TempDir, process: &Process) -> Hub {
        let clock = self.bench.clock.clone();
        let environment = Environment::real().clock(move || clock.now()).seed(self.seed).dial(process.dial());
        let data = DataDir::open(folder.path()).unwrap_or_else(|error| panic!("{error}"));
        Hub::start_in(plan.clone(), data, environment).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn start_broker(&self) -> Broker {
        let options = BrokerOptions::default()
            .workers(Workers::Here)
            .sys_interval(None)
            .wall_clock_ms(self.bench.clock.now().wall_ms);
        Broker::builder().options(options).start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Takes it down, and tells the judge what it forgets thereby.
    pub(super) async fn stop(&mut self, down: Down) {
        self.bench.trace.note(format_args!("{} is {down:?}", self.place));
        let Some(process) = self.process.take() else { return };
        if down == Down::Stopped {
            self.bench.network.stop_listening(self.place);
            let running = self.running.lock().take();
            match running {
                Some(Running::Hub(hub)) => hub.stop(Duration::from_secs(5)).await,
                Some(Running::Broker(broker)) => broker.stop().await,
                None => {}
            }
        } else if down == Down::Killed {
            process.kill();
        } else {
            process.power_off();
        }
        drop(self.running.lock().take());
        let mut ledger = self.bench.ledger.lock();
        ledger.forget(self.place, Forgot::Messages);
        if self.place == HUB {
            ledger.forget(FLOWS, Forgot::Exchanges);
        }
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
            let mut ledger = self.bench.ledger.lock();
            ledger.remember(self.place, now_ms);
            if self.place == HUB {
                ledger.remember(FLOWS, now_ms);
            }
        }
    }

    /// Tells whether everybody is subscribed.
    pub(super) fn is_complete(&self) -> bool {
        self.broker().is_some_and(|broker| broker.statistics().subscriptions >= self.subscriptions as u64)
    }

    fn broker(&self) -> Option<BrokerHandle> {
        match &*self.running.lock() {
            Some(Running::Broker(broker)) => Some(broker.handle()),
            Some(Running::Hub(hub)) => hub.broker().map(Broker::handle),
            None => None,
        }
    }

    /// Returns what waits in the outboxes of a hub, and accuses what does not add up (C9).
    pub(super) fn waiting(&self) -> u64 {
        let Some(Running::Hub(hub)) = &*self.running.lock() else { return 0 };
        let status = hub.status();
        for (name, connector) in &status {
            let outbox = connector.outbox;
            if outbox.dead + outbox.dropped_full + outbox.dropped_expired > 0 {
                self.bench.ledger.lock().accuse(format!("accounting: the outbox of {name} has {outbox:?}"));
            }
        }
        status.values().map(|connector| connector.outbox.waiting()).sum()
    }
}

/// Makes a folder in which a hub has a name that does not change from run to run.
fn data_folder() -> TempDir {
    let made = tempfile::tempdir().and_then(|folder| {
        std::fs::write(folder.path().join("hub-id"), "5eed\n")?;
        Ok(folder)
    });
    made.unwrap_or_else(|error| panic!("a folder for the hub: {error}"))
}

fn plan(scenario: &Scenario) -> Plan {
    let mut text = String::from("[broker]\n");
    for remote in REMOTES {
        text += &format!(
            "[connector.{remote}]\nurl = \"mqtt://{remote}:1883\"\nkeep_alive_s = {}\nsession = \"durable\"\n\
             connect_timeout_ms = 3000\nreconnect_min_ms = 100\nreconnect_max_ms = 2000\n",
            scenario.keep_alive_s
        );
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
