use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crosspoint_net::{Acceptor, BindAddress, Incoming, ListenError, ListenOptions, Listener};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::{connection::Connection, shared::Shared, workers::WorkerPool};

/// A place where clients may come in.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    pub(crate) name: String,
    pub(crate) listen: ListenOptions,
    pub(crate) anonymous: bool,
}

impl ListenerOptions {
    /// Makes a listener with a name to know it by. Anonymous clients are let in until [`Self::anonymous`] says
    /// otherwise, or users are defined.
    pub fn new(name: impl Into<String>, listen: ListenOptions) -> Self {
        Self { name: name.into(), listen, anonymous: true }
    }

    /// Sets whether clients without a user name are let in. Default `true`.
    #[must_use]
    pub const fn anonymous(mut self, is_allowed: bool) -> Self {
        self.anonymous = is_allowed;
        self
    }
}

/// A listener that is open.
#[derive(Debug)]
pub(crate) struct BoundListener {
    name: String,
    listener: Arc<Listener>,
    anonymous: bool,
}

impl BoundListener {
    pub(crate) async fn bind(options: ListenerOptions) -> Result<Self, ListenError> {
        let listener = Arc::new(Listener::bind(&options.listen).await?);
        Ok(Self { name: options.name, listener, anonymous: options.anonymous })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.listener.local_addr() {
            BindAddress::Ip(address) => Some(*address),
            BindAddress::Unix(_) => None,
        }
    }

    /// Starts to accept; sockets are handed to the workers in turn.
    pub(crate) fn serve(
        &self,
        shared: Arc<Shared>,
        workers: WorkerPool,
        connections: TaskTracker,
        mut stopping: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let gate = Gate { shared, workers, connections, anonymous: self.anonymous, acceptor: self.listener.acceptor() };
        let listener = self.listener.clone();
        let name = self.name.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok(incoming) => gate.let_in(incoming),
                        Err(error) => warn!(listener = %name, %error, "A connection cannot be accepted."),
                    },
                    _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
                }
            }
        })
    }
}

/// What an accept loop hands to each connection.
struct Gate {
    shared: Arc<Shared>,
    workers: WorkerPool,
    connections: TaskTracker,
    acceptor: Arc<Acceptor>,
    anonymous: bool,
}

impl Gate {
    fn let_in(&self, incoming: Incoming) {
        let open = self.shared.connections.fetch_add(1, Relaxed) + 1;
        let place = Place(self.shared.clone());
        if open > self.shared.options.connections_max {
            warn!(open, "A connection is closed at once: there are as many as may be.");
            return;
        }
        let Some((worker, runtime)) = self.workers.next() else { return };
        let task = serve(place, worker, incoming, self.acceptor.clone(), self.anonymous);
        self.connections.spawn_on(task, runtime);
    }
}

/// A connection's place among those that may be open; given back when dropped.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

async fn serve(place: Place, worker: usize, incoming: Incoming, acceptor: Arc<Acceptor>, anonymous: bool) {
    let shared = &place.0;
    let deadline = Instant::now() + Duration::from_millis(shared.options.server.connect_deadline_ms);
    // Boxed: the handshakes would otherwise make the future of every connection as large as theirs.
    match Box::pin(incoming.open(&acceptor, deadline)).await {
        Ok(stream) => Connection::new(shared.clone(), worker, stream, anonymous).run().await,
        Err(error) => debug!(%error, "A connection did not get as far as MQTT."),
    }
}
