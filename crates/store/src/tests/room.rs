//! Room that the last segment takes before it is written to.

use bytes::Bytes;

use super::support::{Rig, options};
use crate::{Batch, FileName, Options, SimulatedDisk, verify};

const LAST: FileName = FileName::Segment(1);
const ROOM_BYTES: usize = 512;

fn publish(message: usize) -> Batch {
    let mut batch = Batch::new();
    batch.publish(Bytes::from(vec![1; message]), [(1, 0)]);
    batch
}

fn length(disk: &SimulatedDisk) -> usize {
    disk.contents(LAST).unwrap().len()
}

#[test]
fn most_frames_leave_the_length_of_the_file_as_it_is() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    let lengths: Vec<usize> =
        (0..10).map(|_| rig.commit(publish(10)).map(|_| length(&disk)).unwrap()).collect();
    assert_eq!(lengths[..6], [ROOM_BYTES; 6]);
    assert_eq!(lengths[9], 2 * ROOM_BYTES);
    let taken = rig.commit(publish(3 * ROOM_BYTES)).map(|_| length(&disk)).unwrap();
    assert!(taken > 4 * ROOM_BYTES && taken.is_multiple_of(ROOM_BYTES), "{taken}");
}

#[test]
fn room_that_is_left_is_no_damage_after_a_crash_and_gone_after_the_next_opening() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    rig.commit(publish(10)).unwrap();
    for crashed in [disk.after_kill(), disk.after_total_loss(), disk.after_power_cut(1)] {
        assert_eq!(length(&crashed), ROOM_BYTES);
        let report = verify(&mut crashed.clone()).unwrap();
        assert_eq!((report.frames, report.torn_bytes, report.damages), (1, 0, Vec::new()));
        let mut again = Rig::open(&crashed).unwrap();
        assert_eq!(again.read(1, 0, 9).unwrap().len(), 1);
        assert!(length(&crashed) < 100);
    }
}

#[test]
fn a_torn_frame_in_its_room_is_told_without_the_room() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    rig.commit(publish(10)).unwrap();
    let mut bytes = disk.contents(LAST).unwrap();
    bytes[100..107].copy_from_slice(&[9; 7]);
    let end = bytes.iter().take(100).rposition(|byte| *byte != 0).unwrap() + 1;
    disk.set_contents(LAST, bytes);
    let report = verify(&mut disk.clone()).unwrap();
    assert_eq!((report.torn_bytes, report.damages), (107 - end as u64, Vec::new()));
}

#[test]
fn a_store_that_is_closed_and_a_segment_that_is_full_leave_no_room() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    while rig.store.stats().segments_removed == 0 && disk.contents(FileName::Segment(2)).is_none() {
        rig.commit(publish(300)).unwrap();
    }
    rig.writer.close();
    for found in [disk.after_kill(), disk.after_total_loss()] {
        for segment in [1, 2] {
            let bytes = found.contents(FileName::Segment(segment)).unwrap();
            // A message of ones ends the first, the frame that vouches for it the second.
            assert!(bytes.ends_with(&[1]) || bytes.len() < ROOM_BYTES, "segment {segment}");
        }
        assert_eq!(verify(&mut found.clone()).unwrap().torn_bytes, 0);
    }
}

#[test]
fn a_disk_without_room_takes_what_fits() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    disk.set_bytes_max(Some(disk.taken_bytes() + 120));
    rig.commit(publish(10)).unwrap();
    assert!(length(&disk) < 120);
    rig.commit(publish(200)).unwrap_err();
    disk.set_bytes_max(None);
    rig.commit(publish(200)).unwrap();
    assert_eq!(length(&disk), ROOM_BYTES);
}

#[test]
fn a_store_may_take_no_room() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open_with(&disk, Options::room_bytes(options(), 0)).unwrap();
    rig.commit(publish(10)).unwrap();
    assert!(length(&disk) < 100);
}
