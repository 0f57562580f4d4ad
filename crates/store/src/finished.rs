//! Which positions of a queue are finished, when they finish in any order.

use std::collections::BTreeMap;
use std::ops::Range;

/// Positions that finish in any order, and up to where all of them are.
///
/// What finishes in order takes no memory. What finishes before its predecessors takes a few bytes a run, so that
/// there are never more runs than positions that are still open.
///
/// # Examples
///
/// ```
/// let mut finished = crosspoint_store::Finished::new(5);
/// assert_eq!(finished.finish(6), None);
/// assert_eq!(finished.finish(5), Some(7));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    head: u64,
    /// What is finished behind the head, which itself is not.
    ahead: Runs,
}

impl Finished {
    /// Begins at a position; everything before it is finished.
    #[must_use]
    pub fn new(head: u64) -> Self {
        Self { head, ahead: Runs::default() }
    }

    /// Finishes a position; returns the new head if it moved. A position that is finished already changes
    /// nothing.
    pub fn finish(&mut self, position: u64) -> Option<u64> {
        if position > self.head {
            self.ahead.insert(position..position.saturating_add(1));
            return None;
        }
        if position < self.head { None } else { self.finish_before(position.saturating_add(1)) }
    }

    /// Finishes everything before a position; returns the new head if it moved.
    pub fn finish_before(&mut self, position: u64) -> Option<u64> {
        if position <= self.head {
            return None;
        }
        self.ahead.remove_before(position);
        self.head = self.ahead.take_at(position).unwrap_or(position);
        Some(self.head)
    }

    /// Returns the first position that is not finished.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Returns whether a position is finished.
    #[must_use]
    pub fn is_finished(&self, position: u64) -> bool {
        position < self.head || self.ahead.contains(position)
    }

    /// Returns what is finished behind the head, in order, as runs with an open position between each two.
    pub fn ahead(&self) -> impl Iterator<Item = Range<u64>> {
        self.ahead.starts.iter().map(|(start, end)| *start..*end)
    }

    /// Returns the position after the last that is finished.
    pub(crate) fn end(&self) -> u64 {
        self.ahead.end().unwrap_or(self.head)
    }

    /// Returns what is finished in a range.
    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let before_head = range.start..range.end.min(self.head);
        let behind = self.ahead.within(range);
        Some(before_head).into_iter().filter(|part| !part.is_empty()).chain(behind)
    }
}

/// A set of positions that is small when they stand in few runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// The end of each run by its start. No two of them touch.
    starts: BTreeMap<u64, u64>,
}

impl Runs {
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        // From the back, every run that the range touches.
        while let Some((known, known_end)) = self.starts.range(..=end).next_back().map(copied)
            && known_end >= start
        {
            self.starts.remove(&known);
            start = start.min(known);
            end = end.max(known_end);
        }
        self.starts.insert(start, end);
    }

    pub(crate) fn remove(&mut self, position: u64) {
        let Some((start, end)) = self.run_at(position) else { return };
        self.starts.remove(&start);
        self.insert(start..position);
        self.insert(position + 1..end);
    }

    pub(crate) fn remove_before(&mut self, position: u64) {
        while let Some((start, end)) = self.starts.first_key_value().map(copied)
            && start < position
        {
            self.starts.pop_first();
            self.insert(position..end);
        }
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        self.run_at(position).is_some()
    }

    pub(crate) fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let Range { start, end } = range;
        let first = self.run_at(start).map_or(start, |(first, _)| first);
        let runs = (first < end).then(|| self.starts.range(first..end));
        runs.into_iter().flatten().map(move |(from, to)| start.max(*from)..end.min(*to))
    }

    fn run_at(&self, position: u64) -> Option<(u64, u64)> {
        self.starts.range(..=position).next_back().map(copied).filter(|(_, end)| position < *end)
    }

    /// Takes the run that starts at a position; returns its end.
    fn take_at(&mut self, start: u64) -> Option<u64> {
        self.starts.remove(&start)
    }

    fn end(&self) -> Option<u64> {
        self.starts.last_key_value().map(|(_, end)| *end)
    }
}

fn copied((start, end): (&u64, &u64)) -> (u64, u64) {
    (*start, *end)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fastrand::Rng;

    use super::*;

    #[test]
    fn the_head_moves_over_everything_that_is_finished() {
        let mut finished = Finished::new(3);
        assert_eq!([5, 4, 9, 5, 2].map(|position| finished.finish(position)), [None; 5]);
        assert_eq!(finished.ahead().collect::<Vec<_>>(), [4..6, 9..10]);
        assert_eq!(finished.finish(3), Some(6));
        assert!(finished.is_finished(5) && finished.is_finished(9) && !finished.is_finished(6));
        assert_eq!(finished.finish_before(8), Some(8));
        assert_eq!((finished.finish_before(8), finished.end()), (None, 10));
        assert_eq!(finished.finish_before(9), Some(10));
    }

    #[test]
    fn an_open_position_keeps_one_run_however_much_finishes_behind_it() {
        let mut finished = Finished::new(0);
        (1..100_000).for_each(|position| _ = finished.finish(position));
        assert_eq!(finished.ahead().count(), 1);
        assert_eq!(finished.finish(0), Some(100_000));
    }

    #[test]
    fn any_order_of_changes_agrees_with_a_plain_set() {
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let (mut finished, mut runs) = (Finished::new(0), Runs::default());
            let (mut known, mut set) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..120 {
                let (position, start) = (rng.u64(0..60), rng.u64(0..60));
                known.insert(position);
                finished.finish(position);
                if rng.u8(0..20) == 0 {
                    finished.finish_before(start);
                    known.extend(0..start);
                }
                match rng.u8(0..10) {
                    0 => {
                        runs.remove_before(start.min(20));
                        set = set.split_off(&start.min(20));
                    }
                    1..4 => {
                        runs.remove(start);
                        set.remove(&start);
                    }
                    _ => {
                        let end = start + rng.u64(0..5);
                        runs.insert(start..end);
                        set.extend(start..end);
                    }
                }
                let range = rng.u64(0..60)..rng.u64(0..70);
                let head = (0..).find(|position| !known.contains(position)).unwrap();
                assert_eq!(finished.head(), head, "seed {seed}");
                assert!((0..70).all(|position| finished.is_finished(position) == known.contains(&position)));
                assert!((0..70).all(|position| runs.contains(position) == set.contains(&position)));
                let within = |set: &BTreeSet<u64>| -> Vec<u64> {
                    range.clone().filter(|position| set.contains(position)).collect()
                };
                assert_eq!(finished.within(range.clone()).flatten().collect::<Vec<_>>(), within(&known));
                assert_eq!(runs.within(range.clone()).flatten().collect::<Vec<_>>(), within(&set));
                assert!(finished.ahead().all(|run| run.start > finished.head() && !run.is_empty()));
            }
        }
    }
}
