//! Tables 3 and 4: unfinished exchanges at QoS 2.
//!
//! ```text
//! 3 incoming: session u64, packet identifier u16 → form u8
//! 4 outgoing: session u64, position u64          → form u8 │ stage u8 │ packet identifier u16
//! ```
//!
//! Identifiers are assigned in the order of positions, so that the key has the order as well.

use bytes::Bytes;
use crosspoint_protocol::PacketId;

use super::fields::{self, FORM};

/// What is kept of a message at QoS 2 that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutgoingRecord {
    pub(crate) packet_id: PacketId,
    pub(crate) stage: KeptStage,
}

/// How far a message at QoS 2 has come, as far as it matters after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptStage {
    /// PUBLISH may have been sent.
    Assigned = 1,
    /// PUBREC came.
    Received = 2,
    /// It is finished, but not everything before it is.
    Finished = 3,
}

pub(crate) fn incoming_key(session: u64, packet_id: PacketId) -> Bytes {
    let mut key = session.to_be_bytes().to_vec();
    key.extend_from_slice(&packet_id.value().to_be_bytes());
    key.into()
}

/// Returns the session and the packet identifier.
pub(crate) fn of_incoming(key: &[u8], record: &[u8]) -> Option<(u64, PacketId)> {
    fields::of(record)?.end()?;
    let (session, packet_id) = key.split_first_chunk()?;
    let packet_id = PacketId::new(u16::from_be_bytes(packet_id.try_into().ok()?))?;
    Some((u64::from_be_bytes(*session), packet_id))
}

pub(crate) fn incoming_record() -> Bytes {
    Bytes::from_static(&[FORM])
}

pub(crate) fn outgoing_key(session: u64, position: u64) -> Bytes {
    [session.to_be_bytes(), position.to_be_bytes()].concat().into()
}

/// Returns the session and the position.
pub(crate) fn of_outgoing_key(key: &[u8]) -> Option<(u64, u64)> {
    let (session, position) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*session), u64::from_be_bytes(position.try_into().ok()?)))
}

impl OutgoingRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let [low, high] = self.packet_id.value().to_le_bytes();
        vec![FORM, self.stage as u8, low, high]
    }

    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let mut fields = fields::of(record)?;
        let stage = match fields.u8()? {
            1 => KeptStage::Assigned,
            2 => KeptStage::Received,
            3 => KeptStage::Finished,
            _ => return None,
        };
        let packet_id = PacketId::new(fields.u16()?)?;
        fields.end()?;
        Some(Self { packet_id, stage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::fields::check;

    #[test]
    fn exchanges_come_back_whole() {
        let packet_id = PacketId::new(0x1234).unwrap();
        for stage in [KeptStage::Assigned, KeptStage::Received, KeptStage::Finished] {
            check(&OutgoingRecord { packet_id, stage }, OutgoingRecord::encode, OutgoingRecord::decode);
        }
        assert_eq!(OutgoingRecord::decode(&[FORM, 1, 0, 0]), None, "0 is no packet identifier");
        assert_eq!(of_outgoing_key(&outgoing_key(7, u64::MAX)), Some((7, u64::MAX)));
        assert_eq!(of_outgoing_key(&[0; 15]), None);
        let key = incoming_key(7, packet_id);
        assert_eq!(of_incoming(&key, &incoming_record()), Some((7, packet_id)));
        assert_eq!(of_incoming(&key[1..], &incoming_record()), None);
        assert_eq!(of_incoming(&key, &[2]), None);
    }
}
