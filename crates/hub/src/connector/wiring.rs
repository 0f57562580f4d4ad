//! What a connector subscribes to and where its messages go: for flows, which the project says, and for kept
//! subscriptions, which come and go while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crosspoint_broker::LocalClient;
use crosspoint_client::{RetainHandling, SubscriptionOptions};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::flow::Flows;
use crate::intake::{Routes, Sink};
use crate::kept::KeptSubscriptions;
use crate::listeners::{Asked, Listeners, Wanted, of_flow};

/// The wiring of one connector: shared, so that it can change while others have the hub. Its lock is held while the client
/// is asked, so that two changes reach it in their order; nothing is awaited under it.
pub(crate) struct Wiring {
    connector: Arc<str>,
    routes: watch::Sender<Arc<Routes>>,
    listeners: Arc<Listeners>,
    kept: Arc<KeptSubscriptions>,
    /// The connection to the embedded broker, while there is one.
    local: Mutex<Option<Local>>,
}

struct Local {
    client: Arc<LocalClient>,
    subscribed: Vec<Wanted>,
}

impl Wiring {
    pub(super) fn new(connector: Arc<str>, kept: Arc<KeptSubscriptions>) -> Self {
        let routes = watch::Sender::new(Arc::<Routes>::default());
        Self { connector, routes, listeners: Arc::default(), kept, local: Mutex::default() }
    }

    pub(super) fn routes(&self) -> watch::Receiver<Arc<Routes>> {
        self.routes.subscribe()
    }

    /// Returns who listens on the connection to a remote broker, and what it subscribes to.
    pub(super) const fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// Returns what is to be subscribed now.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        self.routes.borrow().subscriptions()
    }

    /// Replaces what the project says, without touching the connection.
    pub(super) fn set_flows(&self, flows: Flows, sinks: BTreeMap<Arc<str>, Sink>) {
        let local = &mut *self.local.lock();
        let kept = self.kept.routes(&self.connector);
        self.routes.send_replace(Arc::new(Routes { flows: Arc::new(flows), sinks, kept }));
        drop(self.bring(local));
    }

    /// Takes over which kept subscriptions there are now; returns what a remote broker was asked for that.
    pub(crate) fn rewire(&self) -> Option<Asked> {
        let local = &mut *self.local.lock();
        let now = self.routes.borrow().clone();
        let (flows, sinks) = (now.flows.clone(), now.sinks.clone());
        let kept = self.kept.routes(&self.connector);
        self.routes.send_replace(Arc::new(Routes { flows, sinks, kept }));
        self.bring(local)
    }

    /// Takes a connection to the embedded broker, and brings what its session has subscribed to what is wanted.
    pub(super) fn begin_local(&self, client: Arc<LocalClient>) {
        let local = &mut *self.local.lock();
        let subscribed = self.wanted();
        for filter in
            client.filters().iter().filter(|kept| !subscribed.iter().any(|wanted| wanted.0 == **kept))
        {
            client.unsubscribe(filter);
        }
        for wanted in &subscribed {
            // What is retained has been given to a Subscription that was kept.
            let retain_handling = RetainHandling::SendIfNew;
            let options = SubscriptionOptions { retain_handling, ..of_flow(wanted).options };
            client.subscribe(&wanted.0, options, 0);
        }
        *local = Some(Local { client, subscribed });
    }

    /// Forgets the connection to the embedded broker.
    pub(super) fn end_local(&self) {
        *self.local.lock() = None;
    }

    fn bring(&self, local: &mut Option<Local>) -> Option<Asked> {
        let now_wanted = self.wanted();
        let Some(Local { client, subscribed }) = local else { return self.listeners.set_flows(now_wanted) };
        let is_gone = |(filter, ..): &&Wanted| !now_wanted.iter().any(|(kept, ..)| kept == filter);
        for (filter, ..) in subscribed.iter().filter(is_gone) {
            client.unsubscribe(filter);
        }
        for wanted in now_wanted.iter().filter(|wanted| !subscribed.contains(wanted)) {
            client.subscribe(&wanted.0, of_flow(wanted).options, 0);
        }
        *subscribed = now_wanted;
        None
    }
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").field("connector", &self.connector).finish_non_exhaustive()
    }
}
