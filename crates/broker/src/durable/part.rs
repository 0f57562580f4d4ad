//! What is committed as one.

use bytes::Bytes;
use crosspoint_protocol::Message;
use crosspoint_store::Batch;
use smallvec::SmallVec;

use super::{
    OUTGOING,
    changes::{Change, Target, Urgency},
    commit::Promise,
};

/// Changes of some turns, in their order.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) batch: Batch,
    /// The changes of turns of which nothing may be refused, once more: they must not be lost with the others.
    pub(super) essential: Batch,
    /// How many positions the batch will tell.
    pub(super) targets: usize,
    pub(super) bytes: usize,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) urgency: Urgency,
    pub(super) is_refusable: bool,
    pub(super) promise: Promise,
}

/// An entry that a session gets when it is durable.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Which of the positions is its.
    pub(super) place: usize,
    pub(super) target: Target,
    pub(super) message: Message,
}

/// Tells whether a new record of this table may be refused when the disk is full.
pub(super) const fn is_refusable(table: u32) -> bool {
    table != OUTGOING
}

impl Part {
    pub(super) fn is_idle(&self) -> bool {
        self.batch.is_empty()
    }

    /// Adds a change of a turn of which nothing may be refused.
    pub(super) fn add_essential(&mut self, change: Change, stored: &Bytes) {
        match &change {
            Change::Publish { .. } => {}
            Change::Put { table, key, value } => {
                self.essential.put(*table, key.clone(), value.clone());
            }
            Change::Delete { table, key } => _ = self.essential.delete(*table, key.clone()),
            Change::Consume { queue, position } => _ = self.essential.consume(*queue, *position),
            Change::RemoveQueue { queue } => _ = self.essential.remove_queue(*queue),
        }
        self.add(change, stored);
    }

    pub(super) fn add(&mut self, change: Change, stored: &Bytes) {
        match change {
            Change::Publish { message, stored: range, targets } => {
                self.is_refusable = true;
                let queues: SmallVec<[(u64, u8); 2]> = targets
                    .iter()
                    .filter_map(|target| Some((target.session.queue()?, target.flags())))
                    .collect();
                self.batch.publish(stored.slice(range), queues);
                for target in targets {
                    if target.session.queue().is_some() {
                        let place = self.targets;
                        self.targets += 1;
                        self.deliveries.push(Delivery { place, target, message: message.clone() });
                    }
                }
            }
            Change::Put { table, key, value } => {
                self.bytes += key.len() + value.len();
                self.is_refusable |= is_refusable(table);
                self.batch.put(table, key, value);
            }
            Change::Delete { table, key } => _ = self.batch.delete(table, key),
            Change::Consume { queue, position } => _ = self.batch.consume(queue, position),
            Change::RemoveQueue { queue } => _ = self.batch.remove_queue(queue),
        }
    }
}
