//! Everything that runs, and how it changes when the project does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::State;
use tracing::{info, warn};

use crate::config::plan::{ConnectorPlan, Plan};
use crate::config::{self, Changes, ConnectorChange, FlowChange, ListenerChange};
use crate::connector::Connector;
use crate::data_dir::DataDir;
use crate::embedded::{Embedded, ListeningAt};
use crate::flow::Flows;
use crate::outbox::{Outbox, OutboxFigures};

/// How long a connector may take to finish what is in flight when its settings change.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A running hub: the embedded broker, the connectors and the flows between them.
#[derive(Debug)]
pub struct Hub {
    plan: Plan,
    data: DataDir,
    broker: Option<Embedded>,
    listening: Vec<ListeningAt>,
    connectors: BTreeMap<String, Connector>,
}

/// Why a hub does not start, or does not take a change over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A listener of the embedded broker cannot be opened.
    #[error("[broker.listener.{name}] cannot listen on {bind}: {cause}")]
    Listen {
        /// The name of the listener.
        name: String,
        /// The address that was written.
        bind: String,
        /// Why.
        cause: String,
        /// What to do about it.
        mend: String,
    },
    /// The embedded broker cannot be started.
    #[error("the embedded broker does not start: {0}")]
    Start(String),
    /// The users of the embedded broker do not fit together.
    #[error("the users of the embedded broker: {0}")]
    Users(String),
    /// A connector cannot be started with its settings.
    #[error("[connector.{name}] does not start: {cause}")]
    Connector {
        /// The name of the connector.
        name: String,
        /// Why.
        cause: String,
    },
}

impl HubError {
    /// Returns what to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::Listen { mend, .. } => mend.clone(),
            Self::Start(_) => "see whether the machine allows more threads and open files".to_owned(),
            Self::Users(_) => "mend [broker.user] and [broker.role] in the project file".to_owned(),
            Self::Connector { name, .. } => format!("mend [connector.{name}] in the project file"),
        }
    }
}

/// What one connector is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorStatus {
    /// Whether it runs at all.
    pub is_running: bool,
    /// What the connection of a remote connector is doing.
    pub state: Option<State>,
    /// What its outbox has counted.
    pub outbox: OutboxFigures,
}

impl Hub {
    /// Starts everything that a plan says. Connectors connect by themselves; a broker that cannot be reached is no
    /// error.
    ///
    /// # Errors
    /// A listener cannot be opened, or a setting cannot be used; nothing runs then.
    pub async fn start(plan: Plan, data: DataDir) -> Result<Self, HubError> {
        let mut hub = Self {
            plan: Plan::default(),
            data,
            broker: None,
            listening: Vec::new(),
            connectors: BTreeMap::new(),
        };
        hub.start_broker(&plan).await?;
        let changes = config::diff(&hub.plan, &plan);
        if let Err(error) = hub.apply_connectors(&plan, &changes).await {
            hub.stop(Duration::ZERO).await;
            return Err(error);
        }
        hub.plan = plan;
        Ok(hub)
    }

    /// Takes a changed plan over: only what differs is touched, and what waits in outboxes stays.
    ///
    /// # Errors
    /// A listener cannot be opened, or a setting cannot be used. What could be taken over has been, and the plan that
    /// runs is the new one; the error says what does not.
    pub async fn apply(&mut self, plan: Plan) -> Result<Changes, HubError> {
        let changes = config::diff(&self.plan, &plan);
        let restarts_broker = changes.limits
            || changes.listeners.values().any(|change| *change != ListenerChange::Unchanged)
            || self.plan.broker.is_some() != plan.broker.is_some();
        let broker = if restarts_broker {
            self.restart_broker(&plan).await
        } else {
            self.replace_users(&plan, &changes)
        };
        let connectors = self.apply_connectors(&plan, &changes).await;
        self.plan = plan;
        broker.and(connectors).map(|()| changes)
    }

    /// Stops everything. What is in flight may finish for at most `within`; messages that are not through then stay
    /// unacknowledged at their sources.
    pub async fn stop(mut self, within: Duration) {
        for connector in self.connectors.values_mut() {
            connector.stop(within).await;
        }
        if let Some(embedded) = self.broker.take() {
            embedded.broker.stop().await;
        }
    }

    /// Returns where the embedded broker listens.
    pub fn listening(&self) -> &[ListeningAt] {
        &self.listening
    }

