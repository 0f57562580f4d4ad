//! Everything that runs, and how it changes when the project does.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crosspoint_broker::Broker;
use crosspoint_client::{OptionsError, State};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::plan::{ConnectorPlan, Durability, MqttPlan, OutboxPlan, Plan, SessionKind};
use crate::config::{self, Changes, ConnectorChange, FlowChange, ListenerChange};
use crate::connect;
use crate::connector::{Connector, Keeping};
#[cfg(unix)]
use crate::control::Channel;
use crate::control::{Desk, Gauge};
use crate::data_dir::DataDir;
use crate::durable::{self, Storage, outbox_queue};
use crate::embedded::{Embedded, ListeningAt};
use crate::environment::Environment;
use crate::flow::Flows;
use crate::intake::{Sink, Surroundings};
use crate::outbox::OutboxFigures;
use crate::users;

/// How long a connector may take to finish what is in flight when its settings change.
const RECONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A running hub: the embedded broker, the connectors and the flows between them.
#[derive(Debug)]
pub struct Hub {
    plan: Plan,
    data: DataDir,
    environment: Environment,
    surroundings: Surroundings,
    broker: Option<Embedded>,
    connectors: BTreeMap<String, Connector>,
    /// What looks after the store; it ends with the hub.
    watching: JoinSet<()>,
    desk: Desk,
    /// Where the desk is asked from outside, while everything runs.
    #[cfg(unix)]
    channel: Option<Channel>,
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
    /// The store cannot be used.
    #[error("{cause}")]
    Store {
        /// What is wrong.
        cause: String,
        /// What to do about it.
        mend: String,
    },
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
            Self::Listen { mend, .. } | Self::Store { mend, .. } => mend.clone(),
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
    /// The flow whose messages wait at their source because the outbox is full.
    pub blocked_by: Option<Arc<str>>,
    /// How new credentials stand, while they are tried and the old ones are in use.
    pub credentials: Option<String>,
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
        let storage = match environment.own_store() {
            Some(store) => Storage::of(store.clone()),
            None => Storage::open(&data).await?,
        };
        let mut watching = JoinSet::new();
        watching.spawn(storage.clone().watch());
        let desk = Desk::of_running(storage.store().clone(), data.path());
        let surroundings = Surroundings { storage, clock: environment.now() };
        let mut hub = Self {
            plan: Plan::default(),
            data,
            environment,
            surroundings,
            broker: None,
            connectors: BTreeMap::new(),
            watching,
            desk,
            #[cfg(unix)]
            channel: None,
        };
        match hub.apply(plan).await {
            Ok(_) => {
                hub.open_channel();
                Ok(hub)
            }
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
        let new = self.open_outboxes(&plan).await?;
        let changes = config::diff(&self.plan, &plan);
        self.apply_broker(&plan, &changes).await?;
        self.apply_connectors(&plan, &changes, new).await;
        let started = self.start_connectors(&plan).await;
        self.plan = plan;
        started.map(|()| changes)
    }

    /// Stops everything. What is in flight may finish for at most `within`; what is not through then stays in its
    /// outbox. The embedded broker then takes up to 5 s to let its clients go.
    pub async fn stop(mut self, within: Duration) {
        #[cfg(unix)]
        if let Some(channel) = self.channel.take() {
            channel.close().await;
        }
        let mut stopping = JoinSet::new();
        for mut connector in self.connectors.into_values() {
            stopping.spawn(async move { connector.stop(within).await });
        }
        while stopping.join_next().await.is_some() {}
        if let Some(embedded) = self.broker {
            embedded.broker.stop().await;
        }
        self.watching.shutdown().await;
        self.surroundings.storage.close().await;
    }

