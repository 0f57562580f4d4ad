//! Flows of the hub between brokers that others wrote.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails its test")]

use std::time::Duration;

use crosspoint_client::{Client, ClientOptions, Publication, QoS, SessionKeeping};
use crosspoint_hub::config::{Diagnostic, parse};
use crosspoint_hub::{DataDir, Hub};
use interop::{Mosquitto, Nats, OurClient, client_options, soon, within};
use tempfile::TempDir;
use tokio::sync::watch;

/// A hub with a data directory that goes when it goes.
struct Running {
    hub: Hub,
    _data: TempDir,
}

impl Running {
    async fn start(project: &str) -> Self {
        let (plan, _) = parse(project, "crosspoint.toml", None).unwrap_or_else(|findings| {
            panic!("{}", findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))
        });
        let data = tempfile::tempdir().unwrap();
        let hub = Hub::start(plan, DataDir::open(data.path().join("data")).unwrap()).await.unwrap();
        Self { hub, _data: data }
    }

    async fn stop(self) {
        soon("the hub to stop", self.hub.stop(Duration::from_secs(5))).await;
    }
}

/// Publishes until a message comes out at the other end: only then does the flow listen.
async fn until_it_flows(publisher: &OurClient, subscriber: &mut OurClient, topic: &str, qos: QoS) {
    soon("a message to come through the flow", async {
        loop {
            publisher.publish(topic, "probe", qos).await;
            if tokio::time::timeout(Duration::from_millis(200), subscriber.next()).await.is_ok() {
                return;
            }
        }
    })
    .await;
    // More than one probe may have been on its way: the last one has another name.
    publisher.publish(topic, "last probe", qos).await;
    while subscriber.next().await.1 != b"last probe" {}
}

/// A durable session of our client at QoS 2, so that the judge itself neither loses nor doubles anything.
fn durable(port: u16, id: &str) -> ClientOptions {
    client_options(port).client_id(id).session(SessionKeeping::Durable)
}

/// How many messages go through the flow.
const MESSAGES: usize = 100_000;

/// How many where some come again.
const MESSAGES_WITHOUT_A_LIMIT: usize = 20_000;

/// How far the publisher may be ahead of the subscriber: so it publishes while every restart happens, and the brokers
/// never have as many unfinished exchanges as they may have, which mosquitto does not survive (see [`Mosquitto`]).
const AHEAD_MAX: usize = 500;

/// How long all of them may take.
const FLOW_DEADLINE: Duration = Duration::from_secs(240);

/// Publishes the numbers from 0 and then `end`, in order, and waits until each is confirmed.
async fn publish_numbers(client: &Client, count: usize, mut received: watch::Receiver<usize>) {
    let (publisher, mut confirmations) = client.publisher();
    let sending = async move {
        for number in 0..=count {
            received.wait_for(|received| number < received + AHEAD_MAX).await.unwrap();
            let payload = if number < count { number.to_string() } else { "end".to_owned() };
            let publication = Publication::new("in/numbers", payload).unwrap().qos(QoS::ExactlyOnce);
            publisher.send(publication, number as u64).await.unwrap();
        }
    };
    let confirming = async {
        while let Some((number, result)) = confirmations.next().await {
            let receipt = result.unwrap();
            assert!(!receipt.may_be_duplicate, "the source lost the session of the publisher at {number}");
        }
    };
    tokio::join!(sending, confirming);
}

/// Reads the numbers and fails at the first that is not the next one.
async fn read_numbers(subscriber: &mut OurClient, received: watch::Sender<usize>) {
    for number in 0..MESSAGES {
        let (_, payload, qos) = subscriber.next().await;
        assert_eq!(String::from_utf8_lossy(&payload), number.to_string());
        assert_eq!(qos, QoS::ExactlyOnce);
        received.send_replace(number + 1);
    }
    // Nothing is left behind the last one.
    assert_eq!(subscriber.next().await.1, b"end");
}

/// Reads the numbers, passes over those that have come before, and fails when one is left out.
async fn read_first_arrivals(subscriber: &mut OurClient, received: watch::Sender<usize>) {
    let mut next = 0;
    while next < MESSAGES_WITHOUT_A_LIMIT {
        let payload = String::from_utf8(subscriber.next().await.1).unwrap();
        let number: usize = payload.parse().unwrap();
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
        received.send_replace(next);
    }
    while subscriber.next().await.1 != b"end" {}
}

/// Stops both brokers and starts them again, twice each, whenever another fifth has come through.
async fn restart_both(
    (from, to): (&mut Mosquitto, &mut Mosquitto),
    count: usize,
    mut received: watch::Receiver<usize>,
) {
    for step in 1..=4 {
        received.wait_for(|received| *received >= step * count / 5).await.unwrap();
        let broker = if step % 2 == 1 { &mut *from } else { &mut *to };
        broker.terminate().await;
        broker.run_again().await;
    }
}

/// A flow at QoS 2 between two brokers, and who publishes at one end and reads at the other.
struct Over {
    hub: Running,
    publisher: OurClient,
    subscriber: OurClient,
}

