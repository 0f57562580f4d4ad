//! Finds what connections that end again and again have in common: pure, so that it can be tested by itself.
//!
//! One lost connection is the network's weather. Three that lived equally long tell of a clock somewhere: that of a
//! firewall which forgets idle links, of a proxy that limits every link, of a broker that hears no pings.

use crosspoint_client::Cause;

use crate::diagnosis::{Diagnosis, Fault};

/// How many connections in a row must have lived equally long.
const ALIKE_MIN: usize = 3;

/// How many losses within [`WINDOW_MS`] are too many, however long each connection lived.
const LOSSES_MIN: usize = 5;

/// How far back losses count, in milliseconds.
const WINDOW_MS: u64 = 600_000;

/// Shorter lives are no period, in milliseconds: the client itself judges those.
const LIFE_MIN_MS: u64 = 5_000;

/// How far lives may be apart to count as equal: this, or a twentieth, in milliseconds.
const ALIKE_WITHIN_MS: u64 = 2_000;

/// A connection that held this much longer than the last ones has mended itself, in milliseconds.
const GRACE_MS: u64 = 60_000;

/// How many losses are looked at.
pub(super) const LOSSES_MAX: usize = 16;

/// The end of a connection that the server had accepted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loss {
    /// When, on the monotonic clock.
    pub(super) at_ms: u64,
    /// How long it had lived.
    pub(super) lived_ms: u64,
    pub(super) cause: Cause,
}

/// What losses have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flapping {
    pub(super) diagnosis: Diagnosis,
    /// What they do, to be said of any cause: `drops every 40 s`.
    pub(super) rhythm: String,
    /// A connection that holds for so long shows that it is over, in milliseconds.
    pub(super) over_after_ms: u64,
}

/// Returns what these losses, the oldest first, have in common at a time on their clock; `None` when it is nothing, or is
/// over.
pub(super) fn judge(losses: &[Loss], keep_alive_s: u16, now_ms: u64) -> Option<Flapping> {
    let last = losses.last()?;
    let found = match period_ms(losses) {
        Some(period_ms) => of_period(period_ms, keep_alive_s, &last.cause),
        None => of_many(losses, now_ms)?,
    };
    let is_over = now_ms.saturating_sub(last.at_ms) > found.over_after_ms;
    (!is_over).then_some(found)
}

/// Returns how long each of the last connections lived, when they lived equally long.
fn period_ms(losses: &[Loss]) -> Option<u64> {
    let last = losses.get(losses.len().checked_sub(ALIKE_MIN)?..)?;
    let lives = last.iter().map(|loss| loss.lived_ms);
    let (shortest, longest) = (lives.clone().min()?, lives.clone().max()?);
    let is_alike = longest - shortest <= ALIKE_WITHIN_MS.max(longest / 20);
    (is_alike && shortest >= LIFE_MIN_MS).then(|| lives.sum::<u64>() / ALIKE_MIN as u64)
}

fn of_many(losses: &[Loss], now_ms: u64) -> Option<Flapping> {
    let last = losses.last()?;
    let recent = losses.iter().filter(|loss| now_ms.saturating_sub(loss.at_ms) <= WINDOW_MS).count();
    let rhythm = format!("was lost {recent} times within 10 minutes");
    let cause = format!("lost {recent} times within 10 minutes; the last time: {}", last.cause);
    (recent >= LOSSES_MIN).then(|| Flapping {
        diagnosis: Diagnosis::new(Fault::ConnectionLost, cause, last.cause.next_step()),
        rhythm,
        over_after_ms: WINDOW_MS,
    })
}

fn of_period(period_ms: u64, keep_alive_s: u16, last: &Cause) -> Flapping {
    Flapping {
        diagnosis: reason(period_ms, keep_alive_s, last),
        rhythm: format!("drops every {} s", seconds(period_ms)),
        over_after_ms: 2 * period_ms + GRACE_MS,
    }
}

/// Returns what it means that connections live so long each.
fn reason(period_ms: u64, keep_alive_s: u16, last: &Cause) -> Diagnosis {
    let every = seconds(period_ms);
    let keep_alive_ms = u64::from(keep_alive_s) * 1_000;
    let is_near = |expected_ms: u64| period_ms.abs_diff(expected_ms) <= ALIKE_WITHIN_MS.max(expected_ms / 20);
    if !is_silent(last) {
        let cause = format!("drops every {every} s: {last}");
        return Diagnosis::new(Fault::ConnectionLost, cause, last.next_step());
    }
    if keep_alive_s > 0 && is_near(keep_alive_ms * 3 / 2) {
        let cause = format!(
            "drops every {every} s = 1.5 x the keep alive of {keep_alive_s} s: the broker hears no pings, a firewall cuts \
             idle links"
        );
        return idle_limit(cause, u64::from(keep_alive_s));
    }
    if *last == Cause::KeepAliveTimeout {
        let cause = format!(
            "drops every {every} s with a ping unanswered: a firewall forgets links that are idle for less than the keep \
             alive of {keep_alive_s} s"
        );
        return idle_limit(cause, u64::from(keep_alive_s));
    }
    if keep_alive_s == 0 || period_ms < keep_alive_ms {
        let cause = format!(
            "drops every {every} s, before a ping is due: a firewall or a proxy cuts links that are idle for {every} s, or \
             every link after {every} s"
        );
        return idle_limit(cause, every);
    }
    Diagnosis::new(
        Fault::ConnectionLost,
        format!(
            "drops every {every} s, whatever is sent: a proxy, a load balancer or the broker ends every link after that time"
        ),
        "raise the time limit there, or ask whoever runs the broker",
    )
}

