use std::collections::VecDeque;

use smallvec::SmallVec;

use super::OutgoingId;
use crate::{Message, PacketId, QoS};

/// The most identifiers between the oldest unfinished exchange and the newest.
///
/// It bounds the memory of a peer that never answers one message and answers all others.
const SPAN_MAX: usize = 16_384;

/// A message on its way to the peer.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The message.
    pub message: Message,
    /// The identifiers of the Subscriptions that matched (broker to client, MQTT 5).
    pub subscription_ids: SmallVec<[u32; 2]>,
    /// Whatever the driver wants to be told again when the exchange ends.
    pub cookie: u64,
    /// At which QoS it is sent.
    pub qos: QoS,
    /// The retain flag.
    pub retain: bool,
}

/// How far an outgoing exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// QoS 2: the identifier is not persisted yet; PUBLISH has not been sent.
    Assigned,
    /// PUBLISH sent; PUBACK (QoS 1) or PUBREC (QoS 2) is awaited.
    Published,
    /// QoS 2: PUBREC came; that it came is not persisted yet; PUBREL has not been sent.
    Received,
    /// QoS 2: PUBREL sent; PUBCOMP is awaited.
    Released,
}

#[derive(Debug)]
pub(crate) enum Slot {
    /// Finished; holds its place until everything older is finished too.
    Free,
    /// A message in flight.
    Publish(Stage, Outgoing),
    /// A message that is not sent for now, and whose exchange is where it was.
    Aside(Stage, Outgoing),
    /// A SUBSCRIBE of so many filters, until SUBACK.
    Subscribe(u32),
    /// An UNSUBSCRIBE of so many filters, until UNSUBACK.
    Unsubscribe(u32),
}

/// The identifiers that this side has in use, in the order in which they were assigned.
///
/// Identifiers are given out one after the other, so the place of an exchange in the window follows from its
/// identifier and no look-up table is needed.
#[derive(Debug)]
pub struct OutgoingWindow {
    slots: VecDeque<Slot>,
    /// The identifier of the first slot.
    first: PacketId,
    publishes: usize,
}

impl Default for OutgoingWindow {
    fn default() -> Self {
        Self { slots: VecDeque::new(), first: PacketId::MIN, publishes: 0 }
    }
}

impl OutgoingWindow {
    /// Puts an exchange back that a store kept. Call it in the order in which the identifiers were assigned.
    ///
    /// What a stage waited for is durable, or nothing would have been kept, so its packet may have left before the
    /// restart: [`Stage::Assigned`] counts as published, and [`Stage::Received`] as released.
    ///
    /// Returns `false`, and changes nothing, when the identifier does not come after all that are in the window.
    pub fn restore(&mut self, id: OutgoingId, stage: Stage, outgoing: Outgoing) -> bool {
        if self.slots.is_empty() {
            self.first = id.0;
        }
        let place = self.distance(id.0);
        if place < self.slots.len() || place >= SPAN_MAX {
            return false;
        }
        let stage = match stage {
            Stage::Assigned | Stage::Published => Stage::Published,
            Stage::Received | Stage::Released => Stage::Released,
        };
        self.slots.resize_with(place, || Slot::Free);
        self.slots.push_back(Slot::Publish(stage, outgoing));
        self.publishes += 1;
        true
    }

    /// Returns how many messages are in flight or set aside.
    pub const fn len(&self) -> usize {
        self.publishes
    }

    /// Tells whether no message is in flight or set aside.
    pub const fn is_empty(&self) -> bool {
        self.publishes == 0
    }

    /// Returns what is in flight, oldest first; not what is set aside.
    pub fn iter(&self) -> impl Iterator<Item = (OutgoingId, Stage, &Outgoing)> {
        let mut id = self.first;
        self.slots.iter().filter_map(move |slot| {
            let this = id;
            id = id.next();
            match slot {
                Slot::Publish(stage, outgoing) => Some((OutgoingId(this), *stage, outgoing)),
                _ => None,
            }
        })
    }

    /// Takes everything that is in flight out, oldest first: the peer has lost the session and all must be
    /// published anew, under new identifiers. What is set aside is forgotten, as the peer has.
    pub fn take_unfinished(&mut self) -> Vec<Outgoing> {
        let taken = self.slots.drain(..).filter_map(|slot| match slot {
            Slot::Publish(_, outgoing) => Some(outgoing),
            _ => None,
        });
        let taken = taken.collect();
        self.publishes = 0;
        taken
    }

