//! Which positions have left an outbox although older ones have not, for good: `docs/formats/records.md`, table 21.
//!
//! A dead letter and a drop by command are marked in the batch that decides them. What a newer message has replaced is
//! marked a moment later, by the keeper, and what has ended otherwise when the pump stops; until then a crash makes it
//! wait again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use crosspoint_store::bytes_in::{self, BytesIn};
use crosspoint_store::{Batch, Store};

use super::figures::End;
use super::shared::rows;

/// Positions in a row that ended alike.
pub(super) const TABLE: u32 = 21;

const FORM: u8 = 1;

/// The marks of one outbox, from the head on.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// The first position of each run, with its length.
    runs: BTreeMap<u64, (u64, End)>,
    /// First positions of runs whose row has to be written, or is there for nothing.
    dirty: BTreeSet<u64>,
}

impl Gone {
    /// Reads the marks of a connector's outbox. Those that this version does not know are found when the outbox is opened.
    pub(crate) fn of_store(store: &Store, number: u64) -> Self {
        let rows = rows(store, TABLE, number);
        Self { runs: rows.iter().filter_map(|(key, value)| decode(key, value)).collect(), ..Self::default() }
    }

    /// Takes what the store has kept.
    pub(super) fn restore(&mut self, first: u64, run: (u64, End)) {
        self.runs.insert(first, run);
    }

    /// Returns how a position has ended, if it is marked.
    pub(crate) fn at(&self, position: u64) -> Option<End> {
        let (first, (length, end)) = self.runs.range(..=position).next_back()?;
        (position - first < *length).then_some(*end)
    }

    /// Marks a position whose row is durable.
    pub(super) fn insert_kept(&mut self, position: u64, end: End) {
        self.runs.insert(position, (1, end));
    }

    /// Marks a position; its row is written later.
    pub(super) fn insert(&mut self, position: u64, end: End) {
        let (mut first, mut length) = (position, 1);
        let before = self.runs.range(..position).next_back().map(|(first, run)| (*first, *run));
        if let Some((known, (known_length, known_end))) = before
            && known + known_length == position
            && known_end == end
        {
            (first, length) = (known, known_length + 1);
        }
        if let Some((behind, known_end)) = self.runs.get(&(position + 1)).copied()
            && known_end == end
        {
            self.runs.remove(&(position + 1));
            self.dirty.insert(position + 1);
            length += behind;
        }
        self.runs.insert(first, (length, end));
        self.dirty.insert(first);
    }

    /// Returns how many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.runs.len()
    }

    /// Returns how many positions are marked from one on.
    pub(super) fn from(&self, position: u64) -> u64 {
        let behind =
            |(first, (length, _)): (&u64, &(u64, End))| (first + length).saturating_sub(position.max(*first));
        self.runs.iter().map(behind).sum()
    }

    /// Forgets everything before the head, and puts what has changed into a batch.
    pub(super) fn write(&mut self, batch: &mut Batch, number: u64, head: u64) {
        while let Some((first, (length, end))) =
            self.runs.first_key_value().map(|(first, run)| (*first, *run))
            && first < head
        {
            self.runs.remove(&first);
            batch.delete(TABLE, key(number, first));
            self.dirty.remove(&first);
            if first + length > head {
                self.runs.insert(head, (first + length - head, end));
                self.dirty.insert(head);
            }
        }
        for first in std::mem::take(&mut self.dirty) {
            match self.runs.get(&first) {
                Some((length, end)) => batch.put(TABLE, key(number, first), value(*length, *end)),
                None => batch.delete(TABLE, key(number, first)),
            };
        }
    }
}

/// Marks one position in the batch that decides its end.
pub(super) fn put(batch: &mut Batch, number: u64, position: u64, end: End) {
    batch.put(TABLE, key(number, position), value(1, end));
}

pub(super) fn key(number: u64, first: u64) -> Bytes {
    [number.to_be_bytes(), first.to_be_bytes()].concat().into()
}

/// Returns the run that a row tells, with its first position.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Option<(u64, (u64, End))> {
    let first = u64::from_be_bytes(*key.get(8..)?.first_chunk()?);
    let mut value = BytesIn::of_form(FORM, value)?;
    let end = match value.u8()? {
        0 => End::Dead,
        1 => End::Command,
        2 => End::Replaced,
        3 => End::Confirmed,
        4 => End::Sent,
        5 => End::Expired,
        6 => End::Full,
        7 => End::Damaged,
        _ => return None,
    };
    Some((first, (value.varint()?, end)))
}

fn value(length: u64, end: End) -> Bytes {
    let end = match end {
        End::Dead => 0,
        End::Command => 1,
        End::Replaced => 2,
        End::Confirmed => 3,
        End::Sent => 4,
        End::Expired => 5,
        End::Full => 6,
        End::Damaged => 7,
    };
    let mut out = vec![FORM, end];
    bytes_in::put_varint(&mut out, length);
    out.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crosspoint_store::Options;

    use super::*;

    #[test]
    fn marks_agree_with_a_plain_map_in_memory_and_in_the_store() {
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let store = Store::in_memory(Options::new().reserve_bytes(0)).unwrap();
            let (mut gone, mut model, mut head) = (Gone::default(), BTreeMap::new(), 0);
            for _ in 0..60 {
                let mut batch = Batch::new();
                for _ in 0..random.usize(0..8) {
                    let position = head + random.u64(0..40);
                    if model.contains_key(&position) {
                        continue;
                    }
                    let end = [End::Replaced, End::Replaced, End::Dead, End::Command][random.usize(0..4)];
                    model.insert(position, end);
                    if end == End::Replaced {
                        gone.insert(position, End::Replaced);
                    } else {
                        put(&mut batch, 7, position, end);
                        gone.insert_kept(position, end);
                    }
                }
                head += random.u64(0..5);
                model = model.split_off(&head);
                gone.write(&mut batch, 7, head);
                assert!(gone.dirty.is_empty());
                store.commit(batch).wait().unwrap();
                let kept = Gone::of_store(&store, 7);
                for position in head..head + 60 {
                    let expected = model.get(&position).copied();
                    assert_eq!((gone.at(position), kept.at(position)), (expected, expected), "seed {seed}");
                }
                assert_eq!(gone.rows(), kept.rows());
            }
        }
    }

    #[test]
    fn a_long_run_of_replaced_messages_is_one_row() {
        let mut gone = Gone::default();
        (0..100_000).step_by(2).for_each(|position| gone.insert(position, End::Replaced));
        (1..100_000).step_by(2).for_each(|position| gone.insert(position, End::Replaced));
        assert_eq!((gone.rows(), gone.at(99_999), gone.at(100_000)), (1, Some(End::Replaced), None));
    }

    #[test]
    fn no_part_of_a_row_and_no_garbage_is_one() {
        let (key, value) = (key(1, 2), value(300, End::Command));
        assert_eq!(decode(&key, &value), Some((2, (300, End::Command))));
        assert!((0..value.len()).all(|end| decode(&key, &value[..end]).is_none()));
        assert!((0..key.len()).all(|end| decode(&key[..end], &value).is_none()));
        assert_eq!(decode(&key, &[1, 8, 0]), None, "there is no such end");
    }
}
