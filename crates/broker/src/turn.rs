//! One publisher's turn: messages go to mailboxes, and each owner is woken once at its end.

mod direct;
mod storing;

use std::{sync::Arc, task::Waker};

use crosspoint_protocol::{
    Message, Now, QoS, TopicName, codec::forwardable, message::MessageParts, packet::Publish, topic::Entries,
};
use parking_lot::RwLockReadGuard;
use smallvec::SmallVec;
use tracing::warn;

use crate::{
    counters::{Counters, count},
    durable::{Commit, Target, Urgency},
    mailbox::{Entry, Left, UNSTORED},
    router::{Group, Router, Subscription},
    session::SessionKey,
    shared::Shared,
    workspace::Workspace,
};

use direct::{head_of_direct, leave_direct};

/// How much is read in one turn, in bytes.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// After so many deliveries a turn ends, so that others get theirs.
pub(crate) const DELIVERIES_MAX: usize = 4_096;

/// One publisher's turn. Holds the routing table from its first message to its end.
pub(crate) struct Turn<'a> {
    shared: &'a Shared,
    counters: &'a Counters,
    workspace: &'a mut Workspace,
    table: Option<RwLockReadGuard<'a, Router>>,
    now: Now,
    deliveries: usize,
    /// The batches of what was handed over before the end.
    commit: Option<Arc<Commit>>,
    /// How many retained messages were changed in the store.
    retained: usize,
    /// What its changes wait for.
    urgency: Urgency,
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
    /// It would have to be stored, and the disk is full.
    StoreFull,
}

impl Published {
    /// Tells whether it was not refused.
    pub(crate) const fn is_taken(self) -> bool {
        matches!(self, Self::Delivered | Self::Unwanted)
    }
}

/// A message while it is being routed: made into one allocation only when somebody has to keep it.
struct Routed<'a> {
    topic: &'a str,
    parts: MessageParts<'a>,
    qos: QoS,
    retain: bool,
    publisher: SessionKey,
    message: Option<Message>,
    /// The durable sessions that get it.
    targets: SmallVec<[Target; 2]>,
}

impl Routed<'_> {
    fn message(&mut self) -> &Message {
        self.message.get_or_insert_with(|| Message::from_parts(&self.parts, self.qos, self.retain))
    }
}

impl<'a> Turn<'a> {
    pub(crate) fn new(shared: &'a Shared, worker: usize, workspace: &'a mut Workspace, now: Now) -> Self {
        Self {
            shared,
            counters: shared.counters(worker),
            workspace,
            table: None,
            now,
            deliveries: 0,
            commit: None,
            retained: 0,
            urgency: Urgency::Synced,
        }
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
        let published = self.route(&mut Routed {
            topic: topic.as_str(),
            parts,
            qos,
            retain,
            publisher,
            message: None,
            targets: SmallVec::new(),
        });
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
            targets: SmallVec::new(),
        })
    }

    /// Ends the turn: wakes every owner that something was left for, and hands over what is changed in the store.
    /// Returns its batch.
    pub(crate) fn end(mut self) -> Option<Arc<Commit>> {
        self.table = None;
        let commit = self.flush();
        self.workspace.wakers.drain(..).for_each(Waker::wake);
        commit
    }

    fn route(&mut self, routed: &mut Routed<'_>) -> Published {
        if routed.qos != QoS::AtMostOnce && self.shared.is_store_full() {
            return Published::StoreFull;
        }
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
        if !routed.targets.is_empty() {
            let targets = std::mem::take(&mut routed.targets);
            self.workspace.changes.publish(routed.message().clone(), targets);
        }
        if self.deliveries == before { Published::Unwanted } else { Published::Delivered }
    }

    /// Keeps or forgets the retained message of the topic. Returns `false` when no more may be kept.
    fn retain(&mut self, table: &Router, routed: &mut Routed<'_>) -> bool {
        if routed.parts.payload.is_empty() {
            // [MQTT-3.3.1-6]
            let mut retained = table.retained.lock();
            if retained.remove(routed.topic) {
                self.store_retained(routed, None);
            }
            return true;
        }
        let message = routed.message().clone();
        let mut retained = table.retained.lock();
        let is_kept = retained.keep(routed.topic, message.clone(), self.shared.options.retained_messages_max);
        if is_kept {
            self.store_retained(routed, Some(&message));
        } else {
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
        if let Some(stored) = mailbox.stored.as_ref().filter(|_| qos != QoS::AtMostOnce) {
            // It gets it when it is durable.
            let generation = stored.generation;
            drop(mailbox);
            let session = to.session.clone();
            routed.targets.push(Target { session, subscription_ids, qos, retain, generation });
            return Left::Waiting;
        }
        let left = if qos == QoS::AtMostOnce && !mailbox.receiver.is_local {
            let head = head_of_direct(mailbox.receiver.version, retain, &subscription_ids);
            leave_direct(&mut mailbox, &head, routed, is_shared, self.workspace, self.now)
        } else {
            let message = routed.message().clone();
            mailbox.push(Entry { message, subscription_ids, qos, retain, position: UNSTORED })
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
