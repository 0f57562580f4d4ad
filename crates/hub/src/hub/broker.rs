//! The embedded broker of a hub, and how it changes.

use tracing::{error, warn};

use super::{Hub, HubError, RECONNECT_WITHIN};
use crate::config::plan::{ConnectorPlan, Plan};
use crate::config::{Changes, ListenerChange};
use crate::embedded::Embedded;

impl Hub {
    pub(super) async fn apply_broker(&mut self, plan: &Plan, changes: &Changes) -> Result<(), HubError> {
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
        match Embedded::start(broker, &self.environment, self.surroundings.storage.store(), &self.data).await
        {
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
        match Embedded::start(broker, &self.environment, self.surroundings.storage.store(), &self.data).await
        {
            Ok(embedded) => self.broker = Some(embedded),
            Err(error) => error!(%error, "The embedded broker that ran before does not start again."),
        }
        if let Err(error) = self.start_connectors(&plan).await {
            error!(%error, "A connector that ran before does not start again.");
        }
    }
}
