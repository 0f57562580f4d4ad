//! Devices: those that publish and those that subscribe, each a client of its own on a host of its own.

use std::sync::Arc;
use std::time::Duration;

use crosspoint_client::{
    Client, ClientOptions, Deliveries, Delivery, DialOptions, Environment, MemoryStore, Protocol,
    Publication, PublishPropertyValues, PublishResult, QoS, SessionKeeping, SubscriptionOptions, TopicFilter,
    Transport,
};
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::Clock;
use super::ledger::{Lane, Ledger, Place, Reader};
use super::network::{Network, Process};
use super::trace::Trace;

/// What a payload contains that a squeamish broker cannot bear.
pub(super) const POISON: &str = "poison";

/// Which messages of a lane with such payloads have them.
const POISON_AT: [usize; 2] = [3, 11];

/// What every device works with.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) network: Network,
    pub(super) clock: Clock,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) trace: Trace,
    /// Where somebody looks what is retained.
    pub(super) visited: Arc<Mutex<Option<Place>>>,
}

/// What a publisher does.
#[derive(Debug, Clone)]
pub(super) struct PublisherPlan {
    pub(super) name: String,
    pub(super) server: &'static str,
    pub(super) protocol: Protocol,
    pub(super) lanes: Vec<LanePlan>,
    /// How many messages in all.
    pub(super) count: usize,
    /// How many it publishes before the first is confirmed.
    pub(super) window: usize,
    pub(super) interval_ms: u64,
    pub(super) payload_bytes_max: usize,
    /// Whether it goes on until every message that a broker cannot bear is found.
    pub(super) is_hunting: bool,
    pub(super) seed: u64,
}

/// One lane of a publisher.
#[derive(Debug, Clone)]
pub(super) struct LanePlan {
    pub(super) lane: Lane,
    pub(super) topic: String,
    pub(super) qos: QoS,
    /// For how many seconds a message is worth anything.
    pub(super) expiry_s: Option<u32>,
    /// Whether some of its messages are such that a squeamish broker cannot bear them.
    pub(super) has_poison: bool,
}

/// What a subscriber does.
#[derive(Debug, Clone)]
pub(super) struct ReaderPlan {
    pub(super) reader: Reader,
    pub(super) name: String,
    pub(super) server: &'static str,
    pub(super) protocol: Protocol,
    pub(super) filter: String,
    pub(super) qos: QoS,
    /// The longest that it thinks about a message.
    pub(super) pause_ms_max: u64,
    /// How many messages it takes before it has confirmed the first.
    pub(super) receive_maximum: Option<u16>,
    pub(super) seed: u64,
}

/// A client whose engine runs in this task set.
pub(super) fn connect(
    bench: &Bench,
    tasks: &mut JoinSet<()>,
    options: ClientOptions,
    process: &Process,
    seed: u64,
) -> (Client, Deliveries) {
    let clock = bench.clock.clone();
    let environment = Environment::real().seed(seed).clock(move || clock.now()).dial(process.dial());
    let made = Client::new(options, Box::new(MemoryStore), environment);
    let (client, deliveries, engine) =
        made.unwrap_or_else(|error| panic!("a device of the simulation: {error}"));
    tasks.spawn(engine.run());
    (client, deliveries)
}

pub(super) fn options(name: &str, server: &str, protocol: Protocol) -> ClientOptions {
    ClientOptions::default()
        .server(DialOptions::new(Transport::Tcp, server, 1_883))
        .client_id(name)
        .protocol(protocol)
        .session(SessionKeeping::Durable)
        .keep_alive_s(10)
        .ping_timeout_ms(3_000)
        .connect_timeout_ms(3_000)
        .reconnect_ms(100, 2_000)
}

/// Publishes what its plan says, and returns when all of it has its outcome.
pub(super) async fn publish(bench: Bench, plan: PublisherPlan) {
    let mut tasks = JoinSet::new();
    let options = options(&plan.name, plan.server, plan.protocol);
    let (client, _deliveries) =
        connect(&bench, &mut tasks, options, &bench.network.process(&plan.name), plan.seed);
    let (publisher, mut confirmations) = client.publisher();
    let mut publishing =
        Publishing { bench, rng: Rng::with_seed(plan.seed), plan, in_flight: Vec::new(), done: 0 };
    let mut next_at = Instant::now();
    while publishing.has_more() || !publishing.in_flight.is_empty() {
        tokio::select! {
            biased;
            outcome = confirmations.next() => publishing.on_outcome(outcome),
            () = sleep_until(next_at), if publishing.may_go_on() => {
                let Some((publication, cookie)) = publishing.next() else { return };
                if publisher.send(publication, cookie).await.is_err() {
                    publishing.bench.ledger.lock().accuse(format!("{} was closed", publishing.plan.name));
                    return;
                }
                next_at = Instant::now() + Duration::from_millis(publishing.rng.u64(0..=publishing.plan.interval_ms));
            }
        }
    }
    client.close(Duration::from_secs(5)).await;
    drop((publisher, confirmations));
    while tasks.join_next().await.is_some() {}
}

