//! Publications from the moment the engine takes them to their outcome.

use std::collections::VecDeque;

use crosspoint_protocol::{
    Message, Now, QoS, ReasonCode, Transmit,
    connection::{ClientConnection, PublishError as Unsendable},
    session::{Outgoing, OutgoingId, SessionState},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    NO_COOKIE, Publication, PublishError, PublishResult, Receipt,
    counters::{Running, count},
};

/// How many bytes may wait for the network before no further publication is added to them.
const TRANSMIT_BYTES_MAX: usize = 256 * 1_024;

/// A publication in the queue to the engine.
#[derive(Debug)]
pub(crate) struct Submission {
    message: Message,
    qos: QoS,
    retain: bool,
    reply: Reply,
}

/// Who is told the outcome.
#[derive(Debug)]
pub(crate) enum Reply {
    Once(oneshot::Sender<PublishResult>),
    Ticket {
        cookie: u64,
        outcomes: mpsc::UnboundedSender<(u64, PublishResult)>,
    },
    /// Whoever published it is gone; the store is told.
    Restored {
        cookie: u64,
    },
}

impl Submission {
    pub(crate) fn new(publication: Publication, now: Now, reply: Reply) -> Self {
        let (message, qos, retain) = publication.into_parts(now);
        Self { message, qos, retain, reply }
    }
}

/// The place of a publication in the table; the cookie that the core knows it by.
type Key = u64;

/// Publications without an outcome.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    table: Vec<Option<Pending>>,
    free: Vec<Key>,
    /// Not yet sent on this connection, in order.
    ready: VecDeque<Key>,
    /// At QoS 0, written into the output up to this position of it and not yet handed to the system.
    unwritten: VecDeque<(u64, Key)>,
    /// Acknowledged in this turn.
    acknowledged: Vec<(Key, ReasonCode)>,
    /// At QoS 2, what was taken back, by its cookie: its exchange goes on when it is published again.
    aside: Vec<(u64, OutgoingId)>,
    /// Outcomes of what a store gave, by its cookies, until the store is told.
    restored: Vec<(u64, PublishResult)>,
    serial: u64,
}

#[derive(Debug)]
struct Pending {
    submission: Submission,
    /// Ascending in the order of acceptance.
    serial: u64,
    may_be_duplicate: bool,
}

impl Sending {
    pub(crate) fn accept(&mut self, submission: Submission) {
        let key = self.insert(submission);
        self.ready.push_back(key);
    }

    /// Takes a publication that a store kept and that is in the session's window; returns what the window holds.
    pub(crate) fn restore(&mut self, outgoing: Outgoing) -> Outgoing {
        let submission = Submission {
            message: outgoing.message.clone(),
            qos: outgoing.qos,
            retain: outgoing.retain,
            reply: Reply::Restored { cookie: outgoing.cookie },
        };
        Outgoing { cookie: self.insert(submission), ..outgoing }
    }

