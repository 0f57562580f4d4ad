//! A disk that takes records in order and forgets, in a crash, those that it has not written yet.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    QoS,
    connection::{Delta, Sequence},
    fuzz::pair::outgoing,
    session::{IncomingId, OutgoingId, SessionState, Stage, Token},
};

/// Something to write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Record {
    /// A delta, and the connection that waits for it.
    Delta { connection: u64, sequence: Sequence, delta: Delta },
    /// A message was accepted, and under this identifier if it is of QoS 2: one batch.
    Accepted { token: Token, number: u64, id: Option<IncomingId> },
    /// The session is void.
    Discarded,
}

/// The records of one side, and what those that were written add up to.
#[derive(Debug, Default)]
pub(super) struct Disk {
    waiting: VecDeque<Record>,
    /// Unfinished messages at QoS 2 in the order of their identifiers.
    outgoing: Vec<(OutgoingId, Stage, u64)>,
    incoming: BTreeSet<u16>,
}

impl Disk {
    pub(super) fn push(&mut self, record: Record) {
        self.waiting.push_back(record);
    }

    /// Writes the oldest record and returns it.
    pub(super) fn write_one(&mut self) -> Option<Record> {
        let record = self.waiting.pop_front()?;
        match record {
            Record::Delta { delta, .. } => self.apply(delta),
            Record::Accepted { id: Some(id), .. } => {
                self.incoming.insert(id.packet_id().value());
            }
            Record::Accepted { id: None, .. } => {}
            Record::Discarded => self.discard(),
        }
        Some(record)
    }

    /// Forgets what was not written.
    pub(super) fn crash(&mut self) {
        self.waiting.clear();
    }

    /// Forgets the session.
    pub(super) fn discard(&mut self) {
        self.outgoing.clear();
        self.incoming.clear();
    }

    /// The messages that the session will go on with after a crash.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.outgoing.iter().map(|(_, _, number)| *number)
    }

    /// Rebuilds the session from what was written.
    pub(super) fn restore(&self) -> SessionState {
        let mut session = SessionState::default();
        for &(id, stage, number) in &self.outgoing {
            let is_restored =
                session.outgoing.restore(id, stage, outgoing("restored", QoS::ExactlyOnce, number));
            assert!(is_restored, "identifier {} does not follow those before it", id.packet_id());
        }
        for id in self.incoming.iter().filter_map(|&id| crate::PacketId::new(id)) {
            session.incoming.restore(IncomingId::from_stored(id));
        }
        session
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.outgoing.is_empty() && self.incoming.is_empty()
    }

    fn apply(&mut self, delta: Delta) {
        match delta {
            Delta::Assigned { id, cookie } => match self.outgoing.iter_mut().find(|(other, ..)| *other == id)
            {
                // Recorded again on another connection.
                Some(entry) => *entry = (id, Stage::Assigned, cookie),
                None => self.outgoing.push((id, Stage::Assigned, cookie)),
            },
            Delta::Received { id } => {
                for entry in self.outgoing.iter_mut().filter(|(other, ..)| *other == id) {
                    entry.1 = Stage::Received;
                }
            }
            Delta::Finished { id, .. } => self.outgoing.retain(|(other, ..)| *other != id),
            Delta::Offered { id } => {
                self.incoming.insert(id.packet_id().value());
            }
            Delta::Released { id } => {
                self.incoming.remove(&id.packet_id().value());
            }
        }
    }
}
