//! Which server is tried next, in which version, and when.

use crosspoint_net::DialOptions;
use crosspoint_protocol::{ReasonCode, limits::CLIENT_ID_BYTES_MAX_V3_1};

use crate::{
    BridgeBit, Cause, ClientOptions, Pace,
    backoff::Backoff,
    return_pace::ReturnPace,
    version_choice::{Dialect, Step, VersionChoice},
};

/// A connection that lasted less, in milliseconds, counts as dropped right after it was made.
const SHORT_LIFE_MS: u64 = 5_000;

/// So many short lives one after the other look like a fight over the client id.
const SHORT_LIVES_MAX: u32 = 3;

/// How long it waits before it dials when it has left a connection that works, in milliseconds: whoever watches the state
/// would hardly see why the connection ended if the next attempt began in the same turn.
const TELL_MS: u64 = 10;

/// The servers and what is known of each.
#[derive(Debug)]
pub(crate) struct Attempts {
    servers: Vec<Server>,
    /// The one that is tried.
    at: usize,
    /// How many attempts there were since the client was connected last.
    count: u32,
    backoff: Backoff,
    /// The slowest pace that a server of this round asked for.
    pace: Pace,
    short_lives: u32,
    /// When it is looked whether the first is there again, while another is in use.
    returning: ReturnPace,
    client_id: String,
}

#[derive(Debug)]
struct Server {
    dial: DialOptions,
    versions: VersionChoice,
}

/// When the next attempt comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    AtOnce,
    After(u64, Pace),
}

impl Attempts {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        let allows_3_1 = options.client_id.len() <= CLIENT_ID_BYTES_MAX_V3_1;
        let server = |dial: &DialOptions| Server {
            dial: dial.clone(),
            versions: VersionChoice::new(options.spoken(), allows_3_1),
        };
        Self {
            servers: options.servers.iter().map(server).collect(),
            at: 0,
            count: 0,
            backoff: Backoff::new(options.reconnect_min_ms, options.reconnect_max_ms),
            pace: Pace::Normal,
            short_lives: 0,
            returning: ReturnPace::new(options.reconnect_max_ms),
            client_id: options.client_id.clone(),
        }
    }

    /// Sets whether the bridge bit is wanted from the next attempt on.
    pub(crate) fn set_bridge_bit(&mut self, bridge_bit: BridgeBit) {
        for server in &mut self.servers {
            server.versions.set_bridge_bit(bridge_bit);
        }
    }

    /// Begins an attempt; returns where, what is spoken, and which attempt it is.
    pub(crate) fn begin(&mut self) -> Option<(&DialOptions, Dialect, u32)> {
        self.count = self.count.saturating_add(1);
        let count = self.count;
        self.servers.get(self.at).map(|server| (&server.dial, server.versions.current(), count))
    }

    pub(crate) fn on_connected(&mut self, now_ms: u64, random: &mut fastrand::Rng) {
        self.count = 0;
        self.pace = Pace::Normal;
        if self.at == 0 {
            self.returning.rest();
        } else {
            self.returning.plan(now_ms, random);
        }
        if let Some(server) = self.servers.get_mut(self.at) {
            server.versions.on_connected(now_ms);
        }
    }

    /// Notes that an attempt failed before CONNACK said yes; may find a better name for the cause.
    pub(crate) fn on_failed(&mut self, cause: Cause, random: &mut fastrand::Rng) -> (Cause, Next) {
        let versions = self.servers.get_mut(self.at).map(|server| &mut server.versions);
        let had_bit = versions.as_ref().is_some_and(|versions| versions.current().is_bridge);
        let step = versions.map_or(Step::Stay, |versions| match cause {
            Cause::UnsupportedVersion { .. } => versions.on_unsupported(),
            Cause::ClosedWithoutConnAck => versions.on_silent_close(),
            Cause::ConnectTimeout { .. } => versions.on_silence(),
            _ => {
                versions.on_other_failure();
                Step::Stay
            }
        });
        if step == Step::Down {
            return (if had_bit { Cause::WithoutBridgeBit } else { cause }, Next::AtOnce);
        }
        self.pace = slower(self.pace, cause.pace());
        self.at += 1;
        if self.at < self.servers.len() {
            return (cause, Next::AtOnce);
        }
        self.at = 0;
        let pace = std::mem::replace(&mut self.pace, Pace::Normal);
        (cause, Next::After(self.backoff.next_ms(pace, random), pace))
    }

    /// Notes that a connection ended that had been accepted; may find a better name for the cause.
    pub(crate) fn on_lost(
        &mut self,
        cause: Cause,
        lived_ms: u64,
        random: &mut fastrand::Rng,
    ) -> (Cause, Next) {
        if cause == Cause::VersionUpward {
            return (cause, Next::AtOnce);
        }
        if cause == Cause::WithoutBridgeBit {
            return (cause, Next::After(TELL_MS, Pace::Normal));
        }
        if self.at == 0 {
            self.returning.on_life_at_first(lived_ms);
        }
        self.at = 0;
        if cause == Cause::ReturnToFirst {
            // Before it has taken us, it may as well refuse.
            self.returning.slow_down();
            return (cause, Next::After(TELL_MS, Pace::Normal));
        }
        if lived_ms >= SHORT_LIFE_MS {
            self.short_lives = 0;
            self.backoff.reset();
        } else if cause == Cause::ConnectionLost {
            self.short_lives += 1;
        }
        let is_taken_over = matches!(cause, Cause::Disconnected { reason: ReasonCode::SessionTakenOver, .. });
        let cause = if is_taken_over || self.short_lives >= SHORT_LIVES_MAX {
            Cause::ClientIdFight { client_id: self.client_id.clone() }
        } else {
            cause
        };
        let pace = cause.pace();
        (cause, Next::After(self.backoff.next_ms(pace, random), pace))
    }

    /// Returns when a higher version is to be tried at the server in use, if one is.
    pub(crate) fn upward_at_ms(&self) -> Option<u64> {
        self.servers.get(self.at)?.versions.upward_at_ms()
    }

    /// Tells whether the next attempt at the server in use may begin at its highest version again.
    pub(crate) fn is_upward_due(&self, now_ms: u64) -> bool {
        self.servers.get(self.at).is_some_and(|server| server.versions.is_upward_due(now_ms))
    }

    /// Returns the first server, and what is spoken to it.
    pub(crate) fn first(&self) -> Option<(&DialOptions, Dialect)> {
        self.servers.first().map(|server| (&server.dial, server.versions.current()))
    }

    /// Returns when it is to be looked whether the first server is there, while another is in use.
    pub(crate) const fn look_due_ms(&self) -> Option<u64> {
        self.returning.due_ms()
    }

    pub(crate) fn plan_look(&mut self, now_ms: u64, random: &mut fastrand::Rng) {
        self.returning.plan(now_ms, random);
    }

    /// Notes that the first server is not there; the next look comes later than this one.
    pub(crate) fn on_look_failed(&mut self, now_ms: u64, random: &mut fastrand::Rng) {
        self.returning.slow_down();
        self.returning.plan(now_ms, random);
    }

    /// Starts at the highest version again. Not while an exchange at QoS 2 is open.
    pub(crate) fn step_up(&mut self) {
        if let Some(server) = self.servers.get_mut(self.at) {
            server.versions.step_up();
        }
    }
}

