//! What comes to whoever has subscribed at run time.

use std::fmt;

use crosspoint_broker::LocalClient;
use crosspoint_client::{
    Ack, Client, Deliveries, Message, Publication, ReasonCode, SubscribeError, SubscribedFilter, TopicFilter,
    UserProperties, Version,
};
use crosspoint_protocol::PacketId;

use super::visit::Visit;
use super::{ActionError, Asking, publish_local, published};
use crate::listeners::{Heard, Listening, NotListening, Said};

/// A subscription that ends with this value, or with [`close`](Self::close), which says goodbye to the broker.
pub struct Subscribed {
    end: End,
    user_properties: UserProperties,
    reasons: Vec<ReasonCode>,
    before: Vec<TopicFilter>,
    apart: Option<String>,
    /// Where only answers are wanted: to what.
    asking: Option<Asking>,
}

enum End {
    /// The connector's own connection.
    Own(Listening, Client),
    /// One of our own.
    Visit(Visit, Deliveries),
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
    /// Says that the message is safe: only then a client of our own acknowledges it to the broker. One that is dropped
    /// comes again.
    pub fn accept(self) {
        if let Some(ack) = self.ack {
            ack.accept();
        }
    }
}

impl Subscribed {
    pub(super) const fn of_own(listening: Listening, client: Client, said: UserProperties) -> Self {
        Self::new(End::Own(listening, client), said)
    }

    pub(super) const fn of_visit(visit: Visit, deliveries: Deliveries, said: UserProperties) -> Self {
        Self::new(End::Visit(visit, deliveries), said)
    }

    pub(super) const fn of_local(client: LocalClient) -> Self {
        Self::new(End::Local(client), UserProperties::new())
    }

    const fn new(end: End, user_properties: UserProperties) -> Self {
        Self { end, user_properties, reasons: Vec::new(), before: Vec::new(), apart: None, asking: None }
    }

    pub(super) fn beside(self, why: String) -> Self {
        Self { apart: Some(why), ..self }
    }

    pub(super) fn only_answers_to(self, asking: Asking) -> Self {
        Self { asking: Some(asking), ..self }
    }

    /// Subscribes to more; [`reasons`](Self::reasons) tells what the broker said then.
    ///
    /// # Errors
    /// The connection has ended, or cannot be shared for one of them: then nothing is subscribed.
    pub async fn subscribe(&mut self, filters: Vec<SubscribedFilter>) -> Result<(), ActionError> {
        self.before.clear();
        self.reasons = match &self.end {
            End::Own(listening, _) => {
                let Said { reasons, before } = listening.subscribe(filters).await.map_err(not_listening)?;
                self.before = before;
                reasons
            }
            End::Visit(visit, _) => {
                let filters = filters.into_iter().map(|wanted| (wanted, None)).collect();
                let asked = visit.client().subscribe_with(filters, self.user_properties.clone());
                asked.await.map_err(|error| ended(&error))?
            }
            End::Local(client) => {
                filters.iter().for_each(|one| client.subscribe(&one.filter, one.options, 0));
                filters.iter().map(|one| ReasonCode::granted(one.options.qos)).collect()
            }
        };
        Ok(())
    }

    /// Unsubscribes, and returns what the broker said to each filter. On a connector's own connection what others still
    /// want stays subscribed there.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn unsubscribe(&mut self, filters: Vec<TopicFilter>) -> Result<Vec<ReasonCode>, ActionError> {
        match &self.end {
            End::Own(listening, _) => Ok(listening.unsubscribe(&filters).await),
            End::Visit(visit, _) => visit.client().unsubscribe(filters).await.map_err(|error| ended(&error)),
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

    /// Returns those filters of the last subscription that the connector's connection had subscribed before: what is
    /// retained is not sent again for them.
    pub fn subscribed_before(&self) -> &[TopicFilter] {
        &self.before
    }

    /// Returns why it has a client of its own beside the connector, with another client id, where it has.
    pub fn apart(&self) -> Option<&str> {
        self.apart.as_deref()
    }

    /// Returns how many messages were left out since the last call, because too many waited to be taken: at most 1,024,
    /// or 16 MiB. A client of our own leaves none out.
    pub fn take_missed(&self) -> u64 {
        match &self.end {
            End::Own(listening, _) => listening.take_missed(),
            End::Visit(..) | End::Local(_) => 0,
        }
    }

    /// Returns where answers are awaited, after a question.
    pub fn answers_on(&self) -> Option<&TopicFilter> {
        self.asking.as_ref().map(|asking| &asking.filter)
    }

    pub(super) fn user_properties(&self) -> UserProperties {
        self.user_properties.clone()
    }

    /// Returns the version that is spoken; on the embedded broker it is like MQTT 5.
    pub const fn version(&self) -> Version {
        match &self.end {
            End::Own(listening, _) => listening.version(),
            End::Visit(visit, _) => visit.version(),
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

    /// Ends, and waits until the broker knows.
    pub async fn close(self) {
        match self.end {
            End::Own(listening, _) => listening.close().await,
            End::Visit(visit, _) => visit.end().await,
            End::Local(_) => {}
        }
    }

    pub(super) async fn publish(&self, message: Message) -> Result<ReasonCode, ActionError> {
        match &self.end {
            End::Own(_, client) => published(client.publish(Publication::of_message(message)).await),
            End::Visit(visit, _) => published(visit.client().publish(Publication::of_message(message)).await),
            End::Local(client) => {
                let outcome = publish_local(client, &[message]).await.pop();
                outcome.unwrap_or(Ok(ReasonCode::NoMatchingSubscribers))
            }
        }
    }

    async fn any(&mut self) -> Option<Arrived> {
        match &mut self.end {
            End::Own(listening, _) => {
                let Heard { message, packet_id } = listening.heard().await?;
                Some(Arrived { message, packet_id, ack: None })
            }
            End::Visit(_, deliveries) => {
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

fn not_listening(error: NotListening) -> ActionError {
    match error {
        NotListening::Apart(why) => ActionError::Apart(why),
        NotListening::Ended(what) => ActionError::Refused(what),
        NotListening::Off => ActionError::Refused("the connector is not connected any more".to_owned()),
    }
}

fn ended(error: &SubscribeError) -> ActionError {
    ActionError::Refused(error.to_string())
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribed").field("reasons", &self.reasons).finish_non_exhaustive()
    }
}
