//! What may be asked of a hub from outside of it: how its store stands, what waits, what died.
//!
//! ```text
//!            request, a line of JSON
//!   Control ──────────────────────────► Channel ──► Desk ──► store, outboxes     the hub runs
//!      │     ◄──── rows, progress, end             ▲
//!      └───────────────────────────────────────────┘                            it has stopped
//! ```
//!
//! [`StoreFolder`] looks at the files of a store whose hub has stopped.
//!
//! It draws nothing and decides nothing about messages: what an outbox or a dead letter is stands in their own rooms.
//! Whoever may write to the data directory may ask; nobody else reaches the socket in it.

mod acting;
mod board;
mod caller;
#[cfg(unix)]
mod channel;
mod dead;
mod desk;
mod failure;
mod gauge;
mod keeping;
mod outboxes;
#[cfg_attr(not(unix), allow(dead_code, reason = "there is no socket to speak over"))]
mod request;
mod row;
mod store_folder;
#[cfg(test)]
mod tests;
mod watched;

pub use crosspoint_store::{Damage, Report, Salvaged};

pub(crate) use board::Board;
pub use caller::{Control, Part, Taken};
#[cfg(unix)]
pub(crate) use channel::Channel;
pub(crate) use desk::Desk;
pub use failure::ControlError;
pub use gauge::{Gauge, WaitingFigures};
pub use request::{Edit, Kept, Request, Which, message_of};
pub use store_folder::{FileSizes, Progress, StoreFolder};
