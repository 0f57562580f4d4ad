//! What can be wrong with a connection, in plain words, and the setting that mends it.
//!
//! This is the one place that knows. The doctor asks it about what it found, a running connector about what its client
//! says; so both say the same of the same fault. It looks at values only: it opens no connection and reads no file.
//!
//! ```text
//!   DialError (net) ──► dial ────┐
//!   Cause (client) ───► running ─┼──► Diagnosis { fault, cause, next step, mend }
//!   CONNACK, SUBACK ──► broker ──┘
//! ```
//!
//! Invariant: nothing here ever advises to turn verification, TLS or access control off without saying what it costs,
//! and no [`Mend`] with a value does any of it.

mod broker;
mod dial;
mod fault;
mod reach;
mod running;
#[cfg(test)]
mod tests;

use std::fmt;

pub use broker::{of_keep_alive, of_publish, of_refusal, of_scram, of_subscribe};
pub use dial::of_dial;
pub(crate) use dial::{of_closed, of_not_mqtt, of_silence, of_spoken_by, of_tls_end};
pub use fault::Fault;
pub use running::of_cause;

/// What is wrong with a connection, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What is wrong, for programs.
    pub fault: Fault,
    /// What is wrong, in plain words: lower case, without a full stop.
    pub cause: String,
    /// The one thing to do next.
    pub next_step: String,
    /// The setting to change, where one mends it.
    pub mend: Option<Mend>,
}

/// A setting of a connector to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// The key below `connector.NAME`, such as `tls.ca`.
    pub key: &'static str,
    /// What to write there, where that is known.
    pub value: Option<MendValue>,
}

/// What to write at a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MendValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
}

impl Diagnosis {
    /// Makes a diagnosis that no setting mends.
    pub fn new(fault: Fault, cause: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { fault, cause: cause.into(), next_step: next_step.into(), mend: None }
    }

    /// Names the setting that mends it, as [`Mend`] shows it.
    pub(crate) fn with_setting(self, shown: &str) -> Self {
        let mend = Mend::read(shown);
        Self { mend, ..self }
    }

    /// Names the setting that mends it, when its value is for a person to know.
    #[must_use]
    pub fn setting(mut self, key: &'static str) -> Self {
        self.mend = Some(Mend { key, value: None });
        self
    }

    /// Names the setting that mends it, and its value.
    #[must_use]
    pub fn text(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.mend = Some(Mend { key, value: Some(MendValue::Text(value.into())) });
        self
    }

    /// Names the setting that mends it, and its value.
    #[must_use]
    pub fn integer(mut self, key: &'static str, value: i64) -> Self {
        self.mend = Some(Mend { key, value: Some(MendValue::Integer(value)) });
        self
    }
}

/// Every key that a diagnosis names.
const KEYS: &[&str] = &[
    "url",
    "path",
    "auth",
    "protocol",
    "client_id",
    "username",
    "password",
    "keep_alive_s",
    "ack_deadline_ms",
    "will",
    "enabled",
    "websocket.headers",
    "tls.ca",
    "tls.certificate",
    "tls.key",
    "tls.server_name",
    "tls.alpn",
    "proxy",
    "proxy.username",
    "proxy.password",
];

impl Mend {
    /// Reads what `Display` writes; `None` for a key that no diagnosis names.
    fn read(shown: &str) -> Option<Self> {
        let (key, value) = shown.split_once(" = ")?;
        let key = KEYS.iter().copied().find(|known| *known == key)?;
        let value = match (value.parse(), value.strip_prefix('"').and_then(|text| text.strip_suffix('"'))) {
            (Ok(number), _) => Some(MendValue::Integer(number)),
            (_, Some(text)) => Some(MendValue::Text(text.to_owned())),
            _ => None,
        };
        Some(Self { key, value })
    }
}

impl fmt::Display for Mend {
    /// Shows it as it is written in a project file, and `...` for a value that only a person knows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => write!(f, "{} = ...", self.key),
            Some(MendValue::Integer(number)) => write!(f, "{} = {number}", self.key),
            Some(MendValue::Text(text)) => write!(f, "{} = {text:?}", self.key),
        }
    }
}
