//! What the client is owed as soon as something is durable, and what of its session is on its way there.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Waker},
};

use crosspoint_protocol::{
    Now, PacketId, ReasonCode,
    connection::{Delta, Sequence},
    session::Token,
};
use crosspoint_store::Wanted;
use rustc_hash::FxBuildHasher;

use super::{Connection, Stage};
use crate::{
    durable::{Commit, KeptStage, Outcome, OutgoingRecord},
    mailbox::UNSTORED,
    sessions::Reading,
    turn::Turn,
};

/// What waits for the disk. A connection has one only when something does, or its session is durable.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// In the order in which they came to be owed.
    answers: VecDeque<Answer>,
    /// The batches on which they depend, in order, and how many answers each.
    commits: VecDeque<(Arc<Commit>, usize)>,
    /// How many of the last answers have no batch yet: their turn goes on.
    new: usize,
    /// How many of the answers are to SUBSCRIBE: what is in the mailbox comes after them.
    subacks: usize,
    /// The positions of messages at QoS 2 that are in flight, by packet identifier.
    positions: HashMap<PacketId, u64, FxBuildHasher>,
    /// Positions that are finished and that the mailbox does not know of yet.
    finished: Vec<u64>,
    /// Messages that are being read back from the store.
    pub(super) reading: Option<Reading>,
}

/// What the client, or the core, is told when a batch is durable.
#[derive(Debug)]
pub(super) enum Answer {
    Accept(Token, ReasonCode),
    Persisted(Sequence),
    SubAck(PacketId, Vec<ReasonCode>),
    UnsubAck(PacketId, Vec<ReasonCode>),
}

impl Owed {
    fn push(&mut self, answer: Answer) {
        self.subacks += usize::from(matches!(answer, Answer::SubAck(..)));
        self.answers.push_back(answer);
        self.new += 1;
    }

    /// Notes the batch of the turn that ends: what came to be owed in it depends on that.
    pub(super) fn depend_on(&mut self, commit: Option<Arc<Commit>>, waker: &Waker) {
        if self.new == 0 {
            return;
        }
        let new = std::mem::take(&mut self.new);
        // Without one, it was owed because something before it is.
        let last = self.commits.back_mut();
        match (commit, last) {
            (Some(commit), Some((last, answers))) if Arc::ptr_eq(&commit, last) => *answers += new,
            (None, Some((_, answers))) => *answers += new,
            (Some(commit), _) => {
                commit.wake_at_end(waker);
                self.commits.push_back((commit, new));
            }
            (None, None) => {}
        }
    }

    /// Takes the next answer whose batch has ended.
    fn take_due(&mut self) -> Option<(Answer, Outcome)> {
        while let Some((commit, answers)) = self.commits.front_mut() {
            let outcome = commit.outcome()?;
            if *answers == 0 {
                self.commits.pop_front();
                continue;
            }
            *answers -= 1;
            let answer = self.answers.pop_front()?;
            self.subacks -= usize::from(matches!(answer, Answer::SubAck(..)));
            return Some((answer, outcome));
        }
        None
    }

    /// Takes the messages that are not decided yet, with their batches.
    pub(super) fn take_undecided(&mut self) -> Vec<(Token, Arc<Commit>)> {
        let mut answers = self.answers.drain(..);
        let mut undecided = Vec::new();
        for (commit, count) in self.commits.drain(..) {
            for answer in answers.by_ref().take(count) {
                if let Answer::Accept(token, _) = answer {
                    undecided.push((token, commit.clone()));
                }
            }
        }
        undecided
    }

    pub(super) fn finish(&mut self, position: u64) {
        if position != UNSTORED {
            self.finished.push(position);
        }
    }
}

