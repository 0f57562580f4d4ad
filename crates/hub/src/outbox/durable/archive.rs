//! What was sent, kept to look at, where a connector asks for it.
//!
//! It is written behind what it tells of, so that a crash may leave the last moment out, and it never uses what is kept
//! for a full disk. Its bytes stand in a row of their own: `docs/formats/records.md`, table 22.

use std::sync::Arc;

use bytes::Bytes;
use crosspoint_store::bytes_in::{self, BytesIn};
use crosspoint_store::{Batch, Error, Ticket, Waiting};

use super::entry::{FlowNames, Item};
use super::shared::{FIGURES_TABLE, Shared};
use crate::config::plan::ArchivePlan;

/// The row that tells how many bytes there are.
pub(super) const BYTES_ROW: u64 = u64::MAX;

const FORM: u8 = 1;

/// How many messages are written at once, at most.
const AT_ONCE: usize = 1_024;

/// How often it is looked for messages that are too old.
const LOOK_EVERY_MS: u64 = 10_000;

/// How much is read at once to find what has to go.
const READ_ENTRIES: usize = 1_024;
const READ_BYTES: usize = 1 << 20;

/// The archive of one connector, for one pump.
#[derive(Debug)]
pub(super) struct Archive {
    shared: Arc<Shared>,
    queue: u64,
    items: Vec<Item>,
    bytes: u64,
    looked_ms: u64,
    reading: Option<Ticket<Vec<Waiting>>>,
}

impl Archive {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let row = shared.store.value(FIGURES_TABLE, &shared.figures_key(BYTES_ROW));
        let bytes = row.and_then(|row| decode(&row)).unwrap_or(0);
        let queue = shared.queue + 4;
        Self { shared: shared.clone(), queue, items: Vec::new(), bytes, looked_ms: 0, reading: None }
    }

    /// Takes what was sent, and writes it when it is `due` or much.
    pub(super) fn turn(&mut self, sent: &mut Vec<Item>, is_due: bool, now_ms: u64) {
        self.items.append(sent);
        if !self.items.is_empty() && (is_due || self.items.len() >= AT_ONCE) {
            self.write();
        }
        self.look_for_old(now_ms);
    }

    /// Waits for what was read to find what has to go.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn read(&mut self) -> Result<Vec<Waiting>, Error> {
        match &mut self.reading {
            Some(ticket) => ticket.await,
            None => std::future::pending().await,
        }
    }

    /// Lets go of what is too old or too much among the oldest.
    pub(super) fn on_read(&mut self, result: Result<Vec<Waiting>, Error>) {
        self.reading = None;
        let Some(plan) = self.plan() else { return };
        let Ok(entries) = result else { return };
        let (wall_ms, mut flows) = (self.shared.now().wall_ms, FlowNames::default());
        let mut head = None;
        for entry in entries {
            let item = Item::decode(&entry.message, entry.flags, &mut flows);
            let is_old = item.as_ref().is_none_or(|item| is_old(item, &plan, wall_ms));
            if self.bytes <= plan.bytes_max && !is_old {
                break;
            }
            self.bytes = self.bytes.saturating_sub(item.map_or(0, |item| item.bytes()));
            head = Some(entry.position + 1);
        }
        let Some(head) = head else { return };
        let mut batch = Batch::new();
        batch.consume(self.queue, head);
        self.put_bytes(&mut batch);
        drop(self.shared.store.commit(batch));
        // There may be more.
        self.looked_ms = 0;
        self.shared.work.notify_one();
    }

    fn write(&mut self) {
        let mut batch = Batch::new();
        for item in self.items.drain(..) {
            self.bytes += item.bytes();
            batch.publish(item.encode(), [(self.queue, item.flags())]);
        }
        self.put_bytes(&mut batch);
        // On a full disk it goes without.
        drop(self.shared.store.commit(batch));
    }

    fn look_for_old(&mut self, now_ms: u64) {
        let Some(plan) = self.plan() else { return };
        let is_time = self.looked_ms == 0 || now_ms >= self.looked_ms + LOOK_EVERY_MS;
        let may_be_old = plan.age_max.is_some() && is_time;
        if self.reading.is_none() && (self.bytes > plan.bytes_max || may_be_old) {
            self.looked_ms = now_ms.max(1);
            let Some(status) = self.shared.store.queue_status(self.queue) else { return };
            if status.waiting == 0 {
                self.bytes = 0;
                return;
            }
            let read = self.shared.store.read(self.queue, status.head, READ_ENTRIES, READ_BYTES);
            self.reading = Some(read);
        }
    }

    fn plan(&self) -> Option<ArchivePlan> {
        self.shared.state().policy.archive
    }

    fn put_bytes(&self, batch: &mut Batch) {
        let mut row = vec![FORM];
        bytes_in::put_varint(&mut row, self.bytes);
        batch.put(FIGURES_TABLE, self.shared.figures_key(BYTES_ROW), Bytes::from(row));
    }
}

fn decode(row: &[u8]) -> Option<u64> {
    let mut row = BytesIn::of_form(FORM, row)?;
    row.varint()
}

fn is_old(item: &Item, plan: &ArchivePlan, wall_ms: u64) -> bool {
    let age_ms = u128::from(wall_ms.saturating_sub(item.accepted_wall_ms));
    plan.age_max.is_some_and(|max| age_ms > max.as_millis())
}
