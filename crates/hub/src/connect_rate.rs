//! How many connections a hub opens in a second, all connectors together: after an outage a thousand of them must not
//! knock at the same instant.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{BoxFuture, DialFailure};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// How many connections begin in a second.
const PER_SECOND: u32 = 100;

/// How many may begin at once after a while of silence.
const BURST: u32 = 50;

/// The longest that one waits for its turn; beyond it tries again later, as after any other failure.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The turns of one hub.
#[derive(Debug)]
pub(crate) struct ConnectRate {
    began: Instant,
    /// When the next turn is, counted from the beginning.
    next: Mutex<Duration>,
}

impl Default for ConnectRate {
    fn default() -> Self {
        Self { began: Instant::now(), next: Mutex::default() }
    }
}

impl ConnectRate {
    /// Waits for a turn.
    pub(crate) fn turn(self: &Arc<Self>) -> BoxFuture<Result<(), DialFailure>> {
        let wait = self.take();
        Box::pin(async move {
            match wait {
                Some(wait) => {
                    sleep(wait).await;
                    Ok(())
                }
                None => Err(DialFailure::new(
                    "many other connectors connect at the moment",
                    "nothing: it is tried again by itself",
                )),
            }
        })
    }

    /// Takes the next turn and returns how far away it is; `None`, and none is taken, when that is too far.
    fn take(&self) -> Option<Duration> {
        let interval = Duration::from_secs(1) / PER_SECOND;
        let now = self.began.elapsed();
        let mut next = self.next.lock();
        let turn = (*next).max(now.saturating_sub(interval * BURST));
        let wait = turn.saturating_sub(now);
        if wait > WAIT_MAX {
            return None;
        }
        *next = turn + interval;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_spread_and_a_few_wait_for_nothing() {
        let rate = Arc::new(ConnectRate::default());
        tokio::time::advance(Duration::from_secs(60)).await;
        let mut waits: Vec<Duration> = std::iter::from_fn(|| rate.take()).take(2_000).collect();
        assert_eq!(waits.len(), 551, "50 at once, then 100 a second for 5 s");
        assert_eq!((waits[0], waits[49], waits[50]), (Duration::ZERO, Duration::ZERO, Duration::ZERO));
        assert_eq!((waits.pop(), waits[150]), (Some(WAIT_MAX), Duration::from_secs(1)));
        assert!(rate.turn().await.is_err());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(rate.take(), Some(Duration::ZERO));
    }
}
