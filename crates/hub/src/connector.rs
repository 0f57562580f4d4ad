//! A connector that runs: its client, the intake that reads from it and the pump that writes to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::{BrokerHandle, LocalOptions};
use crosspoint_client::{Client, Environment, Left, State};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{Instrument, error, error_span, info, warn};

use crate::config::plan::{Announcement, MqttPlan, Verify};
use crate::connect;
use crate::durable::Session;
use crate::flow::Flows;
use crate::intake::{self, Sink, Source, Surroundings};
use crate::kept::KeptSubscriptions;
use crate::listeners::of_flow;
use crate::outbox::{Backlog, IN_FLIGHT_MAX, OutboxFigures, Restored, Target};

mod flapping;
mod history;
mod keeping;
mod line;
mod reporter;
mod session;
mod state;
mod trial;
mod wiring;

use history::{History, Identity};
pub(crate) use keeping::Keeping;
pub(crate) use line::{Line, Reach};
use session::{Resumed, resume};
pub use state::{Condition, ConnectorState};
use trial::{Trial, differs_in_credentials};
pub(crate) use wiring::Wiring;

/// A connector of the project: its outbox lives as long as the store keeps it, its link as long as its settings.
#[derive(Debug)]
pub(crate) struct Connector {
    name: Arc<str>,
    keeping: Keeping,
    surroundings: Surroundings,
    /// The outbox's other end, while no link has it.
    backlog: Option<Backlog>,
    wiring: Arc<Wiring>,
    line: Arc<Line>,
    link: Option<Link>,
    /// The settings of a remote link.
    running: Option<Box<MqttPlan>>,
    trial: Option<Trial>,
}

/// What one set of settings started.
#[derive(Debug)]
struct Link {
    end: End,
    intake: Task<()>,
    pump: Task<Backlog>,
}

/// Our end of the connection.
#[derive(Debug)]
enum End {
    Remote {
        client: Client,
        /// What it says before it disconnects.
        close: Option<Box<Announcement>>,
        session: Option<Session>,
        /// The client's engine, and what reports on it and saves for it. They end with the client.
        tasks: JoinSet<()>,
    },
    Local,
}

/// A task that is told to stop and then joined.
#[derive(Debug)]
pub(crate) struct Task<T> {
    stop: oneshot::Sender<()>,
    task: JoinHandle<T>,
}

impl<T> Task<T> {
    pub(crate) const fn new(stop: oneshot::Sender<()>, task: JoinHandle<T>) -> Self {
        Self { stop, task }
    }

    /// Stops the task and returns what it leaves, or `None` if it has panicked.
    pub(crate) async fn stop(self) -> Option<T> {
        // One that has ended by itself does not listen any more, and has left what it leaves.
        self.stop.send(()).unwrap_or_default();
        self.task.await.ok()
    }
}

