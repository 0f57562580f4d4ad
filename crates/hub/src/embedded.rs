//! The embedded broker, as the project file describes it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crosspoint_broker::access::{SaltKey, Users};
use crosspoint_broker::{Broker, BrokerOptions, Durability, ListenerOptions, QueueLimits, Workers};
use crosspoint_net::{ClientCertificates, ListenError, ListenOptions, Pem, TlsServerOptions, Transport};
use crosspoint_store::Store;
use tracing::{error, info, warn};

use crate::config::plan::{self, BrokerPlan, ListenerPlan, PortChoice};
use crate::connect::tls_version;
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::hub::HubError;
use crate::users;

/// The broker with its listeners and the users that it asks.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) broker: Broker,
    users: Arc<Users>,
    listening: Vec<ListeningAt>,
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
    pub(crate) async fn start(
        plan: &BrokerPlan,
        environment: &Environment,
        store: &Store,
        data: &DataDir,
    ) -> Result<Self, HubError> {
        let salts = data.salt_secret().map_err(|error| HubError::Users(error.to_string()))?;
        let users = Arc::new(users::of_plan(plan)?.salt_key(SaltKey::new(&salts)));
        let mut options = options(plan);
        if let Some(wall_ms) = environment.wall_clock_ms() {
            options = options.workers(Workers::Here).wall_clock_ms(wall_ms);
        }
        let broker =
            Broker::builder().options(options).access(users.clone()).store(store.clone()).start().await;
        let broker = broker.map_err(|error| HubError::Start(error.to_string()))?;
        let mut embedded = Self { broker, users, listening: Vec::new() };
        for (name, listener) in &plan.listeners {
            if let Err(error) = embedded.open(name, listener).await {
                embedded.broker.stop().await;
                return Err(error);
            }
        }
        Ok(embedded)
    }

    /// Returns where it listens.
    pub(crate) fn listening(&self) -> &[ListeningAt] {
        &self.listening
    }

    /// Opens, closes and replaces the listeners that differ between two plans; clients of the others notice nothing.
    ///
    /// # Errors
    /// A listener cannot be opened; those of the old plan listen again then.
    pub(crate) async fn replace_listeners(
        &mut self,
        old: &BrokerPlan,
        new: &BrokerPlan,
    ) -> Result<(), HubError> {
        let differs = |name: &String| match (old.listeners.get(name), new.listeners.get(name)) {
            (Some(old), Some(new)) => !old.is_same_place(new) && !new.renews(old),
            _ => true,
        };
        let names: BTreeSet<&String> = old.listeners.keys().chain(new.listeners.keys()).collect();
        let touched: Vec<&String> = names.into_iter().filter(|name| differs(name)).collect();
        if let Err(error) = self.reopen(&touched, new).await {
            if let Err(error) = self.reopen(&touched, old).await {
                error!(%error, "A listener that was open cannot be opened again.");
            }
            return Err(error);
        }
        self.renew_certificates(old, new)
    }

    /// Gives listeners that stay open their new certificates, for the connections to come.
    fn renew_certificates(&self, old: &BrokerPlan, new: &BrokerPlan) -> Result<(), HubError> {
        let renewed = new.listeners.iter().filter(|(name, listener)| {
            old.listeners.get(*name).is_some_and(|before| listener.renews(before))
        });
        for (name, listener) in renewed {
            let Some(tls) = server_tls(listener) else { continue };
            self.broker.reload_tls(name, &tls).map_err(|error| HubError::Listen {
                name: name.clone(),
                bind: listener.bind.to_string(),
                mend: error.hint().to_owned(),
                cause: error.to_string(),
            })?;
            info!(listener = %name, "New connections get the new certificates; those that are open stay as they are.");
        }
        Ok(())
    }

    /// Takes other users and rules over. They hold for clients that are connected too: one whose user is gone goes.
    /// Anonymous clients that are in stay.
    ///
    /// # Errors
    /// The users do not fit together; nothing has changed then.
    pub(crate) fn replace_users(&self, plan: &BrokerPlan) -> Result<(), HubError> {
        users::replace(&self.users, plan)?;
        for (name, listener) in &plan.listeners {
            self.broker.set_anonymous(name, listener.anonymous);
        }
        self.broker.handle().reauthorize();
        Ok(())
    }

    async fn reopen(&mut self, names: &[&String], plan: &BrokerPlan) -> Result<(), HubError> {
        for name in names {
            self.broker.remove_listener(name).await;
            self.listening.retain(|at| at.name != **name);
        }
        for name in names {
            if let Some(listener) = plan.listeners.get(*name) {
                self.open(name, listener).await?;
            }
        }
        Ok(())
    }

    async fn open(&mut self, name: &str, listener: &ListenerPlan) -> Result<(), HubError> {
        let planned = self.broker.add_listener(listener_options(name, listener, listener.bind)).await;
        let mut moved_from = None;
        let opened = match planned {
            Err(ListenError::InUse { .. }) if listener.port == PortChoice::Default => {
                moved_from = Some(listener.bind.port());
                let bind = SocketAddr::new(listener.bind.ip(), 0);
                self.broker.add_listener(listener_options(name, listener, bind)).await
            }
            planned => planned,
        };
        opened.map_err(|error| HubError::Listen {
            name: name.to_owned(),
            bind: listener.bind.to_string(),
            mend: error.hint().to_owned(),
            cause: error.to_string(),
        })?;
        let address = self.broker.address(name).unwrap_or(listener.bind);
        if let Some(port) = moved_from {
            warn!(listener = name, %address, "Port {port} is taken: another one is used.");
        }
        self.listening.push(ListeningAt {
            name: name.to_owned(),
            address,
            transport: listener.transport,
            path: listener.path.clone(),
            moved_from,
        });
        self.listening.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
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
        .in_flight_maximum(limits.in_flight_max)
        .keep_alive_max_s(u16::try_from(limits.keep_alive_max.as_secs()).unwrap_or(u16::MAX))
        .session_expiry_max_s(u32::try_from(limits.session_expiry_max.as_secs()).unwrap_or(u32::MAX))
        .will_grace(limits.will_grace)
        .queue(queue)
}

