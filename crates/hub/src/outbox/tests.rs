use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use crosspoint_client::{Client, PublishPropertyValues, TopicName};
use crosspoint_protocol::{Now, packet::PublishProperties};
use tokio::task::JoinHandle;

use super::*;
use crate::receipt::tests::{Fates, Watched};
use crate::receipt::{Receipt, Share};
use crate::testing::{Scripted, message, soon};

const CONNECTION_GONE: Duration = Duration::ZERO;

fn new() -> (Outbox, Backlog, Fates) {
    let (outbox, backlog) = outbox(&"sink".into());
    (outbox, backlog, Fates::default())
}

fn item(number: usize, qos: QoS, fates: &Fates) -> Item {
    let payload = number.to_string();
    let share = Receipt::divide(Watched::promise(number, fates), 1).pop().unwrap_or_else(Share::of_nothing);
    Item { message: message("t", payload.as_bytes(), qos), qos, retain: false, flow: "f".into(), share }
}

async fn append(outbox: &Outbox, numbers: std::ops::Range<usize>, fates: &Fates) {
    for number in numbers {
        soon(outbox.append(item(number, QoS::AtLeastOnce, fates))).await;
    }
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<String> {
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
        let task = tokio::spawn(backlog.pump(Target::Remote(client.clone()), stopped));
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

fn kept(numbers: std::ops::Range<usize>) -> Vec<(usize, &'static str)> {
    numbers.map(|number| (number, "kept")).collect()
}

fn fates_of(fates: &Fates) -> Vec<(usize, &'static str)> {
    fates.lock().unwrap().clone()
}

#[tokio::test]
async fn messages_leave_in_order_and_each_promise_is_kept_once() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let (outbox, backlog, fates) = new();
    let pump = Running::start(backlog, &broker);
    append(&outbox, 0..20_000, &fates).await;
    assert_eq!(broker.payloads(20_000).await, texts(0..20_000));
    let figures = until(&outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.accepted, figures.confirmed, figures.maybe_twice), (20_000, 20_000, 0));
    assert_eq!(fates_of(&fates), kept(0..20_000));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_stopped_pump_gives_back_what_is_unconfirmed_and_the_next_one_sends_it_first() {
    // Confirms the first ten, then falls silent.
    let mut deaf = Scripted::start(|payload| (payload.parse::<usize>().unwrap() < 10).then_some(0)).await;
    let (outbox, backlog, fates) = new();
    let pump = Running::start(backlog, &deaf);
    append(&outbox, 0..100, &fates).await;
    assert_eq!(deaf.payloads(100).await, texts(0..100));
    until(&outbox, |figures| figures.confirmed == 10).await;
    let backlog = pump.stop(CONNECTION_GONE).await;
    assert_eq!((backlog.unfinished.len(), outbox.figures().waiting()), (90, 90));
    append(&outbox, 100..110, &fates).await;

    let mut broker = Scripted::start(|_| Some(0)).await;
    let pump = Running::start(backlog, &broker);
    assert_eq!(broker.payloads(100).await, texts(10..110));
    let figures = until(&outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.accepted, figures.confirmed, figures.maybe_twice), (110, 110, 90));
    assert_eq!(fates_of(&fates), kept(0..110));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_confirmed_while_the_connector_stops_is_not_sent_again() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let (outbox, backlog, fates) = new();
    append(&outbox, 0..3_000, &fates).await;
    let pump = Running::start(backlog, &broker);
    broker.payloads(1).await;
    let backlog = pump.stop(Duration::from_secs(10)).await;
    let sent = 3_000 - backlog.unfinished.len() - backlog.waiting.len();
    let figures = outbox.figures();
    assert_eq!((figures.confirmed, figures.waiting()), (sent as u64, 3_000 - sent as u64));
    assert!(backlog.unfinished.iter().all(|waiting| !waiting.may_be_there));
    let seen = 1 + std::iter::from_fn(|| broker.came.try_recv().ok()).count();
    assert_eq!(seen, sent, "whatever the broker saw is confirmed, and will not be sent again");
}

