//! Dead letters and what waits, under the hands of a person.

use crosspoint_client::TopicName;

use super::*;
use crate::outbox::durable::letters::LettersStatus;

async fn bury(kit: &Kit, numbers: Range<usize>) {
    let (mut batch, mut added) = (Batch::new(), Added::default());
    for number in numbers {
        kit.outbox.bury(&mut batch, &mut added, &item(number), "no sink can take it");
    }
    let committed = soon(kit.store.commit(batch)).await.unwrap();
    kit.outbox.settled(added, Some(&committed));
}

async fn payloads(outbox: &Outbox) -> Vec<String> {
    let letters = soon(outbox.letters(0, 100)).await.unwrap();
    let payload = |letter: &DeadLetter| String::from_utf8_lossy(letter.item.message.payload()).into_owned();
    letters.iter().map(|(_, letter)| payload(letter)).collect()
}

#[tokio::test]
async fn letters_are_dropped_in_any_order_and_stay_dropped() {
    let kit = Kit::new(OutboxPlan::default()).await;
    bury(&kit, 0..10).await;
    assert_eq!((kit.outbox.figures().accepted, kit.outbox.figures().dead), (10, 10));
    assert_eq!(kit.outbox.drop_letters(&[7, 3, 3, 99]).await.unwrap(), 2);
    assert_eq!(payloads(&kit.outbox).await, ["0", "1", "2", "4", "5", "6", "8", "9"]);
    assert_eq!(kit.outbox.drop_letters(&[0, 1, 2, 7]).await.unwrap(), 3, "7 is gone already");
    assert_eq!(kit.store.queue_status(11).unwrap().head, 4, "the head passes what was dropped before");
    assert_eq!(kit.outbox.letters_status(), LettersStatus { count: 5, gone: 5 });
    let again = Kit::on(kit.store.clone(), OutboxPlan::default()).await;
    assert_eq!(payloads(&again.outbox).await, ["4", "5", "6", "8", "9"]);
    let all: Vec<u64> = (0..10).collect();
    assert_eq!(again.outbox.drop_letters(&all).await.unwrap(), 5);
    assert_eq!(kit.store.scan(20, None, 100), [], "no marks are left behind");
}

#[tokio::test]
async fn a_letter_is_changed_and_sent_again() {
    let mut broker = Scripted::start(|_| Some(0)).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    bury(&kit, 0..3).await;
    let letter = kit.outbox.letter(1).await.unwrap().unwrap();
    let topic = TopicName::parse("mended/topic").unwrap();
    let changed = DeadLetter { item: letter.item.changed(Some(&topic), Some(b"new")), ..letter };
    let position = kit.outbox.replace_letter(1, &changed).await.unwrap();
    assert_eq!(position, Some(3));
    assert_eq!(kit.outbox.replace_letter(1, &changed).await.unwrap(), None);
    assert_eq!(payloads(&kit.outbox).await, ["0", "2", "new"]);

    let pump = kit.start(&broker);
    assert_eq!(kit.outbox.retry_letters(&[3, 0, 1]).await.unwrap(), 2, "1 is not there any more");
    assert_eq!(broker.payloads(2).await, ["new", "0"]);
    assert_eq!(soon(broker.heard.recv()).await.unwrap().0, "mended/topic");
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.accepted, figures.confirmed, figures.dead), (5, 2, 3));
    assert_eq!(payloads(&kit.outbox).await, ["2"]);
    pump.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn letters_go_back_only_as_far_as_there_is_room() {
    let kit = Kit::new(OutboxPlan { messages_max: 2, ..OutboxPlan::default() }).await;
    bury(&kit, 0..4).await;
    assert_eq!(kit.outbox.retry_letters(&[0, 1, 2, 3]).await.unwrap(), 2);
    assert_eq!(payloads(&kit.outbox).await, ["2", "3"]);
    assert_eq!(kit.outbox.figures().waiting(), 2);
}

#[tokio::test]
async fn the_oldest_letters_go_when_there_are_too_many() {
    let kit = Kit::new(OutboxPlan { dead_letters_max: 5, ..OutboxPlan::default() }).await;
    for number in 0..8 {
        bury(&kit, number..number + 1).await;
    }
    assert_eq!(payloads(&kit.outbox).await, ["3", "4", "5", "6", "7"]);
    assert_eq!(kit.outbox.letters_status(), LettersStatus { count: 5, gone: 3 });
}

