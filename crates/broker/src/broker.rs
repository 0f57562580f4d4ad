use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crosspoint_net::ListenError;
use crosspoint_protocol::{ReasonCode, packet::Publish};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::task::TaskTracker;

use crate::{
    access::{Authenticator, InvalidUsers, Users},
    counters::Statistics,
    housekeeping,
    listener::{BoundListener, ListenerOptions},
    local::{LocalClient, LocalOptions, LocalRefused},
    options::BrokerOptions,
    shared::{BROKER_ITSELF, Shared},
    turn::{Turn, Workspace},
    workers::WorkerPool,
};

/// An embeddable MQTT broker. Made with [`Broker::builder`]; stops when [`Broker::stop`] is called.
///
/// Dropping it without stopping it cuts every connection.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    listeners: Vec<BoundListener>,
    tasks: Vec<JoinHandle<()>>,
    workers: WorkerPool,
    connections: TaskTracker,
    stopping: watch::Sender<bool>,
}

/// What a broker is made of.
#[derive(Debug, Default)]
pub struct BrokerBuilder {
    options: BrokerOptions,
    listeners: Vec<ListenerOptions>,
    access: Option<Arc<dyn Authenticator>>,
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

    /// Opens the listeners and starts the broker. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// A listener cannot be opened, or a thread cannot be started; nothing runs then.
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
        let shared = Arc::new(Shared::new(self.options, access, workers.len()));
        let (stopping, is_stopping) = watch::channel(false);
        let connections = TaskTracker::new();
        let mut tasks = vec![tokio::spawn(housekeeping::run(shared.clone(), is_stopping.clone()))];
        for listener in &listeners {
            tasks.push(listener.serve(shared.clone(), workers.clone(), connections.clone(), is_stopping.clone()));
        }
        Ok(Broker { shared, listeners, tasks, workers, connections, stopping })
    }
}

impl Broker {
    /// Begins to make a broker.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Returns the addresses on which TCP listeners listen, by the names of the listeners.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.listeners.iter().filter_map(|listener| Some((listener.name(), listener.address()?)))
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
    /// cut.
    ///
    /// # Cancel safety
    /// When dropped before it is done, everything is cut at once.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        for task in self.tasks.drain(..) {
            // A task that has panicked has stopped too.
            task.await.unwrap_or_default();
        }
        self.connections.close();
        let deadline = tokio::time::sleep(self.shared.options.stop_deadline);
        tokio::pin!(deadline);
        loop {
            // Again and again: a client whose CONNECT was being decided comes in late.
            self.shared.sessions.disconnect_all(ReasonCode::ServerShuttingDown);
            tokio::select! {
                () = self.connections.wait() => break,
                () = &mut deadline => break,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
        self.workers.stop().await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Reaches a broker from anywhere in the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BrokerHandle {
    shared: Arc<Shared>,
}

impl BrokerHandle {
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

    /// Returns how many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Relaxed)
    }
}
