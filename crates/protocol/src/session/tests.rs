use smallvec::SmallVec;

use super::{Incoming, IncomingId, Offer, Outgoing, OutgoingId, OutgoingWindow, Release, Slot, Stage};
use crate::{Message, Now, PacketId, QoS, ReasonCode, TopicName, packet::PublishProperties};

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn message(cookie: u64) -> Outgoing {
    let topic = TopicName::parse("t").unwrap();
    let properties = PublishProperties::default();
    let message = Message::new(&topic, b"", QoS::ExactlyOnce, false, &properties, Now::default());
    Outgoing { message, subscription_ids: SmallVec::new(), cookie, qos: QoS::ExactlyOnce, retain: false }
}

fn publish(window: &mut OutgoingWindow, cookie: u64) -> u16 {
    window.assign(Slot::Publish(Stage::Published, message(cookie))).unwrap().packet_id().value()
}

fn in_flight(window: &OutgoingWindow) -> Vec<(u16, u64)> {
    window.iter().map(|(id, _, outgoing)| (id.packet_id().value(), outgoing.cookie)).collect()
}

#[test]
fn a_window_gives_identifiers_out_in_order_and_takes_them_back_in_any() {
    let mut window = OutgoingWindow::default();
    assert_eq!((1..=4).map(|cookie| publish(&mut window, cookie)).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(window.finish(id(2)).is_some());
    assert_eq!(in_flight(&window), [(1, 1), (3, 3), (4, 4)]);
    assert_eq!(window.places(), 4);
    window.finish(id(1));
    assert_eq!(window.places(), 2);
    window.finish(id(4));
    window.finish(id(3));
    assert!(window.is_empty());
    assert_eq!(window.places(), 0);
    assert_eq!(publish(&mut window, 5), 5);
}

#[test]
fn an_identifier_that_is_not_in_use_is_not_found() {
    let mut window = OutgoingWindow::default();
    publish(&mut window, 1);
    for value in [2, 3, 65_535] {
        assert!(window.slot_mut(id(value)).is_none());
        assert!(window.finish(id(value)).is_none());
    }
    assert_eq!(window.len(), 1);
}

#[test]
fn a_window_is_bounded_by_its_oldest_exchange() {
    let mut window = OutgoingWindow::default();
    publish(&mut window, 0);
    let mut count = 1;
    while window.room() > 0 {
        let last = publish(&mut window, count);
        window.finish(id(last));
        count += 1;
    }
    assert_eq!(count, 16_384);
    assert!(window.assign(Slot::Subscribe(1)).is_none());
    window.finish(id(1));
    assert_eq!(window.room(), 16_384);
    assert_eq!(window.places(), 0);
}

#[test]
fn a_window_goes_round_behind_65_535() {
    let mut window = OutgoingWindow::default();
    assert!(window.restore(OutgoingId(id(65_534)), Stage::Published, message(1)));
    assert_eq!((2..=4).map(|cookie| publish(&mut window, cookie)).collect::<Vec<_>>(), [65_535, 1, 2]);
    assert!(window.finish(id(1)).is_some());
    assert_eq!(in_flight(&window), [(65_534, 1), (65_535, 2), (2, 4)]);
}

#[test]
fn a_restored_exchange_goes_on_where_it_may_have_been_sent() {
    let mut window = OutgoingWindow::default();
    for (value, stage) in
        [(1, Stage::Assigned), (2, Stage::Published), (3, Stage::Received), (5, Stage::Released)]
    {
        assert!(window.restore(OutgoingId(id(value)), stage, message(u64::from(value))));
    }
    let stages: Vec<Stage> = window.iter().map(|(_, stage, _)| stage).collect();
    assert_eq!(stages, [Stage::Published, Stage::Published, Stage::Released, Stage::Released]);
    // Neither one that is there, nor one before it.
    for value in [5, 4, 1] {
        assert!(!window.restore(OutgoingId(id(value)), Stage::Published, message(0)));
    }
    assert_eq!(window.len(), 4);
}

#[test]
fn what_is_taken_out_of_a_window_is_unfinished_and_in_order() {
    let mut window = OutgoingWindow::default();
    publish(&mut window, 1);
    window.assign(Slot::Subscribe(1));
    publish(&mut window, 2);
    publish(&mut window, 3);
    window.finish(id(3));
    let cookies: Vec<u64> = window.take_unfinished().iter().map(|outgoing| outgoing.cookie).collect();
    assert_eq!(cookies, [1, 3]);
    assert!(window.is_empty());
    assert_eq!(window.places(), 0);
}

#[test]
fn requests_leave_a_window_without_leaving_messages_behind() {
    let mut window = OutgoingWindow::default();
    window.assign(Slot::Subscribe(1));
    publish(&mut window, 1);
    window.assign(Slot::Unsubscribe(1));
    window.forget_requests();
    assert_eq!(in_flight(&window), [(2, 1)]);
    window.finish(id(2));
    assert_eq!(window.places(), 0);
}

#[test]
fn a_session_that_waits_holds_no_room_for_what_has_ended() {
    let mut window = OutgoingWindow::default();
    for cookie in 0..1_000 {
        let value = publish(&mut window, cookie);
        if cookie > 1 {
            window.finish(id(value));
        }
    }
    window.finish(id(1));
    window.finish(id(2));
    window.forget_requests();
    assert_eq!(window.places_held(), 0);
}

#[test]
fn an_incoming_identifier_is_new_then_pending_then_known_then_new() {
    let mut incoming = Incoming::default();
    let id = IncomingId(id(7));
    let Offer::New(token) = incoming.offer(id) else { panic!("it is new") };
    assert_eq!(incoming.offer(id), Offer::Pending(token));
    assert_eq!(incoming.ask_release(id), Release::Undecided);
    incoming.decide(token, ReasonCode::Success);
    assert_eq!(incoming.offer(id), Offer::Known);
    assert_eq!(incoming.ask_release(id), Release::Recorded);
    incoming.release(id);
    assert_eq!(incoming.ask_release(id), Release::Unknown);
    assert!(matches!(incoming.offer(id), Offer::New(other) if other != token));
}

#[test]
fn an_old_token_decides_nothing_new() {
    let mut incoming = Incoming::default();
    let id = IncomingId(id(7));
    let Offer::New(old) = incoming.offer(id) else { panic!("it is new") };
    incoming.decide(old, ReasonCode::QuotaExceeded);
    assert!(incoming.is_empty());
    incoming.offer(id);
    incoming.decide(old, ReasonCode::Success);
    assert_eq!(incoming.recorded().count(), 0);
    incoming.clear();
    assert!(matches!(incoming.offer(id), Offer::New(new) if new > old));
}

#[test]
fn each_connection_counts_what_came_on_it() {
    let mut incoming = Incoming::default();
    incoming.restore(IncomingId(id(1)));
    let Offer::New(token) = incoming.offer(IncomingId(id(2))) else { panic!("it is new") };
    assert_eq!(incoming.counted(), 1);
    incoming.offer(IncomingId(id(2)));
    assert_eq!(incoming.counted(), 1);
    incoming.begin_connection();
    assert_eq!(incoming.counted(), 0);
    incoming.offer(IncomingId(id(1)));
    incoming.offer(IncomingId(id(2)));
    assert_eq!(incoming.counted(), 2);
    incoming.decide(token, ReasonCode::QuotaExceeded);
    incoming.release(IncomingId(id(1)));
    assert_eq!((incoming.counted(), incoming.len()), (0, 0));
}

#[test]
fn a_message_at_qos_1_is_set_aside_whole_and_one_at_qos_2_keeps_its_exchange() {
    let mut window = OutgoingWindow::default();
    let at_qos_1 = Outgoing { qos: QoS::AtLeastOnce, ..message(1) };
    let one = window.assign(Slot::Publish(Stage::Published, at_qos_1)).unwrap();
    let two = OutgoingId(id(publish(&mut window, 2)));
    let in_flight = |window: &OutgoingWindow| {
        window.iter().map(|(id, stage, outgoing)| (id, stage, outgoing.cookie)).collect::<Vec<_>>()
    };
    assert!(window.set_aside(one) && window.set_aside(two));
    assert_eq!((in_flight(&window), window.len(), window.has_aside()), (vec![], 1, true));
    assert!(!window.set_aside(one) && !window.give_up(one, 98), "it is not there any more");
    assert!(window.resume(two, 98) && !window.resume(two, 98));
    assert_eq!(in_flight(&window), [(two, Stage::Published, 98)]);
    assert!(window.set_aside(two) && window.give_up(two, 99));
    assert_eq!((in_flight(&window), window.has_aside()), (vec![(two, Stage::Released, 99)], false));
    assert!(!window.set_aside(two), "the peer is told that it may forget it");
}
