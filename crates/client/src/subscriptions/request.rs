//! One SUBSCRIBE or UNSUBSCRIBE.

use crosspoint_protocol::{
    TopicFilter,
    packet::{SubscribedFilter, UserProperties},
};

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe {
        filters: Vec<SubscribedFilter>,
        id: Option<u32>,
        user_properties: UserProperties,
    },
    Unsubscribe {
        filters: Vec<TopicFilter>,
        user_properties: UserProperties,
    },
    /// An UNSUBSCRIBE right before the SUBSCRIBE of the same filters.
    Clear {
        filters: Vec<TopicFilter>,
    },
}

impl Request {
    pub(super) fn filters(&self) -> Box<dyn Iterator<Item = &TopicFilter> + '_> {
        match self {
            Self::Subscribe { filters, .. } => Box::new(filters.iter().map(|wanted| &wanted.filter)),
            Self::Unsubscribe { filters, .. } | Self::Clear { filters } => Box::new(filters.iter()),
        }
    }
}
