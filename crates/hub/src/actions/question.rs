//! A message that wants answers, and which messages are answers to it: pure.

use crosspoint_client::{Message, PublishPropertyValues, QoS, TopicFilter, TopicName, Version};
use crosspoint_protocol::{
    Now,
    packet::{PublishProperties, PublishProperty},
};

use crate::environment::Environment;

/// What goes before a response topic of our own.
const TOPIC_PREFIX: &str = "crosspoint/answer/";

/// A message that wants answers, as it is meant.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where it is published.
    pub topic: TopicName,
    /// What is asked.
    pub payload: Vec<u8>,
    /// At which QoS it is published, and its answers are subscribed.
    pub qos: QoS,
    /// Its properties (MQTT 5). A correlation that is missing is made up.
    pub properties: PublishPropertyValues,
    /// Where answers are awaited; `None`: on a topic of our own, which the question names (MQTT 5).
    pub response_topic: Option<TopicName>,
}

/// A question on its way: what is published, and what is awaited.
#[derive(Debug, Clone)]
pub struct Asking {
    /// What is subscribed to, before it is asked.
    pub filter: TopicFilter,
    /// What is published.
    pub message: Message,
    correlation: Option<Vec<u8>>,
}

/// Why something cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAskable {
    /// Before MQTT 5 a question cannot say where it wants its answer.
    #[error("the broker speaks MQTT {0}, in which a question cannot say where its answer goes")]
    NoResponseTopic(Version),
    /// A property cannot be sent.
    #[error("{0}")]
    Property(String),
}

impl Question {
    /// Takes a question from the message that asks it; `None` when that is for no topic that can be published to. An
    /// expiry counts from `now`.
    pub fn of_message(message: &Message, response_topic: Option<TopicName>, now: Now) -> Option<Self> {
        let left_ms = message.expires_wall_ms().map(|at| at.saturating_sub(now.wall_ms));
        let mut properties = PublishPropertyValues {
            message_expiry_s: left_ms.map(|left| u32::try_from(left.div_ceil(1_000)).unwrap_or(u32::MAX)),
            ..PublishPropertyValues::default()
        };
        for property in message.properties().iter() {
            match property {
                PublishProperty::PayloadFormatIndicator(is_utf8) => {
                    properties.payload_is_utf8 = Some(is_utf8)
                }
                PublishProperty::CorrelationData(data) => {
                    properties.correlation_data = Some(data.to_vec().into());
                }
                PublishProperty::ContentType(text) => properties.content_type = Some(text.into()),
                PublishProperty::UserProperty(name, value) => {
                    properties.user_properties.push((name.into(), value.into()));
                }
                // The response topic is said apart; the others are of one connection.
                _ => {}
            }
        }
        let (topic, payload) = (message.topic_name()?, message.payload().to_vec());
        Some(Self { topic, payload, qos: message.qos(), properties, response_topic })
    }

    /// Prepares it as [`prepare`](Self::prepare) does, with this machine's clock and randomness.
    ///
    /// # Errors
    /// As there.
    pub fn prepare_now(&self, version: Version) -> Result<Asking, NotAskable> {
        self.prepare(version, fastrand::u128(..), (Environment::real().now())())
    }

    /// Prepares it for a broker of a version. `random` makes what must be different each time; an expiry counts from `now`.
    ///
    /// With MQTT 5 the question bears response topic and correlation. Before, there is no place for them: whoever answers
    /// must know the response topic, and every message there is an answer.
    ///
    /// # Errors
    /// There is no response topic and the version cannot name one; or a property cannot be sent.
    pub fn prepare(&self, version: Version, random: u128, now: Now) -> Result<Asking, NotAskable> {
        let message = |properties: &PublishProperties| {
            Message::new(&self.topic, &self.payload, self.qos, false, properties, now)
        };
        if !version.is_v5() {
            let topic = self.response_topic.clone().ok_or(NotAskable::NoResponseTopic(version))?;
            let message = message(&PublishProperties::default());
            return Ok(Asking { filter: filter_of(topic.as_str())?, message, correlation: None });
        }
        let made_up = || format!("{TOPIC_PREFIX}{random:032x}");
        let topic = self.response_topic.as_ref().map_or_else(made_up, |topic| topic.as_str().to_owned());
        let mut properties = self.properties.clone();
        let correlation =
            properties.correlation_data.get_or_insert_with(|| random.to_be_bytes().to_vec().into()).to_vec();
        properties.response_topic = Some(topic.as_str().into());
        let properties = PublishProperties::from_values(&properties)
            .map_err(|error| NotAskable::Property(error.to_string()))?;
        Ok(Asking {
            filter: filter_of(&topic)?,
            message: message(&properties),
            correlation: Some(correlation),
        })
    }
}

