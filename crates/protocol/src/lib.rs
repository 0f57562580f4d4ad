//! MQTT 3.1, 3.1.1 and 5.0 without I/O: packets, topics, sessions and connections.
//!
//! Bytes and `now` go in; packets, events, changes to store and the next deadline come out. Nothing here reads a
//! clock, opens a socket, takes a lock or starts a task, so a test can run both ends of a connection from a seed.
//!
//! ```text
//!            ┌──────────── connection::{ClientConnection, ServerConnection} ────────────┐
//!  bytes ──► │ codec::Frames ─► packet::Packet ─► role ─► session::SessionState         │ ──► Output
//!            │                                      └──► transmit::Transmit (bytes out) │
//!            └──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What it does *not* do: it keeps no subscriptions of a broker, no retained messages and no queues of waiting
//! messages. Those belong to the rooms that drive it.
//!
//! Invariant: the protocol version is a value ([`Version`]), never a second module tree.

pub mod codec;
pub mod connection;
pub mod error;
pub mod limits;
pub mod message;
pub mod packet;
pub mod scram;
pub mod session;
pub mod time;
pub mod topic;
pub mod transmit;

mod packet_id;
mod qos;
mod reason;
mod version;

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;

pub use bytestring::ByteString;
pub use error::{Fault, Offence, Violation};
pub use message::Message;
pub use packet_id::PacketId;
pub use qos::QoS;
pub use reason::ReasonCode;
pub use time::Now;
pub use topic::{TopicFilter, TopicName};
pub use transmit::Transmit;
pub use version::Version;
