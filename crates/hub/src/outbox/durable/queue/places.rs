//! The places of an outbox from its head on: what stands at each position, and how many stand how.
//!
//! Invariants: places stand in a row, so that a position is an index behind the head; every count agrees with the row;
//! nothing is kept back before the cursor.

use std::collections::VecDeque;

use crate::outbox::durable::entry::Item;
use crate::outbox::durable::figures::End;

/// Places in a row.
#[derive(Debug)]
pub(super) struct Places {
    row: VecDeque<Place>,
    /// The position of the first place.
    head: u64,
    /// How many of the places from the head on need not be looked at for something to send again.
    cursor: usize,
    /// How many are with the client.
    open: usize,
    /// How many are kept back.
    kept_back: usize,
    /// How many wait with their topic.
    held: usize,
    /// What all of them would count for if a crash made them wait again.
    revived_bytes: u64,
}

/// What is known at one position.
#[derive(Debug)]
pub(super) struct Place {
    /// Gone once it has ended.
    item: Option<Item>,
    state: State,
    /// How often the broker has refused it for the moment.
    pub(super) refusals: u32,
    /// How often it was handed to the client.
    pub(super) attempts: u32,
    /// It was sent before, and whether it arrived is not known.
    pub(super) may_be_there: bool,
    /// What it would count for if it were to wait again after a crash: how it ended is not on disk.
    revived_bytes: u64,
}

/// How a place stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
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

impl Place {
    pub(super) const fn item(&self) -> Option<&Item> {
        self.item.as_ref()
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }
}

impl Places {
    pub(super) const fn new(head: u64) -> Self {
        Self { row: VecDeque::new(), head, cursor: 0, open: 0, kept_back: 0, held: 0, revived_bytes: 0 }
    }

    /// Adds a place behind the last one.
    pub(super) fn push(&mut self, item: Option<Item>, state: State) {
        let attempts = u32::from(state == State::InFlight);
        self.row.push_back(Place {
            item,
            state,
            refusals: 0,
            attempts,
            may_be_there: false,
            revived_bytes: 0,
        });
        self.count(state);
    }

    /// Changes how a place stands.
    pub(super) fn set(&mut self, position: u64, state: State) {
        let Some(place) = self.get_mut(position) else { return };
        let before = std::mem::replace(&mut place.state, state);
        if let Some(count) = self.count_of(before) {
            *count -= 1;
        }
        self.count(state);
        if let (State::KeptBack, Some(index)) = (state, self.index_of(position)) {
            self.cursor = self.cursor.min(index);
        }
    }

    /// Ends a place, and returns what stood there.
    pub(super) fn end_at(&mut self, position: u64, end: End) -> Option<Item> {
        self.set(position, State::Ended(end));
        let item = self.get_mut(position)?.item.take()?;
        self.note_revived(position, end, item.bytes());
        Some(item)
    }

    /// Notes what a place that has ended would count for after a crash.
    pub(super) fn note_revived(&mut self, position: u64, end: End, bytes: u64) {
        // Those have a mark.
        if matches!(end, End::Dead | End::Command | End::Replaced) {
            return;
        }
        if let Some(place) = self.get_mut(position) {
            place.revived_bytes = bytes;
            self.revived_bytes += bytes;
        }
    }

    /// Returns what would wait again after a crash, and how it ended: the caller marks it.
    pub(super) fn take_unmarked(&mut self) -> Vec<(u64, End)> {
        self.revived_bytes = 0;
        let mut unmarked = Vec::new();
        for (index, place) in self.row.iter_mut().enumerate().filter(|(_, place)| place.revived_bytes > 0) {
            place.revived_bytes = 0;
            if let State::Ended(end) = place.state {
                unmarked.push((self.head + index as u64, end));
            }
        }
        unmarked
    }

