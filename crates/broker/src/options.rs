use std::time::Duration;

use crosspoint_protocol::{connection::ServerOptions, limits};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How much may wait for one session.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) direct_bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 1_000_000, bytes: 256 * 1024 * 1024, direct_bytes: 8 * 1024 * 1024 }
    }
}

impl QueueLimits {
    /// Sets how many messages at QoS 1 and 2 may wait; beyond, the oldest is dropped and counted. Default 1,000,000.
    #[must_use]
    pub const fn messages(mut self, messages: usize) -> Self {
        self.messages = messages;
        self
    }

    /// Sets how many bytes of messages at QoS 1 and 2 may wait. Default 256 MiB.
    #[must_use]
    pub const fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how many bytes at QoS 0 may wait for a slow reader; beyond, messages are dropped and counted. Default
    /// 8 MiB.
    #[must_use]
    pub const fn direct_bytes(mut self, bytes: usize) -> Self {
        self.direct_bytes = bytes;
        self
    }
}

/// What the broker allows, apart from its listeners and users.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    pub(crate) server: ServerOptions,
    pub(crate) queue: QueueLimits,
    pub(crate) connections_max: usize,
    pub(crate) retained_messages_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) session_expiry_max_s: u32,
    pub(crate) sys_interval: Option<Duration>,
    pub(crate) workers: Workers,
    pub(crate) stop_deadline: Duration,
    pub(crate) will_grace: Duration,
    pub(crate) wall_clock_ms: Option<u64>,
}

/// Where connections live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// On threads of the broker's own, this many; 0 is one for each CPU that the process may use.
    Threads(usize),
    /// On the runtime that starts the broker: for tests and simulations.
    Here,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            server: ServerOptions::default(),
            queue: QueueLimits::default(),
            connections_max: 1_000_000,
            retained_messages_max: 10_000_000,
            subscriptions_max: 100_000,
            session_expiry_max_s: 7 * 24 * 3_600,
            sys_interval: Some(Duration::from_secs(10)),
            workers: Workers::Threads(0),
            stop_deadline: Duration::from_secs(5),
            will_grace: Duration::from_secs(30),
            wall_clock_ms: None,
        }
    }
}

impl BrokerOptions {
    /// Sets the largest packet that is accepted, in bytes, up to 256 MiB. Default 16 MiB.
    #[must_use]
    pub const fn packet_bytes_max(mut self, bytes: u32) -> Self {
        let max = limits::PACKET_BYTES_MAX as u32;
        self.server.packet_bytes_max = if bytes > max { max } else { bytes };
        self
    }

    /// Sets how many messages at QoS 1 and 2 a client may have unfinished, 1 to 65,535. Default 1,024.
    #[must_use]
    pub const fn receive_maximum(mut self, messages: u16) -> Self {
        self.server.receive_maximum = if messages == 0 { 1 } else { messages };
        self
    }

    /// Sets how many messages at QoS 1 and 2 are in flight to a client, 1 to 16,384, if it accepts as many. Default
    /// 1,024.
    #[must_use]
    pub const fn in_flight_maximum(mut self, messages: u16) -> Self {
        self.server.in_flight_maximum = if messages == 0 { 1 } else { messages };
        self
    }

    /// Sets the longest keep alive that an MQTT 5 client may ask for, in seconds; 0 allows any, and none. Default 0.
    #[must_use]
    pub const fn keep_alive_max_s(mut self, seconds: u16) -> Self {
        self.server.keep_alive_max_s = seconds;
        self
    }

    /// Sets the time from the start of a connection to its CONNECT, and to the decision on it, up to a day. Default
    /// 10 s.
    #[must_use]
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.server.connect_deadline_ms = deadline.min(DAY).as_millis() as u64;
        self
    }

    /// Sets how much may wait for one session.
    #[must_use]
    pub const fn queue(mut self, limits: QueueLimits) -> Self {
        self.queue = limits;
        self
    }

    /// Sets how many connections may be open at once; further ones are closed at once. Default 1,000,000.
    #[must_use]
    pub const fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Sets how many retained messages are kept; a publication beyond is rejected with "quota exceeded". Default
    /// 10,000,000.
    #[must_use]
    pub const fn retained_messages_max(mut self, messages: usize) -> Self {
        self.retained_messages_max = messages;
        self
    }

    /// Sets how many Subscriptions one client may have; further ones are refused with "quota exceeded". Default
    /// 100,000.
    #[must_use]
    pub const fn subscriptions_max(mut self, subscriptions: usize) -> Self {
        self.subscriptions_max = subscriptions;
        self
    }

    /// Sets how long a session may outlive its connection, in seconds; what a client asks for beyond is lowered,
    /// and it is told. Sessions of 3.1 and 3.1.1 live as long. Default 7 days.
    #[must_use]
    pub const fn session_expiry_max_s(mut self, seconds: u32) -> Self {
        self.session_expiry_max_s = seconds;
        self
    }

    /// Sets how often `$SYS` topics are published, from 10 ms to a day; `None` turns them off. Default 10 s.
    #[must_use]
    pub fn sys_interval(mut self, interval: Option<Duration>) -> Self {
        self.sys_interval = interval.map(|interval| interval.clamp(Duration::from_millis(10), DAY));
        self
    }

    /// Sets where connections live. Default one thread for each CPU.
    #[must_use]
    pub const fn workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Sets how long the Wills of clients that were connected when the broker was killed wait for their clients after
    /// the next start, up to a day. Default 30 s.
    #[must_use]
    pub fn will_grace(mut self, grace: Duration) -> Self {
        self.will_grace = grace.min(DAY);
        self
    }

    /// Sets how long stopping may take before connections are cut, up to a day. Default 5 s.
    #[must_use]
    pub fn stop_deadline(mut self, deadline: Duration) -> Self {
        self.stop_deadline = deadline.min(DAY);
        self
    }

    /// Sets what the wall clock shows when the broker starts, in milliseconds since 1970: for simulations. It goes on
    /// with the runtime's clock. Default: what the machine's shows.
    #[must_use]
    pub const fn wall_clock_ms(mut self, wall_ms: u64) -> Self {
        self.wall_clock_ms = Some(wall_ms);
        self
    }
}
