//! What a new plan changes in what runs: the plan that `check` prints before anything happens.

use std::collections::BTreeMap;
use std::fmt;

use super::plan::{BrokerPlan, ConnectorPlan, FlowPlan, ListenerPlan, Plan};

/// What happens to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorChange {
    /// It connects.
    Start,
    /// It disconnects and is gone.
    Stop,
    /// It disconnects and connects with other settings.
    Reconnect,
    /// Nothing.
    Unchanged,
}

/// What happens to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowChange {
    /// It begins.
    Start,
    /// It ends.
    Stop,
    /// It goes on with other settings; its connectors stay connected.
    Change,
    /// Nothing.
    Unchanged,
}

/// What happens to a listener of the embedded broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerChange {
    /// It opens.
    Start,
    /// It closes, and its clients with it.
    Stop,
    /// It closes and opens with other settings.
    Restart,
    /// It stays open, and new connections get other certificates.
    Renew,
    /// Nothing.
    Unchanged,
}

/// Everything that a new plan changes, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Every connector of the old and the new plan.
    pub connectors: BTreeMap<String, ConnectorChange>,
    /// Every flow of the old and the new plan.
    pub flows: BTreeMap<String, FlowChange>,
    /// Every listener of the old and the new plan.
    pub listeners: BTreeMap<String, ListenerChange>,
    /// Whether the users of a running broker or their rules change, or who needs to be one.
    pub users: bool,
    /// Whether the limits of a running broker change.
    pub limits: bool,
}

/// Compares what runs with what shall run.
///
/// Disabled connectors and the flows that need them count as not there. Only what differs is touched: a change of a
/// flow reconnects nothing unless the session of its connector changes kind with it.
pub fn diff(old: &Plan, new: &Plan) -> Changes {
    Changes {
        connectors: compare(&running_connectors(old), &running_connectors(new), CONNECTOR, PartialEq::eq),
        flows: compare(&running_flows(old), &running_flows(new), FLOW, PartialEq::eq),
        listeners: compare_listeners(&listeners(old), &listeners(new)),
        users: differs(old, new, |broker| &broker.users)
            || differs(old, new, |broker| &broker.anonymous_rules)
            || anonymous(old, new),
        limits: differs(old, new, |broker| &broker.limits),
    }
}

/// Start, stop, change and leave, in the words of one kind of thing.
type Words<C> = [C; 4];

const CONNECTOR: Words<ConnectorChange> = {
    use ConnectorChange::{Reconnect, Start, Stop, Unchanged};
    [Start, Stop, Reconnect, Unchanged]
};
const FLOW: Words<FlowChange> = {
    use FlowChange::{Change, Start, Stop, Unchanged};
    [Start, Stop, Change, Unchanged]
};
const LISTENER: Words<ListenerChange> = {
    use ListenerChange::{Restart, Start, Stop, Unchanged};
    [Start, Stop, Restart, Unchanged]
};

type ByName<'a, T> = BTreeMap<&'a str, &'a T>;

fn compare<T, C: Copy>(
    old: &ByName<'_, T>,
    new: &ByName<'_, T>,
    words: Words<C>,
    is_same: impl Fn(&T, &T) -> bool,
) -> BTreeMap<String, C> {
    let [start, stop, change, leave] = words;
    let names = old.keys().chain(new.keys());
    let changes = names.map(|name| match (old.get(name), new.get(name)) {
        (None, _) => ((*name).to_owned(), start),
        (_, None) => ((*name).to_owned(), stop),
        (Some(old), Some(new)) if is_same(old, new) => ((*name).to_owned(), leave),
        _ => ((*name).to_owned(), change),
    });
    changes.collect()
}

fn compare_listeners(
    old: &ByName<'_, ListenerPlan>,
    new: &ByName<'_, ListenerPlan>,
) -> BTreeMap<String, ListenerChange> {
    let mut changes = compare(old, new, LISTENER, ListenerPlan::is_same_place);
    for (name, change) in &mut changes {
        if let (Some(old), Some(new)) = (old.get(name.as_str()), new.get(name.as_str()))
            && new.renews(old)
        {
            *change = ListenerChange::Renew;
        }
    }
    changes
}

fn differs<T: PartialEq>(old: &Plan, new: &Plan, part: impl Fn(&BrokerPlan) -> &T) -> bool {
    match (&old.broker, &new.broker) {
        (Some(old), Some(new)) => part(old) != part(new),
        _ => false,
    }
}

fn running_connectors(plan: &Plan) -> ByName<'_, ConnectorPlan> {
    let enabled = plan.connectors.iter().filter(|(name, _)| plan.is_enabled(name));
    enabled.map(|(name, connector)| (name.as_str(), connector)).collect()
}

fn running_flows(plan: &Plan) -> ByName<'_, FlowPlan> {
    let runnable = plan.flows.iter().filter(|(_, flow)| plan.is_runnable(flow));
    runnable.map(|(name, flow)| (name.as_str(), flow)).collect()
}

/// Tells whether a listener that stays lets anonymous clients in that it did not, or the other way round.
fn anonymous(old: &Plan, new: &Plan) -> bool {
    let (old, new) = (listeners(old), listeners(new));
    old.iter().any(|(name, old)| new.get(name).is_some_and(|new| old.anonymous != new.anonymous))
}

fn listeners(plan: &Plan) -> ByName<'_, ListenerPlan> {
    let listeners = plan.broker.iter().flat_map(|broker| &broker.listeners);
    listeners.map(|(name, listener)| (name.as_str(), listener)).collect()
}

impl Changes {
    /// Tells whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.to_string().is_empty()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, change) in &self.connectors {
            let word = match change {
                ConnectorChange::Start => "+ start    ",
                ConnectorChange::Stop => "- stop     ",
                ConnectorChange::Reconnect => "~ reconnect",
                ConnectorChange::Unchanged => continue,
            };
            writeln!(f, "{word} connector {name}")?;
        }
        for (name, change) in &self.flows {
            let word = match change {
                FlowChange::Start => "+ start    ",
                FlowChange::Stop => "- stop     ",
                FlowChange::Change => "~ change   ",
                FlowChange::Unchanged => continue,
            };
            writeln!(f, "{word} flow {name}")?;
        }
        for (name, change) in &self.listeners {
            let word = match change {
                ListenerChange::Start => "+ open     ",
                ListenerChange::Stop => "- close    ",
                ListenerChange::Restart => "~ reopen   ",
                ListenerChange::Renew => "~ renew    ",
                ListenerChange::Unchanged => continue,
            };
            writeln!(f, "{word} listener {name}")?;
        }
        let whole = [(self.users, "users of the broker"), (self.limits, "limits of the broker")];
        for (_, what) in whole.iter().filter(|(changed, _)| *changed) {
            writeln!(f, "~ change    {what}")?;
        }
        Ok(())
    }
}
