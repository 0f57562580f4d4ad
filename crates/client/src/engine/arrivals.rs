//! What came from the server and is the program's turn to decide.

use crosspoint_protocol::Now;

use crate::{
    ClientOptions,
    counters::count,
    offers::{Again, Fill, Offer, Offers},
    shared::Shared,
};

/// The side of the engine that deals with deliveries.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// Offered at QoS 1 and 2 and not decided: in the queue, with the program, or waiting to be offered again.
    undecided: usize,
    again: Again,
    has_new: bool,
    is_closed: bool,
    /// Connections up to this one were followed by one that resumed their session.
    resumed_epoch: u64,
    count_max: usize,
    bytes_max: usize,
    hard_bytes_max: usize,
    undecided_max: usize,
    again_ms: (u64, u64),
}

/// Whether there is room for another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Over the limit: reading pauses where it can, QoS 0 is dropped.
    Full,
    /// So far over the limit that the connection has to end.
    Overfull,
}

impl Arrivals {
    pub(super) fn new(options: &ClientOptions) -> Self {
        let bytes_max = options.delivery_queue_bytes_max;
        Self {
            undecided: 0,
            again: Again::default(),
            has_new: false,
            is_closed: false,
            resumed_epoch: 0,
            count_max: options.delivery_queue_max,
            bytes_max,
            hard_bytes_max: bytes_max.saturating_mul(2).saturating_add(options.packet_bytes_max as usize),
            undecided_max: usize::from(options.receive_maximum),
            again_ms: (options.redelivery_min_ms, options.redelivery_max_ms),
        }
    }

    pub(super) fn room(&self, offers: &Offers) -> Room {
        let Fill { count, bytes } = offers.fill();
        if bytes > self.hard_bytes_max {
            Room::Overfull
        } else if count >= self.count_max || bytes >= self.bytes_max {
            Room::Full
        } else {
            Room::Free
        }
    }

    /// Tells whether more messages are undecided than our Receive Maximum, which 3.x cannot say and some 5.0 servers
    /// do not keep.
    pub(super) const fn has_too_many_undecided(&self) -> bool {
        self.undecided > self.undecided_max
    }

    /// Asks to be woken when the program has made room.
    pub(super) fn wake_at_half(&self, offers: &Offers) {
        offers.wake_engine_at(self.count_max / 2, self.bytes_max / 2);
    }

    /// Offers a message.
    pub(super) fn offer(&mut self, offer: Offer, offers: &Offers) {
        if offer.token.is_some() {
            self.undecided += 1;
        }
        if self.is_closed {
            // It stays undecided: the server keeps it, or sends it to whoever comes next.
            self.undecided -= usize::from(offer.token.is_some());
            return;
        }
        self.has_new = true;
        offers.push(offer);
    }

    pub(super) const fn on_decided(&mut self) {
        self.undecided = self.undecided.saturating_sub(1);
    }

    /// Takes an offer back whose `Ack` was dropped.
    pub(super) fn on_dropped(&mut self, offer: Offer, shared: &Shared, now: Now) {
        let is_superseded = offer.comes_again_on(self.resumed_epoch);
        if self.is_closed || is_superseded || shared.offers.is_abandoned() {
            self.on_decided();
            return;
        }
        self.again.add(offer, now.monotonic_ms, self.again_ms);
    }

    pub(super) fn offer_again(&mut self, shared: &Shared, now: Now) {
        while let Some(offer) = self.again.take_due(now.monotonic_ms) {
            count(&shared.counters.offered_again);
            self.has_new = true;
            shared.offers.push(offer);
        }
    }

    /// Notes that the connection `epoch` resumed the session: the server sends again what was not acknowledged.
    pub(super) fn on_resumed(&mut self, epoch: u64, offers: &Offers) {
        self.resumed_epoch = epoch;
        let dropped = offers.drop_superseded(epoch) + self.again.drop_superseded(epoch);
        self.undecided = self.undecided.saturating_sub(dropped);
    }

    /// Offers nothing more; what nobody has taken stays with the server.
    pub(super) fn close(&mut self, offers: &Offers) {
        self.is_closed = true;
        let dropped = offers.close() + self.again.clear();
        self.undecided = self.undecided.saturating_sub(dropped);
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.again.due_ms()
    }

    pub(super) const fn undecided(&self) -> usize {
        self.undecided
    }

    pub(super) const fn take_has_new(&mut self) -> bool {
        std::mem::replace(&mut self.has_new, false)
    }
}
