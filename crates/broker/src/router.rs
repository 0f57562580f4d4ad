//! Who wants which messages.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytestring::ByteString;
use crosspoint_protocol::{
    Message, Now, QoS, TopicFilter,
    packet::{RetainHandling, SubscriptionOptions},
    topic::FilterTree,
};
use parking_lot::Mutex;

use crate::{
    access::Permissions,
    retained::Retained,
    session::{Session, SessionKey},
};

/// The routing table: every Subscription, by filter. Read once a turn and held through its deliveries, so that
/// nothing arrives after UNSUBACK.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) subscriptions: FilterTree<SessionKey, Subscription>,
    pub(crate) groups: FilterTree<ByteString, Group>,
    group_members: usize,
    /// The retained messages. Changed by publishes, which only read the table; so it has a lock of its own, which
    /// is taken under the table's.
    pub(crate) retained: Mutex<Retained>,
}

/// One Subscription of one session.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) session: Arc<Session>,
    /// What the session may receive, where that is less than the filter matches.
    pub(crate) only: Option<Arc<Permissions>>,
    /// The Subscription Identifier; 0 is none.
    pub(crate) id: u32,
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
}

/// The members of one Shared Subscription.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Vec<Subscription>,
    next: AtomicUsize,
}

/// A Subscription to be made.
#[derive(Debug)]
pub(crate) struct NewSubscription<'a> {
    pub(crate) filter: &'a TopicFilter,
    pub(crate) options: SubscriptionOptions,
    pub(crate) id: u32,
    pub(crate) only: Option<Arc<Permissions>>,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self {
            subscriptions: FilterTree::new(),
            groups: FilterTree::new(),
            group_members: 0,
            retained: Mutex::new(Retained::new()),
        }
    }

    /// Adds a Subscription, or replaces the session's own with the same filter, and returns the retained messages
    /// that it is to be sent. Both happen under the table's write lock: no publish comes between.
    pub(crate) fn subscribe(
        &mut self,
        session: &Arc<Session>,
        new: NewSubscription<'_>,
        now: Now,
    ) -> Vec<Message> {
        let options = new.options;
        let subscription = Subscription {
            session: session.clone(),
            only: new.only,
            id: new.id,
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
        };
        let only = subscription.only.clone();
        let filter = new.filter.topic_part();
        if let Some(share) = new.filter.share_name() {
            self.join(filter, share, subscription);
            return Vec::new();
        }
        let is_new = self.subscriptions.insert(filter, session.key, subscription).is_none();
        match options.retain_handling {
            RetainHandling::DoNotSend => Vec::new(),
            RetainHandling::SendIfNew if !is_new => Vec::new(),
            RetainHandling::Send | RetainHandling::SendIfNew => {
                self.retained_matching(filter, only.as_deref(), now)
            }
        }
    }

    /// Adds a Subscription that was loaded.
    pub(crate) fn restore(&mut self, session: &Arc<Session>, new: NewSubscription<'_>) {
        let options = SubscriptionOptions { retain_handling: RetainHandling::DoNotSend, ..new.options };
        self.subscribe(session, NewSubscription { options, ..new }, Now::default());
    }

    /// Removes a Subscription and tells whether it was there.
    pub(crate) fn unsubscribe(&mut self, key: SessionKey, filter: &TopicFilter) -> bool {
        match filter.share_name() {
            Some(share) => self.leave(filter.topic_part(), share, key),
            None => self.subscriptions.remove(filter.topic_part(), &key).is_some(),
        }
    }

    /// Sets what a session may receive through one of its Subscriptions.
    pub(crate) fn limit(&mut self, key: SessionKey, filter: &TopicFilter, only: Option<Arc<Permissions>>) {
        let topic = filter.topic_part();
        let subscription = match filter.share_name() {
            None => self.subscriptions.get_mut(topic, &key),
            Some(share) => {
                let group = self.groups.get_mut(topic, &ByteString::from(share));
                group.and_then(|group| group.members.iter_mut().find(|member| member.session.key == key))
            }
        };
        if let Some(subscription) = subscription {
            subscription.only = only;
        }
    }

    /// Returns how many Subscriptions there are, members of groups included.
    pub(crate) fn len(&self) -> usize {
        self.subscriptions.len() + self.group_members
    }

    fn retained_matching(&self, filter: &str, only: Option<&Permissions>, now: Now) -> Vec<Message> {
        let passes = |topic: &str| only.is_none_or(|only| only.may_receive(topic));
        self.retained.lock().matching(filter, now, passes)
    }

    fn join(&mut self, filter: &str, share: &str, subscription: Subscription) {
        let name = ByteString::from(share);
        if self.groups.get(filter, &name).is_none() {
            self.groups.insert(filter, name.clone(), Group::default());
        }
        let Some(group) = self.groups.get_mut(filter, &name) else { return };
        match group.members.iter_mut().find(|member| member.session.key == subscription.session.key) {
            Some(member) => *member = subscription,
            None => {
                group.members.push(subscription);
                self.group_members += 1;
            }
        }
    }

    fn leave(&mut self, filter: &str, share: &str, key: SessionKey) -> bool {
        let name = ByteString::from(share);
        let Some(group) = self.groups.get_mut(filter, &name) else { return false };
        let before = group.members.len();
        group.members.retain(|member| member.session.key != key);
        let has_left = group.members.len() < before;
        self.group_members -= usize::from(has_left);
        if group.members.is_empty() {
            self.groups.remove(filter, &name);
        }
        has_left
    }
}

impl Group {
    /// Notes that so many members were passed over: their turn is not given to the next one twice.
    pub(crate) fn pass_over(&self, members: usize) {
        if members != 0 {
            self.next.fetch_add(members, Relaxed);
        }
    }

    /// Returns the members in the order in which they are to be tried, beginning after the one tried last.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Subscription> + Clone {
        let start = self.next.fetch_add(1, Relaxed) % self.members.len().max(1);
        let (before, after) = self.members.split_at(start.min(self.members.len()));
        after.iter().chain(before)
    }
}
