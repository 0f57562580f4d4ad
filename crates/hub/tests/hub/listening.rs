//! Who listens at run time on the connection that a connector has.

use crosspoint_client::{ReasonCode, SubscribedFilter, SubscriptionOptions};
use crosspoint_hub::actions::{Place, Subscribed};
use crosspoint_protocol::{QoS, TopicFilter};

use crate::support::*;

/// Two sites: numbers go from one of them to the other.
pub(crate) struct Sites {
    pub(crate) plant: Remote,
    pub(crate) cloud: Remote,
    pub(crate) running: Running,
}

impl Sites {
    pub(crate) async fn start(more: &str) -> Self {
        Self::with_flows(more, &numbers("plant", "cloud")).await
    }

    /// Starts them with flows that bring `in/n` to the cloud, where a retained message is waiting for them.
    pub(crate) async fn with_flows(more: &str, flows: &str) -> Self {
        let (plant, cloud) = (Remote::start().await, Remote::start().await);
        plant.publish("in/n", "0", QoS::AtLeastOnce, true);
        let running = Running::start(&project(&plant, &cloud, more, flows)).await;
        plant.subscribed(1).await;
        until(|| running.is_connected("cloud") && cloud.count() == 1).await;
        Self { plant, cloud, running }
    }

    async fn listen(&self, filter: &str) -> Subscribed {
        self.listen_at(&[filter], QoS::ExactlyOnce).await
    }

    pub(crate) async fn listen_at(&self, filters: &[&str], qos: QoS) -> Subscribed {
        self.listen_with(filters, SubscriptionOptions { qos, ..SubscriptionOptions::default() }).await
    }

    pub(crate) async fn listen_with(&self, filters: &[&str], options: SubscriptionOptions) -> Subscribed {
        let parse = |filter: &&str| TopicFilter::parse((*filter).to_owned()).unwrap();
        let filters = filters.iter().map(|filter| SubscribedFilter { filter: parse(filter), options });
        let actions = self.running.hub.actions();
        let subscribed = actions.subscribe(&plant(), filters.collect(), Vec::new(), WITHIN).await.unwrap();
        assert!(!subscribed.reasons()[0].is_error(), "{:?}", subscribed.reasons());
        subscribed
    }

    /// How many clients the broker of the plant has, besides those of the test itself.
    pub(crate) fn clients(&self) -> u64 {
        self.plant.broker().statistics().connections
    }
}

pub(crate) fn plant() -> Place {
    Place::Connector("plant".to_owned())
}

pub(crate) fn project(plant: &Remote, cloud: &Remote, more: &str, flows: &str) -> String {
    [&connector("plant", plant.port()), more, &connector("cloud", cloud.port()), flows].concat()
}

pub(crate) async fn next(subscribed: &mut Subscribed) -> (String, QoS, bool) {
    let arrived = soon(subscribed.next()).await.unwrap();
    let message = &arrived.message;
    let heard = (String::from_utf8_lossy(message.payload()).into_owned(), message.qos(), message.retain());
    arrived.accept();
    heard
}

pub(crate) fn heard(payload: &str, qos: QoS, retain: bool) -> (String, QoS, bool) {
    (payload.to_owned(), qos, retain)
}

#[tokio::test]
async fn one_connection_serves_flows_and_who_listens_and_flows_get_everything_once() {
    let sites = Sites::start("client_id = \"gateway\"\n").await;
    let mut narrow = sites.listen("in/+").await;
    assert_eq!(next(&mut narrow).await, heard("0", QoS::AtLeastOnce, true), "what is retained comes");
    let mut same = sites.listen("in/#").await;
    assert_eq!(same.subscribed_before(), [TopicFilter::parse("in/#").unwrap()]);
    let mut other = sites.listen("state/#").await;
    assert_eq!((narrow.apart(), same.apart(), other.apart()), (None, None, None));
    assert_eq!(sites.clients(), 1);

    assert!(sites.plant.publish("in/n", "1", QoS::AtLeastOnce, true));
    assert!(sites.plant.publish("in/n", "2", QoS::ExactlyOnce, false));
    assert!(sites.plant.publish("state/x", "3", QoS::AtMostOnce, false));
    for listener in [&mut narrow, &mut same] {
        assert_eq!(next(listener).await, heard("1", QoS::AtLeastOnce, false), "a live one is not retained");
        assert_eq!(next(listener).await, heard("2", QoS::ExactlyOnce, false));
    }
    assert_eq!(next(&mut other).await, heard("3", QoS::AtMostOnce, false));
    until(|| sites.cloud.count() >= 3).await;
    assert_eq!(sites.cloud.numbers(), [0, 1, 2], "what is retained is not sent on for who listens");
    assert!(sites.cloud.came()[1].3, "and flows see the retain flag as it was published");

    drop((narrow, other));
    sites.plant.subscribed(1).await;
    assert!(sites.plant.publish("in/n", "4", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut same).await.0, "4", "what a flow wants stays subscribed");
    drop(same);
    assert!(sites.plant.publish("in/n", "5", QoS::AtLeastOnce, false));
    until(|| sites.cloud.numbers() == [0, 1, 2, 4, 5]).await;
    assert!(sites.running.hub.audit().is_empty());
    assert_eq!(sites.running.hub.status()["plant"].known.drops, 0);
    sites.running.stop().await;
}