impl Connection {
    /// Tells whether an answer to SUBSCRIBE is owed.
    pub(super) fn is_subscribing(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.subacks != 0)
    }

    /// Notes what the client is owed when this turn's batch is durable.
    pub(super) fn owe(&mut self, answer: Answer) {
        self.owed.get_or_insert_default().push(answer);
    }

    /// Notes which messages at QoS 2 a resumed session has in flight.
    pub(super) fn note_in_flight(&mut self) {
        let positions = self
            .core
            .session()
            .outgoing
            .iter()
            .filter(|(_, _, outgoing)| outgoing.cookie != UNSTORED)
            .map(|(id, _, outgoing)| (id.packet_id(), outgoing.cookie))
            .collect();
        self.owed.get_or_insert_default().positions = positions;
    }

    /// Gives the client what its batches have made due.
    pub(super) fn pay(&mut self, now: Now) {
        while let Some((answer, outcome)) = self.owed.as_mut().and_then(|owed| owed.take_due()) {
            // What is said may bring more to say.
            self.is_undrained = true;
            match outcome {
                Outcome::Durable => self.keep_promise(answer, now),
                Outcome::Full => self.refuse(answer),
                Outcome::Broken => {
                    self.core.disconnect(ReasonCode::UnspecifiedError);
                    self.refuse(answer);
                }
            }
        }
    }

    fn keep_promise(&mut self, answer: Answer, now: Now) {
        match answer {
            Answer::Accept(token, reason) => self.core.accept_with(token, reason),
            Answer::Persisted(sequence) => self.core.handle_persisted(sequence, now),
            Answer::SubAck(packet_id, reasons) => self.core.suback(packet_id, reasons),
            // What was left before the table changed goes out before.
            Answer::UnsubAck(packet_id, reasons) => self.unsubacks.push((packet_id, reasons)),
        }
    }

    fn refuse(&mut self, answer: Answer) {
        match answer {
            Answer::Accept(token, _) => self.core.reject(token, ReasonCode::QuotaExceeded),
            // What is in memory is ahead of the disk for good: the client must ask again.
            _ => self.core.disconnect(ReasonCode::QuotaExceeded),
        }
    }

    /// Makes a change of the session durable, or confirms it at once where nothing of it is kept.
    pub(super) fn on_delta(&mut self, sequence: Sequence, delta: Delta, turn: &mut Turn<'_>, now: Now) {
        let is_kept = self.keep_delta(delta, turn);
        let is_owing = self.owed.as_ref().is_some_and(|owed| !owed.answers.is_empty());
        if self.waits_for_disk() && (is_kept || is_owing) {
            self.owe(Answer::Persisted(sequence));
        } else {
            self.core.handle_persisted(sequence, now);
        }
    }

    fn keep_delta(&mut self, delta: Delta, turn: &mut Turn<'_>) -> bool {
        let Stage::Open(member) = &self.stage else { return false };
        let (Some(number), session) = (member.session.number, &member.session) else { return false };
        let owed = self.owed.get_or_insert_default();
        let (packet_id, position, stage) = match delta {
            Delta::Assigned { id, cookie } if cookie != UNSTORED => {
                owed.positions.insert(id.packet_id(), cookie);
                (id.packet_id(), cookie, KeptStage::Assigned)
            }
            Delta::Received { id } => match owed.positions.get(&id.packet_id()) {
                Some(position) => (id.packet_id(), *position, KeptStage::Received),
                None => return false,
            },
            Delta::Finished { id, cookie } => {
                owed.positions.remove(&id.packet_id());
                owed.finish(cookie);
                return false;
            }
            Delta::Released { id } => {
                turn.changes().delete_incoming(number, id.packet_id());
                turn.changes().hurry();
                return true;
            }
            Delta::Assigned { .. } | Delta::Offered { .. } => return false,
        };
        if let Some(stored) = &mut session.mailbox.lock().stored {
            stored.record(position, packet_id, stage);
        }
        turn.changes().put_outgoing(number, position, OutgoingRecord { packet_id, stage });
        turn.changes().hurry();
        true
    }

    /// Tells the mailbox what is finished, and the store what follows from that.
    pub(super) fn settle_finished(&mut self) {
        let (Stage::Open(member), Some(owed)) = (&self.stage, &mut self.owed) else { return };
        if owed.finished.is_empty() {
            return;
        }
        if let Some(stored) = &mut member.session.mailbox.lock().stored {
            owed.finished.drain(..).for_each(|position| stored.finish(position));
        }
        self.shared.settle(&member.session);
    }

    /// Goes on with what is being read back from the store.
    pub(super) fn poll_reading(&mut self, cx: &mut Context<'_>) {
        let (Stage::Open(member), Some(owed)) = (&self.stage, &mut self.owed) else { return };
        if owed.reading.is_some() {
            // While it is pending, the store wakes the task.
            let _ = self.shared.poll_read(&member.session, &mut owed.reading, cx);
        }
    }

    /// Reads back what waits in the store only.
    pub(super) fn read_back(&mut self, wanted: Wanted, cx: &mut Context<'_>) {
        let (Stage::Open(member), owed) = (&self.stage, self.owed.get_or_insert_default()) else { return };
        if owed.reading.is_some() {
            return;
        }
        owed.reading = self.shared.read(&member.session, wanted);
        if self.shared.poll_read(&member.session, &mut owed.reading, cx).is_ready() {
            // It was there already: the next turn takes it.
            cx.waker().wake_by_ref();
        }
    }
}
