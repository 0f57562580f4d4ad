//! Which version is spoken to one server (product: `protocol = "auto"`), and whether with the bridge bit.
//!
//! ```text
//!   5.0 ──► 3.1.1 with the bit ──► 3.1.1 ──► 3.1 with the bit ──► 3.1
//! ```
//!
//! What a server does not take leads one step down; a fixed version knows its own steps only, and those with the bit are
//! left out while it is not wanted.

use crosspoint_protocol::Version;

use crate::{BridgeBit, Protocol};

/// Milliseconds after which a higher step is tried again.
const UPWARD_AFTER_MS: u64 = 24 * 3_600 * 1_000;

/// The same, once, where silence alone spoke against the higher version: whatever stands before a broker that starts
/// closes silently too, such as the proxy of a container. Closed on again, then it was the version.
const GUESS_CHECKED_AFTER_MS: u64 = 60 * 1_000;

/// Closes without CONNACK after which the next version is tried, where none has worked yet.
const SILENT_CLOSES_MAX: u32 = 2;

/// The same where this version has worked: a broker that restarts behind a load balancer closes silently too.
const SILENT_CLOSES_MAX_PROVEN: u32 = 10;

/// What is spoken: a version, and whether CONNECT has the bridge bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) version: Version,
    pub(crate) is_bridge: bool,
}

/// Which version to speak to one server, and what is known about it.
#[derive(Debug, Clone)]
pub(crate) struct VersionChoice {
    /// From the highest on; each with the bit has the same without it behind it.
    steps: Vec<Dialect>,
    at: usize,
    bridge_bit: BridgeBit,
    is_proven: bool,
    silent_closes: u32,
    guess: Guess,
    upward_at_ms: Option<u64>,
}

/// Whether the version was stepped down from without a word of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    /// It was not.
    None,
    /// It was, and that is to be checked when the server is there.
    Open,
    /// The higher version is tried again.
    Checking,
    /// The server has closed on the higher version again, having been there.
    Confirmed,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something else is to be tried, at once.
    Down,
    /// The version stays.
    Stay,
    /// The server accepts none of the versions that may be tried; it starts at the top again.
    Exhausted,
}

impl VersionChoice {
    pub(crate) fn new(protocol: Protocol, allows_3_1: bool) -> Self {
        let versions = match protocol.fixed() {
            Some(fixed) => vec![fixed],
            None if allows_3_1 => vec![Version::V5, Version::V3_1_1, Version::V3_1],
            None => vec![Version::V5, Version::V3_1_1],
        };
        let bridge = |version: &Version| (!version.is_v5()).then_some(true);
        let steps = versions.iter().flat_map(|version| {
            let plain = Some(false);
            [bridge(version), plain]
                .into_iter()
                .flatten()
                .map(|is_bridge| Dialect { version: *version, is_bridge })
        });
        let mut choice = Self {
            steps: steps.collect(),
            at: 0,
            bridge_bit: BridgeBit::Never,
            is_proven: false,
            silent_closes: 0,
            guess: Guess::None,
            upward_at_ms: None,
        };
        choice.at = choice.top();
        choice
    }

    pub(crate) fn current(&self) -> Dialect {
        let lowest = Dialect { version: Version::V3_1_1, is_bridge: false };
        self.steps.get(self.at).copied().unwrap_or(lowest)
    }

    /// Sets whether the bridge bit is wanted from the next attempt on.
    pub(crate) fn set_bridge_bit(&mut self, bridge_bit: BridgeBit) {
        if self.bridge_bit == bridge_bit {
            return;
        }
        self.bridge_bit = bridge_bit;
        match bridge_bit {
            BridgeBit::Never if self.current().is_bridge => self.at += 1,
            BridgeBit::Never => {}
            BridgeBit::Try => self.back_to_the_bit(),
        }
    }

    /// Notes a successful CONNACK.
    pub(crate) fn on_connected(&mut self, now_ms: u64) {
        self.is_proven = true;
        self.silent_closes = 0;
        if self.at == self.top() {
            self.guess = Guess::None;
            return;
        }
        let after_ms = if self.guess == Guess::Open { GUESS_CHECKED_AFTER_MS } else { UPWARD_AFTER_MS };
        self.upward_at_ms.get_or_insert(now_ms.saturating_add(after_ms));
    }

