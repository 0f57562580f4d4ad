//! As much of MQTT 3.1.1 and 5.0 as a client of the crash test needs, written after the specification alone.
//!
//! None of the product's own code is used here: a mistake that stood in both could not be seen.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use read::decode;
pub(crate) use write::{acknowledge, connect, disconnect, publish, subscribe, unsubscribe};

/// Which MQTT a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// What a client asks for when it connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    /// Whether the session begins anew and ends with the connection; otherwise it lives for a day.
    pub(crate) is_clean: bool,
    /// How many messages at QoS 1 and 2 the client takes at once (MQTT 5).
    pub(crate) receive_max: Option<u16>,
    pub(crate) will: Option<&'a Will>,
}

/// What the broker publishes when the client dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    /// How many seconds after that (MQTT 5).
    pub(crate) delay_s: u32,
}

/// A PUBLISH, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) is_again: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    /// 0 at QoS 0.
    pub(crate) id: u16,
    pub(crate) payload: Vec<u8>,
}

/// Which of the four packets of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// PUBACK: a QoS 1 message is taken over.
    Ack,
    /// PUBREC: a QoS 2 message is taken over.
    Rec,
    /// PUBREL: its identifier may be forgotten.
    Rel,
    /// PUBCOMP: it is forgotten.
    Comp,
}

/// A packet that a broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// CONNACK.
    Connected { has_session: bool, code: u8, receive_max: u16 },
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP; before MQTT 5 the reason is always 0.
    Exchange { step: Step, id: u16, reason: u8 },
    /// SUBACK.
    Subscribed { id: u16, codes: Vec<u8> },
    /// UNSUBACK.
    Unsubscribed { id: u16 },
    /// DISCONNECT (MQTT 5).
    Disconnected { reason: u8 },
}
