//! What waits in an outbox: looked at, and dropped by command; the same whether its pump is at work or not.

use crosspoint_store::{Batch, Error};

use super::entry::{FlowNames, Item};
use super::figures::End;
use super::shared::Tally;
use super::{Outbox, gone};

/// How much is read at once.
const READ_ENTRIES: usize = 256;
const READ_BYTES: usize = 4 << 20;

impl Outbox {
    /// Returns messages that wait, with their positions, oldest first, from a position on: at most so many, and fewer
    /// when they are large. None when no more wait.
    ///
    /// Those that are with the broker and not confirmed are among them.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn waiting(&self, from: u64, count: usize) -> Result<Vec<(u64, Item)>, Error> {
        self.messages(self.shared.queue, from, count, |position| self.shared.state().waits(position)).await
    }

    /// Returns messages that were sent, as far as they are archived, in the way of [`waiting`](Self::waiting).
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn archived(&self, from: u64, count: usize) -> Result<Vec<(u64, Item)>, Error> {
        self.messages(self.shared.queue + 4, from, count, |_| true).await
    }

    /// Drops messages that wait and are not with the broker; returns how many.
    ///
    /// # Errors
    /// What the store says. They are dropped then as long as this process lives.
    pub(crate) async fn drop_waiting(&self, positions: &[u64]) -> Result<u64, Error> {
        let (mut batch, mut tally, mut dropped) = (Batch::new(), Tally::default(), 0);
        for position in positions {
            // What it counts for in the limits is known to the message only.
            let entries = self.shared.store.read(self.shared.queue, *position, 1, READ_BYTES).await?;
            // Nothing is marked where nothing waits: a later message may get that position.
            let Some(entry) = entries.first().filter(|entry| entry.position == *position) else { continue };
            let item = Item::decode(&entry.message, entry.flags, &mut FlowNames::default());
            let bytes = item.as_ref().map_or(0, Item::bytes);
            let topic = item.as_ref().map_or("", |item| item.message.topic());
            if self.shared.state().drop_waiting(*position, topic) {
                gone::put(&mut batch, self.shared.number, *position, End::Command);
                tally.add(End::Command, bytes);
                dropped += 1;
            }
        }
        if dropped == 0 {
            return Ok(0);
        }
        self.shared.ended(&mut tally);
        self.shared.work.notify_one();
        batch.essential();
        self.shared.store.commit(batch).await?;
        Ok(dropped)
    }

    /// Sends what was refused for the moment again now instead of later.
    pub(crate) fn retry_now(&self) {
        self.shared.state().queue.retry_now();
        self.shared.work.notify_one();
    }

    async fn messages(
        &self,
        queue: u64,
        from: u64,
        count: usize,
        is_meant: impl Fn(u64) -> bool,
    ) -> Result<Vec<(u64, Item)>, Error> {
        let (mut items, mut from, mut flows) = (Vec::new(), from, FlowNames::default());
        while items.is_empty() {
            let entries = self.shared.store.read(queue, from, count.min(READ_ENTRIES), READ_BYTES).await?;
            let Some(last) = entries.last() else { break };
            from = last.position + 1;
            for entry in entries.iter().filter(|entry| is_meant(entry.position)) {
                let item = Item::decode(&entry.message, entry.flags, &mut flows);
                items.extend(item.map(|item| (entry.position, item)));
            }
        }
        Ok(items)
    }
}
