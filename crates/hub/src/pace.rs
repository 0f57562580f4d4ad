//! Keeps a warning that every message could cause from being said for every message.

use std::time::Duration;

use tokio::time::Instant;

/// How long occurrences are gathered before they are told again.
const EVERY: Duration = Duration::from_secs(10);

/// Says the first occurrence at once, then once in a while how many there were since.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    silent_until: Option<Instant>,
    unsaid: u64,
}

impl Pace {
    /// Counts occurrences, and returns how many are to be told now, if it is time.
    pub(crate) fn note(&mut self, occurrences: usize) -> Option<u64> {
        self.unsaid += occurrences as u64;
        let now = Instant::now();
        if self.silent_until.is_some_and(|until| now < until) {
            return None;
        }
        self.silent_until = Some(now + EVERY);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_said_at_once_and_the_rest_together() {
        let mut pace = Pace::default();
        assert_eq!(pace.note(1), Some(1));
        assert_eq!((pace.note(2), pace.note(3)), (None, None));
        tokio::time::advance(EVERY).await;
        assert_eq!(pace.note(4), Some(9));
    }
}
