//! The pure core against a plain model: order, window, retries and accounts, in whatever order outcomes come.

use std::collections::BTreeMap;

use crosspoint_client::{PublishError, ReasonCode, Receipt};

use super::*;
use crate::config::plan::Lane;
use crate::outbox::durable::figures::End;
use crate::outbox::durable::queue::{HELD_MAX, Next, Queue, Verdict};

/// What is known of each position without the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    InFlight,
    /// It was refused for the moment or came back.
    Back,
    Ended(End),
}

struct Model {
    queue: Queue,
    known: BTreeMap<u64, Known>,
    passed: Vec<End>,
    now_ms: u64,
    /// The position that was sent last for the first time.
    last_first: Option<u64>,
    is_drained: bool,
}

impl Model {
    fn in_flight(&self) -> Vec<u64> {
        let is_open = |(_, known): &(&u64, &Known)| **known == Known::InFlight;
        self.known.iter().filter(is_open).map(|(position, _)| *position).collect()
    }

    /// Does what the core says, as often as it says something.
    fn send(&mut self, most: usize) {
        for _ in 0..most {
            match self.queue.next(self.now_ms) {
                Next::Take => {
                    assert!(
                        !self.known.values().any(|known| *known == Known::Back),
                        "what is kept back goes first"
                    );
                    let position = self.queue.end();
                    assert_eq!(
                        position,
                        self.last_first.map_or(0, |last| last + 1),
                        "first ones leave in order"
                    );
                    self.queue.take(item(position as usize));
                    self.known.insert(position, Known::InFlight);
                    self.last_first = Some(position);
                }
                Next::Again(position) => {
                    let oldest = self.known.iter().find(|(_, known)| **known == Known::Back);
                    assert_eq!(
                        oldest.map(|(position, _)| *position),
                        Some(position),
                        "the oldest goes again first"
                    );
                    self.queue.sent_again(position);
                    self.known.insert(position, Known::InFlight);
                }
                Next::Wait(until_ms) => {
                    assert!(until_ms > self.now_ms);
                    return;
                }
                Next::Rest => {
                    let open = self.in_flight().len();
                    assert!(
                        open >= self.queue.window() || (!self.is_drained && open > 0),
                        "it rests for no reason"
                    );
                    return;
                }
            }
            self.is_drained = true;
        }
    }

    fn settle(&mut self, position: u64, random: &mut fastrand::Rng) {
        let (outcome, then) = match random.u8(0..20) {
            0 => (Err(PublishError::Refused(ReasonCode::QuotaExceeded)), Known::Back),
            1 => (Err(PublishError::Refused(ReasonCode::NotAuthorized)), Known::Ended(End::Dead)),
            2 => (Err(PublishError::Unconfirmed), Known::Back),
            3 => (Err(PublishError::Expired), Known::Ended(End::Expired)),
            _ => {
                let receipt = Receipt { reason: ReasonCode::Success, may_be_duplicate: false };
                (Ok(receipt), Known::Ended(End::Confirmed))
            }
        };
        let verdict = match self.queue.on_outcome(position, outcome, self.now_ms) {
            Verdict::Bury(_) => self.queue.buried(position),
            Verdict::Refused(_) => {
                self.is_drained = false;
                Verdict::Kept
            }
            verdict => verdict,
        };
        match (verdict, then) {
            (Verdict::Ended { end, item, .. }, Known::Ended(expected)) => {
                assert_eq!((end, item), (expected, super::item(position as usize)));
            }
            (Verdict::Kept, Known::Back) => {}
            other => panic!("{other:?}"),
        }
        self.known.insert(position, then);
        assert_eq!(self.queue.on_outcome(position, outcome, self.now_ms), Verdict::Kept, "told twice");
    }

    fn check(&mut self) {
        while let Some(end) = self.queue.pass() {
            self.passed.push(end);
        }
        let head = self.passed.len() as u64;
        for (position, end) in self.passed.iter().enumerate() {
            assert_eq!(self.known[&(position as u64)], Known::Ended(*end));
        }
        assert_eq!(self.queue.head(), head);
        assert!(!matches!(self.known.get(&head), Some(Known::Ended(_))), "the head has stopped too early");
        assert_eq!(self.queue.open(), self.in_flight().len());
    }
}

#[test]
fn the_core_agrees_with_a_plain_model() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut model = Model {
            queue: Queue::new(0),
            known: BTreeMap::new(),
            passed: Vec::new(),
            now_ms: 1,
            last_first: None,
            is_drained: true,
        };
        for _ in 0..60 {
            model.now_ms += random.u64(0..3_000);
            model.send(random.usize(0..20));
            for _ in 0..random.usize(0..20) {
                let in_flight = model.in_flight();
                if in_flight.is_empty() {
                    break;
                }
                model.settle(in_flight[random.usize(..in_flight.len())], &mut random);
                model.check();
            }
            if random.u8(0..20) == 0 {
                model.queue.on_client_gone();
                for position in model.in_flight() {
                    model.known.insert(position, Known::Back);
                }
                model.is_drained = true;
            }
        }
        model.check();
    }
}

