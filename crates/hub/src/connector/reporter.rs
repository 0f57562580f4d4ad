//! Tells what happens to a remote connector's connection, and announces it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{BridgeBit, Client, PublishResult, State};
use tracing::{debug, error, info, warn};

use super::history::Glance;
use super::line::Line;
use super::state::{Condition, ConnectorState, leaves_by_itself};
use crate::config::plan::Announcement;
use crate::connect;
use crate::diagnosis::Diagnosis;
use crate::doctor;

/// How long a server may take for each part of a second look.
const GLANCE_PATIENCE: Duration = Duration::from_secs(5);

/// Notes each change of a connection, logs it, one line a change, and publishes the birth message after each connect.
///
/// What is not clear it looks at a second time, and says what came of both.
pub(super) async fn run(connector: Arc<str>, client: Client, line: Arc<Line>, birth: Option<Announcement>) {
    let mut states = client.state();
    let mut told = Told::default();
    let mut birth = birth.map(Birth::new);
    let mut glance: Option<Looking> = None;
    loop {
        let state = states.borrow_and_update().clone();
        let (known, next) = line.note(|history, now| {
            history.on(&state, now);
            (history.state(now), history.take_glance(now))
        });
        glance = next.map(look).or(glance).filter(|_| !state.is_connected());
        if glance.is_none() {
            told.tell(&connector, &state, &known);
            told.tell_of_bit(&connector, &state, client.bridge_bit());
        }
        let has_changed = tokio::select! {
            biased;
            changed = states.changed() => changed,
            seen = looking(&mut glance) => {
                line.note(|history, now| history.on_glance(seen, now));
                glance = None;
                continue;
            }
            () = while_connected(&connector, &client, &line, &mut told, birth.as_mut()), if state.is_connected() => {
                states.changed().await
            }
        };
        if has_changed.is_err() {
            if !matches!(state, State::Stopped(_)) {
                error!(%connector, "The connection has failed inside; the connector stands still.");
            }
            return;
        }
    }
}

/// A second look that is being taken.
type Looking = Pin<Box<dyn Future<Output = Diagnosis> + Send>>;

fn look(Glance { plan, address, at_first }: Glance) -> Looking {
    Box::pin(async move {
        let patience = plan.connect_timeout.min(GLANCE_PATIENCE);
        doctor::second_look(&plan, &address, patience, at_first).await
    })
}

/// Waits for what a second look shows; for ever, when none is taken.
async fn looking(glance: &mut Option<Looking>) -> Diagnosis {
    match glance {
        Some(glance) => glance.await,
        None => std::future::pending().await,
    }
}

/// Announces the connection, then sees whether it holds.
async fn while_connected(
    connector: &str,
    client: &Client,
    line: &Line,
    told: &mut Told,
    birth: Option<&mut Birth>,
) {
    if let Some(birth) = birth {
        birth.announce(connector, client).await;
    }
    while let Some(left_ms) = line.note(|history, now| history.steady_in_ms(now)) {
        tokio::time::sleep(Duration::from_millis(left_ms)).await;
    }
    told.on_steady(connector);
}

/// What the log has said last: the same thing again and again is one thing worth knowing.
#[derive(Debug, Default)]
struct Told {
    /// Why there is no connection.
    cause: String,
    /// That retain flags do not come.
    is_bit_missed: bool,
    /// Why connections are lost again and again; empty while they are not.
    flapping: String,
}

impl Told {
    fn tell(&mut self, connector: &str, state: &State, known: &ConnectorState) {
        match state {
            State::Connected(connected) => {
                self.cause.clear();
                if self.flapping.is_empty() {
                    info!(
                        connector, server = %connected.server, client_id = %connected.client_id,
                        version = %connected.version, session_present = connected.session_present, "Connected."
                    );
                } else {
                    debug!(connector, "Connected.");
                }
                if let Some(prefix) = &connected.response_information {
                    info!(
                        connector,
                        prefix, "Answers to this connector may be published under what the broker names."
                    );
                }
            }
            State::BackingOff { cause, .. } if leaves_by_itself(cause) => {
                info!(connector, %cause, "Connecting anew.");
            }
            State::BackingOff { .. } | State::Refused { .. } => match &known.trouble {
                Some(trouble) if known.is_flapping => self.on_flapping(connector, trouble, known.drops),
                Some(trouble) => self.on_failure(connector, trouble, known.condition),
                None => {}
            },
            _ => {}
        }
    }

    /// Says once that live messages come without their retain flag, where a flow counts on it.
    fn tell_of_bit(&mut self, connector: &str, state: &State, wanted: BridgeBit) {
        let State::Connected(agreed) = state else { return };
        let is_missed = wanted == BridgeBit::Try && !agreed.is_bridge && !agreed.version.is_v5();
        if is_missed && !std::mem::replace(&mut self.is_bit_missed, is_missed) {
            info!(
                connector, version = %agreed.version,
                "The broker does not know bridges: live messages come without their retain flag. `retain` at the sink says what they get."
            );
        }
    }

    fn on_failure(&mut self, connector: &str, trouble: &Diagnosis, condition: Condition) {
        let Diagnosis { fault, cause, next_step, mend } = trouble;
        if *cause != self.cause {
            let setting = mend.as_ref().map(|mend| format!("connector.{connector}.{mend}"));
            warn!(connector, state = condition.word(), %fault, cause, setting, next_step, "Not connected.");
            cause.clone_into(&mut self.cause);
        }
    }

    fn on_flapping(&mut self, connector: &str, trouble: &Diagnosis, drops: u64) {
        let Diagnosis { cause, next_step, .. } = trouble;
        if self.flapping.is_empty() {
            warn!(connector, cause, next_step, drops, "The connection is lost again and again.");
        } else {
            debug!(connector, cause, "Not connected.");
        }
        cause.clone_into(&mut self.flapping);
    }

    fn on_steady(&mut self, connector: &str) {
        if !self.flapping.is_empty() {
            info!(connector, "The connection holds again.");
            self.flapping.clear();
        }
    }
}

/// The birth message, of which at most one is unconfirmed at a time, however short the connections are.
struct Birth {
    message: Announcement,
    /// The one that is under way. The client sends it again when its connection is lost.
    unconfirmed: Option<Confirming>,
}

type Confirming = Pin<Box<dyn Future<Output = PublishResult> + Send>>;

impl Birth {
    const fn new(message: Announcement) -> Self {
        Self { message, unconfirmed: None }
    }

    /// Publishes the birth message, behind what waits already, and waits until it is confirmed.
    ///
    /// One of an earlier connection is waited for first, and does not count: the server may have had it before it
    /// published the will.
    ///
    /// # Cancel safety
    /// What is under way is waited for next time.
    async fn announce(&mut self, connector: &str, client: &Client) {
        self.confirmed(connector).await;
        match connect::publication(&self.message) {
            Ok(publication) => {
                let client = client.clone();
                self.unconfirmed = Some(Box::pin(async move { client.publish(publication).await }));
                self.confirmed(connector).await;
            }
            Err(error) => {
                warn!(connector, topic = self.message.topic.as_str(), %error, "The birth message cannot be sent.");
            }
        }
    }

    async fn confirmed(&mut self, connector: &str) {
        let Some(unconfirmed) = &mut self.unconfirmed else { return };
        if let Err(error) = unconfirmed.await {
            warn!(connector, topic = self.message.topic.as_str(), %error, "The birth message was not confirmed.");
        }
        self.unconfirmed = None;
    }
}
