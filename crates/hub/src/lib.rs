//! The hub: connectors, flows and supervision. What the `crosspoint` binary runs.
//!
//! ```text
//!   source: client or embedded broker                     sink: client or embedded broker
//!        │ delivery     ▲ accepted                             ▲
//!        ▼              │                                      │
//!     intake ── flows (pure) ──► one batch ──► store ──► outboxes ──► pump
//! ```
//!
//! A message at QoS 1 or 2 is acknowledged to its source when the disk has everything that it has become.
//!
//! What it does *not* do: it draws no pages, prints nothing, and reads its configuration from nowhere but the project
//! file.

pub mod access;
pub mod actions;
pub mod config;
pub mod connect;
pub mod control;
pub mod diagnosis;
pub mod doctor;
pub mod import;
pub mod secret;

mod certificates;
mod connect_rate;
mod connector;
mod data_dir;
mod durable;
mod embedded;
mod environment;
mod flow;
mod hub;
mod intake;
mod kept;
mod listeners;
mod loop_guard;
mod outbox;
mod pace;
mod replacing;
#[cfg(test)]
mod testing;
mod users;
mod watch;

pub use certificates::{Purpose, UsedCertificate};
pub use connector::{Condition, ConnectorState};
pub use crosspoint_net::{CertificateFacts, Standing};
pub use data_dir::{DataDir, DataDirError};
pub use embedded::ListeningAt;
pub use environment::Environment;
pub use hub::{ConnectorStatus, Hub, HubError, has_changes};
pub use outbox::OutboxFigures;
pub use users::{PasswordHash, hash_password};
pub use watch::{ProjectWatch, WatchError};