/// A publisher at work.
struct Publishing {
    bench: Bench,
    plan: PublisherPlan,
    rng: Rng,
    /// By cookie: what has no outcome yet.
    in_flight: Vec<(u64, Lane, usize)>,
    /// How many were published.
    done: usize,
}

impl Publishing {
    fn has_more(&self) -> bool {
        let is_wanted = !self.plan.is_hunting || !self.bench.ledger.lock().is_hunt_over();
        is_wanted && self.done < self.plan.count
    }

    fn may_go_on(&self) -> bool {
        self.in_flight.len() < self.plan.window && self.has_more()
    }

    fn next(&mut self) -> Option<(Publication, u64)> {
        let LanePlan { lane, topic, qos, expiry_s, has_poison } = self.rng.choice(&self.plan.lanes)?;
        let mut ledger = self.bench.ledger.lock();
        let number = ledger.publish(*lane, self.bench.clock.now().monotonic_ms);
        let is_poison = *has_poison && POISON_AT.contains(&number);
        if is_poison {
            ledger.note_poison(*lane, number);
        }
        drop(ledger);
        let cookie = self.done as u64;
        self.done += 1;
        self.in_flight.push((cookie, *lane, number));
        let filling = self.rng.usize(0..=self.plan.payload_bytes_max);
        let mark = if is_poison { POISON } else { "" };
        let payload = format!("{} {number} {mark}{}", lane.0, "x".repeat(filling));
        self.bench.trace.note(format_args!(
            "{} publishes {number} of {lane:?}, {} bytes",
            self.plan.name,
            payload.len()
        ));
        let publication = Publication::new(topic, payload).unwrap_or_else(|error| panic!("{error}"));
        let values =
            PublishPropertyValues { message_expiry_s: *expiry_s, ..PublishPropertyValues::default() };
        let publication = publication.properties(&values).unwrap_or_else(|error| panic!("{error}"));
        Some((publication.qos(*qos), cookie))
    }

    fn on_outcome(&mut self, outcome: Option<(u64, PublishResult)>) {
        let Some((cookie, outcome)) = outcome else { return };
        let Some(place) = self.in_flight.iter().position(|(known, ..)| *known == cookie) else {
            return self.bench.ledger.lock().accuse(format!("{} heard of {cookie} twice", self.plan.name));
        };
        let (_, lane, number) = self.in_flight.remove(place);
        self.bench.trace.note(format_args!("{} hears of {number} of {lane:?}: {outcome:?}", self.plan.name));
        // What is refused may be published or not; nothing was promised.
        if outcome.is_ok() {
            self.bench.ledger.lock().confirm(lane, number);
        }
    }
}

/// A subscriber that runs until it is stopped.
pub(super) struct Subscriber {
    pub(super) client: Client,
    tasks: JoinSet<()>,
}

impl Subscriber {
    pub(super) fn start(bench: &Bench, plan: ReaderPlan) -> Self {
        let mut tasks = JoinSet::new();
        let filter = TopicFilter::parse(plan.filter.clone()).unwrap_or_else(|error| panic!("{error}"));
        let wanted = SubscriptionOptions { qos: plan.qos, ..SubscriptionOptions::default() };
        let mut options = options(&plan.name, plan.server, plan.protocol).subscribe(filter, wanted);
        if let Some(receive_maximum) = plan.receive_maximum {
            options = options.receive_maximum(receive_maximum);
        }
        let (client, deliveries) =
            connect(bench, &mut tasks, options, &bench.network.process(&plan.name), plan.seed);
        tasks.spawn(read(bench.clone(), plan, deliveries));
        Self { client, tasks }
    }

    pub(super) async fn stop(mut self) {
        self.client.close(Duration::from_secs(5)).await;
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn read(bench: Bench, plan: ReaderPlan, mut deliveries: Deliveries) {
    let mut rng = Rng::with_seed(plan.seed);
    while let Some(delivery) = deliveries.next().await {
        if plan.pause_ms_max > 0 {
            sleep(Duration::from_millis(rng.u64(0..=plan.pause_ms_max))).await;
        }
        take(&bench, &plan, delivery);
    }
}

fn take(bench: &Bench, plan: &ReaderPlan, delivery: Delivery) {
    let at_ms = bench.clock.now().monotonic_ms;
    let payload = String::from_utf8_lossy(delivery.message.payload()).into_owned();
    let mut words = payload.split(' ');
    let mut number = || words.next().and_then(|word| word.parse::<usize>().ok());
    let (lane, number) = (number(), number());
    let mut ledger = bench.ledger.lock();
    match (lane, number) {
        (Some(lane), Some(number)) => {
            bench.trace.note(format_args!("{} takes {number} of {:?}", plan.name, Lane(lane)));
            ledger.take(plan.reader, Lane(lane), number, at_ms);
        }
        _ => ledger.accuse(format!("{} got {payload:?}, which nobody published", plan.name)),
    }
    delivery.ack.accept();
}
