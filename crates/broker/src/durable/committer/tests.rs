use crosspoint_store::{Options, SimulatedDisk};

use super::*;
use crate::{
    BrokerOptions,
    access::Users,
    durable::{Changes, Ended, RETAINED, SUBSCRIPTIONS},
    turn::Turn,
    workspace::Workspace,
};

const QUEUE: u64 = 24;

/// A store with two entries in a queue, and a broker on it.
fn with_entries(disk: &SimulatedDisk, reserve_bytes: u64) -> (Store, Arc<Shared>) {
    let options = Options::new().room_bytes(0).reserve_bytes(reserve_bytes);
    let store = Store::open(disk.clone(), options).unwrap();
    let mut batch = Batch::new();
    batch.publish(Bytes::from_static(b"a"), [(QUEUE, 0)]).publish(Bytes::from_static(b"b"), [(QUEUE, 0)]);
    store.commit(batch).wait().unwrap();
    let shared = broker_on(&store);
    (store, shared)
}

fn broker_on(store: &Store) -> Arc<Shared> {
    let users = Arc::new(Users::new(Vec::new(), Vec::new()).unwrap());
    Arc::new(Shared::new(BrokerOptions::default(), users, Some(store.clone()), 1))
}

fn consume_all(committer: &Committer) -> Arc<Commit> {
    let mut changes = Changes::default();
    changes.consume(QUEUE, 2);
    committer.append(&mut changes)
}

fn waiting(store: &Store) -> u64 {
    store.queue_status(QUEUE).unwrap().waiting
}

#[tokio::test]
async fn what_is_essential_is_kept_when_what_stands_beside_it_is_refused() {
    let disk = SimulatedDisk::new();
    let (store, shared) = with_entries(&disk, 4_096);
    let committer = &shared.durable.as_ref().unwrap().committer;
    disk.set_bytes_max(Some(disk.taken_bytes()));
    let lazy = consume_all(committer);
    let mut changes = Changes::default();
    changes.put(RETAINED, Bytes::from_static(b"topic"), vec![0; 64 * 1_024]);
    changes.hurry();
    let refused = committer.append(&mut changes);
    assert!(Arc::ptr_eq(&lazy, &refused), "they are one part");
    let committing = tokio::spawn(run(shared.clone()));
    assert_eq!(Ended(refused).await, Outcome::Full);
    committer.close();
    committing.await.unwrap();
    assert_eq!(waiting(&store), 0);
    assert_eq!(store.value(RETAINED, b"topic"), None);
}

#[tokio::test]
async fn what_is_essential_and_finds_no_room_at_all_is_tried_again() {
    let disk = SimulatedDisk::new();
    let (store, shared) = with_entries(&disk, 0);
    let committer = &shared.durable.as_ref().unwrap().committer;
    disk.set_bytes_max(Some(disk.taken_bytes()));
    let mut hurried = Changes::default();
    hurried.consume(QUEUE, 1);
    hurried.hurry();
    committer.append(&mut hurried);
    let refused = consume_all(committer);
    let committing = tokio::spawn(run(shared.clone()));
    assert_eq!(Ended(refused).await, Outcome::Full);
    assert_eq!(waiting(&store), 2);
    disk.set_bytes_max(None);
    committer.close();
    committing.await.unwrap();
    assert_eq!(waiting(&store), 0);
}

/// Ends a turn that changes something, hands it over, and consumes something behind it.
fn turn_in_two_parts(shared: &Shared) -> Arc<Commit> {
    Workspace::with(|workspace| {
        let mut turn = Turn::new(shared, usize::MAX, workspace, shared.clock.now());
        turn.changes().put(SUBSCRIPTIONS, Bytes::from_static(b"filter"), vec![0; 64 * 1_024]);
        turn.changes().hurry();
        turn.flush();
        turn.changes().consume(QUEUE, 2);
        turn.changes().hurry();
        turn.end().unwrap()
    })
}

#[tokio::test]
async fn a_turn_is_refused_when_one_of_its_parts_is_though_the_last_one_is_kept() {
    let disk = SimulatedDisk::new();
    let (store, shared) = with_entries(&disk, 4_096);
    let committer = &shared.durable.as_ref().unwrap().committer;
    disk.set_bytes_max(Some(disk.taken_bytes()));
    // On a disk that is known to be full, what may be refused is a part by itself.
    committer.is_full.store(true, SeqCst);
    let commit = turn_in_two_parts(&shared);
    let committing = tokio::spawn(run(shared.clone()));
    assert_eq!(Ended(commit).await, Outcome::Full);
    committer.close();
    committing.await.unwrap();
    assert_eq!((waiting(&store), store.value(SUBSCRIPTIONS, b"filter")), (0, None));
}

#[tokio::test]
async fn a_turn_in_two_parts_is_durable_when_both_are() {
    let disk = SimulatedDisk::new();
    let (store, shared) = with_entries(&disk, 4_096);
    let committer = &shared.durable.as_ref().unwrap().committer;
    committer.is_full.store(true, SeqCst);
    let commit = turn_in_two_parts(&shared);
    let committing = tokio::spawn(run(shared.clone()));
    assert_eq!(Ended(commit).await, Outcome::Durable);
    committer.close();
    committing.await.unwrap();
    assert!(waiting(&store) == 0 && store.value(SUBSCRIPTIONS, b"filter").is_some());
}

/// Whether the timer is set anew for each part shows in when it fires: a part would put it off.
#[tokio::test(start_paused = true)]
async fn what_can_wait_is_committed_at_a_beat_that_nothing_puts_off() {
    const PARTS: u32 = 10;
    let (store, mut writer) =
        Store::open_driven(SimulatedDisk::new(), Options::new().reserve_bytes(0)).unwrap();
    tokio::spawn(async move {
        while writer.arrived().await {
            while writer.turn() {}
            writer.sync();
        }
    });
    let shared = broker_on(&store);
    let committer = &shared.durable.as_ref().unwrap().committer;
    let committing = tokio::spawn(run(shared.clone()));
    tokio::task::yield_now().await;
    for number in 1..PARTS {
        tokio::time::advance(LAZY_DELAY / PARTS).await;
        let mut changes = Changes::default();
        changes.put(RETAINED, Bytes::from_static(b"topic"), vec![number as u8]);
        changes.hurry();
        assert_eq!(Ended(committer.append(&mut changes)).await, Outcome::Durable);
    }
    let began = Instant::now();
    assert_eq!(Ended(consume_all(committer)).await, Outcome::Durable);
    let waited = began.elapsed();
    assert!(waited <= LAZY_DELAY / PARTS + Duration::from_millis(1), "it waited {waited:?}");
    committer.close();
    committing.await.unwrap();
}
