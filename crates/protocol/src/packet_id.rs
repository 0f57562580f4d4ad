use std::{fmt, num::NonZeroU16};

/// A packet identifier as it stands on the wire: 1 to 65,535 [MQTT-2.2.1-3].
///
/// It says nothing about who assigned it. Sessions keep the two directions apart as
/// [`OutgoingId`](crate::session::OutgoingId) and [`IncomingId`](crate::session::IncomingId).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The lowest identifier.
    pub const MIN: Self = Self(NonZeroU16::MIN);

    /// Returns the identifier, or `None` for 0.
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the number.
    pub const fn value(self) -> u16 {
        self.0.get()
    }

    /// Returns the identifier that follows, going from 65,535 back to 1.
    pub const fn next(self) -> Self {
        match NonZeroU16::new(self.0.get().wrapping_add(1)) {
            Some(value) => Self(value),
            None => Self::MIN,
        }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
