//! Who is there in a run: devices that publish, subscribe, leave Wills or keep what is retained, and what has to reach whom.

use crosspoint_client::{Protocol, QoS};
use fastrand::Rng;

use super::{Fault, FlowPlan, HUB, REMOTES, Scenario};
use crate::sim::device::{LanePlan, PublisherPlan, ReaderPlan};
use crate::sim::keeper::KeeperPlan;
use crate::sim::ledger::{Lane, Place, Reach, Reader};
use crate::sim::mortal::MortalPlan;

impl Scenario {
    /// Publishers at a flow's source, a subscriber at its sink, and sometimes one at its source as well.
    pub(super) fn add_devices(&mut self, rng: &mut Rng, flow: &FlowPlan) {
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
    pub(super) fn add_neighbours(&mut self, rng: &mut Rng) {
        let place = if rng.bool() { HUB } else { REMOTES[0] };
        let readers: Vec<Reader> =
            (0..rng.usize(1..3)).map(|_| self.add_reader(rng, "near", place)).collect();
        for LanePlan { lane, qos, .. } in self.add_publisher(rng, "near", place) {
            readers.iter().for_each(|reader| self.add_reach(lane, *reader, qos as u8, vec![place]));
        }
    }

    /// Devices with Wills at one broker, and a subscriber of those.
    pub(super) fn add_mortals(&mut self, rng: &mut Rng) {
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

    pub(super) fn add_keeper(&mut self, rng: &mut Rng) {
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

    pub(super) fn add_reach(&mut self, lane: Lane, reader: Reader, qos: u8, places: Vec<Place>) {
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
}

pub(super) fn protocol(rng: &mut Rng) -> Protocol {
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
