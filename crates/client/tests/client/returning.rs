//! The return to the first server of a list.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crosspoint_client::{
    Cause, ClientOptions, DialOptions, QoS, ReasonCode, SessionKeeping, State, Transport,
};
use crosspoint_protocol::packet::{Ack, Packet};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::harness::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// Two servers: `broker` and `second`.
fn two() -> ClientOptions {
    options().ack_deadline_ms(0).server(DialOptions::new(Transport::Tcp, "second", 1883))
}

/// Starts a client while the first server is away, and lets it in at the second.
async fn start_at_second(options: ClientOptions, how: Away) -> (World, Peer) {
    let mut world = start(options);
    world.network.take_away("broker", how);
    assert_eq!(world.network.dialled().await.server.host(), "broker");
    let second = world.network.dialled().await;
    assert_eq!(second.server.host(), "second");
    let mut peer = Peer::new(second.stream).await;
    peer.welcome(false).await;
    reach(&world.client, State::is_connected).await;
    (world, peer)
}

/// Takes the next dial, which is to the first server and brings no CONNECT.
async fn looked(network: &mut Network) -> Instant {
    let look = network.dialled().await;
    assert_eq!(look.server.host(), "broker");
    assert!(Peer::of(look.stream).await.is_none(), "a look sends nothing");
    look.at
}

/// Takes the looks of an hour in which the client has no reason to leave, and returns how many there were.
async fn looks_of_an_hour(network: &mut Network) -> usize {
    let end = Instant::now() + HOUR;
    let mut count = 0;
    while let Ok(look) = timeout_at(end, network.dialled()).await {
        assert_eq!(look.server.host(), "broker");
        assert!(Peer::of(look.stream).await.is_none(), "a look sends nothing");
        count += 1;
    }
    count
}

fn is_at(state: &State, server: &str) -> bool {
    matches!(state, State::Connected(connected) if connected.server == server)
}

