//! One publisher's turn: messages go to mailboxes, and each owner is woken once at its end.

use std::{cell::RefCell, task::Waker};

use bytes::BytesMut;
use crosspoint_protocol::{
    Message, Now, QoS, TopicName, Transmit, Version,
    codec::forwardable,
    limits::PAYLOAD_COPY_BYTES_MAX,
    message::{MessageParts, PublishHead},
    packet::Publish,
    topic::Entries,
};
use parking_lot::RwLockReadGuard;
use smallvec::SmallVec;
use tracing::warn;

use crate::{
    counters::{Counters, count},
    mailbox::{Entry, Left, Mailbox},
    router::{Group, Router, Subscription},
    session::SessionKey,
    shared::Shared,
};

/// How much is read in one turn, in bytes.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// After so many deliveries a turn ends, so that others get theirs.
pub(crate) const DELIVERIES_MAX: usize = 4_096;

/// Buffers larger than this are not kept for reuse, in bytes.
const BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// The size at which a new output buffer starts, in bytes.
const BUFFER_BYTES: usize = 4 * 1024;

/// How many buffers a thread keeps for reuse.
const BUFFERS_KEPT_MAX: usize = 256;

/// What a thread lends to whichever connection has its turn, so that an idle one holds none of it.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) read_buffer: BytesMut,
    buffers: Vec<Vec<u8>>,
    pub(crate) entries: Vec<Entry>,
    wakers: Vec<Waker>,
    layouts: Layouts,
    properties: Vec<u8>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl Workspace {
    /// Calls `f` with this thread's workspace. A call within a call gets an empty one of its own.
    pub(crate) fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        let mut workspace = WORKSPACE.with(|cell| cell.try_borrow_mut().map(|mut w| std::mem::take(&mut *w)));
        let result = match &mut workspace {
            Ok(workspace) => f(workspace),
            Err(_) => f(&mut Self::default()),
        };
        if let Ok(workspace) = workspace {
            WORKSPACE.with(|cell| {
                if let Ok(mut place) = cell.try_borrow_mut() {
                    *place = workspace;
                }
            });
        }
        result
    }

    /// Lends a buffer to write into.
    pub(crate) fn lend(&mut self, transmit: &mut Transmit) {
        if !transmit.has_buffer() {
            transmit.lend(self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES)));
        }
    }

    /// Takes a buffer back that is empty.
    pub(crate) fn reclaim(&mut self, transmit: &mut Transmit) {
        if let Some(buffer) = transmit.reclaim()
            && buffer.capacity() <= BUFFER_KEPT_BYTES_MAX
            && self.buffers.len() < BUFFERS_KEPT_MAX
        {
            self.buffers.push(buffer);
        }
    }
}

/// A PUBLISH at QoS 0 in each of its layouts, encoded when first needed.
#[derive(Debug, Default)]
struct Layouts([Vec<u8>; 4]);

impl Layouts {
    fn reset(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    fn encoded(&mut self, head: &PublishHead<'_>, parts: &MessageParts<'_>, now: Now) -> &[u8] {
        let place = usize::from(head.version.is_v5()) * 2 + usize::from(head.retain);
        let Some(layout) = self.0.get_mut(place) else { return &[] };
        if layout.is_empty() {
            parts.encode(head, now, layout);
        }
        layout
    }
}

/// One publisher's turn. Holds the routing table from its first message to its end.
pub(crate) struct Turn<'a> {
    shared: &'a Shared,
    counters: &'a Counters,
    workspace: &'a mut Workspace,
    table: Option<RwLockReadGuard<'a, Router>>,
    now: Now,
    deliveries: usize,
}

/// What became of a message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// It went to at least one session.
    Delivered,
    /// Nobody wants it.
    Unwanted,
    /// It was to be retained and as many messages are kept as may be.
    RetainedFull,
}

/// A message while it is being routed: made into one allocation only when somebody has to keep it.
struct Routed<'a> {
    topic: &'a str,
    parts: MessageParts<'a>,
    qos: QoS,
    retain: bool,
    publisher: SessionKey,
    message: Option<Message>,
}

impl Routed<'_> {
    fn message(&mut self) -> &Message {
        self.message.get_or_insert_with(|| Message::from_parts(&self.parts, self.qos, self.retain))
    }
}

impl<'a> Turn<'a> {
    pub(crate) fn new(shared: &'a Shared, worker: usize, workspace: &'a mut Workspace, now: Now) -> Self {
        Self { shared, counters: shared.counters(worker), workspace, table: None, now, deliveries: 0 }
    }

    /// Tells whether the turn has delivered as much as one may.
    pub(crate) const fn is_spent(&self) -> bool {
        self.deliveries >= DELIVERIES_MAX
    }

    /// Counts what was done for so many messages besides delivering them.
    pub(crate) const fn spend(&mut self, messages: usize) {
        self.deliveries += messages;
    }

    /// Lets go of the routing table, before it is changed.
    pub(crate) fn release_table(&mut self) {
        self.table = None;
    }

