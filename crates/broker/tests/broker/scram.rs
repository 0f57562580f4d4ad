//! SCRAM-SHA-256 over the wire: on the way in, and again on an open connection.

use std::sync::Arc;

use bytes::Bytes;
use crosspoint_broker::{
    Broker, ListenerOptions,
    access::{Accounts, Password, Role, Rule, User, Users},
};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_protocol::{
    QoS, ReasonCode,
    packet::{Auth, AuthProperties, ConnAck, Connect, Packet},
    scram::{ClientExchange, METHOD, ServerProof},
};
use tokio::io::AsyncWriteExt;

use crate::support::*;

fn accounts(alice: &[&str]) -> Accounts {
    let user = |name: &str| User {
        name: name.into(),
        password: Password::plain("right"),
        roles: vec!["role".into()],
    };
    let allow = alice.iter().map(|rule| Rule::parse(rule).unwrap()).collect();
    let roles = vec![Role { name: "role".into(), allow, deny: Vec::new() }];
    Accounts { users: vec![user("alice"), user("bob")], roles, anonymous_roles: None }
}

async fn guarded() -> (Broker, Arc<Users>) {
    let users = Arc::new(Users::of_accounts(accounts(&["publish mine"])).unwrap());
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, loopback()));
    let builder = Broker::builder().options(options()).listener(listener).access(users.clone());
    (builder.start().await.unwrap(), users)
}

fn begin(name: &str, password: &str) -> ClientExchange {
    ClientExchange::begin(name, password.as_bytes(), "nonce").unwrap()
}

fn step(reason: ReasonCode, data: impl Into<Bytes>) -> Packet {
    let properties =
        AuthProperties { method: Some(METHOD.into()), data: Some(data.into()), ..AuthProperties::default() };
    Packet::Auth(Box::new(Auth { reason, properties }))
}

/// Answers the challenge that comes next, and returns what the broker is to show.
async fn answer(device: &mut Device, exchange: ClientExchange) -> ServerProof {
    let Packet::Auth(auth) = device.receive().await else { panic!("no challenge") };
    assert_eq!(auth.reason, ReasonCode::ContinueAuthentication);
    assert_eq!(auth.properties.method.as_deref(), Some(METHOD));
    let (last, proof) =
        exchange.challenged(auth.properties.data.as_deref().unwrap()).unwrap().answer().unwrap();
    device.send(&step(ReasonCode::ContinueAuthentication, last)).await;
    proof
}

/// Says CONNECT as a user, whatever user name stands in CONNECT itself, and returns CONNACK.
async fn come(broker: &Broker, name: &str, password: &str) -> (Device, Box<ConnAck>, ServerProof) {
    let mut device = Device::dial(address(broker)).await;
    let exchange = begin(name, password);
    let mut connect: Connect = hello("device");
    connect.login.username = Some("nobody".into());
    connect.properties.authentication_method = Some(METHOD.into());
    connect.properties.authentication_data = Some(exchange.first().into());
    device.send(&Packet::Connect(Box::new(connect))).await;
    let proof = answer(&mut device, exchange).await;
    let Packet::ConnAck(connack) = device.receive().await else { panic!("no CONNACK") };
    (device, connack, proof)
}

async fn let_in(broker: &Broker) -> Device {
    let (device, connack, proof) = come(broker, "alice", "right").await;
    assert_eq!(connack.reason, ReasonCode::Success);
    assert_eq!(connack.properties.authentication_method.as_deref(), Some(METHOD));
    assert!(proof.is_shown_by(connack.properties.authentication_data.as_deref().unwrap()));
    device
}

#[tokio::test]
async fn a_client_that_proves_its_password_comes_in_with_the_rules_of_its_user() {
    let (broker, _) = guarded().await;
    let mut device = let_in(&broker).await;
    assert_ne!(device.publish(message("mine", "1", QoS::AtLeastOnce)).await, ReasonCode::NotAuthorized);
    assert_eq!(device.publish(message("other", "1", QoS::AtLeastOnce)).await, ReasonCode::NotAuthorized);
}

