//! The dead letters of a connector: looked at, changed, sent again, dropped; the same whether its pump is at work or not.
//!
//! Those that go before older ones are marked in a table of their own (`docs/formats/records.md`, table 20), until the
//! head of the queue has passed them.

use std::collections::BTreeSet;

use bytes::Bytes;
use crosspoint_store::{Batch, Error, QueueStatus};
use tokio::sync::SemaphorePermit;

use super::dead_letter::DeadLetter;
use super::entry::Item;
use super::{Added, Outbox};

/// Dead letters that are gone although older ones are not: key connector and position.
const GONE_TABLE: u32 = 20;

const FORM: u8 = 1;

/// How many letters are read at once while some are looked for.
const READ_ENTRIES: usize = 256;
const READ_BYTES: usize = 4 << 20;

/// How dead letters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LettersStatus {
    /// How many there are.
    pub(crate) count: u64,
    /// How many there have been that are gone: sent again, changed, or dropped.
    pub(crate) gone: u64,
}

impl Outbox {
    /// Returns how the dead letters stand.
    pub(crate) fn letters_status(&self) -> LettersStatus {
        let status = self.letters_queue();
        let marks = self.marks(status.head).len() as u64;
        let count = status.waiting.saturating_sub(marks);
        LettersStatus { count, gone: status.next.saturating_sub(count) }
    }

    /// Returns dead letters with their positions, oldest first, from a position on: at most so many, and fewer when they
    /// are large. None when there are no more.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn letters(&self, from: u64, count: usize) -> Result<Vec<(u64, DeadLetter)>, Error> {
        let (mut letters, mut from) = (Vec::new(), from);
        let marks = self.marks(self.letters_queue().head);
        while letters.is_empty() {
            let limit = count.min(READ_ENTRIES);
            let entries = self.shared.store.read(self.letters_id(), from, limit, READ_BYTES).await?;
            let Some(last) = entries.last() else { break };
            from = last.position + 1;
            let live = entries.iter().filter(|entry| !marks.contains(&entry.position));
            letters.extend(live.filter_map(|entry| {
                Some((entry.position, DeadLetter::decode(&entry.message, entry.flags)?))
            }));
        }
        Ok(letters)
    }

    /// Drops dead letters; returns how many were there.
    ///
    /// # Errors
    /// What the store says; nothing is dropped then.
    pub(crate) async fn drop_letters(&self, positions: &[u64]) -> Result<u64, Error> {
        let _turn = self.letters_turn().await;
        let mut batch = Batch::new();
        let dropped = self.remove_letters(&mut batch, positions.iter().copied());
        self.shared.store.commit(batch).await?;
        Ok(dropped)
    }

    /// Puts a letter in the place of another, behind all others; returns its position, or `None` when the other is not
    /// there.
    ///
    /// # Errors
    /// What the store says; nothing is changed then.
    pub(crate) async fn replace_letter(
        &self,
        position: u64,
        letter: &DeadLetter,
    ) -> Result<Option<u64>, Error> {
        let _turn = self.letters_turn().await;
        let mut batch = Batch::new();
        if self.remove_letters(&mut batch, [position]) == 0 {
            return Ok(None);
        }
        batch.publish(letter.encode(), [(self.letters_id(), letter.item.flags())]);
        Ok(self.shared.store.commit(batch).await?.positions.first().copied())
    }

    /// Puts dead letters back into the outbox, as messages that are accepted now; returns how many. It stops at the first
    /// for which there is no room.
    ///
    /// # Errors
    /// What the store says; the rest is where it was then.
    pub(crate) async fn retry_letters(&self, positions: &[u64]) -> Result<u64, Error> {
        let _turn = self.letters_turn().await;
        let (mut batch, mut added) = (Batch::new(), Added::default());
        let mut sent = Vec::new();
        for position in positions {
            let Some(letter) = self.letter(*position).await? else { continue };
            let item = Item { accepted_wall_ms: self.shared.now().wall_ms, ..letter.item };
            if !self.shared.take_room(&item, item.bytes()) {
                break;
            }
            self.shared.add(&mut batch, &mut added, item);
            sent.push(*position);
        }
        let count = self.remove_letters(&mut batch, sent.iter().copied());
        if batch.is_empty() {
            return Ok(0);
        }
        let result = self.shared.store.commit(batch).await;
        self.settled(added, result.as_ref().ok());
        result.map(|_| count)
    }

    /// Returns one dead letter.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn letter(&self, position: u64) -> Result<Option<DeadLetter>, Error> {
        if self.is_marked(position) {
            return Ok(None);
        }
        let entries = self.shared.store.read(self.letters_id(), position, 1, READ_BYTES).await?;
        let entry = entries.first().filter(|entry| entry.position == position);
        Ok(entry.and_then(|entry| DeadLetter::decode(&entry.message, entry.flags)))
    }

    /// One change of dead letters at a time: each looks at what there is before it changes it.
    async fn letters_turn(&self) -> Option<SemaphorePermit<'_>> {
        self.shared.letters.acquire().await.ok()
    }

    /// Puts the removal of letters into a batch; returns how many are there.
    fn remove_letters(&self, batch: &mut Batch, positions: impl IntoIterator<Item = u64>) -> u64 {
        let status = self.letters_queue();
        let is_there = |position: &u64| (status.head..status.next).contains(position);
        let mut marks = self.marks(0);
        let known = marks.clone();
        let new: BTreeSet<u64> =
            positions.into_iter().filter(is_there).filter(|position| !known.contains(position)).collect();
        marks.extend(&new);
        let mut head = status.head;
        while marks.contains(&head) {
            head += 1;
        }
        if head > status.head {
            batch.consume(self.letters_id(), head);
        }
        for passed in known.range(..head) {
            batch.delete(GONE_TABLE, self.mark_key(*passed));
        }
        for position in new.range(head..) {
            batch.put(GONE_TABLE, self.mark_key(*position), Bytes::from_static(&[FORM]));
        }
        new.len() as u64
    }

    /// Returns the positions from one on that are marked as gone.
    fn marks(&self, from: u64) -> BTreeSet<u64> {
        let rows = self.shared.rows(GONE_TABLE);
        let position = |key: &Bytes| Some(u64::from_be_bytes(*key.get(8..)?.first_chunk()?));
        rows.iter().filter_map(|(key, _)| position(key)).filter(|position| *position >= from).collect()
    }

    fn is_marked(&self, position: u64) -> bool {
        self.shared.store.value(GONE_TABLE, &self.mark_key(position)).is_some()
    }

    fn mark_key(&self, position: u64) -> Bytes {
        super::gone::key(self.shared.number, position)
    }

    const fn letters_id_of(number: u64) -> u64 {
        8 * number + 3
    }

    fn letters_id(&self) -> u64 {
        Self::letters_id_of(self.shared.number)
    }

    fn letters_queue(&self) -> QueueStatus {
        let none = QueueStatus { head: 0, next: 0, waiting: 0 };
        self.shared.store.queue_status(self.letters_id()).unwrap_or(none)
    }
}
