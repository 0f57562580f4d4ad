//! What comes to whoever has subscribed at run time.

use std::fmt;

use crosspoint_broker::LocalClient;
use crosspoint_client::{
    Ack, Deliveries, Message, Publication, ReasonCode, SubscribedFilter, TopicFilter, Version,
};
use crosspoint_protocol::PacketId;

use super::visit::Visit;
use super::{ActionError, Asking, publish_local, published};

/// A subscription that ends with this value, or with [`close`](Self::close), which says goodbye to the broker.
pub struct Subscribed {
    end: End,
    reasons: Vec<ReasonCode>,
    /// Where only answers are wanted: to what.
    asking: Option<Asking>,
}

enum End {
    Remote(Visit, Deliveries),
    Local(LocalClient),
}

/// A message that came.
#[derive(Debug)]
pub struct Arrived {
    /// The message, with the QoS and the retain flag with which it was delivered.
    pub message: Message,
    /// The identifier that it bore on the wire, if it had one.
    pub packet_id: Option<PacketId>,
    ack: Option<Ack>,
}

impl Arrived {
    /// Says that the message is safe: only then it is acknowledged to the broker. One that is dropped comes again.
    pub fn accept(self) {
        if let Some(ack) = self.ack {
            ack.accept();
        }
    }
}

impl Subscribed {
    pub(super) const fn of_remote(visit: Visit, deliveries: Deliveries) -> Self {
        Self { end: End::Remote(visit, deliveries), reasons: Vec::new(), asking: None }
    }

    pub(super) const fn of_local(client: LocalClient) -> Self {
        Self { end: End::Local(client), reasons: Vec::new(), asking: None }
    }

    pub(super) fn only_answers_to(self, asking: Asking) -> Self {
        Self { asking: Some(asking), ..self }
    }

    /// Subscribes to more; [`reasons`](Self::reasons) tells what the broker said then.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn subscribe(&mut self, filters: Vec<SubscribedFilter>) -> Result<(), ActionError> {
        self.reasons = match &self.end {
            End::Remote(visit, _) => {
                visit.client().subscribe(filters).await.map_err(|error| ended(&error))?
            }
            End::Local(client) => {
                filters.iter().for_each(|one| client.subscribe(&one.filter, one.options, 0));
                filters.iter().map(|one| ReasonCode::granted(one.options.qos)).collect()
            }
        };
        Ok(())
    }

    /// Unsubscribes, and returns what the broker said to each filter.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn unsubscribe(&mut self, filters: Vec<TopicFilter>) -> Result<Vec<ReasonCode>, ActionError> {
        match &self.end {
            End::Remote(visit, _) => visit.client().unsubscribe(filters).await.map_err(|error| ended(&error)),
            End::Local(client) => {
                let said = |was_there| {
                    if was_there { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted }
                };
                Ok(filters.iter().map(|filter| said(client.unsubscribe(filter))).collect())
            }
        }
    }

    /// Returns what the broker said to each filter that was subscribed last, in their order.
    pub fn reasons(&self) -> &[ReasonCode] {
        &self.reasons
    }

    /// Returns the version that is spoken; on the embedded broker it is like MQTT 5.
    pub const fn version(&self) -> Version {
        match &self.end {
            End::Remote(visit, _) => visit.version(),
            End::Local(_) => Version::V5,
        }
    }

    /// Waits for the next message, or answer; `None` when no more can come. A lost connection is no end: the client
    /// connects and subscribes again.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next(&mut self) -> Option<Arrived> {
        loop {
            let arrived = self.any().await?;
            if self.asking.as_ref().is_none_or(|asking| asking.is_answered_by(&arrived.message)) {
                return Some(arrived);
            }
            arrived.accept();
        }
    }

    /// Says goodbye to the broker.
    pub async fn close(self) {
        if let End::Remote(visit, _) = self.end {
            visit.end().await;
        }
    }

    pub(super) async fn publish(&self, message: Message) -> Result<ReasonCode, ActionError> {
        match &self.end {
            End::Remote(visit, _) => {
                published(visit.client().publish(Publication::of_message(message)).await)
            }
            End::Local(client) => publish_local(client, &message).await,
        }
    }

    async fn any(&mut self) -> Option<Arrived> {
        match &mut self.end {
            End::Remote(_, deliveries) => {
                let delivery = deliveries.next().await?;
                Some(Arrived {
                    message: delivery.message,
                    packet_id: delivery.packet_id,
                    ack: Some(delivery.ack),
                })
            }
            End::Local(client) => {
                let delivery = client.next().await.ok()?;
                let message = Message::from_parts(&delivery.message.parts(), delivery.qos, delivery.retain);
                Some(Arrived { message, packet_id: None, ack: None })
            }
        }
    }
}

fn ended(error: &crosspoint_client::SubscribeError) -> ActionError {
    ActionError::Refused(error.to_string())
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribed").field("reasons", &self.reasons).finish_non_exhaustive()
    }
}
