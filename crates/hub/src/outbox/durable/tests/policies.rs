//! What becomes of messages that cannot wait, that wait too long, or of which only the newest is wanted.

use std::sync::Mutex;

use crosspoint_client::{Message, PublishPropertyValues, TopicFilter, TopicName};
use crosspoint_protocol::packet::PublishProperties;

use super::*;
use crate::config::plan::{Lane, ReplayMark, WhenFull};
use crate::testing::Reaction;

fn few(messages_max: u64, when_full: WhenFull) -> OutboxPlan {
    OutboxPlan { messages_max, when_full, ..OutboxPlan::default() }
}

fn at_qos_0(number: usize) -> Item {
    Item {
        message: message("t", number.to_string().as_bytes(), QoS::AtMostOnce),
        qos: QoS::AtMostOnce,
        ..item(number)
    }
}

fn on(topic: &str, number: usize) -> Item {
    Item { message: message(topic, number.to_string().as_bytes(), QoS::AtLeastOnce), ..item(number) }
}

/// Returns the numbers of what waits, oldest first.
async fn waiting(outbox: &Outbox) -> Vec<usize> {
    let (mut numbers, mut from) = (Vec::new(), 0);
    loop {
        let part = soon(outbox.waiting(from, 100)).await.unwrap();
        let Some((last, _)) = part.last() else { return numbers };
        from = last + 1;
        numbers.extend(part.iter().map(|(_, item)| number_of(item)));
    }
}