#[tokio::test]
async fn a_full_outbox_holds_promised_messages_up_and_drops_the_others() {
    let (outbox, mut backlog, fates) = new();
    append(&outbox, 0..MESSAGES_MAX, &fates).await;
    outbox.append_or_drop(item(1_000_000, QoS::AtMostOnce, &fates));
    let figures = outbox.figures();
    assert_eq!((figures.dropped_full, figures.waiting()), (1, MESSAGES_MAX as u64));

    let mut held_up = Box::pin(outbox.append(item(MESSAGES_MAX, QoS::AtLeastOnce, &fates)));
    assert!(is_pending(held_up.as_mut()).await);
    assert_eq!(outbox.figures().waiting(), MESSAGES_MAX as u64, "what is held up has no place yet");
    backlog.next().await.unwrap().item.share.settle();
    soon(held_up).await;
    assert_eq!(backlog.waiting.len(), MESSAGES_MAX);
}

#[tokio::test]
async fn an_append_that_is_cancelled_is_not_counted_and_breaks_its_promise() {
    let (outbox, backlog, fates) = new();
    append(&outbox, 0..MESSAGES_MAX, &fates).await;
    let mut held_up = Box::pin(outbox.append(item(MESSAGES_MAX, QoS::AtLeastOnce, &fates)));
    assert!(is_pending(held_up.as_mut()).await);
    drop(held_up);
    assert_eq!(fates_of(&fates), [(MESSAGES_MAX, "broken")]);
    assert_eq!((outbox.figures().waiting(), backlog.waiting.len()), (MESSAGES_MAX as u64, MESSAGES_MAX));
}

#[tokio::test]
async fn large_messages_fill_it_by_their_bytes_and_one_always_has_room() {
    let (outbox, mut backlog, fates) = new();
    let payload = vec![0; BYTES_MAX / 2];
    let large = |number| Item {
        message: message("t", &payload, QoS::AtLeastOnce),
        ..item(number, QoS::AtLeastOnce, &fates)
    };
    soon(outbox.append(large(0))).await;
    let mut held_up = Box::pin(outbox.append(large(1)));
    assert!(is_pending(held_up.as_mut()).await);
    backlog.next().await.unwrap().item.share.settle();
    soon(held_up).await;
    backlog.next().await.unwrap().item.share.settle();

    let payload = vec![0; BYTES_MAX + 1];
    soon(outbox.append(Item {
        message: message("t", &payload, QoS::AtLeastOnce),
        ..item(2, QoS::AtLeastOnce, &fates)
    }))
    .await;
    assert_eq!(outbox.figures().waiting(), 3, "nobody has confirmed anything");
}

