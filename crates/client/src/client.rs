use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crosspoint_protocol::{
    ReasonCode, TopicFilter,
    packet::{SubscribedFilter, UserProperties},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    BridgeBit, ClientOptions, Confirmation, Confirmations, Counters, Deliveries, Engine, Environment,
    MemoryStore, OptionsError, Password, Publication, PublishError, PublishResult, Publisher,
    ReauthenticateError, SessionStore, State, SubscribeError, SubscriptionStatus, TryPublishError,
    publish::publisher,
    sending::{Reply, Submission},
    shared::{Handle, Reasons, Request, Shared, lock},
};

/// A handle on a client. Cheap to clone; all clones are the same client.
///
/// The client ends when it is closed, or when every `Client`, every [`Publisher`] and its [`Deliveries`] are dropped;
/// then it does not wait for what is in flight.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
    state: watch::Receiver<State>,
    /// The engine's task, where [`Client::start`] started it, until it is joined.
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What was left when a client closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Publications that were taken and not confirmed. They may have reached the server, or not.
    pub unconfirmed: usize,
    /// Deliveries at QoS 1 and 2 that were taken from [`Deliveries`] and not decided. The server keeps them, if the
    /// session is durable.
    pub undecided: usize,
}

impl Client {
    /// Starts a client in a task of its own on the current tokio runtime, and returns at once: it connects by itself.
    ///
    /// # Errors
    /// An option is out of bounds.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(options: ClientOptions) -> Result<(Self, Deliveries), OptionsError> {
        let (client, deliveries, engine) = Self::new(options, Box::new(MemoryStore), Environment::real())?;
        *lock(&client.task) = Some(tokio::spawn(engine.run()));
        Ok((client, deliveries))
    }

    /// Makes a client whose engine the caller runs, with a store, a clock, randomness and a transport of its own.
    ///
    /// Nothing happens until [`Engine::run`] is polled. Whoever spawns it joins it, after [`close`](Self::close).
    ///
    /// # Errors
    /// An option is out of bounds, or the store cannot be read.
    pub fn new(
        options: ClientOptions,
        store: Box<dyn SessionStore>,
        environment: Environment,
    ) -> Result<(Self, Deliveries, Engine), OptionsError> {
        options.check()?;
        let shared = Arc::new(Shared::default());
        shared.set_bridge_bit(options.bridge_bit);
        let (submissions, queue) = mpsc::channel(options.publish_queue_max);
        let clock = Arc::clone(&environment.clock);
        let (engine, state) = Engine::new(options, store, environment, Arc::clone(&shared), queue)?;
        let handle = Arc::new(Handle { shared: Arc::clone(&shared), submissions, clock });
        let client = Self { handle, state, task: Arc::new(Mutex::new(None)) };
        Ok((client, Deliveries::new(shared), engine))
    }

    /// Publishes a message and waits until the server has confirmed it: at QoS 0 that its bytes were handed to the
    /// system, at QoS 1 PUBACK, at QoS 2 PUBCOMP.
    ///
    /// Calls one after the other reach the wire in their order, and many may be on their way at once. A lost
    /// connection is no error: the message is sent again on the next one, as the session's rules say.
    ///
    /// # Errors
    /// The server refused it, could never take it, or the client was closed. See [`PublishError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take the publication back once it is in the queue.
    pub async fn publish(&self, publication: Publication) -> PublishResult {
        let (reply, outcome) = oneshot::channel();
        let submission = Submission::new(publication, self.handle.now(), Reply::Once(reply));
        self.handle.submissions.send(submission).await.map_err(|_| PublishError::Closed)?;
        Confirmation { outcome }.await
    }

    /// Publishes a message if the queue to the engine has room, and returns its outcome to be awaited.
    ///
    /// # Errors
    /// The queue is full, or the client is closed; the publication comes back.
    pub fn try_publish(&self, publication: Publication) -> Result<Confirmation, TryPublishError> {
        match self.handle.submissions.try_reserve() {
            Ok(permit) => {
                let (reply, outcome) = oneshot::channel();
                permit.send(Submission::new(publication, self.handle.now(), Reply::Once(reply)));
                Ok(Confirmation { outcome })
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(TryPublishError::Full(publication)),
            Err(mpsc::error::TrySendError::Closed(())) => Err(TryPublishError::Closed(publication)),
        }
    }

    /// Returns a way to publish many messages without a future each.
    pub fn publisher(&self) -> (Publisher, Confirmations) {
        publisher(Arc::clone(&self.handle))
    }

    /// Limits how many messages at QoS 1 and 2 may be in flight, besides what the options and the server allow: now, and
    /// for what is sent again on a new connection. `None` lifts the limit; so is the default.
    ///
    /// For whoever wants to find out which message ends the connection.
    pub fn limit_in_flight(&self, limit: Option<u16>) {
        self.handle.shared.limit_in_flight(limit);
    }

    /// Sets whether the bridge bit is tried, in the place of what the options say: at the next connection, or at once
    /// where it is in use and shall not be.
    pub fn set_bridge_bit(&self, bridge_bit: BridgeBit) {
        self.handle.shared.set_bridge_bit(bridge_bit);
    }

    /// Returns whether the bridge bit is tried.
    pub fn bridge_bit(&self) -> BridgeBit {
        self.handle.shared.bridge_bit()
    }

    /// Takes back what a [`Publisher`] sent with this cookie, if it has no outcome by the next time that there is no
    /// connection: it is not sent again, and its outcome is [`PublishError::Unconfirmed`].
    ///
    /// At QoS 2 the server may have the message, and knows it by its identifier alone: the exchange stays where it is, and
    /// goes on when the same message is sent with this cookie again. A message that is not to be sent again has to be
    /// [given up](Self::give_up), or its identifier stays in use.
    pub fn withdraw(&self, cookie: u64) {
        self.handle.shared.withdraw(cookie);
    }

    /// Gives up what was [taken back](Self::withdraw) with this cookie and not sent again: its exchange comes to its end
    /// without the message. Anything else is left as it is.
    pub fn give_up(&self, cookie: u64) {
        self.handle.shared.give_up(cookie);
    }

    /// Subscribes, and returns what the server says to each filter, in their order, to be awaited. It is asked at the
    /// call, in the order of the calls.
    ///
    /// Subscriptions are remembered and made again whenever the server has no session. One that the server refuses
    /// is forgotten. Filters that overlap are delivered once: with MQTT 5 by Subscription Identifiers; before, by not
    /// subscribing to what another filter covers. There, filters that cross without one covering the other give a
    /// message for each.
    ///
    /// A filter that is subscribed already is subscribed again, which makes the server send retained messages again.
    ///
    /// # Errors
    /// No filter was given, or the client was closed.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the request back.
    pub fn subscribe(
        &self,
        filters: Vec<SubscribedFilter>,
    ) -> impl Future<Output = Result<Vec<ReasonCode>, SubscribeError>> + Send + use<> {
        let filters = filters.into_iter().map(|wanted| (wanted, None)).collect();
        self.subscribe_with(filters, UserProperties::new())
    }

    /// Subscribes as [`subscribe`](Self::subscribe) does, with what SUBSCRIBE says besides its filters (MQTT 5): for each
    /// the Subscription Identifier, where the client is not to make one up, and User Properties.
    ///
    /// Those that the client makes up are below [`CALLER_SUBSCRIPTION_IDS`](crate::CALLER_SUBSCRIPTION_IDS). A message that
    /// several filters with the same identifier match may come once for each.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub fn subscribe_with(
        &self,
        filters: Vec<(SubscribedFilter, Option<u32>)>,
        user_properties: UserProperties,
    ) -> impl Future<Output = Result<Vec<ReasonCode>, SubscribeError>> + Send + use<> {
        let asked = self.ask(filters, |filters, reply| Request::Subscribe(filters, user_properties, reply));
        async { asked?.await.map_err(|_| SubscribeError::Closed) }
    }

    /// Unsubscribes, and returns what the server says to each filter, to be awaited; before MQTT 5 that is always
    /// "success". It is asked at the call.
    ///
    /// Until the answer is there, a message that several filters match may come twice.
    ///
    /// # Errors
    /// No filter was given, or the client was closed.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the request back.
    pub fn unsubscribe(
        &self,
        filters: Vec<TopicFilter>,
    ) -> impl Future<Output = Result<Vec<ReasonCode>, SubscribeError>> + Send + use<> {
        self.unsubscribe_with(filters, UserProperties::new())
    }

    /// Unsubscribes as [`unsubscribe`](Self::unsubscribe) does, with User Properties (MQTT 5).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub fn unsubscribe_with(
        &self,
        filters: Vec<TopicFilter>,
        user_properties: UserProperties,
    ) -> impl Future<Output = Result<Vec<ReasonCode>, SubscribeError>> + Send + use<> {
        let asked = self.ask(filters, |filters, reply| Request::Unsubscribe(filters, user_properties, reply));
        async { asked?.await.map_err(|_| SubscribeError::Closed) }
    }

    fn ask<T>(
        &self,
        filters: Vec<T>,
        request: impl FnOnce(Vec<T>, oneshot::Sender<Reasons>) -> Request,
    ) -> Result<oneshot::Receiver<Reasons>, SubscribeError> {
        if filters.is_empty() {
            return Err(SubscribeError::NoFilter);
        }
        let (reply, reasons) = oneshot::channel();
        self.handle.shared.request(request(filters, reply));
        Ok(reasons)
    }

    /// Authenticates again on the connection that there is, with another password of the same user, and waits until the
    /// server has said yes and proven itself. From then on the client uses this password; nothing is interrupted.
    ///
    /// A server that does not take the password ends the connection; then the client goes on with the old one.
    ///
    /// # Errors
    /// The client does not use [`Authentication::ScramSha256`](crate::Authentication::ScramSha256), is not connected, or
    /// the connection ended: see [`ReauthenticateError`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take the request back.
    pub async fn reauthenticate(&self, password: impl Into<Password>) -> Result<(), ReauthenticateError> {
        let (reply, outcome) = oneshot::channel();
        self.handle.shared.request(Request::Reauthenticate(password.into(), reply));
        outcome.await.unwrap_or(Err(ReauthenticateError::Closed))
    }

    /// Returns the subscriptions that the client wants, and what the server said to each.
    pub fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        self.handle.shared.subscriptions()
    }

    /// Returns what the client is doing, to look at and to watch.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until the client is connected; `false` when it has been closed instead.
    pub async fn connected(&self) -> bool {
        let mut state = self.state.clone();
        let reached =
            state.wait_for(|state| state.is_connected() || matches!(state, State::Stopped(_))).await;
        reached.is_ok_and(|state| state.is_connected())
    }

    /// Returns what the client has counted.
    pub fn counters(&self) -> Counters {
        self.handle.shared.counters.read()
    }

    /// Closes the client: takes no more publications and deliveries, lets what is in flight finish for at most
    /// `within`, says DISCONNECT, closes the stream and joins the engine's task.
    ///
    /// It takes at most a second longer than `within`. Called again, or from several places, the shortest time counts
    /// and all return the same.
    pub async fn close(&self, within: Duration) -> Left {
        self.handle.shared.close(within, None);
        self.closed().await
    }

    /// Publishes a last message behind everything that was taken before, then closes as [`close`](Self::close) does:
    /// the message has the same time to be confirmed. Without a connection it is not sent.
    ///
    /// Returns what was left, and how the last message went.
    pub async fn close_with(&self, last: Publication, within: Duration) -> (Left, PublishResult) {
        let (reply, outcome) = oneshot::channel();
        let last = Submission::new(last, self.handle.now(), Reply::Once(reply));
        self.handle.shared.close(within, Some(last));
        (self.closed().await, Confirmation { outcome }.await)
    }

    async fn closed(&self) -> Left {
        let mut state = self.state.clone();
        let left = match state.wait_for(|state| matches!(state, State::Stopped(_))).await.as_deref() {
            Ok(State::Stopped(left)) => *left,
            // The engine was dropped before it could say what was left.
            _ => Left::default(),
        };
        let task = lock(&self.task).take();
        if let Some(task) = task {
            // A panic in the engine has been reported by the runtime; there is nothing to add.
            drop(task.await);
        }
        left
    }
}
