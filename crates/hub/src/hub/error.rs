//! Why a hub does not start, go on, or take a change over.

/// Why a hub does not start, or does not take a change over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A listener of the embedded broker cannot be opened.
    #[error("[broker.listener.{name}] cannot listen on {bind}: {cause}")]
    Listen {
        /// The name of the listener.
        name: String,
        /// The address that was written.
        bind: String,
        /// Why.
        cause: String,
        /// What to do about it.
        mend: String,
    },
    /// The embedded broker cannot be started.
    #[error("the embedded broker does not start: {0}")]
    Start(String),
    /// The users of the embedded broker do not fit together.
    #[error("the users of the embedded broker: {0}")]
    Users(String),
    /// The store cannot be used.
    #[error("{cause}")]
    Store {
        /// What is wrong.
        cause: String,
        /// What to do about it.
        mend: String,
    },
    /// A connector cannot be started with its settings.
    #[error("[connector.{name}] does not start: {cause}")]
    Connector {
        /// The name of the connector.
        name: String,
        /// Why.
        cause: String,
    },
}

impl HubError {
    /// Returns what to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Listen { mend, .. } | Self::Store { mend, .. } => mend.clone(),
            Self::Start(_) => "see whether the machine allows more threads and open files".to_owned(),
            Self::Users(_) => "mend [broker.user] and [broker.role] in the project file".to_owned(),
            Self::Connector { name, .. } => format!("mend [connector.{name}] in the project file"),
        }
    }
}
