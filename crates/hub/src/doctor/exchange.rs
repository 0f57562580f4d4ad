//! SUBSCRIBE, PUBLISH and the round trip: may this user do what the connector is for, and does it come back?

use std::time::Duration;

use crosspoint_protocol::packet::SubscriptionOptions;
use crosspoint_protocol::{QoS, ReasonCode, TopicFilter, TopicName, Version};
use tokio::time::Instant;

use super::Visit;
use super::admit::Admitted;
use super::line::{Line, Lost, Retain};
use super::report::{Chart, Stage};
use crate::diagnosis::{Diagnosis, Fault, of_publish, of_subscribe};

/// How long a message to ourselves may take; brokers that deliver do so within milliseconds.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(3);

/// The payload of the first round trip, which fits every broker.
const SMALL_BYTES: usize = 64;

/// Whether the doctor can use its own topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnTopics {
    /// It can.
    Usable,
    /// It cannot, or they were not to be used.
    Unusable,
}

impl Visit<'_> {
    /// Subscribes, publishes and waits for the message to come back.
    pub(super) async fn exchange(&self, chart: &mut Chart<'_>, admitted: &mut Admitted) -> OwnTopics {
        let topic = self.topic_of("round-trip");
        if !self.subscribe(chart, &mut admitted.line, &topic).await {
            return OwnTopics::Unusable;
        }
        let qos = admitted.connack.properties.maximum_qos.unwrap_or(QoS::AtLeastOnce).min(QoS::AtLeastOnce);
        let line = &mut admitted.line;
        let payload = payload(SMALL_BYTES);
        let sent = Instant::now();
        match line.publish(&topic, payload.clone(), qos, Retain::No).await {
            Ok(reason) if reason.is_error() => {
                self.note_on_access(chart);
                chart.found(Stage::Publish, Err(of_publish(topic.as_str(), reason)));
                return OwnTopics::Unusable;
            }
            Ok(_) => chart.found(Stage::Publish, Ok(format!("the broker takes a message to {topic}"))),
            Err(lost) => {
                self.note_on_access(chart);
                let diagnosis = lost.into_diagnosis(&self.patient.mqtt);
                chart.found(Stage::Publish, Err(diagnosis));
                return OwnTopics::Unusable;
            }
        };
        if !self.comes_back(chart, line, &topic, &payload, sent).await {
            return OwnTopics::Unusable;
        }
        if self.order.payload_bytes > SMALL_BYTES {
            self.size(chart, admitted, &topic, qos).await;
        }
        if self.order.topic.is_some() { OwnTopics::Unusable } else { OwnTopics::Usable }
    }

    /// Returns the topic that was given, or one of the doctor's own.
    pub(super) fn topic_of(&self, what: &str) -> TopicName {
        self.order.topic.clone().unwrap_or_else(|| self.own_topic(what))
    }

    /// Returns a topic of the doctor's own.
    #[expect(clippy::expect_used, reason = "a fixed text and letters and digits make a topic")]
    pub(super) fn own_topic(&self, what: &str) -> TopicName {
        let text = format!("crosspoint/doctor/{}/{what}", self.client_id);
        TopicName::parse(text).expect("a fixed text and letters and digits make a topic")
    }

    async fn subscribe(&self, chart: &mut Chart<'_>, line: &mut Line, topic: &TopicName) -> bool {
        let filter = filter_of(topic);
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        match line.subscribe(&filter, options, None).await {
            Ok(reason) if !reason.is_error() => {
                chart.found(Stage::Subscribe, Ok(format!("the broker takes a subscription to {topic}")));
                true
            }
            Ok(reason) => {
                self.note_on_access(chart);
                let mut diagnosis = of_subscribe(topic.as_str(), reason);
                if self.order.topic.is_none() {
                    diagnosis.next_step =
                        "name a topic that this user may use, with --topic, or let it use crosspoint/doctor/#".to_owned();
                }
                chart.found(Stage::Subscribe, Err(diagnosis));
                false
            }
            Err(lost) => {
                self.note_on_access(chart);
                chart.found(Stage::Subscribe, Err(lost.into_diagnosis(&self.patient.mqtt)));
                false
            }
        }
    }

    async fn comes_back(
        &self,
        chart: &mut Chart<'_>,
        line: &mut Line,
        topic: &TopicName,
        payload: &[u8],
        sent: Instant,
    ) -> bool {
        let until = Instant::now() + self.patience.min(ROUND_TRIP_MAX);
        match line.message_that(until, |message| message.payload == payload).await {
            Ok(Some(_)) => {
                let ms = sent.elapsed().as_secs_f64() * 1_000.0;
                chart.found(Stage::RoundTrip, Ok(format!("the message came back {ms:.1} ms later")))
            }
            Ok(None) => {
                self.note_on_access(chart);
                let diagnosis = self.why_nothing_came_back(line.version(), topic).await;
                chart.found(Stage::RoundTrip, Err(diagnosis))
            }
            Err(lost) => chart.found(Stage::RoundTrip, Err(lost.into_diagnosis(&self.patient.mqtt))),
        }
    }

    /// A broker of 3.1 and 3.1.1 cannot say that it refuses a message: the same is asked with MQTT 5, where it can.
    async fn why_nothing_came_back(&self, version: Version, topic: &TopicName) -> Diagnosis {
        if !version.is_v5()
            && let Some(diagnosis) = self.asked_in_v5(topic).await
        {
            return diagnosis;
        }
        let cause = format!(
            "the broker takes messages to {topic}, and does not deliver them to who subscribes to it"
        );
        let next_step = "let whoever runs the broker look at its access rules: this user is likely not allowed to write or to read it, and MQTT 3.1.1 cannot say so";
        Diagnosis::new(Fault::NothingCameBack, cause, next_step)
    }

    async fn asked_in_v5(&self, topic: &TopicName) -> Option<Diagnosis> {
        let mut admitted = self.connect(Version::V5).await.ok()?;
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
        let subscribed = admitted.line.subscribe(&filter_of(topic), options, None).await;
        let published =
            admitted.line.publish(topic, payload(SMALL_BYTES), QoS::AtLeastOnce, Retain::No).await;
        admitted.line.close().await;
        match (subscribed, published) {
            (Ok(reason), _) if reason.is_error() => Some(of_subscribe(topic.as_str(), reason)),
            (_, Ok(reason)) if reason.is_error() => {
                let diagnosis = of_publish(topic.as_str(), reason);
                let cause = format!(
                    "nothing came back from {topic}: the broker takes the message in MQTT 3.1.1 and drops it; asked in MQTT 5 it says {reason}"
                );
                Some(Diagnosis { cause, ..diagnosis })
            }
            _ => None,
        }
    }

    /// Sends a message as large as was asked for.
    async fn size(&self, chart: &mut Chart<'_>, admitted: &mut Admitted, topic: &TopicName, qos: QoS) {
        let bytes = self.order.payload_bytes;
        let packet_bytes = bytes + topic.as_bytes().len() + 10;
        if let Some(max) =
            admitted.connack.properties.maximum_packet_bytes.filter(|max| (*max as usize) < packet_bytes)
        {
            let cause =
                format!("a message of {bytes} bytes is too large: the broker takes packets of {max} bytes");
            chart.found(Stage::Size, Err(too_large(cause)));
            return;
        }
        let payload = payload(bytes);
        let line = &mut admitted.line;
        let sent = line.publish(topic, payload.clone(), qos, Retain::No).await;
        let until = Instant::now() + self.patience.min(ROUND_TRIP_MAX);
        let came = match sent {
            Ok(reason) if reason.is_error() => {
                chart.found(Stage::Size, Err(of_publish(topic.as_str(), reason)));
                return;
            }
            Ok(_) => line.message_that(until, |message| message.payload == payload).await,
            Err(lost) => Err(lost),
        };
        chart.found(
            Stage::Size,
            match came {
                Ok(Some(_)) => Ok(format!("a message of {bytes} bytes came back")),
                Ok(None) => Err(too_large(format!(
                    "a message of {bytes} bytes does not come back, one of {SMALL_BYTES} does: it is likely too large for the broker, which does not say so"
                ))),
                Err(Lost::Disconnected(said)) if said.reason != ReasonCode::PacketTooLarge => {
                    Err(Lost::Disconnected(said).into_diagnosis(&self.patient.mqtt))
                }
                Err(_) => Err(too_large(format!(
                    "the broker ends the connection at a message of {bytes} bytes, and takes one of {SMALL_BYTES}: it is too large for it"
                ))),
            },
        );
    }

    /// Access rules may look at the client identifier.
    fn note_on_access(&self, chart: &mut Chart<'_>) {
        chart.note(self.about_client_id());
    }
}

/// Returns the filter that a topic alone matches.
#[expect(clippy::expect_used, reason = "a topic name is a filter without wildcards")]
pub(super) fn filter_of(topic: &TopicName) -> TopicFilter {
    TopicFilter::parse(topic.as_str()).expect("a topic name is a filter without wildcards")
}

fn too_large(cause: String) -> Diagnosis {
    Diagnosis::new(
        Fault::PacketTooLarge,
        cause,
        "send smaller messages, or let whoever runs the broker raise its limit",
    )
}

/// Returns a payload that is known again when it comes back.
fn payload(bytes: usize) -> Vec<u8> {
    let mark = format!("crosspoint doctor {:016x} ", fastrand::u64(..));
    mark.into_bytes().into_iter().chain(std::iter::repeat(b'.')).take(bytes).collect()
}
