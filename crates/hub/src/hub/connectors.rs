//! The connectors of a hub, and how they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::info;

use super::{Hub, HubError, RECONNECT_WITHIN, remote};
use crate::config::plan::{ConnectorPlan, Durability, MqttPlan, OutboxPlan, Plan, SessionKind};
use crate::config::{Changes, ConnectorChange};
use crate::connect;
use crate::connector::{Connector, Keeping};
use crate::durable::{self, outbox_queue};
use crate::flow::Flows;
use crate::intake::Sink;

impl Hub {
    /// Opens the outboxes of connectors that were not there before.
    pub(super) async fn open_outboxes(&self, plan: &Plan) -> Result<Vec<Connector>, HubError> {
        let storage = &self.surroundings.storage;
        let turn = storage.numbering().await;
        let numbers = durable::assign(storage.store(), plan.connectors.keys().map(String::as_str)).await;
        drop(turn);
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
            let (surroundings, kept) = (self.surroundings.clone(), self.kept.clone());
            opened.push(Connector::new(name, keeping, backlog, surroundings, kept));
        }
        Ok(opened)
    }

    pub(super) async fn apply_connectors(&mut self, plan: &Plan, changes: &Changes, new: Vec<Connector>) {
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

    pub(super) fn left_behind_by(&self, plan: &Plan) -> BTreeMap<String, u64> {
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
        for (name, connector) in &self.connectors {
            connector.set_routes(Flows::of_plan(plan, name), sinks.clone());
        }
    }

    /// Starts every enabled connector that does not run, and tells the others of a twin that has come or gone. One that cannot start does not keep the others from it.
    pub(super) async fn start_connectors(&mut self, plan: &Plan) -> Result<(), HubError> {
        let mut result = Ok(());
        for (name, connector) in &mut self.connectors {
            if connector.is_running() {
                connector.set_twin(twin(plan, name, |name| self.data.client_id(name)));
            }
            if !plan.is_enabled(name) || connector.is_running() {
                continue;
            }
            let started = match (plan.connectors.get(name), &self.broker) {
                (Some(ConnectorPlan::Mqtt(mqtt)), _) => {
                    let twin = twin(plan, name, |name| self.data.client_id(name));
                    let made_up = self.data.client_id(name);
                    connector.start_remote(mqtt, &made_up, twin, &self.environment).await
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

/// Returns a connector with the same client identifier as this one at the same broker: they would end each other's
/// connection. `made_up` makes the identifier of one that has none written.
pub(super) fn twin(plan: &Plan, name: &str, made_up: impl Fn(&str) -> String) -> Option<String> {
    let id_of = |name: &str, mqtt: &MqttPlan| connect::client_id(mqtt, &made_up(name));
    let (_, ours) = remote(plan).find(|(other, _)| *other == name)?;
    let mut others = remote(plan).filter(|(other, mqtt)| *other != name && mqtt.enabled);
    let twin =
        others.find(|(other, mqtt)| id_of(other, mqtt) == id_of(name, ours) && is_same_broker(mqtt, ours));
    twin.map(|(name, _)| name.to_owned())
}

fn is_same_broker(a: &MqttPlan, b: &MqttPlan) -> bool {
    a.addresses.iter().any(|a| b.addresses.iter().any(|b| (&a.host, a.port) == (&b.host, b.port)))
}

/// Returns when a message for a connector counts as kept, and what may wait for it.
fn kept_as(plan: &ConnectorPlan) -> (Durability, Arc<OutboxPlan>) {
    match plan {
        ConnectorPlan::Mqtt(mqtt) => (mqtt.durability, Arc::new(mqtt.outbox.clone())),
        ConnectorPlan::Local => (Durability::Synced, Arc::new(OutboxPlan::default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn a_connector_that_writes_the_made_up_identifier_of_another_is_its_twin_at_one_broker() {
        let connector = |name, port, more| format!("[connector.{name}]\nurl = \"mqtt://h:{port}\"\n{more}");
        let copied = "client_id = \"east-0123456789\"\n";
        let text = |port| [connector("east", 1, ""), connector("west", port, copied)].concat();
        let made_up = |name: &str| format!("{name}-0123456789");
        assert_eq!(twin(&plan(&text(1)), "east", made_up).as_deref(), Some("west"));
        assert_eq!(twin(&plan(&text(1)), "west", made_up).as_deref(), Some("east"));
        assert_eq!(twin(&plan(&text(2)), "east", made_up), None, "another broker");
    }
}