    /// Returns the plan that runs.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns what each connector is doing.
    pub fn status(&self) -> BTreeMap<String, ConnectorStatus> {
        let status = |connector: &Connector| ConnectorStatus {
            is_running: connector.is_running(),
            state: connector.state(),
            outbox: connector.figures(),
        };
        self.connectors.iter().map(|(name, connector)| (name.clone(), status(connector))).collect()
    }

    // --- the embedded broker ---

    async fn start_broker(&mut self, plan: &Plan) -> Result<(), HubError> {
        let Some(broker) = &plan.broker else { return Ok(()) };
        let (embedded, listening) = Embedded::start(broker).await?;
        for at in &listening {
            if let Some(port) = at.moved_from {
                warn!(listener = %at.name, address = %at.address, "Port {port} is taken: another one is used.");
            }
        }
        (self.broker, self.listening) = (Some(embedded), listening);
        Ok(())
    }

    /// Listeners and limits belong to the broker as a whole: a change of them starts it anew. Its clients connect
    /// again; sessions and retained messages, which are in memory, are lost.
    async fn restart_broker(&mut self, plan: &Plan) -> Result<(), HubError> {
        for (name, connector) in &mut self.connectors {
            if matches!(self.plan.connectors.get(name), Some(ConnectorPlan::Local)) {
                connector.stop(RECONNECT_WITHIN).await;
            }
        }
        if let Some(old) = self.broker.take() {
            info!("The embedded broker starts anew: its listeners or limits have changed.");
            old.broker.stop().await;
        }
        self.listening.clear();
        self.start_broker(plan).await
    }

    fn replace_users(&self, plan: &Plan, changes: &Changes) -> Result<(), HubError> {
        match (&self.broker, &plan.broker) {
            (Some(running), Some(broker)) if changes.users => running.replace_users(broker),
            _ => Ok(()),
        }
    }

    // --- connectors ---

    async fn apply_connectors(&mut self, plan: &Plan, changes: &Changes) -> Result<(), HubError> {
        self.stop_changed(plan, changes).await;
        for name in plan.connectors.keys() {
            self.connectors.entry(name.clone()).or_insert_with(|| Connector::new(name));
        }
        self.route(plan).await;
        let mut result = Ok(());
        for (name, connector) in &plan.connectors {
            if plan.is_enabled(name) {
                // One connector that cannot start does not keep the others from starting.
                let started = self.start_connector(name, connector).await;
                result = result.and(started);
            }
        }
        result
    }

    async fn stop_changed(&mut self, plan: &Plan, changes: &Changes) {
        for (name, change) in &changes.connectors {
            let stops = matches!(change, ConnectorChange::Stop | ConnectorChange::Reconnect);
            if stops && let Some(connector) = self.connectors.get_mut(name) {
                connector.stop(RECONNECT_WITHIN).await;
            }
        }
        let gone: BTreeSet<String> =
            self.connectors.keys().filter(|name| !plan.connectors.contains_key(*name)).cloned().collect();
        for name in gone {
            self.connectors.remove(&name);
        }
    }

    /// Tells every connector which flows read from it, and where they write to.
    async fn route(&mut self, plan: &Plan) {
        let outboxes: BTreeMap<Arc<str>, Outbox> = self
            .connectors
            .iter()
            .map(|(name, connector)| (Arc::from(name.as_str()), connector.outbox()))
            .collect();
        for (name, connector) in &mut self.connectors {
            connector.set_routes(Flows::of_plan(plan, name), outboxes.clone()).await;
        }
    }

    async fn start_connector(&mut self, name: &str, plan: &ConnectorPlan) -> Result<(), HubError> {
        let Some(connector) = self.connectors.get_mut(name).filter(|connector| !connector.is_running()) else {
            return Ok(());
        };
        let started = match (plan, &self.broker) {
            (ConnectorPlan::Mqtt(mqtt), _) => connector.start_remote(mqtt, &self.data.client_id(name)),
            (ConnectorPlan::Local, Some(embedded)) => connector.start_local(&embedded.broker.handle()).await,
            (ConnectorPlan::Local, None) => Ok(()),
        };
        started.map_err(|cause| HubError::Connector { name: name.to_owned(), cause })
    }
}

/// Tells whether a change of flows happened at all, for whoever logs it.
pub fn has_changes(changes: &Changes) -> bool {
    changes.users
        || changes.limits
        || changes.connectors.values().any(|change| *change != ConnectorChange::Unchanged)
        || changes.flows.values().any(|change| *change != FlowChange::Unchanged)
        || changes.listeners.values().any(|change| *change != ListenerChange::Unchanged)
}
