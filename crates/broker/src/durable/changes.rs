//! What one turn changes on disk, gathered without a lock until its end.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use bytestring::ByteString;
use crosspoint_protocol::{Message, PacketId, QoS};
use smallvec::SmallVec;

use super::{
    INCOMING, OUTGOING, SESSIONS, SessionRecord,
    exchange::{OutgoingRecord, incoming_key, incoming_record, outgoing_key},
    part::is_refusable,
};
use crate::session::Session;

/// The changes of one turn, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// The stored forms of the messages, one behind the other: one allocation a turn.
    pub(super) stored: Vec<u8>,
    pub(super) list: Vec<Change>,
    pub(super) urgency: Urgency,
}

/// How soon changes have to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Urgency {
    /// Nobody waits: they go with others, or within a second.
    #[default]
    Lazy,
    /// They are written at once, which outlives the process, and synced with others.
    Written,
    /// They are synced at once, which outlives the power.
    Synced,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Publish { message: Message, stored: Range<usize>, targets: SmallVec<[Target; 2]> },
    Put { table: u32, key: Bytes, value: Bytes },
    Delete { table: u32, key: Bytes },
    Consume { queue: u64, position: u64 },
    RemoveQueue { queue: u64 },
}

/// A durable session that gets a message, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    pub(crate) subscription_ids: SmallVec<[u32; 2]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Of the session's filters, when it was chosen.
    pub(crate) generation: u32,
}

impl Target {
    /// Returns the flags of its entry in the store.
    pub(super) fn flags(&self) -> u8 {
        self.qos.bits() | u8::from(self.retain) << 2
    }
}

/// Returns the QoS and the retain flag that the flags of an entry stand for.
pub(crate) fn of_flags(flags: u8) -> Option<(QoS, bool)> {
    (flags >> 3 == 0).then_some(())?;
    Some((QoS::from_bits(flags & 0b11)?, flags & 0b100 != 0))
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Tells whether something of it may be refused when the disk is full.
    pub(super) fn is_refusable(&self) -> bool {
        self.list.iter().any(|change| match change {
            Change::Publish { .. } => true,
            Change::Put { table, .. } => is_refusable(*table),
            Change::Delete { .. } | Change::Consume { .. } | Change::RemoveQueue { .. } => false,
        })
    }

    /// Lets the changes be synced at once: somebody waits.
    pub(crate) const fn hurry(&mut self) {
        self.urgency = Urgency::Synced;
    }

    /// Lets nothing be more urgent than this.
    pub(crate) fn calm(&mut self, urgency: Urgency) {
        self.urgency = self.urgency.min(urgency);
    }

    /// Appends a message to the queues of sessions, which wait for it.
    pub(crate) fn publish(&mut self, message: Message, targets: SmallVec<[Target; 2]>) {
        self.hurry();
        let start = self.stored.len();
        message.to_stored(&mut self.stored);
        let stored = start..self.stored.len();
        self.list.push(Change::Publish { message, stored, targets });
    }

    pub(crate) fn put(&mut self, table: u32, key: Bytes, value: impl Into<Bytes>) {
        self.list.push(Change::Put { table, key, value: value.into() });
    }

    pub(crate) fn delete(&mut self, table: u32, key: Bytes) {
        self.list.push(Change::Delete { table, key });
    }

    pub(crate) fn consume(&mut self, queue: u64, position: u64) {
        self.list.push(Change::Consume { queue, position });
    }

    pub(crate) fn remove_queue(&mut self, queue: u64) {
        self.list.push(Change::RemoveQueue { queue });
    }

    pub(crate) fn put_session(&mut self, client_id: &ByteString, record: &SessionRecord) {
        self.put(SESSIONS, Bytes::copy_from_slice(client_id.as_bytes()), record.encode());
    }

    pub(crate) fn put_incoming(&mut self, session: u64, packet_id: PacketId) {
        self.put(INCOMING, incoming_key(session, packet_id), incoming_record());
    }

    pub(crate) fn delete_incoming(&mut self, session: u64, packet_id: PacketId) {
        self.delete(INCOMING, incoming_key(session, packet_id));
    }

    pub(crate) fn put_outgoing(&mut self, session: u64, position: u64, record: OutgoingRecord) {
        self.put(OUTGOING, outgoing_key(session, position), record.encode());
    }

    pub(crate) fn delete_outgoing(&mut self, session: u64, position: u64) {
        self.delete(OUTGOING, outgoing_key(session, position));
    }
}
