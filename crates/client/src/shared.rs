//! What the engine shares with the handles on it. Locks here are leaves: nothing is called and nothing awaited under
//! one.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::Duration,
};

use crosspoint_protocol::{
    Now, ReasonCode, TopicFilter,
    packet::{SubscribedFilter, UserProperties},
};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    BridgeBit, Password, ReauthenticateError, SubscriptionStatus,
    counters::Running,
    offers::{Decision, Offers},
    sending::Submission,
    store::Saved,
};

/// The reasons that the server gave, one a filter.
pub(crate) type Reasons = Vec<ReasonCode>;

/// What the engine shares with [`Client`](crate::Client), [`Deliveries`](crate::Deliveries), every
/// [`Ack`](crate::Ack) and every receipt of the store.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    /// Wakes the engine.
    wake: Notify,
    pub(crate) offers: Offers,
    pub(crate) counters: Running,
    subscriptions: Mutex<Vec<SubscriptionStatus>>,
    /// How many messages at QoS 1 and 2 may be in flight besides what the options say; 0 is no limit.
    in_flight_limit: AtomicU16,
    /// Whether CONNECT has the bridge bit where a server takes it.
    tries_bridge_bit: AtomicBool,
}

/// What was asked of the engine since its last turn.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) decisions: Vec<Decision>,
    pub(crate) saved: Vec<Saved>,
    pub(crate) requests: Vec<Request>,
    /// The cookies of publications that are to be taken back.
    pub(crate) withdrawn: Vec<u64>,
    /// The cookies of publications that were taken back and are not published again.
    pub(crate) given_up: Vec<u64>,
    pub(crate) close_within: Option<Duration>,
    /// What is published last, once it is to close.
    pub(crate) last: Option<Submission>,
    /// The engine has ended: nothing is taken any more.
    is_shut: bool,
}

/// A request that the server answers.
#[derive(Debug)]
pub(crate) enum Request {
    Subscribe(Vec<(SubscribedFilter, Option<u32>)>, UserProperties, oneshot::Sender<Reasons>),
    Unsubscribe(Vec<TopicFilter>, UserProperties, oneshot::Sender<Reasons>),
    /// Authenticate again, with this password.
    Reauthenticate(Password, oneshot::Sender<Reauthenticated>),
}

/// What came of authenticating again.
pub(crate) type Reauthenticated = Result<(), ReauthenticateError>;

impl Shared {
    pub(crate) fn decide(&self, decision: Decision) {
        self.post(|inbox| inbox.decisions.push(decision));
    }

    pub(crate) fn saved(&self, saved: Saved) {
        self.post(|inbox| inbox.saved.push(saved));
    }

    pub(crate) fn request(&self, request: Request) {
        self.post(|inbox| inbox.requests.push(request));
    }

    pub(crate) fn close(&self, within: Duration, last: Option<Submission>) {
        self.post(|inbox| {
            inbox.close_within = Some(inbox.close_within.map_or(within, |old| old.min(within)));
            inbox.last = last.or(inbox.last.take());
        });
    }

    pub(crate) fn withdraw(&self, cookie: u64) {
        self.post(|inbox| inbox.withdrawn.push(cookie));
    }

    pub(crate) fn give_up(&self, cookie: u64) {
        self.post(|inbox| inbox.given_up.push(cookie));
    }

    pub(crate) fn limit_in_flight(&self, limit: Option<u16>) {
        self.in_flight_limit.store(limit.unwrap_or(0), Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(crate) fn in_flight_limit(&self) -> Option<u16> {
        Some(self.in_flight_limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    pub(crate) fn set_bridge_bit(&self, bridge_bit: BridgeBit) {
        self.tries_bridge_bit.store(bridge_bit == BridgeBit::Try, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(crate) fn bridge_bit(&self) -> BridgeBit {
        if self.tries_bridge_bit.load(Ordering::Relaxed) { BridgeBit::Try } else { BridgeBit::Never }
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn take_inbox(&self) -> Inbox {
        let mut inbox = lock(&self.inbox);
        let is_shut = inbox.is_shut;
        std::mem::replace(&mut *inbox, Inbox { is_shut, ..Inbox::default() })
    }

    /// Ends everything that waits for the engine, now and later.
    pub(crate) fn shut(&self) {
        let waiting = std::mem::replace(&mut *lock(&self.inbox), Inbox { is_shut: true, ..Inbox::default() });
        drop(waiting);
        self.offers.close();
    }

    pub(crate) fn set_subscriptions(&self, statuses: Vec<SubscriptionStatus>) {
        *lock(&self.subscriptions) = statuses;
    }

    pub(crate) fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        lock(&self.subscriptions).clone()
    }

    fn post(&self, put: impl FnOnce(&mut Inbox)) {
        let mut inbox = lock(&self.inbox);
        if inbox.is_shut {
            return;
        }
        put(&mut inbox);
        drop(inbox);
        self.wake.notify_one();
    }
}

/// Keeps the engine running while a [`Client`](crate::Client) or [`Publisher`](crate::Publisher) holds it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) submissions: mpsc::Sender<Submission>,
    pub(crate) clock: Arc<dyn Fn() -> Now + Send + Sync>,
}

impl Handle {
    pub(crate) fn now(&self) -> Now {
        (self.clock)()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Locks, also after a panic of somebody else: what is behind these locks is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
