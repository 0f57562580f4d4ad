//! C9: the accounts are right at all times and over restarts, whatever happens.

use std::collections::BTreeSet;

use crosspoint_client::TopicFilter;

use super::*;
use crate::config::plan::WhenFull;
use crate::testing::Reaction;

/// The queue of the outbox, of its dead letters.
const QUEUE: u64 = 9;

fn policy(random: &mut fastrand::Rng) -> OutboxPlan {
    let when_full = [WhenFull::DropOldest, WhenFull::DropNewest][random.usize(0..2)];
    let keep_latest = if random.bool() { vec![TopicFilter::parse("state/#").unwrap()] } else { Vec::new() };
    OutboxPlan {
        messages_max: random.u64(20..200),
        when_full,
        keep_latest,
        attempts_max: Some(1),
        ..OutboxPlan::default()
    }
}

fn any_item(number: usize, random: &mut fastrand::Rng) -> Item {
    let topic = ["a", "b", "state/a", "state/b"][random.usize(0..4)];
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtLeastOnce][random.usize(0..3)];
    let accepted_wall_ms = if random.u8(..) < 10 { 0 } else { 1_000_000 };
    Item {
        message: message(topic, number.to_string().as_bytes(), qos),
        qos,
        accepted_wall_ms,
        ..item(number)
    }
}

/// Confirms most, refuses some for good and some for the moment, and is silent at times.
fn answer(payload: &str) -> Reaction {
    match payload.parse::<usize>().unwrap() % 11 {
        3 => Reaction::Answer(0x87),
        5 => Reaction::Answer(0x97),
        7 => Reaction::Silence,
        _ => Reaction::Answer(0),
    }
}

/// Holds the figures against what the store has: each position is before the head, marked, or waits. What has been found
/// to be replaced this moment is not marked yet.
fn check(kit: &Kit, replaced: u64, when: &str) {
    let figures = kit.outbox.figures();
    assert_eq!(figures.accepted, figures.ended() + figures.waiting(), "{when}: {figures:?}");
    let empty = crosspoint_store::QueueStatus { head: 0, next: 0, waiting: 0 };
    let status = kit.store.queue_status(QUEUE).unwrap_or(empty);
    let marked: u64 = kit
        .store
        .scan(21, None, usize::MAX)
        .iter()
        .map(|(key, value)| {
            let (first, (length, _)) = gone::decode(key, value).unwrap();
            (first + length).saturating_sub(first.max(status.head))
        })
        .sum();
    assert_eq!(
        figures.waiting() + replaced,
        status.next - status.head - marked,
        "{when}: {figures:?} {status:?}"
    );
    let dead = kit.store.queue_status(QUEUE + 2).map_or(0, |letters| letters.next);
    assert_eq!(figures.dead, dead, "{when}: every dead message is a letter");
}

struct World {
    disk: SimulatedDisk,
    random: fastrand::Rng,
    policy: OutboxPlan,
    sent: usize,
    /// The numbers of what was promised at QoS 1.
    promised: BTreeSet<usize>,
}

impl World {
    async fn open(&self) -> Kit {
        Kit::on(Store::open(self.disk.clone(), store_options()).unwrap(), self.policy.clone()).await
    }

    async fn append_some(&mut self, kit: &Kit) -> bool {
        let items: Vec<Item> =
            (0..self.random.usize(1..40)).map(|n| any_item(self.sent + n, &mut self.random)).collect();
        self.sent += items.len();
        let (mut batch, mut added, mut kept) = (Batch::new(), Added::default(), Vec::new());
        for item in items {
            let number: usize = String::from_utf8_lossy(item.message.payload()).parse().unwrap();
            if self.random.u8(..) < 8 {
                kit.outbox.bury(&mut batch, &mut added, &item, "no sink can take it");
                continue;
            }
            // With nobody at work nothing makes room.
            let Ok(admission) = tokio::time::timeout(Duration::from_millis(1), kit.outbox.admit(&item)).await
            else {
                continue;
            };
            kept.extend((item.qos != QoS::AtMostOnce).then_some(number));
            kit.outbox.add(&mut batch, &mut added, item, admission);
        }
        let result = kit.store.commit(batch).await;
        kit.outbox.settled(added, result.as_ref().ok());
        self.promised.extend(kept.into_iter().filter(|_| result.is_ok()));
        result.is_ok()
    }

