//! Retained messages: kept, delivered to an exact filter, delivered to one with a wildcard.

use std::time::Duration;

use crosspoint_protocol::packet::SubscriptionOptions;
use crosspoint_protocol::{QoS, TopicFilter, TopicName};
use tokio::time::Instant;

use super::Visit;
use super::admit::Admitted;
use super::exchange::filter_of;
use super::line::{Line, Lost, Retain};
use super::report::{Chart, Stage};
use crate::diagnosis::{Diagnosis, Fault};

/// How long a retained message may take: brokers send them with or right behind SUBACK.
const RETAINED_MAX: Duration = Duration::from_secs(2);

impl Visit<'_> {
    /// Publishes a retained message, looks whether it comes to new subscribers, and removes it.
    pub(super) async fn retained(&self, chart: &mut Chart<'_>, admitted: &mut Admitted) {
        if admitted.connack.properties.retain_available == Some(false) {
            return;
        }
        let topic = self.own_topic("retained");
        let found = match self.keep(&mut admitted.line, &topic).await {
            Ok(payload) => self.try_retained(&mut admitted.line, &topic, &payload).await,
            Err(Lost::Closed | Lost::Disconnected(_) | Lost::Stream(_)) => Ok(Some(ends_at_retained())),
            Err(lost) => Err(lost),
        };
        // Whatever was found, nothing is left behind; on a connection that has ended there is nothing to remove with.
        drop(admitted.line.publish(&topic, "", QoS::AtMostOnce, Retain::Yes).await);
        match found {
            Ok(None) => {
                chart.found(
                    Stage::Retained,
                    Ok("kept, and delivered to exact and wildcard filters".to_owned()),
                );
            }
            Ok(Some(diagnosis)) => chart.warned(Stage::Retained, diagnosis.cause.clone(), vec![diagnosis]),
            Err(lost) => {
                let diagnosis = lost.into_diagnosis(&self.patient.mqtt);
                chart.warned(Stage::Retained, diagnosis.cause.clone(), vec![diagnosis]);
            }
        }
    }

    async fn keep(&self, line: &mut Line, topic: &TopicName) -> Result<String, Lost> {
        let payload = format!("{:016x}", fastrand::u64(..));
        line.publish(topic, payload.clone(), QoS::AtMostOnce, Retain::Yes).await?;
        // The answer to a ping says that the broker has read what came before it.
        line.ping().await?;
        Ok(payload)
    }

    async fn try_retained(
        &self,
        line: &mut Line,
        topic: &TopicName,
        payload: &str,
    ) -> Result<Option<Diagnosis>, Lost> {
        if !comes_to(line, &filter_of(topic), topic, payload).await? {
            return Ok(Some(Diagnosis::new(
                Fault::RetainedLost,
                "the broker does not keep a retained message: a new subscriber to its topic gets nothing",
                "turn retained messages on at the broker, or do not count on them: publish again in intervals",
            )));
        }
        for wildcard in ["+", "#"] {
            let filter = self.own_filter(wildcard);
            if !comes_to(line, &filter, topic, payload).await? {
                return Ok(Some(to_wildcards()));
            }
        }
        Ok(None)
    }

    #[expect(
        clippy::expect_used,
        reason = "a fixed text, letters and digits and a whole level make a filter"
    )]
    fn own_filter(&self, last: &str) -> TopicFilter {
        let text = format!("crosspoint/doctor/{}/{last}", self.client_id);
        TopicFilter::parse(text).expect("a fixed text, letters and digits and a whole level make a filter")
    }
}

/// Subscribes, and tells whether the retained message comes.
async fn comes_to(
    line: &mut Line,
    filter: &TopicFilter,
    topic: &TopicName,
    payload: &str,
) -> Result<bool, Lost> {
    let reason = line.subscribe(filter, SubscriptionOptions::default(), None).await?;
    if reason.is_error() {
        return Ok(false);
    }
    let until = Instant::now() + RETAINED_MAX;
    let is_it = |message: &crosspoint_protocol::packet::Publish| {
        message.topic.as_ref() == Some(topic) && message.payload == payload && message.retain
    };
    let came = line.message_that(until, is_it).await?.is_some();
    line.unsubscribe(filter).await?;
    Ok(came)
}

fn to_wildcards() -> Diagnosis {
    Diagnosis::new(
        Fault::RetainedNotToWildcards,
        "the broker keeps retained messages, and does not deliver them to filters with `+` or `#` (RabbitMQ is known for it)",
        "subscribe to the exact topics of what is retained, one by one, or let the devices publish in intervals",
    )
}

fn ends_at_retained() -> Diagnosis {
    Diagnosis::new(
        Fault::RetainedLost,
        "the broker ends the connection at a retained message: it keeps none",
        "turn retained messages on at the broker, or let nothing be retained",
    )
}
