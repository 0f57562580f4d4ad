//! A connector that runs: its client, the intake that reads from it and the pump that writes to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::{BrokerHandle, LocalClient, LocalOptions};
use crosspoint_client::{Client, Environment, MemoryStore, State};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{Instrument, error, error_span, info};

use crate::config::plan::{MqttPlan, SessionKind};
use crate::connect;
use crate::flow::Flows;
use crate::intake::{self, Routes, Source};
use crate::outbox::{Backlog, IN_FLIGHT_MAX, Outbox, OutboxFigures, Target, outbox};
use crate::receipt::Returned;

mod reporter;
mod subscriber;

use subscriber::{Wanted, options_of};

/// A connector of the project: its outbox lives as long as it is in the project, its link as long as its settings.
#[derive(Debug)]
pub(crate) struct Connector {
    name: Arc<str>,
    outbox: Outbox,
    /// The outbox's other end, while no link has it.
    backlog: Option<Backlog>,
    routes: watch::Sender<Arc<Routes>>,
    /// What the embedded broker gave and nobody accepted.
    returned: Arc<Returned>,
    /// What the last link had subscribed, in a session that the broker keeps.
    left_subscribed: Vec<Wanted>,
    link: Option<Link>,
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
        session: SessionKind,
        wanted: watch::Sender<Vec<Wanted>>,
        /// The client's engine, and what reports on it and subscribes for it. They end with the client.
        tasks: JoinSet<()>,
    },
    Local {
        client: Arc<LocalClient>,
        subscribed: Vec<Wanted>,
    },
}

/// A task that is told to stop and then joined.
#[derive(Debug)]
struct Task<T> {
    stop: oneshot::Sender<()>,
    task: JoinHandle<T>,
}

impl<T> Task<T> {
    /// Stops the task and returns what it leaves, or `None` if it has panicked.
    async fn stop(self) -> Option<T> {
        // One that has ended by itself does not listen any more, and has left what it leaves.
        self.stop.send(()).unwrap_or_default();
        self.task.await.ok()
    }
}

