//! Brokers, hubs and waits that the tests share.

use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use bytes::Bytes;
use crosspoint_broker::{Broker, BrokerOptions, ListenerOptions, LocalClient, LocalOptions, Workers};
use crosspoint_hub::config::{self, Plan};
use crosspoint_hub::{DataDir, Hub, OutboxFigures};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_protocol::packet::{PublishProperties, SubscriptionOptions};
use crosspoint_protocol::{QoS, TopicFilter, TopicName};
use tokio::task::JoinSet;

/// The longest that a test waits for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// Waits for a future, but not for ever.
#[track_caller]
pub(crate) fn soon<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        tokio::time::timeout(WITHIN, future).await.unwrap_or_else(|_| panic!("it takes too long: {place}"))
    }
}

/// Looks again and again until something is so.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    soon(async move {
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while !is_so() {
            look.tick().await;
        }
    })
}

/// A message as it came: topic, payload, QoS and retain flag.
pub(crate) type Came = (String, String, QoS, bool);

/// A broker somewhere else, with somebody who notes everything that is published under `out/`.
pub(crate) struct Remote {
    broker: Option<Broker>,
    pub(crate) address: SocketAddr,
    device: Option<LocalClient>,
    came: Arc<Mutex<Vec<Came>>>,
    watchers: JoinSet<()>,
}

impl Remote {
    pub(crate) async fn start() -> Self {
        let mut remote = Self {
            broker: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            device: None,
            came: Arc::default(),
            watchers: JoinSet::new(),
        };
        remote.start_again().await;
        remote
    }

    /// Starts it where it was before, without its sessions.
    pub(crate) async fn start_again(&mut self) {
        let options = BrokerOptions::default().workers(Workers::Here).stop_deadline(Duration::from_secs(2));
        let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, self.address));
        let broker = Broker::builder().options(options).listener(listener).start().await.unwrap();
        self.address = broker.address("main").unwrap();
        self.device = Some(broker.connect_local(LocalOptions::new("device")).await.unwrap());
        let watcher = broker.connect_local(LocalOptions::new("watcher")).await.unwrap();
        let options = SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            retain_as_published: true,
            ..SubscriptionOptions::default()
        };
        watcher.subscribe(&TopicFilter::parse("out/#").unwrap(), options, 0);
        let came = self.came.clone();
        self.watchers.spawn(async move {
            while let Ok(delivery) = watcher.next().await {
                let message = &delivery.message;
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                came.lock().unwrap().push((
                    message.topic().to_owned(),
                    payload,
                    delivery.qos,
                    delivery.retain,
                ));
            }
        });
        self.broker = Some(broker);
    }

    pub(crate) async fn stop(&mut self) {
        self.device = None;
        soon(self.broker.take().unwrap().stop()).await;
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn publish(&self, topic: &str, payload: &str, qos: QoS, retain: bool) -> bool {
        let (topic, payload) = (TopicName::parse(topic).unwrap(), Bytes::copy_from_slice(payload.as_bytes()));
        self.device
            .as_ref()
            .unwrap()
            .publish(topic, payload, qos, retain, PublishProperties::default())
            .unwrap()
    }

    /// Publishes these numbers to `in/n`; the hub must have subscribed.
    pub(crate) fn publish_numbers(&self, numbers: std::ops::Range<usize>, qos: QoS) {
        for number in numbers {
            assert!(self.publish("in/n", &number.to_string(), qos, false), "nobody listens");
        }
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }

    /// Returns the numbers that came to `out/n`, in their order.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        self.came().iter().map(|(_, payload, ..)| payload.parse().unwrap()).collect()
    }

    /// Waits until so many subscriptions are there besides the watcher's.
    #[track_caller]
    pub(crate) fn subscribed(&self, count: u64) -> impl Future<Output = ()> {
        let broker = self.broker().handle();
        until(move || broker.statistics().subscriptions == count + 1)
    }
}

#[track_caller]
pub(crate) fn plan(text: &str) -> Plan {
    config::parse(text, "crosspoint.toml", None).unwrap_or_else(|findings| panic!("{findings:?}")).0
}

/// A hub with a folder of its own.
pub(crate) struct Running {
    pub(crate) hub: Hub,
    folder: tempfile::TempDir,
}

impl Running {
    pub(crate) async fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        log();
        let data = DataDir::open(folder.path().join("data")).unwrap();
        Self { hub: soon(Hub::start(plan(text), data)).await.unwrap(), folder }
    }

    pub(crate) fn outbox(&self, connector: &str) -> OutboxFigures {
        self.hub.status()[connector].outbox
    }

    pub(crate) fn is_connected(&self, connector: &str) -> bool {
        self.hub.status()[connector].state.as_ref().is_some_and(|state| state.is_connected())
    }

    pub(crate) async fn apply(&mut self, text: &str) -> String {
        soon(self.hub.apply(plan(text))).await.unwrap().to_string()
    }

    /// Stops it, and starts another one in its folder.
    pub(crate) async fn again(self, text: &str) -> Self {
        let Self { hub, folder } = self;
        soon(hub.stop(Duration::from_secs(5))).await;
        let data = DataDir::open(folder.path().join("data")).unwrap();
        Self { hub: soon(Hub::start(plan(text), data)).await.unwrap(), folder }
    }

    pub(crate) async fn stop(self) {
        soon(self.hub.stop(Duration::from_secs(5))).await;
    }
}

/// A connector of a project, which tries again soon.
pub(crate) fn connector(name: &str, port: u16) -> String {
    format!(
        "[connector.{name}]\nurl = \"mqtt://127.0.0.1:{port}\"\nreconnect_min_ms = 100\nreconnect_max_ms = 200\n"
    )
}

/// A flow of numbers from `in/n` to `out/n`.
pub(crate) fn numbers(from: &str, to: &str) -> String {
    format!(
        "[flow.{from}-{to}]\nfrom = {{ connector = \"{from}\", topics = \"in/#\", qos = 2 }}\n\
         to = {{ connector = \"{to}\", topic = \"out/{{topic[1..]}}\" }}\n"
    )
}

pub(crate) const NO_BROKER: &str = "[broker]\nenabled = false\n";

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = RefCell::default();
}

/// Notes what is logged on each thread, from the first call on; each test has a thread of its own.
pub(crate) fn log() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Logged).init());
}

/// Returns what has been logged on this thread.
pub(crate) fn logged() -> String {
    LOGGED.with_borrow(|text| String::from_utf8_lossy(text).into_owned())
}

struct Logged;

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|text| text.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
