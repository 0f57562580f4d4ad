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

use std::collections::VecDeque;

use crosspoint_client::{PublishError, PublishResult, QoS, ReasonCode};

use super::entry::Item;
use super::figures::End;
use super::lanes::Lanes;
use super::suspicion::{Order, Suspicion};
use crate::config::plan::Lane;

/// How many messages are with the client before the first is confirmed.
pub(crate) const IN_FLIGHT_MAX: usize = 4_096;

/// How far the newest place may be from the head: what bounds the memory when one message is never answered.
pub(super) const SPAN_MAX: usize = 16_384;

/// How many messages wait here behind one of their topic that was refused for the moment.
const HELD_MAX: usize = IN_FLIGHT_MAX;

/// The wait after the first refusal for the moment; it doubles up to its bound.
const REFUSED_WAIT_MIN_MS: u64 = 1_000;
const REFUSED_WAIT_MAX_MS: u64 = 30_000;

/// The wait when the client's queue is full, which holds as many as may be in flight: something else is in it.
const CLIENT_FULL_WAIT_MS: u64 = 10;

/// Everything between the head of an outbox and what has not been taken from it.
#[derive(Debug)]
pub(super) struct Queue {
    places: VecDeque<Place>,
    /// The position of the first place.
    head: u64,
    /// How many of the places before it need not be looked at for something to send again.
    cursor: usize,
    /// How many are with the client.
    open: usize,
    /// How many are kept back.
    kept_back: usize,
    /// How many wait with their topic.
    held: usize,
    lanes: Lanes,
    /// What all of the places would count for if a crash made them wait again.
    revived_bytes: u64,
    /// After a refusal for the moment: nothing is sent before everything else has its outcome, and not before then.
    pause: Option<Pause>,
    /// How often a message is refused for the moment before it is given up; `None` is never.
    attempts_max: Option<u32>,
    suspicion: Suspicion,
}

