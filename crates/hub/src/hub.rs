//! Everything that runs, and how it changes when the project does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::Broker;
use crosspoint_client::{OptionsError, State};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::plan::{ConnectorPlan, MqttPlan, Plan, SessionKind};
use crate::config::{self, Changes, ConnectorChange, FlowChange, ListenerChange};
use crate::connect;
use crate::connector::Connector;
use crate::data_dir::DataDir;
use crate::embedded::{Embedded, ListeningAt};
use crate::environment::Environment;
use crate::flow::Flows;
use crate::outbox::{Outbox, OutboxFigures};
use crate::users;

/// How long a connector may take to finish what is in flight when its settings change.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A running hub: the embedded broker, the connectors and the flows between them.
#[derive(Debug)]
pub struct Hub {
    plan: Plan,
    data: DataDir,
    environment: Environment,
    broker: Option<Embedded>,
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
        Self::start_in(plan, data, Environment::real()).await
    }

    /// Starts as [`start`](Self::start) does, with a clock, randomness and a transport of the caller's own.
    ///
    /// # Errors
    /// As there.
    pub async fn start_in(plan: Plan, data: DataDir, environment: Environment) -> Result<Self, HubError> {
        let (plan_before, connectors) = (Plan::default(), BTreeMap::new());
        let mut hub = Self { plan: plan_before, data, environment, broker: None, connectors };
        match hub.apply(plan).await {
            Ok(_) => Ok(hub),
            Err(error) => {
                hub.stop(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    /// Takes a changed plan over: only what differs is touched, and what waits in outboxes stays.
    ///
    /// # Errors
    /// A listener cannot be opened, or a setting cannot be used. Nothing has changed then, except that the clients of
    /// listeners that were to change have been cut.
    ///
    /// # Cancel safety
    /// Not to be dropped before it is done.
    pub async fn apply(&mut self, plan: Plan) -> Result<Changes, HubError> {
        self.check(&plan)?;
        let changes = config::diff(&self.plan, &plan);
        self.apply_broker(&plan, &changes).await?;
        self.apply_connectors(&plan, &changes).await;
        let started = self.start_connectors(&plan).await;
        self.plan = plan;
        started.map(|()| changes)
    }

    /// Stops everything. What is in flight may finish for at most `within`; messages that are not through then stay
    /// unacknowledged at their sources. The embedded broker then takes up to 5 s to let its clients go.
    pub async fn stop(self, within: Duration) {
        let mut stopping = JoinSet::new();
        for connector in self.connectors.into_values() {
            stopping.spawn(connector.finish(within));
        }
        while stopping.join_next().await.is_some() {}
        if let Some(embedded) = self.broker {
            embedded.broker.stop().await;
        }
    }

    /// Returns where the embedded broker listens.
    pub fn listening(&self) -> &[ListeningAt] {
        self.broker.as_ref().map(Embedded::listening).unwrap_or_default()
    }

    /// Returns the embedded broker, while there is one.
    pub fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref().map(|embedded| &embedded.broker)
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

    /// Finds what would fail later, before anything is touched.
    fn check(&self, plan: &Plan) -> Result<(), HubError> {
        if let Some(broker) = &plan.broker {
            users::of_plan(&broker.users)?;
        }
        for (name, mqtt) in remote(plan).filter(|(_, mqtt)| mqtt.enabled) {
            let options = connect::client_options(mqtt, &self.data.client_id(name));
            let failed =
                |error: OptionsError| HubError::Connector { name: name.to_owned(), cause: error.to_string() };
            options.check().map_err(failed)?;
        }
        Ok(())
    }

    // --- the embedded broker ---

    async fn apply_broker(&mut self, plan: &Plan, changes: &Changes) -> Result<(), HubError> {
        if changes.limits || self.plan.broker.is_some() != plan.broker.is_some() {
            return self.restart_broker(plan).await;
        }
        let (Some(embedded), Some(old), Some(new)) = (&mut self.broker, &self.plan.broker, &plan.broker)
        else {
            return Ok(());
        };
        if changes.listeners.values().any(|change| *change != ListenerChange::Unchanged) {
            embedded.replace_listeners(old, new).await?;
        }
        if changes.users { embedded.replace_users(new) } else { Ok(()) }
    }

    /// Limits belong to the broker as a whole: a change of them starts it anew. Its clients connect again; sessions and
    /// retained messages, which are in memory, are lost.
    async fn restart_broker(&mut self, plan: &Plan) -> Result<(), HubError> {
        for (name, connector) in &mut self.connectors {
            if matches!(self.plan.connectors.get(name), Some(ConnectorPlan::Local)) {
                connector.stop(RECONNECT_WITHIN).await;
            }
        }
        if let Some(old) = self.broker.take() {
            if plan.broker.is_some() {
                warn!(
                    "The embedded broker starts anew, for its limits have changed: its clients connect again."
                );
            }
            old.broker.stop().await;
        }
        let Some(broker) = &plan.broker else { return Ok(()) };
        match Embedded::start(broker, &self.environment).await {
            Ok(embedded) => self.broker = Some(embedded),
            Err(reason) => {
                self.restore_broker().await;
                return Err(reason);
            }
        }
        Ok(())
    }

    /// Starts the broker of the plan that keeps running.
    async fn restore_broker(&mut self) {
        let plan = self.plan.clone();
        let Some(broker) = &plan.broker else { return };
        match Embedded::start(broker, &self.environment).await {
            Ok(embedded) => self.broker = Some(embedded),
            Err(error) => error!(%error, "The embedded broker that ran before does not start again."),
        }
        if let Err(error) = self.start_connectors(&plan).await {
            error!(%error, "A connector that ran before does not start again.");
        }
    }

    // --- connectors ---

    async fn apply_connectors(&mut self, plan: &Plan, changes: &Changes) {
        self.stop_changed(changes).await;
        self.name_left_behind(plan);
        for name in plan.connectors.keys() {
            self.connectors.entry(name.clone()).or_insert_with(|| Connector::new(name));
        }
        self.route(plan);
        // Last, when nothing leads to them any more: what waits in them comes again and goes its new way.
        self.connectors.retain(|name, _| plan.connectors.contains_key(name));
    }

    /// Stops the connectors that end or get other settings, all at the same time.
    async fn stop_changed(&mut self, changes: &Changes) {
        let mut stopping = JoinSet::new();
        for (name, change) in &changes.connectors {
            let stops = matches!(change, ConnectorChange::Stop | ConnectorChange::Reconnect);
            if stops && let Some(mut connector) = self.connectors.remove(name) {
                stopping.spawn(async move {
                    connector.stop(RECONNECT_WITHIN).await;
                    connector
                });
            }
        }
        while let Some(stopped) = stopping.join_next().await {
            if let Ok(connector) = stopped {
                self.connectors.insert(connector.name().to_owned(), connector);
            }
        }
    }

    /// Names the sessions that brokers go on keeping for nobody.
    fn name_left_behind(&self, plan: &Plan) {
        for (connector, old) in remote(&self.plan) {
            let client_id = connect::client_id(old, &self.data.client_id(connector));
            let still = remote(plan).filter(|(name, _)| *name == connector);
            let mut still = still.map(|(_, mqtt)| connect::client_id(mqtt, &self.data.client_id(connector)));
            if old.session == SessionKind::Durable && old.enabled && !still.any(|kept| kept == client_id) {
                let server = old.addresses.first().map(ToString::to_string).unwrap_or_default();
                info!(
                    connector,
                    client_id, server, "The broker may go on keeping the session of this client id."
                );
            }
        }
    }

    /// Tells every connector which flows read from it, and where they write to.
    fn route(&mut self, plan: &Plan) {
        let outboxes: BTreeMap<Arc<str>, Outbox> = self
            .connectors
            .iter()
            .filter(|(name, _)| plan.connectors.contains_key(*name))
            .map(|(name, connector)| (Arc::from(name.as_str()), connector.outbox()))
            .collect();
        for (name, connector) in &mut self.connectors {
            connector.set_routes(Flows::of_plan(plan, name), outboxes.clone());
        }
    }

    /// Starts every enabled connector that does not run. One that cannot start does not keep the others from it.
    async fn start_connectors(&mut self, plan: &Plan) -> Result<(), HubError> {
        let mut result = Ok(());
        for (name, connector) in &mut self.connectors {
            if !plan.is_enabled(name) || connector.is_running() {
                continue;
            }
            let started = match (plan.connectors.get(name), &self.broker) {
                (Some(ConnectorPlan::Mqtt(mqtt)), _) => {
                    connector.start_remote(mqtt, &self.data.client_id(name), self.environment.of_client(name))
                }
                (Some(ConnectorPlan::Local), Some(embedded)) => {
                    connector.start_local(&embedded.broker.handle()).await
                }
                _ => Ok(()),
            };
            result = result.and(started.map_err(|cause| HubError::Connector { name: name.clone(), cause }));
        }
        result
    }
}

/// Returns the connectors of kind `mqtt`.
fn remote(plan: &Plan) -> impl Iterator<Item = (&str, &MqttPlan)> {
    plan.connectors.iter().filter_map(|(name, connector)| match connector {
        ConnectorPlan::Mqtt(mqtt) => Some((name.as_str(), &**mqtt)),
        ConnectorPlan::Local => None,
    })
}

/// Tells whether a change of flows happened at all, for whoever logs it.
pub fn has_changes(changes: &Changes) -> bool {
    changes.users
        || changes.limits
        || changes.connectors.values().any(|change| *change != ConnectorChange::Unchanged)
        || changes.flows.values().any(|change| *change != FlowChange::Unchanged)
        || changes.listeners.values().any(|change| *change != ListenerChange::Unchanged)
}
