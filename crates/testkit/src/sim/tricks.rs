//! What is drawn of what outboxes do with messages that do not simply go: dead letters, only the latest, topics that
//! wait alone.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::ledger::Place;

/// What becomes of the messages for one remote broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trick {
    /// Whether it ends every connection on which a poisonous message comes.
    pub(super) is_squeamish: bool,
    /// How often it may refuse a message for the moment.
    pub(super) attempts_max: Option<u32>,
    /// Whether only the newest message of a topic is wanted.
    pub(super) keeps_latest: bool,
    /// Whether order is kept for each topic.
    pub(super) by_topic: bool,
}

/// The tricks of a run, by the connector's name, which is that of the host it leads to.
#[derive(Debug, Clone, Default)]
pub(super) struct Tricks(BTreeMap<Place, Trick>);

impl Tricks {
    pub(super) fn draw(&mut self, rng: &mut Rng, place: Place, may_be_squeamish: bool) -> Trick {
        let by_topic = rng.u8(0..4) == 0;
        let trick = match rng.u8(0..8) {
            0 | 1 => Trick { is_squeamish: may_be_squeamish, by_topic, ..Trick::default() },
            2 | 3 => Trick { attempts_max: Some(rng.u32(1..4)), by_topic, ..Trick::default() },
            4 => Trick { keeps_latest: true, by_topic, ..Trick::default() },
            _ => Trick { by_topic, ..Trick::default() },
        };
        self.0.insert(place, trick);
        trick
    }

    pub(super) fn of(&self, place: &str) -> Trick {
        self.0.get(place).copied().unwrap_or_default()
    }

    /// Tells whether a broker ends the connections on which a poisonous message comes.
    pub(super) fn is_squeamish(&self, place: &str) -> bool {
        self.of(place).is_squeamish
    }

    /// Tells whether there may be dead letters for a broker.
    pub(super) fn may_bury(&self, place: &str) -> bool {
        let trick = self.of(place);
        trick.is_squeamish || trick.attempts_max.is_some()
    }
}

impl Trick {
    /// Returns what an outbox is to be told, as it stands in a project.
    pub(super) fn settings(&self, filters: &[String]) -> Vec<String> {
        let attempts = self.attempts_max.map(|max| format!("max_attempts = {max}"));
        let latest = self.keeps_latest.then(|| format!("keep_latest = {filters:?}"));
        attempts.into_iter().chain(latest).collect()
    }
}
