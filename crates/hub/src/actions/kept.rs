//! Subscriptions that are made at run time and kept.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{Client, Message, ReasonCode, TopicFilter};
use crosspoint_protocol::message::MessageParts;
use tokio::time::timeout;

use super::{ActionError, Actions};
use crate::config::plan::{ConnectorPlan, MqttPlan, SessionKind};
use crate::connector::Reach;
use crate::kept::{Kept, KeptSubscription, KeptSubscriptions, NotMade, NotRemoved, WhatWaits};
use crate::listeners::Asked;
use crate::outbox::{OutboxFigures, Reading};

/// What was made of a wish to keep a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Made {
    /// Whether it is new. Otherwise the same was kept already.
    pub is_new: bool,
    /// What the broker says to each filter, in the order of [`KeptSubscription::filters`].
    pub granted: Vec<Granted>,
    /// Whether the broker forgets us when the connection ends: then what is published while there is none is not seen.
    pub is_session_clean: bool,
}

/// A filter, and what the broker has said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// The filter.
    pub filter: TopicFilter,
    /// `None`: it is not granted. There is no connection, no answer yet, or it was refused before.
    pub reason: Option<ReasonCode>,
}

/// How a kept subscription stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KeptStatus {
    /// What it is.
    pub subscription: KeptSubscription,
    /// What the broker says to each of its filters now.
    pub granted: Vec<Granted>,
    /// Why nothing comes at the moment, if nothing does.
    pub trouble: Option<String>,
    /// What it has counted. `confirmed` is what was read.
    pub figures: OutboxFigures,
    /// When the oldest message that waits was accepted, in milliseconds since 1970.
    pub oldest_wall_ms: Option<u64>,
    /// Whether somebody reads it.
    pub is_read: bool,
    /// Whether what comes from the connector waits for room here.
    pub holds_up: bool,
}

/// Somebody who reads a kept subscription, until this is dropped. What he has not confirmed comes again to the next.
#[derive(Debug)]
pub struct KeptReading(Reading);

/// A message that has waited in a kept subscription.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct KeptMessage {
    /// The message, with the QoS and the retain flag with which it came.
    pub message: Message,
    /// Its position, for [`KeptReading::confirm`].
    pub position: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_wall_ms: u64,
}

impl Actions {
    /// Keeps a subscription: what comes on it from now on waits on disk until somebody reads it, also over restarts of the
    /// hub. It is on disk when this returns; what the broker says to it is waited for for at most `within`, and not while
    /// there is no connection. The same wish again changes nothing.
    ///
    /// What is retained comes once, at the beginning of the broker's subscription; not where a flow of the connector has
    /// subscribed the same topics before.
    ///
    /// # Errors
    /// It cannot be one, there is another one of its name, the connector is not there, or the broker refuses every filter:
    /// then nothing is kept.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it may be kept.
    pub async fn keep(&self, wanted: KeptSubscription, within: Duration) -> Result<Made, ActionError> {
        let kept = self.kept_here()?;
        let wanted = wanted.in_order();
        wanted.check().map_err(ActionError::NotKeepable)?;
        let line = self.line(&wanted.connector)?;
        if self.is_unwatched(&wanted.connector) {
            let connector = &wanted.connector;
            return Err(ActionError::NotKeepable(format!(
                "a dead connection of {connector} would not be noticed, with keep_alive_s = 0 in [connector.{connector}]"
            )));
        }
        let is_new = kept.make(&wanted).await.map_err(|why| not_made(&wanted.name, why))?;
        let mut answers = Vec::new();
        if let Some(Asked { filters, answer }) = is_new.then(|| line.wiring().rewire()).flatten()
            && matches!(line.reach(), Some(Reach::Remote(client)) if client.state().borrow().is_connected())
            && let Ok(Ok(reasons)) = timeout(within, answer).await
        {
            answers.extend(filters.into_iter().zip(reasons));
        }
        let mut granted = self.granted(&wanted);
        for Granted { filter, reason } in &mut granted {
            let answer = answers.iter().find(|(answered, _)| answered == filter);
            *reason = answer.map(|(_, answer)| *answer).or(*reason);
        }
        let is_refused = |granted: &Granted| granted.reason.is_some_and(|reason| reason.is_error());
        if let Some(first) = granted.first()
            && is_new
            && granted.iter().all(is_refused)
        {
            let reason = first.reason.map(|reason| reason.to_string()).unwrap_or_default();
            let cause = format!("the broker refuses the subscription to {}: {reason}", first.filter);
            self.remove_kept(&wanted.name, WhatWaits::IsDropped).await?;
            return Err(ActionError::Refused(cause));
        }
        let is_session_clean = self.is_session_clean(&wanted.connector);
        Ok(Made { is_new, granted, is_session_clean })
    }

    /// Returns every kept subscription and how it stands, in the order of their names.
    pub async fn kept(&self) -> Vec<KeptStatus> {
        let Ok(kept) = self.kept_here() else { return Vec::new() };
        let mut all = Vec::new();
        for one in kept.all() {
            all.push(self.kept_status(&one).await);
        }
        all
    }

    /// Begins to read a kept subscription, from the oldest message on that nobody has confirmed. One at a time may.
    ///
    /// # Errors
    /// There is none of this name, or somebody else reads it.
    ///
    /// # Cancel safety
    /// Dropped before it is done, nothing is left of it.
    pub async fn read_kept(&self, name: &str) -> Result<KeptReading, ActionError> {
        let kept = self.kept_named(name)?;
        let reading = kept.chair().sit().await;
        reading.map(KeptReading).ok_or_else(|| ActionError::KeptIsRead(name.to_owned()))
    }

