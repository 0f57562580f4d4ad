//! The durable store: one segmented log; atomic batches over small tables and queues; one sync for all who
//! wait.
//!
//! A message is bytes. It is stored once, with its targets: queues that read it in order and consume it. What
//! the bytes mean is for the rooms above. The format stands in `docs/formats/log.md`.
//!
//! ```text
//!  Store::commit ─► inbox ─► Writer (one thread) ─► frame ─► Disk::write_at, sync ─► Index::apply ─► Ticket
//!  Store::read  ──►   ▲                                                                │
//!                     └── everything that arrived during a sync goes into the next ◄──┘
//! ```
//!
//! What it does *not* do: it expires nothing, limits no queue, and repairs no damage; it reports and refuses.
//!
//! Invariants: a ticket answers only after the sync of what it stands for, and memory is never anything else
//! than what the log says, because the index changes only by applying frames.

mod batch;
pub mod bytes_in;
mod checkpoint;
pub mod disk;
mod error;
mod finished;
mod frame;
mod front;
mod index;
mod options;
mod reading;
mod record;
mod recovery;
mod salvage;
mod scan;
mod shared;
mod store;
mod ticket;
mod writer;

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;

#[cfg(test)]
mod tests;

pub use batch::{BATCH_BYTES_MAX, Batch};
pub use disk::{Directory, Disk, FileName, SimulatedDisk};
pub use error::{Damage, Error};
pub use finished::Finished;
pub use front::{Front, Taken, Wanted};
pub use options::Options;
pub use salvage::{Report, Salvaged, salvage, salvage_directory, verify, verify_directory};
pub use store::{
    Committed, NEXT_BYTES_MAX, Queue, QueueStatus, SCANNED_AT_ONCE, State, Stats, Store, Waiting,
};
pub use ticket::Ticket;
pub use writer::Writer;
