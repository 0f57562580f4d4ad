//! How a long backlog drains, on one line at the bottom of a terminal.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use crosspoint_hub::control::Gauge;
use tokio::time::{Instant, sleep};

use crate::amount::{count, things};
use crate::progress::ProgressLine;

/// A backlog that is shorter is not worth a line.
const WAITING_MIN: u64 = 1_000;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// Over how many looks the rate is taken.
const LOOKS: usize = 10;

/// Watches the outboxes of a hub, if anybody sees it.
#[derive(Debug)]
pub(super) struct Draining {
    gauge: Option<Gauge>,
    line: ProgressLine,
    rate: Rate,
}

impl Draining {
    pub(super) fn new(gauge: Gauge) -> Self {
        let line = ProgressLine::new();
        Self { gauge: line.is_seen().then_some(gauge), line, rate: Rate::default() }
    }

    /// Looks and shows until it is dropped; what it shows stays until then.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn run(&mut self) -> Infallible {
        let Some(gauge) = self.gauge.clone() else { return std::future::pending().await };
        loop {
            sleep(EVERY).await;
            self.rate.note(Instant::now(), gauge.waiting().outboxes);
            match self.rate.text() {
                Some(text) => self.line.show(|| text),
                None => self.line.clear(),
            }
        }
    }
}

/// How many messages waited at which moments, the newest last.
#[derive(Debug, Default)]
struct Rate {
    looks: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn note(&mut self, at: Instant, waiting: u64) {
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((at, waiting));
    }

    /// Says how it goes, while a long backlog becomes shorter.
    fn text(&self) -> Option<String> {
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        let (sent, waiting) = (first.1.checked_sub(last.1)?, last.1);
        let took = last.0.saturating_duration_since(first.0).as_millis();
        if sent == 0 || took == 0 || waiting < WAITING_MIN {
            return None;
        }
        let a_second = u64::try_from(u128::from(sent) * 1_000 / took).unwrap_or(u64::MAX).max(1);
        let left = things(waiting, "message", "messages");
        let remaining = lasting(waiting.div_ceil(a_second));
        Some(format!("{left} left in outboxes, {} a second, about {remaining}", count(a_second)))
    }
}

/// Returns a time as long as people say it.
fn lasting(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(looks: &[(u64, u64)]) -> Option<String> {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        for (ms, waiting) in looks {
            rate.note(begin + Duration::from_millis(*ms), *waiting);
        }
        rate.text()
    }

    #[test]
    fn a_backlog_that_becomes_shorter_says_how_fast_and_how_long() {
        assert_eq!(
            text(&[(0, 20_000), (500, 19_000), (1_000, 18_000)]).as_deref(),
            Some("18,000 messages left in outboxes, 2,000 a second, about 9 s")
        );
        assert_eq!(
            text(&[(0, 1_000_001), (1_000, 1_000_000)]).as_deref(),
            Some("1,000,000 messages left in outboxes, 1 a second, about 278 h")
        );
    }

    #[test]
    fn nothing_is_said_of_a_short_one_or_of_one_that_stands_or_grows() {
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[(0, 5_000)]), None, "one look is no rate");
        assert_eq!(text(&[(0, 5_000), (500, 5_000)]), None);
        assert_eq!(text(&[(0, 5_000), (500, 6_000)]), None);
        assert_eq!(text(&[(0, 5_000), (500, 999)]), None);
    }

    #[test]
    fn the_rate_is_that_of_the_last_looks() {
        let mut looks: Vec<(u64, u64)> = vec![(0, 9_000_000)];
        looks.extend((1..=LOOKS as u64).map(|look| (look * 500, 100_000 - look * 500)));
        assert_eq!(
            text(&looks).as_deref(),
            Some("95,000 messages left in outboxes, 1,000 a second, about 95 s")
        );
    }
}
