//! How far a round has come, for those who wait for a certain point of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often those who wait look by themselves.
const LOOK: Duration = Duration::from_millis(10);

/// Counts acknowledgements and arrivals, and wakes whoever waits for the n-th.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    events: AtomicU64,
    /// The event at which somebody is to be woken.
    alarm: AtomicU64,
    /// When the last event was, in milliseconds since `begun`.
    last_ms: AtomicU64,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            events: AtomicU64::new(0),
            alarm: AtomicU64::new(u64::MAX),
            last_ms: AtomicU64::new(0),
            lock: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    /// Notes an acknowledgement or an arrival.
    pub(crate) fn event(&self) {
        let events = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        self.touch();
        if events >= self.alarm.load(Ordering::Relaxed) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.alarm.store(u64::MAX, Ordering::Relaxed);
            self.bell.notify_all();
        }
    }

    /// Notes that something happened that is no event, such as a connection.
    pub(crate) fn touch(&self) {
        self.last_ms.store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns how many events there were.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Returns how long nothing has happened.
    pub(crate) fn idle(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }

    /// Waits for the n-th event; returns early after a look or when another event was waited for.
    pub(crate) fn wait_a_while(&self, event: u64) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.alarm.fetch_min(event, Ordering::Relaxed);
        if self.events() < event {
            drop(self.bell.wait_timeout(guard, LOOK));
        }
    }
}

/// Whether a phase of a round goes on, for all its threads.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    is_over: AtomicBool,
    is_last: AtomicBool,
}

impl Phase {
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Lets nobody connect any more; what is connected goes on.
    pub(crate) fn end_connecting(&self) {
        self.is_last.store(true, Ordering::Relaxed);
    }

    pub(crate) fn may_connect(&self) -> bool {
        !self.is_over() && !self.is_last.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_an_event_is_woken_by_it() {
        let progress = Progress::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                while progress.events() < 1_000 {
                    progress.wait_a_while(1_000);
                }
                progress.events()
            });
            (0..1_000).for_each(|_| progress.event());
            assert_eq!(waiting.join().unwrap(), 1_000);
        });
        assert!(progress.idle() < Duration::from_secs(60));
    }
}
