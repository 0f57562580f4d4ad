//! What the hub keeps in the store besides the messages themselves: which number a connector has, how its session at a
//! remote broker stands, and what kept subscriptions are. The tables stand in `docs/formats/records.md`, the bytes of their
//! values beside the code.
//!
//! It does *not* know outboxes: what one entry of a queue is stands in `outbox`.

use bytes::Bytes;

mod definitions;
mod numbers;
mod receipts;
mod restoring;
mod rows;
mod session;
mod storage;

pub(crate) use definitions::{all as definitions, forget as forget_definition, put as put_definition};
pub(crate) use numbers::{all as numbers, assign, assign_kept, kept as kept_numbers, left_behind};
pub(crate) use session::{Identity, Offered, Opened, Session};
pub(crate) use storage::Storage;

/// The form of every value that is written here, and the only one there is.
const FORM: u8 = 1;

/// Name of a connector: its number.
const CONNECTOR: u32 = 16;
/// Connector: whose session it is and what is subscribed in it.
const SUBSCRIPTIONS: u32 = 17;
/// Connector, packet identifier: accepted at QoS 2 and not released.
const INCOMING: u32 = 18;
/// Connector, position in its outbox: an exchange at QoS 2.
const OUTGOING: u32 = 19;

/// Name of a kept subscription: what it is.
const KEPT_SUBSCRIPTION: u32 = 23;

/// Returns the queue that is the outbox of a connector.
pub(crate) const fn outbox_queue(number: u64) -> u64 {
    8 * number + 1
}

/// Returns the key of something of a connector: big-endian, so that a table is in the order of its numbers.
fn key<const N: usize>(number: u64, rest: [u8; N]) -> Bytes {
    let mut key = Vec::with_capacity(8 + N);
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&rest);
    key.into()
}
