//! What is special about the messages of a run: those that cannot be delivered, that are refused for a while, that are
//! replaced, that are retained.

use crosspoint_client::QoS;
use fastrand::Rng;

use super::devices::protocol;
use super::{Change, Fault, FlowPlan, HUB, REMOTES, Scenario};
use crate::sim::Scope;
use crate::sim::device::{LanePlan, PublisherPlan};
use crate::sim::ledger::{Lane, Place, Reach};

/// How many messages a publisher has that goes on until something is found: for more than an hour.
const HUNTING_MESSAGES_MAX: usize = 4_000;

impl Scenario {
    /// Draws what is special about messages: those that cannot be delivered, those that are replaced, those that are
    /// retained.
    pub(super) fn draw_tricks(&mut self, rng: &mut Rng, scope: Scope) {
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
}
