use crosspoint_broker::{Broker, BrokerOptions, LocalOptions, Workers};
use crosspoint_client::{QoS, TopicFilter};
use crosspoint_protocol::Now;
use crosspoint_protocol::packet::SubscriptionOptions;
use crosspoint_store::{Options, SimulatedDisk};
use tokio::task::JoinHandle;

use super::*;
use crate::config::plan::OutboxPlan;
use crate::durable::outbox_queue;
use crate::outbox::{self, Backlog, OutboxOptions, decode_entry};
use crate::testing::{message, plan, soon};

/// An embedded broker, a device that publishes, and what a hub has of it.
struct Site {
    device: LocalClient,
    hub: Arc<LocalClient>,
    storage: Storage,
    _broker: Broker,
}

async fn site_on(disk: SimulatedDisk) -> Site {
    let broker =
        Broker::builder().options(BrokerOptions::default().workers(Workers::Here)).start().await.unwrap();
    let device = broker.connect_local(LocalOptions::new("device")).await.unwrap();
    let hub = Arc::new(broker.connect_local(LocalOptions::new("hub")).await.unwrap());
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    hub.subscribe(&TopicFilter::parse("in/#").unwrap(), options, 0);
    let options = Options::default().room_bytes(0).reserve_bytes(1 << 16);
    let storage = Storage::of(Store::open(disk, options).unwrap());
    Site { device, hub, storage, _broker: broker }
}

async fn site() -> Site {
    site_on(SimulatedDisk::new()).await
}

fn clock() -> Clock {
    Arc::new(Now::default)
}

impl Site {
    fn publish(&self, numbers: std::ops::Range<usize>, qos: QoS) {
        for number in numbers {
            let message = message("in/x", number.to_string().as_bytes(), qos);
            assert!(self.device.publish_message(&message, qos, false).unwrap());
        }
    }

    fn intake(&self, routes: &watch::Sender<Arc<Routes>>) -> (oneshot::Sender<()>, JoinHandle<()>) {
        self.intake_heard_by(Arc::default(), routes)
    }

    fn intake_heard_by(
        &self,
        listeners: Arc<Listeners>,
        routes: &watch::Sender<Arc<Routes>>,
    ) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let (stop, stopped) = oneshot::channel();
        let surroundings = Surroundings { storage: self.storage.clone(), clock: clock() };
        let source = Source::Local(self.hub.clone());
        (stop, tokio::spawn(run(source, routes.subscribe(), listeners, surroundings, stopped)))
    }

    async fn sink(&self, number: u64, policy: OutboxPlan) -> (Sink, Backlog) {
        let store = self.storage.store().clone();
        let options =
            OutboxOptions { number, connector: "a".into(), policy: Arc::new(policy), clock: clock() };
        let (outbox, backlog) = outbox::open(store, options).await.unwrap();
        (Sink { number, outbox, durability: Durability::Synced, memory: None }, backlog)
    }

    async fn outbox(&self, number: u64) -> Vec<String> {
        payloads(self.storage.store(), number).await
    }
}

/// Returns what waits in an outbox.
async fn payloads(store: &Store, number: u64) -> Vec<String> {
    let mut queue = store.queue(outbox_queue(number));
    let mut payloads = Vec::new();
    loop {
        let waiting = queue.next(1_000).await.unwrap();
        if waiting.is_empty() {
            return payloads;
        }
        let items = waiting.iter().map(|waiting| decode_entry(waiting).unwrap());
        payloads.extend(items.map(|item| String::from_utf8_lossy(item.message.payload()).into_owned()));
    }
}

/// Routes from `broker` to each of these connectors, to a topic of one level more.
fn routes(sinks: &[(&str, &Sink)]) -> watch::Sender<Arc<Routes>> {
    routes_with(sinks, "out/{topic[1..]}")
}

fn routes_with(sinks: &[(&str, &Sink)], topic: &str) -> watch::Sender<Arc<Routes>> {
    let to: Vec<String> =
        sinks.iter().map(|(name, _)| format!("{{ connector = \"{name}\", topic = \"{topic}\" }}")).collect();
    let connectors: String =
        sinks.iter().map(|(name, _)| format!("[connector.{name}]\nurl = \"mqtt://h\"\n")).collect();
    let text = format!(
        "{connectors}[flow.f]\nfrom = {{ connector = \"broker\", topics = \"in/#\", qos = 2 }}\nto = [{}]\n",
        to.join(", ")
    );
    let flows = Flows::of_plan(&plan(&text), "broker");
    let sinks = sinks.iter().map(|(name, sink)| (Arc::from(*name), (*sink).clone())).collect();
    watch::Sender::new(Arc::new(Routes { flows: Arc::new(flows), sinks, kept: Vec::new() }))
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
    let (sink, _backlog) = site.sink(1, OutboxPlan::default()).await;
    let (_stop, _task) = site.intake(&routes(&[("a", &sink)]));
    site.publish(0..2_000, QoS::AtLeastOnce);
    site.publish(2_000..2_500, QoS::ExactlyOnce);
    until(|| sink.outbox.figures().accepted == 2_500).await;
    assert_eq!(site.outbox(1).await, texts(0..2_500));
    assert!(site.storage.store().stats().batches < 100, "many messages share a batch");
}

