//! The pure core against a plain model: order, window, retries and accounts, in whatever order outcomes come.

use std::collections::BTreeMap;

use crosspoint_client::{PublishError, ReasonCode, Receipt};

use super::*;
use crate::outbox::durable::figures::End;
use crate::outbox::durable::queue::{Next, Queue, Verdict};

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
