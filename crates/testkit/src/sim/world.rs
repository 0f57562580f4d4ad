//! One run, from the first device to the judgement.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::clock::Clock;
use super::device::{self, Bench, Subscriber};
use super::disk::Loss;
use super::keeper;
use super::ledger::{Forgot, Ledger, Place};
use super::machine::{Down, Machine};
use super::mortal;
use super::network::{FAST_BYTES_PER_S, Network, Reach};
use super::scenario::{Fault, HUB, REMOTES, Scenario};
use super::trace::Trace;
use super::{Outcome, Violation};

/// How long everybody may take to come together before anything goes wrong.
const GATHERING_MAX: Duration = Duration::from_secs(60);

/// How long a promise takes when everything is as slow as it can be without a fault.
const PROMISING: Duration = Duration::from_secs(3);

/// How long everything may take to arrive after the last fault.
const SETTLING_MAX: Duration = Duration::from_secs(900);

/// How long what may come twice is waited for when everything has come.
const QUIET: Duration = Duration::from_secs(15);

/// How long nothing more comes of what limits may have dropped before that is over.
const DROPPED: Duration = Duration::from_secs(60);

/// How often is looked whether all is done.
const LOOK: Duration = Duration::from_millis(50);

/// How slow a slow connection is.
const SLOW_BYTES_PER_S: u64 = 2_000;

/// Plays one scenario, on a runtime whose clock is paused.
pub(super) async fn play(scenario: Scenario, is_verbose: bool) -> Outcome {
    let trace = Trace::start(is_verbose);
    trace.note(format_args!("{scenario}"));
    let mut rng = Rng::with_seed(scenario.seed ^ 0x6e65_7477_6f72_6b00);
    let ledger = Ledger::new(scenario.reaches.clone(), scenario.is_calm());
    let bench = Bench {
        network: Network::new(rng.fork(), trace.clone()),
        clock: Clock::start(),
        ledger: Arc::new(Mutex::new(ledger)),
        trace: trace.clone(),
        visited: Arc::default(),
    };
    let mut world = World::start(bench, scenario).await;
    world.run().await;
    world.end().await
}

struct World {
    bench: Bench,
    scenario: Scenario,
    machines: Vec<Machine>,
    subscribers: Vec<Subscriber>,
    publishers: JoinSet<()>,
    /// How many connections were seen to be cut short.
    cut_short: u64,
    /// How many messages have come, and when the last of them had.
    came: (u64, Instant),
    /// Whether dead letters have been sent again.
    is_revived: bool,
}

impl World {
    async fn start(bench: Bench, scenario: Scenario) -> Self {
        for (from, to, windows) in scenario.windows() {
            bench.network.set_windows(&from, to, windows);
        }
        for place in REMOTES {
            bench.network.set_bears(place, !scenario.tricks.is_squeamish(place));
        }
        let mut machines = Vec::new();
        for place in REMOTES.into_iter().chain([HUB]) {
            let mut machine = Machine::new(place, &bench, &scenario);
            machine.start().await;
            machines.push(machine);
        }
        let readers = scenario.readers.iter();
        let subscribers = readers.map(|plan| Subscriber::start(&bench, plan.clone())).collect();
        let came = (0, Instant::now());
        Self {
            bench,
            scenario,
            machines,
            subscribers,
            publishers: JoinSet::new(),
            cut_short: 0,
            came,
            is_revived: false,
        }
    }

