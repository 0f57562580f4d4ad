//! What a pump has taken out of its outbox and what has no outcome yet: order, window, retries, poison.
//!
//! A plain state machine: positions, outcomes and the present go in, decisions come out. It has no clock, no lock and
//! knows neither client nor store.
//!
//! ```text
//!   head                                                   taken next
//!    │ ended │ in flight │ ended │ kept back │ in flight │      │  not taken: in the store
//! ───┴───────┴───────────┴───────┴───────────┴───────────┴──────┴──────────────► positions
//! ```
//!
//! Invariants: places stand in a row from the head on, so that what is before the head has ended; first transmissions
//! leave in the order of the positions, but those of a topic that is held (C5); what is kept back goes before what is
//! not yet taken.

use super::entry::Item;
use super::figures::End;
use super::lanes::Lanes;
use super::suspicion::{Order, Suspicion};
use crate::config::plan::Lane;
use places::{Place, Places, State};

mod outcomes;
mod places;

pub(super) use outcomes::Verdict;

/// How many messages are with the client before the first is confirmed.
pub(crate) const IN_FLIGHT_MAX: usize = 4_096;

/// How far the newest place may be from the head: what bounds the memory when one message is never answered.
pub(super) const SPAN_MAX: usize = 16_384;

/// How many messages wait here behind one of their topic that was refused for the moment. They are not in flight: it is a
/// bound of its own, and the memory of both is the same.
pub(super) const HELD_MAX: usize = 4_096;

/// The wait when the client's queue is full, which holds as many as may be in flight: something else is in it.
const CLIENT_FULL_WAIT_MS: u64 = 10;

/// Everything between the head of an outbox and what has not been taken from it.
#[derive(Debug)]
pub(super) struct Queue {
    places: Places,
    lanes: Lanes,
    /// After a refusal for the moment: nothing is sent before everything else has its outcome, and not before then.
    pause: Option<Pause>,
    /// How often a message is refused for the moment before it is given up; `None` is never.
    attempts_max: Option<u32>,
    suspicion: Suspicion,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until_ms: u64,
    /// Whether everything in flight must have its outcome first.
    drains: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this place again.
    Again(u64),
    /// Take the next message and send it.
    Take,
    /// Nothing before this time, unless an outcome comes.
    Wait(u64),
    /// Nothing until an outcome comes.
    Rest,
}

/// A message that is to go to the dead letters, with what is known of it.
#[derive(Debug)]
pub(super) struct Corpse<'a> {
    pub(super) item: &'a Item,
    pub(super) attempts: u32,
    pub(super) may_be_there: bool,
}

impl Queue {
    /// Begins at the head of an outbox.
    pub(super) fn new(head: u64) -> Self {
        Self {
            places: Places::new(head),
            lanes: Lanes::default(),
            pause: None,
            attempts_max: None,
            suspicion: Suspicion::default(),
        }
    }

    pub(super) const fn set_attempts_max(&mut self, attempts_max: Option<u32>) {
        self.attempts_max = attempts_max;
    }

    /// Sets what one message holds up that is refused for the moment.
    pub(super) const fn set_lane(&mut self, lane: Lane) {
        self.lanes.set(lane);
    }

    // --- what was taken ---

    /// Returns the first position that has not ended.
    pub(super) const fn head(&self) -> u64 {
        self.places.head()
    }

    /// Returns the position that has to be taken next.
    pub(super) fn end(&self) -> u64 {
        self.places.end()
    }

    /// Takes the next message: it is with the client, or will be in a moment.
    pub(super) fn take(&mut self, item: Item) {
        self.places.push(Some(item), State::InFlight);
    }

    /// Tells whether the messages of a topic wait: they are to be [set aside](Self::take_held), and not sent.
    pub(super) fn holds(&self, topic: &str) -> bool {
        self.lanes.is_held(topic)
    }

