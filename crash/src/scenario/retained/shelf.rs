//! The retained messages: what was sent, what was acknowledged, what may be found.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Kept;
use crate::books::Books;
use crate::message::{Stamp, mix};
use crate::wire::Publish;

/// How many publishers share the topics.
pub(super) const PUBLISHERS: usize = 3;

/// How many topics there are, a multiple of [`PUBLISHERS`].
pub(super) const TOPICS: usize = 90;

/// Returns the name of a topic.
pub(super) fn topic(topic: usize) -> String {
    format!("r/{}/{topic}", topic % 7)
}

/// Returns the QoS at which a topic's publisher publishes.
pub(super) const fn qos(topic: usize) -> u8 {
    // Each publisher has a QoS of its own, so that its changes of a topic have one order.
    if (topic % PUBLISHERS).is_multiple_of(2) { 1 } else { 2 }
}

/// Returns whether this change of a topic removes its message.
fn is_removal(stamp: Stamp) -> bool {
    mix(stamp.number ^ (stamp.publisher as u64) << 32).is_multiple_of(5)
}

/// One change of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The topic in the place of the publisher.
    pub(super) stamp: Stamp,
    pub(super) is_removal: bool,
}

/// What is known of every topic.
#[derive(Debug)]
pub(super) struct Shelf {
    kept: Kept,
    places: Mutex<Vec<Place>>,
}

/// A topic's changes, counted from 1; 0 is that it was never published to.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    sent: u64,
    acknowledged: u64,
}

impl Shelf {
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept, places: Mutex::new(vec![Place::default(); TOPICS]) }
    }

    /// Begins the next change of a topic.
    pub(super) fn change(&self, topic: usize) -> Change {
        let mut places = self.places();
        let number = places.get_mut(topic).map_or(0, |place| {
            place.sent += 1;
            place.sent
        });
        let stamp = Stamp { publisher: topic, number };
        Change { stamp, is_removal: is_removal(stamp) }
    }

    /// Notes that a change was acknowledged, by PUBACK or PUBREC.
    pub(super) fn acknowledged(&self, stamp: Stamp) {
        if self.kept == Kept::FromPubrec || qos(stamp.publisher) == 1 {
            self.completed(stamp);
        }
    }

    /// Notes that a change must be there from now on.
    pub(super) fn completed(&self, stamp: Stamp) {
        if let Some(place) = self.places().get_mut(stamp.publisher) {
            place.acknowledged = place.acknowledged.max(stamp.number);
        }
    }

    /// Compares what was found with what may be: nothing older than what was acknowledged, nothing that was not sent.
    pub(super) fn compare(&self, found: &[Publish], books: &Books) {
        let mut by_topic: HashMap<&str, &Publish> = HashMap::new();
        for publish in found {
            if by_topic.insert(&publish.topic, publish).is_some() {
                let detail = format!("{} was retained twice", publish.topic);
                books.find(|figures| figures.duplicated += 1, detail);
            }
        }
        for (index, place) in self.places().iter().enumerate() {
            let publish = by_topic.remove(topic(index).as_str());
            place.compare(index, publish, books);
        }
        for topic in by_topic.keys() {
            books.find(|figures| figures.altered += 1, format!("{topic} was never published to"));
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn compare(self, topic: usize, publish: Option<&Publish>, books: &Books) {
        let Self { sent, acknowledged } = self;
        let Some(publish) = publish else {
            let may_be_gone = |number| number == 0 || is_removal(Stamp { publisher: topic, number });
            if !(acknowledged..=sent).any(may_be_gone) {
                let detail =
                    format!("topic {topic} has nothing, acknowledged was change {acknowledged} of {sent}");
                books.find(|figures| figures.lost += 1, detail);
            }
            return;
        };
        let stamp = Stamp::read(&publish.payload).filter(|stamp| stamp.publisher == topic);
        let Some(stamp) = stamp.filter(|stamp| stamp.number <= sent && !is_removal(*stamp)) else {
            let detail = format!("topic {topic} has a message that nobody sent so");
            return books.find(|figures| figures.altered += 1, detail);
        };
        if stamp.number < acknowledged {
            let detail = format!(
                "topic {topic} has change {}, acknowledged was {acknowledged} of {sent}",
                stamp.number
            );
            books.find(|figures| figures.lost += 1, detail);
        }
        if publish.qos != qos(topic) || !publish.retain {
            let detail = format!("topic {topic} came at QoS {}, retain {}", publish.qos, publish.retain);
            books.find(|figures| figures.altered += 1, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    /// Looks for `found` changes on a shelf where topic 1 was changed until `sent`.
    fn judged(acknowledged: u64, sent: u64, found: Option<u64>) -> Figures {
        let shelf = Shelf::new(Kept::FromPubrec);
        for _ in 0..sent {
            shelf.change(1);
        }
        if acknowledged > 0 {
            shelf.acknowledged(Stamp { publisher: 1, number: acknowledged });
        }
        let message = |number| Publish {
            is_again: false,
            qos: qos(1),
            retain: true,
            topic: topic(1),
            id: 1,
            payload: Stamp { publisher: 1, number }.payload(0),
        };
        let books = Books::new(&[], 0);
        shelf.compare(&found.map(message).into_iter().collect::<Vec<_>>(), &books);
        books.close().0
    }

    /// Returns the first number from `from` that is a removal, or is none.
    fn first(from: u64, removal: bool) -> u64 {
        (from..).find(|number| is_removal(Stamp { publisher: 1, number: *number }) == removal).unwrap()
    }

    #[test]
    fn what_is_there_may_be_newer_than_what_was_acknowledged_and_not_older() {
        let value = first(20, false);
        assert!(judged(value, value, Some(value)).is_clean());
        assert!(judged(value - 1, value, Some(value)).is_clean());
        assert_eq!(judged(value + 1, value + 1, Some(value)).lost, 1);
        assert_eq!(judged(value - 2, value - 1, Some(value)).altered, 1);
    }

    #[test]
    fn nothing_is_there_only_after_a_removal_or_before_the_first() {
        assert!(judged(0, 0, None).is_clean());
        assert!(judged(0, 1, None).is_clean());
        let removal = first(20, true);
        assert!(judged(removal, removal, None).is_clean());
        assert!(judged(removal - 1, removal, None).is_clean());
        let value = first(20, false);
        assert_eq!(judged(value, value, None).lost, 1);
        // A removal that was acknowledged and is undone.
        assert_eq!(judged(removal, removal, Some(first(removal - 4, false))).lost, 1);
    }

    #[test]
    fn at_qos_2_others_may_keep_it_from_pubcomp_on() {
        for (kept, acknowledged) in [(Kept::FromPubrec, 1), (Kept::FromPubcomp, 0)] {
            let shelf = Shelf::new(kept);
            let change = shelf.change(1);
            shelf.acknowledged(change.stamp);
            assert_eq!(shelf.places()[1].acknowledged, acknowledged);
            shelf.completed(change.stamp);
            assert_eq!(shelf.places()[1].acknowledged, 1);
        }
    }

    #[test]
    fn a_message_under_a_topic_that_nobody_has_is_altered() {
        let books = Books::new(&[], 0);
        let stray = Publish {
            is_again: false,
            qos: 1,
            retain: true,
            topic: "r/x".to_owned(),
            id: 1,
            payload: Vec::new(),
        };
        Shelf::new(Kept::FromPubrec).compare(&[stray.clone(), stray], &books);
        let figures = books.close().0;
        assert_eq!((figures.altered, figures.duplicated), (1, 1));
    }
}
