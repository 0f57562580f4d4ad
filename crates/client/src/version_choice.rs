//! Which version is spoken to one server (product: `protocol = "auto"`).

use crosspoint_protocol::Version;

use crate::Protocol;

/// Milliseconds after which a higher version is tried again.
const UPWARD_AFTER_MS: u64 = 24 * 3_600 * 1_000;

/// Closes without CONNACK after which the next version is tried, where none has worked yet.
const SILENT_CLOSES_MAX: u32 = 2;

/// The same where this version has worked: a broker that restarts behind a load balancer closes silently too.
const SILENT_CLOSES_MAX_PROVEN: u32 = 10;

/// Which version to speak to one server, and what is known about it.
#[derive(Debug, Clone)]
pub(crate) struct VersionChoice {
    fixed: Option<Version>,
    lowest: Version,
    current: Version,
    is_proven: bool,
    silent_closes: u32,
    upward_at_ms: Option<u64>,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another version is to be tried, at once.
    Down,
    /// The version stays.
    Stay,
    /// The server accepts none of the versions that may be tried; it starts at the top again.
    Exhausted,
}

impl VersionChoice {
    pub(crate) fn new(protocol: Protocol, allows_3_1: bool) -> Self {
        let fixed = protocol.fixed();
        Self {
            fixed,
            lowest: if allows_3_1 { Version::V3_1 } else { Version::V3_1_1 },
            current: fixed.unwrap_or(Version::V5),
            is_proven: false,
            silent_closes: 0,
            upward_at_ms: None,
        }
    }

    pub(crate) const fn current(&self) -> Version {
        self.current
    }

    /// Notes a successful CONNACK.
    pub(crate) fn on_connected(&mut self, now_ms: u64) {
        self.is_proven = true;
        self.silent_closes = 0;
        if self.fixed.is_none() && self.current != Version::V5 {
            self.upward_at_ms.get_or_insert(now_ms.saturating_add(UPWARD_AFTER_MS));
        }
    }

    /// Notes that the server does not speak the version.
    pub(crate) fn on_unsupported(&mut self) -> Step {
        self.silent_closes = 0;
        self.is_proven = false;
        if self.fixed.is_some() {
            return Step::Exhausted;
        }
        match self.current {
            Version::V5 => self.current = Version::V3_1_1,
            Version::V3_1_1 if self.lowest == Version::V3_1 => self.current = Version::V3_1,
            _ => {
                self.current = Version::V5;
                return Step::Exhausted;
            }
        }
        Step::Down
    }

    /// Notes that the server closed without CONNACK while the transport was fine.
    pub(crate) fn on_silent_close(&mut self) -> Step {
        if self.fixed.is_some() {
            return Step::Stay;
        }
        self.silent_closes += 1;
        let max = if self.is_proven { SILENT_CLOSES_MAX_PROVEN } else { SILENT_CLOSES_MAX };
        if self.silent_closes < max {
            return Step::Stay;
        }
        match self.on_unsupported() {
            Step::Exhausted => Step::Stay,
            step => step,
        }
    }

    /// Notes a failure that says nothing about the version.
    pub(crate) const fn on_other_failure(&mut self) {
        self.silent_closes = 0;
    }

    /// Returns when a higher version is to be tried, if one is.
    pub(crate) const fn upward_at_ms(&self) -> Option<u64> {
        self.upward_at_ms
    }

    /// Starts at the top again. Not while an exchange at QoS 2 is open.
    pub(crate) const fn step_up(&mut self) {
        self.current = Version::V5;
        self.is_proven = false;
        self.silent_closes = 0;
        self.upward_at_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_down_when_the_server_says_so() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        assert_eq!(choice.current(), Version::V5);
        assert_eq!(choice.on_unsupported(), Step::Down);
        assert_eq!(choice.current(), Version::V3_1_1);
        assert_eq!(choice.on_unsupported(), Step::Down);
        assert_eq!(choice.current(), Version::V3_1);
        assert_eq!(choice.on_unsupported(), Step::Exhausted);
        assert_eq!(choice.current(), Version::V5);
    }

    #[test]
    fn two_silent_closes_step_down_but_not_with_another_failure_between() {
        let mut choice = VersionChoice::new(Protocol::Auto, true);
        assert_eq!(choice.on_silent_close(), Step::Stay);
        choice.on_other_failure();
        assert_eq!(choice.on_silent_close(), Step::Stay);
        assert_eq!(choice.on_silent_close(), Step::Down);
        assert_eq!(choice.current(), Version::V3_1_1);
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

    #[test]
    fn a_fixed_version_never_changes() {
        let mut choice = VersionChoice::new(Protocol::V3_1_1, true);
        assert_eq!(choice.on_unsupported(), Step::Exhausted);
        for _ in 0..20 {
            assert_eq!(choice.on_silent_close(), Step::Stay);
        }
        choice.on_connected(0);
        assert_eq!(choice.current(), Version::V3_1_1);
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
        assert_eq!((choice.current(), choice.upward_at_ms()), (Version::V5, None));
    }

    #[test]
    fn a_client_id_that_3_1_forbids_keeps_it_out() {
        let mut choice = VersionChoice::new(Protocol::Auto, false);
        assert_eq!(choice.on_unsupported(), Step::Down);
        assert_eq!(choice.on_unsupported(), Step::Exhausted);
    }
}
