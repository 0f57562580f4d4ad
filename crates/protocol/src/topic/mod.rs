//! Topic Names, Topic Filters, and the two collections that are asked by topic.
//!
//! Names and filters are checked when they are made ([`TopicName::parse`], [`TopicFilter::parse`]), so nothing
//! behind them checks again. [`FilterTree`] answers "which subscriptions want this topic"; [`TopicTree`] answers
//! "which topics does this filter want".
//!
//! What is not here: who may use a topic, and what a subscription is beyond its filter.
//!
//! Invariants: nothing is normalised, so two names are one only if their bytes are the same [MQTT-4.7.3-4]; an
//! empty level is a level; nothing recurses, whatever the number of levels.

mod entries;
mod filter;
mod hash;
mod invalid;
mod label;
mod levels;
mod name;
mod store;
mod tree;
mod wildcards;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub use entries::Entries;
pub use filter::TopicFilter;
pub use invalid::InvalidTopic;
pub use name::TopicName;
pub use store::TopicTree;
pub use tree::FilterTree;
