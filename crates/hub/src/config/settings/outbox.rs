//! The keys of `[connector.NAME.outbox]`.

use super::super::plan::WhenFull;
use super::super::setting::{Setting, Shape};

/// What waits on disk for the broker.
pub const OUTBOX: Setting = Setting::shaped(
    "outbox",
    Shape::Table(ALL),
    "What waits on disk for the broker, and what becomes of what cannot wait.",
);

/// How many bytes may wait.
pub const BYTES: Setting = Setting::integer(
    "bytes",
    65_536..=1_099_511_627_776,
    1_073_741_824,
    "How many bytes of messages may wait; each counts for 64 bytes more than it has.",
);

/// How many messages may wait.
pub const MESSAGES: Setting = Setting::optional_integer(
    "messages",
    1..=1_000_000_000,
    "How many messages may wait; as many as there are bytes for when not written.",
);

/// How long a message may wait.
pub const AGE_S: Setting = Setting::optional_integer(
    "age_s",
    1..=3_153_600_000,
    "How many seconds a message may wait before it is dropped; for ever when not written.",
);

/// What happens when no more may wait.
pub const WHEN_FULL: Setting = Setting::choice(
    "when_full",
    WhenFull::WORDS,
    "block",
    "What happens when no more may wait. `block`: new messages wait at their source; `drop_oldest`: the oldest message \
     that is not with the broker is dropped; `drop_newest`: the new one is. At QoS 0 the new one always is.",
);

/// Of which topics only the newest message waits.
pub const KEEP_LATEST: Setting = Setting::shaped(
    "keep_latest",
    Shape::Texts,
    "Topic filters: of a topic that one of them matches only the newest message waits.",
);

/// How a message that has waited is told from a fresh one.
pub const REPLAY_MARK: Setting = Setting::shaped(
    "replay_mark",
    Shape::Table(&[&REPLAY_PROPERTY, &REPLAY_TOPIC_PREFIX, &REPLAY_AFTER_S]),
    "How a message that has waited is told from a fresh one.",
);

/// By which user property.
pub const REPLAY_PROPERTY: Setting = Setting::optional_text(
    "property",
    "The name of a user property that a message which has waited bears, with the value `true` (MQTT 5).",
);

/// By which topic.
pub const REPLAY_TOPIC_PREFIX: Setting =
    Setting::optional_text("topic_prefix", "What stands before the topic of a message which has waited.");

/// After how long.
pub const REPLAY_AFTER_S: Setting = Setting::integer(
    "after_s",
    0..=31_536_000,
    0,
    "How long a message must have waited to be marked; 0 marks whatever was accepted before the connection came back.",
);

/// How fast a backlog leaves.
pub const BACKLOG_PER_S: Setting = Setting::optional_integer(
    "backlog_per_s",
    1..=1_000_000,
    "How many messages a second leave of what has waited for a connection; as fast as it goes when not written.",
);

/// How often the broker may refuse a message for the moment.
pub const MAX_ATTEMPTS: Setting = Setting::integer(
    "max_attempts",
    0..=1_000_000,
    100,
    "How often the broker may refuse a message for the moment before it goes to the dead letters; 0 is for ever.",
);

/// How many dead letters are kept.
pub const DEAD_LETTERS: Setting = Setting::integer(
    "dead_letters",
    1..=100_000_000,
    100_000,
    "How many dead letters are kept; beyond, the oldest go.",
);

/// What is kept of what was sent.
pub const ARCHIVE: Setting = Setting::shaped(
    "archive",
    Shape::Table(&[&ARCHIVE_BYTES, &ARCHIVE_AGE_S]),
    "What is kept of what was sent, to look at; nothing when not written.",
);

/// How many bytes of it.
pub const ARCHIVE_BYTES: Setting = Setting::integer(
    "bytes",
    65_536..=1_099_511_627_776,
    268_435_456,
    "How many bytes of messages are kept; beyond, the oldest go.",
);

/// For how long.
pub const ARCHIVE_AGE_S: Setting = Setting::optional_integer(
    "age_s",
    1..=3_153_600_000,
    "For how many seconds messages are kept; for as long as there is room when not written.",
);

const ALL: &[&Setting] = &[
    &BYTES,
    &MESSAGES,
    &AGE_S,
    &WHEN_FULL,
    &KEEP_LATEST,
    &REPLAY_MARK,
    &BACKLOG_PER_S,
    &MAX_ATTEMPTS,
    &DEAD_LETTERS,
    &ARCHIVE,
];
