//! Power cuts at any sync, again and again: nothing that was acknowledged is lost, and at QoS 2 nothing comes twice.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use crosspoint_client::{Client, ClientOptions, DialOptions, Publication, SessionKeeping, Transport};
use crosspoint_hub::actions::{Actions, KeptLimits, KeptSubscription};
use crosspoint_hub::{DataDir, Environment, Hub};
use crosspoint_protocol::{QoS, TopicFilter};
use crosspoint_store::{Options, SimulatedDisk, Store};
use tokio::sync::oneshot;

use crate::support::*;

/// Lives of a hub whose disk loses its power.
struct Lives {
    project: String,
    folder: tempfile::TempDir,
    disk: SimulatedDisk,
    count: u64,
}

/// One life: a thread with all that the hub is.
struct Life {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    /// What acts on it, when it has begun.
    actions: oneshot::Receiver<Actions>,
}

impl Lives {
    fn new(project: String) -> Self {
        Self { project, folder: tempfile::tempdir().unwrap(), disk: SimulatedDisk::new(), count: 0 }
    }

    /// Begins the next life, on what the one before has left. Its power goes at the n-th sync, if one is named.
    fn begin(&mut self, cut_at_sync: Option<u64>) -> Life {
        self.count += 1;
        self.disk = self.disk.after_power_cut(self.count);
        let (disk, project, folder) =
            (self.disk.clone(), self.project.clone(), self.folder.path().join("data"));
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (begun, actions) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(live(disk, &project, folder, cut_at_sync, begun, stopped));
            // Everything ends where it stands; sockets close without a word.
            drop(runtime);
            end.send(()).unwrap_or_default();
        });
        Life { stop, ended, actions }
    }
}

async fn live(
    disk: SimulatedDisk,
    project: &str,
    folder: PathBuf,
    cut_at_sync: Option<u64>,
    begun: oneshot::Sender<Actions>,
    stopped: oneshot::Receiver<()>,
) {
    let store =
        Store::open(disk.clone(), Options::default().segment_bytes(1 << 16).reserve_bytes(1 << 12)).unwrap();
    if let Some(sync) = cut_at_sync {
        disk.cut_power_at_sync(sync);
    }
    let data = DataDir::open(folder).unwrap();
    let environment = Environment::real().store(store);
    let Ok(hub) = Hub::start_in(plan(project), data, environment).await else { return };
    // Not everybody wants it.
    begun.send(hub.actions()).ok();
    tokio::select! {
        _ = hub.failed() => {}
        _ = stopped => {}
    }
}

impl Life {
    fn has_ended(&mut self) -> bool {
        self.ended.try_recv().is_ok()
    }

    async fn stop(mut self) {
        self.stop.send(()).unwrap();
        soon(&mut self.ended).await.unwrap();
    }
}

fn durable_ends(source: u16, sink: u16) -> String {
    [NO_BROKER, &connector("a", source), &connector("b", sink), &numbers("a", "b")]
        .concat()
        .replace("[connector.b]\n", "[connector.b]\nsession = \"durable\"\n")
}

#[tokio::test]
async fn qos_2_in_and_out_is_exactly_once_and_in_order_over_power_cuts() {
    let (source, sink) = (Remote::start().await, Remote::start().await);
    let mut lives = Lives::new(durable_ends(source.port(), sink.port()));
    let mut random = fastrand::Rng::with_seed(0x1ce);
    let (mut published, mut is_subscribed) = (0, false);
    for _ in 0..25 {
        let mut life = lives.begin(Some(random.u64(1..40)));
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while !life.has_ended() {
            look.tick().await;
            is_subscribed = is_subscribed || source.broker().statistics().subscriptions == 2;
            if is_subscribed && published < sink.count() + 500 {
                source.publish_numbers(published..published + 5, QoS::ExactlyOnce);
                published += 5;
            }
        }
    }
    assert!(published >= 100, "the lives were too short: {published}");
    let life = lives.begin(None);
    until(|| sink.count() >= published).await;
    life.stop().await;
    assert_eq!(sink.numbers(), (0..published).collect::<Vec<_>>());
}

