//! What the index was when a checkpoint began, while it goes on.
//!
//! Nothing is copied at the beginning. Whatever changes before the walk has come by is kept as it was; what the
//! walk has passed may change freely.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{Index, Queue, Table};
use crate::checkpoint::put_queue;

/// Up to where a walk has come: tables in their order, and the keys in each, then queues in theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reached {
    /// Everything up to this key of this table is written; none of it, if there is none.
    Table(u32, Option<Bytes>),
    /// Every table is written, and every queue before this one.
    Queue(u64),
    End,
}

/// What has changed and is not written yet, as it was.
#[derive(Debug)]
pub(crate) struct Snapshot {
    reached: Reached,
    /// The values there were; none where there was no entry.
    entries: BTreeMap<u32, BTreeMap<Bytes, Option<Bytes>>>,
    /// The queues there were, encoded; none where there was none.
    queues: FxHashMap<u64, Option<Vec<u8>>>,
}

impl Snapshot {
    /// Keeps the value that an entry had before its first change.
    pub(crate) fn keep_entry(&mut self, table: u32, key: &Bytes, value: Option<&Bytes>) {
        let is_written = match &self.reached {
            Reached::Table(reached, after) => (table, Some(key)) <= (*reached, after.as_ref()),
            Reached::Queue(_) | Reached::End => true,
        };
        if !is_written {
            let entries = self.entries.entry(table).or_default();
            if !entries.contains_key(key) {
                entries.insert(key.clone(), value.cloned());
            }
        }
    }

    /// Keeps a queue as it was before its first change.
    pub(crate) fn keep_queue(&mut self, id: u64, queue: Option<&Queue>) {
        if self.reached > Reached::Queue(id) {
            return;
        }
        self.queues.entry(id).or_insert_with(|| {
            queue.map(|queue| {
                let mut encoded = Vec::new();
                put_queue(&mut encoded, id, queue);
                encoded
            })
        });
    }
}

impl Index {
    pub(crate) fn begin_snapshot(&mut self) {
        let (entries, queues) = (BTreeMap::new(), FxHashMap::default());
        self.snapshot = Some(Box::new(Snapshot { reached: Reached::Table(0, None), entries, queues }));
    }

    /// Notes up to where everything is written, these queues among it, and forgets how that was.
    pub(crate) fn reach(&mut self, reached: Reached, queues: &[u64]) {
        let Some(snapshot) = &mut self.snapshot else { return };
        queues.iter().for_each(|id| _ = snapshot.queues.remove(id));
        match &reached {
            Reached::Table(table, after) => {
                snapshot.entries = snapshot.entries.split_off(table);
                if let (Some(entries), Some(after)) = (snapshot.entries.get_mut(table), after) {
                    *entries = entries.split_off(after);
                    entries.remove(after);
                }
            }
            Reached::Queue(_) | Reached::End => snapshot.entries.clear(),
        }
        snapshot.reached = reached;
    }

    /// Ends a snapshot; returns it, to be dropped where nobody waits.
    pub(crate) fn end_snapshot(&mut self) -> Option<Box<Snapshot>> {
        self.snapshot.take()
    }

    /// Returns the entries of a table behind a key, as they were when the snapshot was begun.
    pub(crate) fn table_of_snapshot(
        &self,
        table: u32,
        after: Option<&Bytes>,
    ) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let now = self
            .tables
            .get(&table)
            .into_iter()
            .flat_map(move |entries: &Table| entries.range::<Bytes, _>(range));
        let kept = self.snapshot.as_ref().and_then(|snapshot| snapshot.entries.get(&table));
        let kept = kept.into_iter().flat_map(move |entries| entries.range::<Bytes, _>(range));
        let (mut now, mut kept) = (now.peekable(), kept.peekable());
        std::iter::from_fn(move || {
            loop {
                let Some((key, value)) =
                    kept.next_if(|(key, _)| now.peek().is_none_or(|(other, _)| *key <= other))
                else {
                    return now.next();
                };
                let _ = now.next_if(|(other, _)| *other == key);
                if let Some(value) = value {
                    return Some((key, value));
                }
            }
        })
    }

    /// Adds a queue as it was when the snapshot was begun.
    pub(crate) fn put_queue_of_snapshot(&self, out: &mut Vec<u8>, id: u64) {
        let kept = self.snapshot.as_ref().and_then(|snapshot| snapshot.queues.get(&id));
        match (kept, self.queues.get(&id)) {
            (Some(Some(encoded)), _) => out.extend_from_slice(encoded),
            (None, Some(queue)) => put_queue(out, id, queue),
            // It was there when the walk began, and is kept if it is gone.
            (Some(None), _) | (None, None) => {}
        }
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> (usize, usize) {
        let entries = |snapshot: &Snapshot| snapshot.entries.values().map(BTreeMap::len).sum();
        self.snapshot.as_ref().map_or((0, 0), |snapshot| (entries(snapshot), snapshot.queues.len()))
    }
}
