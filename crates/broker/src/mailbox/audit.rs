//! Whether a mailbox is as it says, and within its limits.

use super::{Mailbox, entry_bytes};

impl Mailbox {
    /// Returns what is not as it must be: a sum that is not that of its parts, or a limit that is not held.
    ///
    /// So many stored messages more than the limit says may wait: those that do not count while their client has them.
    pub(crate) fn audit(&self, slack: u64) -> Option<String> {
        let limits = &self.limits;
        let (messages, bytes) = (self.queue.len(), self.queue.iter().map(entry_bytes).sum::<usize>());
        if bytes != self.queue_bytes {
            return Some(format!(
                "{messages} messages have {bytes} bytes and count for {}",
                self.queue_bytes
            ));
        }
        if messages > limits.messages || (bytes > limits.bytes && messages > 1) {
            return Some(format!("{messages} messages of {bytes} bytes wait in memory: {limits:?}"));
        }
        let direct = self.direct.len();
        if direct > limits.direct_bytes && self.direct_messages > 1 {
            return Some(format!("{direct} bytes at QoS 0 wait: {limits:?}"));
        }
        let stored = self.stored.as_ref()?;
        stored.excess(limits, slack)
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_protocol::{
        Message, Now, QoS, TopicName, Version, limits::PACKET_BYTES_MAX, packet::PublishProperties,
    };

    use super::*;
    use crate::{
        mailbox::{Entry, Receiver, StoredQueue},
        options::QueueLimits,
    };

    fn mailbox() -> Mailbox {
        let receiver = Receiver { version: Version::V5, packet_bytes_max: PACKET_BYTES_MAX, is_local: false };
        let mut mailbox = Mailbox::new(QueueLimits::default().messages(2), receiver);
        mailbox.stored = Some(Box::new(StoredQueue::new()));
        mailbox
    }

    fn entry() -> Entry {
        let topic = TopicName::parse("a").unwrap();
        let properties = PublishProperties::default();
        let message = Message::new(&topic, b"x", QoS::AtLeastOnce, false, &properties, Now::default());
        Entry::new(message, QoS::AtLeastOnce, false)
    }

    #[test]
    fn what_is_full_is_as_it_must_be_and_one_more_is_not() {
        let mut mailbox = mailbox();
        (0..5).for_each(|_| _ = mailbox.push(entry()));
        (0..5).for_each(|position| _ = mailbox.push_stored(position, entry()));
        assert_eq!(mailbox.audit(0), None);
        mailbox.queue_bytes += 1;
        assert!(mailbox.audit(0).unwrap().contains("count for"));
        mailbox.queue_bytes -= 1;
        mailbox.push_front(entry());
        assert!(mailbox.audit(0).unwrap().starts_with("3 messages"));
        mailbox.pop();
        mailbox.limits = QueueLimits::default().messages(1);
        mailbox.pop();
        assert!(mailbox.audit(0).unwrap().starts_with("2 messages wait in the store"));
        assert_eq!(mailbox.audit(1), None, "one of them may have been with the client");
    }
}
