//! The front of a queue against a plain model of store, pushes on their way, and owner.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use crate::front::Taken;
use crate::{Finished, Front, Wanted};

/// Position, entry, bytes.
type Read = (u64, u64, u64);

/// What a front must do, told by sets.
struct World {
    rng: Rng,
    front: Front<u64>,
    entries_max: usize,
    bytes_max: u64,
    next: u64,
    /// What is committed and not consumed, with its bytes.
    stored: BTreeMap<u64, u64>,
    /// What is committed and whose push is on its way; the flag tells whether anybody shall get it.
    pushes: Vec<(u64, bool)>,
    /// What is committed and must be given out once, still.
    due: BTreeSet<u64>,
    /// Given out and not finished.
    open: BTreeSet<u64>,
    finished: Finished,
    /// A read that is on its way, with what the store gave.
    read: Option<(Wanted, Vec<Read>)>,
    /// Whether somebody else consumes, too: then what was due may be gone.
    has_thief: bool,
    stolen_before: u64,
    /// Up to where reads have brought something.
    read_end: u64,
    is_exact: bool,
    /// What was taken last, since the last that was put back.
    last: Option<u64>,
    seen: [u32; 6],
}

fn bytes_of(position: u64) -> u64 {
    position * 7 % 40
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (entries_max, bytes_max) = (rng.usize(1..12), rng.u64(1..300));
        Self {
            front: Front::new(entries_max, bytes_max),
            entries_max,
            bytes_max,
            next: 0,
            stored: BTreeMap::new(),
            pushes: Vec::new(),
            due: BTreeSet::new(),
            open: BTreeSet::new(),
            finished: Finished::new(0),
            read: None,
            has_thief: rng.u8(0..4) == 0,
            stolen_before: 0,
            read_end: 0,
            is_exact: true,
            last: None,
            seen: [0; 6],
            rng,
        }
    }

    fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..25 => self.commit(),
            25..50 => self.push(),
            50..70 => self.take(),
            70..78 => self.bring(),
            78..90 => self.finish(),
            90..93 => self.put_back(),
            93..95 => self.skip_oldest(),
            95..97 => self.filter(),
            97 if self.has_thief => self.steal(),
            98 if self.rng.u8(0..4) == 0 => self.open_again(),
            _ => {}
        }
        self.check();
    }

    fn commit(&mut self) {
        for _ in 0..self.rng.usize(1..6) {
            let is_wanted = self.rng.u8(0..10) > 0;
            self.stored.insert(self.next, bytes_of(self.next));
            self.pushes.push((self.next, is_wanted));
            if is_wanted {
                self.due.insert(self.next);
            }
            self.next += 1;
        }
    }

    fn push(&mut self) {
        for _ in 0..self.rng.usize(1..4) {
            if self.pushes.is_empty() {
                return;
            }
            // Slightly out of order.
            let (position, is_wanted) = self.pushes.remove(self.rng.usize(0..self.pushes.len().min(4)));
            match is_wanted {
                true => self.front.push(position, position, bytes_of(position)),
                false => self.skip(position),
            }
        }
    }

    fn skip(&mut self, position: u64) {
        // What a read has brought and was spilled again counts as the average.
        self.is_exact &= position >= self.read_end;
        let is_open = self.open.contains(&position);
        if self.front.skip(position) {
            assert!(!is_open, "{position} is out and skipped");
            self.due.remove(&position);
            self.done(position);
        }
    }

    fn take(&mut self) {
        for _ in 0..self.rng.usize(1..6) {
            match self.front.take() {
                Taken::Entry(position, entry) => self.given(position, entry),
                Taken::Nothing => {
                    assert!(!self.front.is_ready());
                    return;
                }
                Taken::Read(wanted) if self.read.is_none() => {
                    let some = self.rng.usize(1..9);
                    let stored = self.stored.range(wanted.from..).take(some);
                    self.read = Some((wanted, stored.map(|(at, bytes)| (*at, *at, *bytes)).collect()));
                    return;
                }
                Taken::Read(_) => return,
            }
        }
    }

    fn given(&mut self, position: u64, entry: u64) {
        assert_eq!(position, entry);
        assert!(self.last.is_none_or(|last| last < position), "{position} after {:?}", self.last);
        let was_due = self.due.remove(&position);
        // A push that came back with a read before anybody could say that it is not wanted.
        let is_early = self.pushes.contains(&(position, false));
        assert!(was_due || is_early, "{position} was given out twice, or dropped");
        let older = self.due.range(..position).filter(|due| **due >= self.stolen_before).count();
        assert_eq!(older, 0, "{position} came before one that is older");
        self.last = Some(position);
        self.open.insert(position);
        self.seen[0] += 1;
    }

    fn bring(&mut self) {
        if let Some((wanted, entries)) = self.read.take() {
            self.seen[1] += 1;
            self.read_end = self.read_end.max(entries.last().map_or(0, |(position, ..)| position + 1));
            self.front.on_read(wanted, entries);
        }
    }

    fn finish(&mut self) {
        for _ in 0..self.rng.usize(1..5) {
            let Some(position) = self.rng.choice(&self.open).copied() else { return };
            self.open.remove(&position);
            self.done(position);
        }
    }

    fn done(&mut self, position: u64) {
        if let Some(head) = self.finished.finish(position) {
            self.stored = self.stored.split_off(&head);
        }
    }

    /// The connection is lost: what is open goes back, the newest first, or in any order.
    fn put_back(&mut self) {
        let mut open: Vec<u64> = std::mem::take(&mut self.open).into_iter().rev().collect();
        if self.rng.u8(0..4) == 0 {
            self.rng.shuffle(&mut open);
        }
        for position in open {
            self.front.put_back(position, position, bytes_of(position));
            self.due.insert(position);
            self.seen[2] += 1;
        }
        self.last = None;
    }

    fn skip_oldest(&mut self) {
        let in_memory = self.front.in_memory();
        let Some(position) = self.front.skip_oldest() else {
            assert!(self.front.is_empty());
            return;
        };
        self.is_exact &= in_memory > 0;
        self.seen[3 + usize::from(in_memory == 0)] += 1;
        let was_due = self.due.remove(&position);
        assert!(was_due || self.pushes.contains(&(position, false)), "{position} was not waiting");
        self.done(position);
    }

    fn filter(&mut self) {
        let rest = self.rng.u64(0..3);
        for position in self.front.retain(|position, _| position % 3 != rest) {
            self.due.remove(&position);
            self.done(position);
            self.seen[5] += 1;
        }
    }

    fn steal(&mut self) {
        self.stolen_before = self.stolen_before.max(self.rng.u64(0..=self.next));
        self.stored = self.stored.split_off(&self.stolen_before);
        self.is_exact = false;
    }

    /// The owner forgets the front and takes it from the store again, with everything that is not finished.
    fn open_again(&mut self) {
        let head = self.stored.keys().next().copied().unwrap_or(self.next);
        self.front.reset(head, self.next, self.stored.values().sum());
        self.due = self.stored.keys().copied().collect();
        self.open.clear();
        self.finished = Finished::new(head);
        self.pushes.clear();
        self.read = None;
        self.last = None;
    }

    fn check(&self) {
        assert!(self.front.in_memory() <= self.entries_max.max(1));
        let front = &self.front;
        assert!(front.in_memory() <= 1 || front.memory_bytes() <= self.bytes_max);
        // Somebody else's consumption is not known before it is read.
        if self.has_thief {
            return;
        }
        let on_their_way: BTreeSet<u64> = self.pushes.iter().map(|(position, _)| *position).collect();
        let pushed = self.due.difference(&on_their_way);
        let early = on_their_way.iter().filter(|position| !self.open.contains(position)).count() as u64;
        let known = pushed.clone().count() as u64;
        assert!((known..=known + early).contains(&front.len()), "{} of {known} + {early}", front.len());
        if on_their_way.is_empty() && self.is_exact {
            let bytes: u64 = pushed.map(|position| bytes_of(*position)).sum();
            assert_eq!((front.len(), front.bytes()), (known, bytes));
        }
    }

    /// Lets everything arrive: then nothing that is due is missing.
    fn end(&mut self) {
        while !self.pushes.is_empty() {
            self.push();
        }
        let mut turns = 0;
        while self.front.is_ready() {
            self.take();
            self.bring();
            self.check();
            turns += 1;
            assert!(turns < 10_000, "it asks for ever");
        }
        self.due.retain(|due| *due >= self.stolen_before);
        assert_eq!((&self.due, self.front.len(), self.front.bytes()), (&BTreeSet::new(), 0, 0));
    }
}

#[test]
fn any_order_of_pushes_reads_and_drops_gives_each_entry_once_and_in_order() {
    let mut seen = [0; 6];
    for seed in 0..600 {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..300).for_each(|_| world.step());
            world.end();
            world.seen
        });
        let counts = result.unwrap_or_else(|_| panic!("seed {seed}"));
        seen.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert!(seen.iter().all(|count| *count > 300), "too little happened for a test: {seen:?}");
}
