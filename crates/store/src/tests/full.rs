//! A full disk: back-pressure, and a way out.

use bytes::Bytes;

use super::support::Rig;
use crate::{Batch, Error, Options, SimulatedDisk, State, verify};

const DISK_BYTES: u64 = 64 << 10;

fn publish(message: usize) -> Batch {
    let mut batch = Batch::new();
    batch.publish(Bytes::from(vec![1; message]), [(1, 0)]);
    batch
}

fn options() -> Options {
    Options::new().segment_bytes(8 << 10).room_bytes(2 << 10).reserve_bytes(16 << 10)
}

/// Fills the disk; returns how many messages were taken.
fn fill(rig: &mut Rig) -> u64 {
    for number in 0.. {
        match rig.commit(publish(500)) {
            Ok(_) => {}
            Err(Error::Full) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a disk without end")
}

#[test]
fn a_full_disk_refuses_messages_takes_consumption_and_recovers_by_itself() {
    let disk = SimulatedDisk::new();
    disk.set_bytes_max(Some(DISK_BYTES));
    let mut rig = Rig::open_with(&disk, options()).unwrap();
    for round in 0..5 {
        let taken = fill(&mut rig);
        assert!(matches!(rig.store.state(), State::Full), "round {round}");
        assert!(taken > 50, "round {round}: {taken}");
        assert!(matches!(rig.commit(publish(500)), Err(Error::Full)), "still full");
        assert_eq!(verify(&mut disk.clone()).unwrap().torn_bytes, 0, "a part of a frame was left");
        let status = rig.store.queue_status(1).unwrap();
        let mut essential = Batch::new();
        essential.put(1, "confirmed".into(), "yes".into()).consume(1, status.next).essential();
        rig.commit(essential).unwrap();
        rig.commit(publish(500)).unwrap();
        assert!(matches!(rig.store.state(), State::Open), "round {round}");
    }
    let status = rig.store.queue_status(1);
    let mut again = Rig::open_with(&disk.after_total_loss(), options()).unwrap();
    assert_eq!(again.store.queue_status(1), status);
    assert_eq!(again.read(1, 0, 9).unwrap().len(), 1);
}

#[test]
fn consumption_that_nobody_waits_for_frees_a_full_disk_too() {
    let disk = SimulatedDisk::new();
    disk.set_bytes_max(Some(DISK_BYTES));
    let mut rig = Rig::open_with(&disk, options()).unwrap();
    let taken = fill(&mut rig);
    rig.store.consume(1, taken);
    rig.writer.turn();
    rig.commit(publish(500)).unwrap();
}

#[test]
fn a_store_that_is_opened_on_a_full_disk_loses_nothing_and_says_so_when_it_matters() {
    let disk = SimulatedDisk::new();
    disk.set_bytes_max(Some(DISK_BYTES));
    let mut rig = Rig::open_with(&disk, options()).unwrap();
    let taken = fill(&mut rig);
    let full = disk.after_kill();
    full.set_bytes_max(Some(DISK_BYTES));
    let mut again = Rig::open_with(&full, options()).unwrap();
    assert_eq!(again.store.queue_status(1).unwrap().waiting, taken);
    assert!(matches!(again.commit(publish(500)), Err(Error::Full)));
    assert!(matches!(again.store.state(), State::Full));
    full.set_bytes_max(None);
    again.commit(publish(500)).unwrap();
    assert!(matches!(again.store.state(), State::Open));
}

#[test]
fn a_batch_that_is_too_large_is_refused() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    let message = Bytes::from(vec![0; 1 << 20]);
    let mut batch = Batch::new();
    for _ in 0..513 {
        batch.publish(message.clone(), [(1, 0)]);
    }
    assert!(matches!(rig.commit(batch), Err(Error::TooLarge { bytes_max: crate::BATCH_BYTES_MAX, .. })));
}
