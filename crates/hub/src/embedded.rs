//! The embedded broker, as the project file describes it.

use std::net::SocketAddr;
use std::sync::Arc;

use crosspoint_broker::access::Users;
use crosspoint_broker::{Broker, BrokerOptions, ListenerOptions, QueueLimits, StartError};
use crosspoint_net::{ClientCertificates, ListenError, ListenOptions, Pem, TlsServerOptions, Transport};

use crate::config::plan::{self, BrokerPlan, ListenerPlan, PortChoice};
use crate::hub::HubError;
use crate::users;

/// The broker with the users that it asks.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) broker: Broker,
    users: Arc<Users>,
}

/// Where a listener listens, and whether that is where it was meant to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningAt {
    /// The name of the listener.
    pub name: String,
    /// The address.
    pub address: SocketAddr,
    /// What carries the bytes.
    pub transport: plan::Transport,
    /// The path of the WebSocket upgrade.
    pub path: String,
    /// The default port that was taken, when it moved to another.
    pub moved_from: Option<u16>,
}

impl Embedded {
    /// Starts the broker with its listeners. A default port that is taken moves to a free one.
    ///
    /// # Errors
    /// A listener cannot be opened; nothing runs then.
    pub(crate) async fn start(plan: &BrokerPlan) -> Result<(Self, Vec<ListeningAt>), HubError> {
        let users = Arc::new(users::of_plan(&plan.users)?);
        let mut builder = Broker::builder().options(options(plan)).access(users.clone());
        let mut moved = Vec::new();
        for (name, listener) in &plan.listeners {
            let bind = free_address(listener).await;
            if bind != listener.bind {
                moved.push((name.clone(), listener.bind.port()));
            }
            let anonymous = listener.anonymous;
            builder = builder
                .listener(ListenerOptions::new(name, listen_options(listener, bind)).anonymous(anonymous));
        }
        let broker = builder.start().await.map_err(|error| listen_error(error, plan))?;
        let listening = broker.addresses().filter_map(|(name, address)| {
            let listener = plan.listeners.get(name)?;
            Some(ListeningAt {
                name: name.to_owned(),
                address,
                transport: listener.transport,
                path: listener.path.clone(),
                moved_from: moved.iter().find(|(moved, _)| moved == name).map(|(_, port)| *port),
            })
        });
        let listening = listening.collect();
        Ok((Self { broker, users }, listening))
    }

    /// Takes other users and rules over. Clients that are connected keep what they were let in with.
    pub(crate) fn replace_users(&self, plan: &BrokerPlan) -> Result<(), HubError> {
        users::replace(&self.users, &plan.users)
    }
}

fn options(plan: &BrokerPlan) -> BrokerOptions {
    let limits = &plan.limits;
    let queue = QueueLimits::default()
        .messages(limits.session_queue_messages as usize)
        .bytes(usize::try_from(limits.session_queue_bytes).unwrap_or(usize::MAX));
    BrokerOptions::default()
        .connections_max(limits.connections_max as usize)
        .packet_bytes_max(limits.packet_bytes_max)
        .session_expiry_max_s(u32::try_from(limits.session_expiry_max.as_secs()).unwrap_or(u32::MAX))
        .queue(queue)
}

/// Returns the address to bind: the planned one, or one with a port that the system chooses when a default port is
/// taken.
async fn free_address(listener: &ListenerPlan) -> SocketAddr {
    if listener.port == PortChoice::Written || listener.bind.port() == 0 {
        return listener.bind;
    }
    match tokio::net::TcpListener::bind(listener.bind).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => SocketAddr::new(listener.bind.ip(), 0),
        _ => listener.bind,
    }
}

fn listen_options(listener: &ListenerPlan, bind: SocketAddr) -> ListenOptions {
    let mut options = ListenOptions::new(transport(listener.transport), bind);
    if let Some(identity) = &listener.identity {
        let key = identity.key.expose_text().unwrap_or_default();
        let mut tls = TlsServerOptions::new(Pem::inline(identity.certificate.text.clone()), Pem::inline(key));
        if !listener.client_ca.is_empty() {
            let authorities = listener.client_ca.iter().map(|pem| Pem::inline(pem.text.clone())).collect();
            tls = tls.client_certificates(ClientCertificates::Required(authorities));
        }
        options = options.tls(tls);
    }
    if listener.transport.is_websocket() {
        options = options.ws_path(listener.path.clone());
        for origin in &listener.allowed_origins {
            options = options.ws_origin(origin.clone());
        }
    }
    options
}

const fn transport(transport: plan::Transport) -> Transport {
    match transport {
        plan::Transport::Tcp => Transport::Tcp,
        plan::Transport::Tls => Transport::Tls,
        plan::Transport::Ws => Transport::Ws,
        plan::Transport::Wss => Transport::Wss,
    }
}

fn listen_error(error: StartError, plan: &BrokerPlan) -> HubError {
    match error {
        StartError::Listen { name, source } => {
            let bind = plan.listeners.get(&name).map(|listener| listener.bind.to_string()).unwrap_or_default();
            HubError::Listen { name, bind, mend: mend(&source), cause: source.to_string() }
        }
        other => HubError::Start(other.to_string()),
    }
}

fn mend(error: &ListenError) -> String {
    error.hint().to_owned()
}
