//! The session of a connector as its rows say: pure, so that it can be tested by itself. Changes go in, and what they
//! change in the store comes out in a batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use crosspoint_client::{Delta, SessionChange};
use crosspoint_protocol::PacketId;
use crosspoint_protocol::session::OutgoingId;
use crosspoint_store::Batch;
use crosspoint_store::bytes_in::BytesIn;

use super::{FORM, INCOMING, OUTGOING, key};

/// Places from here on belong to no position of an outbox: what was published without one, such as a birth message.
pub(super) const NO_POSITION: u64 = 1 << 63;

/// How far an exchange at QoS 2 has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// PUBLISH may have been sent.
    Published,
    /// PUBREC came: PUBREL may have been sent.
    Received,
    /// PUBCOMP came. Kept until the outbox has forgotten the message, so that it is not sent as a new one.
    Done,
}

/// An exchange at QoS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: OutgoingId,
    pub(super) stage: Stage,
    /// Ascending in the order in which identifiers were assigned.
    pub(super) order: u64,
}

/// Whether packets wait until a change is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Awaited,
    Lazy,
}

/// Every row of one connector's session.
#[derive(Debug)]
pub(super) struct Rows {
    number: u64,
    /// Exchanges by their place: the position in the outbox, or one from [`NO_POSITION`] on.
    outgoing: BTreeMap<u64, Row>,
    /// The place of each identifier in use.
    places: HashMap<OutgoingId, u64>,
    incoming: BTreeSet<PacketId>,
    next_order: u64,
    /// What came on connections before this one belongs to a session that the server has lost.
    void_before: u64,
}

impl Row {
    pub(super) fn encode(self) -> Bytes {
        let stage = match self.stage {
            Stage::Published => 0,
            Stage::Received => 1,
            Stage::Done => 2,
        };
        let mut value = vec![FORM];
        value.extend_from_slice(&self.id.packet_id().value().to_le_bytes());
        value.push(stage);
        value.extend_from_slice(&self.order.to_le_bytes());
        value.into()
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let mut bytes = BytesIn::of_form(FORM, value)?;
        let id = OutgoingId::from_stored(PacketId::new(bytes.u16()?)?);
        let stage = match bytes.u8()? {
            0 => Stage::Published,
            1 => Stage::Received,
            2 => Stage::Done,
            _ => return None,
        };
        Some(Self { id, stage, order: bytes.u64()? })
    }
}

impl Rows {
    pub(super) fn new(number: u64, outgoing: BTreeMap<u64, Row>, incoming: BTreeSet<PacketId>) -> Self {
        let open = outgoing.iter().filter(|(_, row)| row.stage != Stage::Done);
        let places = open.map(|(place, row)| (row.id, *place)).collect();
        let next_order = outgoing.values().map(|row| row.order + 1).max().unwrap_or_default();
        Self { number, outgoing, places, incoming, next_order, void_before: 0 }
    }

    pub(super) const fn outgoing(&self) -> &BTreeMap<u64, Row> {
        &self.outgoing
    }

    pub(super) const fn incoming(&self) -> &BTreeSet<PacketId> {
        &self.incoming
    }

    /// Notes an accepted message at QoS 2 that came on a connection; one of a lost session leaves no trace.
    pub(super) fn accept(&mut self, connection: u64, id: PacketId, batch: &mut Batch) {
        if connection >= self.void_before {
            self.incoming.insert(id);
            batch.put(INCOMING, self.incoming_key(id), Bytes::from_static(&[FORM]));
        }
    }

    /// Adds what a change of a connection's session changes.
    pub(super) fn change(&mut self, change: SessionChange, connection: u64, batch: &mut Batch) -> Urgency {
        match change {
            SessionChange::Exchange(Delta::Assigned { id, cookie }) => self.on_assigned(id, cookie, batch),
            SessionChange::Exchange(Delta::Received { id }) => self.on_received(id, batch),
            SessionChange::Exchange(Delta::Finished { id, .. }) => self.on_finished(id, batch),
            SessionChange::Exchange(Delta::Released { id }) => self.on_released(id.packet_id(), batch),
            SessionChange::Discarded => self.discard(connection, batch),
            // Subscriptions are kept by whoever knows whose session it is; an offer travels with its message.
            _ => Urgency::Lazy,
        }
    }