/// Waits until the client says that it leaves for the first server.
async fn leaves(mut state: watch::Receiver<State>) -> State {
    let returns = |state: &State| matches!(state, State::BackingOff { cause: Cause::ReturnToFirst, .. });
    state.wait_for(returns).await.unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn it_returns_to_the_first_server_and_says_so() {
    let (mut world, mut second) = start_at_second(two(), Away::Refusing).await;
    let begin = Instant::now();
    let leaves = tokio::spawn(leaves(world.client.state()));
    world.network.bring_back("broker");
    let at = looked(&mut world.network).await;
    assert!((Duration::from_secs(29)..Duration::from_secs(61)).contains(&(at - begin)), "{:?}", at - begin);
    assert_eq!(second.recv_disconnect().await.reason, ReasonCode::Success);
    leaves.await.unwrap();
    let first = world.network.dialled().await;
    assert_eq!(first.server.host(), "broker");
    assert!(first.at - at < Duration::from_millis(100), "at once");
    let mut first = Peer::new(first.stream).await;
    first.welcome(false).await;
    reach(&world.client, |state| is_at(state, "broker:1883")).await;
    sleep(24 * HOUR).await; // pace: the clock is the test's own
    assert!(world.network.nobody_dials(), "there is nowhere to return to");
}

#[tokio::test(start_paused = true)]
async fn while_the_first_is_away_looks_grow_rare_and_the_connection_stays() {
    for how in [Away::Refusing, Away::Silent] {
        let (mut world, _second) = start_at_second(two(), how).await;
        let mut looks = vec![world.network.dialled().await.at];
        for _ in 0..9 {
            looks.push(world.network.dialled().await.at);
        }
        let gaps: Vec<u64> = looks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        let shortest = [60, 120, 240, 300, 300, 300, 300, 300, 300];
        let deadline = if how == Away::Silent { 11 } else { 1 };
        for (gap, shortest) in gaps.iter().zip(shortest) {
            assert!((shortest..=2 * shortest + deadline).contains(gap), "{how:?}: {gaps:?}");
        }
        assert!(is_at(&world.client.state().borrow(), "second:1883"));
    }
}

#[tokio::test(start_paused = true)]
async fn it_does_not_leave_while_a_message_of_ours_is_open_at_qos_2() {
    let (mut world, mut second) = start_at_second(two(), Away::Refusing).await;
    let sent = world.client.try_publish(publication("a", "1", QoS::ExactlyOnce)).unwrap();
    let id = second.recv_publish().await.packet_id.unwrap();
    world.network.bring_back("broker");
    assert!((40..=90).contains(&looks_of_an_hour(&mut world.network).await));
    second.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(second.recv().await, Packet::PubRel(Ack::new(id, ReasonCode::Success)));
    assert!((40..=90).contains(&looks_of_an_hour(&mut world.network).await));
    second.send(Packet::PubComp(Ack::new(id, ReasonCode::Success))).await;
    sent.await.unwrap();
    second.recv_disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn it_does_not_leave_while_a_message_to_us_is_open_at_qos_2() {
    let (mut world, mut second) = start_at_second(two(), Away::Refusing).await;
    second.deliver("a", "1", QoS::ExactlyOnce, 7).await;
    let delivery = next(&mut world.deliveries).await;
    world.network.bring_back("broker");
    assert!(looks_of_an_hour(&mut world.network).await >= 40);
    delivery.ack.accept();
    let Packet::PubRec(ack) = second.recv().await else { panic!("PUBREC comes") };
    assert!(looks_of_an_hour(&mut world.network).await >= 40);
    second.send(Packet::PubRel(Ack::new(ack.packet_id, ReasonCode::Success))).await;
    assert!(matches!(second.recv().await, Packet::PubComp(_)));
    second.recv_disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_at_qos_1_is_sent_to_the_first() {
    for session_present in [false, true] {
        let options = two().session(SessionKeeping::Durable);
        let (mut world, mut second) = start_at_second(options, Away::Refusing).await;
        let sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
        second.recv_publish().await;
        world.network.bring_back("broker");
        looked(&mut world.network).await;
        second.recv_disconnect().await;
        let mut first = world.network.let_in(session_present).await;
        let publish = first.recv_publish().await;
        assert_eq!((&publish.payload[..], publish.dup), (&b"1"[..], session_present));
        first.puback(publish.packet_id.unwrap()).await;
        sent.await.unwrap();
    }
}

/// What each server got at QoS 2, in order.
type Got = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

async fn serve(host: String, mut peer: Peer, got: Got) {
    while let Some(packet) = peer.next().await {
        match packet {
            Packet::Publish(publish) => {
                let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
                got.lock().await.entry(host.clone()).or_default().push(payload);
                peer.send(Packet::PubRec(Ack::new(publish.packet_id.unwrap(), ReasonCode::Success))).await;
            }
            Packet::PubRel(ack) => {
                peer.send(Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success))).await
            }
            Packet::Disconnect(_) => return,
            other => panic!("not expected: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_qos_2_every_message_is_at_one_of_the_servers_once() {
    let (mut world, second) = start_at_second(two(), Away::Refusing).await;
    let got = Got::default();
    tokio::spawn(serve("second".to_owned(), second, Arc::clone(&got)));
    world.network.bring_back("broker");
    let servers = Arc::clone(&got);
    tokio::spawn(async move {
        loop {
            let dialled = world.network.dialled().await;
            let host = dialled.server.host().to_owned();
            if let Some(mut peer) = Peer::of(dialled.stream).await {
                peer.welcome(false).await;
                tokio::spawn(serve(host, peer, Arc::clone(&servers)));
            }
        }
    });
    let begin = Instant::now();
    let mut sent = Vec::new();
    for at in 0..600u64 {
        sleep_until(begin + Duration::from_millis(200 * at)).await;
        for part in 0..3 {
            let message = publication("a", format!("{at}.{part}"), QoS::ExactlyOnce);
            sent.push(world.client.try_publish(message).unwrap());
        }
    }
    for confirmation in sent {
        confirmation.await.unwrap();
    }
    let got = got.lock().await;
    assert_eq!(got.keys().collect::<Vec<_>>(), ["broker", "second"], "both were used");
    let all: Vec<String> = got["second"].iter().chain(&got["broker"]).cloned().collect();
    let expected: Vec<String> =
        (0..600).flat_map(|at| (0..3).map(move |part| format!("{at}.{part}"))).collect();
    assert_eq!(all, expected);
}

#[tokio::test(start_paused = true)]
async fn a_first_server_that_only_listens_interrupts_rarely() {
    for reason in [ReasonCode::ServerUnavailable, ReasonCode::NotAuthorized] {
        let mut world = start(two());
        let end = Instant::now() + 6 * HOUR;
        let (mut refused, mut connected) = (Vec::new(), Vec::new());
        let mut second: Option<Peer> = None;
        while let Ok(dialled) = timeout_at(end, world.network.dialled()).await {
            let Some(mut peer) = Peer::of(dialled.stream).await else { continue };
            if dialled.server.host() == "broker" {
                if let Some(mut second) = second.take() {
                    second.recv_disconnect().await;
                }
                peer.refuse(reason).await;
                refused.push(dialled.at);
            } else {
                peer.welcome(false).await;
                connected.push(dialled.at);
                second = Some(peer);
            }
        }
        assert!((36..=80).contains(&refused.len()), "{reason:?}: {}", refused.len());
        assert_eq!(refused.len(), connected.len(), "{reason:?}: each time the second takes over");
        let away = refused.iter().zip(&connected).map(|(refused, connected)| *connected - *refused);
        assert!(away.max().unwrap() < Duration::from_millis(100), "{reason:?}: at once");
        let rare = refused.windows(2).skip(5).all(|pair| pair[1] - pair[0] >= Duration::from_secs(300));
        assert!(rare, "{reason:?}: {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_does_not_return() {
    let (mut world, mut second) = start_at_second(two(), Away::Refusing).await;
    let sent = world.client.try_publish(publication("a", "1", QoS::AtLeastOnce)).unwrap();
    let id = second.recv_publish().await.packet_id.unwrap();
    world.network.bring_back("broker");
    let client = world.client.clone();
    let closing = tokio::spawn(async move { client.close(HOUR).await });
    sleep(HOUR / 2).await; // pace: the clock is the test's own
    assert!(world.network.nobody_dials());
    second.puback(id).await;
    sent.await.unwrap();
    second.recv_disconnect().await;
    closing.await.unwrap();
}