    /// Removes a kept subscription; returns how many messages were dropped with it.
    ///
    /// # Errors
    /// There is none of this name, messages wait that are to stay, somebody reads it, or the store refuses.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it may be removed.
    pub async fn remove_kept(&self, name: &str, what_waits: WhatWaits) -> Result<u64, ActionError> {
        let lead_away = |definition: &KeptSubscription| {
            if let Ok(line) = self.line(&definition.connector) {
                drop(line.wiring().rewire());
            }
        };
        let removed = self.kept_here()?.remove(name, what_waits, lead_away).await;
        removed.map_err(|why| match why {
            NotRemoved::NotThere => self.no_such_kept(name),
            NotRemoved::Waiting(messages) => ActionError::KeptWaits { name: name.to_owned(), messages },
            NotRemoved::Read => ActionError::KeptIsRead(name.to_owned()),
            NotRemoved::Store(cause) => ActionError::Store(cause),
        })
    }

    fn kept_here(&self) -> Result<&KeptSubscriptions, ActionError> {
        self.kept.as_deref().ok_or_else(|| ActionError::Store("the hub has stopped".to_owned()))
    }

    fn kept_named(&self, name: &str) -> Result<Arc<Kept>, ActionError> {
        self.kept_here()?.named(name).ok_or_else(|| self.no_such_kept(name))
    }

    fn no_such_kept(&self, name: &str) -> ActionError {
        let all = self.kept_here().map(KeptSubscriptions::all).unwrap_or_default();
        let known = all.iter().map(|kept| kept.definition().name.clone()).collect();
        ActionError::NoSuchKept { name: name.to_owned(), known }
    }

    async fn kept_status(&self, kept: &Kept) -> KeptStatus {
        let (definition, outbox) = (kept.definition(), kept.outbox());
        let oldest = outbox.waiting(0, 1).await.ok();
        KeptStatus {
            subscription: definition.clone(),
            granted: self.granted(definition),
            trouble: self.kept_trouble(definition),
            figures: outbox.figures(),
            oldest_wall_ms: oldest.and_then(|first| Some(first.first()?.1.accepted_wall_ms)),
            is_read: kept.chair().is_taken(),
            holds_up: outbox.blocked_by().is_some(),
        }
    }

    /// Returns what the broker says to the filters of a subscription.
    fn granted(&self, definition: &KeptSubscription) -> Vec<Granted> {
        let reach = self.line(&definition.connector).ok().and_then(|line| line.reach());
        let reason = |filter: &TopicFilter| match &reach {
            Some(Reach::Local) => Some(ReasonCode::granted(definition.qos)),
            Some(Reach::Remote(client)) => said(client, filter),
            None => None,
        };
        definition
            .filters
            .iter()
            .map(|filter| Granted { filter: filter.clone(), reason: reason(filter) })
            .collect()
    }

    /// Returns why nothing comes to a subscription, if nothing does.
    fn kept_trouble(&self, definition: &KeptSubscription) -> Option<String> {
        let name = &definition.connector;
        let Ok(line) = self.line(name) else {
            return Some(format!("connector {name} is not in the project"));
        };
        match line.reach() {
            Some(Reach::Local) => None,
            Some(Reach::Remote(client)) if client.state().borrow().is_connected() => None,
            Some(Reach::Remote(_)) => Some(format!("connector {name} is not connected")),
            None => Some(format!("connector {name} is off")),
        }
    }

    fn is_session_clean(&self, connector: &str) -> bool {
        self.is_remote_with(connector, |mqtt| mqtt.session == SessionKind::Clean)
    }

    fn is_unwatched(&self, connector: &str) -> bool {
        self.is_remote_with(connector, |mqtt| mqtt.keep_alive.is_zero())
    }

    fn is_remote_with(&self, connector: &str, is_so: impl Fn(&MqttPlan) -> bool) -> bool {
        let board = self.board.lock();
        let plan = board.plan.connectors.get(connector);
        matches!(plan, Some(ConnectorPlan::Mqtt(mqtt)) if is_so(mqtt))
    }
}

impl KeptReading {
    /// Waits for the next message; `None` when no more can come, because the hub stops.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn next(&mut self) -> Option<KeptMessage> {
        let (position, item) = self.0.next().await?;
        let parts: MessageParts<'_> = item.message.parts();
        let message = Message::from_parts(&parts, item.qos, item.retain);
        Some(KeptMessage { message, position, accepted_wall_ms: item.accepted_wall_ms })
    }

    /// Says that this message and all before it are where they were to go: they do not come again, unless the hub dies within
    /// the next second.
    pub async fn confirm(&self, position: u64) {
        self.0.confirm(position).await;
    }
}

/// Returns what a server has said to a filter, on the connection that there is.
fn said(client: &Client, filter: &TopicFilter) -> Option<ReasonCode> {
    let known = client.subscriptions().into_iter().find(|status| status.filter == *filter)?;
    known.granted.filter(|_| client.state().borrow().is_connected())
}

fn not_made(name: &str, why: NotMade) -> ActionError {
    match why {
        NotMade::Different(known) => ActionError::KeptDiffers(known),
        NotMade::TooMany(count) => ActionError::NotKeepable(format!("{name} would be one more than {count}")),
        NotMade::Store(cause) => ActionError::Store(cause),
    }
}
