//! The pump of a connector to another broker.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{Client, Confirmations, PublishError, PublishResult, Publisher};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::outgoing::Link;
use super::{Pumping, Restored, answer};
use crate::outbox::durable::entry::Item;
use crate::outbox::durable::figures::End;
use crate::outbox::durable::keeper::Keeper;
use crate::outbox::durable::shared::Shared;

mod connection;
mod leaving;

/// How many confirmations are handled in one go.
const CONFIRMATIONS_AT_ONCE: usize = 1_024;

/// How many messages are sent before anything else is looked at.
const SENT_AT_ONCE: usize = 256;

/// From here on cookies belong to messages that go past the queue; no position comes as far.
const DIRECT_COOKIE: u64 = 1 << 63;

/// Sends through a client until it is told to stop.
///
/// Then it takes nothing more and goes on until everything in flight has its outcome, which the client's closing
/// brings about: whoever stops the pump closes the client too.
pub(in crate::outbox::durable) async fn run(
    shared: &Arc<Shared>,
    client: &Client,
    restored: Vec<Restored>,
    mut stop: oneshot::Receiver<()>,
) {
    let (publisher, mut confirmations) = client.publisher();
    let mut states = client.state();
    let mut sending = Sending::new(shared, client, publisher, restored);
    let mut keeper = Keeper::new(shared);
    let mut outcomes = Vec::new();
    // Deadlines are on the clock that the outbox was given; timers run on tokio's.
    let began = (Instant::now(), shared.now().monotonic_ms);
    sending.adopt();
    sending.look_at(&mut states);
    loop {
        sending.turn();
        keeper.turn(&mut sending.pumping.tally, shared.now().monotonic_ms);
        let due_ms = [sending.wait_until_ms, keeper.due_ms()].into_iter().flatten().min();
        let due = began.0 + Duration::from_millis(due_ms.unwrap_or_default().saturating_sub(began.1));
        tokio::select! {
            biased;
            count = confirmations.next_many(&mut outcomes, CONFIRMATIONS_AT_ONCE) => match count {
                0 => break,
                _ => sending.settle_all(&mut outcomes),
            },
            _ = &mut stop, if sending.publisher.is_some() => sending.publisher = None,
            changed = states.changed() => match changed {
                Ok(()) => sending.look_at(&mut states),
                // The engine is gone; whatever it knew of outcomes is in the channel.
                Err(_) => break,
            },
            result = answer(&mut sending.pumping.reading) => sending.pumping.on_read(result),
            result = answer(&mut sending.pumping.burying) => {
                sending.pumping.on_buried(&result, shared.now().monotonic_ms);
            }
            what = keeper.next() => keeper.take(what, shared.now().monotonic_ms),
            () = shared.work.notified() => {}
            () = sleep_until(due), if due_ms.is_some() => {}
        }
    }
    sending.finish(confirmations, keeper).await;
}

/// A pump of a remote connector at work.
struct Sending {
    pumping: Pumping,
    client: Client,
    /// `None` once nothing more is to be sent. The outcomes end when this is gone and all have been told.
    publisher: Option<Publisher>,
    /// While it is connected.
    link: Option<Link>,
    /// What was taken back from the client and has not left the outbox.
    withdrawn: BTreeSet<u64>,
    /// How many connections of the client are known to have begun.
    connections: u64,
    /// What goes past the queue and has no outcome, by ascending cookie.
    direct: VecDeque<(u64, Item)>,
    next_direct: u64,
    wait_until_ms: Option<u64>,
}

impl Sending {
    fn new(shared: &Arc<Shared>, client: &Client, publisher: Publisher, restored: Vec<Restored>) -> Self {
        let is_connected = client.state().borrow().is_connected();
        Self {
            pumping: Pumping::new(shared, restored),
            client: client.clone(),
            publisher: Some(publisher),
            link: None,
            withdrawn: BTreeSet::new(),
            connections: client.counters().connected.saturating_sub(u64::from(is_connected)),
            direct: VecDeque::new(),
            next_direct: DIRECT_COOKIE,
            wait_until_ms: None,
        }
    }

