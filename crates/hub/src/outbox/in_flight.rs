//! What has been handed to a client and has no outcome yet.

use std::collections::VecDeque;

use super::Waiting;

/// What has been handed to the client, by ascending cookie. What is refused for the moment keeps its place until the
/// rest has an outcome.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    places: VecDeque<Option<Waiting>>,
    /// The cookie of the first place.
    first: u64,
    /// How many have no outcome.
    open: usize,
}

impl InFlight {
    /// Returns how many have no outcome.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// Takes a message in and returns its cookie.
    pub(super) fn put(&mut self, waiting: Waiting) -> u64 {
        self.places.push_back(Some(waiting));
        self.open += 1;
        self.first + self.places.len() as u64 - 1
    }

    /// Takes the newest message out again: it was not handed over after all.
    pub(super) fn take_newest(&mut self) -> Option<Waiting> {
        let waiting = self.places.pop_back().flatten()?;
        self.open -= 1;
        Some(waiting)
    }

    /// Takes a message out: its outcome is final.
    pub(super) fn take(&mut self, cookie: u64) -> Option<Waiting> {
        let waiting = self.place(cookie)?.take()?;
        self.open -= 1;
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        Some(waiting)
    }

    /// Leaves a message in its place, with an outcome that is not final, to be given back in order.
    pub(super) fn keep(&mut self, cookie: u64) -> Option<&mut Waiting> {
        let is_there = self.place(cookie)?.is_some();
        self.open -= usize::from(is_there);
        self.place(cookie)?.as_mut()
    }

    /// Returns a message in its place.
    pub(super) fn look_at(&mut self, cookie: u64) -> Option<&Waiting> {
        self.place(cookie)?.as_ref()
    }

    /// Puts everything before what waits, in its order.
    pub(super) fn give_back(&mut self, unfinished: &mut VecDeque<Waiting>) {
        self.first += self.places.len() as u64;
        self.open = 0;
        for waiting in self.places.drain(..).rev().flatten() {
            unfinished.push_front(waiting);
        }
    }

    fn place(&mut self, cookie: u64) -> Option<&mut Option<Waiting>> {
        let place = usize::try_from(cookie.checked_sub(self.first)?).ok()?;
        self.places.get_mut(place)
    }
}
