//! A store on a simulated disk whose writer the test drives, and a model of what it must hold.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;

use crate::{Batch, Committed, Error, Options, SimulatedDisk, Store, Ticket, Waiting, Writer};

/// What a store must hold: tables, and per queue what it ever held, with what is consumed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) tables: BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    pub(crate) queues: BTreeMap<u64, ModelQueue>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ModelQueue {
    pub(crate) head: u64,
    pub(crate) next: u64,
    pub(crate) waiting: BTreeMap<u64, (u8, Vec<u8>)>,
}

impl Model {
    /// Fills a batch with random changes, and makes them here too.
    pub(crate) fn change(&mut self, rng: &mut Rng) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..rng.usize(1..4) {
            match rng.u8(0..12) {
                0..=5 => self.publish(rng, &mut batch),
                6..=8 => self.consume(rng, &mut batch),
                9 => self.put(rng, &mut batch),
                10 => self.delete(rng, &mut batch),
                _ => self.remove(rng, &mut batch),
            }
        }
        batch
    }

    pub(crate) fn publish(&mut self, rng: &mut Rng, batch: &mut Batch) {
        let message: Vec<u8> = (0..rng.usize(0..90)).map(|_| rng.u8(..)).collect();
        let mut targets = Vec::new();
        // The last queue is the forgotten one: hardly anything goes there, and nothing is consumed.
        let first = if rng.u8(0..40) == 0 { 3 } else { rng.u64(0..3) };
        for queue in first..(first + rng.u64(1..3)).min(4) {
            let flags = rng.u8(..);
            targets.push((queue, flags));
            let queue = self.queues.entry(queue).or_default();
            queue.waiting.insert(queue.next, (flags, message.clone()));
            queue.next += 1;
        }
        batch.publish(Bytes::from(message), targets);
    }

    fn consume(&mut self, rng: &mut Rng, batch: &mut Batch) {
        let id = rng.u64(0..3);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let position = queue.head + rng.u64(0..20);
        batch.consume(id, position);
        queue.consume(position);
    }

    fn put(&mut self, rng: &mut Rng, batch: &mut Batch) {
        let (table, key, value) = (rng.u32(0..2), vec![rng.u8(0..6)], vec![rng.u8(..); rng.usize(0..30)]);
        batch.put(table, Bytes::from(key.clone()), Bytes::from(value.clone()));
        self.tables.insert((table, key), value);
    }

    fn delete(&mut self, rng: &mut Rng, batch: &mut Batch) {
        let (table, key) = (rng.u32(0..2), vec![rng.u8(0..6)]);
        batch.delete(table, Bytes::from(key.clone()));
        self.tables.remove(&(table, key));
    }

    fn remove(&mut self, rng: &mut Rng, batch: &mut Batch) {
        // Seldom, or no queue grows long enough to spill.
        let id = rng.u64(0..60);
        batch.remove_queue(id);
        self.queues.remove(&id);
    }
}

impl ModelQueue {
    pub(crate) fn consume(&mut self, position: u64) {
        self.head = self.head.max(position.min(self.next));
        self.waiting = self.waiting.split_off(&self.head);
    }
}

/// A store and the writer that the test drives.
pub(crate) struct Rig {
    pub(crate) disk: SimulatedDisk,
    pub(crate) store: Store,
    pub(crate) writer: Writer,
}

/// Small segments, so that few batches bring new ones, checkpoints and copies.
pub(crate) fn options() -> Options {
    Options::new().segment_bytes(4 << 10).room_bytes(512).reserve_bytes(0)
}

impl Rig {
    pub(crate) fn open(disk: &SimulatedDisk) -> Result<Self, Error> {
        Self::open_with(disk, options())
    }

    pub(crate) fn open_with(disk: &SimulatedDisk, options: Options) -> Result<Self, Error> {
        let (store, writer) = Store::open_driven(disk.clone(), options)?;
        Ok(Self { disk: disk.clone(), store, writer })
    }

    /// Returns the index, to look at what is in memory.
    pub(crate) fn writer_index(&self) -> &parking_lot::RwLock<crate::index::Index> {
        self.writer.index()
    }

    pub(crate) fn commit(&mut self, batch: Batch) -> Result<Committed, Error> {
        let ticket = self.store.commit(batch);
        let committed = self.answer(ticket)?;
        assert_eq!(self.store.stats().disk_bytes, self.disk.taken_bytes());
        Ok(committed)
    }

    pub(crate) fn read(&mut self, queue: u64, from: u64, count_max: usize) -> Result<Vec<Waiting>, Error> {
        let ticket = self.store.read(queue, from, count_max, usize::MAX);
        self.answer(ticket)
    }

    fn answer<T>(&mut self, ticket: Ticket<T>) -> Result<T, Error> {
        self.writer.turn();
        ticket.wait()
    }

    /// Returns everything that the store holds.
    pub(crate) fn contents(&mut self) -> Result<Model, Error> {
        let mut model = Model::default();
        for table in 0..2 {
            for (key, value) in self.store.scan(table, None, usize::MAX) {
                model.tables.insert((table, key.to_vec()), value.to_vec());
            }
        }
        for id in self.store.queues() {
            let status = self.store.queue_status(id).unwrap();
            let mut entries = Vec::new();
            let mut from = 0;
            loop {
                let read = self.read(id, from, usize::MAX)?;
                let Some(last) = read.last() else { break };
                from = last.position + 1;
                entries.extend(read);
            }
            assert_eq!(status.waiting, entries.len() as u64);
            let waiting = entries
                .into_iter()
                .map(|entry| (entry.position, (entry.flags, entry.message.to_vec())))
                .collect();
            model.queues.insert(id, ModelQueue { head: status.head, next: status.next, waiting });
        }
        Ok(model)
    }
}
