mod accounts;
mod archive;
mod core;
mod letters;
mod poison;
mod policies;

use std::ops::Range;
use std::time::Duration;

use crosspoint_client::QoS;
use crosspoint_protocol::Now;
use crosspoint_store::{Options, SimulatedDisk, Store};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::testing::{Scripted, message, soon};

/// An outbox with its store, and a clock that starts when it is made.
struct Kit {
    store: Store,
    outbox: Outbox,
    backlog: Option<Backlog>,
}

fn clock() -> Clock {
    let began = Instant::now();
    Arc::new(move || Now::default().plus_ms(1_000_000 + began.elapsed().as_millis() as u64))
}

fn options(policy: &Arc<OutboxPlan>) -> OutboxOptions {
    OutboxOptions { number: 1, connector: "sink".into(), policy: policy.clone(), clock: clock() }
}

fn store_options() -> Options {
    Options::new().reserve_bytes(0).segment_bytes(1 << 20)
}

impl Kit {
    async fn new(policy: OutboxPlan) -> Self {
        Self::on(Store::in_memory(store_options()).unwrap(), policy).await
    }

    async fn on(store: Store, policy: OutboxPlan) -> Self {
        let policy = Arc::new(policy);
        let (outbox, backlog) = open(store.clone(), options(&policy)).await.unwrap();
        Self { store, outbox, backlog: Some(backlog) }
    }

    async fn append_all(&self, items: impl IntoIterator<Item = Item>) {
        let (mut batch, mut added) = (Batch::new(), Added::default());
        for item in items {
            let admission = soon(self.outbox.admit(&item)).await;
            self.outbox.add(&mut batch, &mut added, item, admission);
        }
        let committed = soon(self.store.commit(batch)).await.unwrap();
        self.outbox.settled(added, Some(&committed));
    }

    async fn append(&self, numbers: Range<usize>) {
        self.append_all(numbers.map(item)).await;
    }

    fn start(&mut self, broker: &Scripted) -> Running {
        Running::start(self.backlog.take().unwrap(), broker)
    }
}

fn item(number: usize) -> Item {
    Item {
        message: message("t", number.to_string().as_bytes(), QoS::AtLeastOnce),
        qos: QoS::AtLeastOnce,
        retain: false,
        flow: "f".into(),
        accepted_wall_ms: 1_000_000,
    }
}

fn texts(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// A pump at work, with the client that it sends through.
struct Running {
    client: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Backlog>,
}

impl Running {
    fn start(backlog: Backlog, broker: &Scripted) -> Self {
        let client = broker.client();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(backlog.pump(Target::Remote(client.clone()), Vec::new(), stopped));
        Self { client, stop, task }
    }

    async fn stop(self, within: Duration) -> Backlog {
        self.stop.send(()).unwrap();
        soon(async { tokio::join!(self.task, self.client.close(within)) }).await.0.unwrap()
    }
}

async fn until(outbox: &Outbox, is_so: impl Fn(&OutboxFigures) -> bool) -> OutboxFigures {
    soon(async {
        loop {
            let figures = outbox.figures();
            if is_so(&figures) {
                return figures;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn messages_leave_in_order_and_the_store_forgets_them() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    let pump = kit.start(&broker);
    for part in 0..20 {
        kit.append(part * 1_000..(part + 1) * 1_000).await;
    }
    assert_eq!(broker.payloads(20_000).await, texts(0..20_000));
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.accepted, figures.confirmed, figures.waiting_bytes), (20_000, 20_000, 0));
    pump.stop(Duration::from_secs(5)).await;
    assert_eq!(kit.outbox.head(), 20_000);
}

#[tokio::test]
async fn a_stopped_pump_keeps_what_is_unconfirmed_and_the_next_one_sends_it_first() {
    // Confirms the first ten, then falls silent.
    let mut deaf = Scripted::start(|payload| (payload.parse::<usize>().unwrap() < 10).then_some(0)).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    let pump = kit.start(&deaf);
    kit.append(0..100).await;
    assert_eq!(deaf.payloads(100).await, texts(0..100));
    until(&kit.outbox, |figures| figures.confirmed == 10).await;
    kit.backlog = Some(pump.stop(Duration::ZERO).await);
    assert_eq!((kit.outbox.head(), kit.outbox.figures().waiting()), (10, 90));
    kit.append(100..110).await;

    let mut broker = Scripted::start(|_| Some(0)).await;
    let pump = kit.start(&broker);
    assert_eq!(broker.payloads(100).await, texts(10..110));
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.accepted, figures.confirmed, figures.maybe_twice), (110, 110, 90));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_waits_outlives_the_process_with_its_figures() {
    let disk = SimulatedDisk::new();
    let mut broker = Scripted::start(|payload| (payload.parse::<usize>().unwrap() < 10).then_some(0)).await;
    let mut kit = Kit::on(Store::open(disk.clone(), store_options()).unwrap(), OutboxPlan::default()).await;
    let pump = kit.start(&broker);
    kit.append(0..100).await;
    broker.payloads(100).await;
    until(&kit.outbox, |figures| figures.confirmed == 10).await;
    drop(pump.stop(Duration::ZERO).await);
    let before = kit.outbox.figures();
    kit.store.close();
    drop(kit);

    let store = Store::open(disk.after_kill(), store_options()).unwrap();
    let mut kit = Kit::on(store, OutboxPlan::default()).await;
    assert_eq!(kit.outbox.figures(), before);
    let mut broker = Scripted::start(|_| Some(0)).await;
    let pump = kit.start(&broker);
    assert_eq!(broker.payloads(90).await, texts(10..100));
    until(&kit.outbox, |figures| figures.waiting() == 0).await;
    pump.stop(Duration::from_secs(5)).await;
}

/// Polls once and tells whether it waits.
async fn is_pending<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(cx).is_pending()))
        .await
}

#[tokio::test]
async fn a_long_backlog_is_read_back_in_order_and_little_of_it_is_in_memory() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let kit = Kit::new(OutboxPlan::default()).await;
    for part in 0..30 {
        kit.append(part * 1_000..(part + 1) * 1_000).await;
    }
    let mut kit = Kit::on(kit.store.clone(), OutboxPlan::default()).await;
    assert_eq!(kit.outbox.shared.state().front.in_memory(), 0);
    let pump = kit.start(&broker);
    for part in 0..30 {
        assert_eq!(broker.payloads(1_000).await, texts(part * 1_000..(part + 1) * 1_000));
        let in_memory = kit.outbox.shared.state().front.in_memory();
        assert!(in_memory <= 4_096, "{in_memory} messages are in memory");
    }
    until(&kit.outbox, |figures| figures.waiting() == 0).await;
    pump.stop(Duration::from_secs(5)).await;
    assert_eq!(kit.outbox.head(), 30_000);
}
