//! Who listens at run time on a connector's own connection.
//!
//! ```text
//!   flows ──────┐                              ┌──► flows
//!               ├──► SUBSCRIBE      message ──►│
//!   listeners ──┘                              └──► listeners, when the batch with the message is durable
//! ```
//!
//! A filter is subscribed once for everybody who wants it, and for as long as somebody does. What listeners alone
//! have subscribed bears an identifier from [`CALLER_SUBSCRIPTION_IDS`] on, so that what is retained and sent for
//! them reaches no flow a second time.
//!
//! Invariant: a listener holds nobody up. What it does not take in time is left out, counted and told.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use crosspoint_client::{
    CALLER_SUBSCRIPTION_IDS, Client, Message, QoS, ReasonCode, SubscribeError, SubscribedFilter,
    SubscriptionOptions, TopicFilter, UserProperties,
};
use crosspoint_protocol::PacketId;
use parking_lot::Mutex;

mod apart;
mod ear;
mod listening;

use ear::Ear;
pub(crate) use ear::Heard;
pub(crate) use listening::{Listening, NotListening, Said};

/// How many identifiers there are for listeners.
const IDS: u32 = 268_435_455 - CALLER_SUBSCRIPTION_IDS;

/// A filter that flows want, the QoS at which they do, and whether our own messages are left out.
pub(crate) type Wanted = (TopicFilter, QoS, bool);

/// What one connector's connection subscribes to, and for whom.
///
/// Its lock is held while the client is asked, so that two changes reach the client in their order; nothing is awaited
/// under it.
#[derive(Default)]
pub(crate) struct Listeners {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The connection, while there is one.
    client: Option<Client>,
    /// What flows want there.
    flows: Vec<Wanted>,
    /// What is subscribed there for listeners alone.
    own: BTreeMap<TopicFilter, Own>,
    listeners: BTreeMap<u64, Listener>,
    next: u64,
    next_id: u32,
}

/// A subscription that only listeners want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own {
    id: u32,
    options: SubscriptionOptions,
}

struct Listener {
    filters: Vec<SubscribedFilter>,
    user_properties: UserProperties,
    ear: Ear,
}

/// A message that came, as the intake has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came<'a> {
    pub(crate) message: &'a Message,
    pub(crate) subscription_ids: &'a [u32],
    pub(crate) packet_id: Option<PacketId>,
}

/// A filter that is asked for, and the identifier of its subscription.
type Wish = (SubscribedFilter, Option<u32>);

/// What the broker says to a request.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Vec<ReasonCode>, SubscribeError>> + Send>>;

/// Filters that the broker was asked for, and what it says.
pub(crate) struct Asked {
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) answer: Answer,
}

/// What the broker was asked when the listeners changed.
struct Settled {
    asked: Vec<Asked>,
    given_up: Option<Answer>,
}

impl Came<'_> {
    /// Tells whether this is a retained message that the broker sends because somebody began to listen.
    pub(crate) fn is_for_listeners(&self) -> bool {
        let ids = self.subscription_ids;
        self.message.retain() && !ids.is_empty() && ids.iter().all(|id| *id >= CALLER_SUBSCRIPTION_IDS)
    }
}

impl Listeners {
    /// Takes a new connection, which knows already what flows want, and subscribes there for whoever listens.
    pub(crate) fn connect(&self, client: Client, flows: Vec<Wanted>) {
        let inner = &mut *self.inner.lock();
        inner.client = Some(client);
        inner.flows = flows;
        inner.own.clear();
        drop(inner.settle());
    }

    /// Forgets the connection. Whoever listens hears nothing until there is another one.
    pub(crate) fn disconnect(&self) {
        self.inner.lock().client = None;
    }

    /// Ends whatever listens: there will be no connection any more.
    pub(crate) fn end(&self) {
        let inner = &mut *self.inner.lock();
        inner.client = None;
        inner.listeners.clear();
    }

    /// Brings the connection to what flows want now; returns what the broker was asked for that.
    pub(crate) fn set_flows(&self, flows: Vec<Wanted>) -> Option<Asked> {
        let inner = &mut *self.inner.lock();
        let before = std::mem::replace(&mut inner.flows, flows);
        let new: Vec<SubscribedFilter> =
            inner.flows.iter().filter(|wanted| !before.contains(wanted)).map(of_flow).collect();
        let filters = new.iter().map(|wanted| wanted.filter.clone()).collect();
        let asked = inner.client.as_ref().filter(|_| !new.is_empty()).map(|client| {
            // The client says itself what the broker refuses, to whoever does not await it.
            Asked { filters, answer: Box::pin(client.subscribe(new)) }
        });
        drop(inner.settle());
        let gone = before.into_iter().map(|(filter, ..)| filter);
        drop(inner.unsubscribe(gone.collect()));
        asked
    }

    /// Hands messages to whoever listens to them.
    pub(crate) fn hand<'a>(&self, all: impl Iterator<Item = Came<'a>>) {
        let inner = &mut *self.inner.lock();
        if inner.listeners.is_empty() {
            return;
        }
        for came in all {
            for listener in inner.listeners.values() {
                let mut heard = listener.filters.iter().filter(|asked| inner.is_heard(&asked.filter, &came));
                if let Some(asked) = heard.next() {
                    listener.ear.hear(&came, asked.options.qos);
                }
            }
        }
    }
}