    async fn run(&mut self) {
        if !self.wait("everybody to subscribe", GATHERING_MAX, Self::is_complete).await {
            return;
        }
        // What brokers know of a subscription they have not promised before it is on disk.
        self.pass(PROMISING).await;
        for plan in &self.scenario.publishers {
            self.publishers.spawn(device::publish(self.bench.clone(), plan.clone()));
        }
        for plan in &self.scenario.mortals {
            self.publishers.spawn(mortal::live(self.bench.clone(), plan.clone()));
        }
        if let Some(plan) = &self.scenario.keeper {
            self.publishers.spawn(keeper::keep(self.bench.clone(), plan.clone()));
            self.publishers.spawn(keeper::look_now_and_then(self.bench.clone(), plan.clone()));
        }
        for (after_ms, fault) in self.scenario.faults.clone() {
            self.pass(Duration::from_millis(after_ms)).await;
            self.bench.trace.note(format_args!("{fault:?}"));
            self.bench.ledger.lock().note_trouble();
            self.strike(fault).await;
            self.bench.ledger.lock().note_trouble();
        }
        if self.wait("everything to arrive", SETTLING_MAX, Self::is_settled).await
            && self.revive().await
            && self.look_at_shelf().await
        {
            self.pass(QUIET).await;
            self.machines.iter().for_each(Machine::look_at_accounts);
        }
    }

    /// Looks at the dead letters, and sends them again where everything is borne by now.
    async fn revive(&mut self) -> bool {
        let places: Vec<&str> =
            REMOTES.into_iter().filter(|place| self.scenario.tricks.may_bury(place)).collect();
        if places.is_empty() {
            return true;
        }
        for place in &places {
            let Some(hub) = self.machine(HUB) else { return false };
            let (letters, dead) = (hub.letters(place).await, hub.dead(place));
            let mut ledger = self.bench.ledger.lock();
            if letters.len() as u64 != dead {
                ledger.accuse(format!("letters: {} for {place}, where {dead} are counted", letters.len()));
            }
            ledger.look_at_letters(place, &letters);
        }
        self.is_revived = true;
        self.bench.ledger.lock().cure();
        for place in places {
            self.bench.network.set_bears(place, true);
            self.retry(place).await;
        }
        self.wait("what was dead to arrive", SETTLING_MAX, Self::is_settled).await
    }

    /// Sends dead letters again until there are none.
    async fn retry(&mut self, place: &'static str) {
        let until = Instant::now() + SETTLING_MAX;
        loop {
            let Some(hub) = self.machine(HUB) else { return };
            hub.retry_letters(place).await;
            if hub.letters(place).await.is_empty() {
                return;
            }
            if Instant::now() >= until {
                let what = format!("stalled: the dead letters for {place} are not sent again");
                return self.bench.ledger.lock().accuse(what);
            }
            self.pass(LOOK).await;
        }
    }

    /// Looks what is retained now that nothing goes wrong any more.
    async fn look_at_shelf(&self) -> bool {
        let Some(plan) = &self.scenario.keeper else { return true };
        if !keeper::look(&self.bench, plan, self.scenario.seed).await {
            self.bench.ledger.lock().accuse("retained: nobody can look what is".to_owned());
            return false;
        }
        true
    }

    async fn strike(&mut self, fault: Fault) {
        let network = self.bench.network.clone();
        match fault {
            Fault::Cut(place) => network.cut(place),
            Fault::Silence(place) => network.silence(place),
            Fault::Slow(place, for_ms) => {
                network.set_speed(place, SLOW_BYTES_PER_S);
                self.pass(Duration::from_millis(for_ms)).await;
                network.set_speed(place, FAST_BYTES_PER_S);
            }
            Fault::Refuse(place, for_ms) => self.bar(place, Reach::Refused, for_ms).await,
            Fault::Swallow(place, for_ms) => self.bar(place, Reach::Silent, for_ms).await,
            Fault::Stop(place, for_ms) => self.take_down(place, Down::Stopped, for_ms).await,
            Fault::Kill(place, for_ms) => self.take_down(place, Down::Killed, for_ms).await,
            Fault::PowerOff(place, for_ms) => self.take_down(place, Down::Unpowered, for_ms).await,
            Fault::KillInDisk(place, operations, for_ms) => {
                self.take_down_in_disk(place, operations, Loss::Nothing, for_ms).await;
            }
            Fault::PowerOffInDisk(place, operations, for_ms) => {
                self.take_down_in_disk(place, operations, Loss::Unsynced, for_ms).await;
            }
            Fault::FailDisk(place, for_ms) => self.fail_disk(place, for_ms).await,
            Fault::FillDisk(place, for_ms) => self.fill_disk(place, for_ms).await,
            Fault::Jump(by_ms) => self.bench.clock.jump(by_ms),
            Fault::Reload(change) => {
                if let Some(hub) = self.machine(HUB) {
                    hub.reload(change).await;
                }
            }
        }
    }

