//! Where the newest message of each topic waits, for topics of which only the newest is wanted.

use std::collections::HashMap;

use crosspoint_client::TopicFilter;

/// How many topics are remembered; of others every message waits.
const TOPICS_MAX: usize = 65_536;

/// The messages that a newer one would replace, by topic.
#[derive(Debug, Default)]
pub(super) struct Latest {
    filters: Vec<TopicFilter>,
    /// Position and bytes; looked up, never walked through.
    by_topic: HashMap<Box<str>, (u64, u64)>,
}

impl Latest {
    /// Sets the topics that it is about, and forgets the others.
    pub(super) fn set_filters(&mut self, filters: &[TopicFilter]) {
        self.filters = filters.to_vec();
        let filters = &self.filters;
        self.by_topic.retain(|topic, _| filters.iter().any(|filter| filter.matches(topic)));
    }

    /// Returns whether it is about any topic at all.
    pub(super) fn is_on(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Takes a message that waits now; returns position and bytes of the one that is replaced.
    pub(super) fn note(&mut self, topic: &str, position: u64, bytes: u64) -> Option<(u64, u64)> {
        if !self.filters.iter().any(|filter| filter.matches(topic)) {
            return None;
        }
        if let Some(known) = self.by_topic.get_mut(topic) {
            // Two batches may come back in the other order than that of their positions.
            let newer = if known.0 < position { (position, bytes) } else { *known };
            let older = if known.0 < position { *known } else { (position, bytes) };
            *known = newer;
            return Some(older);
        }
        if self.by_topic.len() < TOPICS_MAX {
            self.by_topic.insert(topic.into(), (position, bytes));
        }
        None
    }

    /// Forgets a message that does not wait any more.
    pub(super) fn forget(&mut self, topic: &str, position: u64) {
        if self.by_topic.get(topic).is_some_and(|(known, _)| *known == position) {
            self.by_topic.remove(topic);
        }
    }
}