    /// Moves the head over one place that has ended, and returns how it did.
    pub(super) fn pass(&mut self) -> Option<End> {
        let State::Ended(end) = self.row.front()?.state else { return None };
        let place = self.row.pop_front()?;
        self.revived_bytes -= place.revived_bytes;
        self.head += 1;
        self.cursor = self.cursor.saturating_sub(1);
        Some(end)
    }

    /// Returns the first position that is kept back.
    pub(super) fn next_kept_back(&mut self) -> Option<u64> {
        if self.kept_back == 0 {
            return None;
        }
        while let Some(place) = self.row.get(self.cursor) {
            if place.state == State::KeptBack {
                return Some(self.head + self.cursor as u64);
            }
            self.cursor += 1;
        }
        None
    }

    pub(super) fn get_mut(&mut self, position: u64) -> Option<&mut Place> {
        let index = self.index_of(position)?;
        self.row.get_mut(index)
    }

    pub(super) fn get(&self, position: u64) -> Option<&Place> {
        self.row.get(self.index_of(position)?)
    }

    /// Returns every place with its position, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Place)> {
        self.row.iter().enumerate().map(|(index, place)| (self.head + index as u64, place))
    }

    /// Returns the positions that stand so, in their order.
    pub(super) fn that_are(&self, state: State) -> impl Iterator<Item = u64> {
        self.iter().filter(move |(_, place)| place.state == state).map(|(position, _)| position)
    }

    pub(super) const fn head(&self) -> u64 {
        self.head
    }

    /// Returns the position behind the last place.
    pub(super) fn end(&self) -> u64 {
        self.head + self.row.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.row.len()
    }

    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) const fn kept_back(&self) -> usize {
        self.kept_back
    }

    pub(super) const fn held(&self) -> usize {
        self.held
    }

    pub(super) const fn revived_bytes(&self) -> u64 {
        self.revived_bytes
    }

    fn index_of(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.head)?).ok()
    }

    fn count(&mut self, state: State) {
        if let Some(count) = self.count_of(state) {
            *count += 1;
        }
    }

    const fn count_of(&mut self, state: State) -> Option<&mut usize> {
        match state {
            State::KeptBack => Some(&mut self.kept_back),
            State::Held => Some(&mut self.held),
            State::InFlight => Some(&mut self.open),
            State::Aside | State::Burying | State::Ended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_client::QoS;

    use super::*;
    use crate::testing::message;

    fn item() -> Item {
        Item {
            message: message("t", b"", QoS::AtLeastOnce),
            qos: QoS::AtLeastOnce,
            retain: false,
            flow: "f".into(),
            accepted_wall_ms: 0,
        }
    }

    #[test]
    fn counts_and_cursor_agree_with_the_row_whatever_happens() {
        let ended = State::Ended(End::Confirmed);
        let states = [State::KeptBack, State::Held, State::InFlight, State::Aside, State::Burying, ended];
        for seed in 0..50 {
            let (mut random, mut places) = (fastrand::Rng::with_seed(seed), Places::new(7));
            for _ in 0..400 {
                let state = states[random.usize(..states.len())];
                match random.u8(0..5) {
                    0..=1 => places.push(Some(item()), state),
                    2 => places.set(random.u64(0..places.end() + 2), state),
                    3 => drop(places.end_at(random.u64(0..places.end() + 2), End::Confirmed)),
                    _ => drop(places.pass()),
                }
                let count = |state| places.that_are(state).count();
                assert_eq!(places.open(), count(State::InFlight), "seed {seed}");
                assert_eq!(places.held(), count(State::Held), "seed {seed}");
                assert_eq!(places.kept_back(), count(State::KeptBack), "seed {seed}");
                let first = places.that_are(State::KeptBack).next();
                assert_eq!(places.next_kept_back(), first, "seed {seed}");
                let revived: u64 = places.row.iter().map(|place| place.revived_bytes).sum();
                assert_eq!(places.revived_bytes(), revived, "seed {seed}");
            }
        }
    }
}
