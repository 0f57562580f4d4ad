//! Wills: which must not come, which not yet, and which may come again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Forgot, Lane, Ledger, Reach};

/// What is known of Wills, each a message of its device's lane.
#[derive(Debug, Default)]
pub(super) struct Wills {
    /// Those that must not come.
    forbidden: BTreeSet<(Lane, usize)>,
    /// Those that must not come before a time.
    delayed: BTreeMap<(Lane, usize), u64>,
    /// Those that may come more than once: their device has had more than one connection.
    repeated: BTreeSet<(Lane, usize)>,
}

impl Wills {
    pub(super) fn may_repeat(&self, lane: Lane, number: usize) -> bool {
        self.repeated.contains(&(lane, number))
    }
}

impl Ledger {
    pub(super) fn take_will(&mut self, reach: &Reach, number: usize, sent_at_ms: u64, at_ms: u64) {
        let will = (reach.lane, number);
        let is_early = self.wills.delayed.get(&will).is_some_and(|due_ms| at_ms < *due_ms);
        let is_forbidden =
            self.wills.forbidden.contains(&will) && !self.has_forgotten(reach, Forgot::Messages, sent_at_ms);
        if is_early || is_forbidden {
            let why = if is_early { "before its time" } else { "though its device was back or has left" };
            self.accuse(format!("will: {number} of {:?} came {why}, at {at_ms} ms", reach.lane));
        }
    }

    /// Notes that a Will must not come, and has not.
    pub(in crate::sim) fn forbid(&mut self, lane: Lane, number: usize) {
        if self.has_come(lane, number) && !self.wills.may_repeat(lane, number) {
            self.accuse(format!(
                "will: {number} of {lane:?} has come though its device was back or has left"
            ));
        }
        self.wills.forbidden.insert((lane, number));
    }

    /// Notes that a Will must not come before a time, and has not.
    pub(in crate::sim) fn delay(&mut self, lane: Lane, number: usize, due_ms: u64) {
        if self.has_come(lane, number) {
            self.accuse(format!("will: {number} of {lane:?} has come while its device lived"));
        }
        self.wills.delayed.insert((lane, number), due_ms);
    }

    /// Notes that a Will may come more than once.
    pub(in crate::sim) fn let_repeat(&mut self, lane: Lane, number: usize) {
        self.wills.repeated.insert((lane, number));
    }

    /// Tells whether somebody has got a message.
    pub(in crate::sim) fn has_come(&self, lane: Lane, number: usize) -> bool {
        let of_lane = self.came.iter().filter(|((_, known), _)| *known == lane);
        of_lane.into_iter().any(|(_, came)| came.seen.contains(&number))
    }
}
