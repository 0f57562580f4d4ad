//! What a new plan changes in what runs: the plan that `check` prints before anything happens.

use std::collections::BTreeMap;
use std::fmt;

use super::plan::{ConnectorPlan, Plan};

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
    /// Whether users or their rules changed.
    pub users: bool,
    /// Whether the limits of the broker changed.
    pub limits: bool,
    /// Whether the console changed.
    pub console: bool,
}

/// Compares what runs with what shall run.
///
/// Disabled connectors and the flows that need them count as not there. Only what differs is touched: a change of a
/// flow reconnects nothing unless the session of its connector changes kind with it.
pub fn diff(old: &Plan, new: &Plan) -> Changes {
    let broker = |plan: &Plan| plan.broker.clone();
    let (old_broker, new_broker) = (broker(old), broker(new));
    let listeners = |broker: &Option<super::plan::BrokerPlan>| {
        broker.as_ref().map(|broker| broker.listeners.clone()).unwrap_or_default()
    };
    Changes {
        connectors: compare(&running_connectors(old), &running_connectors(new), |old, new| {
            match (old, new) {
                (None, _) => ConnectorChange::Start,
                (_, None) => ConnectorChange::Stop,
                (Some(old), Some(new)) if old == new => ConnectorChange::Unchanged,
                _ => ConnectorChange::Reconnect,
            }
        }),
        flows: compare(&running_flows(old), &running_flows(new), |old, new| match (old, new) {
            (None, _) => FlowChange::Start,
            (_, None) => FlowChange::Stop,
            (Some(old), Some(new)) if old == new => FlowChange::Unchanged,
            _ => FlowChange::Change,
        }),
        listeners: compare(&listeners(&old_broker), &listeners(&new_broker), |old, new| match (old, new) {
            (None, _) => ListenerChange::Start,
            (_, None) => ListenerChange::Stop,
            (Some(old), Some(new)) if old == new => ListenerChange::Unchanged,
            _ => ListenerChange::Restart,
        }),
        users: old_broker.as_ref().map(|broker| &broker.users)
            != new_broker.as_ref().map(|broker| &broker.users),
        limits: old_broker.as_ref().map(|broker| &broker.limits)
            != new_broker.as_ref().map(|broker| &broker.limits),
        console: old.console != new.console,
    }
}

fn running_connectors(plan: &Plan) -> BTreeMap<String, ConnectorPlan> {
    let enabled = plan.connectors.iter().filter(|(name, _)| plan.is_enabled(name));
    enabled.map(|(name, connector)| (name.clone(), connector.clone())).collect()
}

fn running_flows(plan: &Plan) -> BTreeMap<String, super::plan::FlowPlan> {
    let runnable = plan.flows.iter().filter(|(_, flow)| plan.is_runnable(flow));
    runnable.map(|(name, flow)| (name.clone(), flow.clone())).collect()
}

fn compare<T, C>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    change: impl Fn(Option<&T>, Option<&T>) -> C,
) -> BTreeMap<String, C> {
    let names = old.keys().chain(new.keys());
    names.map(|name| (name.clone(), change(old.get(name), new.get(name)))).collect()
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
                ConnectorChange::Start => "+ start     ",
                ConnectorChange::Stop => "- stop      ",
                ConnectorChange::Reconnect => "~ reconnect ",
                ConnectorChange::Unchanged => continue,
            };
            writeln!(f, "{word} connector {name}")?;
        }
        for (name, change) in &self.flows {
            let word = match change {
                FlowChange::Start => "+ start     ",
                FlowChange::Stop => "- stop      ",
                FlowChange::Change => "~ change    ",
                FlowChange::Unchanged => continue,
            };
            writeln!(f, "{word} flow {name}")?;
        }
        for (name, change) in &self.listeners {
            let word = match change {
                ListenerChange::Start => "+ open      ",
                ListenerChange::Stop => "- close     ",
                ListenerChange::Restart => "~ reopen    ",
                ListenerChange::Unchanged => continue,
            };
            writeln!(f, "{word} listener {name}")?;
        }
        let whole = [(self.users, "users"), (self.limits, "limits"), (self.console, "console")];
        for (_, what) in whole.iter().filter(|(changed, _)| *changed) {
            writeln!(f, "~ change     {what}")?;
        }
        Ok(())
    }
}
