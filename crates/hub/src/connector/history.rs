//! What has happened to a connector's connection, and what that means: pure, so that it can be tested by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use crosspoint_client::{Cause, Connected, State};
use crosspoint_protocol::Now;

use super::flapping::{self, Flapping, LOSSES_MAX, Loss};
use super::state::{Condition, ConnectorState, leaves_by_itself};
use crate::config::plan::{Address, MqttPlan};
use crate::connect;
use crate::diagnosis::{self, Diagnosis, Fault};
use crate::doctor;

/// How many of the last lives are averaged.
const LIVES_MAX: usize = 5;

/// How long there is between second looks at least, in milliseconds.
const LOOK_PAUSE_MS: u64 = 60_000;

/// After how long the same thing is looked at again, in milliseconds: the port may speak something else by now.
const LOOK_ANEW_MS: u64 = 600_000;

/// Who a connector is to its broker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity {
    /// The settings with which it connects.
    pub(crate) plan: Arc<MqttPlan>,
    /// A connector of this hub with the same client identifier at the same broker.
    pub(crate) twin: Option<String>,
    /// Whether others than its client can ask the port of its broker.
    pub(crate) is_on_network: bool,
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
    /// The server that was tried last, as host and port.
    server: String,
    looked: Option<Looked>,
}

/// A second look at a port.
#[derive(Debug)]
struct Looked {
    /// What was known before.
    at_first: Diagnosis,
    /// What is known since; `None` while it is being looked.
    seen: Option<Diagnosis>,
    at_ms: u64,
}

/// What a second look is to be at.
#[derive(Debug, Clone)]
pub(crate) struct Glance {
    pub(crate) plan: Arc<MqttPlan>,
    pub(crate) address: Address,
    pub(crate) at_first: Diagnosis,
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
            server: String::new(),
            looked: None,
        }
    }

    /// Begins anew with other settings.
    pub(crate) fn begin(&mut self, identity: Identity, now: Now) {
        *self = Self { identity: Some(identity), ..Self::new(now) };
        self.turn(Condition::Connecting, now);
    }

    /// Sets the twin of a connector that goes on.
    pub(crate) fn set_twin(&mut self, twin: Option<String>) {
        if let Some(identity) = &mut self.identity {
            identity.twin = twin;
        }
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
            State::Connecting { server, .. } => {
                self.next_try_wall_ms = None;
                self.server.clone_from(server);
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
        self.turn(Condition::of(cause, &self.diagnose(cause)), now);
    }

    /// Returns what a second look is to be taken at now, if it may tell more: once for each thing that is not clear, not
    /// more often than once a minute, and again when it has stayed so for long.
    pub(crate) fn take_glance(&mut self, now: Now) -> Option<Glance> {
        let identity = self.identity.as_ref().filter(|identity| identity.is_on_network)?;
        let at_first = diagnosis::of_cause(&identity.plan, self.cause.as_ref()?, identity.twin.as_deref());
        let is_due = self.looked.as_ref().is_none_or(|looked| {
            let after_ms = if looked.at_first == at_first { LOOK_ANEW_MS } else { LOOK_PAUSE_MS };
            now.monotonic_ms.saturating_sub(looked.at_ms) >= after_ms
        });
        if !is_due || !doctor::is_worth_it(&at_first) {
            return None;
        }
        let plan = identity.plan.clone();
        let is_tried = |address: &&Address| connect::dial_options(&plan, address).target() == self.server;
        let address = plan.addresses.iter().find(is_tried)?.clone();
        let seen =
            self.looked.take().filter(|looked| looked.at_first == at_first).and_then(|looked| looked.seen);
        self.looked = Some(Looked { at_first: at_first.clone(), seen, at_ms: now.monotonic_ms });
        Some(Glance { plan, address, at_first })
    }

    /// Notes what a second look has shown.
    pub(crate) fn on_glance(&mut self, seen: Diagnosis, now: Now) {
        if let Some(looked) = &mut self.looked {
            looked.seen = Some(seen);
        }
        if let Some(cause) = &self.cause {
            self.turn(Condition::of(cause, &self.diagnose(cause)), now);
        }
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
            trouble: flapping.map(|flapping| self.of_flapping(flapping)).or_else(itself),
            is_flapping,
            next_try_wall_ms: self.next_try_wall_ms,
            agreed: self.agreed.as_ref().map(|(agreed, _)| agreed.clone()),
            drops: self.drops,
            lived_ms: self.lived_ms(),
        }
    }

    /// Returns how long the last connections that were lost had lived on average, once there were two.
    fn lived_ms(&self) -> Option<u64> {
        let last = self.losses.iter().rev().take(LIVES_MAX);
        let count = last.len() as u64;
        (count > 1).then(|| last.map(|loss| loss.lived_ms).sum::<u64>() / count)
    }

    /// Returns what flapping means: where another client with our identifier ends each connection, that it does.
    fn of_flapping(&self, flapping: Flapping) -> Diagnosis {
        let last = self.losses.back().map(|loss| self.diagnose(&loss.cause));
        match last.filter(|last| last.fault == Fault::ClientIdFight) {
            Some(fight) => Diagnosis { cause: format!("{}; it {}", fight.cause, flapping.rhythm), ..fight },
            None => flapping.diagnosis,
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
            Some(Identity { plan, twin, .. }) => {
                let at_first = diagnosis::of_cause(plan, cause, twin.as_deref());
                let looked = self.looked.as_ref().filter(|looked| looked.at_first == at_first);
                looked.and_then(|looked| looked.seen.clone()).unwrap_or(at_first)
            }
            None => Diagnosis::new(Fault::OurSide, cause.to_string(), cause.next_step()),
        }
    }
}

#[cfg(test)]
mod tests;