impl Connector {
    pub(crate) fn new(
        name: &str,
        keeping: Keeping,
        backlog: Backlog,
        surroundings: Surroundings,
        kept: Arc<KeptSubscriptions>,
    ) -> Self {
        let name: Arc<str> = name.into();
        let wiring = Arc::new(Wiring::new(name.clone(), kept));
        let line = Line::new(name.clone(), surroundings.clock.clone(), wiring.clone());
        Self {
            name,
            keeping,
            surroundings,
            backlog: Some(backlog),
            wiring,
            line: Arc::new(line),
            link: None,
            running: None,
            trial: None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns where flows write to.
    pub(crate) fn sink(&self) -> Sink {
        self.keeping.sink()
    }

    pub(crate) fn keeping_mut(&mut self) -> &mut Keeping {
        &mut self.keeping
    }

    /// Returns what others see of it.
    pub(crate) fn line(&self) -> Arc<Line> {
        self.line.clone()
    }

    pub(crate) fn figures(&self) -> OutboxFigures {
        self.keeping.outbox().figures()
    }

    /// Returns what the connection of a remote connector is doing; `None` while it does not run, or is local.
    pub(crate) fn state(&self) -> Option<State> {
        match &self.link.as_ref()?.end {
            End::Remote { client, .. } => Some(client.state().borrow().clone()),
            End::Local => None,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.link.is_some()
    }

    /// Connects to a remote broker. The routes must be set before. `twin` is another connector with the same client
    /// identifier there.
    pub(crate) async fn start_remote(
        &mut self,
        plan: &MqttPlan,
        client_id: &str,
        twin: Option<String>,
        environment: &crate::Environment,
    ) -> Result<(), String> {
        let subscribed = self.wiring.wanted();
        self.say_what_is_not_checked(plan);
        // Its queue has room for everything that the pump may have in flight, and for a birth message.
        let mut options = connect::client_options(plan, client_id)
            .publish_queue_max(IN_FLIGHT_MAX + 1)
            .bridge_bit(self.wiring.routes().borrow().flows.bridge_bit);
        for wanted in &subscribed {
            let wanted = of_flow(wanted);
            options = options.subscribe(wanted.filter, wanted.options);
        }
        let mut tasks = JoinSet::new();
        let Resumed { session, store, restored } =
            resume(&self.keeping, &self.surroundings, plan, client_id, &mut tasks).await?;
        let (client, deliveries, engine) = Client::new(options, store, environment.of_client(&self.name))
            .map_err(|error| error.to_string())?;
        // What the client says for itself bears the connector's name.
        tasks.spawn(engine.run().instrument(error_span!("connector", name = &*self.name)));
        let is_on_network = environment.is_on_network();
        let identity = Identity { plan: Arc::new(plan.clone()), twin, is_on_network };
        self.line.note(|history, now| history.begin(identity, now));
        self.line.set_reach(Some(Reach::Remote(client.clone())));
        tasks.spawn(reporter::run(self.name.clone(), client.clone(), self.line(), plan.birth.clone()));
        self.line.listeners().connect(client.clone(), subscribed);
        // A kept subscription may have come meanwhile.
        drop(self.wiring.rewire());
        let target = Target::Remote(client.clone());
        let source = Source::Remote(deliveries, session.clone());
        let close = plan.close.clone().map(Box::new);
        self.start(End::Remote { client, close, session, tasks }, source, target, restored);
        self.running = Some(Box::new(plan.clone()));
        Ok(())
    }

    /// Connects to the embedded broker.
    pub(crate) async fn start_local(&mut self, broker: &BrokerHandle) -> Result<(), String> {
        let options = LocalOptions::new(format!("$hub/{}", self.name)).session_expiry_s(u32::MAX);
        let client = Arc::new(broker.connect_local(options).await.map_err(|error| error.to_string())?);
        self.wiring.begin_local(client.clone());
        self.line.note(History::begin_connected);
        self.line.set_reach(Some(Reach::Local));
        let (source, target) = (Source::Local(client.clone()), Target::Local(client.clone()));
        self.start(End::Local, source, target, Vec::new());
        Ok(())
    }

    /// Sets which other connector has the same client identifier at the same broker by now.
    pub(crate) fn set_twin(&self, twin: Option<String>) {
        self.line.note(|history, _| history.set_twin(twin));
    }

    /// Replaces what the flows do, without touching the connection.
    pub(crate) fn set_routes(&self, flows: Flows, sinks: BTreeMap<Arc<str>, Sink>) {
        if let Some(End::Remote { client, .. }) = self.link.as_ref().map(|link| &link.end) {
            client.set_bridge_bit(flows.bridge_bit);
        }
        self.wiring.set_flows(flows, sinks);
    }

    /// Keeps the connection when its settings differ from these by credentials only, and tries the new ones beside it.
    /// Returns whether it does.
    pub(crate) fn try_credentials(
        &mut self,
        plan: &MqttPlan,
        client_id: &str,
        environment: impl FnOnce() -> Environment,
    ) -> bool {
        let Some(running) = &self.running else { return false };
        if **running == *plan {
            // Back to what is in use.
            self.trial = None;
            return true;
        }
        let is_connected = self.state().is_some_and(|state| state.is_connected());
        if !is_connected || !differs_in_credentials(running, plan) {
            return false;
        }
        match Trial::begin(&self.name, plan, client_id, environment()) {
            Ok(trial) => self.trial = Some(trial),
            Err(_) => return false,
        }
        true
    }

    pub(crate) const fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Returns how new credentials stand, while they are tried.
    pub(crate) fn trial_standing(&self) -> Option<String> {
        self.trial.as_ref().map(Trial::standing)
    }

    /// Ends the connection. What waits in the outbox stays there.
    ///
    /// What is in flight may finish for at most `within`.
    pub(crate) async fn stop(&mut self, within: Duration) {
        (self.trial, self.running) = (None, None);
        self.line.set_reach(None);
        self.line.listeners().disconnect();
        self.wiring.end_local();
        self.line.note(History::end);
        let Some(link) = self.link.take() else { return };
        self.backlog = link.stop(&self.name, within).await;
        if self.backlog.is_none() {
            error!(connector = %self.name, "The pump of an outbox has failed; it starts anew.");
            self.backlog = self.keeping.open_again().await;
        }
    }

    /// Says loudly, each time it starts, that anyone may pose as the broker.
    fn say_what_is_not_checked(&self, plan: &MqttPlan) {
        let is_encrypted = plan.addresses.iter().any(|address| address.transport.is_secure());
        if is_encrypted && plan.tls.verify == Verify::None {
            warn!(
                connector = %self.name,
                next_step = "name the broker's authority in tls.ca and remove tls.verify",
                "The broker's certificate is not checked (tls.verify = \"none\"): whoever is on the way can read and change everything."
            );
        }
    }

    fn start(&mut self, end: End, source: Source, target: Target, restored: Vec<Restored>) {
        let Some(backlog) = self.backlog.take() else { return };
        let (stop, stopped) = oneshot::channel();
        let (routes, listeners) = (self.wiring.routes(), self.line.listeners().clone());
        let intake = intake::run(source, routes, listeners, self.surroundings.clone(), stopped);
        let intake = Task { stop, task: tokio::spawn(intake) };
        let (stop, stopped) = oneshot::channel();
        let pump = Task { stop, task: tokio::spawn(backlog.pump(target, restored, stopped)) };
        self.link = Some(Link { end, intake, pump });
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.line.listeners().end();
    }
}

impl Link {
    /// Stops reading, then sending; returns what the pump leaves.
    async fn stop(self, name: &str, within: Duration) -> Option<Backlog> {
        // First the reading side: what it has taken is on its way to the disk and still acknowledged.
        self.intake.stop().await;
        // The pump ends when the client has told every outcome, and the client when its deliveries are decided.
        tokio::join!(self.pump.stop(), self.end.close(name, within)).0
    }
}

impl End {
    async fn close(self, name: &str, within: Duration) {
        let Self::Remote { client, close, session, mut tasks } = self else { return };
        let is_connected = client.state().borrow().is_connected();
        let left = match close {
            Some(close) if is_connected => say_goodbye(name, &client, &close, within).await,
            // Nothing finishes without a connection.
            _ => client.close(if is_connected { within } else { Duration::ZERO }).await,
        };
        if left.unconfirmed > 0 {
            info!(connector = name, messages = left.unconfirmed, "Messages were not confirmed in time.");
        }
        while tasks.join_next().await.is_some() {}
        if let Some(session) = session {
            session.flush().await;
        }
    }
}

/// Publishes the close message behind everything else, then closes.
async fn say_goodbye(name: &str, client: &Client, close: &Announcement, within: Duration) -> Left {
    let topic = close.topic.as_str();
    match connect::publication(close) {
        Ok(publication) => {
            let (left, outcome) = client.close_with(publication, within).await;
            if let Err(error) = outcome {
                warn!(connector = name, topic, %error, "The close message was not confirmed.");
            }
            left
        }
        Err(error) => {
            warn!(connector = name, topic, %error, "The close message cannot be sent.");
            client.close(within).await
        }
    }
}
