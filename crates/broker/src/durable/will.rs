//! Table 5: a Will. Its key is the client identifier.
//!
//! ```text
//! form u8 │ flags u8: 1 its message expires, 2 its delay runs │ delay u32, seconds │ expiry u32, seconds
//!         │ when it is due u64, ms of the wall clock │ a stored message
//! ```

use crosspoint_protocol::Message;

use super::fields::{self, FORM};
use crate::will::Testament;

const EXPIRES: u8 = 1;
const IS_RUNNING: u8 = 2;

/// What is kept of a Will.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WillRecord {
    pub(crate) testament: Testament,
    /// When it is to be published, once its client has gone.
    pub(crate) due_wall_ms: Option<u64>,
}

impl WillRecord {
    pub(crate) fn encode(testament: &Testament, due_wall_ms: Option<u64>) -> Vec<u8> {
        let flags = if testament.expiry_s.is_some() { EXPIRES } else { 0 }
            | if due_wall_ms.is_some() { IS_RUNNING } else { 0 };
        let mut out = vec![FORM, flags];
        out.extend_from_slice(&testament.delay_s.to_le_bytes());
        if let Some(expiry_s) = testament.expiry_s {
            out.extend_from_slice(&expiry_s.to_le_bytes());
        }
        if let Some(due_wall_ms) = due_wall_ms {
            out.extend_from_slice(&due_wall_ms.to_le_bytes());
        }
        testament.message.to_stored(&mut out);
        out
    }

    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = fields::of(record)?;
        let flags = fields.u8().filter(|flags| flags & !(EXPIRES | IS_RUNNING) == 0)?;
        let delay_s = fields.u32()?;
        let expiry_s = if flags & EXPIRES == 0 { None } else { Some(fields.u32()?) };
        let due_wall_ms = if flags & IS_RUNNING == 0 { None } else { Some(fields.u64()?) };
        let message = Message::from_stored(fields.rest())?;
        Some(Self { testament: Testament { message, expiry_s, delay_s }, due_wall_ms })
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_protocol::{Now, QoS, TopicName, packet::PublishProperties};

    use super::*;
    use crate::durable::fields::check;

    #[test]
    fn a_will_comes_back_whole() {
        let topic = TopicName::parse("wills/a").unwrap();
        let properties = PublishProperties::default();
        let message = Message::new(&topic, b"gone", QoS::ExactlyOnce, true, &properties, Now::default());
        for expiry_s in [None, Some(9)] {
            for due_wall_ms in [None, Some(1 << 41)] {
                let testament = Testament { message: message.clone(), expiry_s, delay_s: 5 };
                let record = WillRecord { testament, due_wall_ms };
                let encode = |record: &WillRecord| WillRecord::encode(&record.testament, record.due_wall_ms);
                check(&record, encode, WillRecord::decode);
            }
        }
    }
}