    /// Takes the next message, and lets it wait with its topic.
    pub(super) fn take_held(&mut self, item: Item) {
        let position = self.end();
        let is_held = self.lanes.join(item.message.topic(), position);
        self.places.push(Some(item), if is_held { State::Held } else { State::KeptBack });
    }

    /// Takes the next message, to be sent before everything that is not taken.
    pub(super) fn take_kept_back(&mut self, item: Item) {
        self.places.push(Some(item), State::KeptBack);
    }

    /// Takes a message that an earlier process may have sent, and that the client goes on sending itself.
    pub(super) fn take_restored(&mut self, item: Item) {
        let position = self.end();
        self.take(item);
        if let Some(place) = self.places.get_mut(position) {
            place.may_be_there = true;
        }
    }

    /// Takes a position at which nothing is to be sent any more, and that counted for so much.
    pub(super) fn take_ended(&mut self, end: End, bytes: u64) {
        let position = self.end();
        self.places.push(None, State::Ended(end));
        self.places.note_revived(position, end, bytes);
    }

    /// Takes a message that goes to the dead letters without having been sent.
    pub(super) fn take_burying(&mut self, item: Item) {
        self.places.push(Some(item), State::Burying);
    }

    // --- what to do ---

    /// Returns what to do next, on a connection.
    pub(super) fn next(&mut self, now_ms: u64) -> Next {
        self.release(now_ms);
        if let Some(pause) = self.pause {
            if pause.drains && self.open() > 0 {
                return Next::Rest;
            }
            if now_ms < pause.until_ms {
                return Next::Wait(pause.until_ms);
            }
            self.pause = None;
        }
        if self.open() >= self.window() {
            return Next::Rest;
        }
        match self.places.next_kept_back() {
            Some(position) => Next::Again(position),
            None if self.places.len() >= SPAN_MAX || self.places.held() >= HELD_MAX => {
                self.lanes.due_ms().map_or(Next::Rest, Next::Wait)
            }
            None => Next::Take,
        }
    }

    /// Returns when the first topic that waits may go on.
    pub(super) const fn lanes_due_ms(&self) -> Option<u64> {
        self.lanes.due_ms()
    }

    /// Returns how many messages may be with the client at a time.
    pub(super) const fn window(&self) -> usize {
        if self.suspicion.is_narrow() { 1 } else { IN_FLIGHT_MAX }
    }

    /// Returns how many positions have not ended.
    pub(super) fn waiting(&self) -> u64 {
        self.places.iter().filter(|(_, place)| !place.has_ended()).count() as u64
    }

    /// Returns how many messages are with the client.
    pub(super) const fn open(&self) -> usize {
        self.places.open()
    }

    /// Tells whether a position has not ended.
    pub(super) fn waits(&self, position: u64) -> bool {
        self.places.get(position).is_some_and(|place| !place.has_ended())
    }

    /// Tells whether a message is to be sent again and is not with the client.
    pub(super) fn is_kept_back(&self, position: u64) -> bool {
        let state = self.places.get(position).map(Place::state);
        matches!(state, Some(State::KeptBack | State::Held | State::Aside))
    }

    /// Ends the wait after a refusal for the moment.
    pub(super) fn retry_now(&mut self) {
        self.lanes.hurry();
        if let Some(pause) = &mut self.pause {
            pause.until_ms = 0;
        }
    }

    /// Returns the message at a position.
    pub(super) fn item(&self, position: u64) -> Option<&Item> {
        self.places.get(position)?.item()
    }