#[tokio::test]
async fn from_the_embedded_broker_qos_2_is_exactly_once_and_in_order_over_power_cuts() {
    let sink = Remote::start().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let project = [
        &format!("[broker.listener.main]\nbind = \"127.0.0.1:{port}\"\n"),
        &connector("b", sink.port()),
        "session = \"durable\"\n",
        &numbers("broker", "b"),
    ]
    .concat();
    let mut lives = Lives::new(project);
    let options = ClientOptions::default()
        .client_id("device")
        .session(SessionKeeping::Durable)
        .reconnect_ms(100, 100)
        .server(DialOptions::new(Transport::Tcp, "127.0.0.1", port));
    let (device, _deliveries) = Client::start(options).unwrap();
    // Not before the flow's Subscription is durable: nobody would want what comes.
    let life = lives.begin(None);
    assert!(soon(device.connected()).await);
    life.stop().await;

    let mut random = fastrand::Rng::with_seed(0xfee);
    let (publisher, mut confirmations) = device.publisher();
    let mut published = 0_usize;
    for _ in 0..25 {
        let mut life = lives.begin(Some(random.u64(1..40)));
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while !life.has_ended() {
            look.tick().await;
            let publication = Publication::new("in/n", published.to_string()).unwrap().qos(QoS::ExactlyOnce);
            published += usize::from(publisher.try_send(publication, published as u64).is_ok());
        }
    }
    let life = lives.begin(None);
    drop(publisher);
    for _ in 0..published {
        let (_, outcome) = soon(confirmations.next()).await.unwrap();
        assert!(!outcome.unwrap().may_be_duplicate, "the broker has kept the session");
    }
    until(|| sink.count() >= published).await;
    life.stop().await;
    assert!(published >= 100, "the lives were too short: {published}");
    assert_eq!(sink.numbers(), (0..published).collect::<Vec<_>>());
}

/// Returns how many messages the only kept subscription was given.
async fn kept_count(actions: &Actions) -> usize {
    let kept = actions.kept().await;
    kept.first().map_or(0, |kept| usize::try_from(kept.figures.accepted).unwrap())
}

#[tokio::test]
async fn what_a_kept_subscription_was_given_is_there_once_and_in_order_after_power_cuts() {
    let source = Remote::start().await;
    let project = [NO_BROKER, &connector("a", source.port()), "session = \"durable\"\n"].concat();
    let mut lives = Lives::new(project);
    let mut life = lives.begin(None);
    let actions = soon(&mut life.actions).await.unwrap();
    let wanted = KeptSubscription {
        name: "night".to_owned(),
        connector: "a".to_owned(),
        filters: vec![TopicFilter::parse("in/#").unwrap()],
        qos: QoS::ExactlyOnce,
        limits: KeptLimits::default(),
    };
    actions.keep(wanted, WITHIN).await.unwrap();
    source.subscribed(1).await;
    drop(actions);
    life.stop().await;
    let mut random = fastrand::Rng::with_seed(0xcab);
    let (mut published, mut accepted) = (0, 0);
    for _ in 0..25 {
        let mut life = lives.begin(Some(random.u64(1..40)));
        let mut actions = None;
        let mut look = tokio::time::interval(Duration::from_millis(1));
        while !life.has_ended() {
            look.tick().await;
            actions = actions.or_else(|| life.actions.try_recv().ok());
            if let Some(actions) = &actions {
                // What it knows in this life may be lost with it, and comes again.
                accepted = kept_count(actions).await;
            }
            if published < accepted + 500 {
                source.publish_numbers(published..published + 5, QoS::ExactlyOnce);
                published += 5;
            }
        }
    }
    assert!(published >= 100, "the lives were too short: {published}");
    let mut life = lives.begin(None);
    let actions = soon(&mut life.actions).await.unwrap();
    let mut reading = actions.read_kept("night").await.unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < published {
        let kept = soon(reading.next()).await.unwrap();
        numbers.push(String::from_utf8_lossy(kept.message.payload()).parse::<usize>().unwrap());
        reading.confirm(kept.position).await;
    }
    assert_eq!(numbers, (0..published).collect::<Vec<_>>());
    drop((actions, reading));
    life.stop().await;
}
