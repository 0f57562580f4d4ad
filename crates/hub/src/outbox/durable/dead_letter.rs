//! A message that was given up, with the reason: `docs/formats/records.md`, "Dead letter".

use bytes::Bytes;
use crosspoint_store::bytes_in::{self, BytesIn};

use super::entry::{FlowNames, Item};

const FORM: u8 = 1;

/// A message that was given up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeadLetter {
    pub(crate) item: Item,
    /// Why, in plain words.
    pub(crate) reason: String,
    /// What the connection or the broker said last, where that says more.
    pub(crate) last_error: String,
    /// How often it was handed to the client.
    pub(crate) attempts: u32,
    /// Whether the broker may have it all the same.
    pub(crate) may_be_delivered: bool,
    /// When it was given up, on the wall clock.
    pub(crate) died_wall_ms: u64,
}

impl DeadLetter {
    /// Makes the letter of a message that was never sent.
    pub(crate) fn unsent(item: &Item, reason: &str, died_wall_ms: u64) -> Self {
        Self {
            item: item.clone(),
            reason: reason.to_owned(),
            last_error: String::new(),
            attempts: 0,
            may_be_delivered: false,
            died_wall_ms,
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![FORM, u8::from(self.may_be_delivered)];
        bytes_in::put_varint(&mut out, self.died_wall_ms);
        bytes_in::put_varint(&mut out, u64::from(self.attempts));
        bytes_in::put_counted(&mut out, self.reason.as_bytes());
        bytes_in::put_counted(&mut out, self.last_error.as_bytes());
        self.item.encode_to(&mut out);
        out.into()
    }

    pub(crate) fn decode(bytes: &[u8], flags: u8) -> Option<Self> {
        let mut bytes = BytesIn::of_form(FORM, bytes)?;
        let may_be_delivered = bytes.u8().filter(|bit| *bit <= 1)? == 1;
        let died_wall_ms = bytes.varint()?;
        let attempts = bytes.varint_as()?;
        let (reason, last_error) = (bytes.text()?.to_owned(), bytes.text()?.to_owned());
        let item = Item::decode(bytes.rest(), flags, &mut FlowNames::default())?;
        Some(Self { item, reason, last_error, attempts, may_be_delivered, died_wall_ms })
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_client::QoS;

    use super::*;
    use crate::testing::message;

    fn letter() -> DeadLetter {
        let item = Item {
            message: message("a/b", b"payload", QoS::ExactlyOnce),
            qos: QoS::ExactlyOnce,
            retain: false,
            flow: "to-cloud".into(),
            accepted_wall_ms: 1_700_000_000_123,
        };
        DeadLetter {
            item,
            reason: "the broker refused it".to_owned(),
            last_error: "not authorized".to_owned(),
            attempts: 300,
            may_be_delivered: true,
            died_wall_ms: 1_700_000_001_000,
        }
    }

    #[test]
    fn a_letter_comes_back_and_no_part_of_it_does() {
        let (letter, bytes) = (letter(), letter().encode());
        assert_eq!(DeadLetter::decode(&bytes, letter.item.flags()), Some(letter));
        let head = bytes.len() - b"payload".len();
        assert!((0..head).all(|end| DeadLetter::decode(&bytes[..end], 2).is_none()));
    }

    #[test]
    fn garbage_is_no_letter_and_no_panic() {
        let (good, mut random) = (letter().encode(), fastrand::Rng::with_seed(8));
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            if let Some(read) = DeadLetter::decode(&bytes, 2) {
                assert_eq!(DeadLetter::decode(&read.encode(), 2), Some(read));
            }
        }
    }
}