#[tokio::test]
async fn one_batch_leaves_no_more_letters_than_may_be_kept() {
    let kit = Kit::new(OutboxPlan { dead_letters_max: 5, ..OutboxPlan::default() }).await;
    bury(&kit, 0..3).await;
    bury(&kit, 3..7).await;
    assert_eq!(payloads(&kit.outbox).await, ["2", "3", "4", "5", "6"]);
    bury(&kit, 7..27).await;
    assert_eq!(payloads(&kit.outbox).await, ["22", "23", "24", "25", "26"]);
    assert_eq!(kit.outbox.letters_status(), LettersStatus { count: 5, gone: 22 });
}

#[tokio::test]
async fn letters_of_batches_that_do_not_know_of_each_other_are_as_many_as_may_be_kept_a_moment_later() {
    let broker = Scripted::start(|_| Some(0)).await;
    let mut kit = Kit::new(OutboxPlan { dead_letters_max: 5, ..OutboxPlan::default() }).await;
    let mut batches = Vec::new();
    for half in [0..4, 4..8] {
        let (mut batch, mut added) = (Batch::new(), Added::default());
        half.for_each(|number| kit.outbox.bury(&mut batch, &mut added, &item(number), "no sink can take it"));
        batches.push((batch, added));
    }
    for (batch, added) in batches {
        let committed = soon(kit.store.commit(batch)).await.unwrap();
        kit.outbox.settled(added, Some(&committed));
    }
    assert_eq!(kit.outbox.letters_status().count, 8);
    kit.start(&broker).stop(Duration::from_secs(5)).await;
    assert_eq!(payloads(&kit.outbox).await, ["3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn a_permanent_refusal_becomes_a_letter_with_its_reason_and_blocks_nothing() {
    let mut broker = Scripted::start(|payload| Some(if payload == "5" { 0x87 } else { 0 })).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    let pump = kit.start(&broker);
    kit.append(0..10).await;
    assert_eq!(broker.payloads(10).await, texts(0..10));
    let figures = until(&kit.outbox, |figures| figures.waiting() == 0).await;
    assert_eq!((figures.confirmed, figures.dead), (9, 1));
    let letters = kit.outbox.letters(0, 10).await.unwrap();
    let (_, letter) = &letters[0];
    assert_eq!(letter.item, item(5));
    assert_eq!((letter.attempts, letter.may_be_delivered), (1, false));
    assert!(letter.reason.contains("refused"), "{}", letter.reason);
    pump.stop(Duration::from_secs(5)).await;
    assert_eq!(kit.store.scan(21, None, 100), [], "the head has passed its mark");
}

#[tokio::test]
async fn what_waits_is_dropped_by_command_unless_it_is_with_the_broker() {
    let mut silent = Scripted::start(|_| None).await;
    let mut kit = Kit::new(OutboxPlan::default()).await;
    kit.append(0..10).await;
    assert_eq!(kit.outbox.drop_waiting(&[2, 3, 3, 77]).await.unwrap(), 2);
    let pump = kit.start(&silent);
    assert_eq!(silent.payloads(8).await, ["0", "1", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(kit.outbox.drop_waiting(&[5]).await.unwrap(), 0, "it is with the broker");
    kit.backlog = Some(pump.stop(Duration::ZERO).await);
    assert_eq!(kit.outbox.drop_waiting(&[5, 0]).await.unwrap(), 2, "now it is not");
    let figures = kit.outbox.figures();
    assert_eq!((figures.accepted, figures.dropped_by_command, figures.waiting()), (10, 4, 6));
    let again = Kit::on(kit.store.clone(), OutboxPlan::default()).await;
    let (count, dropped) = (again.outbox.figures().waiting(), again.outbox.figures().dropped_by_command);
    assert_eq!((count, dropped), (6, 4));
    let waiting = again.outbox.waiting(0, 100).await.unwrap();
    assert_eq!(waiting.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [1, 4, 6, 7, 8, 9]);
}
