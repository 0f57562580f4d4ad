//! SCRAM-SHA-256: on the way in, and again on an open connection.

use std::time::Duration;

use bytes::Bytes;
use crosspoint_client::{
    Authentication, Cause, ClientOptions, Publication, QoS, ReasonCode, ReauthenticateError, ScramFault,
    State, Version,
};
use crosspoint_protocol::{
    packet::{Auth, AuthProperties, ConnAckProperties, Disconnect, Packet},
    scram::{ClientFirst, Iterations, Keys, METHOD, Password, ScramFault as Fault, ServerExchange},
};

use crate::harness::*;

const SALT: &[u8] = b"sixteen bytes of";

fn scram() -> ClientOptions {
    options().username("alice").password("right").authentication(Authentication::ScramSha256)
}

fn iterations() -> Iterations {
    Iterations::new(Iterations::MIN).unwrap()
}

fn step(reason: ReasonCode, data: impl Into<Bytes>) -> Packet {
    let properties =
        AuthProperties { method: Some(METHOD.into()), data: Some(data.into()), ..AuthProperties::default() };
    Packet::Auth(Box::new(Auth { reason, properties }))
}

/// Challenges a client that began with this message.
async fn challenge(peer: &mut Peer, first: &[u8]) -> ServerExchange {
    let first = ClientFirst::read(first).unwrap();
    assert_eq!(first.username(), "alice");
    let exchange = first.challenge(SALT, iterations(), "server");
    peer.send(step(ReasonCode::ContinueAuthentication, exchange.challenge().to_owned())).await;
    exchange
}

/// Reads the client's proof, and returns ours if the password is this one.
async fn prove(peer: &mut Peer, exchange: ServerExchange, password: &str) -> Result<String, Fault> {
    let Packet::Auth(auth) = peer.recv().await else { panic!("no answer to the challenge") };
    assert_eq!(auth.reason, ReasonCode::ContinueAuthentication);
    let keys = Keys::derive(&Password::prepare(password.as_bytes()).unwrap(), SALT, iterations()).unwrap();
    exchange.read(auth.properties.data.as_deref().unwrap()).unwrap().verify(&keys)
}

fn first_of(peer: &Peer) -> Bytes {
    peer.connect.properties.authentication_data.clone().unwrap()
}

fn ending(data: impl Into<Bytes>) -> ConnAckProperties {
    ConnAckProperties {
        authentication_method: Some(METHOD.into()),
        authentication_data: Some(data.into()),
        ..ConnAckProperties::default()
    }
}

/// Lets the next connection in, whose password must be this one.
async fn let_in_by_scram(world: &mut World, password: &str) -> Peer {
    let mut peer = world.network.accept().await;
    let first = first_of(&peer);
    let exchange = challenge(&mut peer, &first).await;
    let shown = prove(&mut peer, exchange, password).await.unwrap();
    peer.welcome_with(false, ending(shown)).await;
    reach(&world.client, State::is_connected).await;
    peer
}

async fn refused(world: &World) -> Cause {
    let state = reach(&world.client, |state| matches!(state, State::Refused { .. })).await;
    let State::Refused { cause, .. } = state else { unreachable!("it was waited for") };
    cause
}

