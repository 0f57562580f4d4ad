use std::time::Duration;

use crosspoint_client::{
    BridgeBit, Cause, ClientOptions, Protocol, QoS, ReasonCode, State, TopicName, Version,
};
use crosspoint_protocol::{
    PacketId,
    packet::{Ack, Packet},
};
use tokio::time::Instant;

use crate::harness::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test(start_paused = true)]
async fn auto_steps_down_at_once_when_the_server_says_unsupported_version() {
    let mut world = start(options());
    let begin = Instant::now();
    let mut peer = world.network.accept().await;
    assert_eq!(peer.version, Version::V5);
    peer.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    let mut peer = world.network.accept().await;
    assert_eq!(peer.version, Version::V3_1_1);
    peer.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    let mut peer = world.network.accept().await;
    assert_eq!(peer.version, Version::V3_1);
    peer.welcome(false).await;
    reach(&world.client, State::is_connected).await;
    assert!(begin.elapsed() < Duration::from_millis(100), "without a wait");
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_a_3_1_1_server_is_understood_by_5_0() {
    let mut world = start(options());
    let mut peer = world.network.accept().await;
    peer.send_bytes(&[0x20, 0x02, 0x00, 0x01]).await;
    assert_eq!(world.network.accept().await.version, Version::V3_1_1);
}

#[tokio::test(start_paused = true)]
async fn two_closes_without_connack_step_down() {
    let mut world = start(options());
    for _ in 0..2 {
        let peer = world.network.accept().await;
        assert_eq!(peer.version, Version::V5);
        peer.cut();
    }
    assert_eq!(world.network.accept().await.version, Version::V3_1_1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_dial_or_a_refused_password_is_no_reason_to_step_down() {
    let mut world = start(options());
    world.network.go_down();
    for _ in 0..5 {
        world.network.dialled().await;
    }
    world.network.come_up();
    for _ in 0..3 {
        let mut peer = world.network.accept().await;
        assert_eq!(peer.version, Version::V5);
        peer.refuse(ReasonCode::NotAuthorized).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_worked_is_remembered_and_5_0_tried_again_after_a_day() {
    let mut world = start(options());
    world.network.accept().await.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    let peer = world.network.let_in(false).await;
    let begin = Instant::now();
    assert_eq!(peer.version, Version::V3_1_1);
    reach(&world.client, State::is_connected).await;
    peer.cut();
    let mut peer = world.network.let_in(false).await;
    assert_eq!(peer.version, Version::V3_1_1, "remembered");
    peer.recv_disconnect().await;
    assert!(begin.elapsed() >= DAY && begin.elapsed() < DAY + Duration::from_secs(5));
    let mut peer = world.network.accept().await;
    assert_eq!(peer.version, Version::V5);
    peer.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    assert_eq!(world.network.accept().await.version, Version::V3_1_1);
}

/// What stands before a server that starts may close as one that does not know MQTT 5 does.
#[tokio::test(start_paused = true)]
async fn what_two_closes_led_to_is_checked_once_the_server_is_there() {
    let mut world = start(options());
    for _ in 0..2 {
        world.network.accept().await.cut();
    }
    let mut peer = world.network.let_in(false).await;
    let begin = Instant::now();
    assert_eq!(peer.version, Version::V3_1_1);
    peer.recv_disconnect().await;
    let minute = Duration::from_secs(60);
    assert!(begin.elapsed() >= minute && begin.elapsed() < minute + Duration::from_secs(5));
    let peer = world.network.let_in(false).await;
    assert_eq!(peer.version, Version::V5);
    reach(&world.client, State::is_connected).await;
    tokio::time::sleep(DAY + minute).await; // pace: the clock is the test's own
    assert!(world.network.nobody_dials(), "it stays");
    peer.cut();
}

#[tokio::test(start_paused = true)]
async fn no_step_up_while_an_exchange_at_qos_2_is_open() {
    let mut world = start(options().ack_deadline_ms(0));
    world.network.accept().await.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    let mut peer = world.network.let_in(false).await;
    let sent = world.client.try_publish(publication("a", "1", QoS::ExactlyOnce)).unwrap();
    let id = peer.recv_publish().await.packet_id.unwrap();
    tokio::time::sleep(DAY + Duration::from_secs(60)).await; // pace: the clock is the test's own
    assert!(world.network.nobody_dials(), "the exchange is open");
    peer.send(Packet::PubRec(Ack::new(id, ReasonCode::Success))).await;
    assert_eq!(peer.recv().await, Packet::PubRel(Ack::new(id, ReasonCode::Success)));
    peer.send(Packet::PubComp(Ack::new(PacketId::new(id.value()).unwrap(), ReasonCode::Success))).await;
    sent.await.unwrap();
    peer.recv_disconnect().await;
    assert_eq!(world.network.accept().await.version, Version::V5);
}

fn bridging() -> ClientOptions {
    options().protocol(Protocol::V3_1_1).bridge_bit(BridgeBit::Try)
}

fn is_bridge(world: &World) -> bool {
    let state = world.client.state();
    let state = state.borrow();
    let State::Connected(connected) = &*state else { panic!("{state:?}") };
    connected.is_bridge
}

#[tokio::test(start_paused = true)]
async fn the_bridge_bit_is_tried_and_what_worked_is_remembered() {
    let mut world = start(bridging());
    for _ in 0..2 {
        let peer = world.network.let_in(false).await;
        assert!(peer.connect.is_bridge);
        reach(&world.client, State::is_connected).await;
        assert!(is_bridge(&world));
        peer.cut();
        reach(&world.client, |state| !state.is_connected()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_bridge_bit_is_left_out_at_once_where_it_is_not_taken() {
    // Refused as 3.1.1 does, as 5.0 does, closed without a word, and a word that is none.
    let refusals: [&[u8]; 4] = [&[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0], &[], &[0x20, 2, 0, 77]];
    for refusal in refusals {
        let mut world = start(bridging());
        let begin = Instant::now();
        let mut peer = world.network.accept().await;
        assert!(peer.connect.is_bridge);
        peer.send_bytes(refusal).await;
        peer.cut();
        for _ in 0..2 {
            let peer = world.network.let_in(false).await;
            assert_eq!((peer.version, peer.connect.is_bridge), (Version::V3_1_1, false), "{refusal:?}");
            reach(&world.client, State::is_connected).await;
            assert!(!is_bridge(&world));
            assert!(begin.elapsed() < Duration::from_secs(10), "without much of a wait");
            peer.cut();
            reach(&world.client, |state| !state.is_connected()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_to_the_bridge_bit_is_asked_without_it() {
    let mut world = start(bridging().connect_timeout_ms(2_000));
    let silent = world.network.accept().await;
    assert!(silent.connect.is_bridge);
    let peer = world.network.let_in(false).await;
    assert!(!peer.connect.is_bridge);
    reach(&world.client, State::is_connected).await;
    silent.cut();
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_left_to_try_the_bridge_bit_again_and_the_next_one_tries() {
    let mut world = start(bridging());
    world.network.accept().await.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    let peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    tokio::time::sleep(2 * DAY).await; // pace: the clock is the test's own
    assert!(world.client.state().borrow().is_connected() && world.network.nobody_dials());
    peer.cut();
    assert!(world.network.accept().await.connect.is_bridge);
}

#[tokio::test(start_paused = true)]
async fn a_bridge_bit_that_is_no_longer_wanted_ends_its_connection_and_no_other() {
    let mut world = start(bridging());
    let mut peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    world.client.set_bridge_bit(BridgeBit::Never);
    peer.recv_disconnect().await;
    let peer = world.network.let_in(false).await;
    assert!(!peer.connect.is_bridge);
    reach(&world.client, State::is_connected).await;
    world.client.set_bridge_bit(BridgeBit::Try);
    tokio::time::sleep(DAY).await; // pace: the clock is the test's own
    assert!(world.network.nobody_dials(), "what works is not left for it");
    peer.cut();
    assert!(world.network.accept().await.connect.is_bridge);
}

#[tokio::test(start_paused = true)]
async fn with_a_canary_or_in_5_0_there_is_no_bridge_bit() {
    let canary = bridging().canary(TopicName::parse("canary").unwrap(), 5_000);
    for options in [canary, bridging().protocol(Protocol::V5)] {
        let mut world = start(options);
        assert!(!world.network.accept().await.connect.is_bridge);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_version_that_is_refused_is_a_state() {
    let mut world = start(options().protocol(Protocol::V3_1_1));
    world.network.accept().await.refuse(ReasonCode::UnsupportedProtocolVersion).await;
    let refused = |state: &State| {
        matches!(state, State::Refused { cause: Cause::UnsupportedVersion { version: Version::V3_1_1 }, .. })
    };
    reach(&world.client, refused).await;
    assert_eq!(world.network.accept().await.version, Version::V3_1_1);
}
