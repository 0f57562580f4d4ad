//! Who listens at run time on a connector's own connection, where the broker is one that others wrote.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::time::Duration;

use crosspoint_client::{Publication, QoS, SubscribedFilter, SubscriptionOptions, TopicFilter};
use crosspoint_hub::actions::{Place, Question, Subscribed};
use crosspoint_hub::config::parse;
use crosspoint_hub::{DataDir, Hub};
use interop::{Mosquitto, OurClient, client_options, soon};

fn project(port: u16, version: &str) -> String {
    format!(
        "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n\
         [connector.far]\nurl = \"mqtt://127.0.0.1:{port}\"\nclient_id = \"gateway\"\nprotocol = \"{version}\"\n\
         [flow.in]\nfrom = {{ connector = \"far\", topics = [\"in/#\"], qos = 1 }}\n\
         to = {{ connector = \"broker\", topic = \"got/{{topic}}\" }}\n"
    )
}

async fn listen(hub: &Hub, filter: &str) -> Subscribed {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let filters = vec![SubscribedFilter { filter: TopicFilter::parse(filter).unwrap(), options }];
    let place = Place::Connector("far".to_owned());
    hub.actions().subscribe(&place, filters, Vec::new(), Duration::from_secs(30)).await.unwrap()
}

async fn next(subscribed: &mut Subscribed) -> (String, bool) {
    let arrived = soon("a message", subscribed.next()).await.unwrap();
    (String::from_utf8_lossy(arrived.message.payload()).into_owned(), arrived.message.retain())
}

/// How often a client with the connector's identifier, or one of the hub's making, has connected.
fn connects(mosquitto: &Mosquitto) -> usize {
    mosquitto.log().matches(" as gateway ").count()
}

#[tokio::test]
async fn mosquitto_sees_one_connect_and_flows_get_everything_once() {
    let Some(mosquitto) = Mosquitto::start_talking("allow_anonymous true", &[]).await else { return };
    let device = OurClient::connect(client_options(mosquitto.port())).await;
    let data = tempfile::tempdir().unwrap();
    let (plan, _) = parse(&project(mosquitto.port(), "5.0"), "crosspoint.toml", None).unwrap();
    let hub = Hub::start(plan, DataDir::open(data.path().join("data")).unwrap()).await.unwrap();
    let mut near = OurClient::connect(client_options(hub.listening()[0].address.port())).await;
    near.subscribe("got/#", QoS::AtLeastOnce).await;
    mosquitto.logged("Sending SUBACK to gateway").await;
    let before = mosquitto.log().matches("New client connected").count();
    let kept = Publication::new("in/state", "kept").unwrap().qos(QoS::AtLeastOnce).retain(true);
    soon("PUBACK", device.client.publish(kept)).await.unwrap();
    assert_eq!(near.next().await.1, b"kept");

    let mut same = listen(&hub, "in/#").await;
    let mut narrow = listen(&hub, "in/+").await;
    assert_eq!(next(&mut narrow).await, ("kept".to_owned(), true));
    let mut other = listen(&hub, "other").await;
    assert_eq!((same.apart(), narrow.apart(), other.apart()), (None, None, None));
    for number in 0..100 {
        device.publish("in/n", number.to_string(), QoS::AtLeastOnce).await;
    }
    for number in 0..100 {
        let live = (number.to_string(), false);
        assert_eq!((next(&mut same).await, next(&mut narrow).await), (live.clone(), live));
        assert_eq!(near.next().await.1, number.to_string().into_bytes(), "once, and in order");
    }
    device.publish("other", "x", QoS::AtLeastOnce).await;
    assert_eq!(next(&mut other).await.0, "x");
    let question = Question {
        topic: crosspoint_client::TopicName::parse("other").unwrap(),
        payload: b"?".to_vec(),
        qos: QoS::AtLeastOnce,
        properties: Default::default(),
        response_topic: None,
    };
    let place = Place::Connector("far".to_owned());
    let (asking, _) = hub.actions().ask(&place, &question, Duration::from_secs(30)).await.unwrap();
    assert_eq!(next(&mut other).await.0, "?");
    drop(asking);
    assert_eq!(connects(&mosquitto), 1, "{}", mosquitto.log());
    assert_eq!(mosquitto.log().matches("New client connected").count(), before, "nobody else has come");
    soon("the hub to stop", hub.stop(Duration::from_secs(5))).await;
}
