//! A message with what its source waits for.

use crosspoint_broker::LocalDelivery;
use crosspoint_client::{Ack, Delivery, Message, QoS, ReasonCode};
use crosspoint_protocol::PacketId;
use crosspoint_protocol::connection::Delta;

use crate::durable::Offered;
use crate::listeners::Came;

/// One message with what its source waits for.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) message: Message,
    pub(super) qos: QoS,
    subscription_ids: Vec<u32>,
    packet_id: Option<PacketId>,
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
        let Delivery { message, delta, connection, ack, subscription_ids, packet_id, .. } = delivery;
        let offered = match delta {
            Some(Delta::Offered { id }) => Some(Offered { connection, id: id.packet_id() }),
            _ => None,
        };
        let promise = Promise::Remote(ack, offered);
        Self { qos: message.qos(), message, subscription_ids, packet_id, promise }
    }

    /// `queue` is where the embedded broker keeps messages, if it keeps this client's.
    pub(super) fn of_local(delivery: LocalDelivery, queue: Option<u64>) -> Self {
        let kept_at = queue.zip(delivery.position);
        let LocalDelivery { qos, message, subscription_ids, .. } = delivery;
        Self { qos, message, subscription_ids, packet_id: None, promise: Promise::Local(kept_at) }
    }

    /// Returns the message as those have it who listen.
    pub(super) fn came(&self) -> Came<'_> {
        Came { message: &self.message, subscription_ids: &self.subscription_ids, packet_id: self.packet_id }
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
