//! An embeddable MQTT 3.1, 3.1.1 and 5.0 broker.
//!
//! ```text
//!  net::Listener ─► listener ─► connection (one task a device) ─► ServerConnection
//!                                   │ PUBLISH                          ▲ mailbox: what others left
//!                                   ▼                                  │
//!                                 turn ── routing table, read once ── mailboxes ── wake each once
//! ```
//!
//! A connection lives on the thread where it was born. A publisher's turn leaves messages in the mailboxes of those
//! who want them and wakes each owner once; the owner assigns identifiers and writes. Nobody waits for anybody.
//!
//! With a store, sessions, queues and retained messages outlive the process: what a turn changes goes into a batch, and
//! the answers that promise it, and the messages themselves, leave when the batch is durable. Without one, everything
//! lives in memory.
//!
//! # Examples
//! ```
//! use crosspoint_broker::{Broker, ListenerOptions};
//! use crosspoint_net::{ListenOptions, Transport};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let address: std::net::SocketAddr = "127.0.0.1:0".parse()?;
//! let listen = ListenOptions::new(Transport::Tcp, address);
//! let broker = Broker::builder().listener(ListenerOptions::new("main", listen)).start().await?;
//! println!("listening on {:?}", broker.address("main"));
//! broker.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod access;

mod admission;
mod audit;
mod broker;
mod clock;
mod connection;
mod connections;
mod counters;
mod door;
mod durable;
mod housekeeping;
mod listener;
mod local;
mod mailbox;
mod options;
mod reauthorize;
mod retained;
mod router;
mod schedule;
mod session;
mod sessions;
mod shared;
mod turn;
mod will;
mod workers;
mod workspace;

pub use broker::{Broker, BrokerBuilder, BrokerHandle, StartError};
pub use counters::Statistics;
pub use durable::InvalidRecord;
pub use listener::{Durability, ListenerOptions};
pub use local::{
    Accepting, LocalClient, LocalClosed, LocalDelivery, LocalOptions, LocalRefused, NotAccepted,
};
pub use options::{BrokerOptions, QueueLimits, Workers};

use bytestring::ByteString;

/// Tells whether only the broker itself publishes to a topic.
fn is_reserved(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

/// Copies a string out of the buffer that it was read from, for keeping.
fn compact(text: &ByteString) -> ByteString {
    ByteString::from(&**text)
}
