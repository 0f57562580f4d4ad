//! Committing: batches become a frame, and whoever waits for them is answered.

use rustc_hash::FxHashMap;

use super::{Draft, Durability, Writer, refuse};
use crate::batch::{Batch, Change};
use crate::error::Error;
use crate::index::Index;
use crate::record::{self, Target, Targets};
use crate::shared::Pending;
use crate::store::Committed;

/// Blocks that go to the log with one frame.
const SPILLED_MAX: usize = 256;

impl Writer {
    /// Commits batches in one frame, or answers why not.
    pub(super) fn commit(&mut self, group: Vec<Pending>) {
        if let Some(error) = &self.poison {
            return refuse(group, &error.clone().poisoned());
        }
        if self.is_full
            && let Err(error) = self.take_reserve()
        {
            return self.fail(group, error);
        }
        let group = if self.is_full { only_essential(group) } else { group };
        match self.try_commit(&group) {
            Ok(committed) => self.answer(group, committed),
            Err(Error::Full) => self.commit_on_full_disk(group),
            Err(error) => self.fail(group, error),
        }
    }

    pub(super) fn try_commit(&mut self, group: &[Pending]) -> Result<Vec<Committed>, Error> {
        self.make_room()?;
        let (draft, positions) = self.draft(group);
        if draft.count == 0 {
            // Batches that change nothing are durable already.
            return Ok(positions);
        }
        let sequence = self.sequence + 1;
        let is_written = !group.is_empty() && group.iter().all(|pending| pending.batch.is_written);
        self.write(draft, if is_written { Durability::Written } else { Durability::Synced })?;
        self.consumed.clear();
        self.stats.batches += group.len() as u64;
        Ok(positions.into_iter().map(|committed| Committed { sequence, ..committed }).collect())
    }

    pub(super) fn answer(&mut self, group: Vec<Pending>, committed: Vec<Committed>) {
        self.tell_stats();
        for (pending, committed) in group.into_iter().zip(committed) {
            pending.promise.answer(Ok(committed));
        }
        match self.maintain() {
            Ok(()) | Err(Error::Full) => {}
            Err(error) => self.fail(Vec::new(), error),
        }
    }

    /// Encodes a group, what was consumed, and blocks that shall leave memory.
    fn draft(&mut self, group: &[Pending]) -> (Draft, Vec<Committed>) {
        let mut draft = Draft::new();
        let index = self.shared.index.read();
        let mut next = FxHashMap::default();
        let committed = group
            .iter()
            .map(|pending| draft_batch(&mut draft, &index, &mut next, &pending.batch))
            .map(|positions| Committed { sequence: self.sequence, positions })
            .collect();
        for (queue, position) in &self.consumed {
            draft.add(|out| record::encode_consume(out, *queue, *position));
        }
        if draft.count > 0 {
            for (queue, block) in index.unspilled(SPILLED_MAX) {
                if let Some(entries) = block.entries_in_memory() {
                    draft.add(|out| record::encode_block(out, queue, block.first, entries.iter()));
                }
            }
        }
        (draft, committed)
    }
}

/// Encodes a batch; returns the positions that its targets get.
fn draft_batch(draft: &mut Draft, index: &Index, next: &mut FxHashMap<u64, u64>, batch: &Batch) -> Vec<u64> {
    let mut positions = Vec::new();
    for change in &batch.changes {
        match change {
            Change::Publish { message, targets } => {
                let targets: Targets = targets
                    .iter()
                    .map(|(queue, flags)| {
                        let known = || index.queues.get(queue).map_or(0, |queue| queue.next);
                        let next = next.entry(*queue).or_insert_with(known);
                        let position = *next;
                        *next += 1;
                        Target { queue: *queue, position, flags: *flags }
                    })
                    .collect();
                positions.extend(targets.iter().map(|target| target.position));
                draft.add(|out| record::encode_publish(out, &targets, message));
            }
            Change::Put { table, key, value } => {
                draft.add(|out| record::encode_put(out, *table, key, value));
            }
            Change::Delete { table, key } => draft.add(|out| record::encode_delete(out, *table, key)),
            Change::Consume { queue, position } => {
                draft.add(|out| record::encode_consume(out, *queue, *position));
            }
            Change::Remove { queue } => {
                next.insert(*queue, 0);
                draft.add(|out| record::encode_remove(out, *queue));
            }
        }
    }
    positions
}

/// Refuses what may not use the reserve; returns the rest.
pub(super) fn only_essential(group: Vec<Pending>) -> Vec<Pending> {
    let (essential, other) = group.into_iter().partition(|pending| pending.batch.is_essential);
    refuse(other, &Error::Full);
    essential
}