impl Inner {
    /// Asks for what listeners want and is not subscribed, or otherwise than it must be now, and gives up what nobody
    /// wants; returns what was asked for.
    fn settle(&mut self) -> Settled {
        let (desired, before) = (self.desired(), std::mem::take(&mut self.own));
        let mut new: Vec<(UserProperties, Vec<Wish>)> = Vec::new();
        for (filter, (options, said)) in desired {
            let known = before.get(&filter).copied();
            let id = known.map_or_else(|| self.next_id(), |known| known.id);
            let own = Own { id, options };
            self.own.insert(filter.clone(), own);
            if known == Some(own) {
                continue;
            }
            let wanted = (SubscribedFilter { filter, options }, Some(id));
            // Together, so that what is retained comes once where they overlap.
            match new.iter_mut().find(|(properties, _)| *properties == said) {
                Some((_, together)) => together.push(wanted),
                None => new.push((said, vec![wanted])),
            }
        }
        let asked = new.into_iter().filter_map(|(said, wanted)| self.ask(said, wanted)).collect();
        Settled { asked, given_up: self.unsubscribe(before.into_keys().collect()) }
    }

    fn ask(&self, said: UserProperties, wanted: Vec<Wish>) -> Option<Asked> {
        let filters = wanted.iter().map(|(wanted, _)| wanted.filter.clone()).collect();
        let answer = self.client.as_ref()?.subscribe_with(wanted, said);
        Some(Asked { filters, answer: Box::pin(answer) })
    }

    /// Gives up those of these filters that nobody wants any more.
    fn unsubscribe(&self, filters: Vec<TopicFilter>) -> Option<Answer> {
        let is_wanted =
            |filter: &TopicFilter| self.own.contains_key(filter) || self.flow_with(filter).is_some();
        let gone: Vec<TopicFilter> = filters.into_iter().filter(|filter| !is_wanted(filter)).collect();
        let client = self.client.as_ref().filter(|_| !gone.is_empty())?;
        Some(Box::pin(client.unsubscribe(gone)))
    }

    /// Returns what is to be subscribed for listeners alone.
    fn desired(&self) -> BTreeMap<TopicFilter, (SubscriptionOptions, UserProperties)> {
        let mut desired: BTreeMap<TopicFilter, (SubscriptionOptions, UserProperties)> = BTreeMap::new();
        for listener in self.listeners.values() {
            let alone = listener.filters.iter().filter(|asked| self.flow_with(&asked.filter).is_none());
            for SubscribedFilter { filter, options } in alone {
                let (merged, _) =
                    desired.entry(filter.clone()).or_insert((*options, listener.user_properties.clone()));
                merged.qos = merged.qos.max(options.qos);
            }
        }
        for (filter, (options, _)) in &mut desired {
            // The copies that flows want must be the better ones: those are the ones that count.
            let flows = self.flows.iter().filter(|(flow, ..)| flow.overlaps(filter));
            options.qos = flows.map(|(_, qos, _)| *qos).fold(options.qos, QoS::min);
        }
        desired
    }

    fn is_heard(&self, filter: &TopicFilter, came: &Came<'_>) -> bool {
        if came.is_for_listeners() {
            return self.own.get(filter).is_some_and(|own| came.subscription_ids.contains(&own.id));
        }
        filter.matches(came.message.topic())
    }

    fn flow_with(&self, filter: &TopicFilter) -> Option<&Wanted> {
        self.flows.iter().find(|(flow, ..)| flow == filter)
    }

    fn next_id(&mut self) -> u32 {
        self.next_id = (self.next_id + 1) % IDS;
        CALLER_SUBSCRIPTION_IDS + self.next_id
    }
}

/// Returns how a flow's filter is subscribed.
pub(crate) fn of_flow((filter, qos, no_local): &Wanted) -> SubscribedFilter {
    let options = SubscriptionOptions {
        qos: *qos,
        no_local: *no_local,
        retain_as_published: true,
        ..SubscriptionOptions::default()
    };
    SubscribedFilter { filter: filter.clone(), options }
}

#[cfg(test)]
impl Listeners {
    /// Returns listeners of whom one hears this filter, without a connection, and what waits for him.
    pub(crate) fn of_one(filter: TopicFilter) -> (std::sync::Arc<Self>, impl FnMut() -> Vec<Message>) {
        let (ear, mut hearing) = ear::pair();
        let asked = SubscribedFilter { filter, options: SubscriptionOptions::default() };
        let listener = Listener { filters: vec![asked], user_properties: UserProperties::new(), ear };
        let inner = Inner { listeners: BTreeMap::from([(1, listener)]), ..Inner::default() };
        let waiting = move || std::iter::from_fn(|| hearing.waiting().map(|heard| heard.message)).collect();
        (std::sync::Arc::new(Self { inner: Mutex::new(inner) }), waiting)
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("listening", &self.inner.lock().listeners.len())
            .finish_non_exhaustive()
    }
}
