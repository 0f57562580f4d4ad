use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::session::{Session, SessionKey};

/// What is due when: sessions that end, Wills that are published. At most one reminder a session.
///
/// A reminder only asks for a look. What is really due is asked of the session when the time has come.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    reminders: Mutex<BTreeMap<(u64, SessionKey), Weak<Session>>>,
    changed: Notify,
}

impl Schedule {
    /// Asks for a look at the session at this time, and at `before` no more.
    pub(crate) fn remind(&self, session: &Arc<Session>, before_ms: Option<u64>, at_ms: Option<u64>) {
        if before_ms == at_ms {
            return;
        }
        let mut reminders = self.reminders.lock();
        if let Some(before_ms) = before_ms {
            reminders.remove(&(before_ms, session.key));
        }
        let Some(at_ms) = at_ms else { return };
        reminders.insert((at_ms, session.key), Arc::downgrade(session));
        let is_next = reminders.first_key_value().is_some_and(|(first, _)| *first == (at_ms, session.key));
        drop(reminders);
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Waits until there is an earlier reminder than before.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns when the next look is due.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.reminders.lock().first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Takes a session out whose time has come.
    pub(crate) fn take_due(&self, now_ms: u64) -> Option<Weak<Session>> {
        let mut reminders = self.reminders.lock();
        let next = reminders.first_entry()?;
        (next.key().0 <= now_ms).then(|| next.remove())
    }
}