/// Returns what it means that links which are idle for less than so many seconds are cut.
fn idle_limit(cause: String, limit_s: u64) -> Diagnosis {
    let keep_alive_s = (limit_s / 2).clamp(5, 60);
    let next_step =
        format!("lower keep_alive_s below the time after which links are cut, for example to {keep_alive_s}");
    let value = i64::try_from(keep_alive_s).unwrap_or(i64::MAX);
    Diagnosis::new(Fault::ConnectionLost, cause, next_step).integer("keep_alive_s", value)
}

/// Tells whether a connection ended without a word about why.
const fn is_silent(cause: &Cause) -> bool {
    matches!(cause, Cause::ConnectionLost | Cause::Stream { .. } | Cause::KeepAliveTimeout)
}

const fn seconds(ms: u64) -> u64 {
    (ms + 500) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that lived so many seconds each, with a second between them.
    fn losses(lives_s: &[u64], cause: &Cause) -> Vec<Loss> {
        let mut at_ms = 0;
        let loss = |lived_s: &u64| {
            at_ms += (lived_s + 1) * 1_000;
            Loss { at_ms, lived_ms: lived_s * 1_000, cause: cause.clone() }
        };
        lives_s.iter().map(loss).collect()
    }

    fn judged(lives_s: &[u64], cause: &Cause, keep_alive_s: u16) -> Option<(String, String)> {
        let losses = losses(lives_s, cause);
        let now_ms = losses.last().unwrap().at_ms;
        judge(&losses, keep_alive_s, now_ms).map(|found| (found.diagnosis.cause, found.diagnosis.next_step))
    }

    #[track_caller]
    fn says(found: Option<(String, String)>, cause: &str, next_step: &str) {
        let (said, mend) = found.expect("it is noticed");
        assert!(said.contains(cause) && mend.contains(next_step), "{said}; {mend}");
    }

    #[test]
    fn one_and_a_half_keep_alives_are_a_firewall_that_eats_pings() {
        let found = judged(&[700, 90, 91, 89], &Cause::ConnectionLost, 60);
        says(found, "drops every 90 s = 1.5 x the keep alive of 60 s", "keep_alive_s");
        says(judged(&[90, 90, 90], &Cause::ConnectionLost, 60), "firewall cuts idle links", "to 30");
    }

    #[test]
    fn an_unanswered_ping_each_time_is_an_idle_limit_below_the_keep_alive() {
        let found = judged(&[70, 70, 70], &Cause::KeepAliveTimeout, 60);
        says(found, "drops every 70 s with a ping unanswered", "lower keep_alive_s");
    }

    #[test]
    fn a_period_below_the_keep_alive_is_an_idle_limit_and_one_above_a_limit_of_every_link() {
        says(judged(&[30, 30, 31], &Cause::ConnectionLost, 60), "idle for 30 s", "to 15");
        says(judged(&[30, 30, 31], &Cause::ConnectionLost, 0), "before a ping is due", "to 15");
        let found = judged(&[3_600, 3_601, 3_600], &Cause::ConnectionLost, 60);
        says(found, "drops every 3600 s, whatever is sent", "time limit");
    }

    #[test]
    fn a_broker_that_says_why_is_believed() {
        let cause = Cause::AckDeadline { after_ms: 30_000 };
        says(judged(&[40, 40, 40], &cause, 60), "has acknowledged nothing for 30000 ms", "disk");
    }

    #[test]
    fn two_losses_and_unequal_ones_are_weather_until_they_are_many() {
        assert_eq!(judged(&[90, 90], &Cause::ConnectionLost, 60), None);
        assert_eq!(judged(&[90, 20, 55], &Cause::ConnectionLost, 60), None);
        let found = judged(&[90, 20, 55, 7, 33], &Cause::ConnectionLost, 60);
        says(found, "lost 5 times within 10 minutes", "check the network");
        assert_eq!(judged(&[900, 200, 550, 70, 330], &Cause::ConnectionLost, 60), None, "over hours");
    }

    #[test]
    fn a_connection_that_holds_longer_ends_it() {
        let losses = losses(&[90, 90, 90], &Cause::ConnectionLost);
        let last_ms = losses.last().unwrap().at_ms;
        assert!(judge(&losses, 60, last_ms + 200_000).is_some());
        assert_eq!(judge(&losses, 60, last_ms + 2 * 90_000 + GRACE_MS + 1), None);
    }
}
