//! What a run consists of, drawn from its seed: who is there, what flows, what goes wrong.

use std::fmt;

use crosspoint_client::Protocol;
use fastrand::Rng;

use super::Scope;
use super::bounds::Bounds;
use super::device::{LanePlan, PublisherPlan, ReaderPlan};
use super::keeper::KeeperPlan;
use super::ledger::{Lane, Place, Reach};
use super::mortal::MortalPlan;
use super::tricks::Tricks;
use fault::{change, faults};

pub(super) use fault::{Change, Fault};

mod devices;
mod fault;
mod special;

/// The host of the hub and its embedded broker.
pub(super) const HUB: Place = "hub";
/// The hosts of the remote brokers.
pub(super) const REMOTES: [Place; 2] = ["north", "south"];

/// Every flow that there may be: its name, from which broker and to which.
const ROUTES: [(&str, Place, Place); 5] = [
    ("a", "north", "south"),
    ("b", "north", HUB),
    ("c", HUB, "south"),
    ("d", "south", "north"),
    ("e", HUB, "north"),
];

/// A flow of the hub; its topics begin with its name, on both sides.
#[derive(Debug, Clone)]
pub(super) struct FlowPlan {
    pub(super) name: &'static str,
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) qos: u8,
}

/// A whole run.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) flows: Vec<FlowPlan>,
    pub(super) publishers: Vec<PublisherPlan>,
    pub(super) readers: Vec<ReaderPlan>,
    pub(super) mortals: Vec<MortalPlan>,
    pub(super) reaches: Vec<Reach>,
    /// Each with the wait before it, in milliseconds.
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) keep_alive_s: u64,
    /// Who keeps what it has on a disk.
    pub(super) durable: Vec<Place>,
    pub(super) bounds: Bounds,
    pub(super) tricks: Tricks,
    pub(super) keeper: Option<KeeperPlan>,
}

