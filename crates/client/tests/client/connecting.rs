use std::time::Duration;

use crosspoint_client::{
    Cause, Client, ClientOptions, DialOptions, OptionsError, QoS, ReasonCode, SessionKeeping, Spoken, State,
    Transport, Will, WillProperties,
};
use crosspoint_protocol::{
    TopicName,
    packet::{ConnAckProperties, Disconnect, Packet},
};
use tokio::time::Instant;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn connect_carries_what_the_options_say() {
    let will = Will {
        topic: TopicName::parse("dead").unwrap(),
        payload: "yes".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: WillProperties::default(),
    };
    let options = options()
        .username("alice")
        .password("secret")
        .keep_alive_s(17)
        .session(SessionKeeping::Durable)
        .session_expiry_s(99)
        .receive_maximum(7)
        .will(will.clone())
        .user_property("site", "1")
        .ask_response_information()
        .decline_problem_information();
    let mut world = start(options);
    let peer = world.network.accept().await;
    let connect = &peer.connect;
    assert_eq!(connect.client_id, "tester");
    assert_eq!(connect.login.username.as_deref(), Some("alice"));
    assert_eq!(connect.login.password.as_deref(), Some(&b"secret"[..]));
    assert_eq!((connect.keep_alive_s, connect.clean_start), (17, false));
    assert_eq!(connect.properties.session_expiry_s, Some(99));
    assert_eq!(connect.properties.receive_maximum, Some(7));
    assert_eq!(connect.properties.user_properties, [("site".into(), "1".into())]);
    assert_eq!(connect.properties.request_response_information, Some(true));
    assert_eq!(connect.properties.request_problem_information, Some(false));
    assert_eq!(connect.will, Some(will));
}

#[tokio::test(start_paused = true)]
async fn state_tells_what_the_server_allows() {
    let mut world = start(options());
    let mut peer = world.network.accept().await;
    let properties = ConnAckProperties {
        receive_maximum: Some(3),
        maximum_qos: Some(QoS::AtLeastOnce),
        server_keep_alive_s: Some(5),
        assigned_client_id: Some("given".into()),
        response_information: Some("answers/7".into()),
        ..ConnAckProperties::default()
    };
    peer.welcome_with(false, properties).await;
    let State::Connected(connected) = reach(&world.client, State::is_connected).await else { panic!() };
    assert_eq!(connected.client_id, "given");
    assert_eq!(connected.response_information.as_deref(), Some("answers/7"));
    assert_eq!(connected.limits.receive_maximum, 3);
    assert_eq!(connected.limits.qos_max, QoS::AtLeastOnce);
    assert_eq!(connected.limits.keep_alive_s, 5);
    assert_eq!(connected.server, "broker:1883");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_speaks_tls_or_http_is_named_as_such() {
    let alert: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46];
    let handshake: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00];
    let answer: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    for (bytes, expected) in [(alert, Spoken::Tls), (handshake, Spoken::Tls), (answer, Spoken::Http)] {
        let mut world = start(options());
        world.network.accept().await.send_bytes(bytes).await;
        let state = reach(&world.client, |state| matches!(state, State::BackingOff { .. })).await;
        let State::BackingOff { cause, .. } = state else { panic!() };
        assert_eq!(cause, Cause::OtherProtocol { spoken: expected });
    }
}

