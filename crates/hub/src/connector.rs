//! A connector that runs: its client, the intake that reads from it and the pump that writes to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::{BrokerHandle, LocalClient, LocalOptions};
use crosspoint_client::{
    Client, Publication, QoS, ReasonCode, RetainHandling, State, SubscribedFilter, SubscriptionOptions, TopicFilter,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::plan::{Announcement, MqttPlan};
use crate::connect;
use crate::flow::Flows;
use crate::intake::{self, Routes, Source};
use crate::outbox::{Backlog, Outbox, OutboxFigures, Target, outbox};

/// A connector of the project: its outbox lives as long as it is in the project, its link as long as its settings.
#[derive(Debug)]
pub(crate) struct Connector {
    name: Arc<str>,
    outbox: Outbox,
    /// The outbox's other end, while no link has it.
    backlog: Option<Backlog>,
    routes: watch::Sender<Arc<Routes>>,
    link: Option<Link>,
}

/// What one set of settings started.
#[derive(Debug)]
struct Link {
    client: LinkClient,
    subscribed: Vec<Wanted>,
    intake: Task<()>,
    pump: Task<Backlog>,
    reporter: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
enum LinkClient {
    Remote(Client),
    Local(Arc<LocalClient>),
}

/// A filter, the QoS at which it is wanted, and whether our own messages are left out.
type Wanted = (TopicFilter, QoS, bool);

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
        let (outbox, backlog) = outbox();
        let routes = watch::Sender::new(Arc::<Routes>::default());
        Self { name: name.into(), outbox, backlog: Some(backlog), routes, link: None }
    }

    pub(crate) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    pub(crate) fn figures(&self) -> OutboxFigures {
        self.outbox.figures()
    }

    /// Returns what the connection of a remote connector is doing; `None` while it does not run, or is local.
    pub(crate) fn state(&self) -> Option<State> {
        match &self.link.as_ref()?.client {
            LinkClient::Remote(client) => Some(client.state().borrow().clone()),
            LinkClient::Local(_) => None,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.link.is_some()
    }

    /// Connects to a remote broker. The routes must be set before.
    pub(crate) fn start_remote(&mut self, plan: &MqttPlan, client_id: &str) -> Result<(), String> {
        let subscribed = self.routes.borrow().flows.subscriptions();
        let mut options = connect::client_options(plan, client_id);
        for wanted in &subscribed {
            options = options.subscribe(wanted.0.clone(), options_of(wanted));
        }
        let (client, deliveries) = Client::start(options).map_err(|error| error.to_string())?;
        let reporter = tokio::spawn(report(self.name.clone(), client.clone(), plan.birth.clone()));
        self.start(LinkClient::Remote(client), Source::Remote(deliveries), subscribed, Some(reporter));
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
        self.start(LinkClient::Local(client.clone()), Source::Local(client), subscribed, None);
        Ok(())
    }

    /// Replaces what the flows do, without touching the connection.
    pub(crate) async fn set_routes(&mut self, flows: Flows, outboxes: BTreeMap<Arc<str>, Outbox>) {
        let wanted = flows.subscriptions();
        self.routes.send_replace(Arc::new(Routes { flows, outboxes }));
        let Some(link) = &mut self.link else { return };
        let gone: Vec<TopicFilter> = link
            .subscribed
            .iter()
            .filter(|(filter, ..)| !wanted.iter().any(|(kept, ..)| kept == filter))
            .map(|(filter, ..)| filter.clone())
            .collect();
        let new: Vec<Wanted> = wanted.iter().filter(|wanted| !link.subscribed.contains(wanted)).cloned().collect();
        link.subscribed = wanted;
        match link.client.clone() {
            LinkClient::Local(client) => {
                for filter in &gone {
                    client.unsubscribe(filter);
                }
                new.iter().for_each(|wanted| client.subscribe(&wanted.0, options_of(wanted), 0));
            }
            LinkClient::Remote(client) => resubscribe(&self.name, client, gone, new),
        }
    }

    /// Ends the connection and keeps what waits in the outbox.
    pub(crate) async fn stop(&mut self, within: Duration) {
        let Some(link) = self.link.take() else { return };
        // First the reading side: what it has taken and not passed on goes back to its source.
        link.intake.stop().await;
        if let LinkClient::Remote(client) = &link.client {
            let left = client.close(within).await;
            if left.unconfirmed > 0 {
                info!(connector = %self.name, messages = left.unconfirmed, "Messages were not confirmed in time.");
            }
        }
        if let Some(reporter) = link.reporter {
            // It has ended with the client's last state.
            reporter.await.unwrap_or_default();
        }
        self.backlog = link.pump.stop().await;
        if self.backlog.is_none() {
            let (outbox, backlog) = outbox();
            error!(connector = %self.name, "The pump of an outbox has failed; it starts anew.");
            (self.outbox, self.backlog) = (outbox, Some(backlog));
        }
    }

    fn start(
        &mut self,
        client: LinkClient,
        source: Source,
        subscribed: Vec<Wanted>,
        reporter: Option<JoinHandle<()>>,
    ) {
        let Some(backlog) = self.backlog.take() else { return };
        let target = match &client {
            LinkClient::Remote(client) => Target::Remote(client.clone()),
            LinkClient::Local(client) => Target::Local(client.clone()),
        };
        let (stop, stopped) = oneshot::channel();
        let intake = Task { stop, task: tokio::spawn(intake::run(source, self.routes.subscribe(), stopped)) };
        let (stop, stopped) = oneshot::channel();
        let pump = Task { stop, task: tokio::spawn(backlog.pump(self.name.clone(), target, stopped)) };
        self.link = Some(Link { client, subscribed, intake, pump, reporter });
    }
}

fn options_of(wanted: &Wanted) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: wanted.1,
        no_local: wanted.2,
        retain_as_published: true,
        retain_handling: RetainHandling::Send,
    }
}

