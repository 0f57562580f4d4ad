//! Packets to bytes and back: 3.1, 3.1.1 and 5.0, both directions.
//!
//! [`Frames`] splits a stream into packets, [`encode`] appends one to a buffer. Each file reads and writes one kind
//! of packet. Fields that a version does not know are empty in what it decodes and left out of what it encodes.
//!
//! What is not here: whether a packet may come *now*. Here it is only judged by itself.
//!
//! Invariant: a [`Packet`](crate::packet::Packet) that was decoded keeps every rule that can be seen in the packet
//! alone, so nobody behind it checks again. Decoding a PUBLISH makes no allocation.

mod ack;
mod auth;
mod connack;
mod connect;
mod decode;
mod disconnect;
mod encode;
mod frames;
mod property;
mod publish;
mod publish_properties;
mod reader;
mod suback;
mod subscribe;
pub mod varint;
mod writer;

pub use decode::decode_packet;
pub use encode::{EncodeError, encode, encode_ack, encode_ping_req, encode_ping_resp};
pub use frames::Frames;
pub use publish_properties::{forwardable, properties_of};

use crate::Version;

/// Who sent a packet; decides which packets may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The client; read by a server.
    FromClient,
    /// The server; read by a client.
    FromServer,
}

impl Direction {
    const fn refusal(self) -> &'static str {
        match self {
            Self::FromClient => "a client of this version never sends this packet",
            Self::FromServer => "a server of this version never sends this packet",
        }
    }
}

/// Under which rules a packet is read.
#[derive(Debug, Clone, Copy)]
struct Terms {
    version: Version,
    direction: Direction,
}
