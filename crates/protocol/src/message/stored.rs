//! A message as stores keep it: `docs/formats/records.md`, "Stored message".
//!
//! What a store keeps is covered by its own checksum, so a form that does not fit comes from another program or
//! another time, never from a peer. Reading it refuses without a reason: there is one thing to do, not to use it.

use super::{Message, MessageParts, clamp_u32};
use crate::{QoS, codec::varint};

/// The form that is written here, and the only one there is.
const FORM: u8 = 1;

const RETAIN: u8 = 0b0100;
const EXPIRES: u8 = 0b1000;

/// Bytes before the topic, at most.
const HEAD_BYTES_MAX: usize = 2 + 8 + 4 + 4;

impl Message {
    /// Appends the message as it is kept on disk.
    pub fn to_stored(&self, out: &mut Vec<u8>) {
        self.parts().to_stored(self.qos(), self.retain(), out);
    }

    /// Takes a message from the bytes that [`to_stored`](Self::to_stored) made; `None` when they are no such bytes.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        let (&[form, flags], mut rest) = bytes.split_first_chunk()?;
        if form != FORM || flags & !(RETAIN | EXPIRES | 0b11) != 0 {
            return None;
        }
        let expires_wall_ms = if flags & EXPIRES == 0 {
            u64::MAX
        } else {
            let (expires, behind) = rest.split_first_chunk()?;
            rest = behind;
            u64::from_le_bytes(*expires)
        };
        let topic_bytes = take_varint(&mut rest)?;
        let properties_bytes = take_varint(&mut rest)?;
        let (topic, behind) = rest.split_at_checked(topic_bytes)?;
        let (properties, payload) = behind.split_at_checked(properties_bytes)?;
        std::str::from_utf8(topic).ok().filter(|topic| !topic.is_empty())?;
        let qos = QoS::from_bits(flags & 0b11)?;
        let parts = MessageParts { topic, properties, payload, expires_wall_ms };
        Some(Self::from_parts(&parts, qos, flags & RETAIN != 0))
    }
}

impl MessageParts<'_> {
    /// Appends the message as it is kept on disk: for one that has not been made into a [`Message`].
    pub fn to_stored(&self, qos: QoS, retain: bool, out: &mut Vec<u8>) {
        out.reserve(HEAD_BYTES_MAX + self.topic.len() + self.properties.len() + self.payload.len());
        let expires = self.expires_wall_ms != u64::MAX;
        let flags = qos.bits() | if retain { RETAIN } else { 0 } | if expires { EXPIRES } else { 0 };
        out.extend_from_slice(&[FORM, flags]);
        if expires {
            out.extend_from_slice(&self.expires_wall_ms.to_le_bytes());
        }
        varint::put(clamp_u32(self.topic.len()), out);
        varint::put(clamp_u32(self.properties.len()), out);
        out.extend_from_slice(self.topic);
        out.extend_from_slice(self.properties);
        out.extend_from_slice(self.payload);
    }
}

fn take_varint(rest: &mut &[u8]) -> Option<usize> {
    let (value, bytes) = varint::read(rest).ok()??;
    *rest = rest.get(bytes..)?;
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Now, TopicName,
        packet::{PublishProperties, PublishPropertyValues},
    };

    fn message(payload: &[u8], qos: QoS, retain: bool, message_expiry_s: Option<u32>) -> Message {
        let values = PublishPropertyValues {
            message_expiry_s,
            user_properties: vec![("a".into(), "b".into())],
            ..PublishPropertyValues::default()
        };
        let topic = TopicName::parse("plant/1/täglich").unwrap();
        let properties = PublishProperties::from_values(&values).unwrap();
        Message::new(&topic, payload, qos, retain, &properties, Now { monotonic_ms: 0, wall_ms: 5 })
    }

    fn stored(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.to_stored(&mut bytes);
        bytes
    }

    #[test]
    fn a_stored_message_comes_back_whole() {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for (retain, expiry_s) in [(false, None), (true, None), (false, Some(0)), (true, Some(60))] {
                for payload in [0, 1, 300, 70_000] {
                    let kept = message(&vec![7; payload], qos, retain, expiry_s);
                    let back = Message::from_stored(&stored(&kept)).unwrap();
                    assert_eq!(back, kept);
                    assert_eq!(back.expires_wall_ms(), kept.expires_wall_ms());
                    assert_eq!(back.properties_bytes(), kept.properties_bytes());
                }
            }
        }
    }

    #[test]
    fn what_is_cut_off_before_the_payload_is_refused() {
        let kept = message(b"", QoS::AtLeastOnce, true, Some(60));
        let bytes = stored(&kept);
        assert!(Message::from_stored(&bytes).is_some());
        for end in 0..bytes.len() {
            assert_eq!(Message::from_stored(&bytes[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn another_form_is_refused() {
        let bytes = stored(&message(b"x", QoS::ExactlyOnce, false, None));
        for (at, value) in [(0, 0), (0, 2), (1, 0b11), (1, 0b1_0000), (2, 0), (4, 0xFF)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(Message::from_stored(&other), None, "byte {at} is {value}");
        }
    }
}
