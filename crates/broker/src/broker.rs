use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crosspoint_net::{ListenError, Stream, TlsOptionsError, TlsServerOptions};
use crosspoint_protocol::{ReasonCode, packet::Publish};
use crosspoint_store::Store;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tracing::warn;

use crate::{
    access::{Authenticator, InvalidUsers, Users},
    connection::Connection,
    connections::{Connections, Place},
    counters::Statistics,
    durable::{self, InvalidRecord},
    housekeeping,
    listener::{BoundListener, Durability, Entrance, ListenerOptions},
    local::{LocalClient, LocalOptions, LocalRefused},
    options::BrokerOptions,
    shared::{BROKER_ITSELF, Shared},
    turn::Turn,
    workers::WorkerPool,
    workspace::Workspace,
};

/// The number of the listener through which a stream came that was opened elsewhere.
const OF_NO_LISTENER: u64 = u64::MAX;

/// How long stopping waits before it tells those again who are still there.
const TOLD_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// An embeddable MQTT broker. Made with [`Broker::builder`]; stops when [`Broker::stop`] is called.
///
/// Dropping it without stopping it cuts every connection.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    listeners: Vec<OpenListener>,
    housekeeping: JoinHandle<()>,
    committer: JoinHandle<()>,
    workers: WorkerPool,
    stopping: watch::Sender<bool>,
}

/// A listener and the task that accepts on it.
#[derive(Debug)]
struct OpenListener {
    number: u64,
    bound: BoundListener,
    task: JoinHandle<()>,
}

