//! Tells what happens to a remote connector's connection, and announces it.

use std::sync::Arc;

use crosspoint_client::{Client, Publication, State};
use tracing::{error, info, warn};

use crate::config::plan::Announcement;

/// Logs each change of a connection, one line each, and publishes the birth message after each connect.
pub(super) async fn run(connector: Arc<str>, client: Client, birth: Option<Announcement>) {
    let mut states = client.state();
    let mut told = String::new();
    loop {
        let state = states.borrow_and_update().clone();
        tell(&connector, &state, &mut told);
        let has_changed = match &birth {
            Some(birth) if state.is_connected() => tokio::select! {
                biased;
                changed = states.changed() => changed,
                () = announce(&connector, &client, birth) => states.changed().await,
            },
            _ => states.changed().await,
        };
        if has_changed.is_err() {
            if !matches!(state, State::Stopped(_)) {
                error!(%connector, "The connection has failed inside; the connector stands still.");
            }
            return;
        }
    }
}

fn tell(connector: &str, state: &State, told: &mut String) {
    match state {
        State::Connected(connected) => {
            info!(
                connector, server = %connected.server, client_id = %connected.client_id, version = %connected.version,
                session_present = connected.session_present, "Connected."
            );
            told.clear();
        }
        State::BackingOff { cause, .. } | State::Refused { cause, .. } => {
            // The same cause again and again is one thing worth knowing.
            let cause_text = cause.to_string();
            if cause_text != *told {
                warn!(connector, cause = %cause_text, next_step = %cause.next_step(), "Not connected.");
                *told = cause_text;
            }
        }
        _ => {}
    }
}

/// Publishes the birth message, behind what waits already.
async fn announce(connector: &str, client: &Client, birth: &Announcement) {
    let publication = Publication::to_topic(birth.topic.clone(), birth.payload.clone());
    if let Err(error) = client.publish(publication.qos(birth.qos).retain(birth.retain)).await {
        warn!(connector, topic = birth.topic.as_str(), %error, "The birth message was not confirmed.");
    }
}