#[tokio::test(start_paused = true)]
async fn other_first_bytes_are_told_from_a_server_that_breaks_the_protocol() {
    let mut world = start(options());
    world.network.accept().await.send_bytes(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    let state = reach(&world.client, |state| matches!(state, State::BackingOff { .. })).await;
    assert!(matches!(state, State::BackingOff { cause: Cause::NotMqtt(_), .. }), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn reconnect_waits_stay_between_their_bounds() {
    let mut world = start(options().reconnect_ms(500, 4_000));
    world.network.go_down();
    let mut last = world.network.dialled().await.at;
    let mut waits = Vec::new();
    for _ in 0..200 {
        let at = world.network.dialled().await.at;
        waits.push(at - last);
        last = at;
    }
    // Timers count whole milliseconds and fire in the next one.
    let (min, max) = (Duration::from_millis(500), Duration::from_millis(4_002));
    assert!(waits.iter().all(|wait| (min..=max).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > Duration::from_millis(2_000)));
    let State::BackingOff { cause, .. } =
        reach(&world.client, |s| matches!(s, State::BackingOff { .. })).await
    else {
        panic!()
    };
    assert_eq!((cause.to_string().as_str(), cause.next_step().as_str()), ("refused", "start it"));
    world.network.come_up();
    let _peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
}

#[tokio::test(start_paused = true)]
async fn servers_fail_over_in_order_and_return_to_the_first() {
    let second = DialOptions::new(Transport::Tcp, "second", 1883);
    let mut world = start(options().server(second));
    world.network.go_down();
    let first = world.network.dialled().await;
    assert_eq!(first.server.host(), "broker");
    let dialled = world.network.dialled().await;
    assert_eq!(dialled.server.host(), "second");
    assert!(dialled.at - first.at < Duration::from_millis(5), "without a wait");
    world.network.come_up();
    assert_eq!(world.network.dialled().await.server.host(), "broker");
}

#[tokio::test(start_paused = true)]
async fn a_refused_password_is_a_state_and_stops_the_hammering() {
    let mut world = start(options().username("u").password("p"));
    let mut peer = world.network.accept().await;
    peer.refuse(ReasonCode::BadUserNameOrPassword).await;
    let State::Refused { cause, next_try_wall_ms } =
        reach(&world.client, |state| matches!(state, State::Refused { .. })).await
    else {
        panic!()
    };
    assert_eq!(cause.next_step(), "check user name and password");
    assert!(next_try_wall_ms >= 1_700_000_000_000 + 300_000);
    let refused_at = Instant::now();
    let dialled = world.network.dialled().await;
    assert!(dialled.at - refused_at >= Duration::from_secs(299), "{:?}", dialled.at - refused_at);
}

#[tokio::test(start_paused = true)]
async fn a_taken_over_session_is_named_and_tried_slowly() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    peer.send(Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::SessionTakenOver)))).await;
    let State::BackingOff { cause, .. } =
        reach(&world.client, |s| matches!(s, State::BackingOff { .. })).await
    else {
        panic!()
    };
    assert_eq!(cause, Cause::ClientIdFight { client_id: "tester".to_owned() });
    let ended_at = Instant::now();
    assert!(world.network.dialled().await.at - ended_at >= Duration::from_secs(29));
}

#[tokio::test(start_paused = true)]
async fn drops_right_after_connect_are_named_as_a_fight_over_the_client_id() {
    let mut world = start(options());
    for _ in 0..3 {
        let peer = world.network.let_in(false).await;
        reach(&world.client, State::is_connected).await;
        peer.cut();
    }
    let fight = |state: &State| matches!(state, State::BackingOff { cause: Cause::ClientIdFight { .. }, .. });
    reach(&world.client, fight).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_connect_is_given_up_in_time() {
    let mut world = start(options().connect_timeout_ms(3_000));
    let silent = world.network.accept().await;
    let begin = Instant::now();
    let State::BackingOff { cause, .. } =
        reach(&world.client, |s| matches!(s, State::BackingOff { .. })).await
    else {
        panic!()
    };
    assert_eq!(cause, Cause::ConnectTimeout { after_ms: 3_000 });
    assert!(begin.elapsed() < Duration::from_millis(3_100));
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_peer_is_found_by_keep_alive() {
    let mut world = start(options().keep_alive_s(30).ping_timeout_ms(5_000));
    let mut peer = world.network.let_in(false).await;
    let begin = Instant::now();
    assert_eq!(peer.recv().await, Packet::PingReq);
    assert!(begin.elapsed() >= Duration::from_secs(30));
    peer.send(Packet::PingResp).await;
    assert_eq!(peer.recv().await, Packet::PingReq);
    assert!(begin.elapsed() >= Duration::from_secs(60));
    // From now on the peer is silent; the stream stays open.
    let lost = |state: &State| matches!(state, State::BackingOff { cause: Cause::KeepAliveTimeout, .. });
    reach(&world.client, lost).await;
    assert!(begin.elapsed() < Duration::from_secs(66), "{:?}", begin.elapsed());
    world.network.let_in(false).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_from_the_server_ends_the_connection_and_not_the_client() {
    let mut world = start(options());
    let mut peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    peer.send_bytes(&[0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).await;
    let violated = |state: &State| matches!(state, State::BackingOff { cause: Cause::Violation(_), .. });
    reach(&world.client, violated).await;
    assert_eq!(peer.recv_disconnect().await.reason, ReasonCode::MalformedPacket);
    let _peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
}

#[tokio::test(start_paused = true)]
async fn options_out_of_bounds_start_nothing() {
    assert!(matches!(Client::start(ClientOptions::default()), Err(OptionsError::NoServer)));
}

#[tokio::test(start_paused = true)]
async fn a_clean_session_without_a_client_id_gets_one_that_every_server_accepts() {
    let mut world = start(options().client_id(""));
    let peer = world.network.accept().await;
    assert!(peer.connect.client_id.starts_with("crosspoint-"));
    assert!(peer.connect.client_id.len() <= 23);
    assert!(peer.connect.clean_start);
}