#[tokio::test]
async fn a_message_is_in_every_outbox_or_in_none_whenever_the_power_goes() {
    for sync in 1..12 {
        let disk = SimulatedDisk::new();
        let site = site_on(disk.clone()).await;
        let (a, _a) = site.sink(1, OutboxPlan::default()).await;
        let (b, _b) = site.sink(2, OutboxPlan::default()).await;
        let (_stop, task) = site.intake(&routes(&[("a", &a), ("b", &b)]));
        disk.cut_power_at_sync(sync);
        let mut published = 0;
        while !task.is_finished() {
            site.publish(published..published + 10, QoS::AtLeastOnce);
            published += 10;
            tokio::task::yield_now().await;
        }
        let accepted = a.outbox.figures().accepted;
        let after = Store::open(disk.after_power_cut(sync), Options::default()).unwrap();
        let (in_a, in_b) = (payloads(&after, 1).await, payloads(&after, 2).await);
        assert_eq!(in_a, in_b);
        assert_eq!(in_a, texts(0..in_a.len()));
        assert!(in_a.len() as u64 >= accepted, "{accepted} were accepted, {} are there", in_a.len());
    }
}

#[tokio::test]
async fn an_intake_ends_and_says_why_when_the_store_is_out_of_order() {
    let disk = SimulatedDisk::new();
    let site = site_on(disk.clone()).await;
    let (sink, _backlog) = site.sink(1, OutboxPlan::default()).await;
    let (_stop, task) = site.intake(&routes(&[("a", &sink)]));
    disk.fail_from(0);
    site.publish(0..1, QoS::AtLeastOnce);
    soon(task).await.unwrap();
    soon(site.storage.failed()).await;
    assert_eq!((sink.outbox.figures().accepted, sink.outbox.figures().waiting()), (0, 0));
}

#[tokio::test]
async fn on_a_full_disk_messages_wait_and_go_on_in_their_order() {
    let disk = SimulatedDisk::new();
    let site = site_on(disk.clone()).await;
    let (sink, _backlog) = site.sink(1, OutboxPlan::default()).await;
    let (_stop, _task) = site.intake(&routes(&[("a", &sink)]));
    site.publish(0..10, QoS::AtLeastOnce);
    until(|| sink.outbox.figures().accepted == 10).await;
    disk.set_bytes_max(Some(0));
    site.publish(10..100, QoS::AtLeastOnce);
    until(|| site.storage.is_full()).await;
    site.publish(100..200, QoS::AtLeastOnce);
    assert_eq!(sink.outbox.figures().accepted, 10);
    disk.set_bytes_max(None);
    until(|| sink.outbox.figures().accepted == 200).await;
    assert_eq!(site.outbox(1).await, texts(0..200));
}

#[tokio::test]
async fn who_listens_hears_a_message_when_it_is_on_the_disk_and_once() {
    let disk = SimulatedDisk::new();
    let site = site_on(disk.clone()).await;
    let (sink, _backlog) = site.sink(1, OutboxPlan::default()).await;
    let (listeners, mut heard) = Listeners::of_one(TopicFilter::parse("in/#").unwrap());
    let (_stop, _task) = site.intake_heard_by(listeners, &routes(&[("a", &sink)]));
    site.publish(0..1, QoS::AtLeastOnce);
    until(|| sink.outbox.figures().accepted == 1).await;
    assert_eq!(heard().len(), 1);
    disk.set_bytes_max(Some(0));
    site.publish(1..50, QoS::AtLeastOnce);
    until(|| site.storage.is_full()).await;
    assert_eq!(heard().len(), 0, "the disk has not taken it");
    disk.set_bytes_max(None);
    until(|| sink.outbox.figures().accepted == 50).await;
    assert_eq!(heard().len(), 49);
}

#[tokio::test]
async fn a_full_sink_holds_the_source_up_and_messages_at_qos_0_are_dropped_and_counted() {
    let site = site().await;
    let (full, _kept) = site.sink(1, OutboxPlan { messages_max: 50, ..OutboxPlan::default() }).await;
    let (_stop, _task) = site.intake(&routes(&[("a", &full)]));
    site.publish(0..50, QoS::AtLeastOnce);
    until(|| full.outbox.figures().accepted == 50).await;
    site.publish(0..100, QoS::AtMostOnce);
    until(|| full.outbox.figures().dropped_full == 100).await;
    site.publish(50..60, QoS::AtLeastOnce);
    // Behind those that were dropped it waits for room.
    tokio::task::yield_now().await;
    assert_eq!((full.outbox.figures().waiting(), site.outbox(1).await), (50, texts(0..50)));
}

#[tokio::test]
async fn what_a_flow_can_make_nothing_of_is_a_dead_letter_and_holds_nothing_up() {
    let site = site().await;
    let (sink, _backlog) = site.sink(1, OutboxPlan::default()).await;
    let (_stop, _task) = site.intake(&routes_with(&[("a", &sink)], "out/{payload.name}"));
    site.publish(0..3, QoS::AtLeastOnce);
    until(|| sink.outbox.figures().dead == 3).await;
    let letters = site.storage.store().queue_status(8 + 3).unwrap();
    assert_eq!((letters.waiting, sink.outbox.figures().waiting()), (3, 0));
}

#[tokio::test]
async fn a_flow_to_a_connector_that_is_gone_holds_nothing_up() {
    let site = site().await;
    let (sink, _backlog) = site.sink(1, OutboxPlan::default()).await;
    let routes = routes(&[("a", &sink), ("gone", &sink)]);
    routes.send_modify(|routes| {
        Arc::get_mut(routes).unwrap().sinks.remove("gone");
    });
    let (_stop, _task) = site.intake(&routes);
    site.publish(0..10, QoS::AtLeastOnce);
    until(|| sink.outbox.figures().accepted == 10).await;
    assert_eq!(site.outbox(1).await, texts(0..10));
}
