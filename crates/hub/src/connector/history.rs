//! What has happened to a connector's connection, and what that means: pure, so that it can be tested by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use crosspoint_client::{Cause, Connected, State};
use crosspoint_protocol::Now;

use super::flapping::{self, Flapping, LOSSES_MAX, Loss};
use super::state::{Condition, ConnectorState};

/// Who a connector is to its broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The connector's name.
    pub(crate) name: String,
    /// Whether its client identifier stands in the project file.
    pub(crate) is_id_written: bool,
    /// Connectors of this hub with the same client identifier at the same broker.
    pub(crate) twins: Vec<String>,
}

/// What has happened to a connection since it has its settings.
#[derive(Debug)]
pub(crate) struct History {
    identity: Identity,
    condition: Condition,
    since_wall_ms: u64,
    cause: Option<Cause>,
    next_try_wall_ms: Option<u64>,
    /// What is agreed upon, and since when on the monotonic clock.
    agreed: Option<(Arc<Connected>, u64)>,
    /// The keep alive that was in force last.
    keep_alive_s: u16,
    losses: VecDeque<Loss>,
    drops: u64,
}

impl History {
    pub(crate) const fn new(now: Now) -> Self {
        Self {
            identity: Identity { name: String::new(), is_id_written: false, twins: Vec::new() },
            condition: Condition::Off,
            since_wall_ms: now.wall_ms,
            cause: None,
            next_try_wall_ms: None,
            agreed: None,
            keep_alive_s: 0,
            losses: VecDeque::new(),
            drops: 0,
        }
    }

    /// Begins anew with other settings.
    pub(crate) fn begin(&mut self, identity: Identity, now: Now) {
        *self = Self { identity, ..Self::new(now) };
        self.turn(Condition::Connecting, now);
    }

    /// Begins with a connection that is there as long as the connector: that to the embedded broker.
    pub(crate) fn begin_connected(&mut self, now: Now) {
        *self = Self::new(now);
        self.turn(Condition::Connected, now);
    }

    /// Notes that the connector has stopped.
    pub(crate) fn end(&mut self, now: Now) {
        (self.cause, self.next_try_wall_ms, self.agreed) = (None, None, None);
        self.turn(Condition::Off, now);
    }

    /// Notes what the client does now.
    pub(crate) fn on(&mut self, state: &State, now: Now) {
        match state {
            State::Connecting { .. } => {
                self.next_try_wall_ms = None;
                if self.condition.is_connected() {
                    // It left by itself, to try another version.
                    self.agreed = None;
                    self.turn(Condition::Connecting, now);
                }
            }
            State::Connected(agreed) => {
                (self.cause, self.next_try_wall_ms) = (None, None);
                self.keep_alive_s = agreed.limits.keep_alive_s;
                self.agreed = Some((agreed.clone(), now.monotonic_ms));
                self.turn(Condition::Connected, now);
            }
            State::Refused { cause, next_try_wall_ms: at }
            | State::BackingOff { cause, until_wall_ms: at } => {
                self.on_failure(cause, *at, now);
            }
            State::Stopped(_) => self.end(now),
            _ => {}
        }
    }

    fn on_failure(&mut self, cause: &Cause, next_try_wall_ms: u64, now: Now) {
        if let Some((_, since_ms)) = self.agreed.take() {
            let lived_ms = now.monotonic_ms.saturating_sub(since_ms);
            self.losses.push_back(Loss { at_ms: now.monotonic_ms, lived_ms, cause: cause.clone() });
            if self.losses.len() > LOSSES_MAX {
                self.losses.pop_front();
            }
            self.drops += 1;
        }
        self.cause = Some(cause.clone());
        self.next_try_wall_ms = Some(next_try_wall_ms);
        self.turn(Condition::of(cause), now);
    }

    /// Changes the condition; the same one goes on since it began.
    fn turn(&mut self, condition: Condition, now: Now) {
        if self.condition != condition {
            (self.condition, self.since_wall_ms) = (condition, now.wall_ms);
        }
    }

    /// Returns what it all means.
    pub(crate) fn state(&self, now: Now) -> ConnectorState {
        let (mut condition, mut words) = (self.condition, self.cause.as_ref().map(|cause| self.words(cause)));
        if matches!(condition, Condition::Connected | Condition::BackingOff)
            && let Some(flapping) = self.flapping(now)
        {
            words = Some((flapping.cause, flapping.next_step));
            if condition == Condition::Connected {
                condition = Condition::Degraded;
            }
        }
        let (cause, next_step) = words.unzip();
        ConnectorState {
            condition,
            since_wall_ms: self.since_wall_ms,
            cause,
            next_step,
            next_try_wall_ms: self.next_try_wall_ms,
            agreed: self.agreed.as_ref().map(|(agreed, _)| agreed.clone()),
            drops: self.drops,
        }
    }

    /// Returns in how many milliseconds connections that were lost again and again will have mended, if this one holds.
    pub(crate) fn steady_in_ms(&self, now: Now) -> Option<u64> {
        let over_after_ms = self.flapping(now)?.over_after_ms;
        let lost_ms = self.losses.back()?.at_ms;
        Some((lost_ms + over_after_ms + 1).saturating_sub(now.monotonic_ms))
    }

    fn flapping(&self, now: Now) -> Option<Flapping> {
        let losses: Vec<Loss> = self.losses.iter().cloned().collect();
        flapping::judge(&losses, self.keep_alive_s, now.monotonic_ms)
    }

    fn words(&self, cause: &Cause) -> (String, String) {
        let next_step = match cause {
            Cause::ClientIdFight { client_id } => self.identity.end_of_fight(client_id),
            other => other.next_step(),
        };
        (cause.to_string(), next_step)
    }
}

impl Identity {
    /// Returns who the other one probably is, our own connectors first, and what to do.
    fn end_of_fight(&self, client_id: &str) -> String {
        let name = &self.name;
        if let Some(twin) = self.twins.first() {
            return format!(
                "give connector {twin} or connector {name} another client_id: both are {client_id:?} at this broker"
            );
        }
        if self.is_id_written {
            return format!(
                "stop the other program with this client id, most likely a second hub with this project, or set \
                 another client_id in [connector.{name}]"
            );
        }
        format!(
            "stop the other hub that runs on a copy of this one's data folder, or set another client_id in \
             [connector.{name}] of one of them"
        )
    }
}

#[cfg(test)]
mod tests;
