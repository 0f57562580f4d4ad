//! Every byte changed, files cut and removed: reported, never a panic, never a silent loss.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::support::{Model, Rig, options};
use crate::salvage::{salvage, verify};
use crate::{Disk, Error, FileName, SimulatedDisk};

/// Makes a store of a few segments that was closed in order.
fn sample(seed: u64, batches: usize) -> (SimulatedDisk, Model) {
    let disk = SimulatedDisk::new();
    let mut rng = Rng::with_seed(seed);
    let mut model = Model::default();
    let mut rig = Rig::open(&disk).unwrap();
    for _ in 0..batches {
        rig.commit(model.change(&mut rng)).unwrap();
    }
    rig.writer.close();
    (disk, model)
}

/// Saves what can be saved from a disk into a new store, and returns what is in it.
fn salvaged(disk: &SimulatedDisk) -> (crate::Salvaged, Model) {
    let target = SimulatedDisk::new();
    let saved = salvage(&mut disk.clone(), target.clone(), options()).unwrap();
    assert_eq!(verify(&mut target.clone()).unwrap().damages, []);
    let model = Rig::open(&target).unwrap().contents().unwrap();
    (saved, model)
}

/// Returns the messages of each queue in their order, without positions.
fn messages(model: &Model) -> BTreeMap<u64, Vec<(u8, Vec<u8>)>> {
    let filled = model.queues.iter().filter(|(_, queue)| !queue.waiting.is_empty());
    filled.map(|(id, queue)| (*id, queue.waiting.values().cloned().collect())).collect()
}

#[test]
fn a_whole_store_verifies_and_is_salvaged_whole() {
    for seed in 0..20 {
        let (disk, model) = sample(seed, 150);
        let report = verify(&mut disk.clone()).unwrap();
        assert_eq!((&report.damages, report.torn_bytes), (&Vec::new(), 0), "seed {seed}");
        let (saved, copy) = salvaged(&disk);
        assert_eq!(messages(&copy), messages(&model), "seed {seed}");
        assert_eq!((copy.tables, saved.messages_lost), (model.tables, 0), "seed {seed}");
    }
}

#[test]
fn any_changed_byte_is_refused_or_harmless_and_always_reported() {
    let (disk, model) = sample(11, 90);
    let files = disk.clone().list().unwrap();
    let last = *files.iter().filter(|file| matches!(file, FileName::Segment(_))).max().unwrap();
    let (mut refused, mut opened) = (0, 0);
    for file in files {
        let whole = disk.contents(file).unwrap();
        for index in 0..whole.len() {
            let what = format!("{file}, byte {index}");
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            let changed = disk.after_kill();
            changed.set_contents(file, bytes);
            let report = verify(&mut changed.clone()).unwrap();
            let is_closing_frame = file == last && index >= whole.len() - 32;
            assert_eq!(report.damages.is_empty(), is_closing_frame, "{what}: {report:?}");
            assert_eq!(report.torn_bytes > 0, is_closing_frame, "{what}");
            match Rig::open(&changed.after_kill()).and_then(|mut rig| rig.contents()) {
                Ok(contents) => {
                    assert_eq!(contents, model, "{what}");
                    opened += 1;
                }
                Err(Error::Corrupt(damage)) => {
                    assert_eq!(damage.file, file, "{what}: {damage}");
                    refused += 1;
                }
                Err(error) => panic!("{what}: {error}"),
            }
            if index % 7 == 0 {
                let (saved, copy) = salvaged(&changed);
                assert_eq!(saved.report, report);
                assert!(copy.queues.len() <= 4, "{what}");
            }
        }
    }
    assert!(refused > 1_000 && opened > 31, "{refused} refused, {opened} opened");
}

#[test]
fn salvage_loses_no_more_than_the_damaged_frame() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    for number in 0..30_u8 {
        let mut batch = crate::Batch::new();
        batch.publish(bytes::Bytes::from(vec![number; 40]), [(1, number)]);
        rig.commit(batch).unwrap();
    }
    rig.writer.close();
    let mut bytes = disk.contents(FileName::Segment(1)).unwrap();
    let place = bytes.windows(40).position(|window| window == [12; 40]).unwrap();
    bytes[place] ^= 1;
    disk.set_contents(FileName::Segment(1), bytes);
    let refused = Rig::open(&disk).err().unwrap().to_string();
    assert!(
        refused.starts_with("the store is damaged: log-0000000000000001 at offset ")
            && refused.contains("expected frame 13, found none that is whole, but frame"),
        "{refused}"
    );
    let (saved, copy) = salvaged(&disk);
    assert_eq!((saved.messages, saved.report.damages.len()), (29, 1));
    let flags: Vec<u8> = copy.queues[&1].waiting.values().map(|(flags, _)| *flags).collect();
    assert_eq!(flags, (0..30).filter(|number| *number != 12).collect::<Vec<_>>());
}

#[test]
fn a_missing_or_shortened_file_is_refused_unless_nothing_needs_it() {
    let (disk, model) = sample(12, 150);
    for file in disk.clone().list().unwrap() {
        let mut without = disk.after_kill();
        without.remove(file).unwrap();
        check_refused_or_whole(&without, &model, &format!("without {file}"));
        let whole = disk.contents(file).unwrap();
        for length in [0, 20, 36, whole.len() / 2, whole.len() - 33] {
            let shortened = disk.after_kill();
            shortened.set_contents(file, whole.iter().copied().take(length).collect());
            let report = verify(&mut shortened.clone()).unwrap();
            salvaged(&shortened);
            // An end that is missing looks like a crash, and only what no later frame vouches for may be
            // missing.
            let is_end = report.damages.is_empty();
            if !is_end {
                check_refused_or_whole(&shortened, &model, &format!("{file} of {length} bytes"));
            }
        }
    }
}

fn check_refused_or_whole(disk: &SimulatedDisk, model: &Model, what: &str) {
    match Rig::open(disk).and_then(|mut rig| rig.contents()) {
        Ok(contents) => assert_eq!(&contents, model, "{what}"),
        Err(Error::Corrupt(_)) => {}
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn nothing_is_salvaged_into_a_store_that_holds_something() {
    let (disk, _) = sample(13, 5);
    let (other, _) = sample(14, 5);
    assert!(salvage(&mut disk.clone(), other, options()).is_err());
}

#[test]
fn a_segment_whose_making_was_cut_short_is_no_damage_when_it_is_the_last() {
    for header in [&b""[..], b"XPSG\x01"] {
        let (mut disk, model) = sample(3, 60);
        let next = disk.list().unwrap().into_iter().filter_map(|file| match file {
            FileName::Segment(number) => Some(number + 1),
            _ => None,
        });
        let next = FileName::Segment(next.max().unwrap());
        disk.create(next).unwrap();
        disk.write_at(next, 0, header).unwrap();
        let report = verify(&mut disk.clone()).unwrap();
        assert_eq!((report.damages, report.torn_bytes), (Vec::new(), header.len() as u64));
        assert_eq!(Rig::open(&disk).unwrap().contents().unwrap(), model, "opening removes it");
    }
}