/// Changes the subscriptions of a client as soon as its broker answers, however late that is: the client remembers
/// them at once.
fn resubscribe(name: &Arc<str>, client: Client, gone: Vec<TopicFilter>, new: Vec<Wanted>) {
    let name = name.clone();
    let filters: Vec<SubscribedFilter> = new
        .iter()
        .map(|wanted| SubscribedFilter { filter: wanted.0.clone(), options: options_of(wanted) })
        .collect();
    // It ends by itself: with the broker's answer, or with the client.
    tokio::spawn(async move {
        if !gone.is_empty() {
            client.unsubscribe(gone).await.map(drop).unwrap_or_default();
        }
        if filters.is_empty() {
            return;
        }
        let reasons = client.subscribe(filters.clone()).await.unwrap_or_default();
        report_refused(&name, &filters, &reasons);
    });
}

fn report_refused(connector: &str, filters: &[SubscribedFilter], reasons: &[ReasonCode]) {
    for (filter, reason) in filters.iter().zip(reasons).filter(|(_, reason)| reason.is_error()) {
        warn!(connector, filter = filter.filter.as_str(), %reason, "The broker refused a subscription.");
    }
}

/// Logs each change of a connection, one line each, and publishes the birth message after each connect.
async fn report(connector: Arc<str>, client: Client, birth: Option<Announcement>) {
    let mut states = client.state();
    let mut last = String::new();
    loop {
        let state = states.borrow_and_update().clone();
        match &state {
            State::Connected(connected) => {
                info!(
                    connector = %connector, server = %connected.server, version = %connected.version,
                    session_present = connected.session_present, "Connected."
                );
                last.clear();
                if let Some(birth) = &birth {
                    announce(&client, birth);
                }
            }
            State::BackingOff { cause, .. } | State::Refused { cause, .. } => {
                // The same cause again and again is one thing worth knowing.
                let cause_text = cause.to_string();
                if cause_text != last {
                    warn!(connector = %connector, cause = %cause_text, mend = %cause.next_step(), "Not connected.");
                    last = cause_text;
                }
            }
            State::Stopped(_) => return,
            _ => {}
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

fn announce(client: &Client, birth: &Announcement) {
    let publication = Publication::to_topic(birth.topic.clone(), birth.payload.clone());
    let publication = publication.qos(birth.qos).retain(birth.retain);
    if client.try_publish(publication).is_err() {
        warn!(topic = birth.topic.as_str(), "The birth message could not be sent: too many messages wait.");
    }
}
