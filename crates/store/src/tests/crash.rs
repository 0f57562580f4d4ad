//! Faults at every operation, and power cuts at every sync.

use bytes::Bytes;
use fastrand::Rng;

use super::support::{Model, Rig};
use crate::{Batch, Error, Options, SimulatedDisk, Stats, verify};

const BATCHES: usize = 240;

/// What a run has handed in, and up to where it was acknowledged.
struct Run {
    /// The state after each batch, the first being the empty one.
    states: Vec<Model>,
    /// What must survive a kill.
    acknowledged: usize,
    /// What must survive a power cut: all but what is only written.
    synced: usize,
    /// The frame of each that was acknowledged.
    sequences: Vec<u64>,
    stats: Stats,
}

/// What happened to the disk after a run.
#[derive(Clone, Copy, PartialEq)]
enum Loss {
    Process,
    Power,
}

/// Commits random batches, several at a time, until one fails or all are done.
fn run(disk: &SimulatedDisk, seed: u64) -> Run {
    let mut rng = Rng::with_seed(seed);
    let mut run = Run {
        states: vec![Model::default()],
        acknowledged: 0,
        synced: 0,
        sequences: Vec::new(),
        stats: Stats::default(),
    };
    let Ok(mut rig) = Rig::open(disk) else { return run };
    while run.states.len() <= BATCHES {
        let mut tickets = Vec::new();
        let is_written = rng.u8(0..3) == 0;
        for _ in 0..rng.usize(1..4) {
            let mut model = run.states.last().unwrap().clone();
            let mut batch = model.change(&mut rng);
            if is_written {
                batch.written();
            }
            tickets.push(rig.store.commit(batch));
            run.states.push(model);
        }
        rig.writer.turn();
        if rng.u8(0..10) == 0 {
            rig.writer.sync();
        }
        run.stats = rig.store.stats();
        for ticket in tickets {
            let Ok(committed) = ticket.wait() else { return run };
            run.acknowledged += 1;
            run.sequences.push(committed.sequence);
        }
        run.synced = run.sequences.partition_point(|sequence| *sequence <= rig.store.watermark());
    }
    run
}

/// Opens the disk and checks that what is there is what some batches made, in order, all the acknowledged
/// ones among them; then that the store goes on.
fn check(disk: &SimulatedDisk, run: &Run, loss: Loss, what: &str) {
    let mut rig = Rig::open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut model = rig.contents().unwrap_or_else(|error| panic!("{what}: {error}"));
    let kept = if loss == Loss::Process { run.acknowledged } else { run.synced };
    assert!(run.states[kept..].contains(&model), "{what}: {kept} acknowledged, found {model:?}");
    let mut rng = Rng::with_seed(1);
    for _ in 0..3 {
        rig.commit(model.change(&mut rng)).unwrap();
    }
    let report = verify(&mut disk.clone()).unwrap();
    assert_eq!((report.damages, report.torn_bytes), (Vec::new(), 0), "{what}");
    let lost = disk.after_total_loss();
    assert_eq!(verify(&mut lost.clone()).unwrap().damages, [], "{what}");
    let mut again = Rig::open(&lost).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(again.contents().unwrap(), model, "{what}");
}

fn counts_of_a_whole_run(seed: u64) -> (u64, u64) {
    let disk = SimulatedDisk::new();
    let run = run(&disk, seed);
    assert!(run.acknowledged >= BATCHES);
    check(&disk, &run, Loss::Process, "no fault");
    let Stats { checkpoints, segments_removed, .. } = run.stats;
    assert!(checkpoints > 2 && segments_removed > 1, "too little happened for a test: {:?}", run.stats);
    let counts = disk.counts();
    assert!(counts.1 > 80, "too few syncs for a test: {counts:?}");
    counts
}

#[test]
fn any_operation_may_fail_once() {
    let (operations, _) = counts_of_a_whole_run(3);
    for operation in 0..operations {
        let disk = SimulatedDisk::new();
        disk.fail_once(operation);
        let run = run(&disk, 3);
        disk.heal();
        check(&disk.after_kill(), &run, Loss::Process, &format!("operation {operation}, then killed"));
        check(
            &disk.after_total_loss(),
            &run,
            Loss::Power,
            &format!("operation {operation}, then all unsynced lost"),
        );
        check(
            &disk.after_power_cut(operation),
            &run,
            Loss::Power,
            &format!("operation {operation}, then a power cut"),
        );
        check(&disk, &run, Loss::Process, &format!("operation {operation}"));
    }
}

