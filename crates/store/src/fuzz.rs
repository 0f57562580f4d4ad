//! What is fuzzed: functions that take any bytes and panic where an invariant does not hold.
//!
//! The tests replay `fuzz/corpus`, one folder a target.

use crate::bytes_in::BytesIn;
use crate::checkpoint;
use crate::frame::{self, Frame, Place};
use crate::index::Index;
use crate::record::{self, Record};
use crate::scan::{Scan, Step};

/// A function to fuzz, and the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[("scan", scan), ("records", records), ("checkpoint", checkpoint)];

const PLACE: Place = Place { salt: 1, segment: 1, offset: 0 };

/// A walk through a segment covers all of it, step by step, and its frames are whole.
fn scan(input: &[u8]) {
    let mut due = 0;
    for step in Scan::new(input, PLACE.salt, PLACE.segment, 0) {
        let (start, end) = match &step {
            Step::Frame(start, frame) => (*start, start + frame.length() as u64),
            Step::Gap(start, end) => (*start, *end),
        };
        assert!(start == due && end > start, "{step:?}, due at {due}");
        if let Step::Frame(_, frame) = step {
            let _ = frame.records();
        }
        due = end;
    }
    assert_eq!(due, input.len() as u64);
}

/// Records in a frame come back as they are, encoding them anew changes nothing, and any of them may be
/// applied.
fn records(input: &[u8]) {
    let mut bytes = BytesIn::new(input);
    let mut index = Index::default();
    let mut encoded = Vec::new();
    frame::begin(&mut encoded);
    let mut records = Vec::new();
    while let Some(record) = Record::decode(&mut bytes) {
        encode(&mut encoded, &record);
        records.push(record);
    }
    frame::finish(&mut encoded, 2, 1, records.len() as u32, PLACE);
    let Some(again) = Frame::decode(&encoded, PLACE) else { panic!("a frame that was just made is none") };
    let Some(again) = again.records() else { panic!("records that were just made are none") };
    assert!(again.iter().map(|(_, record)| record).eq(&records));
    for (location, record) in &again {
        let _ = index.apply(*location, record);
    }
}

fn encode(out: &mut Vec<u8>, record: &Record<'_>) {
    match record {
        Record::Publish { targets, message } => record::encode_publish(out, targets, message),
        Record::Moved { targets, message } => record::encode_moved(out, targets, message),
        Record::Put { table, key, value } => record::encode_put(out, *table, key, value),
        Record::Delete { table, key } => record::encode_delete(out, *table, key),
        Record::Consume { queue, position } => record::encode_consume(out, *queue, *position),
        Record::Remove { queue } => record::encode_remove(out, *queue),
        Record::Block { queue, first, entries } => record::encode_block(out, *queue, *first, entries.iter()),
    }
}

/// A checkpoint of any content is read or refused.
fn checkpoint(input: &[u8]) {
    let _ = checkpoint::decode(input);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::disk::{FileName, SimulatedDisk};

    #[test]
    fn every_input_of_the_corpus_keeps_the_invariants() {
        for (name, target) in TARGETS {
            let folder =
                Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../fuzz/corpus").join(name);
            let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut count = 0;
            for file in files {
                target(&fs::read(file.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count > 1, "{} holds no inputs", folder.display());
        }
    }

    /// Changes what real files hold, at random.
    #[test]
    fn changed_files_keep_the_invariants() {
        let mut disk = SimulatedDisk::new();
        let mut rng = fastrand::Rng::with_seed(4);
        let mut model = crate::tests::Model::default();
        let (store, mut writer) =
            crate::Store::open_driven(disk.clone(), crate::Options::new().reserve_bytes(0)).unwrap();
        for _ in 0..60 {
            drop(store.commit(model.change(&mut rng)));
            writer.turn();
        }
        let segment = disk.contents(FileName::Segment(1)).unwrap();
        let covered = checkpoint::Covered::default();
        checkpoint::write(&mut disk, covered, writer.index()).unwrap();
        let content = disk.contents(FileName::Checkpoint(0)).unwrap();
        for _ in 0..3_000 {
            let (source, start) = if rng.bool() { (&content, 0) } else { (&segment, 36 + 32) };
            let mut input = source[start..].to_vec();
            for _ in 0..rng.usize(0..4) {
                let place = rng.usize(0..input.len());
                input[place] = rng.u8(..);
            }
            input.truncate(rng.usize(0..=input.len()));
            TARGETS.iter().for_each(|(_, target)| target(&input));
        }
    }
}
