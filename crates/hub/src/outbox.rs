//! What waits for one connector until its broker has confirmed it.
//!
//! In memory for now: a message at QoS 1 or 2 stays unacknowledged at its source until every sink has it, so a hub
//! that dies has promised nothing that it cannot keep.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crosspoint_broker::LocalClient;
use crosspoint_client::{Client, Publication, PublishError, PublishResult, QoS};
use crosspoint_protocol::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::{info, warn};

use crate::receipt::Share;

/// How many messages may wait in one outbox.
const MESSAGES_MAX: usize = 16_384;

/// How many bytes of messages may wait in one outbox; one message always may.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many messages are handed to the client before the first is confirmed.
const IN_FLIGHT_MAX: usize = 4_096;

/// How many confirmations are handled in one go.
const CONFIRMATIONS_AT_ONCE: usize = 256;

/// A message on its way to one connector.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Which flow made it, for whoever reads why it failed.
    pub(crate) flow: Arc<str>,
    pub(crate) share: Share,
}

/// What an outbox has counted: accepted = confirmed + dead + dropped + waiting.
#[derive(Debug, Default)]
pub(crate) struct OutboxCounters {
    pub(crate) accepted: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    pub(crate) dead: AtomicU64,
    pub(crate) dropped_full: AtomicU64,
    pub(crate) maybe_twice: AtomicU64,
}

/// What an outbox has counted, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxFigures {
    /// Messages that were taken.
    pub accepted: u64,
    /// Messages that the broker has confirmed, or at QoS 0 that were handed to the system.
    pub confirmed: u64,
    /// Messages that the broker refused for good; each was logged with its reason.
    pub dead: u64,
    /// Messages at QoS 0 that were dropped because the outbox was full.
    pub dropped_full: u64,
    /// Messages that the broker may have twice, because it lost the session.
    pub maybe_twice: u64,
}

impl OutboxFigures {
    /// Returns how many messages wait.
    pub const fn waiting(&self) -> u64 {
        self.accepted - self.confirmed - self.dead - self.dropped_full
    }
}

/// The writing end. Cheap to clone; it outlives the connections of its connector.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    items: mpsc::Sender<(Item, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    counters: Arc<OutboxCounters>,
}

/// The reading end, while nobody pumps: what is unfinished, oldest first, and what waits behind it.
#[derive(Debug)]
pub(crate) struct Backlog {
    unfinished: VecDeque<(Item, OwnedSemaphorePermit)>,
    waiting: mpsc::Receiver<(Item, OwnedSemaphorePermit)>,
    counters: Arc<OutboxCounters>,
}

/// Where a pump sends to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Remote(Client),
    Local(Arc<LocalClient>),
}

/// Makes an outbox: its two ends.
pub(crate) fn outbox() -> (Outbox, Backlog) {
    let (items, waiting) = mpsc::channel(MESSAGES_MAX);
    let counters = Arc::<OutboxCounters>::default();
    let outbox = Outbox { items, room: Arc::new(Semaphore::new(BYTES_MAX)), counters: counters.clone() };
    (outbox, Backlog { unfinished: VecDeque::new(), waiting, counters })
}

impl Outbox {
    /// Appends a message, and waits while the outbox is full: the source's acknowledgements wait with it.
    pub(crate) async fn append(&self, item: Item) {
        self.counters.accepted.fetch_add(1, Relaxed);
        // Neither is ever closed while an outbox is there; if it were, the share would break its promise.
        let Ok(permit) = self.room.clone().acquire_many_owned(bytes_of(&item)).await else { return };
        self.items.send((item, permit)).await.unwrap_or_default();
    }

    /// Appends a message at QoS 0 if there is room; otherwise it is dropped and counted.
    pub(crate) fn append_or_drop(&self, item: Item) {
        self.counters.accepted.fetch_add(1, Relaxed);
        let permit = self.room.clone().try_acquire_many_owned(bytes_of(&item));
        let is_taken = permit.is_ok_and(|permit| self.items.try_send((item, permit)).is_ok());
        if !is_taken && self.counters.dropped_full.fetch_add(1, Relaxed) == 0 {
            warn!("An outbox is full: messages at QoS 0 are dropped and counted.");
        }
    }

    pub(crate) fn figures(&self) -> OutboxFigures {
        let counters = &self.counters;
        // What ends is read before what begins, so that the difference is never negative.
        let confirmed = counters.confirmed.load(Relaxed);
        let dead = counters.dead.load(Relaxed);
        let dropped_full = counters.dropped_full.load(Relaxed);
        let maybe_twice = counters.maybe_twice.load(Relaxed);
        OutboxFigures { accepted: counters.accepted.load(Relaxed), confirmed, dead, dropped_full, maybe_twice }
    }
}

