//! What waits for one connector until its broker has confirmed it.
//!
//! In memory for now: a message at QoS 1 or 2 stays unacknowledged at its source until every sink has it, so a hub
//! that dies has promised nothing that it cannot keep.
//!
//! Invariant (C9): accepted = confirmed + dead + dropped + waiting, at all times. A message counts as accepted at the
//! moment in which it has its place, never before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crosspoint_broker::LocalClient;
use crosspoint_client::{Client, QoS};
use crosspoint_protocol::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::{info, warn};

use crate::pace::Pace;
use crate::receipt::Share;

#[expect(dead_code, unused_imports, unreachable_pub, reason = "the hub goes over to it with its new intake")]
pub(crate) mod durable;
mod in_flight;
mod pump;

pub(crate) use pump::IN_FLIGHT_MAX;

/// How many messages may wait in one outbox, besides those in flight.
pub(crate) const MESSAGES_MAX: usize = 16_384;

/// How many bytes of messages may wait in one outbox, those in flight included; one message always may.
pub(crate) const BYTES_MAX: usize = 64 * 1024 * 1024;

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

/// A message in an outbox.
#[derive(Debug)]
struct Waiting {
    item: Item,
    /// The bytes that it takes up; free for others when it is dropped.
    _room: OwnedSemaphorePermit,
    /// It was sent before, and whether it arrived is not known.
    may_be_there: bool,
    /// How often the broker has refused it for the moment.
    refusals: u8,
}

/// What an outbox counts, while it runs.
#[derive(Debug, Default)]
struct OutboxCounters {
    accepted: AtomicU64,
    confirmed: AtomicU64,
    dead: AtomicU64,
    dropped_full: AtomicU64,
    dropped_expired: AtomicU64,
    maybe_twice: AtomicU64,
}

/// What an outbox has counted, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxFigures {
    /// Messages that were taken.
    pub accepted: u64,
    /// Messages that the broker has confirmed, or at QoS 0 that were handed to the system.
    pub confirmed: u64,
    /// Messages that the broker refused for good; the log says why.
    pub dead: u64,
    /// Messages at QoS 0 that were dropped because the outbox was full.
    pub dropped_full: u64,
    /// Messages that expired before they could be sent.
    pub dropped_expired: u64,
    /// Messages among the confirmed that the broker may have twice: it lost the session, or the connection was ended
    /// before it had confirmed.
    pub maybe_twice: u64,
}

impl OutboxFigures {
    /// Returns how many messages wait.
    pub const fn waiting(&self) -> u64 {
        let ended = self.confirmed + self.dead + self.dropped_full + self.dropped_expired;
        self.accepted.saturating_sub(ended)
    }
}

/// The writing end. Cheap to clone; it outlives the connections of its connector.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    connector: Arc<str>,
    places: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    counters: Arc<OutboxCounters>,
    /// Somebody had to wait for a place, and it has not been half empty since.
    is_full: Arc<AtomicBool>,
}

/// The reading end, while nobody pumps: what is unfinished, oldest first, and what waits behind it.
#[derive(Debug)]
pub(crate) struct Backlog {
    connector: Arc<str>,
    unfinished: VecDeque<Waiting>,
    waiting: mpsc::Receiver<Waiting>,
    counters: Arc<OutboxCounters>,
    buried: Pace,
    refused: Pace,
}

/// Where a pump sends to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Remote(Client),
    Local(Arc<LocalClient>),
}

/// Makes the outbox of a connector: its two ends.
pub(crate) fn outbox(connector: &Arc<str>) -> (Outbox, Backlog) {
    let (places, waiting) = mpsc::channel(MESSAGES_MAX);
    let counters = Arc::<OutboxCounters>::default();
    let backlog = Backlog {
        connector: connector.clone(),
        unfinished: VecDeque::new(),
        waiting,
        counters: counters.clone(),
        buried: Pace::default(),
        refused: Pace::default(),
    };
    let outbox = Outbox {
        connector: connector.clone(),
        places,
        room: Arc::new(Semaphore::new(BYTES_MAX)),
        counters,
        is_full: Arc::default(),
    };
    (outbox, backlog)
}

