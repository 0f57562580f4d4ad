use std::sync::Arc;

use crosspoint_protocol::{Message, Now};
use parking_lot::RwLock;

use crate::{
    access::Authenticator,
    clock::Clock,
    connections::Connections,
    counters::{Counters, Statistics},
    options::BrokerOptions,
    router::Router,
    schedule::Schedule,
    sessions::Sessions,
    turn::Turn,
    workspace::Workspace,
};

/// The key under which the broker itself publishes: no session has it.
pub(crate) const BROKER_ITSELF: u64 = 0;

/// What every task of the broker shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: BrokerOptions,
    pub(crate) clock: Clock,
    pub(crate) access: Arc<dyn Authenticator>,
    pub(crate) sessions: Sessions,
    pub(crate) router: RwLock<Router>,
    pub(crate) schedule: Schedule,
    pub(crate) connections: Connections,
    /// One for each worker, and one for whoever has none.
    counters: Box<[Counters]>,
}

impl Shared {
    pub(crate) fn new(options: BrokerOptions, access: Arc<dyn Authenticator>, workers: usize) -> Self {
        Self {
            clock: Clock::start(options.wall_clock_ms),
            options,
            access,
            sessions: Sessions::default(),
            router: RwLock::new(Router::new()),
            schedule: Schedule::default(),
            connections: Connections::default(),
            counters: (0..=workers).map(|_| Counters::default()).collect(),
        }
    }

    /// Returns the counters of a worker; those past the last worker belong to everybody else.
    pub(crate) fn counters(&self, worker: usize) -> &Counters {
        static NOBODY: std::sync::LazyLock<Counters> = std::sync::LazyLock::new(Counters::default);
        self.counters.get(worker).or(self.counters.last()).unwrap_or(&NOBODY)
    }

    /// Publishes a message that comes from no connection.
    pub(crate) fn publish(&self, message: &Message, now: Now) {
        Workspace::with(|workspace| {
            let mut turn = Turn::new(self, usize::MAX, workspace, now);
            turn.publish_message(message, message.qos(), message.retain(), BROKER_ITSELF);
            turn.end();
        });
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let sessions = self.sessions.len() as u64;
        let router = self.router.read();
        let mut statistics = Statistics {
            connections: self.connections.len() as u64,
            sessions,
            subscriptions: router.len() as u64,
            retained_messages: router.retained.lock().len() as u64,
            ..Statistics::default()
        };
        self.counters.iter().for_each(|counters| statistics.add(counters));
        statistics
    }
}
