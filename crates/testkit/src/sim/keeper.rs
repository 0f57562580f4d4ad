//! Devices whose messages brokers retain, and those who look what is retained.

use std::collections::BTreeMap;
use std::time::Duration;

use crosspoint_client::{
    Client, ClientOptions, Confirmations, Deliveries, Delivery, Protocol, Publication, PublishPropertyValues,
    Publisher, QoS, SessionKeeping, SubscriptionOptions, TopicFilter,
};
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::device::{self, Bench};
use super::ledger::{Forgot, Place};
use super::shelf::Look;

/// How long after the last message nothing more is expected by who looks.
const QUIET: Duration = Duration::from_secs(3);

/// How long may pass before who looks is connected, and how long he then looks at most.
const CONNECTING_MAX: Duration = Duration::from_secs(20);
const LOOKING_MAX: Duration = Duration::from_secs(8);

/// How often somebody looks while there is something new, at most.
const LOOK_EVERY_MS: u64 = 20_000;

/// Who publishes what is retained, at one broker.
#[derive(Debug, Clone)]
pub(super) struct KeeperPlan {
    pub(super) server: Place,
    pub(super) protocol: Protocol,
    pub(super) qos: QoS,
    pub(super) topics: usize,
    /// How many messages.
    pub(super) count: usize,
    pub(super) interval_ms: u64,
    pub(super) seed: u64,
    /// Whether the wall clock jumps in this run.
    pub(super) has_jumped: bool,
}

/// Publishes, replaces and clears what its plan says.
pub(super) async fn keep(bench: Bench, plan: KeeperPlan) {
    let mut tasks = JoinSet::new();
    let options = device::options("keeper", plan.server, plan.protocol);
    let process = bench.network.process("keeper");
    let (client, _deliveries) = device::connect(&bench, &mut tasks, options, &process, plan.seed);
    let (publisher, mut confirmations) = client.publisher();
    let mut rng = Rng::with_seed(plan.seed);
    for cookie in 0..plan.count as u64 {
        sleep(Duration::from_millis(rng.u64(0..=plan.interval_ms))).await;
        if change(&bench, &plan, &mut rng, (&publisher, &mut confirmations), cookie).await.is_none() {
            return bench.ledger.lock().accuse("keeper was closed".to_owned());
        }
    }
    client.close(Duration::from_secs(5)).await;
    drop((publisher, confirmations));
    while tasks.join_next().await.is_some() {}
}

/// Changes one topic, and waits until that is accepted or refused.
async fn change(
    bench: &Bench,
    plan: &KeeperPlan,
    rng: &mut Rng,
    (publisher, confirmations): (&Publisher, &mut Confirmations),
    cookie: u64,
) -> Option<()> {
    let topic = rng.usize(0..plan.topics);
    let is_clearing = rng.u8(0..4) == 0;
    let may_expire = plan.protocol == Protocol::V5 && !is_clearing && rng.u8(0..3) == 0;
    let message_expiry_s = may_expire.then(|| rng.u32(1..60));
    let at_ms = bench.clock.now().monotonic_ms;
    let number = bench.ledger.lock().shelf.publish(topic, is_clearing, message_expiry_s, at_ms);
    bench.trace.note(format_args!(
        "keeper changes {topic} to {number}, cleared {is_clearing}, {message_expiry_s:?}"
    ));
    let payload = if is_clearing { String::new() } else { format!("{topic} {number}") };
    let values = PublishPropertyValues { message_expiry_s, ..PublishPropertyValues::default() };
    let publication = Publication::new(&format!("kept/{topic}"), payload).ok()?;
    let publication = publication.properties(&values).ok()?.qos(plan.qos).retain(true);
    publisher.send(publication, cookie).await.ok()?;
    let (_, outcome) = confirmations.next().await?;
    let at_ms = bench.clock.now().monotonic_ms;
    bench.trace.note(format_args!("keeper hears of {number} on {topic}: {outcome:?}"));
    if outcome.is_ok() {
        bench.ledger.lock().shelf.confirm(topic, number, at_ms);
    }
    Some(())
}

/// Looks now and then what is retained.
pub(super) async fn look_now_and_then(bench: Bench, plan: KeeperPlan) {
    let mut rng = Rng::with_seed(plan.seed ^ 1);
    for _ in 0..rng.usize(1..4) {
        sleep(Duration::from_millis(rng.u64(0..LOOK_EVERY_MS))).await;
        look(&bench, &plan, rng.u64(..)).await;
    }
}

/// Looks what is retained, and judges it; returns whether that could be done, and nothing went wrong meanwhile.
pub(super) async fn look(bench: &Bench, plan: &KeeperPlan, seed: u64) -> bool {
    let began_ms = bench.clock.now().monotonic_ms;
    let (troubles, dials) = (bench.ledger.lock().troubles(), bench.network.dials("visitor"));
    let mut tasks = JoinSet::new();
    let process = bench.network.process("visitor");
    let (client, deliveries) = device::connect(bench, &mut tasks, visiting(plan), &process, seed);
    *bench.visited.lock() = Some(plan.server);
    let found = visit(bench, &client, deliveries).await;
    client.close(Duration::from_secs(5)).await;
    while tasks.join_next().await.is_some() {}
    *bench.visited.lock() = None;
    let ended_ms = bench.clock.now().monotonic_ms;
    let mut ledger = bench.ledger.lock();
    let is_calm = ledger.troubles() == troubles && troubles.is_multiple_of(2);
    let Some(found) = found.filter(|_| is_calm && bench.network.dials("visitor") == dials + 1) else {
        return false;
    };
    let has_forgotten = ledger.has_ever_forgotten(plan.server, Forgot::Messages);
    let look = Look { began_ms, ended_ms, has_jumped: plan.has_jumped, has_forgotten };
    for topic in 0..ledger.shelf.topics() {
        if let Some(wrong) = ledger.shelf.wrong(topic, found.get(&topic).copied().flatten(), look) {
            ledger.accuse(format!("retained: at {}: {wrong}", plan.server));
        }
    }
    true
}

fn visiting(plan: &KeeperPlan) -> ClientOptions {
    let filter = TopicFilter::parse("kept/#").unwrap_or_else(|error| panic!("{error}"));
    let wanted = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let options = device::options("visitor", plan.server, Protocol::V5).session(SessionKeeping::Clean);
    options.subscribe(filter, wanted)
}

/// Takes what comes until nothing does; returns the last number on each topic, or that it was cleared.
async fn visit(
    bench: &Bench,
    client: &Client,
    mut deliveries: Deliveries,
) -> Option<BTreeMap<usize, Option<usize>>> {
    if !timeout(CONNECTING_MAX, client.connected()).await.unwrap_or(false) {
        return None;
    }
    let until = Instant::now() + LOOKING_MAX;
    let mut found = BTreeMap::new();
    while let Ok(delivery) = timeout_at(until.min(Instant::now() + QUIET), deliveries.next()).await {
        let Delivery { message, ack, .. } = delivery?;
        let payload = String::from_utf8_lossy(message.payload()).into_owned();
        bench.trace.note(format_args!("visitor finds {payload:?} on {}", message.topic()));
        let topic = message.topic().strip_prefix("kept/")?.parse().ok()?;
        found.insert(topic, payload.split(' ').nth(1).and_then(|number| number.parse().ok()));
        ack.accept();
    }
    client.state().borrow().is_connected().then_some(found)
}
