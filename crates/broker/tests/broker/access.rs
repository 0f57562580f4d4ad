//! Users and rules that change while clients are in.

use std::sync::Arc;

use crosspoint_broker::{
    Broker, ListenerOptions,
    access::{Accounts, Password, Role, Rule, User, Users},
};
use crosspoint_net::{ListenOptions, Transport};
use crosspoint_protocol::{QoS, ReasonCode, packet::Connect};

use crate::support::*;

fn user(name: &str) -> User {
    User { name: name.into(), password: Password::plain("p"), roles: vec![name.into()] }
}

fn role(name: &str, allow: &[&str]) -> Role {
    let allow = allow.iter().map(|rule| Rule::parse(rule).unwrap()).collect();
    Role { name: name.into(), allow, deny: Vec::new() }
}

fn login(connect: Connect, name: &str) -> Connect {
    let mut connect = connect;
    connect.login.username = Some(name.to_owned().into());
    connect.login.password = Some("p".into());
    connect
}

async fn guarded(users: &Arc<Users>) -> Broker {
    let listener = ListenerOptions::new("main", ListenOptions::new(Transport::Tcp, loopback()));
    Broker::builder().options(options()).listener(listener).access(users.clone()).start().await.unwrap()
}

fn two_users(alice: &[&str]) -> (Vec<User>, Vec<Role>) {
    (vec![user("alice"), user("bob")], vec![role("alice", alice), role("bob", &["both #"])])
}

fn accounts(users: Vec<User>, roles: Vec<Role>) -> Accounts {
    Accounts { users, roles, anonymous_roles: None }
}

#[tokio::test]
async fn what_is_revoked_is_neither_received_nor_published_nor_kept() {
    let (all, rules) = two_users(&["both #"]);
    let users = Arc::new(Users::new(all, rules).unwrap());
    let broker = guarded(&users).await;
    let mut bob = Device::connect(&broker, login(hello("bob"), "bob")).await;
    let mut away = Device::connect(&broker, login(durable("away"), "alice")).await;
    away.subscribe("secret/#", QoS::AtLeastOnce).await;
    away.subscribe("open", QoS::AtLeastOnce).await;
    away.leave().await;
    let mut alice = Device::connect(&broker, login(hello("alice"), "alice")).await;
    alice.subscribe("secret/#", QoS::AtLeastOnce).await;
    alice.subscribe("open", QoS::AtLeastOnce).await;
    bob.publish(message("secret/a", "queued", QoS::AtLeastOnce)).await;
    assert_eq!(text(&alice.message().await), "queued");

    let (all, rules) = two_users(&["both open"]);
    users.replace(accounts(all, rules)).unwrap();
    broker.handle().reauthorize();

    bob.publish(message("secret/a", "revoked", QoS::AtLeastOnce)).await;
    bob.publish(message("open", "after", QoS::AtLeastOnce)).await;
    assert_eq!(text(&alice.message().await), "after");
    // It published there before, and may not any more.
    assert_eq!(alice.publish(message("secret/b", "x", QoS::AtLeastOnce)).await, ReasonCode::NotAuthorized);
    let mut away = Device::connect(&broker, login(durable("away"), "alice")).await;
    assert!(away.session_present());
    assert_eq!(text(&away.message().await), "after");
}

#[tokio::test]
async fn a_client_whose_user_is_gone_goes_with_its_session() {
    let (all, rules) = two_users(&["both #"]);
    let users = Arc::new(Users::new(all, rules).unwrap());
    let broker = guarded(&users).await;
    let mut bob = Device::connect(&broker, login(hello("bob"), "bob")).await;
    let away = Device::connect(&broker, login(durable("away"), "alice")).await;
    away.leave().await;
    let mut alice = Device::connect(&broker, login(durable("alice"), "alice")).await;

    users.replace(accounts(vec![user("bob")], vec![role("bob", &["both #"])])).unwrap();
    broker.handle().reauthorize();

    assert_eq!(alice.end_reason().await, ReasonCode::NotAuthorized);
    bob.ping().await;
    let (all, rules) = two_users(&["both #"]);
    users.replace(accounts(all, rules)).unwrap();
    for client_id in ["away", "alice"] {
        let again = Device::connect(&broker, login(durable(client_id), "alice")).await;
        assert!(!again.session_present(), "{client_id}");
    }
}

#[tokio::test]
async fn anonymous_clients_go_when_their_listener_lets_none_in_any_more() {
    let users = Arc::new(Users::new(Vec::new(), Vec::new()).unwrap());
    let broker = guarded(&users).await;
    let mut nobody = Device::connect(&broker, durable("nobody")).await;
    broker.handle().reauthorize();
    nobody.ping().await;

    users.replace(accounts(vec![user("bob")], vec![role("bob", &["both #"])])).unwrap();
    broker.set_anonymous("main", false);
    let mut bob = Device::connect(&broker, login(hello("bob"), "bob")).await;
    broker.handle().reauthorize();

    assert_eq!(nobody.end_reason().await, ReasonCode::NotAuthorized);
    bob.ping().await;
    let refused = Device::try_connect(address(&broker), durable("nobody")).await;
    assert_eq!(refused.connack.unwrap().reason, ReasonCode::NotAuthorized);
}
