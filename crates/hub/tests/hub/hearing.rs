//! What who listens at run time asks of the broker, what he hears of it, and what he leaves behind.

use std::sync::{Arc, Mutex};

use crosspoint_client::{
    Message, PublishPropertyValues, ReasonCode, SubscribedFilter, SubscriptionOptions, UserProperties,
};
use crosspoint_hub::actions::{ActionError, Place, Question};
use crosspoint_hub::config;
use crosspoint_protocol::packet::PublishProperties;
use crosspoint_protocol::{Now, QoS, TopicFilter, TopicName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::listening::{Sites, heard, next, plant, project};
use crate::support::*;

#[tokio::test]
async fn messages_come_at_no_higher_qos_than_each_has_asked_for() {
    let sites = Sites::start("").await;
    let mut low = sites.listen_at(&["in/#"], QoS::AtMostOnce).await;
    let mut first = sites.listen_at(&["state"], QoS::AtMostOnce).await;
    let mut second = sites.listen_at(&["state"], QoS::AtLeastOnce).await;
    assert_eq!(first.reasons(), [ReasonCode::granted(QoS::AtMostOnce)]);
    assert_eq!(second.reasons(), [ReasonCode::GrantedQoS1], "what is shared has the higher of both");
    assert!(sites.plant.publish("in/n", "1", QoS::ExactlyOnce, false));
    assert!(sites.plant.publish("state", "2", QoS::ExactlyOnce, false));
    assert_eq!(next(&mut low).await, heard("1", QoS::AtMostOnce, false));
    assert_eq!(next(&mut first).await, heard("2", QoS::AtMostOnce, false));
    assert_eq!(next(&mut second).await, heard("2", QoS::AtLeastOnce, false));
    sites.running.stop().await;
}

/// The copies that flows want must be the better ones, for of several the best one counts.
#[tokio::test]
async fn a_subscription_has_no_higher_qos_than_that_of_a_flow_that_it_overlaps() {
    let flow = "[flow.f]\nfrom = { connector = \"plant\", topics = \"in/#\", qos = 1 }\n\
                to = { connector = \"cloud\", topic = \"out/{topic[1..]}\" }\n";
    let sites = Sites::with_flows("", flow).await;
    let mut narrow = sites.listen_at(&["in/+"], QoS::ExactlyOnce).await;
    assert_eq!(narrow.reasons(), [ReasonCode::GrantedQoS1]);
    assert_eq!(next(&mut narrow).await, heard("0", QoS::AtLeastOnce, true));
    assert!(sites.plant.publish("in/n", "1", QoS::ExactlyOnce, false));
    assert_eq!(next(&mut narrow).await, heard("1", QoS::AtLeastOnce, false));
    assert!(sites.plant.publish("in/n", "2", QoS::ExactlyOnce, false));
    until(|| sites.cloud.numbers() == [0, 1, 2]).await;
    sites.running.stop().await;
}

#[tokio::test]
async fn filters_that_are_asked_for_together_bring_what_is_retained_once() {
    let sites = Sites::start("").await;
    sites.plant.publish("state/x", "kept", QoS::AtLeastOnce, true);
    let mut both = sites.listen_at(&["state/+", "state/#"], QoS::AtLeastOnce).await;
    assert_eq!(next(&mut both).await, heard("kept", QoS::AtLeastOnce, true));
    assert!(sites.plant.publish("state/x", "live", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut both).await, heard("live", QoS::AtLeastOnce, false));
    assert!(sites.plant.publish("state/x", "last", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut both).await.0, "last");
    sites.running.stop().await;
}

#[tokio::test]
async fn flows_that_come_and_go_on_one_connection_take_nothing_from_each_other_or_from_who_listens() {
    let settings = "session = \"durable\"\n";
    let mut sites = Sites::start(settings).await;
    let mut same = sites.listen_at(&["in/#"], QoS::AtLeastOnce).await;
    let flow = numbers("plant", "cloud");
    let more = format!(
        "{flow}[flow.more]\nfrom = {{ connector = \"plant\", topics = \"more/#\" }}\nto = {{ connector = \"cloud\" }}\n"
    );
    for (payload, flows, subscriptions) in [("1", more.as_str(), 2), ("2", "", 1), ("3", &flow, 1)] {
        let project = project(&sites.plant, &sites.cloud, settings, flows);
        sites.running.apply(&project).await;
        sites.plant.subscribed(subscriptions).await;
        assert!(sites.plant.publish("in/n", payload, QoS::AtLeastOnce, false));
        // What is retained comes when it is subscribed for who listens alone.
        while next(&mut same).await.0 != payload {}
    }
    until(|| sites.cloud.numbers().contains(&3)).await;
    let numbers = sites.cloud.numbers();
    assert!(numbers.contains(&1) && !numbers.contains(&2), "{numbers:?}");
    assert_eq!(sites.running.hub.status()["plant"].known.drops, 0, "all on one connection");
    sites.running.stop().await;
}

#[tokio::test]
async fn what_a_shared_connection_cannot_give_comes_to_a_client_beside_it() {
    let sites = Sites::start("client_id = \"gateway\"\n").await;
    let as_published = SubscriptionOptions { retain_as_published: true, ..SubscriptionOptions::default() };
    let mut exact = sites.listen_with(&["state"], as_published).await;
    assert!(exact.apart().unwrap_or_default().contains("options that hold for a client of its own"));
    assert!(sites.plant.publish("state", "1", QoS::AtLeastOnce, true));
    assert_eq!(next(&mut exact).await, heard("1", QoS::AtMostOnce, true), "the flag as it was published");
    let mut group = sites.listen_at(&["$share/g/in/#"], QoS::AtLeastOnce).await;
    let why = group.apart().unwrap_or_default().to_owned();
    assert!(why.contains("$share/g/in/#") && why.contains("cannot be told"), "{why}");
    assert!(sites.plant.publish("in/n", "2", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut group).await, heard("2", QoS::AtLeastOnce, false));
    until(|| sites.cloud.numbers() == [0, 2]).await;
    assert_eq!(sites.clients(), 3);
    assert_eq!(sites.running.hub.status()["plant"].known.drops, 0, "it has another client id");
    sites.running.stop().await;
}

/// Numbers go from a hub that allows one user a part of its topics.
#[tokio::test]
async fn who_is_refused_is_told_so_and_so_is_the_next_one() {
    let far = Running::start(
        "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n[broker.user.u]\npassword = \"p\"\nroles = [\"r\"]\n\
         [broker.role.r]\nallow = [\"both in/#\", \"publish ask\"]\n",
    )
    .await;
    let port = far.hub.listening()[0].address.port();
    let login = "username = \"u\"\npassword = \"p\"\n";
    let running = Running::start(&[&connector("plant", port), login].concat()).await;
    until(|| running.is_connected("plant")).await;
    let actions = running.hub.actions();
    for _ in 0..2 {
        let wanted = |text: &str| SubscribedFilter {
            filter: TopicFilter::parse(text.to_owned()).unwrap(),
            options: SubscriptionOptions::default(),
        };
        let filters = vec![wanted("secret/#"), wanted("in/n")];
        let said = actions.subscribe(&plant(), filters, Vec::new(), WITHIN).await.unwrap();
        assert_eq!(said.reasons(), [ReasonCode::NotAuthorized, ReasonCode::granted(QoS::AtMostOnce)]);
        assert_eq!(said.subscribed_before(), []);
        // Held for as long as the next one asks: it must not be told what this one was.
        let again = actions.subscribe(&plant(), vec![wanted("secret/#")], Vec::new(), WITHIN).await.unwrap();
        assert_eq!(again.reasons(), [ReasonCode::NotAuthorized]);
        soon(again.close()).await;
        soon(said.close()).await;
    }
    let question = Question {
        topic: TopicName::parse("ask").unwrap(),
        payload: b"?".to_vec(),
        qos: QoS::AtLeastOnce,
        properties: PublishPropertyValues::default(),
        response_topic: Some(TopicName::parse("answers").unwrap()),
    };
    let refused = actions.ask(&plant(), &question, WITHIN).await.unwrap_err();
    assert!(
        matches!(&refused, ActionError::Refused(why) if why.contains("subscription to answers")),
        "{refused}"
    );
    running.stop().await;
    far.stop().await;
}

/// With room for one the broker sends the next when the one before is acknowledged.
#[tokio::test]
async fn what_is_no_answer_is_acknowledged_all_the_same() {
    let remote = Remote::start().await;
    let running = Running::start("").await;
    let settings = format!("url = \"mqtt://127.0.0.1:{}\"\nreceive_maximum = 1\n", remote.port());
    let place = Place::Given(config::connection(&settings).unwrap());
    let question = Question {
        topic: TopicName::parse("ask").unwrap(),
        payload: b"?".to_vec(),
        qos: QoS::AtLeastOnce,
        properties: PublishPropertyValues::default(),
        response_topic: Some(TopicName::parse("answers").unwrap()),
    };
    let (mut asked, _) = running.hub.actions().ask(&place, &question, WITHIN).await.unwrap();
    assert_eq!(asked.reasons(), [ReasonCode::GrantedQoS1], "answers come as the question goes");
    let other = PublishPropertyValues {
        correlation_data: Some(b"of another question".to_vec().into()),
        ..PublishPropertyValues::default()
    };
    let other = PublishProperties::from_values(&other).unwrap();
    let topic = TopicName::parse("answers").unwrap();
    let message = Message::new(&topic, b"not this", QoS::AtLeastOnce, false, &other, Now::default());
    running.hub.actions().publish(&place, message, WITHIN).await.unwrap();
    assert!(remote.publish("answers", "this", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut asked).await.0, "this");
    running.stop().await;
}

/// What stands between a connector and its broker, and keeps what goes to the broker.
struct Wire {
    port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Wire {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (here, sent) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<u8>>>::default());
        let (mut tasks, kept) = (JoinSet::new(), sent.clone());
        tasks.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((hub, _)) = listener.accept().await {
                let broker = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((mut from_hub, mut to_hub), kept) = (hub.into_split(), kept.clone());
                let (mut from_broker, mut to_broker) = broker.into_split();
                all.spawn(async move { tokio::io::copy(&mut from_broker, &mut to_hub).await.map(drop) });
                all.spawn(async move {
                    let mut bytes = vec![0; 4_096];
                    while let Ok(length @ 1..) = from_hub.read(&mut bytes).await {
                        kept.lock().unwrap().extend_from_slice(&bytes[..length]);
                        to_broker.write_all(&bytes[..length]).await?;
                    }
                    Ok(())
                });
            }
        });
        Self { port: here, sent, _tasks: tasks }
    }

    /// Tells how often this was sent.
    fn count(&self, part: &[u8]) -> usize {
        self.sent.lock().unwrap().windows(part.len()).filter(|bytes| *bytes == part).count()
    }
}

#[tokio::test]
async fn user_properties_of_a_subscription_go_to_the_broker_on_either_way() {
    let remote = Remote::start().await;
    let wire = Wire::to(remote.port()).await;
    let running = Running::start(&connector("plant", wire.port)).await;
    until(|| running.is_connected("plant")).await;
    let said: UserProperties = vec![("who".into(), "the judge".into())];
    let on_wire = b"\x26\x00\x03who\x00\x09the judge";
    for (count, retain_as_published) in [(1, false), (2, true)] {
        let options = SubscriptionOptions { retain_as_published, ..SubscriptionOptions::default() };
        let filters = vec![SubscribedFilter { filter: TopicFilter::parse("state").unwrap(), options }];
        let asked = running.hub.actions().subscribe(&plant(), filters, said.clone(), WITHIN).await.unwrap();
        assert_eq!(asked.apart().is_some(), retain_as_published);
        assert_eq!(wire.count(on_wire), count);
        soon(asked.close()).await;
    }
    running.stop().await;
}
