//! Which message ends the connection every time it is sent.
//!
//! A broker, or a box before it, that cannot bear one message drops the connection and says nothing. The client sends
//! the message again on the next connection, and so on for ever, with everything behind it waiting. So: after two quick
//! ends with the same oldest message in flight, one message at a time; one that is alone in flight when the connection
//! ends again is put aside; when another one gets through, it was that message; when the other one does not either, it
//! was not.

/// A connection that ends within this time after it began, or after the last progress, ended quickly.
const QUICK_MS: u64 = 10_000;

/// How many quick ends with the same oldest message make it one at a time.
const QUICK_ENDS: u32 = 2;

/// How long a message stays aside when there is no other to try.
const ASIDE_MS: u64 = 60_000;

/// What a suspicion asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Let one message be in flight at a time.
    Narrow,
    /// Take this message back from the client: it is put aside.
    Withdraw(u64),
    /// The message at this position was not it: it goes on waiting.
    Acquit(u64),
    /// It was the message at this position: it belongs to the dead letters.
    Condemn(u64),
    /// Let as many be in flight as usual.
    Widen,
}

/// What is known about the ends of connections.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// When the connection began, or the last message got through on it.
    since_ms: Option<u64>,
    /// The oldest message in flight at the last quick end, and how many such ends there were in a row.
    oldest: Option<(u64, u32)>,
    is_narrow: bool,
    /// What was put aside, and until when if nothing else is there to try.
    aside: Option<(u64, u64)>,
    /// Something else has got through since.
    has_progress: bool,
    cause: String,
}

impl Suspicion {
    pub(super) const fn is_narrow(&self) -> bool {
        self.is_narrow
    }

    /// Returns the message that is put aside.
    pub(super) fn suspect(&self) -> Option<u64> {
        self.aside.map(|(position, _)| position)
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
        self.has_progress = self.is_narrow;
    }

    /// Notes the end of a connection, with the oldest message that was in flight.
    pub(super) fn on_disconnected(&mut self, oldest: Option<u64>, cause: &str, now_ms: u64) -> Option<Order> {
        let since_ms = self.since_ms.take()?;
        let (Some(oldest), true) = (oldest, now_ms.saturating_sub(since_ms) < QUICK_MS) else {
            self.oldest = None;
            return None;
        };
        cause.clone_into(&mut self.cause);
        if self.is_narrow {
            return Some(self.suspect_alone(oldest, now_ms));
        }
        let ends = match self.oldest {
            Some((known, ends)) if known == oldest => ends + 1,
            _ => 1,
        };
        self.oldest = Some((oldest, ends));
        (ends >= QUICK_ENDS).then(|| {
            self.is_narrow = true;
            Order::Narrow
        })
    }

    /// Returns what follows from what got through, if anything does now.
    pub(super) fn judge(&mut self, now_ms: u64) -> Option<Order> {
        if std::mem::take(&mut self.has_progress) {
            return Some(match self.aside.take() {
                Some((position, _)) => {
                    self.has_progress = true;
                    Order::Condemn(position)
                }
                None => {
                    self.is_narrow = false;
                    Order::Widen
                }
            });
        }
        let (position, until_ms) = self.aside?;
        (now_ms >= until_ms).then(|| {
            self.aside = None;
            Order::Acquit(position)
        })
    }

    /// Returns when [`judge`](Self::judge) has something to say though nothing gets through.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.aside.map(|(_, until_ms)| until_ms)
    }

    fn suspect_alone(&mut self, oldest: u64, now_ms: u64) -> Order {
        match self.aside.take() {
            // The connection ends with others too.
            Some((position, _)) => Order::Acquit(position),
            None => {
                self.aside = Some((oldest, now_ms + ASIDE_MS));
                Order::Withdraw(oldest)
            }
        }
    }
}
