//! New credentials are tried on a second connection before the first one is let go for them.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{Client, Environment, MemoryStore, State, Version};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::plan::{ClientTls, MqttPlan, Protocol, SessionKind};
use crate::connect;
use crate::diagnosis::{Diagnosis, of_cause};

/// The longest client identifier that every 3.1 broker takes.
const CLIENT_ID_CHARACTERS_3_1: usize = 23;

/// How a trial stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Trying,
    Refused(String),
    Works,
}

/// A trial of new credentials. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Trial {
    /// The settings with the new credentials.
    plan: Box<MqttPlan>,
    standing: watch::Receiver<Standing>,
    _tasks: JoinSet<()>,
}

/// Tells whether two settings differ in credentials, trusted authorities among them, and in nothing else of the
/// connection.
pub(super) fn differs_in_credentials(old: &MqttPlan, new: &MqttPlan) -> bool {
    let with_new = MqttPlan {
        username: new.username.clone(),
        password: new.password.clone(),
        auth: new.auth,
        // With SCRAM it is 5.0, whatever is written.
        protocol: if new.auth == old.auth { old.protocol } else { new.protocol },
        tls: ClientTls {
            identity: new.tls.identity.clone(),
            ca: new.tls.ca.clone(),
            trusts_public: new.tls.trusts_public,
            ..old.tls.clone()
        },
        websocket_headers: new.websocket_headers.clone(),
        proxy: match (&old.proxy, &new.proxy) {
            (Some(old), Some(new)) if old.is_same_place(new) => Some(new.clone()),
            _ => old.proxy.clone(),
        },
        durability: new.durability,
        outbox: new.outbox.clone(),
        ..old.clone()
    };
    let has_others = old.username != new.username
        || old.password != new.password
        || old.auth != new.auth
        || old.tls.identity != new.tls.identity
        || old.tls.ca != new.tls.ca
        || old.tls.trusts_public != new.tls.trusts_public
        || old.websocket_headers != new.websocket_headers
        || old.proxy != new.proxy;
    has_others && with_new == *new
}

impl Trial {
    /// Begins to connect with new credentials, under a client identifier that does not end our own connection.
    pub(super) fn begin(
        connector: &Arc<str>,
        plan: &MqttPlan,
        client_id: &str,
        environment: Environment,
    ) -> Result<Self, String> {
        let client_id = trial_id(plan, &connect::client_id(plan, client_id));
        let probe = MqttPlan {
            client_id: Some(client_id.clone()),
            session: SessionKind::Clean,
            will: None,
            birth: None,
            close: None,
            ..plan.clone()
        };
        let (client, deliveries, engine) =
            Client::new(connect::client_options(&probe, ""), Box::new(MemoryStore), environment)
                .map_err(|error| error.to_string())?;
        let (stands, standing) = watch::channel(Standing::Trying);
        let mut tasks = JoinSet::new();
        tasks.spawn(engine.run());
        let (connector, tried) = (connector.clone(), probe);
        info!(%connector, client_id, "The new credentials are tried on a second connection; the old ones stay until they work.");
        tasks.spawn(async move {
            let _deliveries = deliveries;
            watch_over(&connector, &client, &tried, &stands).await;
            client.close(Duration::ZERO).await;
        });
        Ok(Self { plan: Box::new(plan.clone()), standing, _tasks: tasks })
    }

    pub(crate) const fn plan(&self) -> &MqttPlan {
        &self.plan
    }

    /// Returns how the trial stands, in words.
    pub(super) fn standing(&self) -> String {
        match &*self.standing.borrow() {
            Standing::Trying => "the new credentials are being tried; the old ones are in use".to_owned(),
            Standing::Refused(cause) => {
                format!("the new credentials do not work ({cause}); the old ones are in use")
            }
            Standing::Works => "the new credentials work, and are about to be used".to_owned(),
        }
    }

    pub(crate) fn works(&self) -> bool {
        *self.standing.borrow() == Standing::Works
    }

    /// Returns what tells when the credentials work.
    pub(crate) fn outcome(&self) -> impl Future<Output = ()> + use<> {
        let mut standing = self.standing.clone();
        async move {
            if standing.wait_for(|standing| *standing == Standing::Works).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

async fn watch_over(connector: &str, client: &Client, plan: &MqttPlan, stands: &watch::Sender<Standing>) {
    let mut states = client.state();
    loop {
        let state = states.borrow_and_update().clone();
        match state {
            State::Connected(_) => {
                stands.send_replace(Standing::Works);
                return;
            }
            State::Refused { cause, .. } | State::BackingOff { cause, .. } => {
                let Diagnosis { fault, cause, next_step, .. } = of_cause(plan, &cause, None);
                let refused = Standing::Refused(cause.clone());
                if *stands.borrow() != refused {
                    warn!(
                        connector, %fault, cause, next_step,
                        "The new credentials do not work: the old ones stay in use. A broker that ties them to a client \
                         identifier refuses the trial's: then disable the connector and enable it again."
                    );
                    stands.send_replace(refused);
                }
            }
            _ => {}
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Returns a client identifier beside our own.
fn trial_id(plan: &MqttPlan, client_id: &str) -> String {
    let id = format!("{client_id}-try");
    let is_short = plan.protocol == Protocol::Only(Version::V3_1);
    if is_short && id.chars().count() > CLIENT_ID_CHARACTERS_3_1 {
        return id
            .chars()
            .rev()
            .take(CLIENT_ID_CHARACTERS_3_1)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::plan::ConnectorPlan;

    fn plan(keys: &str) -> Box<MqttPlan> {
        let text = format!("[connector.a]\nurl = \"mqtt://h\"\nusername = \"u\"\npassword = \"p\"\n{keys}\n");
        let (mut plan, _) = parse(&text, "crosspoint.toml", None).unwrap();
        match plan.connectors.remove("a") {
            Some(ConnectorPlan::Mqtt(mqtt)) => mqtt,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_way_to_show_who_it_is_is_tried_like_another_password() {
        let (password, scram) = (plan(""), plan("auth = \"scram-sha-256\""));
        assert!(differs_in_credentials(&password, &scram) && differs_in_credentials(&scram, &password));
        let elsewhere = plan("auth = \"scram-sha-256\"\nkeep_alive_s = 5");
        assert!(!differs_in_credentials(&password, &elsewhere), "there is more to it");
        assert!(!differs_in_credentials(&scram, &scram));
        assert!(!differs_in_credentials(&password, &plan("protocol = \"5.0\"")));
    }
}
