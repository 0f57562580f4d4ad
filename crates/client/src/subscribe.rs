use crosspoint_protocol::{ReasonCode, TopicFilter, packet::SubscriptionOptions};

/// Why a request to subscribe or unsubscribe was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
    /// No filter was given.
    #[error("no filter is given")]
    NoFilter,
}

/// A subscription that a client wants, and what the server said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// The filter.
    pub filter: TopicFilter,
    /// The options that were asked for.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier that its messages bear, with MQTT 5.
    pub subscription_id: u32,
    /// What the server said; absent while it has not answered.
    pub granted: Option<ReasonCode>,
}