    /// Cuts a host off, and lets nobody dial it for a while.
    async fn bar(&mut self, place: &'static str, reach: Reach, for_ms: u64) {
        self.bench.network.set_reach(place, reach);
        self.bench.network.cut(place);
        self.pass(Duration::from_millis(for_ms)).await;
        self.bench.network.set_reach(place, Reach::Open);
    }

    async fn take_down(&mut self, place: &'static str, down: Down, for_ms: u64) {
        if let Some(machine) = self.machine(place) {
            machine.stop(down).await;
        }
        self.start_again(place, for_ms).await;
    }

    async fn take_down_in_disk(&mut self, place: &'static str, operations: u64, loss: Loss, for_ms: u64) {
        if let Some(machine) = self.machine(place) {
            machine.stop_in_disk(operations, loss).await;
        }
        self.start_again(place, for_ms).await;
    }

    async fn start_again(&mut self, place: &'static str, after_ms: u64) {
        self.pass(Duration::from_millis(after_ms)).await;
        if let Some(machine) = self.machine(place).filter(|machine| !machine.is_running()) {
            machine.deny_old_connections();
            machine.start().await;
        }
    }

    /// Lets an operation of a disk fail; whoever looks after the host starts it anew later.
    async fn fail_disk(&mut self, place: &'static str, for_ms: u64) {
        if !self.machine(place).is_some_and(Machine::fail_disk) {
            return;
        }
        self.pass(Duration::from_millis(for_ms)).await;
        self.take_down(place, Down::Killed, 10).await;
    }

    async fn fill_disk(&mut self, place: &'static str, for_ms: u64) {
        let Some(disk) = self.machine(place).and_then(Machine::disk) else { return };
        disk.set_full(true);
        self.bench.ledger.lock().forget(place, Forgot::Order);
        self.pass(Duration::from_millis(for_ms)).await;
        if let Some(disk) = self.machine(place).and_then(Machine::disk) {
            disk.set_full(false);
        }
        self.machine(place).into_iter().for_each(|machine| machine.note_full_disk());
    }

    fn machine(&mut self, place: &str) -> Option<&mut Machine> {
        self.machines.iter_mut().find(|machine| machine.place == place)
    }

