//! The pump of a connector to another broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{
    Client, Publication, PublishResult, Publisher, State as ClientState, TryPublishError,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::{Ahead, Pumping, Restored, answer};
use crate::outbox::durable::entry::Item;
use crate::outbox::durable::figures::End;
use crate::outbox::durable::keeper::Keeper;
use crate::outbox::durable::queue::{Next, Queue};
use crate::outbox::durable::shared::Shared;

/// How many confirmations are handled in one go.
const CONFIRMATIONS_AT_ONCE: usize = 1_024;

/// How many messages are sent before confirmations are looked at again.
const SENT_AT_ONCE: usize = 256;

/// From here on cookies belong to messages that go past the queue; no position comes as far.
const DIRECT_COOKIE: u64 = 1 << 63;

/// Sends through a client until it is told to stop.
///
/// Then it takes nothing more and goes on until everything in flight has its outcome, which the client's closing
/// brings about: whoever stops the pump closes the client too.
pub(in crate::outbox::durable) async fn run(
    shared: &Arc<Shared>,
    queue: &mut Queue,
    client: &Client,
    restored: Vec<Restored>,
    mut stop: oneshot::Receiver<()>,
) {
    let (publisher, mut confirmations) = client.publisher();
    let mut states = client.state();
    let mut sending = Sending {
        pumping: Pumping::new(shared, queue, restored),
        publisher: Some(publisher),
        direct: VecDeque::new(),
        next_direct: DIRECT_COOKIE,
        is_connected: false,
        wait_until_ms: None,
    };
    let mut keeper = Keeper::new(shared);
    let mut outcomes = Vec::new();
    // Deadlines are on the clock that the outbox was given; timers run on tokio's.
    let began = (Instant::now(), shared.now().monotonic_ms);
    sending.on_state(&states.borrow_and_update());
    loop {
        sending.turn();
        let now_ms = shared.now().monotonic_ms;
        keeper.turn(sending.pumping.queue, &mut sending.pumping.tally, now_ms);
        let due_ms = [sending.wait_until_ms, keeper.due_ms()].into_iter().flatten().min();
        let due = began.0 + Duration::from_millis(due_ms.unwrap_or_default().saturating_sub(began.1));
        tokio::select! {
            biased;
            count = confirmations.next_many(&mut outcomes, CONFIRMATIONS_AT_ONCE) => {
                if count == 0 {
                    break;
                }
                outcomes.drain(..).for_each(|(cookie, outcome)| sending.settle(cookie, outcome));
            }
            _ = &mut stop, if sending.publisher.is_some() => sending.publisher = None,
            changed = states.changed() => {
                match changed {
                    Ok(()) => sending.on_state(&states.borrow_and_update()),
                    // The engine is gone, and with it every outcome.
                    Err(_) => break,
                }
            }
            result = answer(&mut sending.pumping.reading) => {
                if let Some((wanted, _)) = sending.pumping.reading.take() {
                    sending.pumping.on_read(wanted, result);
                }
            }
            result = answer(&mut sending.pumping.burying) => {
                sending.pumping.on_buried(&result, shared.now().monotonic_ms);
            }
            result = keeper.written() => keeper.on_written(result, shared.now().monotonic_ms),
            () = shared.work.notified() => {}
            () = sleep_until(due), if due_ms.is_some() => {}
        }
    }
    while let Ok(count) =
        tokio::time::timeout(Duration::ZERO, confirmations.next_many(&mut outcomes, usize::MAX)).await
        && count > 0
    {
        outcomes.drain(..).for_each(|(cookie, outcome)| sending.settle(cookie, outcome));
    }
    sending.finish(keeper).await;
}

/// A pump of a remote connector at work.
struct Sending<'a> {
    pumping: Pumping<'a>,
    /// `None` once nothing more is to be sent. The outcomes end when this is gone and all have been told.
    publisher: Option<Publisher>,
    /// What goes past the queue and has no outcome, by ascending cookie.
    direct: VecDeque<(u64, Item)>,
    next_direct: u64,
    is_connected: bool,
    wait_until_ms: Option<u64>,
}

