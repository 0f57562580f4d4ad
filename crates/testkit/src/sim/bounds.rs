//! What is drawn of limits, and of promises that are weaker by name.
//!
//! All of it comes from randomness of its own: a seed that failed before there was any of this gives the same scenario
//! without it.

use std::collections::BTreeMap;

use crosspoint_broker::Durability;
use fastrand::Rng;

use super::ledger::Place;
use super::scenario::{HUB, REMOTES};

/// How much may wait in an outbox, and what becomes of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutboxBound {
    pub(super) messages: u64,
    pub(super) when_full: &'static str,
}

/// The limits and promises of a run; what is not there is as the product has it by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    /// By the connector's name, which is that of the host it leads to.
    pub(super) outboxes: BTreeMap<Place, OutboxBound>,
    /// How many messages wait for one session of a broker.
    pub(super) queues: BTreeMap<Place, usize>,
    /// How many messages a remote broker lets a client have unfinished, and has in flight to one.
    pub(super) windows: BTreeMap<Place, (u16, u16)>,
    /// What an acknowledgement of a broker promises.
    pub(super) durability: BTreeMap<Place, Durability>,
}

impl Bounds {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut bounds = Self::default();
        for place in REMOTES {
            if rng.u8(0..3) == 0 {
                bounds.outboxes.insert(place, OutboxBound::draw(rng));
            }
            if rng.bool() {
                bounds.windows.insert(place, (rng.u16(1..12), rng.u16(1..12)));
            }
        }
        for place in REMOTES.into_iter().chain([HUB]) {
            if rng.u8(0..4) == 0 {
                bounds.queues.insert(place, rng.usize(1..40));
            }
            match rng.u8(0..12) {
                0 | 1 => _ = bounds.durability.insert(place, Durability::Written),
                2 => _ = bounds.durability.insert(place, Durability::Memory),
                _ => {}
            }
        }
        bounds
    }

    pub(super) fn durability(&self, place: Place) -> Durability {
        self.durability.get(place).copied().unwrap_or_default()
    }

    /// Tells whether a limit on this way may drop what was accepted.
    pub(super) fn may_drop(&self, places: &[Place]) -> bool {
        let is_last = |place: &Place| places.len() > 1 && places.last() == Some(place);
        let outbox = |(place, bound): (&Place, &OutboxBound)| bound.when_full != "block" && is_last(place);
        places.iter().any(|place| self.queues.contains_key(place)) || self.outboxes.iter().any(outbox)
    }

    /// Tells whether what is full on this way drops what it promises to nobody.
    pub(super) fn may_drop_unpromised(&self, places: &[Place]) -> bool {
        self.may_drop(places) || places.iter().any(|place| self.outboxes.contains_key(place))
    }
}

impl OutboxBound {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let when_full = match rng.u8(0..4) {
            0 => "drop_oldest",
            1 => "drop_newest",
            _ => "block",
        };
        Self { messages: rng.u64(1..30), when_full }
    }
}
