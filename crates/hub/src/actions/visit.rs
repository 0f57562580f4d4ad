//! A client that lives for one action.

use std::time::Duration;

use crosspoint_client::{Cause, Client, Deliveries, Environment, MemoryStore, State, Version};
use tokio::task::JoinSet;

use super::ActionError;
use crate::config::plan::{MqttPlan, Protocol, SessionKind};
use crate::connect;
use crate::diagnosis;

/// How long the goodbye may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A client of our own. Dropped, it is cut.
#[derive(Debug)]
pub(super) struct Visit {
    client: Client,
    version: Version,
    _engine: JoinSet<()>,
}

/// Returns the settings under which a connector's broker is visited beside the connector: without its client id, session
/// and announcements.
pub(crate) fn of_stored(plan: MqttPlan) -> MqttPlan {
    MqttPlan {
        client_id: None,
        session: SessionKind::Clean,
        will: None,
        birth: None,
        close: None,
        canary: None,
        ..plan
    }
}

impl Visit {
    /// Connects, trying each address once.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nothing is left of it.
    pub(super) async fn begin(
        plan: MqttPlan,
        environment: Environment,
    ) -> Result<(Self, Deliveries), ActionError> {
        let (client, deliveries, engine) =
            Client::new(connect::client_options(&plan, ""), Box::new(MemoryStore), environment)
                .map_err(|error| ActionError::Settings(error.to_string()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(engine.run());
        let version = connected(&client, &plan).await?;
        Ok((Self { client, version, _engine: tasks }, deliveries))
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// Says goodbye.
    pub(super) async fn end(self) {
        self.client.close(CLOSE_WITHIN).await;
    }
}

/// Waits until the server has let the client in; returns the version that it speaks.
async fn connected(client: &Client, plan: &MqttPlan) -> Result<Version, ActionError> {
    let mut states = client.state();
    loop {
        let state = states.borrow_and_update().clone();
        match state {
            State::Connected(agreed) => return Ok(agreed.version),
            // It may be the version, which the client finds out by itself.
            State::BackingOff { cause: Cause::ClosedWithoutConnAck, .. }
                if plan.protocol == Protocol::Auto => {}
            State::BackingOff { cause, .. } | State::Refused { cause, .. } => {
                return Err(ActionError::not_connected(diagnosis::of_cause(plan, &cause, None)));
            }
            _ => {}
        }
        if states.changed().await.is_err() {
            return Err(ActionError::Settings("the client has ended".to_owned()));
        }
    }
}