impl Scenario {
    pub(super) fn of_seed(seed: u64, scope: Scope) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut scenario = Self {
            seed,
            flows: flows(&mut rng),
            publishers: Vec::new(),
            readers: Vec::new(),
            mortals: Vec::new(),
            reaches: Vec::new(),
            faults: Vec::new(),
            keep_alive_s: rng.u64(4..20),
            durable: REMOTES.into_iter().filter(|_| rng.bool()).chain([HUB]).collect(),
            bounds: Bounds::default(),
            tricks: Tricks::default(),
            keeper: None,
        };
        for flow in scenario.flows.clone() {
            scenario.add_devices(&mut rng, &flow);
        }
        if rng.bool() {
            scenario.add_neighbours(&mut rng);
        }
        scenario.faults = faults(&mut rng);
        if scope != Scope::First {
            scenario.draw_the_rest(&mut Rng::with_seed(seed ^ 0x6c69_6d69_7473));
        }
        if matches!(scope, Scope::Whole | Scope::Wild) {
            scenario.draw_tricks(&mut Rng::with_seed(seed ^ 0x7472_6963_6b73), scope);
        }
        scenario
    }

    /// Draws what was not drawn at first.
    fn draw_the_rest(&mut self, rng: &mut Rng) {
        self.bounds = Bounds::draw(rng);
        if rng.bool() {
            self.add_mortals(rng);
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.protocol == Protocol::V5) {
            reader.receive_maximum = rng.bool().then(|| rng.u16(1..12));
        }
        for publisher in self.publishers.iter_mut().filter(|publisher| publisher.protocol == Protocol::V5) {
            for lane in &mut publisher.lanes {
                lane.expiry_s = (rng.u8(0..6) == 0).then(|| rng.u32(1..40));
            }
        }
        if !self.faults.is_empty() && rng.u8(0..3) == 0 {
            for _ in 0..rng.usize(1..3) {
                let place = rng.usize(0..=self.faults.len());
                self.faults.insert(place, (rng.u64(0..10_000), Fault::Reload(change(rng))));
            }
        }
        self.note_what_may_drop();
    }

    fn note_what_may_drop(&mut self) {
        let lanes = self.publishers.iter().flat_map(|publisher| &publisher.lanes);
        let expiring: Vec<Lane> =
            lanes.filter(|lane| lane.expiry_s.is_some()).map(|lane| lane.lane).collect();
        let mut bounds = self.bounds.clone();
        for (_, fault) in &self.faults {
            match fault {
                Fault::Reload(Change::Outbox(place, bound)) => {
                    // One that blocks after one that drops has dropped.
                    let known = bounds.outboxes.entry(place).or_insert(*bound);
                    if bound.when_full != "block" {
                        *known = *bound;
                    }
                }
                Fault::Reload(Change::Queue(messages)) => _ = bounds.queues.insert(HUB, *messages),
                _ => {}
            }
        }
        for reach in &mut self.reaches {
            let by_limit = match reach.qos {
                0 => bounds.may_drop_unpromised(&reach.places),
                _ => bounds.may_drop(&reach.places),
            };
            reach.may_drop = by_limit || expiring.contains(&reach.lane);
        }
    }

    /// Returns which windows hold where one host dials another.
    pub(super) fn windows(&self) -> Vec<(String, Place, [u16; 2])> {
        let of = |server: Place, is_v5: bool, receive_maximum: Option<u16>| {
            let (to_server, to_client) = self.bounds.windows.get(server).copied().unwrap_or((1_024, 1_024));
            let asked = receive_maximum.unwrap_or(u16::MAX);
            [if is_v5 { to_server } else { u16::MAX }, to_client.min(asked)]
        };
        let publishers = self.publishers.iter().map(|plan| {
            let is_v5 = plan.protocol == Protocol::V5;
            (plan.name.clone(), plan.server, of(plan.server, is_v5, None))
        });
        let readers = self.readers.iter().map(|plan| {
            let is_v5 = plan.protocol == Protocol::V5;
            (plan.name.clone(), plan.server, of(plan.server, is_v5, plan.receive_maximum))
        });
        let connectors =
            REMOTES.into_iter().map(|place| (HUB.to_owned(), place, of(place, true, Some(1_024))));
        publishers.chain(readers).chain(connectors).collect()
    }

    /// Tells whether nothing goes wrong.
    pub(super) fn is_calm(&self) -> bool {
        self.faults.is_empty() && self.hunters() == 0
    }

    /// Returns how many publishers go on until every message that a broker cannot bear is found.
    pub(super) fn hunters(&self) -> usize {
        self.publishers.iter().filter(|publisher| publisher.is_hunting).count()
    }

    /// Returns how many subscriptions a broker has when everybody is there.
    pub(super) fn subscriptions_at(&self, place: Place) -> usize {
        let readers = self.readers.iter().filter(|reader| reader.server == place).count();
        readers + self.flows.iter().filter(|flow| flow.from == place).count()
    }
}

fn flows(rng: &mut Rng) -> Vec<FlowPlan> {
    let mut routes = ROUTES.to_vec();
    rng.shuffle(&mut routes);
    routes.truncate(rng.usize(1..4));
    let plans = routes.into_iter().map(|(name, from, to)| FlowPlan { name, from, to, qos: rng.u8(1..3) });
    plans.collect()
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for FlowPlan { name, from, to, qos } in &self.flows {
            write!(f, "flow {name} {from} -> {to} qos {qos}; ")?;
        }
        for PublisherPlan { name, server, count, window, lanes, .. } in &self.publishers {
            write!(f, "{name} at {server}: {count} in {window} on")?;
            for LanePlan { topic, qos, expiry_s, .. } in lanes {
                write!(f, " {topic}@{}", *qos as u8)?;
                expiry_s.iter().try_for_each(|expiry_s| write!(f, " for {expiry_s} s"))?;
            }
            write!(f, "; ")?;
        }
        for ReaderPlan { name, server, filter, qos, .. } in &self.readers {
            write!(f, "{name} at {server}: {filter}@{}; ", *qos as u8)?;
        }
        for MortalPlan { name, server, topic, qos, lives, .. } in &self.mortals {
            write!(f, "{name} at {server}: {lives} lives, {topic}@{}; ", *qos as u8)?;
        }
        write!(f, "on disk: {:?}; {:?}; ", self.durable, self.bounds)?;
        if let Some(keeper) = &self.keeper {
            write!(f, "{keeper:?}; ")?;
        }
        write!(f, "{:?}; ", self.tricks)?;
        for (after_ms, fault) in &self.faults {
            write!(f, "+{after_ms} {fault:?} ")?;
        }
        Ok(())
    }
}
