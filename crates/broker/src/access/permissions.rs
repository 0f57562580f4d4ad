//! What one client may do.

use std::sync::Arc;

use crosspoint_protocol::TopicFilter;

use super::explain::{Because, Explanation};
use super::pattern::Pattern;
use super::rule::{Rule, Subject};
use crate::is_reserved;

/// The rules of all roles of one user, with the names of one client filled in.
///
/// Deny wins, roles add up, and what no rule allows is denied. The questions take no lock and allocate nothing.
#[derive(Debug)]
pub struct Permissions {
    generation: u64,
    /// `None` lets everything pass.
    rules: Option<Box<Rules>>,
}

#[derive(Debug, Default)]
struct Rules {
    publish: Sides,
    subscribe: Sides,
    /// Allowing rules that do not apply, because a name in them could widen them.
    inapplicable: Vec<Arc<Origin>>,
}

#[derive(Debug, Default)]
struct Sides {
    allow: Vec<Entry>,
    deny: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    pattern: Pattern,
    origin: Arc<Origin>,
}

/// Where a rule is written.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) role: Arc<str>,
    pub(super) rule: Rule,
    pub(super) effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// How a subscription is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribing {
    /// Granted, and everything that matches may be delivered.
    Granted,
    /// Granted, but a part of what matches is denied or not allowed: ask [`Permissions::may_receive`] for each message.
    Filtered,
    /// Refused, since nothing of what matches may be delivered.
    Denied,
}

impl Permissions {
    /// Returns permissions that let everything pass.
    pub fn unrestricted() -> Arc<Self> {
        Self::unrestricted_since(0)
    }

    pub(super) fn unrestricted_since(generation: u64) -> Arc<Self> {
        Arc::new(Self { generation, rules: None })
    }

    /// Fills the names of one client into rules.
    pub(super) fn compile<'r>(
        generation: u64,
        rules: impl Iterator<Item = &'r Arc<Origin>>,
        subject: Subject<'_>,
    ) -> Arc<Self> {
        let mut compiled = Rules::default();
        for origin in rules {
            compiled.add(origin, subject);
        }
        Arc::new(Self { generation, rules: Some(Box::new(compiled)) })
    }

    /// Returns the [`generation`](super::Authenticator::generation) of the users and roles that this was made of.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells whether everything passes.
    pub fn is_unrestricted(&self) -> bool {
        self.rules.is_none()
    }

    /// Tells whether a message may be published to a topic.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.publish.allows(topic))
    }

    /// Tells whether a message with this topic may be delivered. Asked for subscriptions that are
    /// [`Subscribing::Filtered`]; the others have their answer.
    pub fn may_receive(&self, topic: &str) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.subscribe.allows(topic))
    }

    /// Tells how a subscription is answered. Of a Shared Subscription the topic part is looked at.
    pub fn may_subscribe(&self, filter: &TopicFilter) -> Subscribing {
        self.rules.as_ref().map_or(Subscribing::Granted, |rules| rules.subscribe.judge(filter).0)
    }

    /// Says what decides about publishing to a topic: a rule, or that it is the broker's own.
    pub fn explain_publish(&self, topic: &str) -> Explanation {
        if is_reserved(topic) {
            return Explanation { verdict: Subscribing::Denied, because: Because::Reserved };
        }
        let Some(rules) = &self.rules else { return Explanation::unrestricted() };
        let entry = rules.publish.deciding(topic);
        let is_allowed = entry.is_some_and(|entry| entry.origin.effect == Effect::Allow);
        let verdict = if is_allowed { Subscribing::Granted } else { Subscribing::Denied };
        rules.explanation(verdict, entry)
    }

    /// Says which rule decides about a subscription.
    pub fn explain_subscribe(&self, filter: &TopicFilter) -> Explanation {
        let Some(rules) = &self.rules else { return Explanation::unrestricted() };
        let (verdict, entry) = rules.subscribe.judge(filter);
        rules.explanation(verdict, entry)
    }
}

impl Rules {
    fn add(&mut self, origin: &Arc<Origin>, subject: Subject<'_>) {
        let filter = origin.rule.resolve(subject).or_else(|| match origin.effect {
            Effect::Allow => {
                self.inapplicable.push(origin.clone());
                None
            }
            // A rule that denies may not be shaken off by the choice of a name.
            Effect::Deny => origin.rule.resolve_widely(),
        });
        let Some(filter) = filter else { return };
        if origin.rule.speaks_of_publishing() {
            self.publish.add(filter.clone(), origin);
        }
        if origin.rule.speaks_of_subscribing() {
            self.subscribe.add(filter, origin);
        }
    }

    fn explanation(&self, verdict: Subscribing, entry: Option<&Entry>) -> Explanation {
        let because = match entry {
            Some(entry) => Because::rule(&entry.origin, entry.pattern.filter()),
            None => Because::NoRule {
                inapplicable: self.inapplicable.iter().map(|origin| origin.rule.to_string()).collect(),
            },
        };
        Explanation { verdict, because }
    }
}

impl Sides {
    fn add(&mut self, filter: TopicFilter, origin: &Arc<Origin>) {
        let entry = Entry { pattern: Pattern::new(filter), origin: origin.clone() };
        match origin.effect {
            Effect::Allow => self.allow.push(entry),
            Effect::Deny => self.deny.push(entry),
        }
    }

    fn allows(&self, topic: &str) -> bool {
        self.deciding(topic).is_some_and(|entry| entry.origin.effect == Effect::Allow)
    }

    /// Returns the rule that decides about a topic; `None` if none matches.
    fn deciding(&self, topic: &str) -> Option<&Entry> {
        self.deny.iter().chain(&self.allow).find(|entry| entry.pattern.matches(topic))
    }

    /// Judges a subscription and returns the rule that decides. What only several rules together cover is filtered,
    /// which is never wrong, only slower.
    fn judge(&self, filter: &TopicFilter) -> (Subscribing, Option<&Entry>) {
        let covers = |entry: &&Entry| entry.pattern.filter().covers(filter);
        let overlaps = |entry: &&Entry| entry.pattern.filter().overlaps(filter);
        if let Some(denying) = self.deny.iter().find(covers) {
            return (Subscribing::Denied, Some(denying));
        }
        let is_void =
            |allow: &Entry| self.deny.iter().any(|deny| deny.pattern.filter().covers(allow.pattern.filter()));
        let Some(allowing) = self.allow.iter().find(|allow| overlaps(allow) && !is_void(allow)) else {
            return (Subscribing::Denied, None);
        };
        if let Some(denying) = self.deny.iter().find(overlaps) {
            return (Subscribing::Filtered, Some(denying));
        }
        match self.allow.iter().find(covers) {
            Some(whole) => (Subscribing::Granted, Some(whole)),
            None => (Subscribing::Filtered, Some(allowing)),
        }
    }
}
