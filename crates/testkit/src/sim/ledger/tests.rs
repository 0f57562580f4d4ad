use super::*;

const READER: Reader = Reader(0);
const LANE: Lane = Lane(0);

fn ledger(qos: u8) -> Ledger {
    let places = vec!["north", "south"];
    Ledger::new(
        vec![Reach {
            lane: LANE,
            reader: READER,
            qos,
            places,
            may_drop: false,
            is_will: false,
            keeps_latest: false,
            bears: true,
        }],
        false,
    )
}

fn published(qos: u8, count: usize) -> Ledger {
    let mut ledger = ledger(qos);
    for number in 0..count {
        assert_eq!(ledger.publish(LANE, number as u64), number);
        ledger.confirm(LANE, number);
    }
    ledger
}

fn judged(mut ledger: Ledger) -> String {
    ledger.close();
    ledger.violation().unwrap_or("fine").split(':').next().unwrap().to_owned()
}

#[test]
fn what_was_confirmed_must_come_and_what_was_not_need_not() {
    assert_eq!(judged(published(1, 1)), "lost");
    let mut unconfirmed = ledger(1);
    unconfirmed.publish(LANE, 0);
    assert_eq!(judged(unconfirmed), "fine");
    assert_eq!(judged(published(0, 1)), "fine");
}

#[test]
fn only_at_qos_1_may_a_message_come_again() {
    for (qos, verdict) in [(0, "twice"), (1, "fine"), (2, "twice")] {
        let mut ledger = published(qos, 1);
        ledger.take(READER, LANE, 0, 5);
        ledger.take(READER, LANE, 0, 6);
        assert_eq!(judged(ledger), verdict, "QoS {qos}");
    }
}

#[test]
fn the_order_is_that_of_first_comings() {
    let mut ledger = published(1, 3);
    [0, 1, 0, 1, 2].iter().for_each(|number| ledger.take(READER, LANE, *number, 5));
    assert_eq!(judged(ledger), "fine");
    let mut ledger = published(1, 3);
    [0, 2, 1].iter().for_each(|number| ledger.take(READER, LANE, *number, 5));
    assert_eq!(judged(ledger), "order");
}

#[test]
fn a_copy_that_was_lost_at_qos_0_may_come_late_and_only_from_a_place_that_sends_again() {
    for (qos, place, verdict) in [(0, "north", "fine"), (0, "east", "order"), (1, "north", "order")] {
        let mut ledger = published(qos, 3);
        [0, 2].iter().for_each(|number| ledger.take(READER, LANE, *number, 5));
        ledger.forget(place, Forgot::Unpromised);
        ledger.remember(place, 10);
        ledger.take(READER, LANE, 1, 11);
        assert_eq!(judged(ledger), verdict, "QoS {qos} by {place}");
    }
}

#[test]
fn a_place_that_forgets_excuses_what_was_on_its_way_and_nothing_after() {
    let mut ledger = published(2, 2);
    ledger.take(READER, LANE, 0, 5);
    ledger.forget("north", Forgot::Messages);
    ledger.remember("north", 10);
    ledger.take(READER, LANE, 0, 11);
    assert_eq!(ledger.violation(), None);
    let later = ledger.publish(LANE, 20);
    ledger.confirm(LANE, later);
    assert_eq!(ledger.missing().collect::<Vec<_>>(), [(LANE, 2, READER)]);
    ledger.take(READER, LANE, later, 21);
    ledger.take(READER, LANE, later, 22);
    assert!(ledger.violation().unwrap().starts_with("twice"));
    let mut elsewhere = published(1, 1);
    elsewhere.forget("east", Forgot::Messages);
    assert_eq!(judged(elsewhere), "lost");
}

