//! What is published, subscribed and asked at run time: on connectors that run, and on connections that are given.

use std::time::Duration;

use crosspoint_client::{Message, PublishPropertyValues, ReasonCode, SubscribedFilter, SubscriptionOptions};
use crosspoint_hub::actions::{ActionError, Actions, Place, Question, Subscribed};
use crosspoint_hub::config;
use crosspoint_protocol::packet::PublishProperties;
use crosspoint_protocol::{Now, QoS, TopicFilter, TopicName};

use crate::support::*;

fn stored(name: &str) -> Place {
    Place::Connector(name.to_owned())
}

fn given(port: u16) -> Place {
    let settings = format!("url = \"mqtt://127.0.0.1:{port}\"\nclient_id = \"given\"\nsession = \"clean\"");
    Place::Given(config::connection(&settings).unwrap())
}

fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    let topic = TopicName::parse(topic).unwrap();
    Message::new(&topic, payload.as_bytes(), qos, false, &PublishProperties::default(), Now::default())
}

fn filters(texts: &[&str]) -> Vec<SubscribedFilter> {
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    let filter = |text: &&str| SubscribedFilter { filter: TopicFilter::parse(*text).unwrap(), options };
    texts.iter().map(filter).collect()
}

async fn publish(actions: &Actions, place: &Place, topic: &str, payload: &str) -> ReasonCode {
    actions.publish(place, message(topic, payload, QoS::AtLeastOnce), WITHIN).await.unwrap()
}

async fn next(subscribed: &mut Subscribed) -> (String, String) {
    let arrived = soon(subscribed.next()).await.unwrap();
    let (topic, payload) = (arrived.message.topic().to_owned(), arrived.message.payload().to_vec());
    arrived.accept();
    (topic, String::from_utf8(payload).unwrap())
}

fn came(topic: &str, payload: &str) -> (String, String) {
    (topic.to_owned(), payload.to_owned())
}

#[tokio::test]
async fn messages_go_and_come_on_each_kind_of_place() {
    let remote = Remote::start().await;
    let running = Running::start(&(connector("plant", remote.port()) + "client_id = \"gateway\"\n")).await;
    until(|| running.is_connected("plant")).await;
    let actions = running.hub.actions();
    for place in [stored("plant"), stored("broker"), given(remote.port())] {
        let other = if place == stored("broker") { stored("broker") } else { stored("plant") };
        let mut subscribed =
            actions.subscribe(&place, filters(&["t/#", "u"]), Vec::new(), WITHIN).await.unwrap();
        assert_eq!(subscribed.reasons(), [ReasonCode::GrantedQoS2; 2], "{place:?}");
        assert_eq!(publish(&actions, &other, "t/1", "one").await, ReasonCode::Success);
        assert_eq!(next(&mut subscribed).await, came("t/1", "one"));
        let gone = subscribed.unsubscribe(vec![TopicFilter::parse("t/#").unwrap()]).await.unwrap();
        assert_eq!(gone, [ReasonCode::Success]);
        assert_eq!(publish(&actions, &other, "t/2", "two").await, ReasonCode::NoMatchingSubscribers);
        subscribed.subscribe(filters(&["v"])).await.unwrap();
        publish(&actions, &other, "v", "three").await;
        assert_eq!(next(&mut subscribed).await, came("v", "three"), "{place:?}");
        soon(subscribed.close()).await;
        assert_eq!(
            publish(&actions, &other, "u", "x").await,
            ReasonCode::NoMatchingSubscribers,
            "it is gone"
        );
    }
    assert_eq!(publish(&actions, &given(remote.port()), "out/given", "x").await, ReasonCode::Success);
    until(|| remote.came().iter().any(|(topic, ..)| topic == "out/given")).await;
    assert_eq!(running.hub.status()["plant"].known.drops, 0, "nothing of this has ended its connection");
    running.stop().await;
}

