use super::*;

fn taken(front: &mut Front<u64>) -> Vec<u64> {
    let mut taken = Vec::new();
    while let Taken::Entry(position, entry) = front.take() {
        assert_eq!(position, entry);
        taken.push(position);
    }
    taken
}

fn push(front: &mut Front<u64>, positions: impl IntoIterator<Item = u64>) {
    positions.into_iter().for_each(|position| front.push(position, position, 10));
}

fn read(front: &mut Front<u64>, positions: impl IntoIterator<Item = u64>) {
    let Taken::Read(wanted) = front.take() else { panic!("nothing is wanted") };
    front.on_read(wanted, positions.into_iter().map(|position| (position, position, 10)));
}

#[test]
fn entries_leave_by_position_without_a_gap() {
    let mut front = Front::new(10, 1_000);
    push(&mut front, [1, 2, 4]);
    assert_eq!((front.take(), front.is_ready()), (Taken::Nothing, false));
    push(&mut front, [0]);
    assert_eq!(taken(&mut front), [0, 1, 2]);
    push(&mut front, [3]);
    assert_eq!(taken(&mut front), [3, 4]);
    assert_eq!((front.len(), front.bytes()), (0, 0));
}

#[test]
fn beyond_its_limits_it_counts_and_asks_and_catches_up() {
    let mut front = Front::new(3, 1_000);
    push(&mut front, 0..8);
    assert_eq!((front.len(), front.bytes(), front.in_memory()), (8, 80, 3));
    assert_eq!(taken(&mut front), [0, 1, 2]);
    read(&mut front, [3, 4]);
    assert_eq!((taken(&mut front), front.len(), front.bytes()), (vec![3, 4], 3, 30));
    // The read brings what is not pushed yet, too.
    read(&mut front, [5, 6, 7, 8]);
    assert_eq!((front.len(), front.in_memory()), (4, 3));
    push(&mut front, [8]);
    assert_eq!(taken(&mut front), [5, 6, 7]);
    read(&mut front, [8]);
    push(&mut front, [9]);
    assert_eq!(front.in_memory(), 2, "it is back in memory");
    assert_eq!((taken(&mut front), front.bytes()), (vec![8, 9], 0));
}

#[test]
fn a_large_entry_is_held_alone() {
    let mut front = Front::new(3, 5);
    push(&mut front, [0, 1]);
    assert_eq!((front.in_memory(), front.len()), (1, 2));
    assert_eq!(taken(&mut front), [0]);
    read(&mut front, [1]);
    assert_eq!(taken(&mut front), [1]);
}

#[test]
fn what_the_store_no_longer_has_is_gone() {
    let mut front = Front::new(2, 1_000);
    push(&mut front, 0..10);
    assert_eq!(taken(&mut front), [0, 1]);
    read(&mut front, [4, 5]);
    assert_eq!((front.len(), front.bytes()), (6, 60));
    assert_eq!(taken(&mut front), [4, 5]);
    let Taken::Read(wanted) = front.take() else { panic!() };
    push(&mut front, [10]);
    front.on_read(wanted, []);
    assert_eq!((front.len(), front.bytes()), (1, 10), "what was pushed while it was read is not gone");
    read(&mut front, [10]);
    assert_eq!(taken(&mut front), [10]);
}

#[test]
fn opening_from_the_store_reads_everything() {
    let mut front = Front::new(2, 1_000);
    front.reset(5, 8, 30);
    push(&mut front, [7, 8]);
    assert_eq!((front.len(), front.bytes()), (4, 40), "what opening has seen is counted once");
    read(&mut front, [5, 6]);
    assert_eq!(taken(&mut front), [5, 6]);
    front.reset(9, 9, 0);
    push(&mut front, [9]);
    assert_eq!(taken(&mut front), [9]);
}

#[test]
fn the_oldest_is_dropped_wherever_it_is() {
    let mut front = Front::new(2, 1_000);
    push(&mut front, [0, 1, 2, 3, 4]);
    let Taken::Entry(0, _) = front.take() else { panic!() };
    assert_eq!([(); 5].map(|()| front.skip_oldest()), [Some(1), Some(2), Some(3), Some(4), None]);
    assert_eq!((front.len(), front.bytes(), front.take()), (0, 0, Taken::Nothing));
    push(&mut front, [5]);
    assert_eq!(taken(&mut front), [5]);
}

