//! Topics whose messages wait because one of them was refused for the moment, where order is kept for each topic.
//!
//! Where order is kept for the whole connector, nothing is ever held here: the queue pauses as a whole (C5).

use std::collections::HashMap;

use crate::config::plan::Lane;

/// The topics that wait, each with the positions that do.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lane: Lane,
    held: HashMap<Box<str>, Held>,
    /// When the first of them may go on.
    due_ms: Option<u64>,
}

#[derive(Debug)]
struct Held {
    until_ms: u64,
    positions: Vec<u64>,
}

impl Lanes {
    /// Sets what one refused message holds up, for refusals to come.
    pub(super) const fn set(&mut self, lane: Lane) {
        self.lane = lane;
    }

    /// Holds a topic from its refused message on; returns whether it does, rather than the whole connector.
    pub(super) fn hold(&mut self, topic: &str, position: u64, until_ms: u64) -> bool {
        if self.lane == Lane::Connector {
            return false;
        }
        let held = self.held.entry(topic.into()).or_insert(Held { until_ms, positions: Vec::new() });
        held.until_ms = held.until_ms.max(until_ms);
        held.positions.push(position);
        self.note_due();
        true
    }

    /// Lets a message wait with its topic, if that is held.
    pub(super) fn join(&mut self, topic: &str, position: u64) -> bool {
        // Nothing is held most of the time, and this is asked for every message.
        !self.held.is_empty() && self.held.get_mut(topic).map(|held| held.positions.push(position)).is_some()
    }

    /// Tells whether the messages of a topic wait.
    pub(super) fn is_held(&self, topic: &str) -> bool {
        !self.held.is_empty() && self.held.contains_key(topic)
    }

    /// Returns when the first topic may go on.
    pub(super) const fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Lets topics go on whose time has come; returns what waited, in no order.
    pub(super) fn release(&mut self, now_ms: u64) -> Vec<u64> {
        if self.due_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return Vec::new();
        }
        let due = self.held.extract_if(|_, held| held.until_ms <= now_ms);
        let positions = due.flat_map(|(_, held)| held.positions).collect();
        self.note_due();
        positions
    }

    /// Lets every topic go on, at the next [`release`](Self::release).
    pub(super) fn hurry(&mut self) {
        self.held.values_mut().for_each(|held| held.until_ms = 0);
        self.note_due();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.due_ms = None;
    }

    fn note_due(&mut self) {
        self.due_ms = self.held.values().map(|held| held.until_ms).min();
    }
}