#[tokio::test]
async fn what_is_dropped_has_ended_at_the_broker_too() {
    let remote = Remote::start().await;
    let running = Running::start(&connector("plant", remote.port())).await;
    until(|| running.is_connected("plant")).await;
    let actions = running.hub.actions();
    for place in [stored("plant"), stored("broker")] {
        let subscribed = actions.subscribe(&place, filters(&["t"]), Vec::new(), WITHIN).await.unwrap();
        assert_eq!(publish(&actions, &place, "t", "x").await, ReasonCode::Success);
        drop(subscribed);
        soon(async {
            while publish(&actions, &place, "t", "x").await != ReasonCode::NoMatchingSubscribers {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_question_gets_its_own_answer() {
    let remote = Remote::start().await;
    let running = Running::start(&connector("plant", remote.port())).await;
    until(|| running.is_connected("plant")).await;
    let actions = running.hub.actions();
    for place in [stored("plant"), stored("broker")] {
        let mut answering = actions.subscribe(&place, filters(&["ask"]), Vec::new(), WITHIN).await.unwrap();
        let question = |payload: &str| Question {
            topic: TopicName::parse("ask").unwrap(),
            payload: payload.as_bytes().to_vec(),
            qos: QoS::AtLeastOnce,
            properties: PublishPropertyValues::default(),
            response_topic: Some(TopicName::parse("answers").unwrap()),
        };
        let (mut first, _) = actions.ask(&place, &question("1"), WITHIN).await.unwrap();
        let (mut second, said) = actions.ask(&place, &question("2"), WITHIN).await.unwrap();
        assert_eq!(said, ReasonCode::Success);
        for _ in 0..2 {
            let asked = soon(answering.next()).await.unwrap();
            let properties = asked.message.properties();
            assert_eq!(properties.response_topic(), Some("answers"));
            let values = PublishPropertyValues {
                correlation_data: properties.correlation_data().map(|bytes| bytes.to_vec().into()),
                ..PublishPropertyValues::default()
            };
            let payload = [b"to ", asked.message.payload()].concat();
            let topic = TopicName::parse("answers").unwrap();
            let properties = PublishProperties::from_values(&values).unwrap();
            let answer = Message::new(&topic, &payload, QoS::AtLeastOnce, false, &properties, Now::default());
            asked.accept();
            actions.publish(&place, answer, WITHIN).await.unwrap();
        }
        // Both answers come to both; each takes its own.
        assert_eq!(next(&mut second).await, came("answers", "to 2"));
        assert_eq!(next(&mut first).await, came("answers", "to 1"));
    }
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_says_why_and_what_to_do() {
    let mut remote = Remote::start().await;
    let project = [connector("plant", remote.port()), connector("later", 1) + "enabled = false\n"].concat();
    let running = Running::start(&project).await;
    until(|| running.is_connected("plant")).await;
    let actions = running.hub.actions();
    let refused = async |place: Place| {
        let outcome = actions.publish(&place, message("t", "x", QoS::AtLeastOnce), WITHIN).await;
        let (published, subscribed) = (
            outcome.unwrap_err(),
            actions.subscribe(&place, filters(&["t"]), Vec::new(), WITHIN).await.unwrap_err(),
        );
        assert_eq!(
            std::mem::discriminant(&published),
            std::mem::discriminant(&subscribed),
            "{published} {subscribed}"
        );
        assert!(!published.mend().is_empty() && !subscribed.mend().is_empty());
        published
    };
    let unknown = refused(stored("plent")).await;
    assert!(unknown.mend().contains("plant"), "{}", unknown.mend());
    assert_eq!(refused(stored("later")).await, ActionError::Off("later".to_owned()));
    remote.stop().await;
    until(|| !running.is_connected("plant")).await;
    assert!(matches!(refused(stored("plant")).await, ActionError::NotConnected(_)));
    assert!(matches!(refused(given(remote.port())).await, ActionError::NotConnected(_)));
    assert!(config::connection("url = \"nonsense://x\"").is_err());
    running.stop().await;
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_waited_for_no_longer_than_is_said() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = Running::start("").await;
    let place = given(silent.local_addr().unwrap().port());
    let within = Duration::from_millis(50);
    let outcome = running.hub.actions().publish(&place, message("t", "x", QoS::AtLeastOnce), within).await;
    assert_eq!(outcome.unwrap_err(), ActionError::NotInTime(within));
    running.stop().await;
}