    /// Notes that the server does not speak the version, or does not take the bit.
    pub(crate) fn on_unsupported(&mut self) -> Step {
        self.silent_closes = 0;
        self.is_proven = false;
        match self.below() {
            Some(below) => {
                self.at = below;
                Step::Down
            }
            None => {
                self.at = self.top();
                Step::Exhausted
            }
        }
    }

    /// Notes that the server closed without CONNACK while the transport was fine.
    pub(crate) fn on_silent_close(&mut self) -> Step {
        if self.gives_up_the_bit() {
            return Step::Down;
        }
        self.silent_closes += 1;
        let max = if self.is_proven { SILENT_CLOSES_MAX_PROVEN } else { SILENT_CLOSES_MAX };
        if self.silent_closes < max {
            self.acquit_the_bit();
            return Step::Stay;
        }
        self.guess = match self.guess {
            Guess::None | Guess::Open => Guess::Open,
            Guess::Checking | Guess::Confirmed => Guess::Confirmed,
        };
        match self.on_unsupported() {
            Step::Exhausted => Step::Stay,
            step => step,
        }
    }

    /// Notes that the server said nothing at all.
    pub(crate) fn on_silence(&mut self) -> Step {
        if self.gives_up_the_bit() {
            return Step::Down;
        }
        self.acquit_the_bit();
        self.on_other_failure();
        Step::Stay
    }

    /// Notes a failure that says nothing about the version.
    pub(crate) fn on_other_failure(&mut self) {
        self.silent_closes = 0;
        if self.guess == Guess::Checking {
            // The server is away again, so that closing will say nothing.
            self.guess = Guess::None;
        }
    }

    /// Returns when a connection that works is to be left for a higher version, if it is. For the bit alone it is not.
    pub(crate) fn upward_at_ms(&self) -> Option<u64> {
        let highest = self.steps.get(self.top())?.version;
        self.upward_at_ms.filter(|_| self.current().version != highest)
    }

    /// Tells whether the next attempt may begin at the top again.
    pub(crate) fn is_upward_due(&self, now_ms: u64) -> bool {
        self.upward_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Starts at the top again. Not while an exchange at QoS 2 is open.
    pub(crate) fn step_up(&mut self) {
        self.at = self.top();
        self.is_proven = false;
        self.silent_closes = 0;
        self.upward_at_ms = None;
        if self.guess == Guess::Open {
            self.guess = Guess::Checking;
        }
    }

    /// Goes on without the bit where it has not worked yet: what a server that does not know it does is its own choice.
    fn gives_up_the_bit(&mut self) -> bool {
        let gives_up = self.current().is_bridge && !self.is_proven;
        if gives_up {
            self.at += 1;
        }
        gives_up
    }

    /// Goes back to the bit where the server does not answer without it either: then it was not the bit.
    fn acquit_the_bit(&mut self) {
        if !self.is_proven {
            self.back_to_the_bit();
        }
    }

    fn back_to_the_bit(&mut self) {
        let Some(above) = self.at.checked_sub(1) else { return };
        if !self.current().is_bridge
            && self.may_be(above)
            && self.steps.get(above).is_some_and(|step| step.is_bridge)
        {
            self.at = above;
            self.is_proven = false;
        }
    }

    fn top(&self) -> usize {
        (0..self.steps.len()).find(|at| self.may_be(*at)).unwrap_or(0)
    }

    fn below(&self) -> Option<usize> {
        (self.at + 1..self.steps.len()).find(|at| self.may_be(*at))
    }

    fn may_be(&self, at: usize) -> bool {
        let is_wanted = |step: &Dialect| !step.is_bridge || self.bridge_bit == BridgeBit::Try;
        self.steps.get(at).is_some_and(is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_down_when_the_server_says_so() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        assert_eq!(choice.current().version, Version::V5);
        assert_eq!(choice.on_unsupported(), Step::Down);
        assert_eq!(choice.current().version, Version::V3_1_1);
        assert_eq!(choice.on_unsupported(), Step::Down);
        assert_eq!(choice.current().version, Version::V3_1);
        assert_eq!(choice.on_unsupported(), Step::Exhausted);
        assert_eq!(choice.current().version, Version::V5);
    }

    #[test]
    fn two_silent_closes_step_down_but_not_with_another_failure_between() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        assert_eq!(choice.on_silent_close(), Step::Stay);
        choice.on_other_failure();
        assert_eq!(choice.on_silent_close(), Step::Stay);
        assert_eq!(choice.on_silent_close(), Step::Down);
        assert_eq!(choice.current().version, Version::V3_1_1);
    }

    #[test]
    fn a_server_that_only_closes_is_tried_from_the_top_again() {
        for (bridge_bit, closes) in [(BridgeBit::Never, 6), (BridgeBit::Try, 10)] {
            let mut choice = VersionChoice::new(Protocol::Auto, true);
            choice.set_bridge_bit(bridge_bit);
            let after_each = (0..closes).map(|_| {
                choice.on_silent_close();
                choice.current().version
            });
            let seen: Vec<Version> = after_each.collect();
            assert!(seen.contains(&Version::V3_1) && seen.last() == Some(&Version::V5), "{seen:?}");
        }
    }

    #[test]
    fn what_worked_is_not_given_up_for_two_silent_closes() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        choice.on_connected(0);
        for _ in 0..SILENT_CLOSES_MAX_PROVEN - 1 {
            assert_eq!(choice.on_silent_close(), Step::Stay);
        }
        assert_eq!(choice.on_silent_close(), Step::Down);
    }