/// A Topic Name is a filter that matches itself alone.
fn filter_of(topic: &str) -> Result<TopicFilter, NotAskable> {
    TopicFilter::parse(topic).map_err(|error| NotAskable::Property(error.to_string()))
}

impl Asking {
    /// Tells whether a message that came on the response topic is an answer: it is none when it is retained, or bears
    /// the correlation of another question. One without any correlation is taken for an answer.
    pub fn is_answered_by(&self, message: &Message) -> bool {
        if message.retain() {
            return false;
        }
        let Some(ours) = &self.correlation else { return true };
        let properties = message.properties();
        let theirs = properties.correlation_data().map(|theirs| theirs == ours.as_slice());
        theirs.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            topic: TopicName::parse("ask").unwrap(),
            payload: b"?".to_vec(),
            qos: QoS::AtLeastOnce,
            properties: PublishPropertyValues::default(),
            response_topic: None,
        }
    }

    fn answer(correlation: Option<&[u8]>, retain: bool) -> Message {
        let values = PublishPropertyValues {
            correlation_data: correlation.map(|bytes| bytes.to_vec().into()),
            ..PublishPropertyValues::default()
        };
        let properties = PublishProperties::from_values(&values).unwrap();
        Message::new(
            &TopicName::parse("a").unwrap(),
            b"!",
            QoS::AtMostOnce,
            retain,
            &properties,
            Now::default(),
        )
    }

    #[test]
    fn a_question_names_a_topic_of_its_own_and_takes_only_its_own_answers() {
        let (one, other) = (
            question().prepare(Version::V5, 1, Now::default()).unwrap(),
            question().prepare(Version::V5, 2, Now::default()).unwrap(),
        );
        assert_ne!(one.filter, other.filter);
        let ours = 1_u128.to_be_bytes();
        assert!(one.is_answered_by(&answer(Some(&ours), false)));
        assert!(!other.is_answered_by(&answer(Some(&ours), false)));
        assert!(one.is_answered_by(&answer(None, false)), "not everybody returns it");
        assert!(!one.is_answered_by(&answer(Some(&ours), true)), "that is an old one");
    }

    #[test]
    fn a_correlation_and_a_response_topic_that_are_given_stay() {
        let mut question = question();
        question.properties.correlation_data = Some(b"mine".to_vec().into());
        question.response_topic = Some(TopicName::parse("answers/here").unwrap());
        let asking = question.prepare(Version::V5, 1, Now::default()).unwrap();
        assert_eq!(asking.filter.to_string(), "answers/here");
        assert!(asking.is_answered_by(&answer(Some(b"mine"), false)));
        assert!(!asking.is_answered_by(&answer(Some(b"other"), false)));
    }

    #[test]
    fn before_mqtt_5_the_response_topic_must_be_known_to_both() {
        let mut question = question();
        let refused = question.prepare(Version::V3_1_1, 1, Now::default()).unwrap_err();
        assert_eq!(refused, NotAskable::NoResponseTopic(Version::V3_1_1));
        question.response_topic = Some(TopicName::parse("answers").unwrap());
        let asking = question.prepare(Version::V3_1_1, 1, Now::default()).unwrap();
        assert!(asking.is_answered_by(&answer(None, false)));
    }
}
