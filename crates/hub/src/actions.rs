//! Publish, subscribe, unsubscribe and ask at run time, on a connector of a hub that runs or on a connection that is given
//! and never stored.
//!
//! ```text
//!   connector ──► its own client: its login, its client id, its session      (who listens there: `listeners`)
//!        └──────► what cannot share a connection: a client beside it, with another client id and a clean session
//!   given ──────► a client for this one action
//! ```
//!
//! On the embedded broker there is no socket.
//!
//! Invariant: nothing here outlives the one who asked, but what he asks to be kept; what is dropped has ended. What goes
//! through an outbox stands in `outbox`, what is kept in `kept`.

mod error;
mod kept;
mod question;
mod subscribed;
mod visit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crosspoint_broker::{LocalClient, LocalOptions, NotAccepted};
use crosspoint_client::{
    Client, Confirmation, Message, Publication, PublishError, ReasonCode, State, SubscribedFilter,
    SubscriptionOptions, TryPublishError, UserProperties,
};
use crosspoint_store::Batch;
use parking_lot::Mutex;

pub use error::ActionError;
pub use kept::{Granted, KeptMessage, KeptReading, KeptStatus, Made};
pub use question::{Asking, NotAskable, Question};
pub use subscribed::{Arrived, Subscribed};
pub(crate) use visit::of_stored;

use crate::config::plan::{ConnectorPlan, MqttPlan};
use crate::connector::{Line, Reach};
use crate::control::Board;
use crate::diagnosis;
use crate::environment::Environment;
use crate::kept::KeptSubscriptions;
pub use crate::kept::{KeptLimits, KeptSubscription, WhatWaits};
use visit::Visit;

/// How many messages of one action may be on their way to a broker at once.
const UNCONFIRMED_MAX: usize = 256;

/// What became of a message: what the broker said, or why it has not got it.
pub type Published = Result<ReasonCode, ActionError>;

/// Where an action takes place.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A connector of the project that runs.
    Connector(String),
    /// A connection that is made for this action alone, and stored nowhere: [`config::connection`](crate::config::connection)
    /// makes it of text.
    Given(Box<MqttPlan>),
}

/// What acts on the connectors of a hub, until the hub stops. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Actions {
    board: Arc<Mutex<Board>>,
    environment: Environment,
    /// Those of a hub that runs.
    kept: Option<Arc<KeptSubscriptions>>,
}

impl Actions {
    pub(crate) const fn new(
        board: Arc<Mutex<Board>>,
        environment: Environment,
        kept: Option<Arc<KeptSubscriptions>>,
    ) -> Self {
        Self { board, environment, kept }
    }

    /// Publishes a message, at its QoS and with its retain flag, and waits for at most `within` until the broker has
    /// confirmed it. Returns what the broker said: "no matching subscribers" is no error.
    ///
    /// It does not go through the outbox: a connector that is not connected takes nothing.
    ///
    /// # Errors
    /// The place cannot be reached, the broker refuses, or does not confirm in time; then the message may arrive all the
    /// same.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the message may have been published.
    pub async fn publish(
        &self,
        place: &Place,
        message: Message,
        within: Duration,
    ) -> Result<ReasonCode, ActionError> {
        let outcome = self.publish_all(place, vec![message], within).await?.pop();
        outcome.unwrap_or(Err(ActionError::NotInTime(within)))
    }

    /// Publishes messages in their order, up to 256 of them without waiting for those before, and returns what became of
    /// each as [`publish`](Self::publish) does. One that is refused holds up none behind it.
    ///
    /// # Errors
    /// The place cannot be reached, or has not answered to all of them in time; then some of them may arrive all the same.
    ///
    /// # Cancel safety
    /// Dropped before it is done, some messages may have been published.
    pub async fn publish_all(
        &self,
        place: &Place,
        messages: Vec<Message>,
        within: Duration,
    ) -> Result<Vec<Published>, ActionError> {
        let publishing = async {
            match place {
                Place::Connector(name) => match self.reach(name)? {
                    Reach::Remote(client) => {
                        self.connected(name, &client)?;
                        Ok(publish_remote(&client, messages).await)
                    }
                    Reach::Local => Ok(publish_local(&self.local().await?, &messages).await),
                },
                Place::Given(plan) => {
                    let environment = self.environment.of_visit();
                    let (visit, _deliveries) = Visit::begin((**plan).clone(), environment).await?;
                    let published = publish_remote(visit.client(), messages).await;
                    visit.end().await;
                    Ok(published)
                }
            }
        };
        timely(within, publishing).await
    }

