//! What a server sets for every connection alike.

use crate::limits;

/// What a server allows its clients.
#[derive(Debug, Clone, Copy)]
pub struct ServerOptions {
    /// The largest packet that is accepted, in bytes. Default 16 MiB.
    pub packet_bytes_max: u32,
    /// How many messages at QoS 1 and 2 a client may have unfinished, 1 to 65,535. Default 1,024.
    pub receive_maximum: u16,
    /// The highest Topic Alias that a client may set. Default 16.
    pub topic_alias_maximum: u16,
    /// The highest Topic Alias that we set, if the client accepts as many. Default 16.
    pub topic_alias_own_maximum: u16,
    /// How many messages at QoS 1 and 2 we have in flight to a client, if it accepts as many. Default 1,024.
    pub in_flight_maximum: u16,
    /// Milliseconds from the start of the connection to an accepted CONNECT. Default 10,000.
    pub connect_deadline_ms: u64,
    /// The longest keep alive that a client may ask for, in seconds; 0 allows any, and none. Default 0.
    pub keep_alive_max_s: u16,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            packet_bytes_max: limits::PACKET_BYTES_DEFAULT,
            receive_maximum: 1_024,
            topic_alias_maximum: 16,
            topic_alias_own_maximum: 16,
            in_flight_maximum: 1_024,
            connect_deadline_ms: 10_000,
            keep_alive_max_s: 0,
        }
    }
}
