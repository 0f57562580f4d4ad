//! Batches that are confirmed without a sync.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::support::Rig;
use crate::{Batch, Committed, Error, FileName, Options, SimulatedDisk, Store};

fn written(number: u8) -> Batch {
    let mut batch = synced(number);
    batch.written();
    batch
}

fn synced(number: u8) -> Batch {
    let mut batch = Batch::new();
    batch.publish(Bytes::from(vec![number]), [(1, 0)]);
    batch
}

fn messages(disk: &SimulatedDisk) -> Vec<u8> {
    let mut rig = Rig::open(disk).unwrap();
    rig.read(1, 0, 100).unwrap().iter().map(|entry| entry.message[0]).collect()
}

#[test]
fn a_written_batch_costs_no_sync_and_survives_a_kill() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    let syncs = disk.counts().1;
    for number in 0..3 {
        let Committed { sequence, positions } = rig.commit(written(number)).unwrap();
        assert_eq!((sequence, positions), (u64::from(number) + 1, vec![u64::from(number)]));
    }
    assert_eq!((disk.counts().1, rig.store.watermark(), rig.store.stats().syncs), (syncs, 0, 0));
    assert_eq!(rig.read(1, 0, 9).unwrap().len(), 3);
    assert_eq!(messages(&disk.after_kill()), [0, 1, 2]);
    assert_eq!(messages(&disk.after_total_loss()), [0; 0]);
}

#[test]
fn the_next_sync_covers_what_was_written_before() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    let syncs = disk.counts().1;
    rig.commit(written(0)).unwrap();
    let both = [rig.store.commit(written(1)), rig.store.commit(synced(2))];
    rig.writer.turn();
    assert!(both.into_iter().all(|ticket| ticket.wait().unwrap().sequence == 2));
    assert_eq!((disk.counts().1, rig.store.watermark()), (syncs + 1, 2));
    assert_eq!(messages(&disk.after_total_loss()), [0, 1, 2]);
    rig.commit(written(3)).unwrap();
    assert!(rig.writer.sync() && !rig.writer.sync());
    assert_eq!(rig.store.watermark(), 3);
    assert_eq!(messages(&disk.after_total_loss()), [0, 1, 2, 3]);
}

#[test]
fn closing_makes_it_durable() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    rig.commit(written(0)).unwrap();
    rig.writer.close();
    assert_eq!(messages(&disk.after_total_loss()), [0]);
}

#[test]
fn damage_to_what_was_written_before_closing_is_no_torn_tail() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    rig.commit(written(0)).unwrap();
    rig.writer.close();
    let mut bytes = disk.contents(FileName::Segment(1)).unwrap();
    bytes[36 + 32 + 5] ^= 1;
    disk.set_contents(FileName::Segment(1), bytes);
    assert!(matches!(Rig::open(&disk), Err(Error::Corrupt(_))));
}

#[test]
fn a_sync_comes_by_itself_after_the_delay_though_more_is_written() {
    let store = Store::in_memory(Options::new().written_delay(Duration::from_millis(5))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    store.commit(written(0)).wait().unwrap();
    while store.watermark() < 1 {
        assert!(Instant::now() < deadline, "nothing was synced");
        std::thread::yield_now();
    }
    while store.stats().syncs < 5 {
        store.commit(written(1)).wait().unwrap();
        assert!(Instant::now() < deadline, "nothing was synced");
    }
    assert!(store.stats().frames > 5);
}