    /// Forgets finished exchanges whose messages the outbox has forgotten.
    pub(super) fn forget_before(&mut self, head: u64, batch: &mut Batch) {
        while let Some(first) = self.outgoing.first_entry()
            && *first.key() < head
        {
            let (place, row) = first.remove_entry();
            if row.stage != Stage::Done {
                self.places.remove(&row.id);
            }
            batch.delete(OUTGOING, key(self.number, place.to_be_bytes()));
        }
    }

    /// Voids every exchange: the server has lost the session. What is done stays done.
    pub(super) fn discard(&mut self, connection: u64, batch: &mut Batch) -> Urgency {
        self.void_before = self.void_before.max(connection);
        self.places.clear();
        let number = self.number;
        self.outgoing.retain(|place, row| {
            if row.stage != Stage::Done {
                batch.delete(OUTGOING, key(number, place.to_be_bytes()));
            }
            row.stage == Stage::Done
        });
        for id in std::mem::take(&mut self.incoming) {
            batch.delete(INCOMING, self.incoming_key(id));
        }
        Urgency::Awaited
    }

    /// A connection that ended first may have said the same: then the exchange keeps its turn, and has one row.
    fn on_assigned(&mut self, id: OutgoingId, cookie: u64, batch: &mut Batch) -> Urgency {
        let known = self.places.get(&id).and_then(|place| Some((*place, self.outgoing.get(place)?.order)));
        let order = known.map_or(self.next_order, |(_, order)| order);
        self.next_order = self.next_order.max(order + 1);
        let place = if cookie < NO_POSITION { cookie } else { NO_POSITION + order };
        if let Some((before, _)) = known.filter(|(before, _)| *before != place) {
            self.outgoing.remove(&before);
            batch.delete(OUTGOING, key(self.number, before.to_be_bytes()));
        }
        self.make_way(id, place, batch);
        self.places.insert(id, place);
        self.put(place, Row { id, stage: Stage::Published, order }, batch);
        Urgency::Awaited
    }

    /// Lets another exchange that goes on without its message, which was taken back and is sent anew, have a place of its
    /// own.
    fn make_way(&mut self, id: OutgoingId, place: u64, batch: &mut Batch) {
        let open = self.outgoing.get(&place).copied().filter(|row| self.places.get(&row.id) == Some(&place));
        if let Some(row) = open.filter(|row| row.id != id) {
            let own = NO_POSITION + row.order;
            self.places.insert(row.id, own);
            self.put(own, row, batch);
        }
    }

    fn on_received(&mut self, id: OutgoingId, batch: &mut Batch) -> Urgency {
        let known = self.places.get(&id).and_then(|place| Some((*place, *self.outgoing.get(place)?)));
        if let Some((place, row)) = known {
            self.put(place, Row { stage: Stage::Received, ..row }, batch);
        }
        Urgency::Awaited
    }

    /// What ends before PUBREC was refused: what becomes of the message is the outbox's to decide.
    fn on_finished(&mut self, id: OutgoingId, batch: &mut Batch) -> Urgency {
        let Some(place) = self.places.remove(&id) else { return Urgency::Lazy };
        match self.outgoing.get(&place).copied() {
            Some(row) if row.stage == Stage::Received && place < NO_POSITION => {
                self.put(place, Row { stage: Stage::Done, ..row }, batch);
            }
            _ => {
                self.outgoing.remove(&place);
                batch.delete(OUTGOING, key(self.number, place.to_be_bytes()));
            }
        }
        Urgency::Lazy
    }

    /// Also what is not known is deleted: that it was deleted before may not be durable yet, or have failed, and PUBCOMP
    /// must not leave before the identifier is forgotten on disk.
    fn on_released(&mut self, id: PacketId, batch: &mut Batch) -> Urgency {
        self.incoming.remove(&id);
        batch.delete(INCOMING, self.incoming_key(id));
        Urgency::Awaited
    }

    fn put(&mut self, place: u64, row: Row, batch: &mut Batch) {
        self.outgoing.insert(place, row);
        batch.put(OUTGOING, key(self.number, place.to_be_bytes()), row.encode());
    }

    fn incoming_key(&self, id: PacketId) -> Bytes {
        key(self.number, id.value().to_be_bytes())
    }
}

#[cfg(test)]
mod tests;
