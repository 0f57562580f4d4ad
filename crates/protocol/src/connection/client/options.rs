//! What a client sets for a connection.

use crate::packet::Connect;

/// What a client asks for and allows.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The CONNECT to send. Its receive maximum, packet size and topic alias maximum are what we hold the server to.
    pub connect: Connect,
    /// Milliseconds from the start of the connection to CONNACK. Default 10,000.
    pub connack_deadline_ms: u64,
    /// Milliseconds from PINGREQ to a sign of life. Default 10,000.
    pub ping_deadline_ms: u64,
    /// How many messages at QoS 1 and 2 we have in flight, if the server accepts as many. Default 1,024.
    pub in_flight_maximum: u16,
    /// The highest Topic Alias that we set, if the server accepts as many. Default 16.
    pub topic_alias_own_maximum: u16,
    /// Whether a server is refused that has a session although this side holds no state of it [MQTT-3.2.2-4]: its
    /// identifiers could be taken for those of old messages. Default `false`; `true` is strict.
    pub refuse_unknown_session: bool,
    /// How many messages above the Receive Maximum in CONNECT are put up with before the connection ends
    /// [MQTT-3.3.4-9]. Default 0, which is strict; some brokers take their own setting for an unlimited one.
    pub receive_tolerance: u16,
    /// Whether the server has to prove itself at the end of each authentication, by what
    /// [`expect_proof`](super::ClientConnection::expect_proof) names, before anything it says is believed. Default
    /// `false`.
    pub server_must_prove: bool,
}

impl ClientOptions {
    /// Returns the defaults around a CONNECT.
    pub const fn new(connect: Connect) -> Self {
        Self {
            connect,
            connack_deadline_ms: 10_000,
            ping_deadline_ms: 10_000,
            in_flight_maximum: 1_024,
            topic_alias_own_maximum: 16,
            refuse_unknown_session: false,
            receive_tolerance: 0,
            server_must_prove: false,
        }
    }
}