async fn flow_over(from: &Mosquitto, to: &Mosquitto) -> Over {
    let hub = Running::start(&format!(
        "[broker]\nenabled = false\n\
         [connector.a]\nurl = \"mqtt://127.0.0.1:{}\"\nreconnect_min_ms = 100\nreconnect_max_ms = 500\n\
         [connector.b]\nurl = \"mqtt://127.0.0.1:{}\"\nreconnect_min_ms = 100\nreconnect_max_ms = 500\n\
         [flow.over]\nfrom = {{ connector = \"a\", topics = [\"in/#\"], qos = 2 }}\n\
         to = [{{ connector = \"b\", topic = \"out/{{topic[1..]}}\" }}]\n",
        from.port(),
        to.port(),
    ))
    .await;
    let mut subscriber = OurClient::connect(durable(to.port(), "judge")).await;
    subscriber.subscribe("out/#", QoS::ExactlyOnce).await;
    let publisher = OurClient::connect(durable(from.port(), "publisher")).await;
    until_it_flows(&publisher, &mut subscriber, "in/probe", QoS::ExactlyOnce).await;
    Over { hub, publisher, subscriber }
}

#[tokio::test]
async fn a_hundred_thousand_messages_at_qos_2_survive_restarts_of_both_brokers() {
    let Some(mut from) = Mosquitto::start().await else { return };
    let Some(mut to) = Mosquitto::start().await else { return };
    let Over { hub, publisher, mut subscriber } = flow_over(&from, &to).await;
    let (received, watching) = watch::channel(0);
    within(FLOW_DEADLINE, "all messages", async {
        tokio::join!(
            publish_numbers(&publisher.client, MESSAGES, watching.clone()),
            read_numbers(&mut subscriber, received),
            restart_both((&mut from, &mut to), MESSAGES, watching),
        )
    })
    .await;
    hub.stop().await;
}

/// Where mosquitto itself sends messages again that were completed (`mosquitto_without_a_limit.rs`), what the hub can
/// keep is that none is lost and that they first arrive in their order.
#[tokio::test]
async fn without_a_limit_at_the_brokers_none_is_lost_and_first_arrivals_keep_their_order() {
    let Some(mut from) = Mosquitto::start_unlimited().await else { return };
    let Some(mut to) = Mosquitto::start_unlimited().await else { return };
    let Over { hub, publisher, mut subscriber } = flow_over(&from, &to).await;
    let (received, watching) = watch::channel(0);
    within(FLOW_DEADLINE, "all messages", async {
        tokio::join!(
            publish_numbers(&publisher.client, MESSAGES_WITHOUT_A_LIMIT, watching.clone()),
            read_first_arrivals(&mut subscriber, received),
            restart_both((&mut from, &mut to), MESSAGES_WITHOUT_A_LIMIT, watching),
        )
    })
    .await;
    hub.stop().await;
}

#[tokio::test]
async fn messages_flow_from_mosquitto_through_the_embedded_broker_to_nats() {
    const MESSAGES: usize = 1_000;
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let Some(nats) = Nats::start().await else { return };
    let hub = Running::start(&format!(
        "[broker.listener.main]\nbind = \"127.0.0.1:0\"\n\
         [connector.mosquitto]\nurl = \"mqtt://127.0.0.1:{}\"\n\
         [connector.nats]\nurl = \"mqtt://127.0.0.1:{}\"\n\
         [flow.in]\nfrom = {{ connector = \"mosquitto\", topics = [\"plant/#\"], qos = 1 }}\n\
         to = [{{ connector = \"broker\", topic = \"site/{{topic}}\" }}]\n\
         [flow.out]\nfrom = {{ connector = \"broker\", topics = [\"site/#\"], qos = 1 }}\n\
         to = [{{ connector = \"nats\", topic = \"{{topic[2..]}}\", qos = 1 }}]\n",
        mosquitto.port(),
        nats.port(),
    ))
    .await;
    let local = hub.hub.listening()[0].address.port();
    let mut device = OurClient::connect(client_options(local)).await;
    device.subscribe("site/#", QoS::AtLeastOnce).await;
    let mut far = OurClient::connect(client_options(nats.port())).await;
    // `#` would also get what NATS says to itself, under `$JS`: it does not keep wildcards from `$` topics.
    far.subscribe("line/#", QoS::AtLeastOnce).await;
    let publisher = OurClient::connect(client_options(mosquitto.port())).await;
    until_it_flows(&publisher, &mut far, "plant/line/probe", QoS::AtLeastOnce).await;
    while device.next().await.1 != b"last probe" {}

    for number in 0..MESSAGES {
        publisher.publish("plant/line/1", number.to_string(), QoS::AtLeastOnce).await;
    }
    for number in 0..MESSAGES {
        let payload = number.to_string().into_bytes();
        let expected = ("site/plant/line/1".to_owned(), payload.clone(), QoS::AtLeastOnce);
        assert_eq!(device.next().await, expected);
        assert_eq!(far.next().await, ("line/1".to_owned(), payload, QoS::AtLeastOnce));
    }
    hub.stop().await;
}
