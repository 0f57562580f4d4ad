//! Reading in order, spilling, consuming lazily, and giving the disk back.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::support::Rig;
use crate::index::Kept;
use crate::{Batch, Disk, Error, FileName, Options, SimulatedDisk, Store};

fn publish(rig: &mut Rig, queues: &[u64], message: &[u8]) -> u64 {
    let mut batch = Batch::new();
    batch.publish(Bytes::copy_from_slice(message), queues.iter().map(|queue| (*queue, 7)));
    rig.commit(batch).unwrap().positions[0]
}

fn consume(rig: &mut Rig, queue: u64, position: u64) {
    let mut batch = Batch::new();
    batch.consume(queue, position);
    rig.commit(batch).unwrap();
}

/// Returns how many entries of a queue are in memory.
fn entries_in_memory(rig: &Rig, queue: u64) -> usize {
    let index = rig.writer_index();
    index.read().queues[&queue]
        .blocks
        .iter()
        .map(|block| match &block.kept {
            Kept::Memory(entries) => entries.len(),
            Kept::Log { .. } => 0,
        })
        .sum()
}

#[test]
fn the_middle_of_a_long_queue_leaves_memory_and_comes_back_in_order() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    for number in 0..2_000_u32 {
        publish(&mut rig, &[1], &number.to_le_bytes());
        assert!(entries_in_memory(&rig, 1) <= 3 * 8);
    }
    let mut rig = Rig::open(&disk.after_kill()).unwrap();
    assert!(entries_in_memory(&rig, 1) <= 3 * 8);
    let mut from = 0;
    while from < 2_000 {
        let entries = rig.read(1, from, 37).unwrap();
        for (number, entry) in (from..).zip(&entries) {
            assert_eq!((entry.position, entry.flags), (number, 7));
            assert_eq!(entry.message[..], (number as u32).to_le_bytes());
        }
        from += entries.len() as u64;
        consume(&mut rig, 1, from);
    }
    assert!(rig.read(1, from, 1).unwrap().is_empty());
    assert_eq!(rig.store.queue_status(1).unwrap().waiting, 0);
    assert_eq!(entries_in_memory(&rig, 1), 0);
}

#[test]
fn a_read_ends_at_either_limit() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    for _ in 0..10 {
        publish(&mut rig, &[1], &[0; 100]);
    }
    assert_eq!(rig.read(1, 4, 3).unwrap().len(), 3);
    let ticket = rig.store.read(1, 0, 100, 250);
    rig.writer.turn();
    assert_eq!(ticket.wait().unwrap().len(), 3);
    let ticket = rig.store.read(1, 0, 100, 0);
    rig.writer.turn();
    assert_eq!(ticket.wait().unwrap().len(), 1, "the first is given whatever it holds");
    assert!(rig.read(2, 0, 9).unwrap().is_empty());
}

#[test]
fn lazy_consumption_rides_with_the_next_frame_and_stays() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    for _ in 0..5 {
        publish(&mut rig, &[1], b"m");
    }
    rig.store.consume(1, 3);
    assert_eq!(rig.store.queue_status(1).unwrap().head, 0);
    let (_, syncs) = rig.disk.counts();
    publish(&mut rig, &[1], b"m");
    assert_eq!(rig.disk.counts().1, syncs + 1);
    let mut again = Rig::open(&disk.after_total_loss()).unwrap();
    assert_eq!(again.read(1, 0, 9).unwrap()[0].position, 3);
}

#[test]
fn a_consumed_store_takes_no_more_disk_than_a_few_segments() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    for _ in 0..1_000 {
        let position = publish(&mut rig, &[1, 2], &[1; 200]);
        rig.store.consume(1, position + 1);
        rig.store.consume(2, position + 1);
    }
    assert!(rig.disk.clone().list().unwrap().len() <= 4, "{:?}", rig.disk.list());
}

