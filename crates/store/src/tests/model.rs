//! Random batches against the model, with restarts.

use fastrand::Rng;

use super::support::{Model, Rig};
use crate::SimulatedDisk;

#[test]
fn the_store_holds_what_the_model_holds_over_restarts() {
    let mut totals = (0, 0, 0);
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let mut model = Model::default();
        let mut disk = SimulatedDisk::new();
        for _ in 0..6 {
            let mut rig = Rig::open(&disk).unwrap();
            assert_eq!(rig.contents().unwrap(), model, "seed {seed}");
            for _ in 0..rng.usize(0..150) {
                rig.commit(model.change(&mut rng)).unwrap();
            }
            assert_eq!(rig.contents().unwrap(), model, "seed {seed}");
            let stats = rig.store.stats();
            totals.0 += stats.checkpoints;
            totals.1 += stats.segments_removed;
            totals.2 += stats.messages_moved;
            disk = match rng.u8(0..3) {
                0 => disk.after_kill(),
                1 => disk.after_total_loss(),
                _ => {
                    rig.writer.close();
                    disk
                }
            };
        }
    }
    // Otherwise this has tested less than it says.
    assert!(totals.0 > 100 && totals.1 > 100 && totals.2 > 10, "{totals:?}");
}

#[test]
fn positions_are_answered_in_the_order_of_the_targets() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    let mut batch = crate::Batch::new();
    batch.publish("a".into(), [(1, 0), (2, 0)]).publish("b".into(), [(2, 0)]).remove_queue(1);
    batch.publish("c".into(), [(1, 0)]);
    let committed = rig.commit(batch).unwrap();
    assert_eq!((committed.sequence, committed.positions), (1, vec![0, 0, 1, 0]));
    assert_eq!(rig.store.watermark(), 1);
    assert_eq!(rig.commit(crate::Batch::new()).unwrap().sequence, 1);
}

#[test]
fn a_scan_goes_on_behind_a_key_up_to_its_limit() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    let mut batch = crate::Batch::new();
    (0..20_u8).for_each(|key| _ = batch.put(1, vec![key].into(), vec![key].into()));
    rig.commit(batch).unwrap();
    for limit in 0..25_u8 {
        for after in 0..22_u8 {
            let found = rig.store.scan(1, Some(&[after]), usize::from(limit));
            let expected =
                (after + 1..20).take(usize::from(limit)).map(|key| (vec![key].into(), vec![key].into()));
            assert_eq!(found, expected.collect::<Vec<_>>(), "{limit} after {after}");
        }
        assert_eq!(rig.store.scan(1, None, usize::from(limit)).len(), usize::from(limit.min(20)));
    }
    assert!(rig.store.scan(2, None, 9).is_empty());
}

#[test]
fn what_arrives_together_shares_a_sync() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    let (_, before) = rig.disk.counts();
    let mut rng = Rng::with_seed(1);
    let mut model = Model::default();
    let tickets: Vec<_> = (0..20).map(|_| rig.store.commit(model.change(&mut rng))).collect();
    rig.writer.turn();
    assert_eq!(rig.disk.counts().1, before + 1);
    assert!(tickets.into_iter().all(|ticket| ticket.wait().unwrap().sequence == 1));
    assert_eq!(rig.contents().unwrap(), model);
}