    /// Returns what the dead letters are to know of the message at a position.
    pub(super) fn corpse(&self, position: u64) -> Option<Corpse<'_>> {
        let place = self.places.get(position)?;
        Some(Corpse { item: place.item()?, attempts: place.attempts, may_be_there: place.may_be_there })
    }

    /// Notes that a message that was kept back is with the client again.
    pub(super) fn sent_again(&mut self, position: u64) {
        self.places.set(position, State::InFlight);
        if let Some(place) = self.places.get_mut(position) {
            place.attempts = place.attempts.saturating_add(1);
        }
    }

    /// Notes that the client's queue was full, so that the message is not with it after all.
    pub(super) fn not_sent(&mut self, position: u64, now_ms: u64) {
        self.keep_back(position);
        if let Some(place) = self.places.get_mut(position) {
            place.attempts = place.attempts.saturating_sub(1);
        }
        self.pause_until(now_ms + CLIENT_FULL_WAIT_MS, false);
    }

    /// Returns the oldest message that is kept back.
    pub(super) fn oldest_kept_back(&self) -> Option<u64> {
        if self.places.kept_back() + self.places.held() == 0 {
            return None;
        }
        let waits = |place: &Place| matches!(place.state(), State::KeptBack | State::Held);
        self.places.iter().find(|(_, place)| waits(place)).map(|(position, _)| position)
    }

    /// Moves the head over one position that has ended, and returns how it did.
    pub(super) fn pass(&mut self) -> Option<End> {
        self.places.pass()
    }

    /// Returns what has ended behind the head and would wait again after a crash: how many bytes that is.
    pub(super) const fn revived_bytes(&self) -> u64 {
        self.places.revived_bytes()
    }

    /// Returns what would wait again after a crash, and how it ended: the caller marks it.
    pub(super) fn take_unmarked(&mut self) -> Vec<(u64, End)> {
        self.places.take_unmarked()
    }

    /// Notes that the client is gone: what has no outcome is to be sent again.
    pub(super) fn on_client_gone(&mut self) {
        self.lanes.clear();
        // First, or what was put aside would stay there with nobody to know of it.
        self.suspicion = Suspicion::default();
        for position in self.places.that_are(State::InFlight).collect::<Vec<u64>>() {
            self.keep_back(position);
            if let Some(place) = self.places.get_mut(position) {
                place.may_be_there = true;
            }
        }
        for state in [State::Aside, State::Held] {
            for position in self.places.that_are(state).collect::<Vec<u64>>() {
                self.keep_back(position);
            }
        }
        self.pause = None;
    }

    // --- the connection ---

    /// Notes that a connection has begun.
    pub(super) fn on_connected(&mut self, now_ms: u64) {
        self.suspicion.on_connected(now_ms);
    }

    /// Notes that the connection has ended, and why; returns what is to be done about what may have ended it.
    pub(super) fn on_disconnected(&mut self, cause: &str, now_ms: u64) -> Option<Order> {
        let mut open = self.places.that_are(State::InFlight);
        let in_flight = open.next().map(|oldest| (oldest, open.last().unwrap_or(oldest)));
        self.suspicion.on_disconnected(in_flight, cause, now_ms)
    }

    /// Returns what is to be done now that a message has got through, or that nothing else is there to try.
    pub(super) fn judge(&mut self, now_ms: u64) -> Option<Order> {
        // What is withdrawn is judged when the client has given it back.
        if self
            .suspicion
            .condemned()
            .is_some_and(|position| !self.is_kept_back(position) && self.waits(position))
        {
            return None;
        }
        let order = self.suspicion.judge(self.head(), now_ms);
        if let Some(Order::Acquit(position) | Order::Condemn(position)) = order
            && self.is_kept_back(position)
        {
            self.keep_back(position);
        }
        order
    }

    /// Returns when [`judge`](Self::judge) has something to say though nothing gets through.
    pub(super) fn judge_at_ms(&self) -> Option<u64> {
        self.suspicion.due_ms()
    }

    /// Returns why the last connection ended.
    pub(super) fn disconnect_cause(&self) -> &str {
        self.suspicion.cause()
    }

    fn pause_until(&mut self, until_ms: u64, drains: bool) {
        let before = self.pause.unwrap_or(Pause { until_ms, drains });
        self.pause = Some(Pause { until_ms: before.until_ms.max(until_ms), drains: before.drains || drains });
    }
}
