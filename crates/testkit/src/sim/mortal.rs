//! Devices with a Will: they live, and die or say farewell, again and again.

use std::time::Duration;

use crosspoint_client::{Client, Protocol, QoS, TopicName, Will, WillProperties};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::device::{self, Bench};
use super::ledger::{Lane, Ledger, Place};
use super::network::Process;

/// How long a device may take to connect before its life counts for nothing.
const CONNECTING_MAX: Duration = Duration::from_secs(60);

/// How long a Will that must come is waited for: a delay, the grace, and whatever is down meanwhile.
const COMING_MAX: Duration = Duration::from_secs(200);

/// How long after a farewell nothing must go wrong for it to have been heard and written down for certain.
const HEARD: Duration = Duration::from_secs(3);

/// How long after the last life a Will may still come: until the end is found out, and its delay is over.
const LAST_MAX: Duration = Duration::from_secs(60);

/// How often is looked whether a Will has come.
const LOOK: Duration = Duration::from_millis(100);

/// The longest life.
const LIFE_MS_MAX: u64 = 15_000;

/// A device with a Will.
#[derive(Debug, Clone)]
pub(super) struct MortalPlan {
    pub(super) name: String,
    pub(super) server: Place,
    pub(super) protocol: Protocol,
    /// Its Wills, one a life.
    pub(super) lane: Lane,
    pub(super) topic: String,
    pub(super) qos: QoS,
    pub(super) lives: usize,
    pub(super) seed: u64,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It dies, and stays away until its Will has come.
    Dies,
    /// It dies, and is back at once.
    Returns,
    /// It says farewell.
    Leaves,
}

/// A death whose Will is to be forgotten if its device is back before it is due.
struct Death {
    number: usize,
    due_ms: u64,
}

/// One life, from its first connection.
struct Life<'a> {
    bench: &'a Bench,
    plan: &'a MortalPlan,
    number: usize,
    delay_s: u32,
    client: Client,
    process: Process,
    tasks: JoinSet<()>,
    /// How often something had gone wrong when it began, and how often it had dialled.
    began: (u64, u64),
    /// Whether it has had another connection before, or has none any more: then its Will may come, once for each.
    is_unsure: bool,
}

/// Lives every life of a plan.
pub(super) async fn live(bench: Bench, plan: MortalPlan) {
    let mut rng = Rng::with_seed(plan.seed);
    let mut before = None;
    for _ in 0..plan.lives {
        let fate = match rng.u8(0..4) {
            0 => Fate::Leaves,
            1 => Fate::Returns,
            _ => Fate::Dies,
        };
        let mut life = Life::begin(&bench, &plan, &mut rng, fate);
        let lasts = Duration::from_millis(rng.u64(0..LIFE_MS_MAX));
        let is_there = life.connects(before.take()).await;
        if is_there {
            life.lasts(lasts).await;
        }
        before = match fate {
            Fate::Leaves => life.leaves(is_there).await,
            Fate::Returns => life.returns(is_there),
            Fate::Dies => life.dies(is_there).await,
        };
    }
    // One that nobody knows of may still be to come.
    sleep(LAST_MAX).await;
}

impl<'a> Life<'a> {
    fn begin(bench: &'a Bench, plan: &'a MortalPlan, rng: &mut Rng, fate: Fate) -> Self {
        let number = bench.ledger.lock().publish(plan.lane, bench.clock.now().monotonic_ms);
        let delay_s = match (plan.protocol, fate) {
            (Protocol::V5, Fate::Returns) => rng.u32(5..20),
            (Protocol::V5, _) if rng.bool() => rng.u32(1..20),
            _ => 0,
        };
        bench.trace.note(format_args!("{} begins life {number}: {fate:?}, {delay_s} s", plan.name));
        let will = Will {
            topic: TopicName::parse(plan.topic.clone()).unwrap_or_else(|error| panic!("{error}")),
            payload: format!("{} {number}", plan.lane.0).into(),
            qos: plan.qos,
            retain: false,
            properties: WillProperties { delay_s: Some(delay_s), ..WillProperties::default() },
        };
        let began = (bench.ledger.lock().troubles(), bench.network.dials(&plan.name));
        let options = device::options(&plan.name, plan.server, plan.protocol).will(will);
        let process = bench.network.process(&plan.name);
        let mut tasks = JoinSet::new();
        let (client, _) = device::connect(bench, &mut tasks, options, &process, rng.u64(..));
        Self { bench, plan, number, delay_s, client, process, tasks, began, is_unsure: false }
    }