#[test]
fn the_disk_may_fail_for_good_at_any_operation() {
    let (operations, _) = counts_of_a_whole_run(4);
    for operation in 0..operations {
        let disk = SimulatedDisk::new();
        disk.fail_from(operation);
        let run = run(&disk, 4);
        disk.heal();
        check(&disk.after_kill(), &run, Loss::Process, &format!("operation {operation}, then killed"));
        check(
            &disk.after_power_cut(operation),
            &run,
            Loss::Power,
            &format!("operation {operation}, then a power cut"),
        );
        // What the failed sync left in the page cache is whole and not durable: opening has to see to that.
        check(&disk, &run, Loss::Process, &format!("operation {operation}"));
    }
}

#[test]
fn the_power_may_go_at_any_sync() {
    for seed in 5..8 {
        let (_, syncs) = counts_of_a_whole_run(seed);
        for sync in 0..syncs {
            let disk = SimulatedDisk::new();
            disk.cut_power_at_sync(sync);
            let run = run(&disk, seed);
            check(
                &disk.after_total_loss(),
                &run,
                Loss::Power,
                &format!("seed {seed}, sync {sync}, all lost"),
            );
            for torn in 0..6 {
                let after = disk.after_power_cut(torn * 1_000 + sync);
                check(&after, &run, Loss::Power, &format!("seed {seed}, sync {sync}, torn {torn}"));
            }
        }
    }
}

#[test]
fn the_power_may_go_again_while_the_store_is_opened() {
    let disk = SimulatedDisk::new();
    disk.cut_power_at_sync(60);
    let run = run(&disk, 9);
    for torn in 0..20 {
        let first = disk.after_power_cut(torn);
        for sync in 0..4 {
            let again = first.after_kill();
            again.cut_power_at_sync(sync);
            let _ = Rig::open(&again);
            check(
                &again.after_power_cut(sync),
                &run,
                Loss::Power,
                &format!("torn {torn}, again at sync {sync}"),
            );
        }
    }
}

#[test]
fn a_poisoned_store_refuses_until_it_is_opened_again() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    let mut model = Model::default();
    let mut rng = Rng::with_seed(2);
    rig.commit(model.change(&mut rng)).unwrap();
    // The write is the next operation, the sync the one after.
    disk.fail_once(1);
    let lost = rig.commit(model.clone().change(&mut rng)).unwrap_err();
    assert!(lost.to_string().starts_with("syncing log-0000000000000001 failed"), "{lost}");
    let refused = rig.commit(model.clone().change(&mut rng)).unwrap_err();
    assert!(matches!(refused, Error::Poisoned(_)), "{refused}");
    assert!(matches!(rig.store.state(), crate::State::Poisoned(_)));
    assert!(matches!(rig.read(0, 0, 1), Err(Error::Poisoned(_))));
    assert_eq!(Rig::open(&disk).unwrap().contents().unwrap(), model, "the refused batch is gone");
}

#[test]
fn a_poisoned_store_leaves_the_disk_alone_whatever_was_going_on() {
    let mut pending = 0;
    for commits in 60..160_u8 {
        let disk = SimulatedDisk::new();
        let mut rig = Rig::open(&disk).unwrap();
        let mut commit = |number: u8| {
            let mut batch = Batch::new();
            let slow = number.is_multiple_of(6).then_some((2, 0));
            batch.publish(Bytes::from(vec![number; 90]), [(1, 0)].into_iter().chain(slow));
            batch.consume(1, u64::from(number));
            batch.put(1, Bytes::from(vec![number]), Bytes::from(vec![number; 20]));
            rig.commit(batch)
        };
        (0..commits).for_each(|number| _ = commit(number).unwrap());
        let calm = disk.after_kill();
        disk.fail_from(0);
        commit(commits).unwrap_err();
        disk.heal();
        let before = disk.counts();
        assert!(!rig.writer.turn(), "after {commits}");
        assert_eq!(disk.counts(), before, "after {commits}");
        pending += usize::from(calm.contents(crate::FileName::Temporary).is_some());
    }
    assert!(pending > 3, "no checkpoint was being written");
}

#[test]
fn nothing_follows_a_frame_that_failed() {
    let disk = SimulatedDisk::new();
    let options = Options::new().frame_bytes(4 << 10).reserve_bytes(0);
    let mut rig = Rig::open_with(&disk, options).unwrap();
    let batch = |flags| {
        let mut batch = Batch::new();
        batch.publish(Bytes::from(vec![0; 5_000]), [(1, flags)]);
        batch
    };
    disk.fail_once(1);
    let (first, second) = (rig.store.commit(batch(1)), rig.store.commit(batch(2)));
    rig.writer.turn();
    assert!(matches!(first.wait(), Err(Error::Io { .. })));
    assert!(matches!(second.wait(), Err(Error::Poisoned(_))));
    assert_eq!(Rig::open(&disk).unwrap().store.queues(), [0; 0]);
}
