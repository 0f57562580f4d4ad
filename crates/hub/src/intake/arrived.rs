//! A message with what its source waits for.

use crosspoint_broker::LocalDelivery;
use crosspoint_client::{Ack, Delivery, Message, QoS, ReasonCode};
use crosspoint_protocol::connection::Delta;

use crate::durable::Offered;

/// One message with what its source waits for.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Message,
    pub(super) qos: QoS,
    pub(super) promise: Promise,
}

/// What a source waits for.
#[derive(Debug)]
pub(super) enum Promise {
    /// A remote broker waits for PUBACK or PUBREC. Dropped, the message is offered again.
    Remote(Ack, Option<Offered>),
    /// The embedded broker keeps it in this queue until this position is consumed; `None` is kept by nobody.
    Local(Option<(u64, u64)>),
}

impl Arrived {
    pub(super) fn of_remote(delivery: Delivery) -> Self {
        let Delivery { message, delta, connection, ack, .. } = delivery;
        let offered = match delta {
            Some(Delta::Offered { id }) => Some(Offered { connection, id: id.packet_id() }),
            _ => None,
        };
        Self { qos: message.qos(), message, promise: Promise::Remote(ack, offered) }
    }

    /// `queue` is where the embedded broker keeps messages, if it keeps this client's.
    pub(super) fn of_local(delivery: LocalDelivery, queue: Option<u64>) -> Self {
        let kept_at = queue.zip(delivery.position);
        Self { qos: delivery.qos, message: delivery.message, promise: Promise::Local(kept_at) }
    }

    /// Returns the queue that keeps it until it is consumed there, and its position.
    pub(super) const fn kept_at(&self) -> Option<(u64, u64)> {
        match self.promise {
            Promise::Local(place) => place,
            Promise::Remote(..) => None,
        }
    }

    pub(super) fn offered(&self) -> Option<Offered> {
        match &self.promise {
            Promise::Remote(_, offered) => *offered,
            Promise::Local(_) => None,
        }
    }

    /// Keeps the promise: everything that the message has become is durable.
    pub(super) fn accept(self) {
        match self.promise {
            Promise::Remote(ack, _) => ack.accept(),
            Promise::Local(_) => {}
        }
    }

    /// Says that the message will never be taken.
    pub(super) fn reject(self, reason: ReasonCode) {
        match self.promise {
            Promise::Remote(ack, _) => ack.reject(reason),
            Promise::Local(_) => {}
        }
    }
}
