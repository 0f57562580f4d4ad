//! Checkpoints that are written while the store goes on.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::support::{Rig, options};
use crate::{Batch, Disk, FileName, SimulatedDisk, Store};

const ENTRIES: u8 = 100;

fn put_all(value: u8) -> Batch {
    let mut batch = Batch::new();
    for key in 0..ENTRIES {
        batch.put(1, Bytes::from(vec![key]), Bytes::from(vec![value; 20]));
    }
    batch
}

fn publish(queue: u64, bytes: usize) -> Batch {
    let mut batch = Batch::new();
    batch.publish(Bytes::from(vec![0; bytes]), [(queue, 0)]);
    batch
}

fn is_being_written(disk: &SimulatedDisk) -> bool {
    disk.contents(FileName::Temporary).is_some()
}

/// Commits until a checkpoint has begun that takes many pieces.
fn begin(disk: &SimulatedDisk) -> Rig {
    let mut rig = Rig::open(disk).unwrap();
    rig.commit(put_all(1)).unwrap();
    while !is_being_written(disk) {
        rig.commit(publish(1, 100)).unwrap();
    }
    rig
}

#[test]
fn a_commit_does_not_wait_for_a_whole_checkpoint_and_idle_turns_end_it() {
    let disk = SimulatedDisk::new();
    let mut rig = begin(&disk);
    let before = rig.store.stats();
    assert_eq!((before.checkpoints, before.checkpoint_bytes > 200), (0, true));
    let mut pieces = 0;
    while rig.writer.turn() {
        pieces += 1;
    }
    assert!(pieces > 5, "{pieces}");
    assert_eq!((rig.store.stats().checkpoints, is_being_written(&disk)), (1, false));
    assert_eq!(Rig::open(&disk.after_total_loss()).unwrap().store.scan(1, None, 999).len(), 100);
}

#[test]
fn a_busy_store_ends_its_checkpoints_too_and_writes_no_more_of_them_than_of_the_log() {
    let disk = SimulatedDisk::new();
    let mut rig = begin(&disk);
    let logged = rig.store.stats().frame_bytes;
    while is_being_written(&disk) {
        rig.commit(publish(1, 50)).unwrap();
    }
    let stats = rig.store.stats();
    assert!(stats.frame_bytes - logged <= stats.checkpoint_bytes + 300, "{stats:?}");
    for _ in 0..500 {
        rig.commit(put_all(2)).unwrap();
    }
    let stats = rig.store.stats();
    assert!(stats.checkpoints > 50 && stats.checkpoint_bytes <= stats.frame_bytes, "{stats:?}");
}

#[test]
fn an_idle_store_writes_no_more_of_checkpoints_than_of_the_log() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    let mut batch = Batch::new();
    for key in 0..500_u16 {
        batch.put(1, Bytes::copy_from_slice(&key.to_be_bytes()), Bytes::from(vec![1; 20]));
    }
    rig.commit(batch).unwrap();
    for _ in 0..1_000 {
        rig.commit(publish(1, 100)).unwrap();
        while rig.writer.turn() {}
    }
    let stats = rig.store.stats();
    assert!(stats.checkpoints > 3 && stats.checkpoint_bytes <= stats.frame_bytes, "{stats:?}");
}

#[test]
fn what_a_checkpoint_shows_is_what_was_when_it_began() {
    let disk = SimulatedDisk::new();
    let mut rig = begin(&disk);
    rig.commit(put_all(2)).unwrap();
    let mut removal = Batch::new();
    removal.remove_queue(1).delete(1, Bytes::from_static(&[7]));
    rig.commit(removal).unwrap();
    while rig.writer.turn() {}
    let again = Rig::open(&disk.after_total_loss()).unwrap();
    assert_eq!(again.store.value(1, &[8]).unwrap()[..], [2; 20]);
    assert_eq!((again.store.value(1, &[7]), again.store.queues()), (None, vec![]));
}

#[test]
fn what_is_only_written_lets_no_segment_go_before_it_is_synced() {
    let disk = SimulatedDisk::new();
    let mut rig = begin(&disk);
    while rig.writer.turn() {}
    // Another one, of a log in which everything is consumed only after it has begun.
    rig.commit(put_all(1)).unwrap();
    while !is_being_written(&disk) {
        rig.commit(publish(1, 100)).unwrap();
    }
    let segments = |disk: &SimulatedDisk| disk.clone().list().unwrap().len();
    let before = segments(&disk);
    let mut consumption = Batch::new();
    consumption.consume(1, u64::MAX).written();
    rig.commit(consumption).unwrap();
    while rig.writer.turn() {}
    assert!(segments(&disk) < before);
    disk.clone().sync_directory().unwrap();
    assert_eq!(Rig::open(&disk.after_total_loss()).unwrap().store.queue_status(1).unwrap().waiting, 0);
}

#[test]
fn a_store_with_a_thread_ends_a_checkpoint_while_nobody_commits() {
    let store = Store::open(SimulatedDisk::new(), options()).unwrap();
    store.commit(put_all(1)).wait().unwrap();
    while store.stats().checkpoint_bytes == 0 {
        store.commit(publish(1, 100)).wait().unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.stats().checkpoints == 0 {
        assert!(Instant::now() < deadline, "it is still being written");
        std::thread::yield_now();
    }
}
