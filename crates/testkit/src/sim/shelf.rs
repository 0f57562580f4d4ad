//! The judge of what brokers retain: what may be found on a topic, and what must be.
//!
//! Each topic has one publisher, which publishes nothing before it has heard of what it published last. So whoever
//! subscribes finds what the last confirmed message has left there, or one that was published after it.

/// A message to be retained, or one without a payload that lets the topic be forgotten.
#[derive(Debug, Clone, Copy)]
struct Change {
    is_clearing: bool,
    sent_ms: u64,
    confirmed_ms: Option<u64>,
    /// For how long it is worth anything.
    lasts_ms: Option<u64>,
}

/// Everything that one publisher has retained at one broker, by topic.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    topics: Vec<Vec<Change>>,
}

/// When somebody has looked, and what may be said of the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) began_ms: u64,
    pub(super) ended_ms: u64,
    /// Whether the wall clock has jumped in this run: then nobody knows what has expired.
    pub(super) has_jumped: bool,
    /// Whether the broker may have forgotten what it confirmed.
    pub(super) has_forgotten: bool,
}

/// How much later than by the publisher's clock something may expire.
const SLACK_MS: u64 = 1_000;

impl Shelf {
    /// Notes what is about to be published to a topic, and returns its number there.
    pub(super) fn publish(
        &mut self,
        topic: usize,
        is_clearing: bool,
        lasts_s: Option<u32>,
        at_ms: u64,
    ) -> usize {
        if self.topics.len() <= topic {
            self.topics.resize_with(topic + 1, Vec::new);
        }
        let lasts_ms = lasts_s.map(|seconds| u64::from(seconds) * 1_000);
        let Some(changes) = self.topics.get_mut(topic) else { return 0 };
        changes.push(Change { is_clearing, sent_ms: at_ms, confirmed_ms: None, lasts_ms });
        changes.len() - 1
    }

    /// Notes that its publisher was told that it is accepted.
    pub(super) fn confirm(&mut self, topic: usize, number: usize, at_ms: u64) {
        if let Some(change) = self.topics.get_mut(topic).and_then(|changes| changes.get_mut(number)) {
            change.confirmed_ms = Some(at_ms);
        }
    }

    /// Returns how many topics there are.
    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Returns what is wrong with what was found on a topic: the number of a message, or nothing.
    pub(super) fn wrong(&self, topic: usize, found: Option<usize>, look: Look) -> Option<String> {
        let changes = self.topics.get(topic).map(Vec::as_slice).unwrap_or_default();
        let first = match look.has_forgotten {
            true => None,
            false => changes.iter().rposition(|c| c.confirmed_ms.is_some_and(|at_ms| at_ms < look.began_ms)),
        };
        let possible = changes.iter().enumerate().skip(first.unwrap_or_default());
        let mut possible = possible.filter(|(_, change)| change.sent_ms <= look.ended_ms);
        let is_right = match found {
            Some(number) => possible.any(|(known, change)| {
                known == number && !change.is_clearing && !change.must_have_expired(look)
            }),
            None => first.is_none() || possible.any(|(_, c)| c.is_clearing || c.may_have_expired(look)),
        };
        (!is_right).then(|| format!("{found:?} is on topic {topic}, after {first:?} was confirmed, {look:?}"))
    }
}

impl Change {
    fn may_have_expired(&self, look: Look) -> bool {
        self.lasts_ms.is_some_and(|lasts_ms| look.has_jumped || self.sent_ms + lasts_ms <= look.ended_ms)
    }

    fn must_have_expired(&self, look: Look) -> bool {
        let over = |(lasts_ms, from_ms): (u64, u64)| from_ms + lasts_ms + SLACK_MS < look.began_ms;
        !look.has_jumped && self.lasts_ms.zip(self.confirmed_ms).is_some_and(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { began_ms: 1_000, ended_ms: 1_100, has_jumped: false, has_forgotten: false };

    fn shelf(changes: &[(bool, Option<u32>, bool)]) -> Shelf {
        let mut shelf = Shelf::default();
        for (at_ms, (is_clearing, lasts_s, is_confirmed)) in changes.iter().enumerate() {
            let number = shelf.publish(0, *is_clearing, *lasts_s, at_ms as u64);
            if *is_confirmed {
                shelf.confirm(0, number, at_ms as u64);
            }
        }
        shelf
    }

    #[test]
    fn what_was_confirmed_last_is_there_or_what_came_after_it() {
        let shelf = shelf(&[(false, None, true), (false, None, true), (false, None, false)]);
        let is_right = |found| shelf.wrong(0, found, LOOK).is_none();
        assert_eq!(
            [None, Some(0), Some(1), Some(2), Some(3)].map(is_right),
            [false, false, true, true, false]
        );
        let forgets = Look { has_forgotten: true, ..LOOK };
        assert!(shelf.wrong(0, None, forgets).is_none() && shelf.wrong(0, Some(0), forgets).is_none());
    }

    #[test]
    fn what_was_cleared_is_not_there() {
        let cleared = shelf(&[(false, None, true), (true, None, true)]);
        assert!(cleared.wrong(0, None, LOOK).is_none());
        assert!(cleared.wrong(0, Some(0), LOOK).is_some() && cleared.wrong(0, Some(1), LOOK).is_some());
        let perhaps = shelf(&[(false, None, true), (true, None, false)]);
        assert!(perhaps.wrong(0, None, LOOK).is_none() && perhaps.wrong(0, Some(0), LOOK).is_none());
    }

    #[test]
    fn what_has_expired_is_not_there_and_nothing_has_before_its_time() {
        let shelf = shelf(&[(false, Some(10), true)]);
        let at = |began_ms, has_jumped| Look { began_ms, ended_ms: began_ms + 100, has_jumped, ..LOOK };
        let is_right = |found, look| shelf.wrong(0, found, look).is_none();
        assert!(is_right(Some(0), at(9_000, false)) && !is_right(None, at(9_000, false)));
        assert!(is_right(Some(0), at(10_500, false)) && is_right(None, at(10_500, false)));
        assert!(!is_right(Some(0), at(11_500, false)) && is_right(None, at(11_500, false)));
        assert!(is_right(Some(0), at(11_500, true)) && is_right(None, at(9_000, true)));
    }
}
