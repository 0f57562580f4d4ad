//! What a turn changes in the store, and when it is handed over.

use std::sync::Arc;

use bytes::Bytes;
use crosspoint_protocol::{Message, QoS};
use crosspoint_store::Batch;

use super::{Routed, Turn};
use crate::{
    durable::{Changes, Commit, RETAINED, Urgency},
    is_reserved,
};

impl Turn<'_> {
    /// Sets what its changes wait for. Without a word they are synced.
    pub(crate) const fn set_urgency(&mut self, urgency: Urgency) {
        self.urgency = urgency;
    }

    /// Returns what is to be changed in the store.
    pub(crate) const fn changes(&mut self) -> &mut Changes {
        &mut self.workspace.changes
    }

    /// Tells how much has been changed in the store: who asks twice sees whether there was anything between.
    pub(crate) fn changed(&self) -> (usize, usize) {
        (self.workspace.changes.len(), self.retained)
    }

    /// Lets a batch of somebody else's making be part of the turn's.
    pub(crate) fn add(&mut self, batch: Batch) {
        if let Some(durable) = &self.shared.durable {
            let commit = durable.committer.append_with(&mut self.workspace.changes, Some(batch));
            self.depend_on(commit);
        }
    }

    /// Hands over what is changed in the store so far, and returns what ends with the last batch that anything since the
    /// turn began is part of.
    pub(crate) fn flush(&mut self) -> Option<Arc<Commit>> {
        if let Some(durable) = &self.shared.durable
            && !self.workspace.changes.is_empty()
        {
            self.workspace.changes.calm(self.urgency);
            let commit = durable.committer.append(&mut self.workspace.changes);
            self.depend_on(commit);
        }
        self.commit.clone()
    }

    /// Notes a batch of the turn. It need not be the one of what was handed over before, which can be refused alone.
    fn depend_on(&mut self, commit: Arc<Commit>) {
        self.commit = Some(match self.commit.take() {
            Some(earlier) => Commit::of_both(earlier, commit),
            None => commit,
        });
    }

    /// Changes the retained message of a topic in the store. The table is locked meanwhile, so that both change in the
    /// same order.
    pub(super) fn store_retained(&mut self, routed: &Routed<'_>, message: Option<&Message>) {
        let Some(durable) = self.shared.durable.as_ref().filter(|_| !is_reserved(routed.topic)) else {
            return;
        };
        let key = Bytes::copy_from_slice(routed.parts.topic);
        let mut changes = Changes::default();
        match message {
            Some(message) => {
                let mut stored = Vec::new();
                message.to_stored(&mut stored);
                changes.put(RETAINED, key, stored);
            }
            None => changes.delete(RETAINED, key),
        }
        // At QoS 0 nobody waits.
        if routed.qos == QoS::AtMostOnce {
            durable.committer.append(&mut changes);
        } else {
            changes.hurry();
            changes.calm(self.urgency);
            let commit = durable.committer.append(&mut changes);
            self.depend_on(commit);
            self.retained += 1;
        }
    }
}
