//! How a link is watched on which pings are answered and yet nothing flows.

use crosspoint_protocol::{
    QoS, TopicName,
    packet::{SubscribedFilter, SubscriptionOptions},
};

use super::ClientOptions;
use crate::{
    OptionsError,
    canary::{Canary, CanaryWatch},
};

impl ClientOptions {
    /// Sets how many milliseconds the server may acknowledge nothing while it has something to acknowledge: 1,000 to
    /// 3,600,000, or 0 for ever. Default: 30,000.
    ///
    /// The time counts from when the oldest unanswered PUBLISH, PUBREL, SUBSCRIBE or UNSUBSCRIBE of this connection has
    /// left for the network, or from the last answer if that is later. Then the connection ends with
    /// [`Cause::AckDeadline`](crate::Cause::AckDeadline), and on the next one what is unanswered is sent again. It should
    /// be longer than the largest message takes on its way.
    #[must_use]
    pub const fn ack_deadline_ms(mut self, ms: u64) -> Self {
        self.ack_deadline_ms = ms;
        self
    }

    /// Watches the link with a message of the client's own, every `interval_ms` milliseconds: 1,000 to 3,600,000.
    /// Default: no canary.
    ///
    /// The client subscribes to `topic` and publishes to it, both at QoS 0. When two messages in a row have not come back,
    /// each within an interval, the connection ends with [`Cause::CanaryLost`](crate::Cause::CanaryLost). Nothing is
    /// missed while reading pauses because the program does not take its deliveries, nor while the server does not grant
    /// the subscription.
    ///
    /// The topic is the client's own: what comes on it is never delivered, whatever else is subscribed. Other
    /// clients of the server that subscribe to it get the messages. It must not begin with `$`.
    #[must_use]
    pub fn canary(mut self, topic: TopicName, interval_ms: u64) -> Self {
        self.canary = Some(Canary { topic, interval_ms });
        self
    }

    pub(super) fn check_watch(&self) -> Result<(), OptionsError> {
        let interval_ms = self.canary.as_ref().map(|canary| canary.interval_ms);
        let ack_deadline_ms = (self.ack_deadline_ms != 0).then_some(self.ack_deadline_ms);
        for (setting, value) in [("ack_deadline_ms", ack_deadline_ms), ("canary interval_ms", interval_ms)] {
            let (min, max) = (1_000, 3_600_000);
            if let Some(value) = value
                && !(min..=max).contains(&value)
            {
                return Err(OptionsError::OutOfBounds { setting, value, min, max });
            }
        }
        match &self.canary {
            Some(canary) if canary.topic.is_reserved() => Err(OptionsError::CanaryTopic),
            _ => Ok(()),
        }
    }

    /// Makes the canary, if there is to be one, and adds its subscription to those that are made at once.
    pub(crate) fn take_canary(
        &mut self,
        random: &mut fastrand::Rng,
    ) -> Result<Option<CanaryWatch>, OptionsError> {
        let Some(canary) = self.canary.take() else { return Ok(None) };
        let watch = CanaryWatch::new(&canary, random.u64(..)).map_err(|_| OptionsError::CanaryTopic)?;
        let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..SubscriptionOptions::default() };
        self.subscriptions.push(SubscribedFilter { filter: watch.filter().clone(), options });
        Ok(Some(watch))
    }
}