    /// Waits until it is connected. One that is back in time lets the Will of its last life be forgotten.
    async fn connects(&mut self, before: Option<Death>) -> bool {
        let is_there = timeout(CONNECTING_MAX, self.client.connected()).await.unwrap_or(false);
        let now_ms = self.bench.clock.now().monotonic_ms;
        if let Some(Death { number, .. }) = before.filter(|death| is_there && now_ms < death.due_ms) {
            self.bench.ledger.lock().forbid(self.plan.lane, number);
        }
        is_there
    }

    /// Lets time pass, and sees whether the connection is still the first.
    async fn lasts(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let mut states = self.client.state();
        loop {
            self.look();
            tokio::select! {
                biased;
                changed = states.changed() => if changed.is_err() { return },
                () = sleep_until(until) => return self.look(),
            }
        }
    }

    fn look(&mut self) {
        let (_, dials) = self.began;
        let is_first = self.bench.network.dials(&self.plan.name) == dials + 1;
        if !is_first || !self.client.state().borrow().is_connected() {
            self.is_unsure = true;
            self.bench.ledger.lock().let_repeat(self.plan.lane, self.number);
        }
    }

    /// Tells whether nothing has gone wrong since it began, and nothing is.
    fn is_untroubled(&self, ledger: &Ledger) -> bool {
        ledger.troubles() == self.began.0 && ledger.troubles().is_multiple_of(2)
    }

    async fn leaves(mut self, is_there: bool) -> Option<Death> {
        let cut_short = self.bench.network.cut_short();
        self.client.close(Duration::from_secs(5)).await;
        while self.tasks.join_next().await.is_some() {}
        sleep(HEARD).await;
        let is_heard = cut_short == self.bench.network.cut_short();
        let mut ledger = self.bench.ledger.lock();
        if is_heard && is_there && !self.is_unsure && self.is_untroubled(&ledger) {
            ledger.forbid(self.plan.lane, self.number);
        }
        None
    }

    fn returns(mut self, is_there: bool) -> Option<Death> {
        let death = Death { number: self.number, due_ms: self.ends() };
        (is_there && !self.is_unsure).then_some(death)
    }

    async fn dies(mut self, is_there: bool) -> Option<Death> {
        let due_ms = self.ends();
        if !is_there || self.is_unsure {
            return None;
        }
        let (lane, number) = (self.plan.lane, self.number);
        {
            let mut ledger = self.bench.ledger.lock();
            if self.is_untroubled(&ledger) {
                ledger.delay(lane, number, due_ms);
            }
            ledger.confirm(lane, number);
        }
        let until = Instant::now() + COMING_MAX;
        while !self.bench.ledger.lock().has_come(lane, number) && Instant::now() < until {
            sleep(LOOK).await;
        }
        None
    }

    /// Ends it without a farewell, and returns when its Will is due at the earliest.
    fn ends(&mut self) -> u64 {
        self.look();
        let now_ms = self.bench.clock.now().monotonic_ms;
        self.bench.trace.note(format_args!("{} ends life {}", self.plan.name, self.number));
        // The other end hears of it, or finds out.
        if self.number.is_multiple_of(3) {
            self.process.power_off()
        } else {
            self.process.kill()
        }
        self.tasks.abort_all();
        now_ms + u64::from(self.delay_s) * 1_000
    }
}
