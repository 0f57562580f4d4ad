//! What waits for a connector, and what becomes of what cannot.

use std::time::Duration;

use crosspoint_protocol::TopicFilter;

/// What waits for a connector.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxPlan {
    /// How many bytes of messages may wait; one message always may.
    pub bytes_max: u64,
    /// How many messages may wait.
    pub messages_max: u64,
    /// How long a message may wait before it is dropped.
    pub age_max: Option<Duration>,
    /// What happens when no more may wait.
    pub when_full: WhenFull,
    /// Topics of which only the newest message waits.
    pub keep_latest: Vec<TopicFilter>,
    /// How a message that has waited is told from a fresh one.
    pub replay_mark: Option<ReplayMark>,
    /// How many messages a second leave of what has waited for a connection; `None` is as fast as it goes.
    pub backlog_per_s: Option<u32>,
    /// How often the broker may refuse a message for the moment before it goes to the dead letters.
    pub attempts_max: Option<u32>,
    /// What such a message holds up meanwhile.
    pub lane: Lane,
    /// How many dead letters are kept; the oldest go first.
    pub dead_letters_max: u64,
    /// What is kept of what was sent.
    pub archive: Option<ArchivePlan>,
}

impl Default for OutboxPlan {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            messages_max: u64::MAX,
            age_max: None,
            when_full: WhenFull::Block,
            keep_latest: Vec::new(),
            replay_mark: None,
            backlog_per_s: None,
            attempts_max: Some(100),
            lane: Lane::Connector,
            dead_letters_max: 100_000,
            archive: None,
        }
    }
}

/// What happens when an outbox is full. At QoS 0 the new message is dropped, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// New messages wait at their source.
    #[default]
    Block,
    /// The oldest message is dropped.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
}

impl WhenFull {
    /// The words of the project file.
    pub const WORDS: &'static [&'static str] = &["block", "drop_oldest", "drop_newest"];

    /// Returns what a word means; an unknown one loses nothing.
    pub fn of_word(word: &str) -> Self {
        match word {
            "drop_oldest" => Self::DropOldest,
            "drop_newest" => Self::DropNewest,
            _ => Self::Block,
        }
    }
}

/// Within what the order of messages is kept, and so what one that the broker refuses for the moment holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Everything for the connector.
    #[default]
    Connector,
    /// The messages of one topic; those of others go on.
    Topic,
}

impl Lane {
    /// The words of the project file.
    pub const WORDS: &'static [&'static str] = &["connector", "topic"];

    /// Returns what a word means; an unknown one keeps the stricter order.
    pub fn of_word(word: &str) -> Self {
        match word {
            "topic" => Self::Topic,
            _ => Self::Connector,
        }
    }
}

/// How a message that has waited is told from a fresh one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayMark {
    /// The name of a user property that it gets (MQTT 5), with `true`.
    pub property: Option<String>,
    /// What goes before its topic.
    pub topic_prefix: Option<String>,
    /// How long it must have waited.
    pub after: Duration,
}

/// What is kept of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivePlan {
    /// How many bytes of messages; the oldest go first.
    pub bytes_max: u64,
    /// For how long.
    pub age_max: Option<Duration>,
}
