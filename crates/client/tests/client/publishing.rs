use std::time::Duration;

use crosspoint_client::{
    MemoryStore, PublishError, PublishPropertyValues, QoS, ReasonCode, Receipt, SessionKeeping,
    TryPublishError,
};
use crosspoint_protocol::packet::{Ack, ConnAckProperties, Packet, Publish};

use crate::harness::*;

const CERTAIN: Receipt = Receipt { reason: ReasonCode::Success, may_be_duplicate: false };

fn text(publish: &Publish) -> String {
    String::from_utf8(publish.payload.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn publish_resolves_when_the_server_has_confirmed() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    assert_eq!(world.client.publish(publication("a", "0", QoS::AtMostOnce)).await, Ok(CERTAIN));
    assert_eq!(text(&peer.recv_publish().await), "0");

    let mut sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    tokio::time::timeout(Duration::from_secs(1), &mut sent).await.unwrap_err();
    peer.send(Packet::PubAck(Ack::new(id, ReasonCode::NoMatchingSubscribers))).await;
    assert_eq!(sent.await.unwrap().reason, ReasonCode::NoMatchingSubscribers);

    let mut sent = world.client.try_publish(publication("a", "2", QoS::ExactlyOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(peer.recv().await, Packet::PubRel(Ack::new(id, ReasonCode::Success)));
    tokio::time::timeout(Duration::from_secs(1), &mut sent).await.unwrap_err();
    peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(sent.await, Ok(CERTAIN));
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_an_error_and_the_next_goes_on() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    let sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    peer.send(Packet::PubAck(Ack::new(id, ReasonCode::NotAuthorized))).await;
    assert_eq!(sent.await, Err(PublishError::Refused(ReasonCode::NotAuthorized)));
    assert_eq!(world.client.publish(publication("a", "0", QoS::AtMostOnce)).await, Ok(CERTAIN));
}

#[tokio::test(start_paused = true)]
async fn what_this_server_can_never_take_is_an_error() {
    let mut world = start(options());
    let mut peer = world.network.accept().await;
    let properties = ConnAckProperties {
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_bytes: Some(100),
        ..ConnAckProperties::default()
    };
    peer.welcome_with(false, properties).await;
    let publish = |publication| world.client.publish(publication);
    let qos = publish(publication("a", "", QoS::ExactlyOnce)).await;
    assert_eq!(qos, Err(PublishError::QosNotSupported));
    let retained = publish(publication("a", "", QoS::AtMostOnce).retain(true)).await;
    assert_eq!(retained, Err(PublishError::RetainNotSupported));
    let large = publish(publication("a", "x".repeat(200), QoS::AtMostOnce)).await;
    assert!(matches!(large, Err(PublishError::TooLarge { max: 100, .. })), "{large:?}");
    let expiring = PublishPropertyValues { message_expiry_s: Some(0), ..PublishPropertyValues::default() };
    let expired = publish(publication("a", "", QoS::AtMostOnce).properties(&expiring).unwrap()).await;
    assert_eq!(expired, Err(PublishError::Expired));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_pipelined_publications_keep_their_order() {
    let mut world = start_with(options().in_flight_max(500), Box::new(MemoryStore), 4 * 1024);
    let (publisher, mut confirmations) = world.client.publisher();
    let sending = tokio::spawn(async move {
        for i in 0..10_000_u64 {
            let qos = if i % 7 == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            publisher.send(publication("a/b", i.to_string(), qos), i).await.unwrap();
        }
    });
    let mut peer = world.network.let_in(false).await;
    for i in 0..10_000_u64 {
        let publish = peer.recv_publish().await;
        assert_eq!(text(&publish), i.to_string());
        if let Some(id) = publish.packet_id {
            peer.puback(id).await;
        }
    }
    sending.await.unwrap();
    let mut confirmed = Vec::new();
    while let Some((cookie, result)) = confirmations.next().await {
        assert_eq!(result, Ok(CERTAIN));
        confirmed.push(cookie);
    }
    confirmed.sort_unstable();
    assert!(confirmed.into_iter().eq(0..10_000), "each is confirmed once");
}

#[tokio::test(start_paused = true)]
async fn the_servers_receive_maximum_is_kept() {
    let mut world = start(options());
    let mut peer = world.network.accept().await;
    let properties = ConnAckProperties { receive_maximum: Some(2), ..ConnAckProperties::default() };
    peer.welcome_with(false, properties).await;
    let sent: Vec<_> = (0..3)
        .map(|i| world.client.try_publish(publication("a", i.to_string(), QoS::AtLeastOnce)).unwrap())
        .collect();
    let first = peer.recv_publish().await;
    peer.recv_publish().await;
    tokio::time::timeout(Duration::from_secs(5), peer.recv()).await.unwrap_err();
    peer.puback(first.packet_id.unwrap()).await;
    assert_eq!(text(&peer.recv_publish().await), "2");
    drop(sent);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_so_and_gives_the_publication_back() {
    let world = start(options().publish_queue_max(2));
    world.network.go_down();
    let publish = || world.client.try_publish(publication("a", "x", QoS::AtLeastOnce));
    let _held = (publish().unwrap(), publish().unwrap());
    settle().await;
    assert!(matches!(publish(), Err(TryPublishError::Full(_))));
}

#[tokio::test(start_paused = true)]
async fn unconfirmed_messages_are_sent_again_with_dup_when_the_session_is_resumed() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    let sent: Vec<_> = (0..3)
        .map(|i| world.client.try_publish(publication("a", i.to_string(), QoS::AtLeastOnce)).unwrap())
        .collect();
    let ids: Vec<_> = [peer.recv_publish().await, peer.recv_publish().await, peer.recv_publish().await]
        .iter()
        .map(|publish| publish.packet_id.unwrap())
        .collect();
    peer.puback(ids[1]).await;
    settle().await;
    peer.cut();
    let mut peer = world.network.let_in(true).await;
    for (text_sent, id) in [("0", ids[0]), ("2", ids[2])] {
        let again = peer.recv_publish().await;
        assert_eq!((text(&again).as_str(), again.packet_id, again.dup), (text_sent, Some(id), true));
        peer.puback(id).await;
    }
    for sent in sent {
        assert_eq!(sent.await, Ok(CERTAIN));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_publishes_anew_and_the_receipt_says_so() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    let first = world.client.try_publish(publication("a", "1", QoS::ExactlyOnce)).unwrap();
    let second = world.client.try_publish(publication("a", "2", QoS::AtLeastOnce)).unwrap();
    peer.recv_publish().await;
    peer.recv_publish().await;
    peer.cut();
    let mut peer = world.network.let_in(false).await;
    let again = peer.recv_publish().await;
    assert_eq!((text(&again).as_str(), again.dup), ("1", false));
    let id = again.packet_id.unwrap();
    peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    let again = peer.recv_publish().await;
    assert_eq!((text(&again).as_str(), again.dup), ("2", false));
    peer.puback(again.packet_id.unwrap()).await;
    peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    peer.recv().await;
    peer.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    let anew = Receipt { may_be_duplicate: true, ..CERTAIN };
    assert_eq!((first.await, second.await), (Ok(anew), Ok(anew)));
    assert_eq!(world.client.counters().published_anew, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_published_while_away_goes_out_in_order_behind_what_was_unfinished() {
    let mut world = start(options().session(SessionKeeping::Durable));
    let mut peer = world.network.let_in(false).await;
    let mut sent = vec![world.client.try_publish(publication("a", "0", QoS::AtLeastOnce)).unwrap()];
    peer.recv_publish().await;
    world.network.go_down();
    peer.cut();
    settle().await;
    for i in 1..5 {
        sent.push(world.client.try_publish(publication("a", i.to_string(), QoS::AtLeastOnce)).unwrap());
    }
    while !world.network.nobody_dials() {}
    world.network.dialled().await;
    world.network.come_up();
    let mut peer = world.network.let_in(true).await;
    for i in 0..5 {
        let publish = peer.recv_publish().await;
        assert_eq!(text(&publish), i.to_string());
        peer.puback(publish.packet_id.unwrap()).await;
    }
    for sent in sent {
        assert_eq!(sent.await, Ok(CERTAIN));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_does_not_take_the_publication_back() {
    let mut world = start(options());
    drop(world.client.try_publish(publication("a", "x", QoS::AtLeastOnce)).unwrap());
    let mut peer = world.network.let_in(false).await;
    assert_eq!(text(&peer.recv_publish().await), "x");
}
