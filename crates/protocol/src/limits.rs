//! Every limit of the specification, and ours.

/// The largest Remaining Length that four bytes can hold [MQTT-1.5.5-1].
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// The largest packet with its fixed header.
pub const PACKET_BYTES_MAX: usize = REMAINING_LENGTH_MAX + 5;

/// The default limit on the size of a packet that a peer may send us: 16 MiB.
pub const PACKET_BYTES_DEFAULT: u32 = 16 * 1024 * 1024;

/// The longest UTF-8 string or binary field, in bytes.
pub const STRING_BYTES_MAX: usize = 65_535;

/// The deepest Topic Name or Topic Filter that we accept, in levels.
pub const TOPIC_LEVELS_MAX: usize = 200;

/// The most User Properties that we accept in one packet.
pub const USER_PROPERTIES_MAX: usize = 256;

/// The most bytes of properties that we accept in one packet.
pub const PROPERTIES_BYTES_MAX: usize = 256 * 1024;

/// The most filters that we accept in one SUBSCRIBE or UNSUBSCRIBE.
pub const FILTERS_PER_PACKET_MAX: usize = 10_000;

/// The longest client identifier that every MQTT 3.1 server must accept, in bytes.
pub const CLIENT_ID_BYTES_MAX_V3_1: usize = 23;

/// The Receive Maximum that a peer has which names none.
pub const RECEIVE_MAXIMUM_DEFAULT: u16 = 65_535;

/// The largest Subscription Identifier.
pub const SUBSCRIPTION_ID_MAX: u32 = 268_435_455;

/// The largest payload that is copied into a connection's output rather than referenced, in bytes.
pub const PAYLOAD_COPY_BYTES_MAX: usize = 2 * 1024;
