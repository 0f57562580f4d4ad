//! Why an action is not done.

use std::time::Duration;

use super::question::NotAskable;
use crate::diagnosis::Diagnosis;

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
            Self::NotInTime(_) => "give it more time, or see `crosspoint status`".to_owned(),
        }
    }
}
