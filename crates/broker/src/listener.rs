use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use crosspoint_net::{
    Acceptor, BindAddress, Incoming, ListenError, ListenOptions, Listener, TlsOptionsError, TlsServerOptions,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tracing::error;

use crate::{
    connection::Connection,
    connections::{Connections, Place},
    door::Door,
    durable::Urgency,
    shared::Shared,
    workers::WorkerPool,
};

/// A place where clients may come in.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    pub(crate) name: String,
    pub(crate) listen: ListenOptions,
    pub(crate) anonymous: bool,
    pub(crate) durability: Durability,
}

/// When a message or a session that came in is taken for kept, on a broker that has a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on disk: it survives a power failure. Costs the wait for a sync, which all who wait share.
    #[default]
    Synced,
    /// When it is written: it survives the end of the process, and a power failure takes what came last.
    Written,
    /// At once. Sessions that begin here live as long as the process, and what is published is stored only for
    /// those of other listeners, without waiting.
    Memory,
}

impl Durability {
    /// Returns what the changes of a turn wait for. Where nobody waits for them, others do for the messages.
    pub(crate) const fn urgency(self) -> Urgency {
        match self {
            Self::Synced => Urgency::Synced,
            Self::Written | Self::Memory => Urgency::Written,
        }
    }
}

impl ListenerOptions {
    /// Makes a listener with a name to know it by. Anonymous clients are let in until [`Self::anonymous`] says
    /// otherwise, also when there are users.
    pub fn new(name: impl Into<String>, listen: ListenOptions) -> Self {
        Self { name: name.into(), listen, anonymous: true, durability: Durability::Synced }
    }

    /// Sets whether clients without a user name are let in. Default `true`.
    #[must_use]
    pub const fn anonymous(mut self, is_allowed: bool) -> Self {
        self.anonymous = is_allowed;
        self
    }

    /// Sets what an acknowledgement promises, on a broker that has a store. Default [`Durability::Synced`].
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

/// A listener that is open.
#[derive(Debug)]
pub(crate) struct BoundListener {
    name: String,
    listener: Arc<Listener>,
    anonymous: Arc<AtomicBool>,
    durability: Durability,
    door: Arc<Door>,
}

impl BoundListener {
    pub(crate) async fn bind(options: ListenerOptions) -> Result<Self, ListenError> {
        let listener = Arc::new(Listener::bind(&options.listen).await?);
        let anonymous = Arc::new(AtomicBool::new(options.anonymous));
        let address = listener.local_addr().to_string();
        let door = Arc::new(Door::new(&options.name, address, listener.acceptor().transport()));
        Ok(Self { name: options.name, listener, anonymous, durability: options.durability, door })
    }

    /// Sets whether clients without a user name are let in from now on.
    pub(crate) fn set_anonymous(&self, is_allowed: bool) {
        self.anonymous.store(is_allowed, Relaxed);
    }

    /// Presents other certificates from now on.
    pub(crate) fn reload_tls(&self, tls: &TlsServerOptions) -> Result<(), TlsOptionsError> {
        self.listener.acceptor().reload_tls(tls)
    }

    pub(crate) fn door(&self) -> Arc<Door> {
        self.door.clone()
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

    /// Starts to accept under this number; sockets are handed to the workers in turn.
    pub(crate) fn serve(
        &self,
        number: u64,
        shared: Arc<Shared>,
        workers: WorkerPool,
        mut stopping: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let acceptor = self.listener.acceptor();
        let entrance = Entrance {
            anonymous: self.anonymous.clone(),
            durability: self.durability,
            door: Some(self.door.clone()),
        };
        let gate = Gate { number, shared, workers, entrance, acceptor };
        let listener = self.listener.clone();
        let name = self.name.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    // Stopping first; otherwise one that is connected to without end would not hear of it.
                    biased;
                    _ = stopping.wait_for(|is_stopping| *is_stopping) => return,
                    accepted = listener.accept() => match accepted {
                        Ok(incoming) => gate.let_in(incoming),
                        Err(error) => {
                            error!(listener = %name, %error, "A listener is broken: nobody can connect there any more.");
                            return;
                        }
                    },
                }
            }
        })
    }
}

/// What an accept loop hands to each connection.
struct Gate {
    number: u64,
    shared: Arc<Shared>,
    workers: WorkerPool,
    acceptor: Arc<Acceptor>,
    entrance: Entrance,
}

/// What a connection has to know of the listener through which it came in.
#[derive(Debug, Clone)]
pub(crate) struct Entrance {
    /// Whether anonymous clients are let in now.
    pub(crate) anonymous: Arc<AtomicBool>,
    pub(crate) durability: Durability,
    /// `None` for a stream that was opened elsewhere.
    pub(crate) door: Option<Arc<Door>>,
}

impl Gate {
    fn let_in(&self, incoming: Incoming) {
        let Some((worker, runtime)) = self.workers.next() else { return };
        let entrance = self.entrance.clone();
        let acceptor = self.acceptor.clone();
        let task = |place| serve(place, worker, incoming, acceptor, entrance);
        Connections::spawn(&self.shared, self.number, runtime, task);
    }
}

async fn serve(place: Place, worker: usize, incoming: Incoming, acceptor: Arc<Acceptor>, entrance: Entrance) {
    let shared = place.shared();
    let deadline = Instant::now() + Duration::from_millis(shared.options.server.connect_deadline_ms);
    let peer = incoming.address();
    // Boxed: the handshakes would otherwise make the future of every connection as large as theirs.
    match Box::pin(incoming.open(&acceptor, deadline)).await {
        Ok(stream) => Connection::new(shared.clone(), worker, stream, entrance).run().await,
        Err(error) => {
            if let Some(door) = &entrance.door {
                door.on_not_opened(&error, peer, shared);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_net::Transport;

    use super::*;
    use crate::{BrokerOptions, access::Users};

    #[tokio::test]
    async fn the_future_of_a_connection_is_at_most_1_kib() {
        let users = Users::new(Vec::new(), Vec::new()).unwrap();
        let shared = Arc::new(Shared::new(BrokerOptions::default(), Arc::new(users), None, 1));
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&ListenOptions::new(Transport::Tcp, address)).await.unwrap();
        let BindAddress::Ip(address) = *listener.local_addr() else { panic!("no address") };
        let _peer = tokio::net::TcpStream::connect(address).await.unwrap();
        let incoming = listener.accept().await.unwrap();
        let place = Place::of(&shared);
        let entrance = Entrance {
            anonymous: Arc::new(AtomicBool::new(true)),
            durability: Durability::Synced,
            door: None,
        };
        let future = serve(place, 0, incoming, listener.acceptor(), entrance);
        assert!(size_of_val(&future) <= 1024, "{}", size_of_val(&future));
        // What it boxes lives as long as the connection: it counts for the memory of an idle one.
        assert!(size_of::<Connection>() <= 1024, "{}", size_of::<Connection>());
    }
}