impl Outbox {
    /// Appends a message, and waits while the outbox is full: the source's acknowledgements wait with it.
    ///
    /// When the connector is gone the message's share is dropped, which breaks its promise.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the message was not taken, is not counted, and its share is dropped.
    pub(crate) async fn append(&self, item: Item) {
        let bytes = bytes_of(&item);
        self.look_at_room(&item, bytes);
        let Ok(room) = self.room.clone().acquire_many_owned(bytes).await else { return };
        let Ok(place) = self.places.reserve().await else { return };
        self.counters.accepted.fetch_add(1, Relaxed);
        place.send(Waiting { item, _room: room, may_be_there: false, refusals: 0 });
    }

    /// Appends a message at QoS 0 if there is room; otherwise it is dropped and counted.
    pub(crate) fn append_or_drop(&self, item: Item) {
        let bytes = bytes_of(&item);
        self.look_at_room(&item, bytes);
        self.counters.accepted.fetch_add(1, Relaxed);
        let room = self.room.clone().try_acquire_many_owned(bytes);
        let (Ok(room), Ok(place)) = (room, self.places.try_reserve()) else {
            self.counters.dropped_full.fetch_add(1, Relaxed);
            return;
        };
        place.send(Waiting { item, _room: room, may_be_there: false, refusals: 0 });
    }

    pub(crate) fn figures(&self) -> OutboxFigures {
        let counters = &self.counters;
        // What ends is read before what begins, so that what waits is never too little.
        let mut figures = OutboxFigures {
            accepted: 0,
            confirmed: counters.confirmed.load(Relaxed),
            dead: counters.dead.load(Relaxed),
            dropped_full: counters.dropped_full.load(Relaxed),
            dropped_expired: counters.dropped_expired.load(Relaxed),
            maybe_twice: counters.maybe_twice.load(Relaxed),
        };
        figures.accepted = counters.accepted.load(Relaxed);
        figures
    }

    /// Says that the outbox is full: once, until it has been half empty.
    fn look_at_room(&self, item: &Item, bytes: u32) {
        let (places, room) = (self.places.capacity(), self.room.available_permits());
        if places == 0 || room < bytes as usize {
            if !self.is_full.swap(true, Relaxed) {
                let (connector, flow) = (&*self.connector, &*item.flow);
                warn!(
                    connector,
                    flow, "The outbox is full: QoS 1 and 2 wait at their source, QoS 0 is dropped."
                );
            }
        } else if places > MESSAGES_MAX / 2 && room > BYTES_MAX / 2 && self.is_full.load(Relaxed) {
            self.is_full.store(false, Relaxed);
        }
    }
}

impl Backlog {
    /// Sends until it is told to stop, and gives back what is left.
    ///
    /// For a remote target, stopping ends when the client has told every outcome: close it at the same time.
    pub(crate) async fn pump(mut self, target: Target, stop: oneshot::Receiver<()>) -> Self {
        match target {
            Target::Local(client) => pump::pump_local(&mut self, &client, stop).await,
            Target::Remote(client) => pump::pump_remote(&mut self, &client, stop).await,
        }
        self
    }

    /// Takes the oldest message.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn next(&mut self) -> Option<Waiting> {
        match self.unfinished.pop_front() {
            Some(waiting) => Some(waiting),
            None => self.waiting.recv().await,
        }
    }

    fn confirm(&self, item: Item) {
        self.counters.confirmed.fetch_add(1, Relaxed);
        item.share.settle();
    }

    fn count_maybe_twice(&self, is_so: bool) {
        self.counters.maybe_twice.fetch_add(u64::from(is_so), Relaxed);
    }

    fn expire(&self, item: Item) {
        self.counters.dropped_expired.fetch_add(1, Relaxed);
        item.share.settle();
    }

    /// Gives a message up that can never be delivered, and says now and then why.
    fn bury(&mut self, item: Item, reason: &str) {
        self.counters.dead.fetch_add(1, Relaxed);
        if let Some(messages) = self.buried.note(1) {
            let (connector, flow, topic) = (&*self.connector, &*item.flow, item.message.topic());
            warn!(connector, flow, topic, reason, messages, "A message cannot be delivered and is given up.");
        }
        item.share.settle();
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.waiting.close();
        let mut left = self.unfinished.len();
        // Oldest first, as they came.
        self.unfinished.clear();
        while self.waiting.try_recv().is_ok() {
            left += 1;
        }
        if left > 0 {
            let connector = &*self.connector;
            info!(
                connector,
                messages = left,
                "An outbox is gone: what waited in it goes back to its source."
            );
        }
    }
}

/// What a message counts for in the byte limit.
fn bytes_of(item: &Item) -> u32 {
    u32::try_from(item.message.len().clamp(1, BYTES_MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
