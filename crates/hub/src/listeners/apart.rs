//! What a listener cannot have on a connection that it shares.

use crosspoint_client::{Connected, SubscribedFilter, TopicFilter};

use super::Inner;

impl Inner {
    /// Returns why a listener needs a connection of its own for a filter, if it does.
    ///
    /// With Subscription Identifiers the client tells the copies for overlapping filters apart. Without them, as before
    /// MQTT 5, flows would get what overlaps twice, and what is retained again.
    pub(super) fn apart(&self, asked: &SubscribedFilter, agreed: &Connected) -> Option<String> {
        let SubscribedFilter { filter, options } = asked;
        if self.flow_with(filter).is_some() {
            return None;
        }
        if options.retain_as_published || options.no_local {
            return Some(format!("{filter} is wanted with options that hold for a client of its own"));
        }
        if self.own.contains_key(filter) {
            return None;
        }
        if agreed.is_bridge {
            return Some(format!(
                "the broker knows this connection for a bridge, and keeps what it publishes to {filter} from it"
            ));
        }
        let has_ids = agreed.limits.subscription_ids;
        let mut others = self.flows.iter().map(|(flow, ..)| flow).chain(self.own.keys());
        let other = others.find(|other| {
            // What a Shared Subscription gets says nothing about what others get.
            overlap(other, filter) && (!has_ids || other.is_shared() || filter.is_shared())
        })?;
        Some(format!("copies of messages for {filter} cannot be told from those for {other}"))
    }
}

fn overlap(a: &TopicFilter, b: &TopicFilter) -> bool {
    let part = |filter: &TopicFilter| TopicFilter::parse(filter.topic_part().to_owned());
    match (part(a), part(b)) {
        (Ok(a), Ok(b)) => a.overlaps(&b),
        // A part of a filter is one.
        _ => true,
    }
}
