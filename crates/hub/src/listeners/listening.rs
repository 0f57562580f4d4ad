//! One who listens.

use std::sync::Arc;

use crosspoint_client::{
    Connected, ReasonCode, State, SubscribedFilter, TopicFilter, UserProperties, Version,
};

use super::ear::{self, Heard, Hearing};
use super::{Answer, Asked, Inner, Listener, Listeners};

/// Somebody who listens on a connector's own connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    listeners: Arc<Listeners>,
    number: u64,
    hearing: Hearing,
    version: Version,
}

/// Why nobody listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotListening {
    /// There is no connection.
    Off,
    /// It needs a connection of its own: why.
    Apart(String),
    /// The connection has ended meanwhile: what the client says about it.
    Ended(String),
}

/// What the broker said to the filters of a listener.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// To each, in their order.
    pub(crate) reasons: Vec<ReasonCode>,
    /// Those that were subscribed before: what is retained is not sent again for them.
    pub(crate) before: Vec<TopicFilter>,
}

impl Listeners {
    /// Begins to listen, to nothing yet.
    pub(crate) fn listen(
        self: &Arc<Self>,
        user_properties: UserProperties,
    ) -> Result<Listening, NotListening> {
        let inner = &mut *self.inner.lock();
        let version = inner.agreed().ok_or(NotListening::Off)?.version;
        let (ear, hearing) = ear::pair();
        inner.next += 1;
        let number = inner.next;
        inner.listeners.insert(number, Listener { filters: Vec::new(), user_properties, ear });
        Ok(Listening { listeners: self.clone(), number, hearing, version })
    }
}

impl Listening {
    /// Listens to more.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it may listen to these filters.
    pub(crate) async fn subscribe(&self, filters: Vec<SubscribedFilter>) -> Result<Said, NotListening> {
        let (asked, before) = self.listeners.inner.lock().add(self.number, &filters)?;
        let mut answers = Vec::new();
        for Asked { filters, answer } in asked {
            let reasons = answer.await.map_err(|error| NotListening::Ended(error.to_string()))?;
            answers.extend(filters.into_iter().zip(reasons));
        }
        let said = |wanted: &SubscribedFilter| {
            let answer = answers.iter().find(|(filter, _)| *filter == wanted.filter);
            answer.map_or_else(|| ReasonCode::granted(wanted.options.qos), |(_, reason)| *reason)
        };
        let reasons: Vec<ReasonCode> = filters.iter().map(said).collect();
        let refused = filters.iter().zip(&reasons).filter(|(_, reason)| reason.is_error());
        drop(self.forget(&refused.map(|(wanted, _)| wanted.filter.clone()).collect::<Vec<_>>()));
        Ok(Said { reasons, before })
    }

    /// Listens to these no more; tells of each whether it did. Waits until the broker has answered where nobody else
    /// wants them.
    pub(crate) async fn unsubscribe(&self, filters: &[TopicFilter]) -> Vec<ReasonCode> {
        let (was_there, given_up) = self.forget(filters);
        if let Some(answer) = given_up {
            // A client that has ended has no subscriptions either.
            answer.await.unwrap_or_default();
        }
        let said = |was_there| match was_there {
            true => ReasonCode::Success,
            false => ReasonCode::NoSubscriptionExisted,
        };
        was_there.into_iter().map(said).collect()
    }

    /// Waits for the next message; `None` when no more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub(crate) async fn heard(&mut self) -> Option<Heard> {
        self.hearing.next().await
    }

    /// Returns how many messages were left out since the last call, because too many waited.
    pub(crate) fn take_missed(&self) -> u64 {
        self.hearing.take_missed()
    }

    /// Returns the version that the broker speaks.
    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// Ends, and waits until the broker has answered.
    pub(crate) async fn close(self) {
        let all: Vec<TopicFilter> = {
            let inner = self.listeners.inner.lock();
            let filters = inner.listeners.get(&self.number).map(|listener| &listener.filters);
            filters.into_iter().flatten().map(|asked| asked.filter.clone()).collect()
        };
        self.unsubscribe(&all).await;
    }

    fn forget(&self, filters: &[TopicFilter]) -> (Vec<bool>, Option<Answer>) {
        let inner = &mut *self.listeners.inner.lock();
        let Some(listener) = inner.listeners.get_mut(&self.number) else { return (Vec::new(), None) };
        let is_there = |filter: &TopicFilter| listener.filters.iter().any(|asked| asked.filter == *filter);
        let was_there = filters.iter().map(is_there).collect();
        listener.filters.retain(|asked| !filters.contains(&asked.filter));
        (was_there, inner.settle().given_up)
    }
}

impl Inner {
    /// Adds what a listener wants; returns what is asked for, and what was subscribed before.
    fn add(
        &mut self,
        number: u64,
        filters: &[SubscribedFilter],
    ) -> Result<(Vec<Asked>, Vec<TopicFilter>), NotListening> {
        let agreed = self.agreed().ok_or(NotListening::Off)?;
        if let Some(why) = filters.iter().find_map(|asked| self.apart(asked, &agreed)) {
            return Err(NotListening::Apart(why));
        }
        let is_there =
            |filter: &TopicFilter| self.own.contains_key(filter) || self.flow_with(filter).is_some();
        let before = filters.iter().map(|asked| asked.filter.clone()).filter(is_there).collect();
        if let Some(listener) = self.listeners.get_mut(&number) {
            listener.filters.extend_from_slice(filters);
        }
        Ok((self.settle().asked, before))
    }

    /// Returns what was agreed upon with the broker, while there is a connection.
    fn agreed(&self) -> Option<Arc<Connected>> {
        match &*self.client.as_ref()?.state().borrow() {
            State::Connected(agreed) => Some(agreed.clone()),
            _ => None,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let inner = &mut *self.listeners.inner.lock();
        inner.listeners.remove(&self.number);
        drop(inner.settle());
    }
}
