//! What was acknowledged, what arrived, and the verdict.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::figures::Figures;
use crate::message::Stamp;
use crate::progress::Progress;

/// The publisher of the messages that end a phase: whoever has read one has nothing more to come.
pub(crate) const FENCE: usize = 1_000;

/// The publisher of the messages that find out whether a flow listens.
pub(crate) const PROBE: usize = 1_001;

/// How many findings of one kind are written out.
const DETAILS_MAX: usize = 8;

/// The books of one round, kept by all its clients.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) progress: Progress,
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    publishers: Vec<Sent>,
    subscribers: Vec<Reader>,
    figures: Figures,
    details: Vec<String>,
}

/// What one publisher sent.
#[derive(Debug)]
struct Sent {
    qos: u8,
    /// How many were sent, acknowledged or not.
    count: u64,
    /// By number.
    acknowledged: Vec<bool>,
}

/// What one subscriber read.
#[derive(Debug, Default)]
struct Reader {
    /// By publisher.
    arrived: Vec<Arrived>,
    /// How many fences were read, or the highest of them.
    fences: u64,
    has_probe: bool,
}

#[derive(Clone, Debug, Default)]
struct Arrived {
    /// How many copies of each number came.
    copies: Vec<u8>,
    /// When the first of them did.
    first_at: Vec<Option<Instant>>,
    /// One above the highest number that came.
    next: u64,
}

impl Books {
    /// Opens the books for publishers, of which the QoS is given, and a number of subscribers.
    pub(crate) fn new(qos: &[u8], subscribers: usize) -> Self {
        let reader = || Reader { arrived: vec![Arrived::default(); qos.len()], ..Reader::default() };
        let publishers = qos.iter().map(|qos| Sent { qos: *qos, count: 0, acknowledged: Vec::new() });
        let pages = Pages {
            publishers: publishers.collect(),
            subscribers: std::iter::repeat_with(reader).take(subscribers).collect(),
            figures: Figures::default(),
            details: Vec::new(),
        };
        Self { progress: Progress::new(), pages: Mutex::new(pages) }
    }

    /// Notes that a message is about to be sent for the first time.
    pub(crate) fn sent(&self, stamp: Stamp) {
        if let Some(publisher) = self.pages().publishers.get_mut(stamp.publisher) {
            publisher.count = stamp.number + 1;
        }
    }

    /// Notes an acknowledgement: PUBACK, or PUBREC, which hands the message over just as well.
    pub(crate) fn acknowledged(&self, stamp: Stamp) {
        self.progress.event();
        let mut pages = self.pages();
        if let Some(publisher) = pages.publishers.get_mut(stamp.publisher) {
            *slot(&mut publisher.acknowledged, stamp.number) = true;
            pages.figures.acknowledged += 1;
        }
    }

    /// Counts an acknowledgement of something that is judged elsewhere.
    pub(crate) fn count_acknowledged(&self) {
        self.pages().figures.acknowledged += 1;
    }

    /// Notes a message that a subscriber took over, at the QoS of its delivery; `None` is one that nobody sent so.
    pub(crate) fn arrived(&self, subscriber: usize, stamp: Option<Stamp>, qos: u8) {
        self.arrived_at(subscriber, stamp, qos, Instant::now());
    }

    /// Notes a message that came at a moment.
    pub(crate) fn arrived_at(&self, subscriber: usize, stamp: Option<Stamp>, qos: u8, at: Instant) {
        self.progress.event();
        self.pages().arrived(subscriber, stamp, qos, at);
    }

    /// Notes that the broker does not know a session any more whose CONNACK the client had read.
    pub(crate) fn forgotten_session(&self, client: &str) {
        self.find(|figures| figures.forgotten += 1, format!("the session of {client} was forgotten"));
    }

    /// Notes that a packet identifier was used for another message before its release.
    pub(crate) fn clash(&self, client: &str, id: u16) {
        self.find(|figures| figures.clashes += 1, format!("{client}: identifier {id} reused before PUBREL"));
    }

    /// Notes anything else that is wrong.
    pub(crate) fn find(&self, count: impl FnOnce(&mut Figures), detail: String) {
        let mut pages = self.pages();
        count(&mut pages.figures);
        pages.details.push(detail);
    }

    /// Returns when a message first came to a subscriber.
    pub(crate) fn came_at(&self, subscriber: usize, stamp: Stamp) -> Option<Instant> {
        let pages = self.pages();
        let arrived = pages.subscribers.get(subscriber)?.arrived.get(stamp.publisher)?;
        *arrived.first_at.get(stamp.number as usize)?
    }

    /// Returns how many messages were sent that one of the subscribers has not read.
    pub(crate) fn ahead(&self) -> u64 {
        let pages = self.pages();
        let sent: u64 = pages.publishers.iter().map(|publisher| publisher.count).sum();
        let read = |reader: &Reader| reader.arrived.iter().map(|arrived| arrived.next).sum::<u64>();
        sent.saturating_sub(pages.subscribers.iter().map(read).min().unwrap_or(sent))
    }

