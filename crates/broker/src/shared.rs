use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crosspoint_protocol::{Message, Now};
use crosspoint_store::Store;
use parking_lot::{Mutex, RwLock};

use crate::{
    access::Authenticator,
    clock::Clock,
    connections::Connections,
    counters::{Counters, Statistics},
    door::Door,
    durable::Durable,
    options::BrokerOptions,
    router::Router,
    schedule::Schedule,
    sessions::{Owed, Sessions},
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
    pub(crate) owed: Owed,
    pub(crate) router: RwLock<Router>,
    pub(crate) schedule: Schedule,
    pub(crate) connections: Connections,
    /// The listeners that are open, by their numbers, in the order in which they were opened.
    pub(crate) doors: Mutex<Vec<(u64, Arc<Door>)>>,
    /// What is kept on disk, if there is a store.
    pub(crate) durable: Option<Durable>,
    is_stopping: AtomicBool,
    /// One for each worker, and one for whoever has none.
    counters: Box<[Counters]>,
}

impl Shared {
    pub(crate) fn new(
        options: BrokerOptions,
        access: Arc<dyn Authenticator>,
        store: Option<Store>,
        workers: usize,
    ) -> Self {
        let clock = Clock::start(options.wall_clock_ms);
        Self {
            durable: store.map(|store| Durable::new(store, clock.now())),
            clock,
            options,
            access,
            sessions: Sessions::default(),
            owed: Owed::default(),
            router: RwLock::new(Router::new()),
            schedule: Schedule::default(),
            connections: Connections::default(),
            doors: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            counters: (0..=workers).map(|_| Counters::default()).collect(),
        }
    }

    /// Returns the counters of a worker; those past the last worker belong to everybody else.
    pub(crate) fn counters(&self, worker: usize) -> &Counters {
        static NOBODY: std::sync::LazyLock<Counters> = std::sync::LazyLock::new(Counters::default);
        self.counters.get(worker).or(self.counters.last()).unwrap_or(&NOBODY)
    }

    /// Notes that connections end because the broker does.
    pub(crate) fn begin_to_stop(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// Tells whether the disk is full, so that no message is accepted that would have to be stored.
    pub(crate) fn is_store_full(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.committer.is_full())
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
            retained_messages: router.retained.lock().published() as u64,
            ..Statistics::default()
        };
        if let Some(durable) = &self.durable {
            statistics.commits = durable.committer.commits();
            let queues = self.sessions.all();
            for stored in queues.iter().filter_map(|session| session.stored_messages()) {
                statistics.stored_sessions += 1;
                statistics.stored_messages += stored;
            }
        }
        self.counters.iter().for_each(|counters| statistics.add(counters));
        statistics
    }
}