    async fn drop_some(&mut self, kit: &Kit) {
        let next = kit.store.queue_status(QUEUE).map_or(0, |status| status.next);
        let positions: Vec<u64> = (0..5).map(|_| self.random.u64(0..next + 1)).collect();
        drop(kit.outbox.drop_waiting(&positions).await);
    }
}

#[tokio::test]
async fn the_accounts_are_right_at_all_times_and_over_restarts() {
    for seed in 0..12 {
        let broker = Scripted::start_with(&[], answer).await;
        let mut random = fastrand::Rng::with_seed(seed);
        let policy = policy(&mut random);
        let disk = SimulatedDisk::new();
        let mut world = World { disk, random, policy, sent: 0, promised: BTreeSet::new() };
        let mut kit = world.open().await;
        for round in 0..6 {
            let when = format!("seed {seed}, round {round}");
            world.append_some(&kit).await;
            if world.random.bool() {
                world.drop_some(&kit).await;
            }
            let pump = kit.start(&broker);
            for _ in 0..world.random.usize(0..4) {
                world.append_some(&kit).await;
            }
            if world.random.bool() {
                world.drop_some(&kit).await;
            }
            let within = if world.random.bool() { Duration::ZERO } else { Duration::from_millis(50) };
            kit.backlog = Some(pump.stop(within).await);
            let figures = kit.outbox.figures();
            assert_eq!(figures.accepted, figures.ended() + figures.waiting(), "{when}: {figures:?}");
            if world.random.bool() {
                kit.store.close();
                drop(kit);
                world.disk = world.disk.after_power_cut(seed * 100 + round);
                kit = world.open().await;
                let again = kit.outbox.figures();
                // A state that was with the broker gives way to a newer one when it waits again.
                let replaced = again.replaced - figures.replaced;
                check(&kit, replaced, &when);
                if replaced == 0 {
                    assert_eq!(again, figures, "{when}: nothing was under way");
                }
            }
        }
    }
}

/// What the pump reads from the store is sometimes faster than what tells a batch that it is durable.
#[test]
fn what_was_taken_before_its_batch_was_told_is_not_replaced() {
    let state_item = |number| Item { message: message("state/a", b"", QoS::AtLeastOnce), ..item(number) };
    let keep_latest = vec![TopicFilter::parse("state/#").unwrap()];
    let policy = Arc::new(OutboxPlan { keep_latest, ..OutboxPlan::default() });
    let mut state = state::State::new(policy.clone(), 0);
    state.set_policy(policy);
    state.queue.take(state_item(0));
    let mut freed = (0, 0);
    for position in 0..2 {
        state.accept(position, state_item(0), &mut freed);
    }
    assert_eq!((state.live.accepted, state.live.replaced, freed), (2, 0, (0, 0)));
    state.accept(2, state_item(2), &mut freed);
    assert_eq!((state.live.replaced, state.gone.at(1)), (1, Some(figures::End::Replaced)), "it waited");
}

#[tokio::test]
async fn no_promise_is_lost_when_the_power_goes_at_any_sync() {
    for seed in 0..40 {
        let mut broker = Scripted::start_with(&[], |_| Reaction::Answer(0)).await;
        let mut random = fastrand::Rng::with_seed(1_000 + seed);
        let cut = random.u64(0..12);
        let disk = SimulatedDisk::new();
        let policy = OutboxPlan::default();
        let mut world = World { disk, random, policy, sent: 0, promised: BTreeSet::new() };
        let mut kit = world.open().await;
        world.disk.cut_power_at_sync(cut);
        let pump = kit.start(&broker);
        for _ in 0..6 {
            if !world.append_some(&kit).await {
                break;
            }
        }
        let figures = kit.outbox.figures();
        assert_eq!(figures.accepted, figures.ended() + figures.waiting());
        drop(pump.stop(Duration::from_millis(50)).await);
        drop(kit);

        world.disk = world.disk.after_power_cut(seed);
        let mut kit = world.open().await;
        check(&kit, 0, &format!("seed {seed}"));
        let pump = kit.start(&broker);
        until(&kit.outbox, |figures| figures.waiting() == 0).await;
        pump.stop(Duration::from_secs(5)).await;
        while let Ok(payload) = broker.came.try_recv() {
            world.promised.remove(&payload.parse().unwrap());
        }
        let figures = kit.outbox.figures();
        assert_eq!(figures.dropped_full + figures.replaced + figures.damaged, 0, "seed {seed}: {figures:?}");
        assert!(world.promised.is_empty(), "seed {seed}: {:?} were promised", world.promised);
    }
}
