//! Everything that runs, and how it changes when the project does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::Broker;
use crosspoint_client::{OptionsError, State};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use crate::actions::Actions;
use crate::certificates::{self, UsedCertificate};
use crate::config::plan::{ConnectorPlan, MqttPlan, Plan};
use crate::config::{self, Changes, ConnectorChange, FlowChange, ListenerChange};
use crate::connect;
use crate::connector::{Connector, ConnectorState};
#[cfg(unix)]
use crate::control::Channel;
use crate::control::{Board, Control, Desk, Gauge};
use crate::data_dir::DataDir;
use crate::durable::Storage;
use crate::embedded::{Embedded, ListeningAt};
use crate::environment::Environment;
use crate::intake::Surroundings;
use crate::kept::KeptSubscriptions;
use crate::outbox::OutboxFigures;
use crate::users;

mod broker;
mod connectors;
mod credentials;
mod error;

pub use error::HubError;

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
    kept: Arc<KeptSubscriptions>,
    /// What looks after the store and the dates of certificates; it ends with the hub.
    watching: JoinSet<()>,
    /// The plan that runs, for who looks after its certificates.
    certified: watch::Sender<Arc<Plan>>,
    desk: Desk,
    /// Where the desk is asked from outside, while everything runs.
    #[cfg(unix)]
    channel: Option<Channel>,
}

/// What one connector is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorStatus {
    /// Whether it runs at all.
    pub is_running: bool,
    /// What the connection of a remote connector is doing.
    pub state: Option<State>,
    /// What all that means, and what to do about it.
    pub known: ConnectorState,
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
        let surroundings = Surroundings { storage: storage.clone(), clock: environment.now() };
        let kept = KeptSubscriptions::open(surroundings.clone()).await?;
        let mut watching = JoinSet::new();
        watching.spawn(storage.clone().watch());
        let certified = watch::Sender::new(Arc::<Plan>::default());
        watching.spawn(certificates::watch(certified.subscribe(), environment.now()));
        let desk = Desk::of_running(storage.store().clone(), data.path()).in_environment(environment.clone());
        let desk = desk.with_kept(kept.clone());
        let mut hub = Self {
            plan: Plan::default(),
            data,
            environment,
            surroundings,
            broker: None,
            connectors: BTreeMap::new(),
            kept,
            watching,
            certified,
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
        self.post();
        self.certified.send_replace(Arc::new(self.plan.clone()));
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
        self.kept.stop().await;
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

    /// Returns what is asked of this hub, without its socket. Not to be kept longer than the hub: the store stays open with
    /// it.
    pub fn control(&self) -> Control {
        Control::of_desk(self.desk.clone())
    }

    /// Returns what publishes, subscribes and asks at run time, until the hub stops.
    pub fn actions(&self) -> Actions {
        self.desk.actions()
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
            known: connector.line().state(&connector.sink().outbox),
            outbox: connector.figures(),
            blocked_by: connector.sink().outbox.blocked_by(),
            credentials: connector.trial_standing(),
        };
        self.connectors.iter().map(|(name, connector)| (name.clone(), status(connector))).collect()
    }

    /// Returns the certificates of everything that runs and how they stand now, for who shows or measures them.
    pub fn certificates(&self) -> Vec<UsedCertificate> {
        certificates::of_plan(&self.plan, certificates::now_s(&self.surroundings.clock))
    }

    /// Counts what waits in each outbox, for each kept subscription and for each session of the embedded broker, and returns what is not as it must
    /// be, in words: figures that do not agree with what is there (C9), a limit that is not held (C8). Nothing, as long
    /// as the hub is right.
    ///
    /// It looks at each message that is in memory: for tests, and for whoever suspects a fault.
    pub fn audit(&self) -> Vec<String> {
        let outbox = |(name, connector): (&String, &Connector)| {
            let found = connector.sink().outbox.audit();
            found.into_iter().map(|what| format!("the outbox of {name}: {what}")).collect::<Vec<_>>()
        };
        let outboxes = self.connectors.iter().flat_map(outbox);
        let outboxes = outboxes.chain(self.kept.audit());
        outboxes.chain(self.broker().map(Broker::audit).unwrap_or_default()).collect()
    }

    /// Finds what would fail later, before anything is touched.
    fn check(&self, plan: &Plan) -> Result<(), HubError> {
        if let Some(broker) = &plan.broker {
            users::of_plan(broker)?;
        }
        for (name, mqtt) in remote(plan).filter(|(_, mqtt)| mqtt.enabled) {
            let options = connect::client_options(mqtt, &self.data.client_id(name));
            let failed =
                |error: OptionsError| HubError::Connector { name: name.to_owned(), cause: error.to_string() };
            options.check().map_err(failed)?;
        }
        Ok(())
    }

    /// Shows on the board what runs now.
    fn post(&self) {
        self.desk.post(Board {
            plan: Arc::new(self.plan.clone()),
            lines: self.connectors.values().map(|one| (Arc::from(one.name()), one.line())).collect(),
            listening: self.listening().to_vec(),
            broker: self.broker().map(Broker::handle),
        });
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