#[tokio::test]
async fn a_permanent_refusal_is_given_up_and_blocks_nothing() {
    let mut broker = Scripted::start(|payload| Some(if payload == "5" { 0x87 } else { 0 })).await;
    let (outbox, backlog, fates) = new();
    let pump = Running::start(backlog, &broker);
    append(&outbox, 0..10, &fates).await;
    assert_eq!(broker.payloads(10).await, texts(0..10));
    let figures = until(&outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (9, 1));
    // It will never be delivered: its source must not offer it again.
    assert_eq!(fates_of(&fates), kept(0..10));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_refusal_for_the_moment_drains_the_window_and_sends_again() {
    let refused = Mutex::new(false);
    let mut broker = Scripted::start(move |payload| {
        let is_first = payload == "5" && !std::mem::replace(&mut *refused.lock().unwrap(), true);
        Some(if is_first { 0x97 } else { 0 })
    })
    .await;
    let (outbox, backlog, fates) = new();
    append(&outbox, 0..10, &fates).await;
    let pump = Running::start(backlog, &broker);
    let mut expected = texts(0..10);
    expected.push("5".to_owned());
    assert_eq!(broker.payloads(11).await, expected);
    let figures = until(&outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (10, 0));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_message_that_has_expired_is_dropped_and_counted() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let (outbox, backlog, fates) = new();
    let properties = PublishProperties::from_values(&PublishPropertyValues {
        message_expiry_s: Some(1),
        ..PublishPropertyValues::default()
    })
    .unwrap();
    // It came at the beginning of 1970.
    let topic = TopicName::parse("t").unwrap();
    let old = Message::new(&topic, b"old", QoS::AtLeastOnce, false, &properties, Now::default());
    soon(outbox.append(Item { message: old, ..item(0, QoS::AtLeastOnce, &fates) })).await;
    append(&outbox, 1..2, &fates).await;
    let pump = Running::start(backlog, &broker);
    assert_eq!(broker.payloads(1).await, ["1"]);
    let figures = until(&outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dropped_expired), (1, 1));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_outbox_that_goes_breaks_every_promise_in_order() {
    let (outbox, backlog, fates) = new();
    append(&outbox, 0..100, &fates).await;
    drop(backlog);
    append(&outbox, 100..101, &fates).await;
    let broken: Vec<_> = (0..101).map(|number| (number, "broken")).collect();
    assert_eq!(fates_of(&fates), broken);
}

#[tokio::test]
async fn the_accounts_are_right_at_all_times() {
    // Confirms, refuses, and is silent, in turns.
    let answer = |payload: &str| match payload.parse::<usize>().unwrap() % 3 {
        0 => Some(0),
        1 => Some(0x87),
        _ => None,
    };
    let mut deaf = Scripted::start(answer).await;
    let (outbox, mut backlog, fates) = new();
    for round in 0..20 {
        let pump = Running::start(backlog, &deaf);
        append(&outbox, round * 100..(round + 1) * 100, &fates).await;
        for number in 0..10 {
            outbox.append_or_drop(item(1_000_000 * round + number * 3, QoS::AtMostOnce, &fates));
        }
        deaf.payloads(50).await;
        backlog = pump.stop(CONNECTION_GONE).await;
        let figures = outbox.figures();
        let there = backlog.unfinished.len() + backlog.waiting.len();
        assert_eq!(figures.waiting(), there as u64, "round {round}: {figures:?}");
        assert_eq!(figures.accepted, 110 * (round as u64 + 1));
    }
    drop(backlog);
    let mut numbers: Vec<usize> = fates_of(&fates).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers.len(), 20 * 110, "each promise has one fate");
    numbers.sort_unstable();
}

#[test]
fn what_is_in_flight_is_found_by_its_cookie_and_given_back_in_order() {
    let (outbox, mut backlog, fates) = new();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..50 {
        let mut in_flight = in_flight::InFlight::default();
        let mut model = Vec::new();
        for number in 0..random.usize(1..60) {
            outbox.append_or_drop(item(number, QoS::AtLeastOnce, &fates));
            model.push((in_flight.put(backlog.waiting.try_recv().unwrap()), number));
        }
        let mut given_back = VecDeque::new();
        for _ in 0..random.usize(0..60) {
            if model.is_empty() {
                break;
            }
            let (cookie, number) = model.remove(random.usize(..model.len()));
            let waiting = in_flight.take(cookie).unwrap();
            assert_eq!(waiting.item.message.payload(), number.to_string().as_bytes());
            waiting.item.share.settle();
            assert!(in_flight.take(cookie).is_none(), "its place is empty");
            assert_eq!(in_flight.open(), model.len());
        }
        in_flight.give_back(&mut given_back);
        let payloads: Vec<_> =
            given_back.iter().map(|waiting| waiting.item.message.payload().to_vec()).collect();
        let expected: Vec<_> = model.iter().map(|(_, number)| number.to_string().into_bytes()).collect();
        assert_eq!(payloads, expected);
    }
}

/// Polls once and tells whether it waits.
async fn is_pending<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut future).poll(cx).is_pending())).await
}
