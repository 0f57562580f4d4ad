//! What has happened to a connector's connection, and what that means: pure, so that it can be tested by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use crosspoint_client::{Cause, Connected, State};
use crosspoint_protocol::Now;

use super::flapping::{self, Flapping, LOSSES_MAX, Loss};
use super::state::{Condition, ConnectorState, leaves_by_itself};
use crate::config::plan::MqttPlan;
use crate::diagnosis::{self, Diagnosis, Fault};

/// Who a connector is to its broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity {
    /// The settings with which it connects.
    pub(crate) plan: Arc<MqttPlan>,
    /// A connector of this hub with the same client identifier at the same broker.
    pub(crate) twin: Option<String>,
}

/// What has happened to a connection since it has its settings.
#[derive(Debug)]
pub(crate) struct History {
    /// `None` for the embedded broker, which is no stranger.
    identity: Option<Identity>,
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
            identity: None,
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
        *self = Self { identity: Some(identity), ..Self::new(now) };
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
        if let Some((_, since_ms)) = self.agreed.take()
            && !leaves_by_itself(cause)
        {
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
        let may_flap = matches!(self.condition, Condition::Connected | Condition::BackingOff);
        let flapping = self.flapping(now).filter(|_| may_flap);
        let is_flapping = flapping.is_some();
        let condition = match self.condition {
            Condition::Connected if is_flapping => Condition::Degraded,
            other => other,
        };
        let itself = || self.cause.as_ref().map(|cause| self.diagnose(cause));
        ConnectorState {
            condition,
            since_wall_ms: self.since_wall_ms,
            trouble: flapping.map(|flapping| flapping.diagnosis).or_else(itself),
            is_flapping,
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

    fn diagnose(&self, cause: &Cause) -> Diagnosis {
        match &self.identity {
            Some(Identity { plan, twin }) => diagnosis::of_cause(plan, cause, twin.as_deref()),
            None => Diagnosis::new(Fault::OurSide, cause.to_string(), cause.next_step()),
        }
    }
}

#[cfg(test)]
mod tests;