#[test]
fn a_segment_in_which_only_blocks_are_in_use_is_copied_before_it_goes() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    // The long queue and what fills its segment are one frame, so that its blocks go to the next segment.
    let mut batch = Batch::new();
    for number in 0..30 {
        batch.publish(Bytes::from(vec![number]), [(1, 0)]);
    }
    batch.publish(Bytes::from(vec![0; 5_000]), [(2, 0)]);
    rig.commit(batch).unwrap();
    for _ in 0..200 {
        let position = publish(&mut rig, &[2], &[1; 100]);
        consume(&mut rig, 2, position + 1);
    }
    let mut again = Rig::open(&disk.after_total_loss()).unwrap();
    for rig in [&mut rig, &mut again] {
        assert!(entries_in_memory(rig, 1) <= 16);
        let read: Vec<u8> = rig.read(1, 0, 100).unwrap().iter().map(|entry| entry.message[0]).collect();
        assert_eq!(read, (0..30).collect::<Vec<_>>());
    }
    assert!(disk.contents(FileName::Segment(2)).is_none(), "it held the blocks");
}

#[test]
fn one_forgotten_queue_pins_no_disk() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    for number in 0..3_000_u32 {
        let queues: &[u64] = if number % 50 == 0 { &[1, 2] } else { &[1] };
        let position = publish(&mut rig, queues, &[(number / 50) as u8; 100]);
        consume(&mut rig, 1, position + 1);
    }
    let segments = rig.disk.clone().list().unwrap().len();
    assert!(segments <= 12, "{segments} files for 60 messages of 100 bytes");
    assert!(rig.store.stats().messages_moved >= 60);
    let mut again = Rig::open(&disk.after_total_loss()).unwrap();
    for rig in [&mut rig, &mut again] {
        let entries = rig.read(2, 0, 100).unwrap();
        let expected: Vec<_> = (0..60).map(|number| vec![number; 100]).collect();
        assert_eq!(entries.iter().map(|entry| entry.message.to_vec()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_sparse_segment_is_copied_in_pieces_and_is_whole_at_any_moment() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    let (mut moved, mut pieces, mut numbers) = (0, 0, Vec::new());
    for number in 0..400_u32 {
        let is_slow = number % 6 == 0;
        let position = publish(&mut rig, if is_slow { &[1, 2] } else { &[1] }, &[number as u8; 90]);
        rig.store.consume(1, position + 1);
        numbers.extend(is_slow.then_some(number as u8));
        let stats = rig.store.stats();
        pieces += u32::from(stats.messages_moved > moved);
        assert!(stats.messages_moved - moved <= 4, "a commit waited for {}", stats.messages_moved - moved);
        moved = stats.messages_moved;
        if number % 7 == 0 {
            let mut again = Rig::open(&disk.after_total_loss()).unwrap();
            let entries = again.read(2, 0, 999).unwrap();
            let found: Vec<u8> = entries.iter().map(|entry| entry.message[0]).collect();
            assert_eq!(found, numbers, "after {number}");
        }
    }
    while rig.writer.turn() {}
    assert!(moved > 20 && pieces > 10, "{moved} in {pieces} pieces");
}

#[test]
fn a_segment_with_a_damaged_message_stays_and_the_rest_goes_on() {
    let disk = SimulatedDisk::new();
    let mut rig = Rig::open(&disk).unwrap();
    publish(&mut rig, &[2], b"a message that is damaged behind the store's back");
    for _ in 0..200 {
        let position = publish(&mut rig, &[1], &[1; 100]);
        consume(&mut rig, 1, position + 1);
        if position == 10 {
            // A new process, so that the message is in no memory any more.
            rig = Rig::open(&disk).unwrap();
            let mut bytes = disk.contents(FileName::Segment(1)).unwrap();
            bytes[36 + 32 + 30] ^= 1;
            disk.set_contents(FileName::Segment(1), bytes);
        }
    }
    assert_eq!(rig.store.stats().segments_damaged, 1);
    assert!(matches!(rig.read(2, 0, 1), Err(Error::Corrupt(damage)) if damage.file == FileName::Segment(1)));
    assert!(rig.disk.clone().list().unwrap().len() <= 5);
    consume(&mut rig, 2, 1);
    assert!(rig.read(2, 0, 1).unwrap().is_empty());
}

#[test]
fn a_store_with_a_thread_commits_reads_and_closes() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let disk = crate::Directory::open(folder.path()).unwrap();
        Store::open(disk, Options::new().reserve_bytes(1 << 16)).unwrap()
    };
    let store = open();
    let tickets: Vec<_> = (0..100_u8)
        .map(|number| {
            let mut batch = Batch::new();
            batch.publish(Bytes::from(vec![number]), [(1, 0)]);
            store.commit(batch)
        })
        .collect();
    for (position, ticket) in (0..).zip(tickets) {
        assert_eq!(ticket.wait().unwrap().positions, [position]);
    }
    store.consume(1, 40);
    store.close();
    assert!(matches!(store.commit(Batch::new()).wait(), Err(Error::Closed)));
    drop(store);
    let store = open();
    assert_eq!(store.queue_status(1).unwrap().waiting, 60);
    assert_eq!(store.read(1, 0, 1, 1).wait().unwrap()[0].message[..], [40]);
}

