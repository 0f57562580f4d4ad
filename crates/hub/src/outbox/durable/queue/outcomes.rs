//! What becomes of a message by its outcome: it has left, is sent again, waits with its topic, or goes to the dead letters.

use crosspoint_client::{PublishError, PublishResult, QoS, ReasonCode};

use super::Queue;
use super::places::{Place, State};
use crate::outbox::durable::entry::Item;
use crate::outbox::durable::figures::End;

/// The wait after the first refusal for the moment; it doubles up to its bound.
const REFUSED_WAIT_MIN_MS: u64 = 1_000;
const REFUSED_WAIT_MAX_MS: u64 = 30_000;

/// What an outcome means.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::outbox::durable) enum Verdict {
    /// It has left the outbox.
    Ended { end: End, item: Item, maybe_twice: bool },
    /// It belongs to the dead letters, for this reason.
    Bury(String),
    /// It is refused for the moment and will be sent again.
    Refused(ReasonCode),
    /// It will be sent again, or nobody knows it.
    Kept,
}

impl Queue {
    /// Takes the outcome of a message that was with the client.
    pub(in crate::outbox::durable) fn on_outcome(
        &mut self,
        position: u64,
        outcome: PublishResult,
        now_ms: u64,
    ) -> Verdict {
        if self.places.get(position).is_none_or(|place| place.state() != State::InFlight) {
            return Verdict::Kept;
        }
        match outcome {
            Ok(receipt) => self.on_confirmed(position, receipt.may_be_duplicate),
            // The client was closed: the message stays for the next one.
            Err(PublishError::Closed) => self.keep_back(position),
            Err(PublishError::Unconfirmed) => {
                if let Some(place) = self.places.get_mut(position) {
                    place.may_be_there = true;
                }
                self.keep_back(position)
            }
            Err(PublishError::Refused(reason)) if is_for_the_moment(reason) => {
                self.on_refused(position, reason, now_ms)
            }
            Err(PublishError::Expired) => self.end_now(position, End::Expired, false),
            Err(error) => self.bury(position, error.to_string()),
        }
    }

    fn on_confirmed(&mut self, position: u64, may_be_duplicate: bool) -> Verdict {
        self.suspicion.on_progress(position);
        let Some(place) = self.places.get(position) else { return Verdict::Kept };
        let is_promised = place.item().is_some_and(|item| item.qos != QoS::AtMostOnce);
        let end = if is_promised { End::Confirmed } else { End::Sent };
        let maybe_twice = is_promised && (may_be_duplicate || place.may_be_there);
        self.end_now(position, end, maybe_twice)
    }

    fn on_refused(&mut self, position: u64, reason: ReasonCode, now_ms: u64) -> Verdict {
        let Some(place) = self.places.get_mut(position) else { return Verdict::Kept };
        place.refusals += 1;
        let refusals = place.refusals;
        if self.attempts_max.is_some_and(|max| refusals >= max) {
            return self.bury(position, format!("the broker refused it {refusals} times: {reason}"));
        }
        let wait_ms = REFUSED_WAIT_MIN_MS << (refusals - 1).min(5);
        let until_ms = now_ms + wait_ms.min(REFUSED_WAIT_MAX_MS);
        if self.hold(position, until_ms) {
            self.places.set(position, State::Held);
        } else {
            self.keep_back(position);
            self.pause_until(until_ms, true);
        }
        Verdict::Refused(reason)
    }

    /// Ends a message that is not with the client: it expired, or room is needed.
    pub(in crate::outbox::durable) fn end_kept_back(&mut self, position: u64, end: End) -> Verdict {
        self.end_now(position, end, false)
    }

    /// Ends a message that has been handed over for good.
    pub(in crate::outbox::durable) fn end_in_flight(&mut self, position: u64, end: End) -> Verdict {
        self.end_now(position, end, false)
    }

    /// Gives a message up; it ends when the dead letters have it.
    pub(in crate::outbox::durable) fn bury(&mut self, position: u64, reason: String) -> Verdict {
        self.places.set(position, State::Burying);
        Verdict::Bury(reason)
    }

    /// Notes that the dead letters have a message.
    pub(in crate::outbox::durable) fn buried(&mut self, position: u64) -> Verdict {
        self.end_now(position, End::Dead, false)
    }

    /// Notes that the dead letters could not take a message now; it is tried again.
    pub(in crate::outbox::durable) fn not_buried(&mut self, position: u64, now_ms: u64) {
        if self.places.get(position).is_some_and(|place| place.state() == State::Burying) {
            self.places.set(position, State::KeptBack);
            self.pause_until(now_ms + REFUSED_WAIT_MIN_MS, false);
        }
    }

    /// Lets a message be sent again, as soon as nothing speaks against it.
    pub(super) fn keep_back(&mut self, position: u64) -> Verdict {
        let state = match self.suspicion.is_aside(position) {
            true => State::Aside,
            false if self.join(position) => State::Held,
            false => State::KeptBack,
        };
        self.places.set(position, state);
        Verdict::Kept
    }

    /// Lets what waited with its topic be sent again, when the time has come.
    pub(super) fn release(&mut self, now_ms: u64) {
        for position in self.lanes.release(now_ms) {
            if self.places.get(position).is_some_and(|place| place.state() == State::Held) {
                self.keep_back(position);
            }
        }
    }

    /// Lets a topic wait from this message on, where order is kept for each topic.
    fn hold(&mut self, position: u64, until_ms: u64) -> bool {
        let item = self.places.get(position).and_then(Place::item);
        item.is_some_and(|item| self.lanes.hold(item.message.topic(), position, until_ms))
    }

    /// Lets a message wait with its topic, if that waits.
    fn join(&mut self, position: u64) -> bool {
        let item = self.places.get(position).and_then(Place::item);
        item.is_some_and(|item| self.lanes.join(item.message.topic(), position))
    }

    fn end_now(&mut self, position: u64, end: End, maybe_twice: bool) -> Verdict {
        match self.places.end_at(position, end) {
            Some(item) => Verdict::Ended { end, item, maybe_twice },
            None => Verdict::Kept,
        }
    }
}

/// Tells whether the same message may well be taken a little later.
const fn is_for_the_moment(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::QuotaExceeded | ReasonCode::PacketIdentifierInUse)
}
