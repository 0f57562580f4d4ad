//! What others see of a connector while it lives, and the connection that they may use.

use std::fmt;
use std::sync::Arc;

use crosspoint_client::{Client, ReasonCode, SubscriptionStatus};
use crosspoint_protocol::Now;
use parking_lot::Mutex;

use super::history::History;
use super::state::{Condition, ConnectorState};
use super::wiring::Wiring;
use crate::diagnosis::{Diagnosis, Fault};
use crate::environment::Clock;
use crate::listeners::Listeners;
use crate::outbox::Outbox;

/// A connector as seen from outside: shared, and good as long as the connector lives. Its locks are leaves.
pub(crate) struct Line {
    name: Arc<str>,
    clock: Clock,
    history: Mutex<History>,
    reach: Mutex<Option<Reach>>,
    wiring: Arc<Wiring>,
}

/// Our end of the connection, while there is one.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// A remote broker, by the connector's own client.
    Remote(Client),
    /// The embedded broker.
    Local,
}

impl Line {
    pub(super) fn new(name: Arc<str>, clock: Clock, wiring: Arc<Wiring>) -> Self {
        let history = Mutex::new(History::new(clock()));
        Self { name, clock, history, reach: Mutex::default(), wiring }
    }

    pub(super) fn set_reach(&self, reach: Option<Reach>) {
        *self.reach.lock() = reach;
    }

    /// Changes the history and returns what comes of it.
    pub(super) fn note<T>(&self, change: impl FnOnce(&mut History, Now) -> T) -> T {
        let now = (self.clock)();
        change(&mut self.history.lock(), now)
    }

    /// Returns our end of the connection, while the connector runs.
    pub(crate) fn reach(&self) -> Option<Reach> {
        self.reach.lock().clone()
    }

    /// Returns who listens on the connection, and what it subscribes to.
    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        self.wiring.listeners()
    }

    /// Returns what it subscribes to for flows and kept subscriptions.
    pub(crate) const fn wiring(&self) -> &Arc<Wiring> {
        &self.wiring
    }

    /// Tells whether a flow that reads from this connector was stopped because it is part of a loop.
    pub(crate) fn is_flow_stopped(&self, flow: &str) -> bool {
        self.wiring.routes().borrow().flows.is_stopped(flow)
    }

    /// Returns what the connector is doing.
    pub(crate) fn state(&self, outbox: &Outbox) -> ConnectorState {
        let state = self.note(|history, now| history.state(now));
        if state.condition != Condition::Connected {
            return state;
        }
        let refused = || self.refused_subscription().or_else(|| self.lowered_subscription());
        match refused().or_else(|| self.full_outbox(outbox)) {
            Some(trouble) => {
                ConnectorState { condition: Condition::Degraded, trouble: Some(trouble), ..state }
            }
            None => state,
        }
    }

    fn refused_subscription(&self) -> Option<Diagnosis> {
        let Some(Reach::Remote(client)) = self.reach() else { return None };
        let subscriptions = client.subscriptions();
        let refused = |status: &&SubscriptionStatus| status.granted.is_some_and(|reason| reason.is_error());
        let first = subscriptions.iter().find(refused)?;
        let others = match subscriptions.iter().filter(refused).count() - 1 {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        let reason = first.granted.map(|reason| format!(": {reason}")).unwrap_or_default();
        let cause = format!("the broker refuses the subscription to {}{reason}{others}", first.filter);
        Some(Diagnosis::new(
            Fault::SubscribeDenied,
            cause,
            "check what the broker allows this user and client id to subscribe to",
        ))
    }

    fn lowered_subscription(&self) -> Option<Diagnosis> {
        let Some(Reach::Remote(client)) = self.reach() else { return None };
        let subscriptions = client.subscriptions();
        let lowered = |status: &&SubscriptionStatus| {
            status.granted.is_some_and(|reason| {
                !reason.is_error() && reason.byte() < ReasonCode::granted(status.options.qos).byte()
            })
        };
        let SubscriptionStatus { filter, options, granted, .. } = subscriptions.iter().find(lowered)?;
        let (asked, given) = (options.qos.bits(), granted.map_or(0, ReasonCode::byte));
        let cause = format!("the broker gives {filter} at QoS {given}, and {asked} is asked for");
        let next_step = format!("write qos = {given} in `from` of its flow, or raise what the broker allows");
        Some(Diagnosis::new(Fault::QosLowered, cause, next_step))
    }

    fn full_outbox(&self, outbox: &Outbox) -> Option<Diagnosis> {
        let flow = outbox.blocked_by()?;
        let name = &self.name;
        let cause = format!("its outbox is full, and flow {flow} waits for room");
        let next_step = format!(
            "see what waits with `crosspoint outbox show {name}`, or raise the limits of [connector.{name}.outbox]"
        );
        Some(Diagnosis::new(Fault::OurSide, cause, next_step))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("name", &self.name).finish_non_exhaustive()
    }
}