fn number_of(item: &Item) -> usize {
    std::str::from_utf8(item.message.payload()).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_full_outbox_holds_promised_messages_up_and_drops_the_others() {
    let mut kit = Kit::new(few(10, WhenFull::Block)).await;
    kit.append(0..10).await;
    kit.append_all([at_qos_0(99)]).await;
    let figures = kit.outbox.figures();
    assert_eq!((figures.accepted, figures.dropped_full, figures.waiting()), (11, 1, 10));

    let (outbox, new) = (kit.outbox.clone(), item(10));
    let mut held_up = Box::pin(outbox.admit(&new));
    assert!(is_pending(held_up.as_mut()).await);
    assert_eq!(kit.outbox.blocked_by().as_deref(), Some("f"), "whoever waits is named");
    let broker = Scripted::start(|_| Some(0)).await;
    let pump = kit.start(&broker);
    drop(soon(held_up).await);
    assert_eq!(kit.outbox.blocked_by(), None);
    until(&kit.outbox, |figures| figures.waiting() == 0).await;
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn room_that_was_given_and_not_used_comes_back() {
    let kit = Kit::new(few(1, WhenFull::Block)).await;
    let (one, two) = (item(1), item(2));
    let admission = soon(kit.outbox.admit(&one)).await;
    let mut held_up = Box::pin(kit.outbox.admit(&two));
    assert!(is_pending(held_up.as_mut()).await);
    drop(admission);
    let admission = soon(held_up).await;

    let (mut batch, mut added) = (Batch::new(), Added::default());
    kit.outbox.add(&mut batch, &mut added, two, admission);
    // The commit fails: nothing of it was kept.
    kit.outbox.settled(added, None);
    assert_eq!(kit.outbox.figures(), OutboxFigures::default());
    drop(soon(kit.outbox.admit(&one)).await);
}

#[tokio::test]
async fn large_messages_fill_it_by_their_bytes_and_one_always_has_room() {
    let policy = OutboxPlan { bytes_max: 10_000, ..OutboxPlan::default() };
    let kit = Kit::new(policy).await;
    let large =
        |bytes: usize| Item { message: message("t", &vec![b'0'; bytes], QoS::AtLeastOnce), ..item(0) };
    kit.append_all([large(20_000)]).await;
    assert_eq!(kit.outbox.figures().waiting(), 1);
    let next = large(1);
    assert!(is_pending(Box::pin(kit.outbox.admit(&next))).await);
}

#[tokio::test]
async fn drop_newest_drops_what_comes() {
    let kit = Kit::new(few(5, WhenFull::DropNewest)).await;
    kit.append(0..8).await;
    let figures = kit.outbox.figures();
    assert_eq!((figures.accepted, figures.dropped_full), (8, 3));
    assert_eq!(waiting(&kit.outbox).await, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn drop_oldest_drops_what_has_waited_longest_and_is_not_with_the_broker() {
    let mut silent = Scripted::start(|_| None).await;
    let mut kit = Kit::new(few(5, WhenFull::DropOldest)).await;
    let pump = kit.start(&silent);
    kit.append(0..2).await;
    assert_eq!(silent.payloads(2).await, texts(0..2));
    let backlog = pump.stop(Duration::ZERO).await;
    // What is kept back was with the broker and is the oldest now.
    let (stop, stopped) = oneshot::channel();
    let nowhere = Scripted::nowhere();
    let task = tokio::spawn(backlog.pump(Target::Remote(nowhere.clone()), Vec::new(), stopped));
    for number in 2..9 {
        kit.append(number..number + 1).await;
    }
    let figures = kit.outbox.figures();
    assert_eq!((figures.accepted, figures.dropped_full), (9, 4));
    assert_eq!(waiting(&kit.outbox).await, [4, 5, 6, 7, 8]);
    stop.send(()).unwrap();
    soon(async { tokio::join!(task, nowhere.close(Duration::ZERO)) }).await.0.unwrap();
}

#[tokio::test]
async fn what_is_with_the_broker_is_not_dropped_for_newer_messages() {
    let mut silent = Scripted::start(|_| None).await;
    let mut kit = Kit::new(few(5, WhenFull::DropOldest)).await;
    let pump = kit.start(&silent);
    kit.append(0..5).await;
    assert_eq!(silent.payloads(5).await, texts(0..5));
    let new = item(5);
    assert!(is_pending(Box::pin(kit.outbox.admit(&new))).await, "there is nothing that may be dropped");
    assert_eq!(kit.outbox.figures().dropped_full, 0);
    pump.stop(Duration::ZERO).await;
}

fn keep_latest() -> OutboxPlan {
    let keep_latest = vec![TopicFilter::parse("state/#").unwrap()];
    OutboxPlan { keep_latest, ..OutboxPlan::default() }
}

#[tokio::test]
async fn of_a_state_only_the_newest_waits_and_goes_in_its_turn() {
    let mut kit = Kit::new(keep_latest()).await;
    for number in 0..10 {
        kit.append_all([on("state/a", number), on("event", 100 + number), on("state/b", 200 + number)]).await;
    }
    let figures = kit.outbox.figures();
    assert_eq!((figures.accepted, figures.replaced, figures.waiting()), (30, 18, 12));
    let mut expected: Vec<usize> = (100..109).collect();
    expected.extend([9, 109, 209]);
    assert_eq!(waiting(&kit.outbox).await, expected);

    let mut broker = Scripted::start(|_| Some(0)).await;
    let pump = kit.start(&broker);
    let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(broker.payloads(12).await, expected);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.replaced, figures.waiting_bytes), (12, 18, 0));
    pump.stop(Duration::from_secs(5)).await;
    assert_eq!(kit.outbox.head(), 30);
}

#[tokio::test]
async fn a_state_that_waits_is_replaced_after_a_restart_too() {
    let disk = SimulatedDisk::new();
    let kit = Kit::on(Store::open(disk.clone(), store_options()).unwrap(), keep_latest()).await;
    kit.append_all([on("state/a", 0), on("event", 1), on("state/a", 2)]).await;
    kit.store.close();
    drop(kit);
    let kit = Kit::on(Store::open(disk.after_kill(), store_options()).unwrap(), keep_latest()).await;
    let figures = kit.outbox.figures();
    assert_eq!((figures.accepted, figures.replaced, figures.waiting()), (3, 1, 2));
    kit.append_all([on("state/a", 3)]).await;
    assert_eq!(waiting(&kit.outbox).await, [1, 3]);
}

#[tokio::test]
async fn a_state_that_is_with_the_broker_is_not_replaced() {
    let mut silent = Scripted::start(|_| None).await;
    let mut kit = Kit::new(keep_latest()).await;
    let pump = kit.start(&silent);
    kit.append_all([on("state/a", 0)]).await;
    silent.payloads(1).await;
    kit.append_all([on("state/a", 1)]).await;
    assert_eq!(silent.payloads(1).await, ["1"]);
    assert_eq!(kit.outbox.figures().replaced, 0);
    pump.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_message_that_has_expired_or_is_too_old_is_dropped_and_counted() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let policy = OutboxPlan { age_max: Some(Duration::from_secs(100)), ..OutboxPlan::default() };
    let mut kit = Kit::new(policy).await;
    let properties = PublishProperties::from_values(&PublishPropertyValues {
        message_expiry_s: Some(1),
        ..PublishPropertyValues::default()
    })
    .unwrap();
    // It came at the beginning of 1970.
    let topic = TopicName::parse("t").unwrap();
    let expired = Message::new(&topic, b"5", QoS::AtLeastOnce, false, &properties, Now::default());
    let old = Item { accepted_wall_ms: 800_000, ..item(6) };
    kit.append_all([Item { message: expired, ..item(5) }, old, item(1)]).await;
    let pump = kit.start(&broker);
    assert_eq!(broker.payloads(1).await, ["1"]);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dropped_expired), (1, 2));
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
    let mut kit = Kit::new(OutboxPlan::default()).await;
    kit.append(0..10).await;
    let pump = kit.start(&broker);
    let mut expected = texts(0..10);
    expected.push("5".to_owned());
    assert_eq!(broker.payloads(11).await, expected);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead, figures.reordered), (10, 0, 1));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn with_the_order_of_topics_a_refusal_for_the_moment_holds_up_its_topic_alone() {
    let refused = Mutex::new(false);
    let mut broker = Scripted::start(move |payload| {
        let is_first = payload == "0" && !std::mem::replace(&mut *refused.lock().unwrap(), true);
        Some(if is_first { 0x97 } else { 0 })
    })
    .await;
    let policy = OutboxPlan { lane: Lane::Topic, ..OutboxPlan::default() };
    let mut kit = Kit::new(policy).await;
    let of_topic = |topic, number: usize| Item {
        message: message(topic, number.to_string().as_bytes(), QoS::AtLeastOnce),
        ..item(number)
    };
    kit.append_all([of_topic("a", 0), of_topic("b", 1)]).await;
    let pump = kit.start(&broker);
    assert_eq!(broker.payloads(2).await, texts(0..2));
    until(&kit.outbox, |figures| figures.reordered == 1).await;
    kit.append_all([of_topic("a", 2), of_topic("b", 3), of_topic("c", 4)]).await;
    assert_eq!(broker.payloads(4).await, ["3", "4", "0", "2"]);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (5, 0));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_message_that_is_refused_too_often_goes_to_the_dead_letters() {
    let mut broker = Scripted::start(|payload| Some(if payload == "5" { 0x97 } else { 0 })).await;
    let mut kit = Kit::new(OutboxPlan { attempts_max: Some(2), ..OutboxPlan::default() }).await;
    kit.append(0..10).await;
    let pump = kit.start(&broker);
    broker.payloads(11).await;
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (9, 1));
    let letters = kit.outbox.letters(0, 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].1.attempts), (1, 2));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_the_broker_cannot_take_is_never_sent() {
    // Maximum QoS 1, no retained messages, at most 64 bytes a packet.
    let mut broker =
        Scripted::start_with(&[0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 64], |_| Reaction::Answer(0)).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    let retained = Item { retain: true, ..item(1) };
    let exact = Item { qos: QoS::ExactlyOnce, ..item(2) };
    let large = Item { message: message("t", &[b'3'; 64], QoS::AtLeastOnce), ..item(3) };
    kit.append_all([item(0), retained, exact, large, item(4)]).await;
    let pump = kit.start(&broker);
    assert_eq!(broker.payloads(2).await, ["0", "4"]);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (2, 3));
    let letters = kit.outbox.letters(0, 10).await.unwrap();
    let reasons: Vec<&str> = letters.iter().map(|(_, letter)| letter.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "it is retained, and the broker keeps no retained messages",
            "it has QoS 2, and the broker takes at most 1",
            "it needs a packet of 72 bytes, and the broker takes at most 64",
        ]
    );
    assert!(letters.iter().all(|(_, letter)| letter.attempts == 0 && !letter.may_be_delivered));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_nothing_is_promised_about_goes_past_the_queue() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    kit.append_all([at_qos_0(0)]).await;
    assert_eq!(kit.store.queue_status(9).unwrap().next, 1, "without a connection it waits with the others");
    let pump = kit.start(&broker);
    assert_eq!(broker.payloads(1).await, ["0"]);
    until(&kit.outbox, |figures| figures.sent == 1).await;
    for number in 1..4 {
        kit.append_all([at_qos_0(number)]).await;
        assert_eq!(broker.payloads(1).await, [number.to_string()]);
        until(&kit.outbox, |figures| figures.sent == number as u64 + 1).await;
    }
    assert_eq!(kit.store.queue_status(9).unwrap().next, 1);
    pump.stop(Duration::from_secs(5)).await;
    let again = Kit::on(kit.store.clone(), OutboxPlan::default()).await;
    assert_eq!(again.outbox.figures(), kit.outbox.figures());
}

