//! The return to the first server of a list.

use std::task::{Context, Poll};

use crosspoint_protocol::{Now, ReasonCode};

use super::{super::dialling::has_exactly_once, Online};
use crate::{BoxFuture, ByteStream, Cause, DialFailure, engine::Engine};

/// Whether the connection is to be left for the first server.
pub(super) enum Returning {
    No,
    /// A stream to the first server is being opened. No CONNECT follows on it: at another node of the same cluster that
    /// would end the connection that there is.
    Looking {
        stream: BoxFuture<Result<Box<dyn ByteStream>, DialFailure>>,
        by_ms: u64,
    },
    /// The first server is there. The connection is left as soon as no exchange at QoS 2 is open; after this time it
    /// is looked again first.
    Wanted {
        by_ms: u64,
    },
}

impl Online {
    pub(in crate::engine) fn poll_look(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<dyn ByteStream>, DialFailure>> {
        match &mut self.returning {
            Returning::Looking { stream, .. } => stream.as_mut().poll(cx),
            Returning::No | Returning::Wanted { .. } => Poll::Pending,
        }
    }

    /// Returns when the return needs a turn; `due_ms` is when it is looked next.
    pub(super) const fn return_due_ms(&self, due_ms: Option<u64>) -> Option<u64> {
        match self.returning {
            Returning::No => due_ms,
            Returning::Looking { by_ms, .. } | Returning::Wanted { by_ms } => Some(by_ms),
        }
    }
}

impl Engine {
    /// Returns when it is looked next whether the first server is there.
    pub(in crate::engine) fn look_due_ms(&self) -> Option<u64> {
        if self.close_by_ms.is_some() { None } else { self.attempts.look_due_ms() }
    }

    /// Begins a look that is due, and ends one that takes too long.
    pub(super) fn look_at_first(&mut self, online: &mut Online, now: Now) {
        if !online.is_open() || self.close_by_ms.is_some() {
            online.returning = Returning::No;
            return;
        }
        let is_due =
            online.return_due_ms(self.look_due_ms()).is_some_and(|due_ms| due_ms <= now.monotonic_ms);
        if !is_due {
            return;
        }
        match std::mem::replace(&mut online.returning, Returning::No) {
            Returning::No => self.begin_look(online, now),
            Returning::Looking { .. } => self.put_off_return("no stream was open in time", now),
            Returning::Wanted { .. } => {
                self.attempts.plan_look(now.monotonic_ms, &mut self.environment.random);
            }
        }
    }

    fn begin_look(&self, online: &mut Online, now: Now) {
        let Some((server, dialect)) = self.attempts.first() else { return };
        let (stream, by_ms) = (self.open(server, dialect.version), self.dial_deadline_ms(now));
        online.returning = Returning::Looking { stream, by_ms };
    }

    /// Takes what came of a look. The stream has shown what it could and is closed.
    pub(in crate::engine) fn on_looked(&mut self, result: Result<Box<dyn ByteStream>, DialFailure>) {
        let now = self.now();
        let by_ms = self.dial_deadline_ms(now);
        let crate::engine::Link::Online(online) = &mut self.link else { return };
        online.returning = if result.is_ok() { Returning::Wanted { by_ms } } else { Returning::No };
        if let Err(failure) = result {
            self.put_off_return(&failure.to_string(), now);
        }
    }

    fn put_off_return(&mut self, cause: &str, now: Now) {
        tracing::debug!(client_id = %self.options.client_id, cause, "The first server is not there yet.");
        self.attempts.on_look_failed(now.monotonic_ms, &mut self.environment.random);
    }

    /// Leaves the connection for the first server, if that is there and no exchange at QoS 2 is open.
    pub(super) fn return_to_first(&self, online: &mut Online) {
        let is_wanted = matches!(online.returning, Returning::Wanted { .. });
        if is_wanted && online.is_open() && !has_exactly_once(online.core.session()) {
            online.end_for(Cause::ReturnToFirst, ReasonCode::Success);
        }
    }
}