#[tokio::test(start_paused = true)]
async fn the_password_opens_the_door_and_stays_here() {
    let mut world = start(scram());
    let peer = let_in_by_scram(&mut world, "right").await;
    assert_eq!(peer.connect.properties.authentication_method.as_deref(), Some(METHOD));
    assert_eq!(peer.connect.login.username.as_deref(), Some("alice"));
    assert_eq!(peer.connect.login.password, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_wrong_signature_is_left_before_it_gets_anything() {
    let mut world = start(scram());
    let publication = Publication::new("a", "secret").unwrap().qos(QoS::AtMostOnce);
    drop(world.client.try_publish(publication).unwrap());
    let mut peer = world.network.accept().await;
    let first = first_of(&peer);
    let exchange = challenge(&mut peer, &first).await;
    prove(&mut peer, exchange, "right").await.unwrap();
    peer.welcome_with(false, ending("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")).await;
    assert_eq!(refused(&world).await, Cause::Scram(ScramFault::ServerUnproven));
    assert!(peer.next().await.is_none(), "nothing is sent to an impostor");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lets_us_in_without_a_proof_is_left() {
    let mut world = start(scram());
    world.network.accept().await.welcome(false).await;
    let cause = refused(&world).await;
    assert_eq!(cause, Cause::Scram(ScramFault::ServerUnproven));
    assert!(cause.next_step().contains("right server"), "{}", cause.next_step());
}

#[tokio::test(start_paused = true)]
async fn too_few_and_too_many_iterations_are_refused() {
    let asked = [
        (4_095, ScramFault::TooFewIterations(4_095)),
        (100_000_000, ScramFault::TooManyIterations(100_000_000)),
    ];
    for (number, fault) in asked {
        let mut world = start(scram());
        let mut peer = world.network.accept().await;
        let first = ClientFirst::read(&first_of(&peer)).unwrap();
        let exchange = first.challenge(SALT, iterations(), "server");
        let asked = exchange.challenge().replace("i=4096", &format!("i={number}"));
        peer.send(step(ReasonCode::ContinueAuthentication, asked)).await;
        let cause = refused(&world).await;
        assert_eq!(cause, Cause::Scram(fault));
        assert!(cause.to_string().contains(&number.to_string()), "{cause}");
        assert!(cause.next_step().contains("iterations"), "{}", cause.next_step());
        assert!(peer.next().await.is_none(), "no proof is given away");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_makes_it_speak_another_version_or_say_the_password() {
    let mut world = start(scram());
    for round in 0..30 {
        let mut peer = world.network.accept().await;
        assert_eq!(peer.version, Version::V5);
        assert_eq!(peer.connect.login.password, None);
        match round % 3 {
            0 => peer.refuse(ReasonCode::UnsupportedProtocolVersion).await,
            1 => peer.refuse(ReasonCode::BadAuthenticationMethod).await,
            _ => peer.cut(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_offer_the_method_says_what_to_do() {
    let mut world = start(scram());
    world.network.accept().await.refuse(ReasonCode::BadAuthenticationMethod).await;
    let next_step = refused(&world).await.next_step();
    assert!(next_step.contains("offer the method"), "{next_step}");
}

#[tokio::test(start_paused = true)]
async fn a_new_password_is_taken_without_a_new_connection_and_used_from_then_on() {
    let mut world = start(scram());
    let mut peer = let_in_by_scram(&mut world, "right").await;
    let client = world.client.clone();
    let again = tokio::spawn(async move { client.reauthenticate("newer").await });
    let Packet::Auth(auth) = peer.recv().await else { panic!("no AUTH") };
    assert_eq!(auth.reason, ReasonCode::ReAuthenticate);
    let exchange = challenge(&mut peer, auth.properties.data.as_deref().unwrap()).await;
    let shown = prove(&mut peer, exchange, "newer").await.unwrap();
    peer.send(step(ReasonCode::Success, shown)).await;
    assert_eq!(again.await.unwrap(), Ok(()));
    assert!(world.client.state().borrow().is_connected());
    peer.cut();
    let_in_by_scram(&mut world, "newer").await;
}

#[tokio::test(start_paused = true)]
async fn a_new_password_that_is_refused_costs_the_connection_and_the_old_one_stays() {
    let mut world = start(scram());
    let mut peer = let_in_by_scram(&mut world, "right").await;
    let client = world.client.clone();
    let again = tokio::spawn(async move { client.reauthenticate("wrong").await });
    let Packet::Auth(auth) = peer.recv().await else { panic!("no AUTH") };
    let exchange = challenge(&mut peer, auth.properties.data.as_deref().unwrap()).await;
    assert_eq!(prove(&mut peer, exchange, "right").await, Err(Fault::ClientUnproven));
    peer.send(Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::NotAuthorized)))).await;
    let Err(ReauthenticateError::Ended(cause)) = again.await.unwrap() else { panic!("it was not refused") };
    assert!(matches!(*cause, Cause::Disconnected { reason: ReasonCode::NotAuthorized, .. }), "{cause}");
    let_in_by_scram(&mut world, "right").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_prove_itself_again_is_left() {
    let mut world = start(scram());
    let mut peer = let_in_by_scram(&mut world, "right").await;
    let client = world.client.clone();
    let again = tokio::spawn(async move { client.reauthenticate("newer").await });
    let Packet::Auth(auth) = peer.recv().await else { panic!("no AUTH") };
    let exchange = challenge(&mut peer, auth.properties.data.as_deref().unwrap()).await;
    prove(&mut peer, exchange, "newer").await.unwrap();
    peer.send(step(ReasonCode::Success, "v=AAAA")).await;
    let unproven = Cause::Scram(ScramFault::ServerUnproven);
    assert_eq!(again.await.unwrap(), Err(ReauthenticateError::Ended(Box::new(unproven))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_left_in_time() {
    let mut world = start(scram().connect_timeout_ms(2_000));
    let mut peer = let_in_by_scram(&mut world, "right").await;
    let begin = tokio::time::Instant::now();
    let client = world.client.clone();
    let again = tokio::spawn(async move { client.reauthenticate("newer").await });
    peer.recv().await;
    let late = Cause::ConnectTimeout { after_ms: 2_000 };
    assert_eq!(again.await.unwrap(), Err(ReauthenticateError::Ended(Box::new(late))));
    assert!(begin.elapsed() < Duration::from_millis(3_500), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_can_be_done_again_without_scram_or_without_a_connection() {
    let mut world = start(options().username("alice").password("right"));
    let _peer = world.network.let_in(false).await;
    reach(&world.client, State::is_connected).await;
    assert_eq!(world.client.reauthenticate("newer").await, Err(ReauthenticateError::NotScram));
    let world = start(scram());
    world.network.go_down();
    assert_eq!(world.client.reauthenticate("newer").await, Err(ReauthenticateError::NotConnected));
    world.client.close(Duration::ZERO).await;
    assert_eq!(world.client.reauthenticate("newer").await, Err(ReauthenticateError::Closed));
}
