//! Messages on their way to the program: queued, taken, and offered again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use crosspoint_protocol::{Message, PacketId, QoS, ReasonCode, connection::Delta, session::Token};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::shared::lock;

/// The identifiers of the Subscriptions that matched.
pub(crate) type SubscriptionIds = SmallVec<[u32; 2]>;

/// A message that is offered to the program.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) message: Message,
    pub(crate) subscription_ids: SubscriptionIds,
    pub(crate) delta: Option<Delta>,
    /// The identifier on the wire; `None` at QoS 0.
    pub(crate) packet_id: Option<PacketId>,
    /// What to answer with; `None` at QoS 0.
    pub(crate) token: Option<Token>,
    /// The connection on which it came.
    pub(crate) epoch: u64,
    /// Which offer this is, from 1.
    pub(crate) attempt: u32,
}

impl Offer {
    /// Tells whether the server sends it again by itself when it resumes the session on the connection `epoch`.
    pub(crate) fn comes_again_on(&self, epoch: u64) -> bool {
        self.epoch < epoch && self.message.qos() == QoS::AtLeastOnce
    }
}

/// What the program decided about an offer.
#[derive(Debug)]
pub(crate) enum Decision {
    Accept(Token),
    Reject(Token, ReasonCode),
    /// Its `Ack` was dropped undecided.
    Again(Offer),
}

/// The queue of offers.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    queue: Mutex<Queue>,
    /// Wakes whoever waits for a delivery.
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    offers: VecDeque<Offer>,
    bytes: usize,
    is_closed: bool,
    is_abandoned: bool,
    /// Offers that await a decision and that nobody can take any more.
    lost: usize,
    /// The engine does not read until there is room below these limits.
    waits_for: Option<(usize, usize)>,
}

impl Queue {
    fn lose_all(&mut self) {
        self.bytes = 0;
        self.lost += self.offers.drain(..).filter(|offer| offer.token.is_some()).count();
    }
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// An offer that was taken.
pub(crate) struct Taken {
    pub(crate) offer: Offer,
    /// The engine waits for the room that this made.
    pub(crate) wakes_engine: bool,
}

impl Offers {
    pub(crate) fn push(&self, offer: Offer) {
        let mut queue = lock(&self.queue);
        if queue.is_closed || queue.is_abandoned {
            queue.lost += usize::from(offer.token.is_some());
            return;
        }
        queue.bytes += offer.message.len();
        queue.offers.push_back(offer);
    }

    /// Wakes the program; called once a turn.
    pub(crate) fn announce(&self) {
        self.arrived.notify_one();
    }

    pub(crate) fn take(&self) -> Option<Taken> {
        let mut queue = lock(&self.queue);
        let offer = queue.offers.pop_front()?;
        queue.bytes -= offer.message.len();
        let wakes_engine =
            queue.waits_for.is_some_and(|(count, bytes)| queue.offers.len() <= count && queue.bytes <= bytes);
        if wakes_engine {
            queue.waits_for = None;
        }
        Some(Taken { offer, wakes_engine })
    }

    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(crate) fn fill(&self) -> Fill {
        let queue = lock(&self.queue);
        Fill { count: queue.offers.len(), bytes: queue.bytes }
    }

    /// Asks for the engine to be woken when the queue is no fuller than this.
    pub(crate) fn wake_engine_at(&self, count: usize, bytes: usize) {
        lock(&self.queue).waits_for = Some((count, bytes));
    }

    /// Drops offers of which the server sends another copy on the connection `epoch`; returns how many.
    pub(crate) fn drop_superseded(&self, epoch: u64) -> usize {
        let mut queue = lock(&self.queue);
        let before = queue.offers.len();
        queue.offers.retain(|offer| !offer.comes_again_on(epoch));
        queue.bytes = queue.offers.iter().map(|offer| offer.message.len()).sum();
        before - queue.offers.len()
    }

    /// Takes no more, drops what nobody has taken, and returns how many of those awaited a decision.
    pub(crate) fn close(&self) -> usize {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        queue.lose_all();
        let lost = std::mem::take(&mut queue.lost);
        drop(queue);
        self.arrived.notify_one();
        lost
    }

    /// Notes that nobody will take anything any more.
    pub(crate) fn abandon(&self) {
        let mut queue = lock(&self.queue);
        queue.is_abandoned = true;
        queue.lose_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.queue).is_closed
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        lock(&self.queue).is_abandoned
    }
}

/// Offers that were not accepted and wait to be made again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// By the time at which they are due, then in their order.
    waiting: BTreeMap<(u64, u64), Offer>,
    count: u64,
}

impl Again {
    pub(crate) fn add(&mut self, mut offer: Offer, now_ms: u64, (min_ms, max_ms): (u64, u64)) {
        let doublings = offer.attempt.saturating_sub(1).min(32);
        let wait_ms = min_ms.saturating_mul(1 << doublings).min(max_ms);
        offer.attempt = offer.attempt.saturating_add(1);
        self.count += 1;
        self.waiting.insert((now_ms.saturating_add(wait_ms), self.count), offer);
    }

    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.waiting.keys().next().map(|(due_ms, _)| *due_ms)
    }

    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<Offer> {
        let entry = self.waiting.first_entry()?;
        (entry.key().0 <= now_ms).then(|| entry.remove())
    }

    pub(crate) fn drop_superseded(&mut self, epoch: u64) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|_, offer| !offer.comes_again_on(epoch));
        before - self.waiting.len()
    }

    /// Drops all and returns how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.waiting).len()
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_protocol::{Now, TopicName, packet::PublishProperties};

    use super::*;

    fn offer(qos: QoS, epoch: u64) -> Offer {
        let topic = TopicName::parse("a").unwrap();
        let message =
            Message::new(&topic, b"12345", qos, false, &PublishProperties::default(), Now::default());
        Offer {
            message,
            subscription_ids: SubscriptionIds::new(),
            delta: None,
            packet_id: None,
            token: None,
            epoch,
            attempt: 1,
        }
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let mut again = Again::default();
        let mut waits = Vec::new();
        let mut next = offer(QoS::AtLeastOnce, 1);
        for _ in 0..6 {
            again.add(next, 0, (100, 1_000));
            waits.push(again.due_ms().unwrap());
            next = again.take_due(u64::MAX).unwrap();
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(next.attempt, 7);
    }

    #[test]
    fn a_resumed_session_supersedes_what_the_server_sends_again() {
        let offers = Offers::default();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            offers.push(offer(qos, 1));
        }
        offers.push(offer(QoS::AtLeastOnce, 2));
        assert_eq!(offers.drop_superseded(2), 1);
        assert_eq!(offers.fill(), Fill { count: 3, bytes: 18 });
    }

    #[test]
    fn whoever_waits_for_room_is_told_once() {
        let offers = Offers::default();
        for _ in 0..4 {
            offers.push(offer(QoS::AtMostOnce, 1));
        }
        offers.wake_engine_at(2, 100);
        let wakes: Vec<bool> = (0..4).map(|_| offers.take().unwrap().wakes_engine).collect();
        assert_eq!(wakes, [false, true, false, false]);
    }
}