#[test]
fn consumption_that_no_frame_takes_along_gets_one_of_its_own() {
    let options = Options::new().consume_delay(Duration::from_millis(1));
    let store = Store::in_memory(options).unwrap();
    let mut batch = Batch::new();
    batch.publish(Bytes::from("m"), [(1, 0)]);
    store.commit(batch).wait().unwrap();
    store.consume(1, 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.watermark() < 2 {
        assert!(Instant::now() < deadline, "nothing was consumed");
        std::thread::yield_now();
    }
    assert_eq!(store.queue_status(1).unwrap().waiting, 0);
}

#[test]
fn reading_writes_no_consumption_before_its_time() {
    let store = Store::in_memory(Options::new().consume_delay(Duration::from_secs(600))).unwrap();
    let mut batch = Batch::new();
    (0..9).for_each(|number| _ = batch.publish(Bytes::from(vec![number]), [(1, 0)]));
    store.commit(batch).wait().unwrap();
    for position in 0..9 {
        assert_eq!(store.read(1, position, 1, 1).wait().unwrap()[0].position, position);
        store.consume(1, position + 1);
    }
    assert_eq!((store.stats().frames, store.queue_status(1).unwrap().head), (1, 0));
    store.commit(Batch::new()).wait().unwrap();
    assert_eq!((store.stats().frames, store.queue_status(1).unwrap().head), (2, 9));
}

#[test]
fn a_queue_reader_goes_on_where_it_was() {
    let mut rig = Rig::open(&SimulatedDisk::new()).unwrap();
    for number in 0..5 {
        publish(&mut rig, &[1], &[number]);
    }
    let mut queue = rig.store.queue(1);
    let mut read = Vec::new();
    for _ in 0..3 {
        let mut next = pin!(queue.next(2));
        let mut context = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending());
        rig.writer.turn();
        let Poll::Ready(entries) = next.poll(&mut context) else { panic!("not answered") };
        read.push(entries.unwrap().iter().map(|entry| entry.message[0]).collect::<Vec<_>>());
    }
    assert_eq!(read, [vec![0, 1], vec![2, 3], vec![4]]);
}

#[test]
fn a_driven_writer_is_told_when_something_arrives_and_when_the_store_is_closed() {
    let Rig { store, mut writer, .. } = Rig::open(&SimulatedDisk::new()).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(pin!(writer.arrived()).poll(&mut context), Poll::Pending);
    let mut batch = Batch::new();
    batch.publish(Bytes::from_static(b"a"), [(1, 0)]);
    let ticket = store.commit(batch);
    assert_eq!(pin!(writer.arrived()).poll(&mut context), Poll::Ready(true));
    assert!(writer.turn());
    ticket.wait().unwrap();
    assert_eq!(pin!(writer.arrived()).poll(&mut context), Poll::Pending);
    drop(store);
    assert_eq!(pin!(writer.arrived()).poll(&mut context), Poll::Ready(false));
}

#[test]
fn a_driver_that_sleeps_is_woken() {
    let Rig { store, mut writer, .. } = Rig::open(&SimulatedDisk::new()).unwrap();
    let woken = std::sync::Arc::new(Woken::default());
    let waker = woken.clone().into();
    let mut context = Context::from_waker(&waker);
    assert_eq!(pin!(writer.arrived()).poll(&mut context), Poll::Pending);
    store.consume(1, 1);
    assert_eq!(woken.0.swap(0, std::sync::atomic::Ordering::Relaxed), 1);
    writer.turn();
    assert_eq!(pin!(writer.arrived()).poll(&mut context), Poll::Pending);
    store.close();
    assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}
