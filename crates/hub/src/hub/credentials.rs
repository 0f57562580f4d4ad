//! New credentials of connectors, from the trial to their use.

use std::future::poll_fn;
use std::task::Poll;

use tracing::{error, info};

use super::connectors::twin;
use super::{Hub, RECONNECT_WITHIN};

impl Hub {
    /// Waits until credentials that are tried work, and returns whose: give it to [`use_credentials`](Self::use_credentials).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn credentials_work(&self) -> String {
        let trials = self.connectors.iter().filter_map(|(name, connector)| Some((name, connector.trial()?)));
        let mut outcomes: Vec<_> = trials.map(|(name, trial)| (name, Box::pin(trial.outcome()))).collect();
        poll_fn(|cx| {
            let works = outcomes
                .iter_mut()
                .find_map(|(name, outcome)| outcome.as_mut().poll(cx).is_ready().then(|| name.clone()));
            works.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Connects a connector anew with the credentials that have been tried and work.
    ///
    /// # Cancel safety
    /// Not to be dropped before it is done.
    pub async fn use_credentials(&mut self, name: &str) {
        let Some(connector) = self.connectors.get_mut(name) else { return };
        let Some(mqtt) = connector.trial().filter(|trial| trial.works()).map(|trial| trial.plan().clone())
        else {
            return;
        };
        info!(connector = name, "The new credentials work: the connector connects anew with them.");
        connector.stop(RECONNECT_WITHIN).await;
        let made_up = self.data.client_id(name);
        let twin = twin(&self.plan, name, |name| self.data.client_id(name));
        if let Err(cause) = connector.start_remote(&mqtt, &made_up, twin, &self.environment).await {
            error!(connector = name, cause, "The connector does not start with the new credentials.");
        }
    }
}
