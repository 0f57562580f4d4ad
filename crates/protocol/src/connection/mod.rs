//! The two ends of a Network Connection as state machines, on one shared exchange.
//!
//! A driver owns the socket and the clock. After every input (`handle_*`) and every command it drains `poll_output`
//! until that says [`Output::Wait`] or [`Output::Closed`], and then sends what stands in `transmit`:
//!
//! ```text
//!   handle_input(chunk)   ┐                       ┌ Output::Event(..)      something the driver decides or is told
//!   handle_timeout        │                       │ Output::Persist(n, d)  make `d` durable, then handle_persisted(n)
//!   handle_persisted(n)   ├──►  poll_output  ──►  ┤ Output::Wait(deadline) nothing more; call handle_timeout by then
//!   handle_eof            │                       │ Output::Closed         send `transmit`, then close the stream
//!   accept, publish, ...  ┘                       └ transmit()             bytes to send, in order
//! ```
//!
//! Bytes to send are appended to a [`Transmit`](crate::Transmit) which the driver may swap for one of its own, so that an idle
//! connection holds no buffer.
//!
//! Invariant: memory runs ahead of the disk, what leaves does not. A packet that promises something waits here until
//! the driver has confirmed the [`Delta`] on which it depends.

mod alias;
mod client;
mod exchange;
mod server;

pub use client::{ClientConnection, ClientEvent, ClientOptions};
pub use server::{AcceptConnect, ServerConnection, ServerEvent, ServerOptions};

use crate::{
    ReasonCode, Violation,
    packet::{Disconnect, Publish},
    session::{IncomingId, OutgoingId, Token},
};

/// The number of a [`Delta`], ascending from 1 within a connection. A confirmation that comes after the end of its
/// connection must not be given to the next one.
pub type Sequence = u64;

/// What a connection tells its driver.
#[derive(Debug)]
pub enum Output<E> {
    /// Something happened.
    Event(E),
    /// The session changed: make it durable, in this order, and confirm with `handle_persisted`.
    Persist(Sequence, Delta),
    /// Nothing more to tell. The next deadline on the monotonic clock, if there is one.
    Wait(Option<u64>),
    /// The connection has ended: send what stands in `transmit`, then close the stream.
    Closed,
}

/// A change of a session that must outlive a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// An outgoing message at QoS 2 got its identifier. PUBLISH waits for it.
    Assigned {
        /// The identifier.
        id: OutgoingId,
        /// The cookie of the message.
        cookie: u64,
    },
    /// PUBREC came for an outgoing message. PUBREL waits for it.
    Received {
        /// The identifier.
        id: OutgoingId,
    },
    /// An outgoing exchange ended. Nothing waits for it: it may be recorded late.
    Finished {
        /// The identifier.
        id: OutgoingId,
        /// The cookie of the message.
        cookie: u64,
    },
    /// An incoming message at QoS 2 took an identifier. Travels with the message's event.
    Offered {
        /// The identifier.
        id: IncomingId,
    },
    /// PUBREL came for an incoming message, or for one that is not known any more. PUBCOMP waits for it.
    Released {
        /// The identifier.
        id: IncomingId,
    },
}

/// An incoming PUBLISH.
#[derive(Debug)]
pub struct IncomingPublish {
    /// The packet. Its topic is always there: an alias has been resolved.
    pub publish: Publish,
    /// What to answer with, once the message is durable, by `accept` or `reject`; `None` at QoS 0.
    pub token: Option<Token>,
}

impl IncomingPublish {
    /// Returns the change of the session that belongs into the same batch as the message.
    pub fn delta(&self) -> Option<Delta> {
        match (self.publish.qos, self.publish.packet_id) {
            (crate::QoS::ExactlyOnce, Some(id)) => Some(Delta::Offered { id: IncomingId(id) }),
            _ => None,
        }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Why.
    pub cause: EndCause,
    /// Whether the Will is to be published: `false` only after a DISCONNECT with reason 0x00 from the client.
    pub publish_will: bool,
    /// The session expiry that the client's DISCONNECT named, in seconds.
    pub session_expiry_s: Option<u32>,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EndCause {
    /// The peer said DISCONNECT.
    Peer(Box<Disconnect>),
    /// The driver ended it for this reason, or refused to let the client in.
    Local(ReasonCode),
    /// The server refused to let us in.
    Refused(ReasonCode),
    /// The peer broke a rule or exceeded a limit.
    Violation(Violation),
    /// The stream ended without a DISCONNECT.
    Transport,
}

/// Why a message cannot be published on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The connection is not open.
    #[error("the connection is not open")]
    NotOpen,
    /// As many messages are in flight as the peer's Receive Maximum, or ours, allows. Try again after an
    /// acknowledgement.
    #[error("as many messages are in flight as the peer accepts")]
    QuotaExhausted,
    /// The packet would be larger than the peer accepts [MQTT-3.1.2-24].
    #[error("the packet has {bytes} bytes and the peer accepts {max}")]
    TooLarge {
        /// The size of the packet.
        bytes: usize,
        /// What the peer accepts.
        max: usize,
    },
    /// The server does not support this QoS [MQTT-3.2.2-11].
    #[error("the server does not accept this quality of service")]
    QosNotSupported,
    /// The server keeps no retained messages [MQTT-3.2.2-14].
    #[error("the server does not accept retained messages")]
    RetainNotSupported,
}

#[cfg(test)]
mod tests;