    /// Subscribes, and waits for at most `within` until the broker has answered. What comes is for whoever holds the
    /// value, and ends with it. `user_properties` are said to the broker (MQTT 5).
    ///
    /// On a connector it is the connector's own connection that subscribes. Where that cannot be shared, it is a client
    /// beside it: [`Subscribed::apart`] tells why.
    ///
    /// # Errors
    /// The place cannot be reached, or does not answer in time. A filter that is refused is no error:
    /// [`Subscribed::reasons`] tells.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nothing is left of it.
    pub async fn subscribe(
        &self,
        place: &Place,
        filters: Vec<SubscribedFilter>,
        user_properties: UserProperties,
        within: Duration,
    ) -> Result<Subscribed, ActionError> {
        timely(within, async {
            let mut subscribed = self.open(place, user_properties).await?;
            self.to(place, &mut subscribed, filters).await?;
            Ok(subscribed)
        })
        .await
    }

    /// Asks, and returns what is awaited, where each [`Subscribed::next`] is an answer, and what the broker said to the
    /// question: "no matching subscribers" is no error.
    ///
    /// # Errors
    /// As for [`subscribe`](Self::subscribe) and [`publish`](Self::publish); the broker refuses the subscription to the
    /// answers; or the question is none for its version.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the question may have been asked.
    pub async fn ask(
        &self,
        place: &Place,
        question: &Question,
        within: Duration,
    ) -> Result<(Subscribed, ReasonCode), ActionError> {
        timely(within, async {
            let mut subscribed = self.open(place, UserProperties::new()).await?;
            let asking =
                question.prepare(subscribed.version(), fastrand::u128(..), (self.environment.now())())?;
            let options = SubscriptionOptions { qos: question.qos, ..SubscriptionOptions::default() };
            let filter = SubscribedFilter { filter: asking.filter.clone(), options };
            self.to(place, &mut subscribed, vec![filter]).await?;
            if let Some(reason) = subscribed.reasons().iter().find(|reason| reason.is_error()) {
                return Err(ActionError::Refused(format!(
                    "the broker refuses the subscription to {}: {reason}",
                    asking.filter
                )));
            }
            let reason = subscribed.publish(asking.message.clone()).await?;
            Ok((subscribed.only_answers_to(asking), reason))
        })
        .await
    }

    /// Opens a place to subscribe there, as near to the connector as can be.
    async fn open(&self, place: &Place, user_properties: UserProperties) -> Result<Subscribed, ActionError> {
        let name = match place {
            Place::Given(plan) => return self.visit((**plan).clone(), user_properties).await,
            Place::Connector(name) => name,
        };
        match self.reach(name)? {
            Reach::Local => Ok(Subscribed::of_local(self.local().await?)),
            Reach::Remote(client) => {
                self.connected(name, &client)?;
                let listening = self.line(name)?.listeners().listen(user_properties.clone());
                let listening = listening.map_err(|_| ActionError::Off(name.clone()))?;
                Ok(Subscribed::of_own(listening, client, user_properties))
            }
        }
    }

