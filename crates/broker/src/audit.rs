//! Whether what waits for sessions is as it must be: counted one by one, and within every limit.

use crate::{Broker, BrokerHandle, shared::Shared};

impl Shared {
    fn audit(&self) -> Vec<String> {
        let in_flight_max = u64::from(self.options.server.in_flight_maximum);
        let look = |session: &crate::session::Session| {
            // What a client without a socket was given and has not consumed waits again when it is opened anew.
            let slack = if session.is_local() { in_flight_max } else { 0 };
            let found = session.mailbox.lock().audit(slack)?;
            Some(format!("the queue of {}: {found}", session.name()))
        };
        self.sessions.all().iter().filter_map(|session| look(session)).collect()
    }
}

impl Broker {
    /// Counts what waits for each session and returns what is not as it must be, in words: a queue beyond its limit, a
    /// sum that is not that of its parts. Nothing, as long as the broker is right.
    ///
    /// It locks one session after the other and looks at each message that is in memory: for tests, and for whoever
    /// suspects a fault.
    pub fn audit(&self) -> Vec<String> {
        self.shared().audit()
    }
}

impl BrokerHandle {
    /// Does what [`Broker::audit`] does.
    pub fn audit(&self) -> Vec<String> {
        self.shared().audit()
    }
}