impl Connector {
    pub(crate) fn new(name: &str) -> Self {
        let name: Arc<str> = name.into();
        let (outbox, backlog) = outbox(&name);
        Self {
            name,
            outbox,
            backlog: Some(backlog),
            routes: watch::Sender::new(Arc::<Routes>::default()),
            returned: Arc::default(),
            left_subscribed: Vec::new(),
            link: None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    pub(crate) fn figures(&self) -> OutboxFigures {
        self.outbox.figures()
    }

    /// Returns what the connection of a remote connector is doing; `None` while it does not run, or is local.
    pub(crate) fn state(&self) -> Option<State> {
        match &self.link.as_ref()?.end {
            End::Remote { client, .. } => Some(client.state().borrow().clone()),
            End::Local { .. } => None,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.link.is_some()
    }

    /// Connects to a remote broker. The routes must be set before.
    pub(crate) fn start_remote(
        &mut self,
        plan: &MqttPlan,
        client_id: &str,
        environment: Environment,
    ) -> Result<(), String> {
        let subscribed = self.routes.borrow().flows.subscriptions();
        // Its queue has room for everything that the pump may have in flight, and for a birth message.
        let mut options = connect::client_options(plan, client_id).publish_queue_max(IN_FLIGHT_MAX + 1);
        for wanted in &subscribed {
            options = options.subscribe(wanted.0.clone(), options_of(wanted));
        }
        let (client, deliveries, engine) =
            Client::new(options, Box::new(MemoryStore), environment).map_err(|error| error.to_string())?;
        let mut tasks = JoinSet::new();
        // What the client says for itself bears the connector's name.
        tasks.spawn(engine.run().instrument(error_span!("connector", name = &*self.name)));
        tasks.spawn(reporter::run(self.name.clone(), client.clone(), plan.birth.clone()));
        let mut at_broker = std::mem::take(&mut self.left_subscribed);
        at_broker.retain(|left| !subscribed.iter().any(|wanted| wanted.0 == left.0));
        at_broker.extend(subscribed.iter().cloned());
        let wanted = watch::Sender::new(subscribed);
        tasks.spawn(subscriber::run(client.clone(), wanted.subscribe(), at_broker));
        let target = Target::Remote(client.clone());
        let end = End::Remote { client, session: plan.session, wanted, tasks };
        self.start(end, Source::Remote(deliveries), target);
        Ok(())
    }

    /// Connects to the embedded broker.
    pub(crate) async fn start_local(&mut self, broker: &BrokerHandle) -> Result<(), String> {
        let options = LocalOptions::new(format!("$hub/{}", self.name));
        let client = Arc::new(broker.connect_local(options).await.map_err(|error| error.to_string())?);
        let subscribed = self.routes.borrow().flows.subscriptions();
        for wanted in &subscribed {
            client.subscribe(&wanted.0, options_of(wanted), 0);
        }
        let (source, target) =
            (Source::Local(client.clone(), self.returned.clone()), Target::Local(client.clone()));
        self.start(End::Local { client, subscribed }, source, target);
        Ok(())
    }

    /// Replaces what the flows do, without touching the connection.
    pub(crate) fn set_routes(&mut self, flows: Flows, outboxes: BTreeMap<Arc<str>, Outbox>) {
        let now_wanted = flows.subscriptions();
        self.routes.send_replace(Arc::new(Routes { flows, outboxes }));
        match self.link.as_mut().map(|link| &mut link.end) {
            Some(End::Remote { wanted, .. }) => drop(wanted.send_replace(now_wanted)),
            Some(End::Local { client, subscribed }) => {
                let (gone, new) = subscriber::difference(subscribed, &now_wanted);
                for filter in &gone {
                    client.unsubscribe(filter);
                }
                new.iter().for_each(|wanted| client.subscribe(&wanted.0, options_of(wanted), 0));
                *subscribed = now_wanted;
            }
            None => {}
        }
    }

    /// Ends the connection and keeps what waits in the outbox.
    ///
    /// What is in flight may finish for at most `within`.
    pub(crate) async fn stop(&mut self, within: Duration) {
        let Some(link) = self.link.take() else { return };
        if let End::Remote { session: SessionKind::Durable, wanted, .. } = &link.end {
            self.left_subscribed = wanted.borrow().clone();
        }
        self.backlog = link.stop(&self.name, within, |backlog| backlog).await;
        if self.backlog.is_none() {
            error!(connector = %self.name, "The pump of an outbox has failed; it starts anew.");
            let (outbox, backlog) = outbox(&self.name);
            (self.outbox, self.backlog) = (outbox, Some(backlog));
        }
    }

    /// Ends the connection for good. What waits in the outbox goes back to its source at once, so that the source
    /// need not wait for it.
    pub(crate) async fn finish(mut self, within: Duration) {
        drop(self.backlog.take());
        if let Some(link) = self.link.take() {
            link.stop(&self.name, within, drop).await;
        }
    }

    fn start(&mut self, end: End, source: Source, target: Target) {
        let Some(backlog) = self.backlog.take() else { return };
        let (stop, stopped) = oneshot::channel();
        let intake = Task { stop, task: tokio::spawn(intake::run(source, self.routes.subscribe(), stopped)) };
        let (stop, stopped) = oneshot::channel();
        let pump = Task { stop, task: tokio::spawn(backlog.pump(target, stopped)) };
        self.link = Some(Link { end, intake, pump });
    }
}

impl Link {
    /// Stops reading, then sending; `then` gets what the pump leaves, as soon as that is known.
    async fn stop<T>(self, name: &str, within: Duration, then: impl FnOnce(Option<Backlog>) -> T) -> T {
        // First the reading side: what it has taken and not passed on goes back to its source.
        self.intake.stop().await;
        // The pump ends when the client has told every outcome, and the client when its deliveries are decided.
        let pump = async { then(self.pump.stop().await) };
        tokio::join!(pump, self.end.close(name, within)).0
    }
}

impl End {
    async fn close(self, name: &str, within: Duration) {
        let Self::Remote { client, wanted, mut tasks, .. } = self else { return };
        // Nothing finishes without a connection.
        let within = if client.state().borrow().is_connected() { within } else { Duration::ZERO };
        let left = client.close(within).await;
        if left.unconfirmed > 0 {
            info!(connector = name, messages = left.unconfirmed, "Messages were not confirmed in time.");
        }
        drop(wanted);
        while tasks.join_next().await.is_some() {}
    }
}
