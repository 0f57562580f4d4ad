//! Dead letters: what must be one, exactly once, and what must not.

use std::collections::{BTreeMap, BTreeSet};

use super::{Forgot, Lane, Ledger, Place, Reach};

/// What is known of messages that do not go through.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Messages that a squeamish broker cannot bear.
    poison: BTreeSet<(Lane, usize)>,
    /// Those that were dead letters and have been sent again, by where they went.
    revived: BTreeSet<(Place, Lane, usize)>,
    /// Whether every broker can bear everything by now.
    is_cured: bool,
    /// Whether nobody waits any more for another message to get through.
    is_hunt_over: bool,
}

/// A dead letter that was found.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Letter {
    pub(in crate::sim) lane: Lane,
    pub(in crate::sim) number: usize,
    pub(in crate::sim) may_be_delivered: bool,
}

impl Ledger {
    /// Notes that a message is one that a squeamish broker cannot bear.
    pub(in crate::sim) fn note_poison(&mut self, lane: Lane, number: usize) {
        self.letters.poison.insert((lane, number));
    }

    /// Returns how many dead letters there must be for a place when everything has come.
    pub(in crate::sim) fn letters_due(&self, place: Place) -> u64 {
        self.poison_due(place).len() as u64
    }

    /// Notes that nobody waits any more for another message to get through.
    pub(in crate::sim) const fn end_hunt(&mut self) {
        self.letters.is_hunt_over = true;
    }

    pub(in crate::sim) const fn is_hunt_over(&self) -> bool {
        self.letters.is_hunt_over
    }

    /// Notes that every broker can bear everything from now on.
    pub(in crate::sim) const fn cure(&mut self) {
        self.letters.is_cured = true;
    }

    /// Judges the dead letters for a place; they are about to be sent again.
    pub(in crate::sim) fn look_at_letters(&mut self, place: Place, letters: &[Letter]) {
        let mut counts: BTreeMap<(Lane, usize), usize> = BTreeMap::new();
        for letter in letters {
            *counts.entry((letter.lane, letter.number)).or_default() += 1;
            if let Some(wrong) = self.wrong_letter(place, *letter) {
                self.accuse(wrong);
            }
        }
        for ((lane, number), _) in counts.iter().filter(|(_, count)| **count > 1) {
            let may_repeat = |reach: &Reach| match reach.qos {
                2 => self.has_forgotten(reach, Forgot::Messages, self.sent_at_ms(*lane, *number)),
                _ => !self.is_calm,
            };
            if !self.through(*lane, place).is_some_and(may_repeat) {
                self.accuse(format!("letters: {number} of {lane:?} is dead twice for {place}"));
            }
        }
        for (lane, number) in self.poison_due(place) {
            if !counts.contains_key(&(lane, number)) {
                self.accuse(format!("lost: {number} of {lane:?} is poison for {place}, and no dead letter"));
            }
        }
        self.letters.revived.extend(counts.into_keys().map(|(lane, number)| (place, lane, number)));
    }

    /// Tells whether a message cannot get through yet.
    pub(super) fn is_kept_away(&self, reach: &Reach, number: usize) -> bool {
        !reach.bears && !self.letters.is_cured && self.letters.poison.contains(&(reach.lane, number))
    }

    /// Tells whether a message was a dead letter: it comes when it comes.
    pub(super) fn is_revived(&self, reach: &Reach, number: usize) -> bool {
        let last = reach.places.last().filter(|_| reach.places.len() > 1);
        last.is_some_and(|last| self.letters.revived.contains(&(*last, reach.lane, number)))
    }

    fn wrong_letter(&self, place: Place, letter: Letter) -> Option<String> {
        let Letter { lane, number, may_be_delivered } = letter;
        let Some(reach) = self.through(lane, place) else {
            return Some(format!("letters: {number} of {lane:?} is dead for {place}, where it never went"));
        };
        let has_come = self.came.get(&(reach.reader, lane)).is_some_and(|came| came.seen.contains(&number));
        let may_be_both = may_be_delivered
            || reach.qos < 2
            || self.has_forgotten(reach, Forgot::Messages, self.sent_at_ms(lane, number));
        (has_come && !may_be_both)
            .then(|| format!("letters: {number} of {lane:?} is dead for {place} and has come"))
    }

    /// Returns what a place cannot bear and must have buried.
    fn poison_due(&self, place: Place) -> Vec<(Lane, usize)> {
        let is_due = |(lane, number): &&(Lane, usize)| {
            let reach = self.through(*lane, place).filter(|reach| !reach.bears && !reach.may_drop);
            let sent = self.sent.get(lane).and_then(|sent| sent.get(*number));
            let (Some(reach), Some(sent)) = (reach, sent) else { return false };
            sent.is_confirmed && !self.is_excused(reach, sent, *number)
        };
        self.letters.poison.iter().filter(is_due).copied().collect()
    }

    /// Returns the way of a lane through the hub to a place.
    fn through(&self, lane: Lane, place: Place) -> Option<&Reach> {
        let is_it = |reach: &&Reach| {
            reach.lane == lane && reach.places.len() > 1 && reach.places.last() == Some(&place)
        };
        self.reaches.iter().find(is_it)
    }

    fn sent_at_ms(&self, lane: Lane, number: usize) -> u64 {
        self.sent.get(&lane).and_then(|sent| sent.get(number)).map_or(0, |sent| sent.at_ms)
    }
}
