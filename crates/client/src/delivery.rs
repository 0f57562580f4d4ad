use std::{fmt, sync::Arc};

use crosspoint_protocol::{Message, PacketId, ReasonCode, connection::Delta};

use crate::{
    offers::{Decision, Offer},
    shared::Shared,
};

/// A message that came, with the promise that the server waits for.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The message, in memory of its own.
    pub message: Message,
    /// The identifiers of the Subscriptions that matched, as the server said them (MQTT 5); see
    /// [`Client::subscriptions`](crate::Client::subscriptions).
    pub subscription_ids: Vec<u32>,
    /// At QoS 2, the change of the session that belongs into the same batch as the message (C3). Whoever keeps no
    /// session on disk ignores it.
    pub delta: Option<Delta>,
    /// The identifier that the message bore on the wire, to be found in traces; absent at QoS 0.
    pub packet_id: Option<PacketId>,
    /// Which offer of the message this is, from 1: how often an `Ack` for it was dropped, and one more.
    pub attempt: u32,
    /// The number of the connection on which it came, from 1. A session that is [`Discarded`] on a later one makes its
    /// `delta` void.
    ///
    /// [`Discarded`]: crate::SessionChange::Discarded
    pub connection: u64,
    /// The promise.
    pub ack: Ack,
}

/// The promise that the server waits for (C4).
///
/// Decide when the message is safe. Decisions may come in any order: acknowledgements leave in the order in which
/// the messages came. Dropped undecided, the message counts as *not accepted* and is offered again from memory,
/// after a wait that doubles each time. At QoS 0 nothing is promised, and nothing offered again.
///
/// A decision also holds when the connection on which the message came has ended: at QoS 2 it answers the copy that
/// the server sends again; at QoS 1 that copy is delivered once more.
#[must_use = "dropped, the message counts as not accepted and is offered again"]
pub struct Ack {
    shared: Arc<Shared>,
    offer: Option<Offer>,
}

impl Ack {
    /// Says that the message is safe: PUBACK or PUBREC follows in its turn.
    pub fn accept(mut self) {
        if let Some(token) = self.offer.take().and_then(|offer| offer.token) {
            self.shared.decide(Decision::Accept(token));
        }
    }

    /// Says that the message will never be taken.
    ///
    /// MQTT 5 servers are told `reason`, which should be an error; for 3.1 and 3.1.1, which cannot say it, the message
    /// is acknowledged. Either way it does not come again.
    pub fn reject(mut self, reason: ReasonCode) {
        if let Some(token) = self.offer.take().and_then(|offer| offer.token) {
            self.shared.decide(Decision::Reject(token, reason));
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(offer) = self.offer.take()
            && offer.token.is_some()
        {
            self.shared.decide(Decision::Again(offer));
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").finish_non_exhaustive()
    }
}

/// The messages that come, in their order.
///
/// Take them: when the queue is full the client stops reading (see
/// [`ClientOptions::delivery_queue_max`](crate::ClientOptions::delivery_queue_max)). Dropped, messages that come are
/// not taken any more and not acknowledged.
#[derive(Debug)]
pub struct Deliveries {
    shared: Arc<Shared>,
}

impl Deliveries {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns the next message; `None` when the client is closed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(delivery) = self.try_next() {
                return Some(delivery);
            }
            if self.shared.offers.is_closed() {
                return None;
            }
            self.shared.offers.arrived().await;
        }
    }

    /// Returns the next message if one is there.
    pub fn try_next(&mut self) -> Option<Delivery> {
        let taken = self.shared.offers.take()?;
        if taken.wakes_engine {
            self.shared.wake();
        }
        let offer = taken.offer;
        Some(Delivery {
            message: offer.message.clone(),
            subscription_ids: offer.subscription_ids.to_vec(),
            delta: offer.delta,
            packet_id: offer.packet_id,
            attempt: offer.attempt,
            connection: offer.epoch,
            ack: Ack { shared: Arc::clone(&self.shared), offer: Some(offer) },
        })
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.shared.offers.abandon();
        self.shared.wake();
    }
}
