//! What may be asked of a hub, and what it answers: `docs/adr/0013`. How that is written stands in `line`.

use std::time::Duration;

use crosspoint_protocol::packet::{SubscribedFilter, UserProperties};
use crosspoint_protocol::{Message, QoS, TopicName};
use serde_json::{Map, Value};

pub(super) use kept::word as when_full_word;
pub(super) use line::encode_message;
pub use line::message_of;

use crate::kept::{KeptSubscription, WhatWaits};

mod kept;
mod line;

/// What is asked of a hub, or of what it left on disk.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// How the store stands: one row.
    Status,
    /// What a hub that runs is doing: a row for each connector, for the broker, for each flow and each kept subscription.
    Overview,
    /// A row for each connector and what waits, died and was dropped there.
    List(Kept),
    /// Rows of messages, in their order.
    Show {
        /// Of which kind.
        of: Kept,
        /// Of which connector.
        name: String,
        /// From which position on.
        from: u64,
        /// At most so many.
        count: u64,
        /// At most so many bytes of each payload.
        payload_bytes: u64,
    },
    /// Sends messages again: those of an outbox now instead of later, dead letters as new ones.
    Retry {
        /// Of which kind.
        of: Kept,
        /// Of which connector.
        name: String,
        /// Which of them.
        which: Which,
    },
    /// Gives messages up for good.
    Drop {
        /// Of which kind.
        of: Kept,
        /// Of which connector.
        name: String,
        /// Which of them.
        which: Which,
    },
    /// Changes a dead letter.
    Edit {
        /// Of which connector.
        name: String,
        /// Which one.
        position: u64,
        /// What changes.
        edit: Edit,
    },
    /// Puts a message into a connector's outbox; done when it is durable there.
    Publish {
        /// Into which connector's.
        name: String,
        /// What is published.
        message: Message,
    },
    /// Publishes at once on a connector that runs, past its outbox and in this order: for each message a row with what
    /// the broker said, or why it has not got it. Done is the count of those that it has.
    PublishNow {
        /// On which connector.
        name: String,
        /// What is published.
        messages: Vec<Message>,
        /// How long the broker may take.
        within: Duration,
    },
    /// Subscribes on a connector that runs, until whoever asked hangs up: a row with what the broker said to each filter,
    /// then a row a message.
    Subscribe {
        /// On which connector.
        name: String,
        /// To what.
        filters: Vec<SubscribedFilter>,
        /// What is said to the broker besides (MQTT 5).
        user_properties: UserProperties,
        /// How long the broker may take to answer.
        within: Duration,
    },
    /// Asks on a connector that runs, until whoever asked hangs up: a row about the question, then a row an answer.
    Ask {
        /// On which connector.
        name: String,
        /// The question.
        message: Message,
        /// Where answers are awaited; `None`: on a topic of its own (MQTT 5).
        response_topic: Option<TopicName>,
        /// How long the broker may take to answer.
        within: Duration,
    },
    /// Keeps a subscription: a row with what was made of that.
    Keep {
        /// What is to be kept.
        subscription: KeptSubscription,
        /// How long the broker may take to answer.
        within: Duration,
    },
    /// A row for each kept subscription.
    KeptSubscriptions,
    /// Removes a kept subscription; what it counts is what was dropped.
    RemoveKept {
        /// Which one.
        name: String,
        /// What becomes of what waits for it.
        what_waits: WhatWaits,
    },
    /// Reads a kept subscription until whoever asked hangs up: a row a message. [`Control::read`](super::Control::read)
    /// asks it.
    Read {
        /// Which one.
        name: String,
    },
}

/// What is kept for a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// What waits to be sent.
    Outbox,
    /// What could not be delivered.
    Dead,
    /// What was sent, as far as it is archived.
    Archive,
}

/// Which messages are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All that are there when it is asked.
    All,
    /// So many, the oldest first.
    Oldest(u64),
    /// Those at these positions.
    At(Vec<u64>),
}

/// What changes in a dead letter; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// Its topic.
    pub topic: Option<String>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// At which QoS it is delivered.
    pub qos: Option<QoS>,
    /// Whether it is retained.
    pub retain: Option<bool>,
}

/// What whoever reads says: he has everything up to this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) position: u64,
    /// Whether he wants no more.
    pub(super) is_last: bool,
}

/// A part of the answer to a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub(super) enum Answer {
    /// One thing that was asked for.
    Row(Map<String, Value>),
    /// How far a long run is: so many of so many.
    Progress(u64, u64),
    /// The end: it is done, and this many messages were meant.
    Done(u64),
    /// The end: what it was about is not there.
    NotThere {
        /// What is not there.
        cause: String,
        /// What to do about it.
        mend: String,
    },
    /// The end: it is not done.
    Failed {
        /// Why.
        cause: String,
        /// What to do about it.
        mend: String,
    },
}

impl Kept {
    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Outbox => "outbox",
            Self::Dead => "dead",
            Self::Archive => "archive",
        }
    }
}

impl Edit {
    /// Tells whether anything changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