    /// Delivers one message to everybody who wants it.
    pub(crate) fn publish(
        &mut self,
        topic: &TopicName,
        publish: &Publish,
        publisher: SessionKey,
    ) -> Published {
        let mut properties = std::mem::take(&mut self.workspace.properties);
        properties.clear();
        forwardable(publish.properties.as_bytes(), &mut properties);
        let expires_wall_ms = match publish.properties.message_expiry_s() {
            Some(seconds) => self.now.wall_ms.saturating_add(u64::from(seconds) * 1_000),
            None => u64::MAX,
        };
        let parts = MessageParts {
            topic: topic.as_bytes(),
            properties: &properties,
            payload: &publish.payload,
            expires_wall_ms,
        };
        let (qos, retain) = (publish.qos, publish.retain);
        let published =
            self.route(&mut Routed { topic: topic.as_str(), parts, qos, retain, publisher, message: None });
        self.workspace.properties = properties;
        published
    }

    /// Delivers a message that is already one allocation, such as a Will or one of the broker's own.
    pub(crate) fn publish_message(
        &mut self,
        message: &Message,
        qos: QoS,
        retain: bool,
        publisher: SessionKey,
    ) -> Published {
        // What is retained keeps the QoS at which it was published; a message with another one is another message.
        let is_same = message.qos() == qos && message.retain() == retain;
        self.route(&mut Routed {
            topic: message.topic(),
            parts: message.parts(),
            qos,
            retain,
            publisher,
            message: is_same.then(|| message.clone()),
        })
    }

    /// Ends the turn: wakes every owner that something was left for.
    pub(crate) fn end(self) {
        drop(self.table);
        self.workspace.wakers.drain(..).for_each(Waker::wake);
    }

    fn route(&mut self, routed: &mut Routed<'_>) -> Published {
        let table = self.table.take().unwrap_or_else(|| self.shared.router.read());
        let published = self.retain_and_deliver(&table, routed);
        self.table = Some(table);
        published
    }

    fn retain_and_deliver(&mut self, table: &Router, routed: &mut Routed<'_>) -> Published {
        if routed.retain && !self.retain(table, routed) {
            return Published::RetainedFull;
        }
        let before = self.deliveries;
        self.deliver_to_subscriptions(table, routed);
        if !table.groups.is_empty() {
            self.deliver_to_groups(table, routed);
        }
        if self.deliveries == before { Published::Unwanted } else { Published::Delivered }
    }

    /// Keeps or forgets the retained message of the topic. Returns `false` when no more may be kept.
    fn retain(&self, table: &Router, routed: &mut Routed<'_>) -> bool {
        if routed.parts.payload.is_empty() {
            // [MQTT-3.3.1-6]
            table.retained.lock().remove(routed.topic);
            return true;
        }
        let message = routed.message().clone();
        let is_kept =
            table.retained.lock().keep(routed.topic, message, self.shared.options.retained_messages_max);
        if !is_kept {
            count(&self.counters.dropped_queue_full, 1);
        }
        is_kept
    }

    fn deliver_to_subscriptions(&mut self, table: &Router, routed: &mut Routed<'_>) {
        let mut lists: SmallVec<[&Entries<SessionKey, Subscription>; 4]> = SmallVec::new();
        table.subscriptions.matching(routed.topic, &mut lists);
        match lists.as_slice() {
            [] => {}
            [list] => {
                self.workspace.layouts.reset();
                let is_shared = list.len() > 1;
                for (_, subscription) in list.iter() {
                    self.deliver(subscription, &[], routed, is_shared);
                }
            }
            _ => self.deliver_overlapping(&lists, routed),
        }
    }

    /// Delivers where several filters match: a session gets the message once, at the highest QoS it was granted,
    /// with the identifiers of all its Subscriptions that match [MQTT-3.3.4-2] [MQTT-3.3.4-3].
    fn deliver_overlapping(&mut self, lists: &[&Entries<SessionKey, Subscription>], routed: &mut Routed<'_>) {
        self.workspace.layouts.reset();
        let mut all: SmallVec<[&Subscription; 16]> =
            lists.iter().flat_map(|list| list.iter().map(|(_, subscription)| subscription)).collect();
        all.sort_by_key(|subscription| subscription.session.key);
        for same in all.chunk_by(|a, b| a.session.key == b.session.key) {
            let (Some(first), true) = (same.first(), same.len() > 1) else {
                same.iter().for_each(|subscription| self.deliver(subscription, &[], routed, true));
                continue;
            };
            let is_own = first.session.key == routed.publisher;
            let wanted = || same.iter().filter(|subscription| !(subscription.no_local && is_own));
            let Some(best) = wanted().max_by_key(|subscription| subscription.qos) else { continue };
            let mut merged = (*best).clone();
            merged.retain_as_published = wanted().any(|subscription| subscription.retain_as_published);
            let mut ids: SmallVec<[u32; 2]> =
                wanted().map(|subscription| subscription.id).filter(|id| *id != 0).collect();
            ids.sort_unstable();
            merged.id = 0;
            self.deliver(&merged, &ids, routed, true);
        }
    }