/// What a broker is made of.
#[derive(Debug, Default)]
pub struct BrokerBuilder {
    options: BrokerOptions,
    listeners: Vec<ListenerOptions>,
    access: Option<Arc<dyn Authenticator>>,
    store: Option<Store>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot be opened.
    #[error("listener {name}: {source}")]
    Listen {
        /// The name of the listener.
        name: String,
        /// Why.
        source: ListenError,
    },
    /// Access control cannot be set up.
    #[error("access control: {0}")]
    Access(#[source] InvalidUsers),
    /// The store has something that this program does not know.
    #[error("the store: {0}")]
    Store(#[source] InvalidRecord),
    /// A thread cannot be started.
    #[error("a worker thread cannot be started")]
    Thread(#[source] std::io::Error),
}

impl BrokerBuilder {
    /// Sets what the broker allows.
    #[must_use]
    pub fn options(mut self, options: BrokerOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds a listener. Without any, only local clients reach the broker.
    #[must_use]
    pub fn listener(mut self, listener: ListenerOptions) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sets who may come in. Default: no users, so everybody where a listener allows anonymous clients.
    #[must_use]
    pub fn access(mut self, access: Arc<dyn Authenticator>) -> Self {
        self.access = Some(access);
        self
    }

    /// Sets where sessions, messages that wait and retained messages are kept. Default: in memory.
    ///
    /// The tables 1 to 7 and the queues whose numbers are divisible by 8 are the broker's; others may have the rest of it.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Opens the listeners, loads what the store has, and starts the broker. Must be called on a tokio runtime. Loading
    /// blocks: a second for about a million records.
    ///
    /// # Errors
    /// A listener cannot be opened, the store has something that this program does not know, or a thread cannot be
    /// started; nothing runs then.
    pub async fn start(self) -> Result<Broker, StartError> {
        let mut listeners = Vec::with_capacity(self.listeners.len());
        for options in self.listeners {
            let name = options.name.clone();
            let bound = BoundListener::bind(options).await;
            listeners.push(bound.map_err(|source| StartError::Listen { name, source })?);
        }
        let workers = WorkerPool::start(self.options.workers).map_err(StartError::Thread)?;
        let access = match self.access {
            Some(access) => access,
            None => Arc::new(Users::new(Vec::new(), Vec::new()).map_err(StartError::Access)?),
        };
        let shared = Arc::new(Shared::new(self.options, access, self.store, workers.len()));
        durable::load(&shared).map_err(StartError::Store)?;
        // Users may have changed since, and time has passed.
        shared.reauthorize();
        housekeeping::look_after_due(&shared);
        let (stopping, is_stopping) = watch::channel(false);
        let housekeeping = tokio::spawn(housekeeping::run(shared.clone(), is_stopping));
        // Beside connections, so that most of those who wait are woken on their own thread.
        let runtime = workers.first().cloned().unwrap_or_else(Handle::current);
        let committer = runtime.spawn(durable::run(shared.clone()));
        let mut broker = Broker { shared, listeners: Vec::new(), housekeeping, committer, workers, stopping };
        listeners.into_iter().for_each(|bound| broker.serve(bound));
        Ok(broker)
    }
}

impl Broker {
    /// Begins to make a broker.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Returns the addresses on which TCP listeners listen, by the names of the listeners.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.listeners.iter().filter_map(|listener| Some((listener.bound.name(), listener.bound.address()?)))
    }

    /// Opens a further listener. One of the same name stays as it is.
    ///
    /// # Errors
    /// The listener cannot be opened; nothing has changed then.
    pub async fn add_listener(&mut self, options: ListenerOptions) -> Result<(), ListenError> {
        let bound = BoundListener::bind(options).await?;
        self.serve(bound);
        Ok(())
    }

    /// Closes the oldest listener of a name and cuts the connections that came in through it, and tells whether there
    /// was one. Its address is free when this returns; sessions stay.
    pub async fn remove_listener(&mut self, name: &str) -> bool {
        let Some(place) = self.listeners.iter().position(|listener| listener.bound.name() == name) else {
            return false;
        };
        let OpenListener { number, bound, task } = self.listeners.remove(place);
        self.shared.doors.lock().retain(|(open, _)| *open != number);
        task.abort();
        // Cut short is what it should be.
        task.await.unwrap_or_default();
        drop(bound);
        self.shared.connections.cut_of(number);
        true
    }

    /// Gives the listeners of a name other certificates, for the connections to come; those that are open stay. Without
    /// effect on one that is not encrypted.
    ///
    /// # Errors
    /// The certificates cannot be used; nothing has changed then.
    pub fn reload_tls(&self, name: &str, tls: &TlsServerOptions) -> Result<(), TlsOptionsError> {
        let mut named = self.listeners.iter().filter(|listener| listener.bound.name() == name);
        named.try_for_each(|listener| listener.bound.reload_tls(tls))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn serve(&mut self, bound: BoundListener) {
        let number = self.shared.connections.new_number();
        self.shared.doors.lock().push((number, bound.door()));
        let is_stopping = self.stopping.subscribe();
        let task = bound.serve(number, self.shared.clone(), self.workers.clone(), is_stopping);
        self.listeners.push(OpenListener { number, bound, task });
    }

    /// Serves a client over a byte stream that was opened elsewhere, with what an acknowledgement promises on it.
    /// Anonymous clients are let in.
    pub fn serve_stream(&self, stream: Stream, durability: Durability) {
        let Some((worker, runtime)) = self.workers.next() else { return };
        let task = |place: Place| async move {
            let entrance = Entrance { anonymous: Arc::new(AtomicBool::new(true)), durability, door: None };
            Connection::new(place.shared().clone(), worker, stream, entrance).run().await;
        };
        Connections::spawn(&self.shared, OF_NO_LISTENER, runtime, task);
    }

    /// Sets whether clients without a user name are let in through a listener from now on; those that are connected
    /// stay until [`BrokerHandle::reauthorize`] is called.
    pub fn set_anonymous(&self, name: &str, is_allowed: bool) {
        let named = self.listeners.iter().filter(|listener| listener.bound.name() == name);
        named.for_each(|listener| listener.bound.set_anonymous(is_allowed));
    }

    /// Returns the address of one listener.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses().find(|(known, _)| *known == name).map(|(_, address)| address)
    }

    /// Opens a client without a socket.
    ///
    /// # Errors
    /// Another client with this identifier is connected and does not go.
    pub async fn connect_local(&self, options: LocalOptions) -> Result<LocalClient, LocalRefused> {
        LocalClient::open(self.shared.clone(), options).await
    }

    /// Returns a handle that publishes and opens local clients, to be handed to others.
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle { shared: self.shared.clone() }
    }

    /// Returns what has been counted since the start.
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics()
    }

    /// Stops: no new connection is accepted, every client is told, and what still runs after the stop deadline is
    /// cut. What is known of sessions is committed to the store, which stays open.
    ///
    /// # Cancel safety
    /// When dropped before it is done, everything is cut at once.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        for listener in self.listeners.drain(..) {
            // A task that has panicked has stopped too.
            listener.task.await.unwrap_or_default();
        }
        (&mut self.housekeeping).await.unwrap_or_default();
        self.shared.begin_to_stop();
        let deadline = tokio::time::Instant::now() + self.shared.options.stop_deadline;
        // A client whose CONNECT was being decided comes in late, so all are told again and again.
        let told = tokio::time::timeout_at(deadline, async {
            while !self.shared.connections.is_empty() {
                self.shared.sessions.disconnect_all(ReasonCode::ServerShuttingDown);
                tokio::time::timeout(TOLD_AGAIN_AFTER, self.shared.connections.gone())
                    .await
                    .unwrap_or_default();
            }
        });
        if told.await.is_err() {
            warn!(
                connections = self.shared.connections.len(),
                "Connections that did not end in time are cut."
            );
        }
        self.shared.connections.cut();
        // They go when their runtimes get to them; each gives its session back.
        while !self.shared.connections.is_empty() {
            self.shared.connections.gone().await;
        }
        if let Some(durable) = &self.shared.durable {
            durable.committer.close();
        }
        (&mut self.committer).await.unwrap_or_default();
        self.workers.stop().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        self.listeners.iter().for_each(|listener| listener.task.abort());
        self.housekeeping.abort();
        self.committer.abort();
        self.shared.connections.cut();
    }
}

/// Reaches a broker from anywhere in the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    shared: Arc<Shared>,
}

impl BrokerHandle {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Opens a client without a socket.
    ///
    /// # Errors
    /// Another client with this identifier is connected and does not go.
    pub async fn connect_local(&self, options: LocalOptions) -> Result<LocalClient, LocalRefused> {
        LocalClient::open(self.shared.clone(), options).await
    }

    /// Publishes a message on nobody's behalf. Its topic must be there.
    pub fn publish(&self, publish: &Publish) {
        let Some(topic) = &publish.topic else { return };
        let now = self.shared.clock.now();
        Workspace::with(|workspace| {
            let mut turn = Turn::new(&self.shared, usize::MAX, workspace, now);
            turn.publish(topic, publish, BROKER_ITSELF);
            turn.end();
        });
    }

    /// Returns what has been counted since the start.
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics()
    }

    /// Brings every client that is in up to what its user may do now. Call it when the answers of the
    /// [`Authenticator`] have changed: Subscriptions that are not allowed any more end, what waits and may not be
    /// received is dropped and counted, and a client whose user is gone is disconnected and loses its session, as is
    /// an anonymous one where its listener lets none in any more.
    pub fn reauthorize(&self) {
        self.shared.reauthorize();
    }

    /// Returns how many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.len()
    }
}
