//! What waits for one connector until its broker has confirmed it.

pub(crate) mod durable;

pub use durable::OutboxFigures;
pub(crate) use durable::{
    Added, Admission, Backlog, Chair, DeadLetter, Gone, IN_FLIGHT_MAX, Item, Outbox, OutboxOptions, Reading,
    Restored, Target, decode_entry, open,
};
