use std::time::Duration;

use crosspoint_client::{Cause, Delta, MemoryStore, Protocol, QoS, ReasonCode, SessionKeeping, State};
use crosspoint_protocol::{
    PacketId,
    packet::{Ack, Packet},
};

use crate::harness::*;

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn ack(value: u16) -> Ack {
    Ack::new(id(value), ReasonCode::Success)
}

#[tokio::test(start_paused = true)]
async fn acks_leave_in_the_order_in_which_the_messages_came() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    peer.deliver("a", "1", QoS::AtLeastOnce, 11).await;
    peer.deliver("a", "2", QoS::ExactlyOnce, 12).await;
    peer.deliver("a", "3", QoS::AtLeastOnce, 13).await;
    let first = next(&mut world.deliveries).await;
    let second = next(&mut world.deliveries).await;
    let third = next(&mut world.deliveries).await;
    assert!(matches!(second.delta, Some(Delta::Offered { .. })));
    third.ack.accept();
    second.ack.reject(ReasonCode::QuotaExceeded);
    tokio::time::timeout(Duration::from_secs(5), peer.recv()).await.unwrap_err();
    first.ack.accept();
    assert_eq!(peer.recv().await, Packet::PubAck(ack(11)));
    assert_eq!(peer.recv().await, Packet::PubRec(Ack::new(id(12), ReasonCode::QuotaExceeded)));
    assert_eq!(peer.recv().await, Packet::PubAck(ack(13)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_ack_offers_the_message_again_after_a_growing_wait() {
    let mut world = start(options().redelivery_ms(100, 1_000));
    let mut peer = world.network.let_in(false).await;
    peer.deliver("a", "1", QoS::AtLeastOnce, 1).await;
    let mut last = None;
    for attempt in 1..=4_u32 {
        let delivery = next(&mut world.deliveries).await;
        assert_eq!((delivery.attempt, payload(&delivery).as_str()), (attempt, "1"));
        let at = tokio::time::Instant::now();
        if let Some(last) = last.replace(at) {
            let wait = at - last;
            let least = Duration::from_millis(100 << (attempt - 2));
            assert!(wait >= least && wait < least + Duration::from_millis(20), "{attempt}: {wait:?}");
        }
        if attempt == 4 {
            delivery.ack.accept();
        }
    }
    assert_eq!(peer.recv().await, Packet::PubAck(ack(1)));
    assert_eq!(world.client.counters().offered_again, 3);
}

#[tokio::test(start_paused = true)]
async fn a_late_accept_at_qos_2_answers_the_copy_on_the_next_connection() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    peer.deliver("a", "1", QoS::ExactlyOnce, 7).await;
    let delivery = next(&mut world.deliveries).await;
    peer.cut();
    let mut peer = world.network.let_in(true).await;
    let again = Flags { dup: true, ..Flags::default() };
    peer.deliver_with("a", "1", QoS::ExactlyOnce, 7, &[], again).await;
    peer.deliver("a", "2", QoS::AtMostOnce, 0).await;
    assert_eq!(payload(&next(&mut world.deliveries).await), "2", "the copy is not delivered");
    delivery.ack.accept();
    assert_eq!(peer.recv().await, Packet::PubRec(ack(7)));
    peer.send(Packet::PubRel(ack(7))).await;
    assert_eq!(peer.recv().await, Packet::PubComp(ack(7)));
}

#[tokio::test(start_paused = true)]
async fn an_accept_between_two_connections_is_not_forgotten() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    peer.deliver("a", "1", QoS::ExactlyOnce, 7).await;
    let delivery = next(&mut world.deliveries).await;
    peer.cut();
    reach(&world.client, |state| matches!(state, State::BackingOff { .. })).await;
    delivery.ack.accept();
    let mut peer = world.network.accept().await;
    settle().await;
    peer.welcome(true).await;
    let again = Flags { dup: true, ..Flags::default() };
    peer.deliver_with("a", "1", QoS::ExactlyOnce, 7, &[], again).await;
    assert_eq!(peer.recv().await, Packet::PubRec(ack(7)));
    assert!(world.deliveries.try_next().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_ack_of_an_earlier_connection_is_offered_again_at_qos_2_only() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    peer.deliver("a", "one", QoS::AtLeastOnce, 1).await;
    peer.deliver("a", "two", QoS::ExactlyOnce, 2).await;
    let one = next(&mut world.deliveries).await;
    let two = next(&mut world.deliveries).await;
    peer.cut();
    let mut peer = world.network.let_in(true).await;
    reach(&world.client, State::is_connected).await;
    drop((one, two));
    let offered = next(&mut world.deliveries).await;
    assert_eq!(payload(&offered), "two");
    offered.ack.accept();
    let again = Flags { dup: true, ..Flags::default() };
    peer.deliver_with("a", "one", QoS::AtLeastOnce, 1, &[], again).await;
    peer.deliver_with("a", "two", QoS::ExactlyOnce, 2, &[], again).await;
    let one = next(&mut world.deliveries).await;
    assert_eq!(payload(&one), "one", "the server sent it again");
    one.ack.accept();
    assert_eq!(peer.recv().await, Packet::PubAck(ack(1)));
    assert_eq!(peer.recv().await, Packet::PubRec(ack(2)));
}

#[tokio::test(start_paused = true)]
async fn untaken_copies_of_an_earlier_connection_give_way_to_those_sent_again() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    peer.deliver("a", "1", QoS::AtLeastOnce, 1).await;
    settle().await;
    peer.cut();
    let mut peer = world.network.let_in(true).await;
    settle().await;
    peer.deliver_with("a", "1", QoS::AtLeastOnce, 1, &[], Flags { dup: true, ..Flags::default() }).await;
    next(&mut world.deliveries).await.ack.accept();
    assert_eq!(peer.recv().await, Packet::PubAck(ack(1)));
    assert!(world.deliveries.try_next().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_pauses_reading_and_nothing_is_lost() {
    let mut world = start_with(options().delivery_queue_max(10, 1 << 20), Box::new(MemoryStore), 256);
    let mut peer = world.network.let_in(false).await;
    let server = tokio::spawn(async move {
        for i in 0..500 {
            peer.deliver("a", &i.to_string(), QoS::AtMostOnce, 0).await;
        }
        peer
    });
    tokio::time::sleep(Duration::from_secs(60)).await; // pace: the clock is the test's own
    assert!(!server.is_finished(), "the server is held back");
    for i in 0..500 {
        assert_eq!(payload(&next(&mut world.deliveries).await), i.to_string());
    }
    server.await.unwrap();
    assert_eq!(world.client.counters().dropped_full, 0);
}

#[tokio::test(start_paused = true)]
async fn qos_0_over_the_limit_is_dropped_and_counted_while_an_answer_is_awaited() {
    let mut world = start(options().delivery_queue_max(10, 1 << 20));
    let mut peer = world.network.let_in(false).await;
    let sent = world.client.try_publish(publication("a", "x", QoS::AtLeastOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    for i in 0..30 {
        peer.deliver("a", &i.to_string(), QoS::AtMostOnce, 0).await;
        settle().await;
    }
    peer.puback(id).await;
    sent.await.unwrap();
    assert_eq!(world.client.counters().dropped_full, 20);
    for i in 0..10 {
        assert_eq!(payload(&next(&mut world.deliveries).await), i.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_our_receive_maximum_is_held_back_and_not_hung_up_on() {
    let mut world = start_with(options().receive_maximum(4), Box::new(MemoryStore), 256);
    let mut peer = world.network.let_in(false).await;
    assert_eq!(peer.connect.properties.receive_maximum, Some(4));
    let server = tokio::spawn(async move {
        for i in 1..=300 {
            peer.deliver("a", &i.to_string(), QoS::ExactlyOnce, i).await;
        }
        peer
    });
    tokio::time::sleep(Duration::from_secs(60)).await; // pace: the clock is the test's own
    assert!(!server.is_finished(), "the server is held back");
    for i in 1..=300 {
        let delivery = next(&mut world.deliveries).await;
        assert_eq!(payload(&delivery), i.to_string());
        delivery.ack.accept();
    }
    let mut peer = server.await.unwrap();
    for i in 1..=300 {
        assert_eq!(peer.recv().await, Packet::PubRec(ack(i)));
    }
    assert!(world.client.state().borrow().is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_its_own_target_never_hangs() {
    let tiny = options().delivery_queue_max(4, 1 << 20).protocol(Protocol::V3_1_1).receive_maximum(4);
    let mut world = start_with(tiny, Box::new(MemoryStore), 256);
    let mut peer = world.network.let_in(false).await;
    // The server: sends back what it gets, and floods besides.
    let server = tokio::spawn(async move {
        for i in 0..200_u16 {
            peer.deliver("a", "flood", QoS::AtLeastOnce, 1_000 + i).await;
        }
        let mut confirmed = 0;
        while confirmed < 200 {
            match peer.recv().await {
                Packet::Publish(publish) => {
                    peer.deliver("flood", "x", QoS::AtMostOnce, 0).await;
                    peer.puback(publish.packet_id.unwrap()).await;
                }
                Packet::PubAck(_) => confirmed += 1,
                other => panic!("unexpected {other:?}"),
            }
        }
        peer
    });
    // The program: accepts a message only when what it publishes to the same client is confirmed.
    let mut accepted = 0;
    while accepted < 200 {
        let delivery = next(&mut world.deliveries).await;
        if payload(&delivery) == "flood" {
            let published = world.client.publish(publication("b", "y", QoS::AtLeastOnce));
            tokio::time::timeout(Duration::from_secs(60), published).await.expect("no hang").unwrap();
            accepted += 1;
        }
        delivery.ack.accept();
    }
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_reader_still_keeps_the_connection_alive() {
    let opts = options().delivery_queue_max(1, 1 << 20).keep_alive_s(10).ping_timeout_ms(5_000);
    let mut world = start(opts);
    let mut peer = world.network.let_in(false).await;
    peer.deliver("a", "1", QoS::AtMostOnce, 0).await;
    peer.deliver("a", "2", QoS::AtLeastOnce, 1).await;
    for _ in 0..5 {
        assert_eq!(peer.recv().await, Packet::PingReq);
        peer.send(Packet::PingResp).await;
    }
    assert!(world.client.state().borrow().is_connected());
    assert_eq!(payload(&next(&mut world.deliveries).await), "1");
    next(&mut world.deliveries).await.ack.accept();
    assert_eq!(peer.recv().await, Packet::PubAck(ack(1)));
}

#[tokio::test(start_paused = true)]
async fn too_much_that_nobody_takes_ends_the_connection_with_a_name() {
    let opts = options().delivery_queue_max(10, 1_024).packet_bytes_max(1_024);
    let mut world = start(opts);
    let mut peer = world.network.let_in(false).await;
    // An unanswered publication keeps the client reading.
    let _sent = world.client.try_publish(publication("a", "x", QoS::AtLeastOnce)).unwrap();
    peer.recv_publish().await;
    for i in 1..=20 {
        peer.deliver("a", &"x".repeat(300), QoS::AtLeastOnce, i).await;
    }
    let overfull =
        |state: &State| matches!(state, State::BackingOff { cause: Cause::DeliveriesNotTaken, .. });
    reach(&world.client, overfull).await;
    assert_eq!(peer.recv_disconnect().await.reason, ReasonCode::QuotaExceeded);
}