#[derive(Debug)]
struct Place {
    /// Gone once it has ended.
    item: Option<Item>,
    state: State,
    /// How often the broker has refused it for the moment.
    refusals: u32,
    /// How often it was handed to the client.
    attempts: u32,
    /// It was sent before, and whether it arrived is not known.
    may_be_there: bool,
    /// What it would count for if it were to wait again after a crash: how it ended is not on disk.
    revived_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is to be sent again.
    KeptBack,
    /// It waits with its topic.
    Held,
    /// It has an outcome to come.
    InFlight,
    /// It is suspected to end every connection on which it is sent: not sent until that is known.
    Aside,
    /// It is on its way to the dead letters.
    Burying,
    Ended(End),
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

/// What an outcome means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It has left the outbox.
    Ended { end: End, item: Item, maybe_twice: bool },
    /// It belongs to the dead letters, for this reason.
    Bury(String),
    /// It is refused for the moment and will be sent again.
    Refused(ReasonCode),
    /// It will be sent again, or nobody knows it.
    Kept,
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
            places: VecDeque::new(),
            head,
            cursor: 0,
            open: 0,
            kept_back: 0,
            held: 0,
            lanes: Lanes::default(),
            revived_bytes: 0,
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
        self.head
    }

    /// Returns the position that has to be taken next.
    pub(super) fn end(&self) -> u64 {
        self.head + self.places.len() as u64
    }

    /// Takes the next message: it is with the client, or will be in a moment.
    pub(super) fn take(&mut self, item: Item) {
        self.push(Some(item), State::InFlight);
        self.open += 1;
    }

    /// Tells whether the messages of a topic wait: they are to be [set aside](Self::take_held), and not sent.
    pub(super) fn holds(&self, topic: &str) -> bool {
        self.lanes.is_held(topic)
    }

    /// Takes the next message, and lets it wait with its topic.
    pub(super) fn take_held(&mut self, item: Item) {
        let position = self.end();
        let is_held = self.lanes.join(item.message.topic(), position);
        self.push(Some(item), if is_held { State::Held } else { State::KeptBack });
        self.held += usize::from(is_held);
        self.kept_back += usize::from(!is_held);
    }

    /// Takes the next message, to be sent before everything that is not taken.
    pub(super) fn take_kept_back(&mut self, item: Item) {
        self.push(Some(item), State::KeptBack);
        self.kept_back += 1;
    }

    /// Takes a message that an earlier process may have sent, and that the client goes on sending itself.
    pub(super) fn take_restored(&mut self, item: Item) {
        self.take(item);
        if let Some(place) = self.places.back_mut() {
            place.attempts = 1;
            place.may_be_there = true;
        }
    }

    /// Takes a position at which nothing is to be sent any more, and that counted for so much.
    pub(super) fn take_ended(&mut self, end: End, bytes: u64) {
        self.push(None, State::Ended(end));
        self.note_revived(self.end() - 1, end, bytes);
    }

    /// Takes a message that goes to the dead letters without having been sent.
    pub(super) fn take_burying(&mut self, item: Item) {
        self.push(Some(item), State::Burying);
    }

    fn push(&mut self, item: Option<Item>, state: State) {
        let attempts = u32::from(state == State::InFlight);
        self.places.push_back(Place {
            item,
            state,
            refusals: 0,
            attempts,
            may_be_there: false,
            revived_bytes: 0,
        });
    }

    // --- what to do ---

    /// Returns what to do next, on a connection.
    pub(super) fn next(&mut self, now_ms: u64) -> Next {
        self.release(now_ms);
        if let Some(pause) = self.pause {
            if pause.drains && self.open > 0 {
                return Next::Rest;
            }
            if now_ms < pause.until_ms {
                return Next::Wait(pause.until_ms);
            }
            self.pause = None;
            self.cursor = 0;
        }
        if self.open >= self.window() {
            return Next::Rest;
        }
        match self.next_kept_back() {
            Some(position) => Next::Again(position),
            None if self.places.len() >= SPAN_MAX || self.held >= HELD_MAX => {
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
        let is_waiting = |place: &&Place| !matches!(place.state, State::Ended(_));
        self.places.iter().filter(is_waiting).count() as u64
    }

    /// Returns how many messages are with the client.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// Tells whether a position has not ended.
    pub(super) fn waits(&self, position: u64) -> bool {
        self.place(position).is_some_and(|place| !matches!(place.state, State::Ended(_)))
    }

    /// Tells whether a message is to be sent again and is not with the client.
    pub(super) fn is_kept_back(&self, position: u64) -> bool {
        self.place(position)
            .is_some_and(|place| matches!(place.state, State::KeptBack | State::Held | State::Aside))
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
        self.place(position)?.item.as_ref()
    }

    /// Returns what the dead letters are to know of the message at a position.
    pub(super) fn corpse(&self, position: u64) -> Option<Corpse<'_>> {
        let place = self.place(position)?;
        let item = place.item.as_ref()?;
        Some(Corpse { item, attempts: place.attempts, may_be_there: place.may_be_there })
    }

    /// Notes that a message that was kept back is with the client again.
    pub(super) fn sent_again(&mut self, position: u64) {
        self.set(position, State::InFlight);
        if let Some(place) = self.place_mut(position) {
            place.attempts = place.attempts.saturating_add(1);
        }
    }

    /// Notes that the client's queue was full, so that the message is not with it after all.
    pub(super) fn not_sent(&mut self, position: u64, now_ms: u64) {
        self.keep_back(position);
        if let Some(place) = self.place_mut(position) {
            place.attempts = place.attempts.saturating_sub(1);
        }
        self.pause_until(now_ms + CLIENT_FULL_WAIT_MS, false);
    }

    // --- outcomes ---

    /// Takes the outcome of a message that was with the client.
    pub(super) fn on_outcome(&mut self, position: u64, outcome: PublishResult, now_ms: u64) -> Verdict {
        if self.place(position).is_none_or(|place| place.state != State::InFlight) {
            return Verdict::Kept;
        }
        match outcome {
            Ok(receipt) => self.on_confirmed(position, receipt.may_be_duplicate),
            // The client was closed: the message stays for the next one.
            Err(PublishError::Closed) => self.keep_back(position),
            Err(PublishError::Unconfirmed) => {
                if let Some(place) = self.place_mut(position) {
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
        let Some(place) = self.place(position) else { return Verdict::Kept };
        let is_promised = place.item.as_ref().is_some_and(|item| item.qos != QoS::AtMostOnce);
        let end = if is_promised { End::Confirmed } else { End::Sent };
        let maybe_twice = is_promised && (may_be_duplicate || place.may_be_there);
        self.end_now(position, end, maybe_twice)
    }

    fn on_refused(&mut self, position: u64, reason: ReasonCode, now_ms: u64) -> Verdict {
        let Some(place) = self.place_mut(position) else { return Verdict::Kept };
        place.refusals += 1;
        let refusals = place.refusals;
        if self.attempts_max.is_some_and(|max| refusals >= max) {
            return self.bury(position, format!("the broker refused it {refusals} times: {reason}"));
        }
        let wait_ms = REFUSED_WAIT_MIN_MS << (refusals - 1).min(5);
        let until_ms = now_ms + wait_ms.min(REFUSED_WAIT_MAX_MS);
        if self.hold(position, until_ms) {
            self.set(position, State::Held);
        } else {
            self.keep_back(position);
            self.pause_until(until_ms, true);
        }
        Verdict::Refused(reason)
    }

    /// Ends a message that is not with the client: it expired, or room is needed.
    pub(super) fn end_kept_back(&mut self, position: u64, end: End) -> Verdict {
        self.end_now(position, end, false)
    }

    /// Ends a message that has been handed over for good.
    pub(super) fn end_in_flight(&mut self, position: u64, end: End) -> Verdict {
        self.end_now(position, end, false)
    }

    /// Gives a message up; it ends when the dead letters have it.
    pub(super) fn bury(&mut self, position: u64, reason: String) -> Verdict {
        self.set(position, State::Burying);
        Verdict::Bury(reason)
    }

    /// Notes that the dead letters have a message.
    pub(super) fn buried(&mut self, position: u64) -> Verdict {
        self.end_now(position, End::Dead, false)
    }

    /// Notes that the dead letters could not take a message now; it is tried again.
    pub(super) fn not_buried(&mut self, position: u64, now_ms: u64) {
        if self.place(position).is_some_and(|place| place.state == State::Burying) {
            self.set(position, State::KeptBack);
            self.cursor = 0;
            self.pause_until(now_ms + REFUSED_WAIT_MIN_MS, false);
        }
    }

    /// Returns the oldest message that is kept back.
    pub(super) fn oldest_kept_back(&self) -> Option<u64> {
        if self.kept_back + self.held == 0 {
            return None;
        }
        let waits = |place: &Place| matches!(place.state, State::KeptBack | State::Held);
        let index = self.places.iter().position(waits)?;
        Some(self.head + index as u64)
    }

    /// Moves the head over one position that has ended, and returns how it did.
    pub(super) fn pass(&mut self) -> Option<End> {
        let Some(Place { state: State::Ended(end), .. }) = self.places.front() else { return None };
        let end = *end;
        let revived_bytes = self.places.pop_front().map_or(0, |place| place.revived_bytes);
        self.revived_bytes -= revived_bytes;
        self.head += 1;
        self.cursor = self.cursor.saturating_sub(1);
        Some(end)
    }

    /// Returns what has ended behind the head and would wait again after a crash: how many bytes that is.
    pub(super) const fn revived_bytes(&self) -> u64 {
        self.revived_bytes
    }

    /// Returns what would wait again after a crash, and how it ended: the caller marks it.
    pub(super) fn take_unmarked(&mut self) -> Vec<(u64, End)> {
        self.revived_bytes = 0;
        let mut unmarked = Vec::new();
        for (index, place) in self.places.iter_mut().enumerate().filter(|(_, place)| place.revived_bytes > 0)
        {
            place.revived_bytes = 0;
            if let State::Ended(end) = place.state {
                unmarked.push((self.head + index as u64, end));
            }
        }
        unmarked
    }

    fn note_revived(&mut self, position: u64, end: End, bytes: u64) {
        // Those have a mark.
        if matches!(end, End::Dead | End::Command | End::Replaced) {
            return;
        }
        if let Some(place) = self.place_mut(position) {
            place.revived_bytes = bytes;
            self.revived_bytes += bytes;
        }
    }

    /// Notes that the client is gone: what has no outcome is to be sent again.
    pub(super) fn on_client_gone(&mut self) {
        self.lanes.clear();
        // First, or what was put aside would stay there with nobody to know of it.
        self.suspicion = Suspicion::default();
        let open: Vec<u64> = self.in_flight().collect();
        for position in open {
            self.keep_back(position);
            if let Some(place) = self.place_mut(position) {
                place.may_be_there = true;
            }
        }
        for index in 0..self.places.len() {
            let position = self.head + index as u64;
            if self.place(position).is_some_and(|place| matches!(place.state, State::Aside | State::Held)) {
                self.keep_back(position);
            }
        }
        (self.pause, self.cursor) = (None, 0);
    }

    // --- the connection ---

    /// Notes that a connection has begun.
    pub(super) fn on_connected(&mut self, now_ms: u64) {
        self.suspicion.on_connected(now_ms);
    }

    /// Notes that the connection has ended, and why; returns what is to be done about what may have ended it.
    pub(super) fn on_disconnected(&mut self, cause: &str, now_ms: u64) -> Option<Order> {
        let oldest = self.in_flight().next();
        let in_flight = oldest.map(|oldest| (oldest, self.in_flight().last().unwrap_or(oldest)));
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
        let order = self.suspicion.judge(self.head, now_ms);
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

    fn in_flight(&self) -> impl Iterator<Item = u64> {
        let is_open = |(_, place): &(usize, &Place)| place.state == State::InFlight;
        self.places.iter().enumerate().filter(is_open).map(|(index, _)| self.head + index as u64)
    }

    // --- places ---

    fn end_now(&mut self, position: u64, end: End, maybe_twice: bool) -> Verdict {
        self.set(position, State::Ended(end));
        let Some(item) = self.place_mut(position).and_then(|place| place.item.take()) else {
            return Verdict::Kept;
        };
        self.note_revived(position, end, item.bytes());
        Verdict::Ended { end, item, maybe_twice }
    }

    fn keep_back(&mut self, position: u64) -> Verdict {
        let state = match self.suspicion.is_aside(position) {
            true => State::Aside,
            false if self.join(position) => State::Held,
            false => State::KeptBack,
        };
        self.set(position, state);
        let index = usize::try_from(position - self.head).unwrap_or(usize::MAX);
        self.cursor = self.cursor.min(index);
        Verdict::Kept
    }

    /// Lets a topic wait from this message on, where order is kept for each topic.
    fn hold(&mut self, position: u64, until_ms: u64) -> bool {
        let item = index_of(self.head, position).and_then(|index| self.places.get(index)?.item.as_ref());
        item.is_some_and(|item| self.lanes.hold(item.message.topic(), position, until_ms))
    }

    /// Lets a message wait with its topic, if that waits.
    fn join(&mut self, position: u64) -> bool {
        let item = index_of(self.head, position).and_then(|index| self.places.get(index)?.item.as_ref());
        item.is_some_and(|item| self.lanes.join(item.message.topic(), position))
    }

    /// Lets what waited with its topic be sent again, when the time has come.
    fn release(&mut self, now_ms: u64) {
        for position in self.lanes.release(now_ms) {
            if self.place(position).is_some_and(|place| place.state == State::Held) {
                self.keep_back(position);
            }
        }
    }

    fn pause_until(&mut self, until_ms: u64, drains: bool) {
        let before = self.pause.unwrap_or(Pause { until_ms, drains });
        self.pause = Some(Pause { until_ms: before.until_ms.max(until_ms), drains: before.drains || drains });
    }

    fn next_kept_back(&mut self) -> Option<u64> {
        if self.kept_back == 0 {
            return None;
        }
        while let Some(place) = self.places.get(self.cursor) {
            if place.state == State::KeptBack {
                return Some(self.head + self.cursor as u64);
            }
            self.cursor += 1;
        }
        None
    }

    fn set(&mut self, position: u64, state: State) {
        let Some(place) = self.place_mut(position) else { return };
        let before = std::mem::replace(&mut place.state, state);
        self.open -= usize::from(before == State::InFlight);
        self.kept_back -= usize::from(before == State::KeptBack);
        self.held -= usize::from(before == State::Held);
        self.open += usize::from(state == State::InFlight);
        self.kept_back += usize::from(state == State::KeptBack);
        self.held += usize::from(state == State::Held);
    }

    fn place(&self, position: u64) -> Option<&Place> {
        self.places.get(index_of(self.head, position)?)
    }

    fn place_mut(&mut self, position: u64) -> Option<&mut Place> {
        self.places.get_mut(index_of(self.head, position)?)
    }
}

fn index_of(head: u64, position: u64) -> Option<usize> {
    usize::try_from(position.checked_sub(head)?).ok()
}

/// Tells whether the same message may well be taken a little later.
const fn is_for_the_moment(reason: ReasonCode) -> bool {
    matches!(reason, ReasonCode::QuotaExceeded | ReasonCode::PacketIdentifierInUse)
}
