//! The retained messages: the last one of each topic that was published to be kept.

use std::ops::ControlFlow;

use crosspoint_protocol::{Message, Now, topic::TopicTree};

/// The retained messages, by topic.
///
/// One that has expired is never handed out. It is dropped when somebody comes across it, or by
/// [`drop_expired`](Self::drop_expired).
#[derive(Debug)]
pub(crate) struct Retained {
    topics: TopicTree<Message>,
    /// How many of them the broker itself has published about itself.
    system: usize,
    /// Before this time on the wall clock nothing expires.
    next_expiry_ms: u64,
    /// What has expired and is still to be taken out of the store.
    expired: Vec<Message>,
}

impl Retained {
    pub(crate) fn new() -> Self {
        Self { topics: TopicTree::new(), system: 0, next_expiry_ms: u64::MAX, expired: Vec::new() }
    }

    /// Keeps a message instead of the one that its topic had. Returns `false` when there are `messages_max`.
    pub(crate) fn keep(&mut self, topic: &str, message: Message, messages_max: usize) -> bool {
        if self.topics.len() >= messages_max && self.topics.get(topic).is_none() {
            return false;
        }
        self.next_expiry_ms = self.next_expiry_ms.min(message.expires_wall_ms().unwrap_or(u64::MAX));
        if self.topics.insert(topic, message).is_none() {
            self.system += usize::from(is_system(topic));
        }
        true
    }

    /// Forgets the message of a topic, and tells whether there was one.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        let was_there = self.topics.remove(topic).is_some();
        self.system -= usize::from(was_there && is_system(topic));
        was_there
    }

    /// Returns how many there are of others: without what the broker says about itself.
    pub(crate) fn published(&self) -> usize {
        self.len() - self.system
    }

    /// Tells whether a message is the one of its topic.
    pub(crate) fn is_kept(&self, message: &Message) -> bool {
        self.topics.get(message.topic()) == Some(message)
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Returns the messages whose topics match and pass.
    pub(crate) fn matching(&mut self, filter: &str, now: Now, passes: impl Fn(&str) -> bool) -> Vec<Message> {
        let (mut found, mut expired) = (Vec::new(), Vec::new());
        let _: ControlFlow<()> = self.topics.for_each_matching(filter, |topic, message| {
            if message.is_expired(now) {
                expired.push(message.clone());
            } else if passes(topic) {
                found.push(message.clone());
            }
            ControlFlow::Continue(())
        });
        for message in expired {
            self.drop_one(message);
        }
        found
    }

    /// Returns the topics whose messages have expired since this was last asked, and that have no other one since.
    pub(crate) fn take_expired(&mut self) -> Vec<Message> {
        let mut expired = std::mem::take(&mut self.expired);
        expired.retain(|message| self.topics.get(message.topic()).is_none());
        expired
    }

    fn drop_one(&mut self, message: Message) {
        if self.remove(message.topic()) {
            self.expired.push(message);
        }
    }

    /// Drops what has expired. Looks at every message, but only when one of them can have expired.
    pub(crate) fn drop_expired(&mut self, now: Now) {
        if self.next_expiry_ms > now.wall_ms {
            return;
        }
        let mut expired = Vec::new();
        self.next_expiry_ms = u64::MAX;
        for (_, message) in self.topics.iter() {
            match message.expires_wall_ms() {
                Some(at_ms) if at_ms > now.wall_ms => self.next_expiry_ms = self.next_expiry_ms.min(at_ms),
                Some(_) => expired.push(message.clone()),
                None => {}
            }
        }
        for message in expired {
            self.drop_one(message);
        }
    }
}

fn is_system(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

#[cfg(test)]
mod tests {
    use crosspoint_protocol::{
        QoS, TopicName,
        packet::{PublishProperties, PublishPropertyValues},
    };

    use super::*;

    fn message(topic: &str, expiry_s: Option<u32>) -> Message {
        let values = PublishPropertyValues { message_expiry_s: expiry_s, ..PublishPropertyValues::default() };
        let properties = PublishProperties::from_values(&values).unwrap();
        let topic = TopicName::parse(topic.to_owned()).unwrap();
        Message::new(&topic, b"x", QoS::AtLeastOnce, true, &properties, Now::default())
    }

    fn table() -> Retained {
        let mut retained = Retained::new();
        for (topic, expiry_s) in [("a/short", Some(1)), ("a/long", Some(100)), ("a/ever", None)] {
            assert!(retained.keep(topic, message(topic, expiry_s), 10));
        }
        retained
    }

    #[test]
    fn what_has_expired_is_not_found_and_is_dropped_by_who_comes_across_it() {
        let mut retained = table();
        let now = Now::default().plus_ms(1_000);
        assert_eq!(retained.matching("a/+", now, |_| true).len(), 2);
        assert_eq!(retained.len(), 2);
    }

    #[test]
    fn what_nobody_asks_for_is_dropped_in_time() {
        let mut retained = table();
        retained.drop_expired(Now::default().plus_ms(999));
        assert_eq!(retained.len(), 3);
        retained.drop_expired(Now::default().plus_ms(50_000));
        assert_eq!(retained.len(), 2);
        retained.drop_expired(Now::default().plus_ms(100_000));
        assert_eq!(retained.len(), 1);
        assert_eq!(retained.next_expiry_ms, u64::MAX, "nothing is looked at any more");
    }

    #[test]
    fn a_full_table_still_replaces() {
        let mut retained = table();
        assert!(!retained.keep("b", message("b", None), 3));
        assert!(retained.keep("a/ever", message("a/ever", None), 3));
        retained.remove("a/ever");
        assert!(retained.keep("b", message("b", None), 3));
    }

    #[test]
    fn what_the_broker_says_about_itself_is_not_counted_among_what_others_have_published() {
        let (mut retained, topic) = (table(), "$SYS/broker/uptime");
        let published = retained.published();
        for _ in 0..2 {
            assert!(retained.keep(topic, message(topic, None), 10));
            assert_eq!((retained.published(), retained.len()), (published, published + 1));
        }
        retained.remove(topic);
        retained.remove(topic);
        assert_eq!((retained.published(), retained.len()), (published, published));
    }
}
