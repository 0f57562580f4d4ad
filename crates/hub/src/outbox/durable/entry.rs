//! A message in an outbox, and the bytes in which the store keeps it: `docs/formats/records.md`, "Outbox entry".

use std::sync::Arc;

use bytes::Bytes;
use crosspoint_client::{Message, QoS, TopicName};
use crosspoint_protocol::message::MessageParts;
use crosspoint_store::Waiting;
use crosspoint_store::bytes_in::{self, BytesIn};

/// The form that is written here, and the only one there is.
const FORM: u8 = 1;

/// What every message counts for besides its own bytes.
const OVERHEAD_BYTES: u64 = 64;

/// A message on its way to one connector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) message: Message,
    /// At which QoS it is published.
    pub(crate) qos: QoS,
    /// With which retain flag it is published.
    pub(crate) retain: bool,
    /// Which flow made it, for whoever reads why it failed.
    pub(crate) flow: Arc<str>,
    /// When it was accepted, on the wall clock.
    pub(crate) accepted_wall_ms: u64,
}

impl Item {
    /// Returns what it counts for in the limit of an outbox.
    pub(crate) fn bytes(&self) -> u64 {
        self.message.len() as u64 + OVERHEAD_BYTES
    }

    /// Returns the byte that goes with it in a queue.
    pub(crate) fn flags(&self) -> u8 {
        self.qos.bits() | (u8::from(self.retain) << 2)
    }

    /// Returns it with another topic or payload.
    pub(crate) fn changed(&self, topic: Option<&TopicName>, payload: Option<&[u8]>) -> Self {
        let parts = self.message.parts();
        let topic = topic.map_or(parts.topic, TopicName::as_bytes);
        let changed = MessageParts { topic, payload: payload.unwrap_or(parts.payload), ..parts };
        let message = Message::from_parts(&changed, self.message.qos(), self.message.retain());
        Self { message, ..self.clone() }
    }

    /// Returns it as it is kept.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32 + self.flow.len() + self.message.len());
        self.encode_to(&mut out);
        out.into()
    }

    pub(super) fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(FORM);
        bytes_in::put_varint(out, self.accepted_wall_ms);
        bytes_in::put_counted(out, self.flow.as_bytes());
        self.message.to_stored(out);
    }

    /// Reads what [`encode`](Self::encode) made; `None` when it is no such thing.
    pub(super) fn decode(bytes: &[u8], flags: u8, flows: &mut FlowNames) -> Option<Self> {
        let mut bytes = BytesIn::of_form(FORM, bytes).filter(|_| flags <= 0b111)?;
        let accepted_wall_ms = bytes.varint()?;
        let flow = bytes.text()?;
        Some(Self {
            message: Message::from_stored(bytes.rest())?,
            qos: QoS::from_bits(flags & 0b11)?,
            retain: flags & 0b100 != 0,
            flow: flows.shared(flow),
            accepted_wall_ms,
        })
    }
}

/// Reads one entry back; `None` when it is none.
pub(crate) fn decode_entry(waiting: &Waiting) -> Option<Item> {
    Item::decode(&waiting.message, waiting.flags, &mut FlowNames::default())
}

/// The names of flows that were read lately, so that the messages of a flow share one.
#[derive(Debug, Default)]
pub(crate) struct FlowNames(Vec<Arc<str>>);

impl FlowNames {
    /// Names beyond so many are not shared.
    const COUNT_MAX: usize = 64;

    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| ***known == *name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        if self.0.len() < Self::COUNT_MAX {
            self.0.push(name.clone());
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    fn item() -> Item {
        Item {
            message: message("a/b", b"payload", QoS::ExactlyOnce),
            qos: QoS::AtLeastOnce,
            retain: true,
            flow: "to-cloud".into(),
            accepted_wall_ms: 1_700_000_000_123,
        }
    }

    #[test]
    fn an_entry_comes_back_and_no_part_of_it_does() {
        let (bytes, mut flows) = (item().encode(), FlowNames::default());
        assert_eq!(Item::decode(&bytes, item().flags(), &mut flows), Some(item()));
        let head = bytes.len() - b"payload".len();
        for end in 0..head {
            assert_eq!(Item::decode(&bytes[..end], item().flags(), &mut flows), None, "{end} bytes");
        }
        assert_eq!(Item::decode(&bytes, 3, &mut flows), None, "there is no QoS 3");
    }

    #[test]
    fn garbage_is_no_entry_and_no_panic() {
        let (good, mut random) = (item().encode(), fastrand::Rng::with_seed(5));
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            if let Some(read) = Item::decode(&bytes, random.u8(..), &mut FlowNames::default()) {
                let again = Item::decode(&read.encode(), read.flags(), &mut FlowNames::default());
                assert_eq!(again.as_ref(), Some(&read));
            }
        }
    }

    #[test]
    fn the_messages_of_a_flow_share_its_name() {
        let (bytes, mut flows) = (item().encode(), FlowNames::default());
        let [one, two] = [(); 2].map(|()| Item::decode(&bytes, 0, &mut flows).unwrap());
        assert!(Arc::ptr_eq(&one.flow, &two.flow));
    }
}
