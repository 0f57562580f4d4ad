use crosspoint_broker::{Broker, BrokerOptions, LocalOptions, Workers};
use crosspoint_client::TopicFilter;
use crosspoint_protocol::packet::SubscriptionOptions;
use tokio::task::JoinHandle;

use super::*;
use crate::outbox::{Backlog, MESSAGES_MAX, Target, outbox};
use crate::testing::{message, plan, soon};

/// An embedded broker, a device that publishes, and what a hub has of it.
struct Site {
    broker: Broker,
    device: LocalClient,
    hub: Arc<LocalClient>,
    returned: Arc<Returned>,
}

async fn site() -> Site {
    let broker =
        Broker::builder().options(BrokerOptions::default().workers(Workers::Here)).start().await.unwrap();
    let device = broker.connect_local(LocalOptions::new("device")).await.unwrap();
    let hub = Arc::new(broker.connect_local(LocalOptions::new("hub")).await.unwrap());
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    hub.subscribe(&TopicFilter::parse("in/#").unwrap(), options, 0);
    Site { broker, device, hub, returned: Arc::default() }
}

impl Site {
    fn publish(&self, numbers: std::ops::Range<usize>, qos: QoS) {
        for number in numbers {
            let message = message("in/x", number.to_string().as_bytes(), qos);
            assert!(self.device.publish_message(&message, qos, false).unwrap());
        }
    }

    fn intake(&self, routes: &watch::Sender<Arc<Routes>>) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let (stop, stopped) = oneshot::channel();
        let source = Source::Local(self.hub.clone(), self.returned.clone());
        (stop, tokio::spawn(run(source, routes.subscribe(), stopped)))
    }

    /// Sends an outbox on to a watcher and returns the first messages that come there.
    async fn pumped(&self, backlog: Backlog, count: usize) -> Vec<String> {
        let watcher = self.broker.connect_local(LocalOptions::new("watcher")).await.unwrap();
        let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
        watcher.subscribe(&TopicFilter::parse("out/#").unwrap(), options, 0);
        let sink = Arc::new(self.broker.connect_local(LocalOptions::new("sink")).await.unwrap());
        let (stop, stopped) = oneshot::channel();
        let pump = tokio::spawn(backlog.pump(Target::Local(sink), stopped));
        let mut payloads = Vec::new();
        while payloads.len() < count {
            let delivery = soon(watcher.next()).await.unwrap();
            payloads.push(String::from_utf8_lossy(delivery.message.payload()).into_owned());
        }
        stop.send(()).unwrap();
        soon(pump).await.unwrap();
        payloads
    }
}

/// Routes from `broker` to each of these outboxes.
fn routes(outboxes: &[(&str, &Outbox)]) -> watch::Sender<Arc<Routes>> {
    let sinks: Vec<String> = outboxes
        .iter()
        .map(|(name, _)| format!("{{ connector = \"{name}\", topic = \"out/{{topic[1..]}}\" }}"))
        .collect();
    let connectors: String =
        outboxes.iter().map(|(name, _)| format!("[connector.{name}]\nurl = \"mqtt://h\"\n")).collect();
    let text = format!(
        "{connectors}[flow.f]\nfrom = {{ connector = \"broker\", topics = \"in/#\", qos = 2 }}\nto = [{}]\n",
        sinks.join(", ")
    );
    let flows = Flows::of_plan(&plan(&text), "broker");
    let outboxes = outboxes.iter().map(|(name, outbox)| (Arc::from(*name), (*outbox).clone())).collect();
    watch::Sender::new(Arc::new(Routes { flows, outboxes }))
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

async fn until(is_so: impl Fn() -> bool) {
    soon(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn messages_keep_the_order_of_their_source() {
    let site = site().await;
    let (outbox, backlog) = outbox(&"a".into());
    let (_stop, _task) = site.intake(&routes(&[("a", &outbox)]));
    site.publish(0..2_000, QoS::AtLeastOnce);
    site.publish(2_000..2_500, QoS::ExactlyOnce);
    assert_eq!(site.pumped(backlog, 2_500).await, texts(0..2_500));
}

#[tokio::test]
async fn what_an_intake_holds_when_it_stops_comes_first_for_the_next_one() {
    let site = site().await;
    let (full, kept) = outbox(&"a".into());
    let to_full = routes(&[("a", &full)]);
    let (stop, task) = site.intake(&to_full);
    site.publish(0..MESSAGES_MAX + 10, QoS::AtLeastOnce);
    until(|| full.figures().accepted == MESSAGES_MAX as u64).await;
    // It holds one that has no place, and the broker holds the rest.
    stop.send(()).unwrap();
    soon(task).await.unwrap();
    drop(kept);

    let (outbox, backlog) = outbox(&"a".into());
    let (_stop, _task) = site.intake(&routes(&[("a", &outbox)]));
    assert_eq!(
        site.pumped(backlog, MESSAGES_MAX + 10).await,
        texts(0..MESSAGES_MAX + 10),
        "none lost, in order"
    );
}

#[tokio::test]
async fn a_full_sink_holds_the_source_up_and_messages_at_qos_0_are_dropped_and_counted() {
    let site = site().await;
    let (full, _kept) = outbox(&"a".into());
    let (_stop, _task) = site.intake(&routes(&[("a", &full)]));
    site.publish(0..MESSAGES_MAX, QoS::AtLeastOnce);
    until(|| full.figures().accepted == MESSAGES_MAX as u64).await;
    site.publish(0..100, QoS::AtMostOnce);
    until(|| full.figures().dropped_full == 100).await;
    assert_eq!(full.figures().waiting(), MESSAGES_MAX as u64);
}

#[tokio::test]
async fn a_flow_to_a_connector_that_is_gone_holds_nothing_up() {
    let site = site().await;
    let (outbox, backlog) = outbox(&"a".into());
    let routes = routes(&[("a", &outbox)]);
    let flows = Flows::of_plan(
        &plan(
            r#"
[connector.a]
url = "mqtt://a"
[connector.gone]
url = "mqtt://gone"
[flow.f]
from = { connector = "broker", topics = "in/#" }
to = [{ connector = "gone" }, { connector = "a", topic = "out/{topic}" }]
"#,
        ),
        "broker",
    );
    let outboxes = [(Arc::from("a"), outbox.clone())].into();
    routes.send_replace(Arc::new(Routes { flows, outboxes }));
    let (_stop, _task) = site.intake(&routes);
    site.publish(0..10, QoS::AtLeastOnce);
    assert_eq!(site.pumped(backlog, 10).await, texts(0..10));
    assert!(site.returned.take().is_none());
}