    /// Lets time go by, and looks around now and then.
    async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep(LOOK.min(until - Instant::now())).await;
            self.look();
        }
    }

    fn look(&mut self) {
        for machine in self.machines.iter_mut().filter(|machine| machine.is_running()) {
            machine.look_at_subscriptions();
            machine.look_at_bounds();
        }
        let dropped = self.machines.iter().map(Machine::dropped).sum();
        let mut ledger = self.bench.ledger.lock();
        ledger.note_dropped(dropped);
        let cut_short = self.bench.network.cut_short();
        if std::mem::replace(&mut self.cut_short, cut_short) != cut_short {
            ledger.note_cut_short(self.bench.clock.now().monotonic_ms);
        }
        if let Some(wrong) = self.bench.network.wrong() {
            ledger.accuse(format!("bound: {wrong}"));
        }
        if ledger.tally.came != self.came.0 {
            self.came = (ledger.tally.came, Instant::now());
        }
        drop(ledger);
        self.look_at_ways();
    }

    /// Accuses what was confirmed, has not come, and waits nowhere: not at the end, but at any moment (C9).
    fn look_at_ways(&self) {
        let mut ledger = self.bench.ledger.lock();
        for way in ledger.ways() {
            let on_disk = |place: &Place| {
                let machine = self.machines.iter().find(|machine| machine.place == *place)?;
                machine.waiting_on_disk()
            };
            // Where something is down nobody knows what waits there, and in memory nobody has promised it.
            let places: BTreeSet<Place> = way.iter().copied().collect();
            let Some(waiting) = places.iter().map(on_disk).collect::<Option<Vec<_>>>() else { continue };
            let in_outboxes = |outboxes: u64| if way.len() > 1 { outboxes } else { 0 };
            let there: u64 =
                waiting.iter().map(|(sessions, outboxes)| sessions + in_outboxes(*outboxes)).sum();
            let on_their_way = ledger.on_their_way(|places| places == way);
            let (dropped, at_ms) = (ledger.dropped(), self.bench.clock.now().monotonic_ms);
            if on_their_way > there + dropped {
                ledger.accuse(format!(
                    "accounting: {on_their_way} messages have not come by {way:?}, and {there} wait there, \
                     {dropped} were dropped, at {at_ms} ms"
                ));
            }
        }
    }

    async fn wait(&mut self, what: &str, within: Duration, is_so: impl Fn(&mut Self) -> bool) -> bool {
        let until = Instant::now() + within;
        while !is_so(self) {
            if self.bench.ledger.lock().violation().is_some() {
                return false;
            }
            if Instant::now() >= until {
                let stall = self.describe_stall(what);
                self.bench.ledger.lock().accuse(stall);
                return false;
            }
            self.pass(LOOK).await;
        }
        true
    }

    fn is_complete(&mut self) -> bool {
        self.machines.iter().all(Machine::is_complete)
    }

    fn is_settled(&mut self) -> bool {
        while self.publishers.try_join_next().is_some() {}
        let waits = self.machines.iter().map(Machine::waiting).sum::<u64>() > 0;
        let burying = REMOTES.into_iter().filter(|place| self.scenario.tricks.may_bury(place));
        let dead_at = |place| (place, self.machines.iter().map(|machine| machine.dead(place)).sum::<u64>());
        let dead_by_place: Vec<(&str, u64)> = burying.map(dead_at).collect();
        let dead = if self.is_revived { 0 } else { dead_by_place.iter().map(|(_, dead)| dead).sum() };
        let mut ledger = self.bench.ledger.lock();
        let is_found = dead_by_place.iter().all(|(place, dead)| *dead >= ledger.letters_due(place));
        if !waits && is_found && self.publishers.len() <= self.scenario.hunters() {
            ledger.end_hunt();
        }
        let is_over = self.came.1.elapsed() >= DROPPED || ledger.missing().next().is_none();
        !waits && self.publishers.is_empty() && !ledger.lacks(dead) && is_over
    }

    fn describe_stall(&self, what: &str) -> String {
        let ledger = self.bench.ledger.lock();
        let missing: Vec<_> = ledger.missing().collect();
        let waiting: u64 = {
            drop(ledger);
            self.machines.iter().map(Machine::waiting).sum()
        };
        let (publishers, count) = (self.publishers.len(), missing.len());
        format!(
            "stalled: waited for {what}; {publishers} publishers go on, {waiting} messages wait in outboxes, \
             {count} have not come, first {:?}",
            missing.first()
        )
    }

    /// Ends everything in order, and judges.
    async fn end(mut self) -> Outcome {
        self.publishers.abort_all();
        let ending = async {
            for subscriber in self.subscribers {
                subscriber.stop().await;
            }
            for machine in &mut self.machines {
                machine.stop(Down::Stopped).await;
            }
        };
        let is_ended = timeout(Duration::from_secs(120), ending).await.is_ok();
        let mut ledger = self.bench.ledger.lock();
        if !is_ended {
            ledger.accuse("stalled: stopping takes more than two minutes".to_owned());
        }
        if ledger.violation().is_none() {
            drop(ledger);
            self.machines.iter().for_each(Machine::look_at_disk);
            ledger = self.bench.ledger.lock();
        }
        ledger.close();
        let trace = &self.bench.trace;
        let violation =
            ledger.violation().map(|what| Violation { what: what.to_owned(), lines: trace.lines() });
        Outcome { tally: ledger.tally, hash: trace.hash(), violation }
    }
}