impl Backlog {
    /// Sends until it is told to stop, and gives back what is left.
    pub(crate) async fn pump(mut self, connector: Arc<str>, target: Target, stop: oneshot::Receiver<()>) -> Self {
        match target {
            Target::Local(client) => self.pump_local(&connector, &client, stop).await,
            Target::Remote(client) => self.pump_remote(&connector, &client, stop).await,
        }
        self
    }

    async fn pump_local(&mut self, connector: &str, client: &LocalClient, mut stop: oneshot::Receiver<()>) {
        loop {
            let item = tokio::select! {
                biased;
                _ = &mut stop => return,
                item = self.next() => item,
            };
            let Some((item, _permit)) = item else { return };
            match client.publish_message(&item.message, item.qos, item.retain) {
                Ok(_) => self.confirm(item),
                Err(reason) => self.bury(connector, item, &reason.to_string()),
            }
        }
    }

    async fn pump_remote(&mut self, connector: &str, client: &Client, mut stop: oneshot::Receiver<()>) {
        let (publisher, mut confirmations) = client.publisher();
        let mut in_flight = InFlight::default();
        let mut outcomes = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => break,
                count = confirmations.next_many(&mut outcomes, CONFIRMATIONS_AT_ONCE) => {
                    if count == 0 {
                        break;
                    }
                    for (cookie, outcome) in outcomes.drain(..) {
                        self.settle(connector, &mut in_flight, cookie, outcome);
                    }
                }
                item = self.next(), if in_flight.len() < IN_FLIGHT_MAX => {
                    let Some(item) = item else { break };
                    let publication = publication_of(&item.0);
                    let cookie = in_flight.put(item);
                    tokio::select! {
                        sent = publisher.send(publication, cookie) => if sent.is_err() { break },
                        _ = &mut stop => break,
                    }
                }
            }
        }
        // What had not been confirmed goes first when somebody pumps again.
        in_flight.give_back(&mut self.unfinished);
    }

    async fn next(&mut self) -> Option<(Item, OwnedSemaphorePermit)> {
        match self.unfinished.pop_front() {
            Some(item) => Some(item),
            None => self.waiting.recv().await,
        }
    }

    fn settle(&self, connector: &str, in_flight: &mut InFlight, cookie: u64, outcome: PublishResult) {
        if matches!(outcome, Err(PublishError::Closed | PublishError::Unconfirmed)) {
            // The client was closed: the message stays for the next one.
            return;
        }
        let Some((item, _permit)) = in_flight.take(cookie) else { return };
        match outcome {
            Ok(receipt) => {
                self.counters.maybe_twice.fetch_add(u64::from(receipt.may_be_duplicate), Relaxed);
                self.confirm(item);
            }
            Err(error) => self.bury(connector, item, &error.to_string()),
        }
    }

    fn confirm(&self, item: Item) {
        self.counters.confirmed.fetch_add(1, Relaxed);
        item.share.settle();
    }

    /// Gives a message up that can never be delivered: one line says what was lost and why.
    fn bury(&self, connector: &str, item: Item, reason: &str) {
        self.counters.dead.fetch_add(1, Relaxed);
        let topic = item.message.topic();
        let flow = &*item.flow;
        warn!(connector, flow, topic, reason, "A message cannot be delivered and is given up.");
        item.share.settle();
    }
}

/// What has been handed to the client, by ascending cookie.
#[derive(Debug, Default)]
struct InFlight {
    items: VecDeque<Option<(Item, OwnedSemaphorePermit)>>,
    first: u64,
    count: usize,
}

impl InFlight {
    const fn len(&self) -> usize {
        self.count
    }

    fn put(&mut self, item: (Item, OwnedSemaphorePermit)) -> u64 {
        self.items.push_back(Some(item));
        self.count += 1;
        self.first + self.items.len() as u64 - 1
    }

    fn take(&mut self, cookie: u64) -> Option<(Item, OwnedSemaphorePermit)> {
        let place = usize::try_from(cookie.checked_sub(self.first)?).ok()?;
        let item = self.items.get_mut(place)?.take()?;
        self.count -= 1;
        while let Some(None) = self.items.front() {
            self.items.pop_front();
            self.first += 1;
        }
        Some(item)
    }

    fn give_back(self, unfinished: &mut VecDeque<(Item, OwnedSemaphorePermit)>) {
        for item in self.items.into_iter().rev().flatten() {
            unfinished.push_front(item);
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.waiting.close();
        let mut left = self.unfinished.len();
        while self.waiting.try_recv().is_ok() {
            left += 1;
        }
        if left > 0 {
            info!(messages = left, "An outbox is gone; what waited in it goes back to where it came from.");
        }
    }
}

fn publication_of(item: &Item) -> Publication {
    Publication::of_message(item.message.clone()).qos(item.qos).retain(item.retain)
}

fn bytes_of(item: &Item) -> u32 {
    u32::try_from(item.message.len().clamp(1, BYTES_MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
