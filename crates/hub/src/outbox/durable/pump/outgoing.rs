//! What is looked at before a message leaves: what the broker takes, how fast, and with which mark.

use std::sync::Arc;

use crosspoint_client::{Connected, Message, Publication, QoS};
use crosspoint_protocol::message::{MessageParts, PublishHead};
use crosspoint_protocol::{Now, limits::PACKET_BYTES_MAX};

use crate::config::plan::{OutboxPlan, ReplayMark};
use crate::outbox::durable::entry::Item;

/// What a mark takes besides its name, at most: identifier, lengths, `true`, and longer lengths of packet and properties.
const USER_PROPERTY_BYTES: usize = 12;

/// A connection on which messages leave.
#[derive(Debug)]
pub(super) struct Link {
    connected: Arc<Connected>,
    /// When it began, on the wall clock: what was accepted before has waited for it.
    since_wall_ms: u64,
    tokens: Tokens,
}

/// How many messages of a backlog may leave.
#[derive(Debug)]
struct Tokens {
    /// In thousandths of a message, so that no time is lost between two of them.
    left: u64,
    at_ms: u64,
}

/// Whether a message may leave now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Check {
    Good,
    /// Not before this time.
    Wait(u64),
    /// Never, for this reason.
    Never(String),
}

impl Link {
    pub(super) fn new(connected: &Arc<Connected>, now: Now) -> Self {
        Self {
            connected: connected.clone(),
            since_wall_ms: now.wall_ms,
            tokens: Tokens { left: 0, at_ms: now.monotonic_ms },
        }
    }

    /// Tells whether this is the connection that a client tells of.
    pub(super) fn is_on(&self, connected: &Arc<Connected>) -> bool {
        Arc::ptr_eq(&self.connected, connected)
    }

    /// Tells whether a message may leave.
    pub(super) fn check(&mut self, item: &Item, policy: &OutboxPlan, now: Now) -> Check {
        if let Some(reason) = self.refusal(item, policy, now) {
            return Check::Never(reason);
        }
        match policy.backlog_per_s {
            Some(rate) if item.accepted_wall_ms < self.since_wall_ms => {
                self.tokens.take(u64::from(rate), now.monotonic_ms).map_or(Check::Good, Check::Wait)
            }
            _ => Check::Good,
        }
    }

    /// Returns what is published.
    pub(super) fn publication(&self, item: &Item, policy: &OutboxPlan, now: Now) -> Publication {
        let mark = policy.replay_mark.as_ref().filter(|mark| self.is_replay(item, mark, now));
        let marked = mark.and_then(|mark| marked(&item.message, mark));
        Publication::of_message(marked.unwrap_or_else(|| item.message.clone()))
            .qos(item.qos)
            .retain(item.retain)
    }

    fn is_replay(&self, item: &Item, mark: &ReplayMark, now: Now) -> bool {
        let waited_ms = u128::from(now.wall_ms.saturating_sub(item.accepted_wall_ms));
        let waited_for_link = item.accepted_wall_ms < self.since_wall_ms;
        waited_ms >= mark.after.as_millis() && (waited_for_link || !mark.after.is_zero())
    }

    /// Returns why the broker would never take a message.
    fn refusal(&self, item: &Item, policy: &OutboxPlan, now: Now) -> Option<String> {
        let topic = item.message.topic();
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Some("its topic cannot be published to".to_owned());
        }
        let limits = &self.connected.limits;
        if item.qos > limits.qos_max {
            let max = limits.qos_max.bits();
            return Some(format!("it has QoS {}, and the broker takes at most {max}", item.qos.bits()));
        }
        if item.retain && !limits.retain {
            return Some("it is retained, and the broker keeps no retained messages".to_owned());
        }
        let max = limits.packet_bytes_max.map_or(PACKET_BYTES_MAX, |max| max as usize);
        let mark = policy.replay_mark.as_ref().filter(|mark| self.is_replay(item, mark, now));
        let mark_bytes = mark.map_or(0, |mark| {
            mark.property.as_ref().map_or(0, |name| name.len() + USER_PROPERTY_BYTES)
                + mark.topic_prefix.as_ref().map_or(0, String::len)
        });
        let bytes = item.message.encoded_len(&self.head(item)) + mark_bytes;
        (bytes > max)
            .then(|| format!("it needs a packet of {bytes} bytes, and the broker takes at most {max}"))
    }

    fn head(&self, item: &Item) -> PublishHead<'static> {
        PublishHead {
            version: self.connected.version,
            qos: item.qos,
            retain: item.retain,
            dup: false,
            packet_id: u16::from(item.qos != QoS::AtMostOnce),
            topic_alias: 0,
            omit_topic: false,
            subscription_ids: &[],
        }
    }
}

impl Tokens {
    /// Takes one; returns when there is one if there is none now.
    fn take(&mut self, rate: u64, now_ms: u64) -> Option<u64> {
        // At most what a tenth of a second gives, so that a pause is not made up for.
        let most = (rate * 100).max(1_000);
        self.left = (self.left + rate * now_ms.saturating_sub(self.at_ms)).min(most);
        self.at_ms = now_ms;
        if self.left >= 1_000 {
            self.left -= 1_000;
            return None;
        }
        Some(now_ms + (1_000 - self.left).div_ceil(rate.max(1)))
    }
}

/// Returns the message with the mark of one that has waited; `None` when its topic would be too long.
fn marked(message: &Message, mark: &ReplayMark) -> Option<Message> {
    let parts = message.parts();
    let topic = [mark.topic_prefix.as_deref().unwrap_or_default().as_bytes(), parts.topic].concat();
    u16::try_from(topic.len()).ok()?;
    let mut properties = parts.properties.to_vec();
    if let Some(name) = &mark.property {
        put_user_property(name, "true", &mut properties);
    }
    let marked = MessageParts { topic: &topic, properties: &properties, ..parts };
    Some(Message::from_parts(&marked, message.qos(), message.retain()))
}

/// Appends a User Property as it stands on the wire.
fn put_user_property(name: &str, value: &str, out: &mut Vec<u8>) {
    const USER_PROPERTY: u8 = 0x26;
    out.push(USER_PROPERTY);
    for text in [name, value] {
        out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}