    /// Leaves to the client what it goes on with by itself and an earlier link of this process has kept back: sent again
    /// from here it would be another message.
    fn adopt(&mut self) {
        let shared = self.pumping.shared.clone();
        let end = shared.state().queue.end();
        while let Some(known) = self.pumping.restored.next_if(|known| known.position < end) {
            let mut state = shared.state();
            if !state.queue.is_kept_back(known.position) {
                continue;
            }
            if known.is_done {
                let verdict = state.queue.end_kept_back(known.position, End::Confirmed);
                drop(state);
                self.pumping.settle(known.position, verdict);
            } else {
                state.queue.sent_again(known.position);
            }
        }
    }

    /// Does what can be done now.
    fn turn(&mut self) {
        let now = self.pumping.shared.now();
        self.take_restored();
        self.judge(now.monotonic_ms);
        self.give_up_ended();
        self.pumping.bury_doomed();
        self.pumping.make_room(now.wall_ms);
        self.wait_until_ms = self.pumping.shared.state().queue.judge_at_ms();
        if self.link.is_none() || self.publisher.is_none() {
            return self.pass_by(now);
        }
        for _ in 0..SENT_AT_ONCE {
            if !self.send_next(now) {
                // What has turned out to be undeliverable goes now: nothing may ever wake us again.
                self.pumping.bury_doomed();
                let lanes_due_ms = self.pumping.shared.state().queue.lanes_due_ms();
                return self.wait_until(lanes_due_ms);
            }
        }
        // There is more: come back after a look at what else has happened.
        self.pumping.shared.work.notify_one();
    }

    /// Comes back at this time, or before.
    fn wait_until(&mut self, until_ms: Option<u64>) {
        self.wait_until_ms = [self.wait_until_ms, until_ms].into_iter().flatten().min();
    }

    fn settle_direct(&mut self, cookie: u64, outcome: PublishResult) {
        let Ok(index) = self.direct.binary_search_by_key(&cookie, |(cookie, _)| *cookie) else { return };
        let Some((_, item)) = self.direct.remove(index) else { return };
        self.pumping.shared.state().direct_open -= 1;
        match outcome {
            Ok(_) => self.pumping.end_direct(End::Sent, &item),
            Err(PublishError::Closed | PublishError::Unconfirmed) => {
                self.pumping.shared.state().direct.push_back(item);
            }
            Err(PublishError::Expired) => self.pumping.end_direct(End::Expired, &item),
            Err(error) => self.pumping.bury_direct(&item, &error.to_string()),
        }
    }

    fn settle_all(&mut self, outcomes: &mut Vec<(u64, PublishResult)>) {
        let shared = self.pumping.shared.clone();
        let now_ms = shared.now().monotonic_ms;
        for (cookie, outcome) in outcomes.drain(..) {
            if cookie >= DIRECT_COOKIE {
                self.settle_direct(cookie, outcome);
            } else {
                let verdict = shared.state().queue.on_outcome(cookie, outcome, now_ms);
                self.pumping.settle(cookie, verdict);
            }
        }
    }

    /// Takes outcomes of what the client had restored, as far as it has been taken.
    fn take_restored(&mut self) {
        let shared = self.pumping.shared.clone();
        let mut state = shared.state();
        let end = state.queue.end();
        let (now_ms, mut ended) = (shared.now().monotonic_ms, Vec::new());
        state.restored.retain(|(position, outcome)| {
            let is_taken = *position < end;
            if is_taken {
                ended.push((*position, *outcome));
            }
            !is_taken
        });
        for (position, outcome) in ended {
            let verdict = state.queue.on_outcome(position, outcome, now_ms);
            self.pumping.settle(position, verdict);
        }
    }

    async fn finish(mut self, mut confirmations: Confirmations, keeper: Keeper) {
        self.publisher = None;
        let mut outcomes = Vec::new();
        while let Ok(1..) = tokio::time::timeout(
            Duration::ZERO,
            confirmations.next_many(&mut outcomes, CONFIRMATIONS_AT_ONCE),
        )
        .await
        {
            self.settle_all(&mut outcomes);
        }
        {
            let mut state = self.pumping.shared.state();
            state.is_connected = false;
            state.queue.on_client_gone();
            while let Some((_, item)) = self.direct.pop_back() {
                state.direct_open -= 1;
                state.direct.push_front(item);
            }
        }
        self.pumping.bury_doomed();
        self.pumping.finish_burying().await;
        keeper.finish(&mut self.pumping.tally).await;
    }
}
