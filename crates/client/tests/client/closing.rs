use std::time::Duration;

use crosspoint_client::{Client, Left, PublishError, QoS, ReasonCode, State, SubscribeError};
use tokio::time::Instant;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn close_finishes_what_is_in_flight_and_says_disconnect() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    let sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    let client = world.client.clone();
    let closing = tokio::spawn(async move { client.close(Duration::from_secs(10)).await });
    settle().await;
    assert!(!closing.is_finished());
    peer.puback(id).await;
    let confirmed = Instant::now();
    assert_eq!(peer.recv_disconnect().await.reason, ReasonCode::Success);
    assert_eq!(confirmed.elapsed(), Duration::ZERO, "with nothing left to wait for it closes at once");
    assert!(peer.next().await.is_none(), "the stream is closed");
    assert_eq!(closing.await.unwrap(), Left::default());
    assert!(sent.await.is_ok());
    world.engine.await.unwrap();
    assert!(world.deliveries.next().await.is_none());
    let refused = world.client.publish(publication("a", "2", QoS::AtMostOnce)).await;
    assert_eq!(refused, Err(PublishError::Closed));
    let refused = world.client.subscribe(vec![wanted("a", QoS::AtMostOnce)]).await;
    assert_eq!(refused, Err(SubscribeError::Closed));
}

#[tokio::test(start_paused = true)]
async fn the_last_message_goes_behind_everything_else_and_is_confirmed_before_disconnect() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    let before = world.client.try_publish(publication("a", "before", QoS::AtMostOnce)).unwrap();
    let client = world.client.clone();
    let last = publication("status", "gone", QoS::AtLeastOnce);
    let closing = tokio::spawn(async move { client.close_with(last, Duration::from_secs(10)).await });
    assert_eq!(peer.recv_publish().await.payload, "before");
    let sent = peer.recv_publish().await;
    assert_eq!((sent.payload, sent.qos), ("gone".into(), QoS::AtLeastOnce));
    settle().await;
    assert!(!closing.is_finished(), "it waits for PUBACK");
    peer.puback(sent.packet_id.unwrap()).await;
    assert_eq!(peer.recv_disconnect().await.reason, ReasonCode::Success);
    let (left, outcome) = closing.await.unwrap();
    assert_eq!((left, outcome.map(|receipt| receipt.reason)), (Left::default(), Ok(ReasonCode::Success)));
    assert!(before.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_last_message_that_nobody_confirms_holds_nothing_up() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    let begin = Instant::now();
    let last = publication("status", "gone", QoS::AtLeastOnce);
    let (left, outcome) = world.client.close_with(last, Duration::from_secs(3)).await;
    assert_eq!((left.unconfirmed, outcome), (1, Err(PublishError::Unconfirmed)));
    assert!(begin.elapsed() <= Duration::from_millis(4_100), "{:?}", begin.elapsed());
    assert_eq!(peer.recv_publish().await.payload, "gone");
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_the_last_message_is_not_sent() {
    let mut world = start(options());
    world.network.go_down();
    world.network.dialled().await;
    let last = publication("status", "gone", QoS::AtMostOnce);
    let begin = Instant::now();
    let (_, outcome) = world.client.close_with(last, Duration::from_secs(3)).await;
    assert_eq!(outcome, Err(PublishError::Closed));
    assert_eq!(begin.elapsed(), Duration::ZERO, "there is nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn close_takes_no_longer_than_it_may() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    let sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
    peer.recv_publish().await;
    peer.deliver("a", "x", QoS::AtLeastOnce, 1).await;
    let undecided = next(&mut world.deliveries).await;
    let begin = Instant::now();
    let left = world.client.close(Duration::from_secs(3)).await;
    assert_eq!(left, Left { unconfirmed: 1, undecided: 1 });
    assert!(begin.elapsed() >= Duration::from_secs(3) && begin.elapsed() <= Duration::from_millis(4_100));
    assert_eq!(sent.await, Err(PublishError::Unconfirmed));
    world.engine.await.unwrap();
    drop(undecided);
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_client_that_never_connected() {
    let mut world = start(options());
    world.network.go_down();
    world.network.dialled().await;
    let sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
    let left = world.client.close(Duration::from_secs(2)).await;
    assert_eq!(left, Left { unconfirmed: 1, undecided: 0 });
    assert_eq!(sent.await, Err(PublishError::Closed), "it was never sent");
    world.engine.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_cannot_hold_up_the_close() {
    let mut world = start_with(options(), Box::new(crosspoint_client::MemoryStore), 64);
    let mut peer = world.network.accept().await;
    peer.welcome(false).await;
    reach(&world.client, State::is_connected).await;
    let _sent = world.client.try_publish(publication("a", "x".repeat(1_000), QoS::AtLeastOnce)).unwrap();
    let begin = Instant::now();
    assert_eq!(world.client.close(Duration::from_secs(1)).await.unconfirmed, 1);
    assert!(begin.elapsed() <= Duration::from_millis(2_100), "{:?}", begin.elapsed());
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_deliveries_that_nobody_can_take() {
    let World { client, deliveries, mut network, .. } = start(options());
    let mut peer = network.let_in(false).await;
    peer.deliver("a", "queued", QoS::AtLeastOnce, 1).await;
    settle().await;
    drop(deliveries);
    peer.deliver("a", "late", QoS::AtLeastOnce, 2).await;
    settle().await;
    let begin = Instant::now();
    assert_eq!(client.close(Duration::from_secs(30)).await, Left::default());
    assert!(begin.elapsed() < Duration::from_secs(1));
    peer.recv_disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_nobody_holds_ends_by_itself() {
    let World { client, deliveries, mut network, engine } = start(options());
    let mut peer = network.let_in(false).await;
    reach(&client, State::is_connected).await;
    drop(client);
    settle().await;
    assert!(!engine.is_finished(), "somebody still takes deliveries");
    drop(deliveries);
    peer.recv_disconnect().await;
    engine.await.unwrap();
}

#[tokio::test]
async fn start_spawns_what_close_joins() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = crosspoint_client::DialOptions::new(crosspoint_client::Transport::Tcp, "127.0.0.1", port);
    let (client, _deliveries) =
        Client::start(crosspoint_client::ClientOptions::default().server(server)).unwrap();
    let (_stream, _) = listener.accept().await.unwrap();
    assert_eq!(client.close(Duration::ZERO).await, Left::default());
    assert!(matches!(*client.state().borrow(), State::Stopped(_)));
}
