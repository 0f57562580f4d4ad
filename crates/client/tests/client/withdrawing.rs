//! A publication that is taken back: its exchange at QoS 2 stays until it is sent again or given up.

use crosspoint_client::{Confirmations, PublishError, Publisher, QoS, ReasonCode, SessionKeeping};
use crosspoint_protocol::{
    PacketId,
    packet::{Ack, Packet},
};

use crate::harness::*;

/// Publishes at QoS 2 with a cookie, lets the connection end before any answer, and takes the message back.
async fn withdrawn(world: &mut World, publisher: &Publisher, outcomes: &mut Confirmations) -> PacketId {
    let mut peer = world.network.let_in(false).await;
    publisher.send(publication("up", "1", QoS::ExactlyOnce), 7).await.unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    world.client.withdraw(7);
    peer.cut();
    assert_eq!(outcomes.next().await, Some((7, Err(PublishError::Unconfirmed))));
    id
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_at_qos_2_goes_on_under_its_identifier_when_it_is_sent_again() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let (publisher, mut outcomes) = world.client.publisher();
    let id = withdrawn(&mut world, &publisher, &mut outcomes).await;
    let mut peer = world.network.let_in(true).await;
    publisher.send(publication("up", "2", QoS::AtLeastOnce), 8).await.unwrap();
    let other = peer.recv_publish().await;
    assert_eq!(other.payload, "2", "the first is not sent by itself");
    // Whoever knows the identifier does not take the message twice.
    publisher.send(publication("up", "1", QoS::ExactlyOnce), 7).await.unwrap();
    let again = peer.recv_publish().await;
    assert_eq!((again.packet_id, again.dup), (Some(id), true));
    peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(peer.recv().await, Packet::PubRel(Ack::new(id, ReasonCode::Success)));
    peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    assert!(matches!(outcomes.next().await, Some((7, Ok(_)))));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_at_qos_2_and_given_up_is_released() {
    for is_connected in [false, true] {
        let mut world = start(options().session(SessionKeeping::Durable));
        let (publisher, mut outcomes) = world.client.publisher();
        let id = withdrawn(&mut world, &publisher, &mut outcomes).await;
        if !is_connected {
            world.client.give_up(7);
        }
        let mut peer = world.network.let_in(true).await;
        if is_connected {
            settle().await;
            world.client.give_up(7);
        }
        assert_eq!(peer.recv().await, Packet::PubRel(Ack::new(id, ReasonCode::Success)));
        peer.send(Packet::PubComp(Ack::new(id, ReasonCode::PacketIdentifierNotFound))).await;
        // It is another message now.
        publisher.send(publication("up", "1", QoS::ExactlyOnce), 7).await.unwrap();
        let anew = peer.recv_publish().await;
        assert!(anew.packet_id != Some(id) && !anew.dup, "{anew:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_and_is_unknown_to_a_server_without_the_session_is_sent_anew() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let (publisher, mut outcomes) = world.client.publisher();
    withdrawn(&mut world, &publisher, &mut outcomes).await;
    let mut peer = world.network.let_in(false).await;
    settle().await;
    publisher.send(publication("up", "1", QoS::ExactlyOnce), 7).await.unwrap();
    assert!(!peer.recv_publish().await.dup);
}