    /// Waits until the store is out of order, so that nothing can be kept any more: stop then, and start again.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn failed(&self) -> HubError {
        let cause = self.surroundings.storage.failed().await;
        HubError::Store {
            cause: format!("the store is out of order: {cause}"),
            mend: "see whether the disk is well, then start again: everything that was acknowledged is on it"
                .to_owned(),
        }
    }

    /// Waits until credentials that are tried work, and returns whose: give it to [`use_credentials`](Self::use_credentials).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn credentials_work(&self) -> String {
        let trials = self.connectors.iter().filter_map(|(name, connector)| Some((name, connector.trial()?)));
        let mut outcomes: Vec<_> = trials.map(|(name, trial)| (name, Box::pin(trial.outcome()))).collect();
        poll_fn(|cx| {
            let works = outcomes
                .iter_mut()
                .find_map(|(name, outcome)| outcome.as_mut().poll(cx).is_ready().then(|| name.clone()));
            works.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Connects a connector anew with the credentials that have been tried and work.
    ///
    /// # Cancel safety
    /// Not to be dropped before it is done.
    pub async fn use_credentials(&mut self, name: &str) {
        let Some(connector) = self.connectors.get_mut(name) else { return };
        let Some(mqtt) = connector.trial().filter(|trial| trial.works()).map(|trial| trial.plan().clone())
        else {
            return;
        };
        info!(connector = name, "The new credentials work: the connector connects anew with them.");
        connector.stop(RECONNECT_WITHIN).await;
        let environment = self.environment.of_client(name);
        if let Err(cause) = connector.start_remote(&mqtt, &self.data.client_id(name), environment).await {
            error!(connector = name, cause, "The connector does not start with the new credentials.");
        }
    }

    /// Tells whether the disk is full: sources wait with what they have until there is room.
    pub fn is_full(&self) -> bool {
        self.surroundings.storage.is_full()
    }

    /// Returns the connectors that are not in the project any more and whose outboxes are kept, with how many messages
    /// wait. A connector of that name gets them back.
    pub fn left_behind(&self) -> BTreeMap<String, u64> {
        self.left_behind_by(&self.plan)
    }

    /// Returns what tells how much waits, until the hub stops.
    pub fn gauge(&self) -> Gauge {
        self.desk.gauge()
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
            blocked_by: connector.sink().outbox.blocked_by(),
            credentials: connector.trial_standing(),
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

    /// Lets the hub be asked from outside. Without that it runs all the same.
    #[cfg(unix)]
    fn open_channel(&mut self) {
        // A store of the caller's own is not that of the folder, which others may use.
        if self.environment.own_store().is_none() {
            self.channel = Channel::open(self.data.path(), self.desk.clone())
                .inspect_err(|error| warn!(%error, "The hub cannot be asked from outside while it runs."))
                .ok();
        }
    }

    #[cfg(not(unix))]
    fn open_channel(&mut self) {}

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

    /// Limits belong to the broker as a whole: a change of them starts it anew. Its clients connect again; what is in the
    /// store comes back.
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
        match Embedded::start(broker, &self.environment, self.surroundings.storage.store()).await {
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
        match Embedded::start(broker, &self.environment, self.surroundings.storage.store()).await {
            Ok(embedded) => self.broker = Some(embedded),
            Err(error) => error!(%error, "The embedded broker that ran before does not start again."),
        }
        if let Err(error) = self.start_connectors(&plan).await {
            error!(%error, "A connector that ran before does not start again.");
        }
    }

    // --- connectors ---

    /// Opens the outboxes of connectors that were not there before.
    async fn open_outboxes(&self, plan: &Plan) -> Result<Vec<Connector>, HubError> {
        let storage = &self.surroundings.storage;
        let numbers = durable::assign(storage.store(), plan.connectors.keys().map(String::as_str)).await;
        let numbers = numbers.map_err(|cause| HubError::Store {
            cause,
            mend: "see whether the disk is well and has room".to_owned(),
        })?;
        let mut opened = Vec::new();
        for (name, connector) in
            plan.connectors.iter().filter(|(name, _)| !self.connectors.contains_key(*name))
        {
            let Some(number) = numbers.get(name) else { continue };
            let (durability, policy) = kept_as(connector);
            let keeping = Keeping::open(name, *number, durability, policy, &self.surroundings).await;
            let (keeping, backlog) =
                keeping.map_err(|cause| HubError::Connector { name: name.clone(), cause })?;
            opened.push(Connector::new(name, keeping, backlog, self.surroundings.clone()));
        }
        Ok(opened)
    }

    async fn apply_connectors(&mut self, plan: &Plan, changes: &Changes, new: Vec<Connector>) {
        self.stop_changed(plan, changes).await;
        self.name_left_behind(plan);
        for connector in new {
            self.connectors.insert(connector.name().to_owned(), connector);
        }
        for (name, connector) in &mut self.connectors {
            if let Some(planned) = plan.connectors.get(name) {
                let (durability, policy) = kept_as(planned);
                connector.keeping_mut().set(durability, policy);
            }
        }
        self.route(plan);
        // Last, when nothing leads to them any more. What waits in them stays in the store.
        self.connectors.retain(|name, _| plan.connectors.contains_key(name));
    }

    /// Stops the connectors that end or get other settings, all at the same time.
    ///
    /// One that gets other credentials and nothing else stays connected until they have been tried.
    async fn stop_changed(&mut self, plan: &Plan, changes: &Changes) {
        let mut stopping = JoinSet::new();
        for (name, change) in &changes.connectors {
            let stops = match change {
                ConnectorChange::Stop => true,
                ConnectorChange::Reconnect => !self.try_credentials(plan, name),
                _ => false,
            };
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

    fn try_credentials(&mut self, plan: &Plan, name: &str) -> bool {
        let (Some(ConnectorPlan::Mqtt(mqtt)), Some(connector)) =
            (plan.connectors.get(name), self.connectors.get_mut(name))
        else {
            return false;
        };
        connector.try_credentials(mqtt, &self.data.client_id(name), || self.environment.of_client(name))
    }

    fn left_behind_by(&self, plan: &Plan) -> BTreeMap<String, u64> {
        let store = self.surroundings.storage.store();
        let left = durable::left_behind(store, |name| plan.connectors.contains_key(name));
        let waiting = |number| store.queue_status(outbox_queue(number)).map_or(0, |status| status.waiting);
        let left = left.into_iter().map(|(name, number)| (name, waiting(number)));
        left.filter(|(_, messages)| *messages > 0).collect()
    }

    /// Names the outboxes that are kept for nobody, and the sessions that brokers go on keeping for nobody.
    fn name_left_behind(&self, plan: &Plan) {
        for (connector, messages) in self.left_behind_by(plan) {
            if self.connectors.is_empty() || self.connectors.contains_key(&connector) {
                info!(
                    connector,
                    messages,
                    "Messages wait for a connector that is not in the project: one of that name gets them."
                );
            }
        }
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
        let sinks: BTreeMap<Arc<str>, Sink> = self
            .connectors
            .iter()
            .filter(|(name, _)| plan.connectors.contains_key(*name))
            .map(|(name, connector)| (Arc::from(name.as_str()), connector.sink()))
            .collect();
        self.desk.set_sinks(sinks.clone());
        for (name, connector) in &mut self.connectors {
            connector.set_routes(Flows::of_plan(plan, name), sinks.clone());
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
                    let environment = self.environment.of_client(name);
                    connector.start_remote(mqtt, &self.data.client_id(name), environment).await
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

/// Returns when a message for a connector counts as kept, and what may wait for it.
fn kept_as(plan: &ConnectorPlan) -> (Durability, Arc<OutboxPlan>) {
    match plan {
        ConnectorPlan::Mqtt(mqtt) => (mqtt.durability, Arc::new(mqtt.outbox.clone())),
        ConnectorPlan::Local => (Durability::Synced, Arc::new(OutboxPlan::default())),
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