#[tokio::test]
async fn where_copies_cannot_be_told_apart_who_listens_gets_a_client_of_his_own() {
    // Since the flow reads what the connector says at its end, it is no bridge.
    let close = "close = { topic = \"in/n\", payload = \"9\" }\n";
    let sites = Sites::start(&format!("protocol = \"3.1.1\"\n{close}")).await;
    let mut apart = sites.listen("in/+").await;
    let why = apart.apart().unwrap_or_default().to_owned();
    assert!(why.contains("in/+") && why.contains("in/#"), "{why}");
    assert_eq!(sites.clients(), 2);
    assert_eq!(next(&mut apart).await, heard("0", QoS::AtLeastOnce, true));
    let mut shared = sites.listen("state").await;
    assert_eq!((shared.apart(), sites.clients()), (None, 2));
    assert!(sites.plant.publish("state", "1", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut shared).await.0, "1");
    assert!(sites.plant.publish("in/n", "2", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut apart).await.0, "2");
    until(|| sites.cloud.count() >= 2).await;
    assert_eq!(sites.cloud.numbers(), [0, 2]);
    soon(apart.close()).await;
    until(|| sites.clients() == 1).await;
    sites.running.stop().await;
}

#[tokio::test]
async fn beside_a_bridge_who_listens_to_more_than_flows_gets_a_client_of_his_own() {
    let sites = Sites::start("protocol = \"3.1.1\"\n").await;
    let same = sites.listen("in/#").await;
    assert_eq!((same.apart(), sites.clients()), (None, 1));
    let other = sites.listen("state").await;
    assert!(other.apart().is_some_and(|why| why.contains("for a bridge")), "{:?}", other.apart());
    assert_eq!(sites.clients(), 2);
    sites.running.stop().await;
}

#[tokio::test]
async fn who_does_not_read_holds_nobody_up_and_is_told_what_was_left_out() {
    let sites = Sites::start("").await;
    let mut slow = sites.listen("in/#").await;
    sites.plant.publish_numbers(1..3_000, QoS::AtLeastOnce);
    until(|| sites.cloud.count() == 3_000).await;
    let mut came = 0;
    while came < 1_024 {
        next(&mut slow).await;
        came += 1;
    }
    assert_eq!(slow.take_missed(), 2_999 - came);
    assert_eq!(slow.take_missed(), 0, "it is told once");
    assert!(sites.plant.publish("in/n", "3000", QoS::AtLeastOnce, false));
    assert_eq!(next(&mut slow).await.0, "3000");
    sites.running.stop().await;
}

#[tokio::test]
async fn who_listens_goes_on_while_flows_settings_and_brokers_change() {
    let mut sites = Sites::start("").await;
    let mut same = sites.listen("in/#").await;
    let mut other = sites.listen("state").await;
    let hears = async |sites: &Sites, same: &mut Subscribed, other: &mut Subscribed, payload: &str| {
        until(|| sites.running.is_connected("plant")).await;
        sites.plant.subscribed(2).await;
        sites.plant.publish("in/n", payload, QoS::AtLeastOnce, false);
        sites.plant.publish("state", payload, QoS::AtLeastOnce, false);
        // What is retained may come again with a new connection.
        while next(same).await.0 != payload {}
        assert_eq!(next(other).await.0, payload);
    };
    hears(&sites, &mut same, &mut other, "1").await;
    let without = project(&sites.plant, &sites.cloud, "", "");
    sites.running.apply(&without).await;
    hears(&sites, &mut same, &mut other, "2").await;
    let flows = numbers("plant", "cloud");
    sites.running.apply(&project(&sites.plant, &sites.cloud, "", &flows)).await;
    hears(&sites, &mut same, &mut other, "3").await;
    until(|| sites.cloud.numbers().ends_with(&[3])).await;
    assert!(!sites.cloud.numbers().contains(&2), "no flow was there then");
    sites.running.apply(&project(&sites.plant, &sites.cloud, "keep_alive_s = 55\n", &flows)).await;
    hears(&sites, &mut same, &mut other, "4").await;
    sites.plant.stop().await;
    until(|| !sites.running.is_connected("plant")).await;
    sites.plant.start_again().await;
    hears(&sites, &mut same, &mut other, "5").await;
    sites.running.apply(&connector("cloud", sites.cloud.port())).await;
    assert!(soon(same.next()).await.is_none(), "the connector is gone");
    assert_eq!(
        same.unsubscribe(vec![TopicFilter::parse("in/#").unwrap()]).await.unwrap(),
        [] as [ReasonCode; 0]
    );
    sites.running.stop().await;
}