    /// Returns whether every subscriber has read a probe.
    pub(crate) fn has_flowed(&self) -> bool {
        self.pages().subscribers.iter().all(|reader| reader.has_probe)
    }

    /// Returns whether a subscriber has read this fence.
    pub(crate) fn is_fenced(&self, subscriber: usize, fence: u64) -> bool {
        self.pages().subscribers.get(subscriber).is_some_and(|reader| reader.fences > fence)
    }

    /// Returns whether a subscriber has read everything that was acknowledged.
    pub(crate) fn is_drained(&self, subscriber: usize) -> bool {
        let pages = self.pages();
        pages.subscribers.get(subscriber).is_some_and(|reader| pages.missing(reader).next().is_none())
    }

    /// Closes the books: the figures, and in words what is wrong.
    pub(crate) fn close(&self) -> (Figures, Vec<String>) {
        let mut pages = self.pages();
        let mut figures = pages.figures;
        let mut details = std::mem::take(&mut pages.details);
        details.truncate(DETAILS_MAX * 2);
        for (index, reader) in pages.subscribers.iter().enumerate() {
            let lost: Vec<Stamp> = pages.missing(reader).collect();
            figures.lost += lost.len() as u64;
            details.extend(ranges(index, "lacks", &lost));
            let mut twice = Vec::new();
            for (publisher, arrived) in reader.arrived.iter().enumerate() {
                let copies = arrived.copies.iter().map(|copies| u64::from(copies.saturating_sub(1)));
                let again: u64 = copies.sum();
                if pages.publishers.get(publisher).is_none_or(|sent| sent.qos == 1) {
                    figures.again += again;
                    continue;
                }
                figures.duplicated += again;
                let numbers = (0_u64..).zip(&arrived.copies).filter(|(_, copies)| **copies > 1);
                twice.extend(numbers.map(|(number, _)| Stamp { publisher, number }));
            }
            details.extend(ranges(index, "got twice", &twice));
        }
        (figures, details)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // What was counted before a client panicked still counts.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn arrived(&mut self, subscriber: usize, stamp: Option<Stamp>, qos: u8, at: Instant) {
        let Some(reader) = self.subscribers.get_mut(subscriber) else { return };
        let Some(stamp) = stamp else {
            self.figures.altered += 1;
            self.details.push(format!("subscriber {subscriber} got a message that nobody sent so"));
            return;
        };
        match stamp.publisher {
            FENCE => return reader.fences = reader.fences.max(stamp.number + 1),
            PROBE => return reader.has_probe = true,
            _ => {}
        }
        let sent = self.publishers.get(stamp.publisher).filter(|sent| stamp.number < sent.count);
        let (Some(sent), Some(arrived)) = (sent, reader.arrived.get_mut(stamp.publisher)) else {
            self.figures.altered += 1;
            self.details.push(format!("subscriber {subscriber} got {stamp:?}, which was never sent"));
            return;
        };
        if sent.qos != qos {
            self.figures.altered += 1;
            self.details
                .push(format!("subscriber {subscriber} got {stamp:?} at QoS {qos}, not {}", sent.qos));
        }
        let copies = slot(&mut arrived.copies, stamp.number);
        *copies = copies.saturating_add(1);
        slot(&mut arrived.first_at, stamp.number).get_or_insert(at);
        if *copies == 1 && stamp.number < arrived.next {
            self.figures.out_of_order += 1;
            let ahead = arrived.next - 1;
            self.details.push(format!("subscriber {subscriber} got {stamp:?} first after number {ahead}"));
        }
        arrived.next = arrived.next.max(stamp.number + 1);
    }

    /// Returns what was acknowledged and a subscriber has not read.
    fn missing<'a>(&'a self, reader: &'a Reader) -> impl Iterator<Item = Stamp> + 'a {
        self.publishers.iter().zip(&reader.arrived).enumerate().flat_map(|(publisher, (sent, arrived))| {
            let is_missing =
                |number: u64| arrived.copies.get(number as usize).is_none_or(|copies| *copies == 0);
            let acknowledged = (0_u64..).zip(&sent.acknowledged).filter(|(_, acknowledged)| **acknowledged);
            acknowledged
                .filter(move |(number, _)| is_missing(*number))
                .map(move |(number, _)| Stamp { publisher, number })
        })
    }
}

fn slot<T: Clone + Default>(slots: &mut Vec<T>, number: u64) -> &mut T {
    let index = number as usize;
    if slots.len() <= index {
        slots.resize(index + 1, T::default());
    }
    // It was made long enough above.
    #[expect(clippy::indexing_slicing, reason = "the line above makes the place")]
    &mut slots[index]
}

