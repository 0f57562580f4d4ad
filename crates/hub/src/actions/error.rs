//! Why an action is not done.

use std::time::Duration;

use crosspoint_client::TopicFilter;

use super::question::NotAskable;
use crate::diagnosis::Diagnosis;
use crate::kept::KeptSubscription;

/// Why an action is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// The hub has no connector of this name.
    #[error("the hub has no connector {name}")]
    NoSuchConnector {
        /// The name.
        name: String,
        /// The names that it has.
        known: Vec<String>,
    },
    /// The connector does not run, or has not connected yet.
    #[error("connector {0} is not connected")]
    Off(String),
    /// There is no connection.
    #[error("there is no connection: {}", .0.cause)]
    NotConnected(Box<Diagnosis>),
    /// The connection cannot be made with these settings.
    #[error("the connection cannot be made: {0}")]
    Settings(String),
    /// It cannot share the connector's connection: why.
    #[error("the connection of the connector cannot be shared for this: {0}")]
    Apart(String),
    /// The broker refuses.
    #[error("{0}")]
    Refused(String),
    /// It cannot be asked so.
    #[error(transparent)]
    NotAskable(#[from] NotAskable),
    /// It cannot be kept: why.
    #[error("the subscription cannot be kept: {0}")]
    NotKeepable(String),
    /// Another one is kept under this name.
    #[error("another subscription is kept as {}: {}", .0.name, words(.0))]
    KeptDiffers(Box<KeptSubscription>),
    /// No subscription is kept under this name.
    #[error("no subscription is kept as {name}")]
    NoSuchKept {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Somebody reads it.
    #[error("the kept subscription {0} is being read")]
    KeptIsRead(String),
    /// Messages wait for it.
    #[error("messages wait in the kept subscription {name}: {messages}")]
    KeptWaits {
        /// The name.
        name: String,
        /// How many.
        messages: u64,
    },
    /// The store refuses.
    #[error("{0}")]
    Store(String),
    /// The broker did not answer in time.
    #[error("the broker did not answer within {} s", .0.as_secs())]
    NotInTime(Duration),
}

impl ActionError {
    pub(super) fn not_connected(diagnosis: Diagnosis) -> Self {
        Self::NotConnected(Box::new(diagnosis))
    }

    pub(super) fn no_such<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        Self::NoSuchConnector { name: name.to_owned(), known: known.map(str::to_owned).collect() }
    }

    /// Returns what to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::NoSuchConnector { known, .. } => format!("name one that it has: {}", known.join(", ")),
            Self::Off(_) => {
                "see `crosspoint status`; to leave a message for later use `crosspoint pub --store`"
                    .to_owned()
            }
            Self::NotConnected(diagnosis) => diagnosis.next_step.clone(),
            Self::Apart(_) => {
                "subscribe to it with another action, which gets a client of its own".to_owned()
            }
            Self::Settings(_) => "correct the settings of the connection".to_owned(),
            Self::Refused(_) => "check what the broker allows this user and client id to do".to_owned(),
            Self::NotAskable(NotAskable::NoResponseTopic(_)) => {
                "give a response topic that whoever answers knows".to_owned()
            }
            Self::NotAskable(_) => "correct the value of the property".to_owned(),
            Self::NotKeepable(_) => "correct it, and ask again".to_owned(),
            Self::KeptDiffers(known) => {
                let name = &known.name;
                format!(
                    "choose another name, or remove that one with `crosspoint subscriptions remove {name}`"
                )
            }
            Self::NoSuchKept { known, .. } if known.is_empty() => {
                "make one with `crosspoint sub --connector NAME -t FILTER --keep NAME`".to_owned()
            }
            Self::NoSuchKept { known, .. } => format!("name one that there is: {}", known.join(", ")),
            Self::KeptIsRead(_) => "end whoever reads it; one at a time may".to_owned(),
            Self::KeptWaits { name, .. } => format!(
                "read them with `crosspoint sub --kept {name}`, or give them up with \
                 `crosspoint subscriptions remove {name} --drop`"
            ),
            Self::Store(_) => "see the log of the hub, and whether the disk is well and has room".to_owned(),
            Self::NotInTime(_) => "give it more time, or see `crosspoint status`".to_owned(),
        }
    }
}

fn words(kept: &KeptSubscription) -> String {
    let filters: Vec<&str> = kept.filters.iter().map(TopicFilter::as_str).collect();
    format!("{} on {} at QoS {}", filters.join(", "), kept.connector, kept.qos.bits())
}
