//! What may be asked of a hub from outside of it: how its store stands, what waits, what died.
//!
//! [`StoreFolder`] looks at the store of a hub that has stopped.
//!
//! It draws nothing and decides nothing about messages: what an outbox or a dead letter is stands in their own rooms.

mod failure;
mod store_folder;
mod watched;

pub use failure::ControlError;
pub use store_folder::{FileSizes, Progress, StoreFolder};
