//! A message that ends every connection on which it is sent.

use super::*;
use crate::testing::Reaction;

/// A broker that hangs up when it sees certain messages.
async fn broker(is_poison: impl Fn(&str) -> bool + Send + Sync + 'static) -> Scripted {
    let reaction = move |payload: &str| if is_poison(payload) { Reaction::Cut } else { Reaction::Answer(0) };
    Scripted::start_with(&[], reaction).await
}

#[tokio::test]
async fn what_ends_every_connection_is_found_out_and_the_rest_flows_on() {
    let mut broker = broker(|payload| payload == "50").await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    kit.append(0..100).await;
    let pump = kit.start(&broker);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (99, 1));
    let letters = kit.outbox.letters(0, 10).await.unwrap();
    let (_, letter) = &letters[0];
    assert_eq!(letter.item, item(50));
    assert!(letter.may_be_delivered && !letter.last_error.is_empty(), "{letter:?}");
    assert!(letter.reason.contains("this message alone"), "{}", letter.reason);
    kit.append(100..2_000).await;
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (1_999, 1));
    pump.stop(Duration::from_secs(5)).await;
    let mut came: Vec<String> = Vec::new();
    while let Ok(payload) = broker.came.try_recv() {
        came.push(payload);
    }
    let mut firsts = came.clone();
    let mut seen = std::collections::BTreeSet::new();
    firsts.retain(|payload| seen.insert(payload.clone()));
    assert_eq!(firsts, texts(0..2_000), "first transmissions keep their order");
    let times = came.iter().filter(|payload| *payload == "50").count();
    assert!((3..=9).contains(&times), "it was sent {times} times");
}

#[tokio::test]
async fn two_of_them_in_a_row_are_both_found_out() {
    let broker = broker(|payload| payload == "5" || payload == "6").await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    kit.append(0..20).await;
    let pump = kit.start(&broker);
    let figures = until(&kit.outbox, |figures| figures.confirmed == 18 && figures.waiting() == 0).await;
    assert_eq!(figures.dead, 2);
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_connection_that_ends_whatever_is_sent_buries_nothing() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let mut broker = broker(move |_| down.load(Ordering::Relaxed)).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    kit.append(0..20).await;
    let pump = kit.start(&broker);
    // Long enough that one is put aside and taken back again and again.
    broker.payloads(60).await;
    is_down.store(false, Ordering::Relaxed);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (20, 0));
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_put_aside_when_the_client_goes_is_sent_by_the_next_one() {
    let reaction = |payload: &str| if payload == "0" { Reaction::Cut } else { Reaction::Silence };
    let mut squeamish = Scripted::start_with(&[], reaction).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    kit.append(0..2).await;
    let pump = kit.start(&squeamish);
    // The second message comes to it only when the first one is aside.
    while squeamish.payloads(1).await != ["1"] {}
    kit.backlog = Some(pump.stop(Duration::ZERO).await);
    let tolerant = broker(|_| false).await;
    let pump = kit.start(&tolerant);
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (2, 0));
    pump.stop(Duration::from_secs(5)).await;
}
