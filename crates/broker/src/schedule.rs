use std::{cmp::Reverse, collections::BinaryHeap, sync::Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::session::Session;

/// What is due when: sessions that end, Wills that are published.
///
/// An entry is only a reminder. What is really due is asked of the session when the time has come, so that nothing
/// has to be taken out when a client comes back.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    reminders: Mutex<BinaryHeap<Reverse<Reminder>>>,
    changed: Notify,
}

#[derive(Debug)]
struct Reminder {
    at_ms: u64,
    session: Weak<Session>,
}

impl Schedule {
    /// Asks for a look at the session at this time.
    pub(crate) fn remind(&self, at_ms: u64, session: Weak<Session>) {
        let is_next = {
            let mut reminders = self.reminders.lock();
            reminders.push(Reverse(Reminder { at_ms, session }));
            reminders.peek().is_some_and(|next| next.0.at_ms >= at_ms)
        };
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Waits until an earlier reminder may have come than there was.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns when the next look is due.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.reminders.lock().peek().map(|next| next.0.at_ms)
    }

    /// Takes a session out whose time has come.
    pub(crate) fn take_due(&self, now_ms: u64) -> Option<Weak<Session>> {
        let mut reminders = self.reminders.lock();
        if reminders.peek()?.0.at_ms > now_ms {
            return None;
        }
        reminders.pop().map(|next| next.0.session)
    }
}

impl PartialEq for Reminder {
    fn eq(&self, other: &Self) -> bool {
        self.at_ms == other.at_ms
    }
}

impl Eq for Reminder {}

impl PartialOrd for Reminder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reminder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ms.cmp(&other.at_ms)
    }
}