    /// Sets a message aside, between two connections, so that its PUBLISH is not sent again; tells whether it could.
    ///
    /// At QoS 1 its exchange ends. At QoS 2 the peer may have the message, and knows it by its identifier alone: the
    /// exchange stays where it is until the message is to be sent again, or is [given up](Self::give_up). What the peer has
    /// said it has cannot be set aside.
    pub fn set_aside(&mut self, id: OutgoingId) -> bool {
        let Some(slot) = self.slot_mut(id.0) else { return false };
        match std::mem::replace(slot, Slot::Free) {
            Slot::Publish(stage @ (Stage::Assigned | Stage::Published), outgoing) => {
                let is_exactly_once = outgoing.qos == QoS::ExactlyOnce;
                *slot = Slot::Aside(stage, outgoing);
                if !is_exactly_once {
                    self.finish(id.0);
                }
                true
            }
            other => {
                *slot = other;
                false
            }
        }
    }

    /// Lets the exchange of a message that was set aside come to its end without the message; tells whether there is one.
    ///
    /// The identifier must not be free while the peer may know it: the exchange goes on with PUBREL, on the next
    /// connection, and its end bears `cookie`.
    pub fn give_up(&mut self, id: OutgoingId, cookie: u64) -> bool {
        self.take_back(id, cookie, |_| Stage::Released)
    }

    /// Puts a message that was set aside in flight again.
    pub(crate) fn resume(&mut self, id: OutgoingId, cookie: u64) -> bool {
        self.take_back(id, cookie, |stage| stage)
    }

    fn take_back(&mut self, id: OutgoingId, cookie: u64, goes_on: impl FnOnce(Stage) -> Stage) -> bool {
        let Some(slot) = self.slot_mut(id.0) else { return false };
        match std::mem::replace(slot, Slot::Free) {
            Slot::Aside(stage, outgoing) => {
                *slot = Slot::Publish(goes_on(stage), Outgoing { cookie, ..outgoing });
                true
            }
            other => {
                *slot = other;
                false
            }
        }
    }

    /// Returns how many more exchanges can be assigned.
    pub(crate) fn room(&self) -> usize {
        SPAN_MAX - self.slots.len()
    }

    pub(crate) fn assign(&mut self, slot: Slot) -> Option<OutgoingId> {
        if self.room() == 0 {
            return None;
        }
        let id = self.id_at(self.slots.len());
        if matches!(slot, Slot::Publish(..)) {
            self.publishes += 1;
        }
        self.slots.push_back(slot);
        Some(id)
    }

    pub(crate) fn slot_mut(&mut self, id: PacketId) -> Option<&mut Slot> {
        let place = self.distance(id);
        self.slots.get_mut(place)
    }

    /// Ends an exchange: its identifier is free for reuse once its turn comes again.
    pub(crate) fn finish(&mut self, id: PacketId) -> Option<Slot> {
        let slot = std::mem::replace(self.slot_mut(id)?, Slot::Free);
        if matches!(slot, Slot::Publish(..) | Slot::Aside(..)) {
            self.publishes -= 1;
        }
        while let Some(Slot::Free) = self.slots.front() {
            self.slots.pop_front();
            self.first = self.first.next();
        }
        Some(slot)
    }

    /// Tells whether a message is set aside.
    pub fn has_aside(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Aside(..)))
    }

    /// Drops SUBSCRIBE and UNSUBSCRIBE exchanges, which do not outlive a connection, and the room that a window once
    /// needed: a session may wait for long.
    pub(crate) fn forget_requests(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Subscribe(_) | Slot::Unsubscribe(_)) {
                *slot = Slot::Free;
            }
        }
        while let Some(Slot::Free) = self.slots.front() {
            self.slots.pop_front();
            self.first = self.first.next();
        }
        self.slots.shrink_to_fit();
    }

    /// Returns for how many places there is room, for tests.
    #[cfg(test)]
    pub(crate) fn places_held(&self) -> usize {
        self.slots.capacity()
    }

    /// Returns the number of places in the window, finished ones between unfinished ones included.
    pub(crate) fn places(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn at_place(&self, place: usize) -> Option<(OutgoingId, &Slot)> {
        self.slots.get(place).map(|slot| (self.id_at(place), slot))
    }

    /// Returns the place of an identifier, or a place beyond the window if it is not in use.
    pub(crate) fn distance(&self, id: PacketId) -> usize {
        let ahead = u32::from(id.value()) + 65_535 - u32::from(self.first.value());
        (ahead % 65_535) as usize
    }

    fn id_at(&self, place: usize) -> OutgoingId {
        let value = (usize::from(self.first.value()) - 1 + place) % 65_535 + 1;
        // `value` is 1 to 65,535 by construction.
        OutgoingId(u16::try_from(value).ok().and_then(PacketId::new).unwrap_or(PacketId::MIN))
    }
}