impl Sending<'_> {
    /// Does what can be done now.
    fn turn(&mut self) {
        self.take_restored();
        self.pumping.bury_doomed();
        let now = self.pumping.shared.now();
        self.pumping.make_room(now.wall_ms);
        self.wait_until_ms = None;
        if !self.is_connected || self.publisher.is_none() {
            // What has expired or was replaced gives its room back all the same.
            self.pumping.look_ahead(now.wall_ms);
            return;
        }
        for _ in 0..SENT_AT_ONCE {
            if !self.send_next(now.monotonic_ms, now.wall_ms) {
                return;
            }
        }
        // There is more: come back after a look at what else has happened.
        self.pumping.shared.work.notify_one();
    }

    /// Sends one message; returns whether there may be another.
    fn send_next(&mut self, now_ms: u64, wall_ms: u64) -> bool {
        if self.send_direct() {
            return true;
        }
        match self.pumping.queue.next(now_ms) {
            Next::Again(position) => self.send_again(position, now_ms),
            Next::Take => match self.pumping.look_ahead(wall_ms) {
                Ahead::Message(position) => {
                    if let Some(item) = self.pumping.take_next(position) {
                        self.pumping.queue.take(item);
                        self.hand_over(position, now_ms)
                    } else {
                        true
                    }
                }
                Ahead::Reading | Ahead::Nothing => false,
            },
            Next::Wait(until_ms) => {
                self.wait_until_ms = Some(until_ms);
                false
            }
            Next::Rest => false,
        }
    }

    fn send_again(&mut self, position: u64, now_ms: u64) -> bool {
        self.pumping.queue.sent_again(position);
        self.hand_over(position, now_ms)
    }

    /// Gives the message at a position to the client.
    fn hand_over(&mut self, position: u64, now_ms: u64) -> bool {
        let (Some(publisher), Some(item)) = (&self.publisher, self.pumping.queue.item(position)) else {
            return false;
        };
        match publisher.try_send(publication_of(item), position) {
            Ok(()) => true,
            Err(TryPublishError::Full(_)) => {
                self.pumping.queue.not_sent(position, now_ms);
                true
            }
            Err(_) => {
                self.pumping.queue.not_sent(position, now_ms);
                self.publisher = None;
                false
            }
        }
    }

    fn send_direct(&mut self) -> bool {
        let Some(item) = self.pumping.shared.state().direct.pop_front() else { return false };
        let cookie = self.next_direct;
        let sent = self.publisher.as_ref().map(|publisher| publisher.try_send(publication_of(&item), cookie));
        match sent {
            Some(Ok(())) => {
                self.next_direct += 1;
                self.direct.push_back((cookie, item));
                true
            }
            _ => {
                self.pumping.shared.state().direct.push_front(item);
                false
            }
        }
    }

    fn settle(&mut self, cookie: u64, outcome: PublishResult) {
        if cookie >= DIRECT_COOKIE {
            return self.settle_direct(cookie, outcome);
        }
        let now_ms = self.pumping.shared.now().monotonic_ms;
        let verdict = self.pumping.queue.on_outcome(cookie, outcome, now_ms);
        self.pumping.settle(cookie, verdict);
    }

    fn settle_direct(&mut self, cookie: u64, outcome: PublishResult) {
        let Ok(index) = self.direct.binary_search_by_key(&cookie, |(cookie, _)| *cookie) else { return };
        let Some((_, item)) = self.direct.remove(index) else { return };
        match outcome {
            Ok(_) => self.pumping.end_direct(End::Sent, &item),
            Err(crosspoint_client::PublishError::Closed | crosspoint_client::PublishError::Unconfirmed) => {
                self.pumping.shared.state().direct.push_front(item);
            }
            Err(crosspoint_client::PublishError::Expired) => self.pumping.end_direct(End::Expired, &item),
            Err(error) => self.pumping.bury_direct(&item, &error.to_string()),
        }
    }

    /// Takes outcomes of what the client had restored, as far as it has been taken.
    fn take_restored(&mut self) {
        let restored = std::mem::take(&mut self.pumping.shared.state().restored);
        for (position, outcome) in restored {
            if position >= self.pumping.queue.end() {
                // It has not been read yet.
                self.pumping.shared.state().restored.push((position, outcome));
            } else {
                self.settle(position, outcome);
            }
        }
    }

    fn on_state(&mut self, state: &ClientState) {
        let now_ms = self.pumping.shared.now().monotonic_ms;
        let was_connected = std::mem::replace(&mut self.is_connected, state.is_connected());
        self.pumping.shared.state().is_connected = self.is_connected;
        if self.is_connected && !was_connected {
            self.pumping.queue.on_connected(now_ms);
        }
    }

    async fn finish(mut self, keeper: Keeper) {
        self.pumping.shared.state().is_connected = false;
        self.pumping.queue.on_client_gone();
        while let Some((_, item)) = self.direct.pop_back() {
            self.pumping.shared.state().direct.push_front(item);
        }
        if self.pumping.burying.is_some() {
            let result = answer(&mut self.pumping.burying).await;
            self.pumping.on_buried(&result, 0);
        }
        keeper.finish(self.pumping.queue, &mut self.pumping.tally).await;
    }
}

fn publication_of(item: &Item) -> Publication {
    Publication::of_message(item.message.clone()).qos(item.qos).retain(item.retain)
}