#[test]
fn a_limit_may_drop_as_many_as_it_says_and_only_on_its_way() {
    for (may_drop, dropped, verdict) in
        [(true, 2, "fine"), (true, 1, "lost"), (true, 0, "lost"), (false, 2, "lost")]
    {
        let mut ledger = published(1, 3);
        ledger.reaches.iter_mut().for_each(|reach| reach.may_drop = may_drop);
        ledger.note_dropped(dropped);
        ledger.take(READER, LANE, 1, 5);
        assert_eq!(ledger.lacks(0), verdict != "fine");
        assert_eq!(ledger.on_their_way(|places| places == ["north", "south"]), 2);
        assert_eq!(judged(ledger), verdict, "{may_drop} {dropped}");
    }
}

#[test]
fn what_nobody_sent_must_not_come() {
    let mut ledger = published(1, 1);
    ledger.take(READER, LANE, 1, 5);
    assert!(ledger.violation().unwrap().contains("not for it"));
}

#[test]
fn of_what_is_replaced_the_newest_must_come() {
    for (came, dropped, verdict) in [(vec![2], 2, "fine"), (vec![1], 2, "lost"), (vec![2], 1, "lost")] {
        let mut ledger = published(1, 3);
        ledger.reaches.iter_mut().for_each(|reach| reach.keeps_latest = true);
        ledger.note_dropped(dropped);
        came.iter().for_each(|number| ledger.take(READER, LANE, *number, 5));
        assert_eq!(ledger.lacks(0), verdict != "fine");
        assert_eq!(judged(ledger), verdict, "{came:?} {dropped}");
    }
}

#[test]
fn what_was_replaced_may_come_late_if_the_newest_comes_again() {
    for (came, verdict) in [(&[1, 0, 1][..], "fine"), (&[1, 0], "latest"), (&[0, 1], "fine")] {
        let mut ledger = published(1, 2);
        ledger.reaches.iter_mut().for_each(|reach| reach.keeps_latest = true);
        came.iter().for_each(|number| ledger.take(READER, LANE, *number, 5));
        assert_eq!(judged(ledger), verdict, "{came:?}");
    }
}

#[test]
fn without_a_fault_qos_0_comes_too_but_for_last_words_on_a_connection_that_is_cut_short() {
    for (cut_short_ms, verdict) in
        [(None, "lost"), (Some(5), "lost"), (Some(12), "fine"), (Some(9_000), "lost")]
    {
        let mut ledger = Ledger { is_calm: true, ..ledger(0) };
        ledger.publish(LANE, 10);
        ledger.confirm(LANE, 0);
        cut_short_ms.into_iter().for_each(|at_ms| ledger.note_cut_short(at_ms));
        assert_eq!(judged(ledger), verdict, "{cut_short_ms:?}");
    }
}

fn poisoned() -> Ledger {
    let mut ledger = published(2, 3);
    ledger.reaches =
        vec![Reach { places: vec!["north", "hub", "south"], bears: false, ..ledger.reaches[0].clone() }];
    ledger.note_poison(LANE, 1);
    [0, 2].iter().for_each(|number| ledger.take(READER, LANE, *number, 5));
    ledger
}

fn letter(number: usize) -> Letter {
    Letter { lane: LANE, number, may_be_delivered: false }
}

#[test]
fn poison_is_a_dead_letter_once_and_comes_when_it_is_sent_again() {
    assert_eq!((poisoned().lacks(0), poisoned().letters_due("south")), (false, 1));
    let buried = [
        (vec![letter(1)], "fine"),
        (vec![], "lost"),
        (vec![letter(1), letter(1)], "letters"),
        (vec![letter(1), letter(2)], "letters"),
    ];
    for (letters, verdict) in buried {
        let mut ledger = poisoned();
        ledger.look_at_letters("south", &letters);
        assert_eq!(judged(ledger), verdict, "{letters:?}");
    }
    let mut early = poisoned();
    early.take(READER, LANE, 1, 6);
    assert_eq!(judged(early), "letters");
    for (comings, verdict) in [(0, "lost"), (1, "fine"), (2, "twice")] {
        let mut ledger = poisoned();
        ledger.look_at_letters("south", &[letter(1)]);
        ledger.cure();
        assert!(ledger.lacks(0));
        (0..comings).for_each(|_| ledger.take(READER, LANE, 1, 9));
        assert_eq!(judged(ledger), verdict, "{comings}");
    }
}
