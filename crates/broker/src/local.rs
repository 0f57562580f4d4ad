//! A client without a socket: how the rest of a program publishes and subscribes.

mod accepting;

pub use accepting::{Accepting, NotAccepted};

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytestring::ByteString;
use crosspoint_protocol::{
    Message, QoS, ReasonCode, TopicFilter, TopicName, Version,
    limits::PACKET_BYTES_MAX,
    packet::{Publish, PublishProperties, SubscriptionOptions},
    session::SessionState,
};
use crosspoint_store::{Batch, Wanted};
use parking_lot::Mutex;

use crate::{
    counters::count,
    durable::{Changes, SUBSCRIPTIONS, SubscriptionRecord},
    mailbox::{Command, Entry, Mailbox, Receiver, UNSTORED},
    router::NewSubscription,
    session::{LOCAL_PREFIX, Session, SessionKey},
    sessions::{CloseSession, OpenSession, Reading},
    shared::Shared,
    turn::{Published, Turn},
    workspace::Workspace,
};

/// Who a local client is.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    client_id: ByteString,
    session_expiry_s: u32,
}

impl LocalOptions {
    /// Makes a client with this identifier, whose session ends with it. Clients without a socket have a name space
    /// of their own: a device with the same identifier is another client.
    pub fn new(client_id: impl Into<ByteString>) -> Self {
        Self { client_id: client_id.into(), session_expiry_s: 0 }
    }

    /// Sets for how many seconds the session outlives the client: its Subscriptions go on collecting messages at
    /// QoS 1 and 2. Default 0.
    #[must_use]
    pub const fn session_expiry_s(mut self, seconds: u32) -> Self {
        self.session_expiry_s = seconds;
        self
    }
}

/// Why a local client cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker refused the local client: {0}")]
pub struct LocalRefused(pub ReasonCode);

/// A client without a socket. Dropping it closes it.
#[derive(Debug)]
pub struct LocalClient {
    shared: Arc<Shared>,
    session: Arc<Session>,
    /// Retained messages of new Subscriptions, which go before what is in the mailbox.
    backlog: Mutex<VecDeque<Entry>>,
    /// Messages that are being read back from the store.
    reading: Mutex<Option<Reading>>,
    session_expiry_s: u32,
    session_present: bool,
}

/// A message that a local client has been given.
#[derive(Debug, Clone)]
pub struct LocalDelivery {
    /// The message.
    pub message: Message,
    /// At which QoS it is delivered.
    pub qos: QoS,
    /// The retain flag as the Subscription wants it.
    pub retain: bool,
    /// The identifiers of the Subscriptions that matched.
    pub subscription_ids: Vec<u32>,
    /// Where it stands in the queue of a durable session: [`LocalClient::queue`]. Whoever took it consumes it there.
    /// `None` for a message that is in memory only.
    pub position: Option<u64>,
}

/// Why a local client gets no more messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the local client was disconnected: {0}")]
pub struct LocalClosed(pub ReasonCode);

impl LocalClient {
    pub(crate) async fn open(shared: Arc<Shared>, options: LocalOptions) -> Result<Self, LocalRefused> {
        let receiver = Receiver { version: Version::V5, packet_bytes_max: PACKET_BYTES_MAX, is_local: true };
        let open = OpenSession {
            client_id: format!("{LOCAL_PREFIX}{}", options.client_id).into(),
            username: None,
            clean_start: options.session_expiry_s == 0,
            receiver,
            expiry_s: options.session_expiry_s,
            will: None,
            is_kept: true,
        };
        let opened = shared.open_session(open).await.map_err(LocalRefused)?;
        Ok(Self {
            shared,
            session: opened.session,
            backlog: Mutex::default(),
            reading: Mutex::default(),
            session_expiry_s: options.session_expiry_s,
            session_present: opened.is_present,
        })
    }

    /// Tells whether there already was a session with this identifier.
    pub const fn session_present(&self) -> bool {
        self.session_present
    }

    /// Returns the session's queue in the broker's store, if it has one and the session outlives its client.
    ///
    /// What [`next`](Self::next) gives at a position there is the caller's to consume, in a batch of its own. Without
    /// that it comes again when the client is opened anew.
    pub fn queue(&self) -> Option<u64> {
        self.session.queue()
    }

