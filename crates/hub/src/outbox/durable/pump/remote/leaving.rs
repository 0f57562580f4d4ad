//! What leaves through the client, and in what order: what goes past the queue, what is sent again, what is new.

use crosspoint_client::{Publication, TryPublishError};
use crosspoint_protocol::Now;
use parking_lot::MutexGuard;

use super::Sending;
use crate::outbox::durable::pump::Ahead;
use crate::outbox::durable::pump::outgoing::Check;
use crate::outbox::durable::queue::Next;
use crate::outbox::durable::state::State;

/// What was found to be sent.
enum Found {
    Publication(u64, Publication),
    /// Something was done, and there may be more.
    Other,
    Nothing,
}

impl Sending {
    /// What has expired or was replaced gives its room back without a connection too. What stands before a message that
    /// the client sends by itself is taken with it: a connection may end for that one before there is time for anything.
    pub(super) fn pass_by(&mut self, now: Now) {
        let shared = self.pumping.shared.clone();
        let mut state = shared.state();
        loop {
            match self.pumping.look_ahead(&mut state, now.wall_ms) {
                Ahead::Unread(wanted) => {
                    drop(state);
                    return self.pumping.read(wanted);
                }
                Ahead::Message(position)
                    if self.pumping.restored.peek().is_some_and(|known| known.position > position) =>
                {
                    let Some(item) = state.take_peeked(position) else { return };
                    state.queue.take_kept_back(item);
                }
                Ahead::Message(_) | Ahead::Nothing => return,
            }
        }
    }

    /// Sends one message; returns whether there may be another.
    pub(super) fn send_next(&mut self, now: Now) -> bool {
        if self.send_direct(now) {
            return true;
        }
        let (position, publication) = match self.find(now) {
            Found::Publication(position, publication) => (position, publication),
            Found::Other => return true,
            Found::Nothing => return false,
        };
        let Some(publisher) = &self.publisher else { return false };
        let Err(error) = publisher.try_send(publication, position) else { return true };
        self.pumping.shared.state().queue.not_sent(position, now.monotonic_ms);
        if matches!(error, TryPublishError::Full(_)) {
            return true;
        }
        self.publisher = None;
        false
    }

    /// Finds the next message that may be sent, and notes that it is.
    fn find(&mut self, now: Now) -> Found {
        let shared = self.pumping.shared.clone();
        let mut state = shared.state();
        let Some(link) = &self.link else { return Found::Nothing };
        match state.queue.next(now.monotonic_ms) {
            Next::Again(position) => {
                state.queue.sent_again(position);
                let item = state.queue.item(position);
                item.map_or(Found::Other, |item| {
                    Found::Publication(position, link.publication(item, &state.policy, now))
                })
            }
            Next::Take => self.find_new(state, now),
            Next::Wait(until_ms) => {
                drop(state);
                self.wait_until(Some(until_ms));
                Found::Nothing
            }
            Next::Rest => Found::Nothing,
        }
    }

    /// Takes the next message to send it for the first time, or puts it where it belongs if it may not be sent.
    fn find_new(&mut self, mut state: MutexGuard<'_, State>, now: Now) -> Found {
        let position = match self.pumping.look_ahead(&mut state, now.wall_ms) {
            Ahead::Message(position) => position,
            Ahead::Unread(wanted) => {
                drop(state);
                self.pumping.read(wanted);
                return Found::Nothing;
            }
            Ahead::Nothing => return Found::Nothing,
        };
        let Some(link) = &mut self.link else { return Found::Nothing };
        let Some((_, Some(item))) = &state.peeked else { return Found::Other };
        let is_held = state.queue.holds(item.message.topic());
        let policy = state.policy.clone();
        let check = if is_held { Check::Good } else { link.check(item, &policy, now) };
        if let Check::Wait(until_ms) = check {
            drop(state);
            self.wait_until(Some(until_ms));
            return Found::Nothing;
        }
        let Some(item) = state.take_peeked(position) else { return Found::Other };
        if is_held {
            state.queue.take_held(item);
            return Found::Other;
        }
        if let Check::Never(reason) = check {
            state.queue.take_burying(item);
            self.pumping.doomed.push((position, reason, String::new()));
            return Found::Other;
        }
        let publication = link.publication(&item, &policy, now);
        state.queue.take(item);
        Found::Publication(position, publication)
    }

    /// Sends a message that goes past the queue; returns whether there was one and the client took it.
    fn send_direct(&mut self, now: Now) -> bool {
        let (Some(link), Some(publisher)) = (&self.link, &self.publisher) else { return false };
        let mut state = self.pumping.shared.state();
        let Some(item) = state.direct.pop_front() else { return false };
        let publication = link.publication(&item, &state.policy, now);
        state.direct_open += 1;
        drop(state);
        let cookie = self.next_direct;
        if publisher.try_send(publication, cookie).is_err() {
            let mut state = self.pumping.shared.state();
            state.direct_open -= 1;
            state.direct.push_front(item);
            return false;
        }
        self.next_direct += 1;
        self.direct.push_back((cookie, item));
        true
    }
}
