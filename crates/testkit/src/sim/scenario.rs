//! What a run consists of, drawn from its seed: who is there, what flows, what goes wrong.

use std::fmt;

use crosspoint_client::{Protocol, QoS};
use fastrand::Rng;

use super::Scope;
use super::bounds::{Bounds, OutboxBound};
use super::device::{LanePlan, PublisherPlan, ReaderPlan};
use super::keeper::KeeperPlan;
use super::ledger::{Lane, Place, Reach, Reader};
use super::mortal::MortalPlan;
use super::tricks::Tricks;

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

/// How many messages a publisher has that goes on until something is found: for more than an hour.
const HUNTING_MESSAGES_MAX: usize = 4_000;

/// A flow of the hub; its topics begin with its name, on both sides.
#[derive(Debug, Clone)]
pub(super) struct FlowPlan {
    pub(super) name: &'static str,
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) qos: u8,
}

/// Something that goes wrong, or is made to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Every connection of a host is reset.
    Cut(Place),
    /// Every connection of a host falls silent; nobody is told.
    Silence(Place),
    /// Every connection of a host is slow for so long.
    Slow(Place, u64),
    /// Dialling a host is refused for so long.
    Refuse(Place, u64),
    /// Dialling a host comes to nothing for so long.
    Swallow(Place, u64),
    /// A host stops in order and is back after so long.
    Stop(Place, u64),
    /// The process on a host is killed and is back after so long.
    Kill(Place, u64),
    /// A host loses its power and is back after so long.
    PowerOff(Place, u64),
    /// The same two, in the middle of what the disk does, after so many operations.
    KillInDisk(Place, u64, u64),
    PowerOffInDisk(Place, u64, u64),
    /// An operation of the disk fails; the host is started anew after so long.
    FailDisk(Place, u64),
    /// The disk is full for so long.
    FillDisk(Place, u64),
    /// The wall clock of everybody jumps by so much.
    Jump(i64),
    /// The hub takes a changed project over.
    Reload(Change),
}

impl Fault {
    /// Tells whether it is one of the network: every process goes on.
    const fn is_of_network(self) -> bool {
        matches!(
            self,
            Self::Cut(_)
                | Self::Silence(_)
                | Self::Slow(..)
                | Self::Refuse(..)
                | Self::Swallow(..)
                | Self::Jump(_)
        )
    }
}