    /// Returns how many have no outcome yet.
    pub(crate) fn len(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// Returns how many wait to be sent.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Returns the cookie that the store knows a publication by.
    pub(crate) fn cookie(&self, key: Key) -> u64 {
        match self.pending(key).map(|pending| &pending.submission.reply) {
            Some(Reply::Ticket { cookie, .. } | Reply::Restored { cookie }) => *cookie,
            _ => NO_COOKIE,
        }
    }

    /// Sends what may be sent and returns whether that was anything. `written` is how many bytes have left before.
    pub(crate) fn pump(
        &mut self,
        core: &mut ClientConnection,
        written: u64,
        now: Now,
        counters: &Running,
    ) -> bool {
        let mut has_sent = false;
        while let Some(&key) = self.ready.front() {
            if core.transmit().len() >= TRANSMIT_BYTES_MAX {
                break;
            }
            match self.publish(key, core, now) {
                Ok(()) => self.note_unwritten(key, written, core.transmit()),
                Err(None) => break,
                Err(Some(error)) => self.finish(key, Err(error), counters),
            }
            self.ready.pop_front();
            has_sent = true;
        }
        has_sent
    }

    /// Notes an acknowledgement; it is told by [`Sending::tell`], when its delta has been seen.
    pub(crate) fn note_acknowledged(&mut self, key: Key, reason: ReasonCode) {
        self.acknowledged.push((key, reason));
    }

    /// Tells the outcomes of what was acknowledged, and of what was handed to the system up to `flushed` bytes.
    pub(crate) fn tell(&mut self, flushed: u64, counters: &Running) {
        let mut acknowledged = std::mem::take(&mut self.acknowledged);
        for (key, reason) in acknowledged.drain(..) {
            self.finish_with(key, reason, counters);
        }
        self.acknowledged = acknowledged;
        while let Some(&(position, key)) = self.unwritten.front()
            && position <= flushed
        {
            self.unwritten.pop_front();
            self.finish_with(key, ReasonCode::Success, counters);
        }
    }

    /// Takes the outcomes of what a store gave.
    pub(crate) fn take_restored(&mut self) -> Vec<(u64, PublishResult)> {
        std::mem::take(&mut self.restored)
    }

    /// Puts back what has to be sent on the next connection: QoS 0 of which not all bytes left, so that the server
    /// cannot have it.
    pub(crate) fn on_disconnected(&mut self) {
        let unwritten: Vec<Key> = self.unwritten.drain(..).map(|(_, key)| key).collect();
        self.put_back(unwritten);
    }

    /// Puts back what was in flight in a session that the server no longer has.
    pub(crate) fn on_session_lost(&mut self, lost: Vec<Outgoing>, counters: &Running) {
        let (nameless, keys): (Vec<Key>, Vec<Key>) =
            lost.into_iter().map(|outgoing| outgoing.cookie).partition(|&key| self.is_nameless(key));
        for key in nameless {
            self.finish(key, Err(PublishError::Unconfirmed), counters);
        }
        for &key in &keys {
            if let Some(pending) = self.pending_mut(key) {
                pending.may_be_duplicate = true;
                count(&counters.published_anew);
            }
        }
        self.put_back(keys);
    }

    /// Takes a publication back that has no outcome, between two connections.
    pub(crate) fn withdraw(&mut self, cookie: u64, session: &mut SessionState, counters: &Running) {
        let is_meant = |pending: &Pending| match pending.submission.reply {
            Reply::Ticket { cookie: known, .. } | Reply::Restored { cookie: known } => known == cookie,
            Reply::Once(_) => false,
        };
        let place = self.table.iter().position(|slot| slot.as_ref().is_some_and(is_meant));
        let Some(key) = place.map(|place| place as Key) else { return };
        let in_flight = session.outgoing.iter().find(|(.., outgoing)| outgoing.cookie == key);
        let is_taken_back = match in_flight.map(|(id, _, outgoing)| (id, outgoing.qos)) {
            Some((id, qos)) => {
                let is_aside = session.outgoing.set_aside(id);
                self.aside.extend((is_aside && qos == QoS::ExactlyOnce).then_some((cookie, id)));
                is_aside
            }
            None => true,
        };
        if is_taken_back {
            self.ready.retain(|ready| *ready != key);
            self.finish(key, Err(PublishError::Unconfirmed), counters);
        }
    }

    /// Forgets what was taken back: the session that had it is lost.
    pub(crate) fn forget_aside(&mut self) {
        self.aside.clear();
    }

    /// Returns the exchange of a publication that was taken back and not published again, and forgets it.
    pub(crate) fn take_aside(&mut self, cookie: u64) -> Option<OutgoingId> {
        let place = self.aside.iter().position(|(known, _)| *known == cookie)?;
        Some(self.aside.swap_remove(place).1)
    }

    /// Ends everything that has no outcome; returns how many there were.
    pub(crate) fn give_up(&mut self, counters: &Running) -> usize {
        let left = self.len();
        // What was in flight or half written may be with the server; what waits behind it cannot be.
        let unsent: std::collections::HashSet<Key> = self.ready.iter().copied().collect();
        for key in 0..self.table.len() as Key {
            let is_unsent =
                unsent.contains(&key) && self.pending(key).is_some_and(|pending| !pending.may_be_duplicate);
            let error = if is_unsent { PublishError::Closed } else { PublishError::Unconfirmed };
            self.finish(key, Err(error), counters);
        }
        left
    }

    fn publish(
        &mut self,
        key: Key,
        core: &mut ClientConnection,
        now: Now,
    ) -> Result<(), Option<PublishError>> {
        if self.pending(key).is_some_and(|pending| pending.submission.message.is_expired(now)) {
            return Err(Some(PublishError::Expired));
        }
        if self.resume(key, core, now)? {
            return Ok(());
        }
        let Some(Pending { submission, .. }) = self.pending(key) else { return Ok(()) };
        let outgoing = Outgoing {
            message: submission.message.clone(),
            subscription_ids: Default::default(),
            cookie: key,
            qos: submission.qos,
            retain: submission.retain,
        };
        core.publish(outgoing, now).map_err(unsendable)
    }

    /// Goes on with the exchange of a publication that was taken back; tells whether it was.
    fn resume(
        &mut self,
        key: Key,
        core: &mut ClientConnection,
        now: Now,
    ) -> Result<bool, Option<PublishError>> {
        let cookie = self.cookie(key);
        let Some((_, id)) = self.aside.iter().find(|(known, _)| *known == cookie).copied() else {
            return Ok(false);
        };
        let is_resumed = core.resume(id, key, now).map_err(unsendable)?;
        self.take_aside(cookie);
        Ok(is_resumed)
    }

    fn note_unwritten(&mut self, key: Key, written: u64, transmit: &Transmit) {
        if self.pending(key).is_some_and(|pending| pending.submission.qos == QoS::AtMostOnce) {
            self.unwritten.push_back((written + transmit.len() as u64, key));
        }
    }

    /// Puts publications before those that wait, in the order of acceptance.
    fn put_back(&mut self, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        let mut ready: Vec<Key> = keys.into_iter().chain(self.ready.drain(..)).collect();
        ready.sort_by_key(|&key| self.pending(key).map(|pending| pending.serial));
        self.ready = ready.into();
    }

    fn finish_with(&mut self, key: Key, reason: ReasonCode, counters: &Running) {
        let may_be_duplicate = self.pending(key).is_some_and(|pending| pending.may_be_duplicate);
        let outcome = if reason.is_error() {
            Err(PublishError::Refused(reason))
        } else {
            Ok(Receipt { reason, may_be_duplicate })
        };
        self.finish(key, outcome, counters);
    }

    fn finish(&mut self, key: Key, outcome: PublishResult, counters: &Running) {
        let Some(pending) = self.slot(key).and_then(Option::take) else { return };
        self.free.push(key);
        count(if outcome.is_ok() { &counters.confirmed } else { &counters.refused });
        match pending.submission.reply {
            // Whoever does not wait any more does not want to know.
            Reply::Once(reply) => drop(reply.send(outcome)),
            Reply::Ticket { cookie, outcomes } => drop(outcomes.send((cookie, outcome))),
            Reply::Restored { cookie } => self.restored.push((cookie, outcome)),
        }
    }

    /// Tells whether a publication was restored without a message of its own: only to bring its exchange to an end.
    fn is_nameless(&self, key: Key) -> bool {
        let reply = self.pending(key).map(|pending| &pending.submission.reply);
        matches!(reply, Some(Reply::Restored { cookie: NO_COOKIE }))
    }

    fn insert(&mut self, submission: Submission) -> Key {
        self.serial += 1;
        let pending = Pending { submission, serial: self.serial, may_be_duplicate: false };
        if let Some(key) = self.free.pop()
            && let Some(slot) = self.slot(key)
        {
            *slot = Some(pending);
            return key;
        }
        self.table.push(Some(pending));
        self.table.len() as Key - 1
    }

    fn slot(&mut self, key: Key) -> Option<&mut Option<Pending>> {
        self.table.get_mut(usize::try_from(key).ok()?)
    }

    fn pending_mut(&mut self, key: Key) -> Option<&mut Pending> {
        self.slot(key)?.as_mut()
    }

    fn pending(&self, key: Key) -> Option<&Pending> {
        self.table.get(usize::try_from(key).ok()?)?.as_ref()
    }
}

/// Returns what whoever published it is told; nothing when it waits: not open, or as many in flight as may be.
const fn unsendable(error: Unsendable) -> Option<PublishError> {
    match error {
        Unsendable::TooLarge { bytes, max } => Some(PublishError::TooLarge { bytes, max }),
        Unsendable::QosNotSupported => Some(PublishError::QosNotSupported),
        Unsendable::RetainNotSupported => Some(PublishError::RetainNotSupported),
        _ => None,
    }
}