fn listener_options(name: &str, listener: &ListenerPlan, bind: SocketAddr) -> ListenerOptions {
    ListenerOptions::new(name, listen_options(listener, bind))
        .anonymous(listener.anonymous)
        .durability(durability(listener.durability))
}

const fn durability(durability: plan::Durability) -> Durability {
    match durability {
        plan::Durability::Synced => Durability::Synced,
        plan::Durability::Written => Durability::Written,
        plan::Durability::Memory => Durability::Memory,
    }
}

fn listen_options(listener: &ListenerPlan, bind: SocketAddr) -> ListenOptions {
    let mut options = ListenOptions::new(transport(listener.transport), bind);
    if let Some(tls) = server_tls(listener) {
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

fn server_tls(listener: &ListenerPlan) -> Option<TlsServerOptions> {
    let identity = listener.identity.as_ref()?;
    let key = identity.key.expose_text().unwrap_or_default();
    let tls = TlsServerOptions::new(Pem::inline(identity.certificate.text.clone()), Pem::inline(key))
        .version_min(tls_version(listener.version_min));
    if listener.client_ca.is_empty() {
        return Some(tls);
    }
    let authorities = listener.client_ca.iter().map(|pem| Pem::inline(pem.text.clone())).collect();
    Some(tls.client_certificates(ClientCertificates::Required(authorities)))
}

const fn transport(transport: plan::Transport) -> Transport {
    match transport {
        plan::Transport::Tcp => Transport::Tcp,
        plan::Transport::Tls => Transport::Tls,
        plan::Transport::Ws => Transport::Ws,
        plan::Transport::Wss => Transport::Wss,
    }
}
