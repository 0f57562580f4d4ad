//! What the store has of sessions: entries that are durable, what is read back, what is finished.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crosspoint_protocol::{
    Message, QoS, ReasonCode,
    session::{Outgoing, OutgoingId, Stage},
};
use crosspoint_store::{Error, Ticket, Waiting, Wanted};
use smallvec::SmallVec;
use tracing::{error, warn};

use super::Opened;
use crate::{
    counters::count,
    durable::{Changes, KeptStage, Outcome, SubscriptionRecord, Target, of_flags},
    mailbox::{Entry, Left, Settled},
    session::Session,
    shared::Shared,
};

/// How many entries are read at once, and how many bytes.
const READ_ENTRIES_MAX: usize = 512;
const READ_BYTES_MAX: usize = 512 * 1024;

/// Up to so many retained messages that a new Subscription gets go into the session's queue; more are sent from memory, so
/// that asking for everything does not store everything once more.
const RETAINED_KEPT_MAX: usize = 10_000;

/// Entries of a session's queue that are being read back.
#[derive(Debug)]
pub(crate) struct Reading {
    wanted: Wanted,
    ticket: Ticket<Vec<Waiting>>,
}

/// Who consumes what a client without a socket was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consumed {
    /// Whoever has the client.
    Outside,
    /// The broker, while nobody has it.
    Here,
}

impl Shared {
    /// Gives an entry that is durable to its session.
    pub(crate) fn leave_stored(
        &self,
        target: Target,
        message: Message,
        position: u64,
        wakers: &mut Vec<Waker>,
    ) {
        let Target { session, subscription_ids, qos, retain, generation } = target;
        let entry = Entry { message, subscription_ids, qos, retain, position };
        let mut mailbox = session.mailbox.lock();
        let Some(stored) = mailbox.stored.as_ref().filter(|stored| !stored.is_over) else {
            drop(mailbox);
            return self.remove_orphan(&session);
        };
        if stored.generation != generation {
            drop(mailbox);
            return self.leave_if_wanted(&session, entry, wakers);
        }
        let left = mailbox.push_stored(position, entry);
        if left.is_waiting() {
            wakers.extend(mailbox.schedule());
        }
        if left == Left::Waiting {
            return;
        }
        drop(mailbox);
        self.account_stored(&session, left);
    }

    /// Gives an entry to its session if that still wants it: its filters have changed since the message was routed.
    fn leave_if_wanted(&self, session: &Arc<Session>, entry: Entry, wakers: &mut Vec<Waker>) {
        let state = session.state.lock();
        let topic = entry.message.topic();
        let is_wanted =
            state.filters.keys().any(|filter| filter.matches(topic)) && self.may_get(session, topic);
        let mut mailbox = session.mailbox.lock();
        if is_wanted {
            let left = mailbox.push_stored(entry.position, entry);
            wakers.extend(mailbox.schedule());
            drop(mailbox);
            return self.account_stored(session, left);
        }
        if let Some(stored) = &mut mailbox.stored {
            stored.skip(entry.position);
        }
        drop(mailbox);
        count(&self.counters(usize::MAX).dropped_unsubscribed, 1);
        self.settle(session);
    }

    fn may_get(&self, session: &Session, topic: &str) -> bool {
        session.is_local()
            || self
                .access
                .permissions_for(session.username.as_deref(), &session.client_id)
                .is_some_and(|permissions| permissions.may_receive(topic))
    }

    fn account_stored(&self, session: &Arc<Session>, left: Left) {
        let counters = self.counters(usize::MAX);
        match left {
            Left::TooLarge => count(&counters.dropped_too_large, 1),
            Left::DroppedOldest(messages) => {
                count(&counters.dropped_queue_full, messages);
                if session.mailbox.lock().note_overflow() {
                    warn!(
                        client_id = session.name(),
                        "A queue is full: the oldest messages for this client are dropped."
                    );
                }
            }
            _ => return,
        }
        self.settle(session);
    }

    /// A session has ended while a message for it was on its way: its queue has begun anew, and goes again.
    fn remove_orphan(&self, session: &Session) {
        self.count_dropped(1);
        let mut changes = Changes::default();
        if let Some(queue) = session.queue() {
            changes.remove_queue(queue);
        }
        self.commit_lazily(&mut changes);
    }

    /// Changes in the store what follows from messages that are finished.
    pub(crate) fn settle(&self, session: &Session) {
        let (Some(number), Some(queue), Some(durable)) = (session.number, session.queue(), &self.durable)
        else {
            return;
        };
        let waits_for_outside =
            session.mailbox.lock().stored.as_ref().is_some_and(|stored| stored.waits_for_outside());
        // Whoever has the client does not say what it consumes; the store knows.
        let consumed = waits_for_outside.then(|| durable.store.queue_status(queue)).flatten();
        let settled = {
            let mut mailbox = session.mailbox.lock();
            if let (Some(stored), Some(status)) = (&mut mailbox.stored, consumed) {
                stored.on_consumed(status.head);
            }
            mailbox.take_settled()
        };
        let Settled { head, forgotten, ahead } = settled;
        if forgotten.is_empty() && ahead.is_empty() {
            if let Some(head) = head {
                durable.store.consume(queue, head);
            }
            return;
        }
        // At QoS 2 the record goes with the message: without it the message would be sent again, and without the
        // message nothing would be left to send.
        let mut changes = Changes::default();
        if let Some(head) = head {
            changes.consume(queue, head);
        }
        forgotten.iter().for_each(|position| changes.delete_outgoing(number, *position));
        ahead.iter().for_each(|(position, record)| changes.put_outgoing(number, *position, *record));
        self.commit_lazily(&mut changes);
    }