    fn deliver_to_groups(&mut self, table: &Router, routed: &mut Routed<'_>) {
        let mut lists: SmallVec<[&Entries<bytestring::ByteString, Group>; 4]> = SmallVec::new();
        table.groups.matching(routed.topic, &mut lists);
        self.workspace.layouts.reset();
        for (_, group) in lists.iter().flat_map(|list| list.iter()) {
            self.deliver_to_group(group, routed);
        }
    }

    /// Delivers to the member whose turn it is. One that is away, has no room or may not receive it is passed over
    /// as long as another one takes it.
    fn deliver_to_group(&mut self, group: &Group, routed: &mut Routed<'_>) {
        let is_there = |member: &&Subscription| member.session.mailbox.lock().is_online;
        let in_turn = group.in_turn();
        let mut refused = Left::Unwanted;
        for (passed_over, member) in in_turn.clone().enumerate().filter(|(_, member)| is_there(member)) {
            match self.leave(member, &[], routed, true) {
                left if left.is_waiting() => {
                    group.pass_over(passed_over);
                    return self.account(member, left);
                }
                left => refused = left,
            }
        }
        for member in in_turn.clone().filter(|member| !is_there(member)) {
            match self.leave(member, &[], routed, true) {
                left if left.is_waiting() => return self.account(member, left),
                left => refused = left,
            }
        }
        if let Some(member) = in_turn.clone().next() {
            self.account(member, refused);
        }
    }

    fn deliver(&mut self, to: &Subscription, ids: &[u32], routed: &mut Routed<'_>, is_shared: bool) {
        let left = self.leave(to, ids, routed, is_shared);
        self.account(to, left);
    }

    /// Leaves a message for one session.
    fn leave(&mut self, to: &Subscription, ids: &[u32], routed: &mut Routed<'_>, is_shared: bool) -> Left {
        if to.no_local && to.session.key == routed.publisher {
            return Left::Unwanted;
        }
        if to.only.as_ref().is_some_and(|only| !only.may_receive(routed.topic)) {
            return Left::Unwanted;
        }
        self.deliveries += 1;
        let qos = to.qos.min(routed.qos);
        let retain = to.retain_as_published && routed.retain;
        let mut subscription_ids = SmallVec::<[u32; 2]>::from_slice(ids);
        if to.id != 0 {
            subscription_ids.push(to.id);
        }
        if qos != QoS::AtMostOnce {
            // Made before the lock is taken: no allocation of ours happens under it.
            routed.message();
        }
        let mut mailbox = to.session.mailbox.lock();
        let left = if qos == QoS::AtMostOnce && !mailbox.receiver.is_local {
            let head = head_of_direct(mailbox.receiver.version, retain, &subscription_ids);
            leave_direct(&mut mailbox, &head, routed, is_shared, self.workspace, self.now)
        } else {
            let message = routed.message().clone();
            mailbox.push(Entry { message, subscription_ids, qos, retain })
        };
        if left.is_waiting()
            && let Some(waker) = mailbox.schedule()
        {
            self.workspace.wakers.push(waker);
        }
        left
    }

    /// Counts what was dropped, and says so when it begins.
    fn account(&mut self, to: &Subscription, left: Left) {
        let dropped = match left {
            Left::Waiting | Left::Absent | Left::Unwanted => return,
            Left::TooLarge => return count(&self.counters.dropped_too_large, 1),
            Left::Dropped => 1,
            Left::DroppedOldest(messages) => messages,
        };
        count(&self.counters.dropped_queue_full, dropped);
        if to.session.mailbox.lock().note_overflow() {
            warn!(client_id = to.session.name(), "A queue is full: messages for this client are dropped.");
        }
    }
}

/// Leaves a message at QoS 0, encoded for its receiver.
fn leave_direct(
    mailbox: &mut Mailbox,
    head: &PublishHead<'_>,
    routed: &mut Routed<'_>,
    is_shared: bool,
    workspace: &mut Workspace,
    now: Now,
) -> Left {
    let bytes = routed.parts.encoded_len(head);
    if !mailbox.is_online {
        return Left::Absent;
    }
    if bytes > mailbox.receiver.packet_bytes_max {
        return Left::TooLarge;
    }
    if !mailbox.has_direct_room(bytes) {
        return Left::Dropped;
    }
    mailbox.note_direct();
    workspace.lend(&mut mailbox.direct);
    if !is_shared {
        routed.parts.encode(head, now, mailbox.direct.bytes());
    } else if routed.parts.payload.len() > PAYLOAD_COPY_BYTES_MAX {
        routed.message().encode(head, now, &mut mailbox.direct);
    } else if head.subscription_ids.is_empty() {
        let encoded = workspace.layouts.encoded(head, &routed.parts, now);
        mailbox.direct.bytes().extend_from_slice(encoded);
    } else {
        routed.parts.encode(head, now, mailbox.direct.bytes());
    }
    Left::Waiting
}

fn head_of_direct(version: Version, retain: bool, subscription_ids: &[u32]) -> PublishHead<'_> {
    PublishHead {
        version,
        qos: QoS::AtMostOnce,
        retain,
        dup: false,
        packet_id: 0,
        topic_alias: 0,
        omit_topic: false,
        subscription_ids,
    }
}
