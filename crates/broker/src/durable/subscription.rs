//! Table 2: a Subscription. Its key is the number of the session and the filter.
//!
//! ```text
//! form u8 │ options u8: bits 0-1 QoS, 2 no local, 3 retain as published, 4-5 retain handling │ identifier u32, 0 none
//! ```

use bytes::Bytes;
use crosspoint_protocol::{
    QoS, TopicFilter,
    packet::{RetainHandling, SubscriptionOptions},
};

use super::fields::{self, FORM};

/// What is kept of a Subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscriptionRecord {
    pub(crate) options: SubscriptionOptions,
    /// The Subscription Identifier; 0 is none.
    pub(crate) id: u32,
}

impl SubscriptionRecord {
    pub(crate) fn key(session: u64, filter: &TopicFilter) -> Bytes {
        let mut key = Vec::with_capacity(8 + filter.as_bytes().len());
        key.extend_from_slice(&session.to_be_bytes());
        key.extend_from_slice(filter.as_bytes());
        key.into()
    }

    /// Returns the session and the filter.
    pub(crate) fn of_key(key: &[u8]) -> Option<(u64, TopicFilter)> {
        let (session, filter) = key.split_first_chunk()?;
        let filter = TopicFilter::parse(std::str::from_utf8(filter).ok()?.to_owned()).ok()?;
        Some((u64::from_be_bytes(*session), filter))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let options = &self.options;
        let bits = options.qos.bits()
            | u8::from(options.no_local) << 2
            | u8::from(options.retain_as_published) << 3
            | (options.retain_handling as u8) << 4;
        let mut out = vec![FORM, bits];
        out.extend_from_slice(&self.id.to_le_bytes());
        out
    }

    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = fields::of(record)?;
        let (bits, id) = (fields.u8().filter(|bits| bits >> 6 == 0)?, fields.u32()?);
        fields.end()?;
        let options = SubscriptionOptions {
            qos: QoS::from_bits(bits & 0b11)?,
            no_local: bits & 0b100 != 0,
            retain_as_published: bits & 0b1000 != 0,
            retain_handling: match bits >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return None,
            },
        };
        Some(Self { options, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::fields::check;

    #[test]
    fn a_subscription_comes_back_whole() {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for retain_handling in
                [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]
            {
                for flags in [(false, false), (true, false), (false, true)] {
                    let (no_local, retain_as_published) = flags;
                    let options = SubscriptionOptions { qos, no_local, retain_as_published, retain_handling };
                    let record = SubscriptionRecord { options, id: 268_435_455 };
                    check(&record, SubscriptionRecord::encode, SubscriptionRecord::decode);
                }
            }
        }
    }

    #[test]
    fn its_key_has_the_session_and_the_filter() {
        for text in ["#", "a/+/b", "$share/group/a/#"] {
            let filter = TopicFilter::parse(text).unwrap();
            let key = SubscriptionRecord::key(258, &filter);
            assert_eq!(SubscriptionRecord::of_key(&key), Some((258, filter)));
        }
        assert_eq!(SubscriptionRecord::of_key(&[0; 7]), None);
        assert_eq!(SubscriptionRecord::of_key(&[0, 0, 0, 0, 0, 0, 0, 1, b'a', b'#']), None);
    }
}
