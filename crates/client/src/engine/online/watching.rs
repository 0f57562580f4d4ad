//! What a ping does not show: a server that acknowledges nothing, and a link on which nothing flows.

use crosspoint_protocol::{
    Message, Now, QoS, ReasonCode,
    connection::Delta,
    packet::PublishProperties,
    session::{Outgoing, SessionState, Stage},
};

use super::Online;
use crate::{
    Cause, NO_COOKIE,
    canary::{CanaryWatch, Step},
    engine::Engine,
};

/// How long the server has had the oldest packet that it has not answered, since it last answered one.
#[derive(Debug)]
pub(super) struct AckDeadline {
    /// 0 is off.
    limit_ms: u64,
    waits: Waits,
}

#[derive(Debug, Clone, Copy)]
enum Waits {
    /// No answer is awaited, or one has just come.
    No,
    /// The packet ends at this position of what is written, and has not all left: the peer does not read.
    Unsent(u64),
    /// It has left, since this time.
    Since(u64),
}

impl AckDeadline {
    pub(super) const fn new(limit_ms: u64) -> Self {
        Self { limit_ms, waits: Waits::No }
    }

    /// Notes that the server has answered something.
    pub(super) const fn on_progress(&mut self) {
        self.waits = Waits::No;
    }

    /// Notes, at the end of a turn, whether an answer is awaited, where what is written ends, and up to where it left.
    const fn update(&mut self, is_awaited: bool, end: u64, flushed: u64, now: Now) {
        self.waits = match self.waits {
            _ if !is_awaited => Waits::No,
            Waits::No => Waits::Unsent(end),
            waits => waits,
        };
        if let Waits::Unsent(end) = self.waits
            && end <= flushed
        {
            self.waits = Waits::Since(now.monotonic_ms);
        }
    }

    pub(super) const fn due_ms(&self) -> Option<u64> {
        match self.waits {
            Waits::Since(since_ms) if self.limit_ms != 0 => Some(since_ms.saturating_add(self.limit_ms)),
            _ => None,
        }
    }
}

/// Tells whether a delta says that the server has answered.
pub(super) const fn is_answer(delta: &Delta) -> bool {
    matches!(delta, Delta::Received { .. } | Delta::Finished { .. })
}

impl Engine {
    /// Ends a connection on which the server has answered nothing for too long.
    pub(super) fn watch_acks(&self, online: &mut Online, now: Now) {
        if !online.is_open() {
            return;
        }
        let is_awaited = is_unanswered(online.core.session()) || self.subscriptions.awaits_answer();
        let end = online.wire.written + online.core.transmit().len() as u64;
        online.acks.update(is_awaited, end, online.wire.flushed, now);
        if online.acks.due_ms().is_some_and(|due_ms| due_ms <= now.monotonic_ms) {
            let after_ms = self.options.ack_deadline_ms;
            online.end_for(Cause::AckDeadline { after_ms }, ReasonCode::ImplementationSpecificError);
        }
    }

    /// Sends the canary when it is due, and ends a connection on which it does not come back.
    pub(super) fn watch_canary(&mut self, online: &mut Online, now: Now) {
        let Some(canary) = &mut self.canary else { return };
        if !online.is_open() || !canary.is_due(now) {
            return;
        }
        if !self.subscriptions.is_granted(canary.filter()) {
            canary.rest();
            return;
        }
        match canary.step(std::mem::take(&mut online.has_paused), now) {
            Step::Rest => {}
            Step::Publish(payload) => publish(canary, payload.as_bytes(), online, now),
            Step::Lost => {
                let topic = canary.topic().to_string();
                online.end_for(Cause::CanaryLost { topic }, ReasonCode::ImplementationSpecificError);
            }
        }
    }

    pub(in crate::engine) fn canary_due_ms(&self) -> Option<u64> {
        self.canary.as_ref().and_then(CanaryWatch::due_ms)
    }
}

fn publish(canary: &mut CanaryWatch, payload: &[u8], online: &mut Online, now: Now) {
    let qos = QoS::AtMostOnce;
    let message = Message::new(canary.topic(), payload, qos, false, &PublishProperties::default(), now);
    let outgoing =
        Outgoing { message, subscription_ids: Default::default(), cookie: NO_COOKIE, qos, retain: false };
    if online.core.publish(outgoing, now).is_err() {
        // Larger than the server takes: then nothing can be missed either.
        canary.rest();
    }
}

/// Tells whether a message is in flight that the server has and has not answered. What waits for our own store is not.
fn is_unanswered(session: &SessionState) -> bool {
    session.outgoing.iter().any(|(_, stage, _)| matches!(stage, Stage::Published | Stage::Released))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(monotonic_ms: u64) -> Now {
        Now { monotonic_ms, wall_ms: 0 }
    }

    #[test]
    fn the_deadline_counts_from_when_the_bytes_have_left() {
        let mut acks = AckDeadline::new(100);
        acks.update(true, 10, 9, at(0));
        assert_eq!(acks.due_ms(), None);
        acks.update(true, 500, 9, at(50));
        acks.update(true, 500, 10, at(60));
        assert_eq!(acks.due_ms(), Some(160));
    }

    #[test]
    fn an_answer_begins_the_deadline_anew_and_the_last_one_ends_it() {
        let mut acks = AckDeadline::new(100);
        acks.update(true, 10, 10, at(0));
        acks.on_progress();
        acks.update(true, 20, 20, at(70));
        assert_eq!(acks.due_ms(), Some(170));
        acks.on_progress();
        acks.update(false, 20, 20, at(80));
        assert_eq!(acks.due_ms(), None);
    }

    #[test]
    fn nothing_is_off() {
        let mut acks = AckDeadline::new(0);
        acks.update(true, 10, 10, at(0));
        assert_eq!(acks.due_ms(), None);
    }
}