/// What is changed in the project while the hub runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// The connectors' keep alive: they connect anew.
    KeepAlive(u64),
    /// The limit of an outbox.
    Outbox(Place, OutboxBound),
    /// How much waits for a session: the embedded broker starts anew.
    Queue(usize),
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

    /// Draws what is special about messages: those that cannot be delivered, those that are replaced, those that are
    /// retained.
    fn draw_tricks(&mut self, rng: &mut Rng, scope: Scope) {
        for place in REMOTES {
            let Some(flow) = self.flows.iter().find(|flow| flow.to == place).cloned() else { continue };
            let is_of_network = self.faults.iter().all(|(_, fault)| fault.is_of_network());
            let trick = self.tricks.draw(rng, place, is_of_network || scope == Scope::Wild);
            if trick.is_squeamish {
                self.add_poison(rng, &flow);
            }
            let may_fill = scope == Scope::Wild || self.hunters() == 0;
            if (trick.attempts_max.is_some() || trick.by_topic) && self.durable.contains(&place) && may_fill {
                self.add_refusals(rng, place);
            }
            let into = |reach: &&mut Reach| reach.places.len() > 1 && reach.places.last() == Some(&place);
            for reach in self.reaches.iter_mut().filter(into) {
                reach.bears = !trick.is_squeamish;
                reach.keeps_latest = trick.keeps_latest;
            }
        }
        if rng.u8(0..3) == 0 {
            self.add_keeper(rng);
        }
        self.note_what_may_drop();
    }

    /// Messages that the end of a flow cannot bear, and a publisher of others that go on as long as those are looked for:
    /// which they are is known when another one gets through.
    fn add_poison(&mut self, rng: &mut Rng, flow: &FlowPlan) {
        // In an outbox that is full of them no other one gets through.
        self.bounds.outboxes.remove(flow.to);
        self.faults.retain(
            |(_, fault)| !matches!(fault, Fault::Reload(Change::Outbox(place, _)) if *place == flow.to),
        );
        let root = format!("{}/", flow.name);
        for lane in self.publishers.iter_mut().flat_map(|publisher| &mut publisher.lanes) {
            lane.has_poison = lane.topic.starts_with(&root) && lane.qos != QoS::AtMostOnce;
        }
        let lanes: usize = self.publishers.iter().map(|publisher| publisher.lanes.len()).sum();
        let lane = Lane(lanes + self.mortals.len());
        let (topic, qos) = (format!("{root}{}", lane.0), QoS::AtLeastOnce);
        self.publishers.push(PublisherPlan {
            name: format!("hunter{}", lane.0),
            server: flow.from,
            protocol: protocol(rng),
            lanes: vec![LanePlan { lane, topic, qos, expiry_s: None, has_poison: false }],
            count: HUNTING_MESSAGES_MAX,
            window: 4,
            interval_ms: 2_000,
            payload_bytes_max: 20,
            is_hunting: true,
            seed: rng.u64(..),
        });
        let filter = format!("{}/#", flow.name);
        let through = vec![flow.from, HUB, flow.to];
        for index in 0..self.readers.len() {
            let Some(reader) = self.readers.get(index).filter(|reader| reader.filter == filter) else {
                continue;
            };
            let (reader, is_sink) = (reader.reader, reader.server == flow.to);
            let (qos, places) =
                if is_sink { (flow.qos.min(1), through.clone()) } else { (1, vec![flow.from]) };
            self.add_reach(lane, reader, qos, places);
        }
    }

    /// Times in which a broker refuses messages for the moment. A run in which nothing goes wrong stays such a one.
    fn add_refusals(&mut self, rng: &mut Rng, place: Place) {
        if self.faults.is_empty() {
            return;
        }
        for _ in 0..rng.usize(1..3) {
            let fault = (rng.u64(0..10_000), Fault::FillDisk(place, rng.u64(1..12_000)));
            self.faults.insert(rng.usize(0..=self.faults.len()), fault);
        }
    }

    fn add_keeper(&mut self, rng: &mut Rng) {
        let server = match rng.u8(0..4) {
            0 => REMOTES[0],
            1 => REMOTES[1],
            _ => HUB,
        };
        self.keeper = Some(KeeperPlan {
            server,
            protocol: protocol(rng),
            qos: if rng.bool() { QoS::ExactlyOnce } else { QoS::AtLeastOnce },
            topics: rng.usize(1..6),
            count: rng.usize(5..30),
            interval_ms: rng.u64(1..4_000),
            seed: rng.u64(..),
            has_jumped: self.faults.iter().any(|(_, fault)| matches!(fault, Fault::Jump(_))),
        });
    }

    /// Devices with Wills at one broker, and a subscriber of those.
    fn add_mortals(&mut self, rng: &mut Rng) {
        let server = match rng.u8(0..4) {
            0 => REMOTES[0],
            1 => REMOTES[1],
            _ => HUB,
        };
        let heir = self.add_reader(rng, "will", server);
        let lanes: usize = self.publishers.iter().map(|publisher| publisher.lanes.len()).sum();
        for number in 0..rng.usize(1..4) {
            let lane = Lane(lanes + number);
            let qos = if rng.bool() { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            self.mortals.push(MortalPlan {
                name: format!("mortal{number}"),
                server,
                protocol: protocol(rng),
                lane,
                topic: format!("will/{}", lane.0),
                qos,
                lives: rng.usize(1..6),
                seed: rng.u64(..),
            });
            self.add_reach(lane, heir, qos as u8, vec![server]);
            self.reaches.last_mut().into_iter().for_each(|reach| reach.is_will = true);
        }
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

    /// Publishers at a flow's source, a subscriber at its sink, and sometimes one at its source as well.
    fn add_devices(&mut self, rng: &mut Rng, flow: &FlowPlan) {
        let sink = self.add_reader(rng, flow.name, flow.to);
        let beside = rng.bool().then(|| self.add_reader(rng, flow.name, flow.from));
        for _ in 0..rng.usize(1..3) {
            for LanePlan { lane, qos, .. } in self.add_publisher(rng, flow.name, flow.from) {
                let through = vec![flow.from, HUB, flow.to];
                self.add_reach(lane, sink, (qos as u8).min(flow.qos), through);
                if let Some(beside) = beside {
                    self.add_reach(lane, beside, qos as u8, vec![flow.from]);
                }
            }
        }
    }

    /// Devices of one broker among themselves.
    fn add_neighbours(&mut self, rng: &mut Rng) {
        let place = if rng.bool() { HUB } else { REMOTES[0] };
        let readers: Vec<Reader> =
            (0..rng.usize(1..3)).map(|_| self.add_reader(rng, "near", place)).collect();
        for LanePlan { lane, qos, .. } in self.add_publisher(rng, "near", place) {
            readers.iter().for_each(|reader| self.add_reach(lane, *reader, qos as u8, vec![place]));
        }
    }

    fn add_reach(&mut self, lane: Lane, reader: Reader, qos: u8, places: Vec<Place>) {
        let wanted = self.readers.get(reader.0).map_or(0, |reader| reader.qos as u8);
        self.reaches.push(Reach {
            lane,
            reader,
            qos: qos.min(wanted),
            places,
            may_drop: false,
            is_will: false,
            keeps_latest: false,
            bears: true,
        });
    }

    fn add_reader(&mut self, rng: &mut Rng, root: &str, server: Place) -> Reader {
        let reader = Reader(self.readers.len());
        let protocol = protocol(rng);
        // 3.1 does not tell a client that the server has lost its session, whose identifiers at QoS 2 then mean others.
        let is_simple = protocol == Protocol::V3_1 || rng.u8(0..4) == 0;
        self.readers.push(ReaderPlan {
            reader,
            name: format!("reader{}", reader.0),
            server,
            protocol,
            filter: format!("{root}/#"),
            qos: if is_simple { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
            pause_ms_max: if rng.u8(0..4) == 0 { rng.u64(1..200) } else { 0 },
            receive_maximum: None,
            seed: rng.u64(..),
        });
        reader
    }

    fn add_publisher(&mut self, rng: &mut Rng, root: &str, server: Place) -> Vec<LanePlan> {
        let before = self.publishers.iter().map(|publisher| publisher.lanes.len()).sum::<usize>();
        let lanes = (before..before + rng.usize(1..4)).map(|number| LanePlan {
            lane: Lane(number),
            topic: format!("{root}/{number}"),
            qos: qos(rng),
            expiry_s: None,
            has_poison: false,
        });
        let lanes: Vec<LanePlan> = lanes.collect();
        self.publishers.push(PublisherPlan {
            name: format!("writer{}", self.publishers.len()),
            server,
            protocol: protocol(rng),
            lanes: lanes.clone(),
            count: rng.usize(5..60),
            window: rng.usize(1..20),
            interval_ms: if rng.u8(0..3) == 0 { 0 } else { rng.u64(1..1_500) },
            payload_bytes_max: if rng.u8(0..5) == 0 { 9_000 } else { 100 },
            is_hunting: false,
            seed: rng.u64(..),
        });
        lanes
    }
}

fn flows(rng: &mut Rng) -> Vec<FlowPlan> {
    let mut routes = ROUTES.to_vec();
    rng.shuffle(&mut routes);
    routes.truncate(rng.usize(1..4));
    let plans = routes.into_iter().map(|(name, from, to)| FlowPlan { name, from, to, qos: rng.u8(1..3) });
    plans.collect()
}

fn faults(rng: &mut Rng) -> Vec<(u64, Fault)> {
    let count = if rng.u8(0..8) == 0 { 0 } else { rng.usize(1..8) };
    (0..count).map(|_| (rng.u64(0..10_000), fault(rng))).collect()
}

fn fault(rng: &mut Rng) -> Fault {
    let place = match rng.u8(0..4) {
        0 => REMOTES[0],
        1 => REMOTES[1],
        _ => HUB,
    };
    let for_ms = rng.u64(1..15_000);
    match rng.u8(0..26) {
        0..=3 => Fault::Cut(place),
        4..=5 => Fault::Silence(place),
        6..=7 => Fault::Slow(place, for_ms),
        8 => Fault::Refuse(place, for_ms),
        9 => Fault::Swallow(place, for_ms),
        10..=11 => Fault::Stop(place, for_ms),
        12..=14 => Fault::Kill(place, for_ms),
        15..=16 => Fault::PowerOff(place, for_ms),
        17..=18 => Fault::KillInDisk(place, rng.u64(0..40), for_ms),
        19..=21 => Fault::PowerOffInDisk(place, rng.u64(0..40), for_ms),
        22 => Fault::FailDisk(place, for_ms),
        23..=24 => Fault::FillDisk(place, for_ms),
        _ => Fault::Jump(jump_ms(rng)),
    }
}

fn change(rng: &mut Rng) -> Change {
    match rng.u8(0..3) {
        0 => Change::KeepAlive(rng.u64(4..20)),
        1 => {
            let [north, south] = REMOTES;
            Change::Outbox(if rng.bool() { north } else { south }, OutboxBound::draw(rng))
        }
        _ => Change::Queue(rng.usize(1..60)),
    }
}

/// A correction, an hour, or a board that has lost its battery.
fn jump_ms(rng: &mut Rng) -> i64 {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    match rng.u8(0..3) {
        0 => rng.i64(-2_000..2_000),
        1 => rng.i64(-3_600_000..3_600_000),
        _ => rng.i64(-50..50) * YEAR_MS,
    }
}

fn protocol(rng: &mut Rng) -> Protocol {
    match rng.u8(0..5) {
        0 => Protocol::V3_1_1,
        1 => Protocol::V3_1,
        _ => Protocol::V5,
    }
}

fn qos(rng: &mut Rng) -> QoS {
    match rng.u8(0..6) {
        0 => QoS::AtMostOnce,
        1..=2 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
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