const fn slower(a: Pace, b: Pace) -> Pace {
    match (a, b) {
        (Pace::Refused, _) | (_, Pace::Refused) => Pace::Refused,
        (Pace::Contended, _) | (_, Pace::Contended) => Pace::Contended,
        _ => Pace::Normal,
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_net::Transport;

    use super::*;

    fn attempts(servers: u16) -> Attempts {
        let server = |port| DialOptions::new(Transport::Tcp, "localhost", port);
        let options =
            (1..=servers).fold(ClientOptions::default().client_id("x"), |o, port| o.server(server(port)));
        Attempts::new(&options)
    }

    fn port(attempts: &mut Attempts) -> u16 {
        attempts.begin().unwrap().0.port()
    }

    fn dial_failed() -> Cause {
        Cause::Dial(crate::DialFailure::new("", ""))
    }

    #[test]
    fn servers_are_tried_in_order_and_then_it_waits() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut attempts = attempts(3);
        assert_eq!(port(&mut attempts), 1);
        assert_eq!(attempts.on_failed(dial_failed(), &mut random).1, Next::AtOnce);
        assert_eq!(port(&mut attempts), 2);
        assert_eq!(attempts.on_failed(dial_failed(), &mut random).1, Next::AtOnce);
        assert_eq!(port(&mut attempts), 3);
        assert!(matches!(attempts.on_failed(dial_failed(), &mut random).1, Next::After(_, Pace::Normal)));
        assert_eq!(port(&mut attempts), 1);
    }

    #[test]
    fn after_a_lost_connection_it_returns_to_the_first() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut attempts = attempts(2);
        attempts.begin();
        let _ = attempts.on_failed(dial_failed(), &mut random);
        assert_eq!(port(&mut attempts), 2);
        attempts.on_connected(0, &mut random);
        attempts.on_lost(Cause::ConnectionLost, 60_000, &mut random);
        assert_eq!(port(&mut attempts), 1);
    }

    #[test]
    fn short_lives_and_takeovers_are_named_as_a_fight() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut attempts = attempts(1);
        let mut causes = Vec::new();
        for _ in 0..3 {
            attempts.on_connected(0, &mut random);
            causes.push(attempts.on_lost(Cause::ConnectionLost, 10, &mut random).0);
        }
        let fight = Cause::ClientIdFight { client_id: "x".to_owned() };
        assert_eq!(causes, [Cause::ConnectionLost, Cause::ConnectionLost, fight.clone()]);
        assert_eq!(attempts.on_lost(Cause::ConnectionLost, 60_000, &mut random).0, Cause::ConnectionLost);
        let taken_over =
            Cause::Disconnected { reason: ReasonCode::SessionTakenOver, text: None, other_server: None };
        let (cause, next) = attempts.on_lost(taken_over, 60_000, &mut random);
        assert_eq!(cause, fight);
        assert!(matches!(next, Next::After(30_000..=90_000, Pace::Contended)));
    }
}