    /// Puts the retained messages of a new Subscription into the session's queue, with the record of the Subscription,
    /// and leaves those that are to be sent from memory. The routing table is locked: live messages come behind them.
    pub(crate) fn keep_retained(
        &self,
        session: &Arc<Session>,
        retained: &mut Vec<Message>,
        subscription: SubscriptionRecord,
        changes: &mut Changes,
    ) {
        let (options, id) = (subscription.options, subscription.id);
        let generation = session.mailbox.lock().stored.as_ref().map(|stored| stored.generation);
        let Some(generation) = generation.filter(|_| retained.len() <= RETAINED_KEPT_MAX) else { return };
        retained.retain(|message| {
            let qos = message.qos().min(options.qos);
            if qos == QoS::AtMostOnce {
                return true;
            }
            let subscription_ids = (id != 0).then_some(id).into_iter().collect();
            let target = Target { session: session.clone(), subscription_ids, qos, retain: true, generation };
            changes.publish(message.clone(), SmallVec::from_iter([target]));
            false
        });
    }

    /// Asks the store for what waits there only.
    pub(crate) fn read(&self, session: &Session, wanted: Wanted) -> Option<Reading> {
        let (queue, durable) = (session.queue()?, self.durable.as_ref()?);
        let ticket = durable.store.read(queue, wanted.from, READ_ENTRIES_MAX, READ_BYTES_MAX);
        Some(Reading { wanted, ticket })
    }

    /// Brings what was read to the mailbox, once it is there.
    pub(crate) fn poll_read(
        &self,
        session: &Arc<Session>,
        reading: &mut Option<Reading>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(Reading { ticket, wanted }) = reading else { return Poll::Ready(()) };
        let Poll::Ready(answer) = Pin::new(ticket).poll(cx) else { return Poll::Pending };
        let wanted = *wanted;
        *reading = None;
        match answer {
            Ok(entries) => self.bring(session, wanted, entries),
            Err(Error::Corrupt(damage)) => {
                error!(client_id = session.name(), %damage, "A message that waited is lost.");
                let mut mailbox = session.mailbox.lock();
                if let Some(stored) = &mut mailbox.stored {
                    stored.on_read(wanted, vec![(wanted.from, None)]);
                }
            }
            // Whoever depends on a store that has failed is told by it.
            Err(_) => {}
        }
        self.settle(session);
        Poll::Ready(())
    }

    fn bring(&self, session: &Arc<Session>, wanted: Wanted, read: Vec<Waiting>) {
        let state = session.state.lock();
        let entry = |waiting: Waiting| {
            let (qos, retain) = of_flags(waiting.flags)?;
            let message = self.recall(&waiting.message, waiting.position, session)?;
            let mut ids = SmallVec::new();
            let mut is_wanted = false;
            for (filter, id) in &state.filters {
                if filter.matches(message.topic()) {
                    is_wanted = true;
                    ids.extend((*id != 0).then_some(*id));
                }
            }
            let is_wanted = is_wanted && self.may_get(session, message.topic());
            let position = waiting.position;
            is_wanted.then_some(Entry { message, subscription_ids: ids, qos, retain, position })
        };
        let read = read.into_iter().map(|waiting| (waiting.position, entry(waiting))).collect();
        let mut mailbox = session.mailbox.lock();
        let unwanted = mailbox.stored.as_mut().map_or(0, |stored| stored.on_read(wanted, read));
        drop((mailbox, state));
        count(&self.counters(usize::MAX).dropped_unsubscribed, unwanted);
    }

    /// Makes a message of what the store has.
    fn recall(&self, stored: &[u8], position: u64, session: &Session) -> Option<Message> {
        let Some(message) = Message::from_stored(stored) else {
            error!(
                client_id = session.name(),
                position, "A message that waited was written by another program, and is dropped."
            );
            return None;
        };
        let is_old = session.mailbox.lock().stored.as_ref().is_some_and(|queue| queue.is_old(position));
        let durable = self.durable.as_ref().filter(|_| is_old);
        Some(durable.map_or(message.clone(), |durable| durable.recall(&message)))
    }

