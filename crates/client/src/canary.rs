//! A message of the client's own that goes to the server and comes back: as long as it does, messages flow.
//!
//! Pure: the engine publishes what [`CanaryWatch::step`] gives and shows it what comes on the topic. On every connection it
//! begins when the subscription is granted.

use crosspoint_protocol::{Now, TopicFilter, TopicName, topic::InvalidTopic};

/// So many in a row that have not come back mean that nothing flows.
const MISSED_MAX: u32 = 2;

/// What the options say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Canary {
    pub(crate) topic: TopicName,
    pub(crate) interval_ms: u64,
}

/// The canary of a client.
#[derive(Debug)]
pub(crate) struct CanaryWatch {
    topic: TopicName,
    filter: TopicFilter,
    interval_ms: u64,
    /// Tells our messages from those of others on the same topic.
    mark: u64,
    /// How many were published.
    serial: u64,
    /// While messages can flow.
    run: Option<Run>,
}

/// On one connection.
#[derive(Debug)]
struct Run {
    /// Those up to this one belong to earlier connections.
    before: u64,
    next_ms: u64,
    /// The last one has not come back.
    is_out: bool,
    missed: u32,
}

/// What is to be done when the time has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Rest,
    /// Publish this.
    Publish(String),
    /// Nothing flows: end the connection.
    Lost,
}

impl CanaryWatch {
    /// Makes it from checked options.
    pub(crate) fn new(canary: &Canary, mark: u64) -> Result<Self, InvalidTopic> {
        let filter = TopicFilter::parse(canary.topic.as_str().to_owned())?;
        let topic = canary.topic.clone();
        Ok(Self { topic, filter, interval_ms: canary.interval_ms, mark, serial: 0, run: None })
    }

    pub(crate) const fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub(crate) const fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// Tells whether [`step`](Self::step) is due; it is until it begins.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        self.due_ms().is_none_or(|due_ms| due_ms <= now.monotonic_ms)
    }

    /// Returns when the next one is due; `None` while it rests.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.run.as_ref().map(|run| run.next_ms)
    }

    /// Stops until the next [`step`](Self::step): there is no connection, or no subscription.
    pub(crate) fn rest(&mut self) {
        self.run = None;
    }

    /// Says what is to be done now. `has_paused` says whether reading has paused since the last step: what has not come
    /// back then was perhaps only not read.
    pub(crate) fn step(&mut self, has_paused: bool, now: Now) -> Step {
        let next_ms = now.monotonic_ms.saturating_add(self.interval_ms);
        let new = Run { before: self.serial, next_ms, is_out: false, missed: 0 };
        let run = self.run.get_or_insert(new);
        run.next_ms = next_ms;
        if has_paused {
            (run.is_out, run.missed) = (false, 0);
            return Step::Rest;
        }
        run.missed = if run.is_out { run.missed + 1 } else { 0 };
        if run.missed >= MISSED_MAX {
            return Step::Lost;
        }
        run.is_out = true;
        self.serial += 1;
        Step::Publish(self.payload(self.serial))
    }

    /// Tells whether a message is on the canary's topic, and notes one that has come back.
    pub(crate) fn takes(&mut self, topic: &str, payload: &[u8]) -> bool {
        if topic != self.topic.as_str() {
            return false;
        }
        let Some(run) = &self.run else { return true };
        // One of an earlier connection says nothing of this one.
        let last = self.serial.saturating_sub(u64::from(MISSED_MAX)).max(run.before);
        if (last + 1..=self.serial).any(|serial| self.payload(serial).as_bytes() == payload)
            && let Some(run) = &mut self.run
        {
            (run.is_out, run.missed) = (false, 0);
        }
        true
    }

    fn payload(&self, serial: u64) -> String {
        format!("canary {:016x} {serial}", self.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> CanaryWatch {
        let canary = Canary { topic: TopicName::parse("canary").unwrap(), interval_ms: 10 };
        CanaryWatch::new(&canary, 7).unwrap()
    }

    const fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0 }
    }

    fn published(step: Step) -> Vec<u8> {
        match step {
            Step::Publish(payload) => payload.into_bytes(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_in_a_row_that_do_not_come_back_are_too_many() {
        let mut watch = watch();
        assert!(watch.is_due(at(0)));
        published(watch.step(false, at(0)));
        assert_eq!(watch.due_ms(), Some(10));
        let second = published(watch.step(false, at(10)));
        assert!(watch.takes("canary", &second));
        for now in [20, 30] {
            published(watch.step(false, at(now)));
        }
        assert_eq!(watch.step(false, at(40)), Step::Lost);
    }

    #[test]
    fn a_late_one_counts_and_a_strange_one_does_not() {
        let mut watch = watch();
        let first = published(watch.step(false, at(0)));
        published(watch.step(false, at(10)));
        assert!(watch.takes("canary", b"canary 0000000000000008 1"));
        assert!(!watch.takes("other", &first));
        assert_eq!(watch.run.as_ref().map(|run| run.missed), Some(1));
        assert!(watch.takes("canary", &first));
        published(watch.step(false, at(20)));
    }

    #[test]
    fn one_of_an_earlier_connection_does_not_count() {
        let mut watch = watch();
        let first = published(watch.step(false, at(0)));
        watch.rest();
        published(watch.step(false, at(5)));
        watch.takes("canary", &first);
        assert_eq!(watch.run.as_ref().map(|run| run.is_out), Some(true));
    }

    #[test]
    fn what_was_not_read_is_not_missed() {
        let mut watch = watch();
        published(watch.step(false, at(0)));
        published(watch.step(false, at(10)));
        assert_eq!(watch.step(true, at(20)), Step::Rest);
        published(watch.step(false, at(30)));
        published(watch.step(false, at(40)));
        assert_eq!(watch.step(false, at(50)), Step::Lost);
    }
}