#[test]
fn what_was_finished_does_not_come_back_with_what_is_put_back() {
    let mut front = Front::new(1, 1_000);
    push(&mut front, [0]);
    assert_eq!(taken(&mut front), [0]);
    push(&mut front, [1]);
    assert_eq!(taken(&mut front), [1]);
    push(&mut front, [2]);
    assert_eq!(taken(&mut front), [2]);
    // Position 1 is finished. Only one fits.
    front.put_back(2, 2, 10);
    front.put_back(0, 0, 10);
    assert_eq!((taken(&mut front), front.len()), (vec![0], 1));
    read(&mut front, [2]);
    assert_eq!(taken(&mut front), [2]);
    front.put_back(0, 0, 10);
    front.put_back(2, 2, 10);
    assert_eq!(taken(&mut front), [0]);
    read(&mut front, [2]);
    assert_eq!(taken(&mut front), [2]);
}

#[test]
fn skipped_and_filtered_positions_are_no_gap_and_stay_away() {
    let mut front = Front::new(3, 1_000);
    push(&mut front, [0, 1, 2]);
    assert_eq!(front.retain(|position, _| position != 1), [1]);
    front.skip(3);
    push(&mut front, [4, 5]);
    front.skip(6);
    push(&mut front, [7]);
    assert_eq!((front.len(), front.bytes()), (5, 50));
    assert_eq!(taken(&mut front), [0, 2, 4]);
    read(&mut front, [5, 6, 7]);
    assert_eq!(taken(&mut front), [5, 7]);
    assert!(front.is_empty());
}

#[test]
fn what_is_dropped_behind_a_gap_does_not_swallow_the_gap() {
    let mut front = Front::new(1, 1_000);
    push(&mut front, [0, 1, 3, 4]);
    assert_eq!(taken(&mut front), [0]);
    let Taken::Read(wanted) = front.take() else { panic!() };
    assert_eq!([(); 2].map(|()| front.skip_oldest()), [Some(1), Some(3)]);
    front.on_read(wanted, [1, 2, 3, 4].map(|position| (position, position, 10)));
    assert_eq!((front.take(), front.len()), (Taken::Nothing, 1));
    push(&mut front, [2]);
    assert_eq!(taken(&mut front), [2]);
    read(&mut front, [4]);
    assert_eq!(taken(&mut front), [4]);
}

#[test]
fn what_a_read_has_brought_and_somebody_has_cannot_be_skipped() {
    let mut front = Front::new(1, 1_000);
    front.reset(0, 1, 10);
    read(&mut front, [0, 1, 2]);
    assert_eq!(taken(&mut front), [0]);
    read(&mut front, [1, 2]);
    assert_eq!(taken(&mut front), [1]);
    read(&mut front, [2]);
    assert_eq!(taken(&mut front), [2]);
    front.put_back(1, 1, 10);
    front.put_back(0, 0, 10);
    assert_eq!((front.skip(2), front.len()), (false, 2));
    assert_eq!((front.skip(1), front.len()), (true, 1));
    assert_eq!((taken(&mut front), front.take()), (vec![0], Taken::Nothing));
}

#[test]
fn an_empty_front_is_small() {
    assert!(size_of::<Front<[u64; 8]>>() <= 104, "{}", size_of::<Front<[u64; 8]>>());
    let mut front = Front::new(10_000, 1_000_000);
    push(&mut front, 0..9_000);
    assert_eq!(taken(&mut front).len(), 9_000);
    assert!(front.memory.capacity() <= 4 * KEPT_ENTRIES);
}

#[test]
fn a_read_of_which_nothing_is_brought_settles_no_more_than_was_read() {
    let mut front = Front::new(1, 1_000);
    push(&mut front, 0..6);
    assert_eq!(taken(&mut front), [0]);
    let Taken::Read(wanted) = front.take() else { panic!() };
    front.on_read(wanted.before(3), []);
    assert_eq!((front.len(), front.bytes()), (3, 30));
    let Taken::Read(wanted) = front.take() else { panic!() };
    assert_eq!(wanted.from, 3);
    front.on_read(wanted.before(99), []);
    assert_eq!((front.len(), front.take()), (0, Taken::Nothing));
}