    /// Publishes a message and tells whether anybody wants it. It is in every mailbox when this returns; those of durable
    /// sessions get it when it is on disk.
    ///
    /// # Errors
    /// [`ReasonCode::QuotaExceeded`] when it was to be retained and as many messages are kept as may be, or the disk is
    /// full.
    pub fn publish(
        &self,
        topic: TopicName,
        payload: bytes::Bytes,
        qos: QoS,
        retain: bool,
        properties: PublishProperties,
    ) -> Result<bool, ReasonCode> {
        let publish = Publish { topic: None, payload, properties, packet_id: None, qos, dup: false, retain };
        self.in_turn(|turn, publisher| turn.publish(&topic, &publish, publisher))
    }

    /// Publishes a message as it is, at this QoS and with this retain flag. It is shared, not copied.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_message(&self, message: &Message, qos: QoS, retain: bool) -> Result<bool, ReasonCode> {
        self.in_turn(|turn, publisher| turn.publish_message(message, qos, retain, publisher))
    }

    /// Publishes a message in one batch with changes of the caller's own: both are kept, or none. The answer comes when
    /// they are on disk, or at once when nothing of them has to be.
    ///
    /// # Errors
    /// As [`Accepting`] says. When it says so at once nothing has changed; otherwise the message may have reached
    /// sessions that are in memory.
    pub fn publish_message_with(&self, batch: Batch, message: &Message, qos: QoS, retain: bool) -> Accepting {
        let now = self.shared.clock.now();
        if !batch.is_empty() && self.shared.durable.is_none() {
            return Accepting::refused(NotAccepted::NoStore);
        }
        let (published, commit) = Workspace::with(|workspace| {
            let mut turn = Turn::new(&self.shared, usize::MAX, workspace, now);
            let published = turn.publish_message(message, qos, retain, self.session.key);
            if published.is_taken() && !batch.is_empty() {
                turn.add(batch);
            }
            (published, turn.end())
        });
        match (answer_of(published), commit) {
            (Ok(is_wanted), commit) => Accepting::of(is_wanted, commit),
            (Err(reason), _) => Accepting::refused(NotAccepted::Refused(reason)),
        }
    }

    fn in_turn(&self, f: impl FnOnce(&mut Turn<'_>, SessionKey) -> Published) -> Result<bool, ReasonCode> {
        let now = self.shared.clock.now();
        answer_of(Workspace::with(|workspace| {
            let mut turn = Turn::new(&self.shared, usize::MAX, workspace, now);
            let published = f(&mut turn, self.session.key);
            turn.end();
            published
        }))
    }

    /// Subscribes. `id` is the Subscription Identifier that deliveries bear; 0 is none.
    pub fn subscribe(&self, filter: &TopicFilter, options: SubscriptionOptions, id: u32) {
        let now = self.shared.clock.now();
        let mut state = self.session.state.lock();
        let mut router = self.shared.router.write();
        let new = NewSubscription { filter, options, id, only: None };
        let mut retained = router.subscribe(&self.session, new, now);
        state.filters.insert(filter.compact(), id);
        self.keep_subscription(filter, SubscriptionRecord { options, id }, &mut retained);
        let mut backlog = self.backlog.lock();
        backlog.extend(retained.into_iter().map(|message| {
            let qos = message.qos().min(options.qos);
            let subscription_ids = (id != 0).then_some(id).into_iter().collect();
            Entry { subscription_ids, ..Entry::new(message, qos, true) }
        }));
        drop((backlog, router, state));
        let waker = self.session.mailbox.lock().schedule();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ends a Subscription and tells whether it was there. Messages that match no other one are not delivered
    /// afterwards.
    pub fn unsubscribe(&self, filter: &TopicFilter) -> bool {
        let mut state = self.session.state.lock();
        state.filters.remove(filter);
        self.forget_subscription(filter);
        let was_there = self.shared.router.write().unsubscribe(self.session.key, filter);
        let is_wanted =
            |entry: &Entry| state.filters.keys().any(|filter| filter.matches(entry.message.topic()));
        self.backlog.lock().retain(is_wanted);
        let dropped = self.session.mailbox.lock().retain(is_wanted);
        self.shared.settle(&self.session);
        count(&self.shared.counters(usize::MAX).dropped_unsubscribed, dropped);
        was_there
    }

    fn keep_subscription(
        &self,
        filter: &TopicFilter,
        record: SubscriptionRecord,
        retained: &mut Vec<Message>,
    ) {
        let Some(number) = self.session.number else { return };
        let mut changes = Changes::default();
        changes.put(SUBSCRIPTIONS, SubscriptionRecord::key(number, filter), record.encode());
        self.shared.keep_retained(&self.session, retained, record, &mut changes);
        self.shared.commit(&mut changes);
    }

    fn forget_subscription(&self, filter: &TopicFilter) {
        let Some(number) = self.session.number else { return };
        let mut changes = Changes::default();
        changes.delete(SUBSCRIPTIONS, SubscriptionRecord::key(number, filter));
        self.shared.commit(&mut changes);
    }

    /// Returns the filters that the session holds.
    pub fn filters(&self) -> Vec<TopicFilter> {
        self.session.state.lock().filters.keys().cloned().collect()
    }

    /// Waits for the next message. One task at a time may wait.
    ///
    /// # Errors
    /// The client was disconnected: its session was taken over, or the broker stops.
    ///
    /// # Cancel safety
    /// A message is lost to nobody when this is dropped: it is taken only when it is returned.
    pub async fn next(&self) -> Result<LocalDelivery, LocalClosed> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<LocalDelivery, LocalClosed>> {
        loop {
            let mut reading = self.reading.lock();
            // While it is pending, the store wakes the task.
            let is_reading = self.shared.poll_read(&self.session, &mut reading, cx).is_pending();
            let mut wanted = None;
            let (polled, is_unsettled) = self.poll_mailbox(cx.waker(), &mut wanted);
            if is_unsettled {
                self.shared.settle(&self.session);
            }
            if polled.is_ready() {
                return polled;
            }
            let Some(wanted) = wanted.filter(|_| !is_reading) else { return Poll::Pending };
            *reading = self.shared.read(&self.session, wanted);
        }
    }

    /// Takes the next message; tells too whether something is to be changed in the store.
    fn poll_mailbox(
        &self,
        waker: &Waker,
        wanted: &mut Option<Wanted>,
    ) -> (Poll<Result<LocalDelivery, LocalClosed>>, bool) {
        let mut backlog = self.backlog.lock();
        let mut mailbox = self.session.mailbox.lock();
        mailbox.settle(waker);
        if let Some(Command::Disconnect(reason)) = mailbox.command {
            return (Poll::Ready(Err(LocalClosed(reason))), false);
        }
        let next = self.take_next(&mut backlog, &mut mailbox, wanted);
        let is_unsettled = mailbox.stored.as_ref().is_some_and(|stored| stored.is_unsettled());
        (next.map_or(Poll::Pending, |delivery| Poll::Ready(Ok(delivery))), is_unsettled)
    }

    /// Takes the next message that has not expired.
    fn take_next(
        &self,
        backlog: &mut VecDeque<Entry>,
        mailbox: &mut Mailbox,
        wanted: &mut Option<Wanted>,
    ) -> Option<LocalDelivery> {
        let now = self.shared.clock.now();
        let counters = self.shared.counters(usize::MAX);
        while let Some(entry) = backlog.pop_front().or_else(|| mailbox.take(wanted)) {
            let position = (entry.position != UNSTORED).then_some(entry.position);
            if entry.message.is_expired(now) {
                if let (Some(position), Some(stored)) = (position, &mut mailbox.stored) {
                    stored.finish(position);
                }
                count(&counters.dropped_expired, 1);
                continue;
            }
            count(&counters.messages_sent, 1);
            return Some(LocalDelivery {
                message: entry.message,
                qos: entry.qos,
                retain: entry.retain,
                subscription_ids: entry.subscription_ids.to_vec(),
                position,
            });
        }
        None
    }

    /// Puts a message back, to be the next one: whoever took it did not accept it.
    pub fn put_back(&self, delivery: LocalDelivery) {
        let entry = Entry {
            message: delivery.message,
            subscription_ids: delivery.subscription_ids.into(),
            qos: delivery.qos,
            retain: delivery.retain,
            position: delivery.position.unwrap_or(UNSTORED),
        };
        // The backlog goes before the mailbox.
        self.backlog.lock().push_front(entry);
        let waker = self.session.mailbox.lock().schedule();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        let backlog = std::mem::take(self.backlog.get_mut());
        if self.session_expiry_s != 0 {
            let mut mailbox = self.session.mailbox.lock();
            // What is in the store is there until it is consumed.
            let is_kept = |entry: &Entry| entry.qos != QoS::AtMostOnce && entry.position == UNSTORED;
            let kept = backlog.into_iter().rev().filter(is_kept);
            kept.for_each(|entry| mailbox.push_front(entry));
        }
        let close = CloseSession {
            exchanges: SessionState::default(),
            undecided: Vec::new(),
            will: None,
            expiry_s: self.session_expiry_s,
        };
        self.shared.close_session(&self.session, close, self.shared.clock.now());
    }
}

fn answer_of(published: Published) -> Result<bool, ReasonCode> {
    match published {
        Published::Delivered => Ok(true),
        Published::Unwanted => Ok(false),
        Published::RetainedFull | Published::StoreFull => Err(ReasonCode::QuotaExceeded),
    }
}
