//! One side of the link: its connection or its session, its disk, and the program that uses it.

use std::collections::BTreeSet;

use super::{
    disk::{Disk, Record},
    ledger::{Ledger, Report},
};
use crate::{
    Now, ReasonCode,
    connection::{Delta, IncomingPublish},
    fuzz::{
        ends::{Core, End, Persisting},
        pair::{number, outgoing},
    },
    session::{IncomingId, SessionState, Token},
};

/// The topics of messages; few, so that aliases are used.
const TOPICS: [&str; 5] = ["a", "b/c", "a/longer/topic", "b", "c/d/e"];

/// One side: its connection or its session, its disk, and the program that uses it.
#[derive(Debug)]
pub(super) struct Side<C: Core> {
    pub(super) end: Option<End<C>>,
    /// The session while no connection has it.
    session: SessionState,
    /// Whether the connection has the session.
    is_lent: bool,
    pub(super) has_session: bool,
    /// The number of the connection, so that a late confirmation does not reach another one.
    connection: u64,
    pub(super) disk: Disk,
    /// Messages at QoS 1 and 2 that are to be published.
    pub(super) outbox: BTreeSet<u64>,
    pub(super) in_flight: BTreeSet<u64>,
    /// Messages that came and are not decided.
    pub(super) offered: Vec<(Token, u64, Option<IncomingId>)>,
    /// Bytes on their way here.
    pub(super) inbound: Vec<u8>,
}

impl<C: Core> Default for Side<C> {
    fn default() -> Self {
        Self {
            end: None,
            session: SessionState::default(),
            is_lent: false,
            has_session: false,
            connection: 0,
            disk: Disk::default(),
            outbox: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            offered: Vec::new(),
            inbound: Vec::new(),
        }
    }
}

impl<C: Core> Side<C> {
    pub(super) fn is_open(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.core.is_open())
    }

    /// Takes the session out, for a connection.
    pub(super) fn lend_session(&mut self) -> SessionState {
        self.is_lent = true;
        std::mem::take(&mut self.session)
    }

    pub(super) fn begin(&mut self, core: C, now: Now) {
        self.connection += 1;
        self.inbound.clear();
        let mut end = End::new(core, Persisting::Late);
        end.drain(now);
        self.end = Some(end);
    }

    /// Hands the first `count` bytes that are on their way to the core.
    pub(super) fn receive(&mut self, count: usize, now: Now) {
        let count = count.min(self.inbound.len());
        let chunk: Vec<u8> = self.inbound.drain(..count).collect();
        if let Some(end) = &mut self.end
            && !chunk.is_empty()
        {
            end.receive(&chunk, now);
        }
    }

    /// Publishes what waits, as far as the core takes it.
    pub(super) fn publish(&mut self, ledger: &Ledger, now: Now) {
        while self.is_open()
            && let Some(end) = &mut self.end
            && end.core.send_quota() > 0
            && let Some(next) = self.outbox.pop_first()
        {
            let message = outgoing(topic(next), ledger.qos(next), next);
            if end.core.publish(message, now).is_ok() {
                self.in_flight.insert(next);
            } else {
                self.outbox.insert(next);
                break;
            }
        }
    }

    /// Takes the deltas to the disk and the bytes to send to the peer.
    pub(super) fn collect(&mut self, now: Now) -> Vec<u8> {
        let Some(end) = &mut self.end else { return Vec::new() };
        end.drain(now);
        for (sequence, delta) in end.unconfirmed.drain(..) {
            self.disk.push(Record::Delta { connection: self.connection, sequence, delta });
        }
        end.sent_bytes(now)
    }

    /// Writes up to `count` records and confirms them.
    pub(super) fn write(&mut self, count: usize, sent: &mut Ledger, received: &mut Ledger, now: Now) {
        for _ in 0..count {
            match self.disk.write_one() {
                None => return,
                Some(Record::Delta { connection, sequence, delta }) => {
                    if let Delta::Finished { cookie, .. } = delta {
                        sent.finish(cookie);
                    }
                    if connection == self.connection
                        && let Some(end) = &mut self.end
                    {
                        end.core.handle_persisted(sequence, now);
                    }
                }
                Some(Record::Accepted { token, number, .. }) => {
                    received.deliver(number);
                    match &mut self.end {
                        Some(end) if self.is_lent => end.core.accept(token),
                        _ => self.session.incoming.decide(token, ReasonCode::Success),
                    }
                }
                Some(Record::Discarded) => {}
            }
        }
    }

    /// Decides one of the messages that came.
    pub(super) fn decide(&mut self, which: usize, is_rejected: bool) {
        if self.offered.is_empty() {
            return;
        }
        let (token, number, id) = self.offered.remove(which % self.offered.len());
        if !is_rejected {
            self.disk.push(Record::Accepted { token, number, id });
        } else if let Some(end) = &mut self.end
            && self.is_lent
        {
            end.core.reject(token, ReasonCode::QuotaExceeded);
        } else {
            self.session.incoming.decide(token, ReasonCode::QuotaExceeded);
        }
    }

    pub(super) fn on_publish(
        &mut self,
        incoming: &IncomingPublish,
        ledger: &mut Ledger,
    ) -> Result<(), &'static str> {
        let number = number(&incoming.publish.payload);
        let id = match incoming.delta() {
            Some(Delta::Offered { id }) => Some(id),
            _ => None,
        };
        match incoming.token {
            Some(token) => self.offered.push((token, number, id)),
            None => ledger.deliver(number),
        }
        if incoming.publish.qos != ledger.qos(number) {
            return Err("a message with another QoS");
        }
        let restored = ["restored", topic(number)];
        if !incoming.publish.topic.as_ref().is_some_and(|topic| restored.contains(&topic.as_str())) {
            return Err("a message with another topic");
        }
        ledger.offer(number)
    }

    /// The link is broken: the session is what remains.
    pub(super) fn hang_up(&mut self, now: Now) {
        if let Some(end) = &mut self.end {
            end.core.handle_eof();
        }
        self.collect(now);
        if let Some(end) = self.end.take()
            && std::mem::take(&mut self.is_lent)
        {
            self.session = end.core.into_session();
        }
        self.inbound.clear();
    }

    /// The process dies and comes back with what its disk has.
    pub(super) fn crash(&mut self, ledger: &Ledger) {
        self.end = None;
        self.connection += 1;
        self.offered.clear();
        self.disk.crash();
        self.session = self.disk.restore();
        self.in_flight = self.disk.numbers().collect();
        self.outbox = ledger.unfinished().filter(|number| !self.in_flight.contains(number)).collect();
    }

    /// The session is gone; the program still has its messages.
    pub(super) fn lose_session(&mut self) {
        self.disk.crash();
        self.disk.discard();
        self.session = SessionState::default();
        self.has_session = false;
        self.offered.clear();
        self.outbox.append(&mut self.in_flight);
    }

    pub(super) fn is_idle(&self) -> bool {
        let is_quiet = self.inbound.is_empty() && self.offered.is_empty() && self.disk.is_idle();
        is_quiet && self.outbox.is_empty() && self.in_flight.is_empty()
    }

    /// At rest, nothing is left in the session and on the disk.
    pub(super) fn judge(&self, name: &str, report: &mut Report) {
        if !self.session.is_empty() || !self.disk.is_empty() {
            let Self { session, disk, .. } = self;
            report.faults.push(format!("the {name} is at rest and has {session:?} and {disk:?}"));
        }
    }
}

pub(super) fn topic(number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| TOPICS.get(number % TOPICS.len())).copied().unwrap_or("a")
}