#[tokio::test]
async fn a_message_that_has_waited_for_a_connection_bears_a_mark() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let mark = ReplayMark {
        property: Some("late".to_owned()),
        topic_prefix: Some("replay/".to_owned()),
        after: Duration::ZERO,
    };
    let mut kit = Kit::new(OutboxPlan { replay_mark: Some(mark), ..OutboxPlan::default() }).await;
    kit.append_all([Item { accepted_wall_ms: 999_000, ..item(0) }]).await;
    let pump = kit.start(&broker);
    broker.payloads(1).await;
    kit.append_all([Item { accepted_wall_ms: 2_000_000, ..item(1) }]).await;
    broker.payloads(1).await;
    let (topic, properties) = soon(broker.heard.recv()).await.unwrap();
    assert_eq!((topic.as_str(), &properties[..]), ("replay/t", &b"\x26\0\x04late\0\x04true"[..]));
    let (topic, properties) = soon(broker.heard.recv()).await.unwrap();
    assert_eq!((topic.as_str(), properties), ("t", Vec::new()));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_backlog_leaves_at_its_pace_and_what_is_fresh_is_not_held_to_it() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let policy = OutboxPlan { backlog_per_s: Some(50), ..OutboxPlan::default() };
    let mut kit = Kit::new(policy).await;
    kit.append_all((0..20).map(|number| Item { accepted_wall_ms: 999_000, ..item(number) })).await;
    let pump = kit.start(&broker);
    broker.payloads(1).await;
    let began = Instant::now();
    kit.append_all((20..2_000).map(|number| Item { accepted_wall_ms: 2_000_000, ..item(number) })).await;
    assert_eq!(broker.payloads(1_999).await.last().unwrap(), "1999");
    // 19 messages at 50 a second, of which a tenth of a second's worth may go at once; 1,980 would take 40 s.
    let took = began.elapsed();
    assert!(took > Duration::from_millis(200) && took < Duration::from_secs(10), "{took:?}");
    pump.stop(Duration::from_secs(5)).await;
}
