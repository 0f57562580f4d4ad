//! Which message ends the connection every time it is sent.
//!
//! A broker, or a box before it, that cannot bear one message drops the connection and says nothing. The client sends
//! the message again on the next connection, and so on for ever, with everything behind it waiting. So: after two quick
//! ends with the same oldest message in flight, one message at a time. One that is alone in flight when the connection
//! ends again is put aside. When another one has got through, it is tried alone once more; when the connection ends with
//! that too, it was that message. When several others do not get through either, it was the connection.

use std::collections::BTreeSet;

/// A connection that ends within this time after it began ended quickly.
const QUICK_MS: u64 = 10_000;

/// How many quick ends with the same oldest message make it one at a time.
const QUICK_ENDS: u32 = 2;

/// How many quick ends in a row make it one at a time whatever was in flight: a broker that hangs up may take
/// acknowledgements with it, so that the oldest message is another one each time.
const QUICK_ENDS_ANY: u32 = 4;

/// How long a message stays aside when there is no other to try.
const ASIDE_MS: u64 = 60_000;

/// What a suspicion asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Let one message be in flight at a time.
    Narrow,
    /// Take this message back from the client: it is put aside.
    Withdraw(u64),
    /// Let the message at this position wait like the others again.
    Acquit(u64),
    /// It was the message at this position: it belongs to the dead letters.
    Condemn(u64),
    /// Let as many be in flight as usual.
    Widen,
}

/// How many messages are put aside at a time; when the next one does not get through either, it is none of them.
const ASIDE_MAX: usize = 4;

/// What is known about the ends of connections.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// When the connection began.
    since_ms: Option<u64>,
    /// The oldest message in flight at the last quick end, and how many such ends there were in a row.
    oldest: Option<(u64, u32)>,
    /// How many quick ends there were in a row.
    quick_ends: u32,
    /// One at a time, up to the newest message that was in flight when that began.
    narrow_through: Option<u64>,
    /// What was put aside, and until when if nothing else is there to try.
    aside: Vec<u64>,
    aside_until_ms: u64,
    /// None of those put aside was it.
    acquits: bool,
    /// Another message has got through.
    has_progress: bool,
    /// What was put aside while another message got through: it has one more try.
    on_trial: BTreeSet<u64>,
    /// What has failed its trial.
    condemned: Option<u64>,
    cause: String,
}

impl Suspicion {
    pub(super) const fn is_narrow(&self) -> bool {
        self.narrow_through.is_some()
    }

    /// Tells whether a message is put aside.
    pub(super) fn is_aside(&self, position: u64) -> bool {
        self.aside.contains(&position) || self.condemned == Some(position)
    }

    /// Returns the message that has failed its trial.
    pub(super) const fn condemned(&self) -> Option<u64> {
        self.condemned
    }

    /// Returns why the last connection ended.
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }

    pub(super) fn on_connected(&mut self, now_ms: u64) {
        self.since_ms = Some(now_ms);
    }

    /// Notes that a message got through.
    pub(super) fn on_progress(&mut self, position: u64) {
        if self.oldest.is_some_and(|(oldest, _)| oldest == position) {
            self.oldest = None;
        }
        if self.is_narrow() {
            self.aside.retain(|aside| *aside != position);
            self.on_trial.remove(&position);
            self.has_progress = true;
        }
    }

    /// Notes the end of a connection, with the oldest and the newest message that were in flight.
    pub(super) fn on_disconnected(
        &mut self,
        in_flight: Option<(u64, u64)>,
        cause: &str,
        now_ms: u64,
    ) -> Option<Order> {
        let since_ms = self.since_ms.take()?;
        let (Some((oldest, newest)), true) = (in_flight, now_ms.saturating_sub(since_ms) < QUICK_MS) else {
            (self.oldest, self.quick_ends) = (None, 0);
            return None;
        };
        cause.clone_into(&mut self.cause);
        if self.is_narrow() {
            return self.suspect_alone(oldest, now_ms);
        }
        let ends = match self.oldest {
            Some((known, ends)) if known == oldest => ends + 1,
            _ => 1,
        };
        self.oldest = Some((oldest, ends));
        self.quick_ends += 1;
        (ends >= QUICK_ENDS || self.quick_ends >= QUICK_ENDS_ANY).then(|| {
            (self.narrow_through, self.quick_ends) = (Some(newest), 0);
            Order::Narrow
        })
    }

    /// Returns what follows from what has got through, one thing at a time. Everything before `head` has ended.
    pub(super) fn judge(&mut self, head: u64, now_ms: u64) -> Option<Order> {
        self.acquits |= !self.aside.is_empty() && now_ms >= self.aside_until_ms;
        if let Some(position) = self.condemned.take() {
            return Some(Order::Condemn(position));
        }
        if self.has_progress || self.acquits {
            if let Some(position) = self.aside.pop() {
                if self.has_progress {
                    self.on_trial.insert(position);
                }
                return Some(Order::Acquit(position));
            }
            (self.has_progress, self.acquits) = (false, false);
        }
        let is_through = self.narrow_through.is_some_and(|through| head > through);
        (is_through && self.aside.is_empty()).then(|| {
            self.narrow_through = None;
            self.on_trial.clear();
            Order::Widen
        })
    }

    /// Returns when [`judge`](Self::judge) has something to say though nothing gets through.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (!self.aside.is_empty()).then_some(self.aside_until_ms)
    }

    fn suspect_alone(&mut self, oldest: u64, now_ms: u64) -> Option<Order> {
        if self.on_trial.remove(&oldest) {
            self.condemned = Some(oldest);
            return Some(Order::Withdraw(oldest));
        }
        if self.aside.len() == ASIDE_MAX {
            // The connection ends whatever is sent.
            self.acquits = true;
            return None;
        }
        self.aside.push(oldest);
        self.aside_until_ms = now_ms + ASIDE_MS;
        Some(Order::Withdraw(oldest))
    }
}
