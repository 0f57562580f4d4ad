use super::{ReasonProperties, UserProperties};
use crate::{PacketId, QoS, ReasonCode, TopicFilter};

/// SUBSCRIBE: one or more filters with options.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// The identifier that SUBACK will bear.
    pub packet_id: PacketId,
    /// The filters, at least one [MQTT-3.8.3-2].
    pub filters: Vec<SubscribedFilter>,
    /// Properties (MQTT 5).
    pub properties: SubscribeProperties,
}

/// A filter with the options under which it is subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribedFilter {
    /// The filter; may be that of a Shared Subscription.
    pub filter: TopicFilter,
    /// The options.
    pub options: SubscriptionOptions,
}

/// The options of a Subscription. 3.1 and 3.1.1 know only the QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscriptionOptions {
    /// The highest QoS at which messages are delivered.
    pub qos: QoS,
    /// Whether messages that this client published itself are left out.
    pub no_local: bool,
    /// Whether forwarded messages keep the retain flag with which they were published.
    pub retain_as_published: bool,
    /// Which retained messages are sent when the Subscription is made.
    pub retain_handling: RetainHandling,
}

/// Which retained messages are sent when a Subscription is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    Send = 0,
    /// All that match, but only if the Subscription did not exist yet.
    SendIfNew = 1,
    /// None.
    DoNotSend = 2,
}

/// The properties of SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscribeProperties {
    /// The number that messages of these Subscriptions bear, 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    /// User Properties.
    pub user_properties: UserProperties,
}

/// SUBACK and UNSUBACK: a reason code for each filter, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct SubAck {
    /// The identifier of the packet that is answered.
    pub packet_id: PacketId,
    /// One reason code a filter. 3.1 and 3.1.1 have none in UNSUBACK; there it is empty.
    pub reasons: Vec<ReasonCode>,
    /// Properties (MQTT 5).
    pub properties: ReasonProperties,
}

/// UNSUBSCRIBE: one or more filters to drop.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsubscribe {
    /// The identifier that UNSUBACK will bear.
    pub packet_id: PacketId,
    /// The filters, at least one [MQTT-3.10.3-2].
    pub filters: Vec<TopicFilter>,
    /// User Properties (MQTT 5).
    pub user_properties: UserProperties,
}