    fn closed_twice(choice: &mut VersionChoice) {
        assert_eq!(choice.on_silent_close(), Step::Stay);
        assert_eq!(choice.on_silent_close(), Step::Down);
        assert_eq!(choice.current().version, Version::V3_1_1);
    }

    #[test]
    fn what_silence_alone_spoke_against_is_tried_again_soon_and_then_daily() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        closed_twice(&mut choice);
        choice.on_connected(0);
        assert_eq!(choice.upward_at_ms(), Some(GUESS_CHECKED_AFTER_MS));
        choice.step_up();
        closed_twice(&mut choice);
        choice.on_connected(100_000);
        assert_eq!(choice.upward_at_ms(), Some(100_000 + UPWARD_AFTER_MS));
        choice.step_up();
        closed_twice(&mut choice);
        choice.on_connected(0);
        assert_eq!(choice.upward_at_ms(), Some(UPWARD_AFTER_MS), "it was checked before");
    }

    #[test]
    fn what_works_when_it_is_tried_again_stays() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        closed_twice(&mut choice);
        choice.on_connected(0);
        choice.step_up();
        choice.on_connected(70_000);
        assert_eq!((choice.current().version, choice.upward_at_ms()), (Version::V5, None));
        choice.on_unsupported();
        choice.on_connected(80_000);
        assert_eq!(choice.upward_at_ms(), Some(80_000 + UPWARD_AFTER_MS), "the server has said so");
    }

    #[test]
    fn a_server_that_goes_away_while_it_is_asked_again_has_confirmed_nothing() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        closed_twice(&mut choice);
        choice.on_connected(0);
        choice.step_up();
        choice.on_other_failure();
        closed_twice(&mut choice);
        choice.on_connected(90_000);
        assert_eq!(choice.upward_at_ms(), Some(90_000 + GUESS_CHECKED_AFTER_MS));
    }

    #[test]
    fn a_fixed_version_never_changes() {
        let mut choice = VersionChoice::new(Protocol::V3_1_1, true);
        assert_eq!(choice.on_unsupported(), Step::Exhausted);
        for _ in 0..20 {
            assert_eq!(choice.on_silent_close(), Step::Stay);
        }
        choice.on_connected(0);
        assert_eq!(choice.current().version, Version::V3_1_1);
        assert_eq!(choice.upward_at_ms(), None);
    }

    #[test]
    fn a_lower_version_is_left_again_after_a_day() {
        let mut choice = VersionChoice::new(Protocol::Auto, false);
        choice.on_unsupported();
        choice.on_connected(1_000);
        choice.on_connected(50_000);
        assert_eq!(choice.upward_at_ms(), Some(1_000 + UPWARD_AFTER_MS));
        choice.step_up();
        assert_eq!((choice.current().version, choice.upward_at_ms()), (Version::V5, None));
    }

    #[test]
    fn a_client_id_that_3_1_forbids_keeps_it_out() {
        let mut choice = VersionChoice::new(Protocol::Auto, false);
        assert_eq!(choice.on_unsupported(), Step::Down);
        assert_eq!(choice.on_unsupported(), Step::Exhausted);
    }

    const AS_BRIDGE: Dialect = Dialect { version: Version::V3_1_1, is_bridge: true };
    const PLAIN: Dialect = Dialect { version: Version::V3_1_1, is_bridge: false };

    fn trying(protocol: Protocol) -> VersionChoice {
        let mut choice = VersionChoice::new(protocol, true);
        choice.set_bridge_bit(BridgeBit::Try);
        choice
    }

    #[test]
    fn the_bit_is_tried_before_each_version_that_knows_it() {
        let mut choice = trying(Protocol::Auto);
        let mut seen = vec![choice.current()];
        while choice.on_unsupported() == Step::Down {
            seen.push(choice.current());
        }
        let of = |version, is_bridge| Dialect { version, is_bridge };
        let v3_1 = [of(Version::V3_1, true), of(Version::V3_1, false)];
        assert_eq!(seen, [vec![of(Version::V5, false), AS_BRIDGE, PLAIN], v3_1.to_vec()].concat());
        assert_eq!(choice.current().version, Version::V5, "at the top again");
        assert_eq!(trying(Protocol::V5).current(), of(Version::V5, false));
    }

    #[test]
    fn a_close_or_silence_is_enough_where_the_bit_has_not_worked() {
        for note in [VersionChoice::on_silent_close, VersionChoice::on_silence] {
            let mut choice = trying(Protocol::V3_1_1);
            assert_eq!(
                (choice.current(), note(&mut choice), choice.current()),
                (AS_BRIDGE, Step::Down, PLAIN)
            );
        }
    }

    #[test]
    fn the_bit_is_not_to_blame_where_nothing_else_works_either() {
        for note in [VersionChoice::on_silent_close, VersionChoice::on_silence] {
            let mut choice = trying(Protocol::V3_1_1);
            for _ in 0..5 {
                assert_eq!((note(&mut choice), choice.current()), (Step::Down, PLAIN));
                assert_eq!((note(&mut choice), choice.current()), (Step::Stay, AS_BRIDGE));
            }
        }
    }

    #[test]
    fn a_bit_that_works_is_not_given_up_for_a_close() {
        let mut choice = trying(Protocol::V3_1_1);
        choice.on_connected(0);
        assert_eq!((choice.on_silent_close(), choice.current()), (Step::Stay, AS_BRIDGE));
        assert_eq!((choice.on_silence(), choice.current()), (Step::Stay, AS_BRIDGE));
        assert_eq!((choice.on_unsupported(), choice.current()), (Step::Down, PLAIN));
    }

    #[test]
    fn no_connection_is_left_to_try_the_bit_again() {
        let mut choice = trying(Protocol::V3_1_1);
        choice.on_unsupported();
        choice.on_connected(1_000);
        assert_eq!(choice.upward_at_ms(), None);
        assert!(!choice.is_upward_due(UPWARD_AFTER_MS) && choice.is_upward_due(1_000 + UPWARD_AFTER_MS));
        choice.step_up();
        assert_eq!(choice.current(), AS_BRIDGE);
    }

    #[test]
    fn the_wish_for_the_bit_may_change() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        choice.on_unsupported();
        choice.on_connected(0);
        assert_eq!(choice.current(), PLAIN, "not wanted");
        choice.set_bridge_bit(BridgeBit::Try);
        assert_eq!(choice.current(), AS_BRIDGE);
        choice.on_connected(0);
        choice.set_bridge_bit(BridgeBit::Never);
        assert_eq!(choice.current(), PLAIN);
    }
}