/// Writes numbers out as ranges, the first few of them.
fn ranges(subscriber: usize, what: &str, stamps: &[Stamp]) -> Option<String> {
    let mut ranges: Vec<(usize, u64, u64)> = Vec::new();
    for stamp in stamps {
        match ranges.last_mut() {
            Some((publisher, _, last)) if *publisher == stamp.publisher && *last + 1 == stamp.number => {
                *last += 1;
            }
            _ => ranges.push((stamp.publisher, stamp.number, stamp.number)),
        }
    }
    let mut text = format!("subscriber {subscriber} {what}");
    for (publisher, first, last) in ranges.iter().take(DETAILS_MAX) {
        write!(text, " {publisher}:{first}..={last}").unwrap_or_default();
    }
    if ranges.len() > DETAILS_MAX {
        write!(text, " and {} ranges more", ranges.len() - DETAILS_MAX).unwrap_or_default();
    }
    (!ranges.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(publisher: usize, number: u64) -> Stamp {
        Stamp { publisher, number }
    }

    /// Two publishers, at QoS 1 and 2, who sent and had acknowledged 0 to 9; and one subscriber.
    fn books() -> Books {
        let books = Books::new(&[1, 2], 1);
        for publisher in [0, 1] {
            for number in 0..10 {
                books.sent(stamp(publisher, number));
                books.acknowledged(stamp(publisher, number));
            }
        }
        books
    }

    fn deliver(books: &Books, publisher: usize, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            books.arrived(0, Some(stamp(publisher, number)), publisher as u8 + 1);
        }
    }

    #[test]
    fn everything_once_and_in_order_is_clean() {
        let books = books();
        deliver(&books, 0, 0..10);
        assert!(!books.is_drained(0));
        deliver(&books, 1, 0..10);
        assert!(books.is_drained(0));
        let (figures, details) = books.close();
        assert!(figures.is_clean() && details.is_empty(), "{figures:?} {details:?}");
        assert_eq!(figures.acknowledged, 20);
    }

    #[test]
    fn one_that_is_missing_is_lost_and_named() {
        let books = books();
        deliver(&books, 0, (0..10).filter(|number| *number != 4));
        deliver(&books, 1, 0..7);
        let (figures, details) = books.close();
        assert_eq!((figures.lost, figures.is_clean()), (4, false));
        assert_eq!(details, ["subscriber 0 lacks 0:4..=4 1:7..=9"]);
    }

    #[test]
    fn what_was_not_acknowledged_may_be_missing() {
        let books = Books::new(&[2], 1);
        books.sent(stamp(0, 0));
        assert!(books.close().0.is_clean());
    }

    #[test]
    fn twice_is_allowed_at_qos_1_and_not_at_qos_2() {
        let books = books();
        deliver(&books, 0, (0..10).chain(5..10));
        deliver(&books, 1, 0..10);
        let (figures, _) = books.close();
        assert_eq!(
            (figures.again, figures.duplicated, figures.out_of_order, figures.is_clean()),
            (5, 0, 0, true)
        );
        deliver(&books, 1, [3]);
        let (figures, details) = books.close();
        assert_eq!((figures.duplicated, figures.is_clean()), (1, false));
        assert_eq!(details, ["subscriber 0 got twice 1:3..=3"]);
    }

    #[test]
    fn a_first_copy_behind_a_later_number_is_out_of_order() {
        let books = books();
        deliver(&books, 0, [0, 2, 1, 3, 4, 5, 6, 7, 8, 9]);
        deliver(&books, 1, 0..10);
        let (figures, _) = books.close();
        assert_eq!((figures.out_of_order, figures.is_clean()), (1, false));
    }

    #[test]
    fn what_nobody_sent_or_came_at_another_qos_is_altered() {
        let books = books();
        deliver(&books, 0, 0..10);
        deliver(&books, 1, 0..10);
        books.arrived(0, None, 1);
        books.arrived(0, Some(stamp(0, 10)), 1);
        books.arrived(0, Some(stamp(0, 9)), 0);
        let (figures, _) = books.close();
        assert_eq!((figures.altered, figures.is_clean()), (3, false));
    }

    #[test]
    fn a_forgotten_session_and_a_clash_are_not_clean() {
        let books = Books::new(&[], 0);
        books.forgotten_session("x");
        assert!(!books.close().0.is_clean());
        let books = Books::new(&[], 0);
        books.clash("x", 1);
        assert!(!books.close().0.is_clean());
    }

    #[test]
    fn a_fence_and_a_probe_are_no_messages() {
        let books = Books::new(&[1], 1);
        assert!(!books.has_flowed() && !books.is_fenced(0, 0));
        books.arrived(0, Some(stamp(PROBE, 3)), 1);
        books.arrived(0, Some(stamp(FENCE, 0)), 1);
        assert!(books.has_flowed() && books.is_fenced(0, 0) && !books.is_fenced(0, 1));
        assert!(books.close().0.is_clean());
    }

    #[test]
    fn how_far_publishers_are_ahead_is_that_of_the_slowest_subscriber() {
        let books = Books::new(&[1], 2);
        for number in 0..5 {
            books.sent(stamp(0, number));
        }
        books.arrived(0, Some(stamp(0, 3)), 1);
        assert_eq!(books.ahead(), 5);
        books.arrived(1, Some(stamp(0, 0)), 1);
        assert_eq!(books.ahead(), 4);
    }
}