/// Order by topic: what was sent for the first time, and how everything ended.
struct Topics {
    queue: Queue,
    first_sent: Vec<u64>,
    now_ms: u64,
}

impl Topics {
    fn topic(position: u64) -> String {
        format!("t{}", position % 3)
    }

    fn send(&mut self, end: u64) {
        loop {
            match self.queue.next(self.now_ms) {
                Next::Take if self.queue.end() == end => return,
                Next::Take => {
                    let position = self.queue.end();
                    let topic = Self::topic(position);
                    let item =
                        Item { message: message(&topic, b"", QoS::AtLeastOnce), ..item(position as usize) };
                    match self.queue.holds(&topic) {
                        true => self.queue.take_held(item),
                        false => {
                            self.queue.take(item);
                            self.first_sent.push(position);
                        }
                    }
                }
                Next::Again(position) => {
                    assert!(!self.queue.holds(&Self::topic(position)), "its topic waits");
                    self.queue.sent_again(position);
                    if !self.first_sent.contains(&position) {
                        self.first_sent.push(position);
                    }
                }
                Next::Wait(_) | Next::Rest => return,
            }
        }
    }

    fn settle(&mut self, refuses: impl Fn(u64) -> bool, end: u64) {
        for position in 0..end {
            let outcome = match refuses(position) {
                true => Err(PublishError::Refused(ReasonCode::QuotaExceeded)),
                false => Ok(Receipt { reason: ReasonCode::Success, may_be_duplicate: false }),
            };
            self.queue.on_outcome(position, outcome, self.now_ms);
        }
    }
}

#[test]
fn each_topic_keeps_its_order_and_holds_up_no_other() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut queue = Queue::new(0);
        queue.set_lane(Lane::Topic);
        let mut topics = Topics { queue, first_sent: Vec::new(), now_ms: 1 };
        for round in 1..20 {
            let (end, salt) = (round * 5, random.u64(..));
            topics.send(end);
            // The topic `t2` is never refused, so it never waits.
            let newest = (0..end).rev().find(|position| position % 3 == 2);
            assert!(newest.is_none_or(|newest| topics.first_sent.contains(&newest)), "seed {seed}");
            topics.settle(|position| position % 3 < 2 && (position ^ salt) % 4 == 0, end);
            topics.now_ms += random.u64(0..2_000);
            if random.u8(0..10) == 0 {
                topics.queue.on_client_gone();
            }
        }
        topics.now_ms += 60_000;
        topics.send(95);
        topics.settle(|_| false, 95);
        for remainder in 0..3 {
            let sent: Vec<_> = topics.first_sent.iter().filter(|sent| **sent % 3 == remainder).collect();
            assert!(sent.is_sorted(), "seed {seed}: {sent:?}");
        }
        let ends = std::iter::from_fn(|| topics.queue.pass()).count();
        assert_eq!((ends, topics.queue.oldest_kept_back()), (95, None), "seed {seed}");
    }
}

#[test]
fn what_waits_with_its_topic_is_bounded() {
    let mut queue = Queue::new(0);
    queue.set_lane(Lane::Topic);
    queue.take(item(0));
    queue.on_outcome(0, Err(PublishError::Refused(ReasonCode::QuotaExceeded)), 0);
    let mut taken = 1;
    while queue.next(0) == Next::Take {
        assert!(queue.holds("t"));
        queue.take_held(item(taken));
        taken += 1;
    }
    assert_eq!((taken, queue.next(0)), (HELD_MAX, Next::Wait(1_000)));
    assert_eq!(queue.next(1_000), Next::Again(0));
}

#[test]
fn the_window_and_the_span_are_bounded() {
    let mut queue = Queue::new(0);
    let receipt = Receipt { reason: ReasonCode::Success, may_be_duplicate: false };
    let mut sent = 0;
    while queue.next(0) == Next::Take {
        queue.take(item(sent));
        sent += 1;
    }
    assert_eq!(sent, IN_FLIGHT_MAX);
    // The first one is never answered.
    loop {
        queue.on_outcome(sent as u64 - 1, Ok(receipt), 0);
        if queue.next(0) != Next::Take {
            break;
        }
        queue.take(item(sent));
        sent += 1;
    }
    assert_eq!((sent, queue.head()), (16_384, 0));
}