#[tokio::test]
async fn a_wrong_password_and_a_user_that_does_not_exist_are_answered_alike() {
    let (broker, _) = guarded().await;
    let mut answers = Vec::new();
    for (name, password) in [("alice", "wrong"), ("nobody", "right")] {
        let (mut device, connack, _) = come(&broker, name, password).await;
        answers.push(connack);
        assert!(device.receive_or_end().await.is_none());
    }
    assert_eq!(answers[0].reason, ReasonCode::BadUserNameOrPassword);
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_client_proves_itself_again_and_gets_the_rules_of_that_moment() {
    let (broker, users) = guarded().await;
    let mut device = let_in(&broker).await;
    for _ in 0..2 {
        let exchange = begin("alice", "right");
        device.send(&step(ReasonCode::ReAuthenticate, exchange.first())).await;
        users.replace(accounts(&["publish other"])).unwrap();
        let proof = answer(&mut device, exchange).await;
        let Packet::Auth(auth) = device.receive().await else { panic!("no AUTH") };
        assert_eq!(auth.reason, ReasonCode::Success);
        assert!(proof.is_shown_by(auth.properties.data.as_deref().unwrap()));
        assert_ne!(device.publish(message("other", "1", QoS::AtLeastOnce)).await, ReasonCode::NotAuthorized);
    }
}

#[tokio::test]
async fn messages_go_on_while_a_client_proves_itself_again() {
    let (broker, _) = guarded().await;
    let mut device = let_in(&broker).await;
    let exchange = begin("alice", "right");
    device.send(&step(ReasonCode::ReAuthenticate, exchange.first())).await;
    let Packet::Auth(_) = device.receive().await else { panic!("no challenge") };
    assert_ne!(device.publish(message("mine", "1", QoS::AtLeastOnce)).await, ReasonCode::NotAuthorized);
    device.ping().await;
}

#[tokio::test]
async fn a_wrong_password_or_another_user_costs_the_open_connection() {
    let (broker, _) = guarded().await;
    let mut device = let_in(&broker).await;
    let exchange = begin("alice", "wrong");
    device.send(&step(ReasonCode::ReAuthenticate, exchange.first())).await;
    answer(&mut device, exchange).await;
    assert_eq!(device.end_reason().await, ReasonCode::NotAuthorized);
    // Another user may be right about its password: the session is not its own.
    let mut device = let_in(&broker).await;
    device.send(&step(ReasonCode::ReAuthenticate, begin("bob", "right").first())).await;
    assert_eq!(device.end_reason().await, ReasonCode::NotAuthorized);
}

#[tokio::test]
async fn a_stranger_may_not_send_without_end_where_an_answer_is_awaited() {
    let (broker, _) = guarded().await;
    let mut device = Device::dial(address(&broker)).await;
    let mut connect: Connect = hello("device");
    connect.properties.authentication_method = Some(METHOD.into());
    connect.properties.authentication_data = Some(begin("alice", "right").first().into());
    device.send(&Packet::Connect(Box::new(connect))).await;
    let Packet::Auth(_) = device.receive().await else { panic!("no challenge") };
    // An AUTH that says it is 15 MiB long, and never ends.
    let (mut writer, _reader) = device.split();
    let flood = async {
        writer.write_all(&[0xF0, 0x80, 0x80, 0xC0, 0x07]).await.unwrap();
        // The broker hangs up, and the system says so after a while.
        for _ in 0..14 * 16 {
            if writer.write_all(&[0; 64 * 1024]).await.is_err() {
                return;
            }
        }
    };
    within("the end of the flood", flood).await;
    until("the broker has hung up", || broker.statistics().connections == 0).await;
    assert!(broker.statistics().bytes_received < 2 * 1024 * 1024);
}