    /// Lets the queue of a client without a socket begin where the store has it: whoever has the client consumes.
    pub(super) fn begin_reading(&self, session: &Session, consumed: Consumed) {
        let (true, Some(queue), Some(durable)) = (session.is_local(), session.queue(), &self.durable) else {
            return;
        };
        let status = durable.store.queue_status(queue);
        let mut mailbox = session.mailbox.lock();
        if let Some(stored) = &mut mailbox.stored {
            stored.consume_outside(consumed == Consumed::Outside);
            status.into_iter().for_each(|status| stored.reset(status));
        }
    }

    /// Completes the exchanges of a session that is resumed: decides what was on its way when its last connection
    /// ended, and reads what was in flight before a restart.
    pub(super) async fn read_exchanges(&self, opened: &mut Opened) -> Result<(), ReasonCode> {
        let (undecided, is_unread) = {
            let mut state = opened.session.state.lock();
            (std::mem::take(&mut state.undecided), std::mem::take(&mut state.is_unread))
        };
        for (token, commit) in undecided {
            let reason = match crate::durable::Ended(commit).await {
                Outcome::Durable => ReasonCode::Success,
                Outcome::Full => ReasonCode::QuotaExceeded,
                Outcome::Broken => ReasonCode::UnspecifiedError,
            };
            opened.exchanges.incoming.decide(token, reason);
        }
        if is_unread {
            let read = self.read_in_flight(opened).await;
            if read.is_err() {
                opened.session.state.lock().is_unread = true;
            }
            read?;
        }
        Ok(())
    }

    async fn read_in_flight(&self, opened: &mut Opened) -> Result<(), ReasonCode> {
        let (session, Some(durable)) = (&opened.session, &self.durable) else { return Ok(()) };
        let Some(queue) = session.queue() else { return Ok(()) };
        let unfinished =
            session.mailbox.lock().stored.as_ref().map(|stored| stored.unfinished()).unwrap_or_default();
        for (position, record) in unfinished {
            let read = durable.store.read(queue, position, 1, 0).await;
            let read = read.map_err(|_| ReasonCode::ServerUnavailable)?;
            let found = read.into_iter().next().filter(|waiting| waiting.position == position);
            let outgoing = found.and_then(|waiting| {
                let (qos, retain) = of_flags(waiting.flags).filter(|(qos, _)| *qos == QoS::ExactlyOnce)?;
                let message = self.recall(&waiting.message, position, session)?;
                Some(Outgoing { message, subscription_ids: SmallVec::new(), cookie: position, qos, retain })
            });
            let stage = if record.stage == KeptStage::Received { Stage::Released } else { Stage::Published };
            let id = OutgoingId::from_stored(record.packet_id);
            let window = &mut opened.exchanges.outgoing;
            if !outgoing.is_some_and(|outgoing| window.restore(id, stage, outgoing)) {
                error!(client_id = session.name(), position, "A message that was in flight is lost.");
                if let Some(stored) = &mut session.mailbox.lock().stored {
                    stored.finish(position);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crosspoint_protocol::{
        Now, TopicName, Version, limits::PACKET_BYTES_MAX, packet::PublishProperties, session::SessionState,
    };
    use crosspoint_store::{Options, Store};

    use super::*;
    use crate::{
        BrokerOptions,
        access::Users,
        durable::{Ended, run},
        mailbox::Receiver,
        sessions::{CloseSession, OpenSession},
    };

    #[tokio::test]
    async fn a_message_that_comes_behind_the_end_of_its_session_leaves_no_queue() {
        let store = Store::in_memory(Options::new().reserve_bytes(0)).unwrap();
        let users = Arc::new(Users::new(Vec::new(), Vec::new()).unwrap());
        let shared = Arc::new(Shared::new(BrokerOptions::default(), users, Some(store.clone()), 1));
        let committing = tokio::spawn(run(shared.clone()));
        let receiver = Receiver { version: Version::V5, packet_bytes_max: PACKET_BYTES_MAX, is_local: false };
        let open = OpenSession {
            client_id: "d".into(),
            username: None,
            clean_start: false,
            receiver,
            expiry_s: 60,
            will: None,
            is_kept: true,
        };
        let session = shared.open_session(open).await.unwrap().session;
        let exchanges = SessionState::default();
        let close = CloseSession { exchanges, undecided: Vec::new(), will: None, expiry_s: 0 };
        shared.close_session(&session, close, shared.clock.now());
        // Another thread had chosen it before, and hands over now.
        let topic = TopicName::parse("a").unwrap();
        let properties = PublishProperties::default();
        let message = Message::new(&topic, b"x", QoS::AtLeastOnce, false, &properties, Now::default());
        let subscription_ids = SmallVec::new();
        let target =
            Target { session, subscription_ids, qos: QoS::AtLeastOnce, retain: false, generation: 0 };
        let mut changes = Changes::default();
        changes.publish(message, SmallVec::from_iter([target]));
        assert_eq!(Ended(shared.commit(&mut changes).unwrap()).await, Outcome::Durable);
        shared.durable.as_ref().unwrap().committer.close();
        committing.await.unwrap();
        assert!(store.queues().is_empty(), "{:?}", store.queues());
    }
}