    /// Subscribes, beside the connector where its connection cannot be shared.
    async fn to(
        &self,
        place: &Place,
        subscribed: &mut Subscribed,
        filters: Vec<SubscribedFilter>,
    ) -> Result<(), ActionError> {
        match (subscribed.subscribe(filters.clone()).await, place) {
            (Err(ActionError::Apart(why)), Place::Connector(name)) => {
                let Some(plan) = self.plan(name)? else { return Err(ActionError::Apart(why)) };
                let visit = self.visit(of_stored(plan), subscribed.user_properties()).await?;
                *subscribed = visit.beside(why);
                subscribed.subscribe(filters).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn visit(
        &self,
        plan: MqttPlan,
        user_properties: UserProperties,
    ) -> Result<Subscribed, ActionError> {
        // Each draws lots of its own, so that two have different client ids.
        let environment = self.environment.of_visit();
        let (visit, deliveries) = Visit::begin(plan, environment).await?;
        Ok(Subscribed::of_visit(visit, deliveries, user_properties))
    }

    /// Checks that a connector is connected, or says why it is not.
    fn connected(&self, name: &str, client: &Client) -> Result<(), ActionError> {
        let state = client.state().borrow().clone();
        let cause = match state {
            State::Connected(_) => return Ok(()),
            State::BackingOff { cause, .. } | State::Refused { cause, .. } => cause,
            _ => return Err(ActionError::Off(name.to_owned())),
        };
        Err(match self.plan(name)? {
            Some(plan) => ActionError::not_connected(diagnosis::of_cause(&plan, &cause, None)),
            None => ActionError::Off(name.to_owned()),
        })
    }

    fn reach(&self, name: &str) -> Result<Reach, ActionError> {
        self.line(name)?.reach().ok_or_else(|| ActionError::Off(name.to_owned()))
    }

    fn line(&self, name: &str) -> Result<Arc<Line>, ActionError> {
        let board = self.board.lock();
        match board.lines.get(name) {
            Some(line) => Ok(line.clone()),
            None => Err(ActionError::no_such(name, board.lines.keys().map(|known| &**known))),
        }
    }

    /// Returns the settings of a connector that runs; `None` for the embedded broker.
    fn plan(&self, name: &str) -> Result<Option<MqttPlan>, ActionError> {
        self.reach(name)?;
        match self.board.lock().plan.connectors.get(name) {
            Some(ConnectorPlan::Mqtt(mqtt)) => Ok(Some((**mqtt).clone())),
            Some(ConnectorPlan::Local) => Ok(None),
            None => Err(ActionError::Off(name.to_owned())),
        }
    }

    async fn local(&self) -> Result<LocalClient, ActionError> {
        let broker = self.board.lock().broker.clone();
        let Some(broker) = broker else { return Err(ActionError::Off("broker".to_owned())) };
        let options = LocalOptions::new(format!("$action/{:016x}", fastrand::u64(..)));
        broker.connect_local(options).await.map_err(|error| ActionError::Refused(error.to_string()))
    }
}

async fn timely<T>(
    within: Duration,
    work: impl Future<Output = Result<T, ActionError>>,
) -> Result<T, ActionError> {
    tokio::time::timeout(within, work).await.unwrap_or(Err(ActionError::NotInTime(within)))
}

/// Publishes on a client's connection, which its outbox shares: so only so many are on their way at once.
async fn publish_remote(client: &Client, messages: Vec<Message>) -> Vec<Published> {
    let (mut waiting, mut outcomes) = (VecDeque::<Confirmation>::new(), Vec::with_capacity(messages.len()));
    for message in messages {
        if waiting.len() >= UNCONFIRMED_MAX
            && let Some(oldest) = waiting.pop_front()
        {
            outcomes.push(published(oldest.await));
        }
        match client.try_publish(Publication::of_message(message)) {
            Ok(confirmation) => waiting.push_back(confirmation),
            Err(TryPublishError::Full(publication) | TryPublishError::Closed(publication)) => {
                for before in waiting.drain(..) {
                    outcomes.push(published(before.await));
                }
                outcomes.push(published(client.publish(publication).await));
            }
            Err(error) => outcomes.push(Err(ActionError::Refused(error.to_string()))),
        }
    }
    for last in waiting {
        outcomes.push(published(last.await));
    }
    outcomes
}

fn published(outcome: crosspoint_client::PublishResult) -> Published {
    outcome
        .map(|receipt| receipt.reason)
        .map_err(|error: PublishError| ActionError::Refused(error.to_string()))
}

async fn publish_local(client: &LocalClient, messages: &[Message]) -> Vec<Published> {
    let publish = |one: &Message| client.publish_message_with(Batch::new(), one, one.qos(), one.retain());
    // Each is on its way before the first is on disk: one sync serves them all.
    let waiting: Vec<_> = messages.iter().map(publish).collect();
    let mut outcomes = Vec::with_capacity(waiting.len());
    for accepting in waiting {
        outcomes.push(match accepting.await {
            Ok(true) => Ok(ReasonCode::Success),
            Ok(false) => Ok(ReasonCode::NoMatchingSubscribers),
            Err(error) => Err(refused(&error)),
        });
    }
    outcomes
}

fn refused(error: &NotAccepted) -> ActionError {
    ActionError::Refused(error.to_string())
}
