//! The part of a Session that the exchange of packets needs: what is in flight, in each direction.
//!
//! It does *not* hold subscriptions or waiting messages: those are the broker's, or the client engine's.
//!
//! Invariant: the two directions never share an identifier. [`OutgoingId`] and [`IncomingId`] are different types,
//! and no function turns one into the other.

mod incoming;
mod outgoing;

pub use incoming::{Incoming, Token};
pub use outgoing::{Outgoing, OutgoingWindow, Stage};

pub(crate) use incoming::{Offer, Release};
pub(crate) use outgoing::Slot;

use crate::PacketId;

/// A packet identifier that this side assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutgoingId(pub(crate) PacketId);

/// A packet identifier that the peer assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IncomingId(pub(crate) PacketId);

impl OutgoingId {
    /// Takes an identifier that a store kept for this direction.
    pub const fn from_stored(id: PacketId) -> Self {
        Self(id)
    }

    /// Returns the identifier as it stands on the wire.
    pub const fn packet_id(self) -> PacketId {
        self.0
    }
}

impl IncomingId {
    /// Takes an identifier that a store kept for this direction.
    pub const fn from_stored(id: PacketId) -> Self {
        Self(id)
    }

    /// Returns the identifier as it stands on the wire.
    pub const fn packet_id(self) -> PacketId {
        self.0
    }
}

/// What outlives a Network Connection: the unfinished exchanges of both directions.
///
/// A connection owns it while it lasts and gives it back with `into_session`.
#[derive(Debug, Default)]
pub struct SessionState {
    /// What this side has sent and the peer has not finished.
    pub outgoing: OutgoingWindow,
    /// What the peer has sent at QoS 2 and not finished.
    pub incoming: Incoming,
}

impl SessionState {
    /// Tells whether nothing is unfinished.
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }
}

#[cfg(test)]
mod tests;
