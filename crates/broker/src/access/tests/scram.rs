//! SCRAM, and that it tells nobody which users there are.

use bytes::Bytes;
use crosspoint_protocol::scram::ClientExchange;

use super::super::login::{Authenticator, LoginRequest, Refusal};
use super::super::password::{Password, hash_password_for_scram};
use super::super::salts::SaltKey;
use super::super::scram::ScramExchange;
use super::super::users::Users;
use super::*;

fn kept(name: &str, password: &str) -> User {
    user(name, Password::parse(&hash_password_for_scram(password.as_bytes()).unwrap()).unwrap(), &[])
}

fn begin_as(users: &Users, name: &str) -> Result<ScramExchange, Refusal> {
    let first = ClientExchange::begin(name, b"x", "nonce").unwrap().first();
    users.begin_scram(first.as_bytes())
}

/// Returns salt and iterations, as the client is told them.
fn asked_for(users: &Users, name: &str) -> String {
    let challenge = begin_as(users, name).unwrap().challenge();
    let challenge = String::from_utf8(challenge.to_vec()).unwrap();
    challenge.split_once(",s=").unwrap().1.to_owned()
}

async fn come_in(users: &Users, name: &str, password: &str) -> Result<Identity, Refusal> {
    let client = ClientExchange::begin(name, password.as_bytes(), "nonce").unwrap();
    let exchange = users.begin_scram(client.first().as_bytes())?;
    let (last, proof) = client.challenged(&exchange.challenge()).unwrap().answer().unwrap();
    let answer = users.end_scram(exchange, last.into(), LoginRequest::new("client"));
    let proven = tokio::time::timeout(DEADLINE, answer).await.expect("an answer before the deadline")?;
    assert!(proof.is_shown_by(&proven.shown), "the broker proves itself");
    Ok(proven.identity)
}

#[tokio::test]
async fn a_user_whose_password_is_known_comes_in_with_the_right_one_only() {
    let accounts = accounts(
        vec![
            user("plain", Password::plain("right"), &["r"]),
            User { roles: vec!["r".to_owned()], ..kept("kept", "right") },
        ],
        vec![role("r", &["publish a/%u"], &[])],
    );
    let users = Users::of_accounts(accounts).unwrap();
    for name in ["plain", "kept"] {
        let identity = come_in(&users, name, "right").await.unwrap();
        assert_eq!(identity.username.as_deref(), Some(name));
        assert!(identity.permissions.may_publish(&format!("a/{name}")));
        assert!(!identity.permissions.may_publish("a/other"));
        assert_eq!(come_in(&users, name, "wrong").await.err(), Some(Refusal::BadUserNameOrPassword));
        assert_eq!(come_in(&users, name, "").await.err(), Some(Refusal::BadUserNameOrPassword));
    }
}

#[tokio::test]
async fn what_is_kept_for_scram_opens_the_door_to_a_password_in_connect_too() {
    let users = Users::new(vec![kept("kept", "right")], vec![]).unwrap();
    assert_eq!(refusal(&users, login("kept", "right")).await, None);
    assert_eq!(refusal(&users, login("kept", "wrong")).await, Some(Refusal::BadUserNameOrPassword));
}

#[tokio::test]
async fn a_user_with_another_hash_and_one_that_does_not_exist_are_refused_alike() {
    let users = vec![plain("plain", "right"), hashed("argon", "right"), kept("kept", "right")];
    let users = Users::new(users, vec![]).unwrap();
    for name in ["argon", "nobody", "somebody else"] {
        // Also with the password of the user that stands in.
        assert_eq!(
            come_in(&users, name, "right").await.err(),
            Some(Refusal::BadUserNameOrPassword),
            "{name}"
        );
        let asked = asked_for(&users, name);
        assert_eq!(asked, asked_for(&users, name), "always the same challenge");
        assert_eq!(asked.len(), asked_for(&users, "plain").len());
        assert_eq!(asked.len(), asked_for(&users, "kept").len());
        assert_ne!(asked, asked_for(&users, "plain"));
    }
    assert_ne!(asked_for(&users, "nobody"), asked_for(&users, "somebody else"));
    let hashed_so_far = users.hashing().hashed;
    let mut names = 0;
    while users.hashing().hashed == hashed_so_far {
        names += 1;
        assert!(names < 100, "some unknown name costs as much as a plain password");
        come_in(&users, &format!("nobody{names}"), "x").await.unwrap_err();
    }
}

#[test]
fn salts_outlive_the_process_with_their_key() {
    let users = |secret: &[u8; 32]| {
        let users = Users::new(vec![plain("plain", "right")], vec![]).unwrap();
        users.salt_key(SaltKey::new(secret))
    };
    for name in ["plain", "nobody"] {
        assert_eq!(asked_for(&users(&[1; 32]), name), asked_for(&users(&[1; 32]), name));
        assert_ne!(asked_for(&users(&[1; 32]), name), asked_for(&users(&[2; 32]), name));
    }
}

#[test]
fn nobody_is_offered_what_nobody_can() {
    let nobody_can = Some(Refusal::BadAuthenticationMethod);
    assert_eq!(begin_as(&Users::default(), "a").err(), nobody_can);
    let users = Users::new(vec![hashed("argon", "right")], vec![]).unwrap();
    assert_eq!(begin_as(&users, "argon").err(), nobody_can);
    let users = Users::new(vec![user("bytes", Password::plain([0xFF]), &[])], vec![]).unwrap();
    assert_eq!(begin_as(&users, "bytes").err(), nobody_can);
}

#[tokio::test]
async fn a_user_that_goes_or_changes_in_the_middle_does_not_come_in() {
    for replaced in [vec![plain("other", "right")], vec![plain("plain", "newer"), plain("other", "right")]] {
        let users = Users::new(vec![plain("plain", "right")], vec![]).unwrap();
        let client = ClientExchange::begin("plain", b"right", "nonce").unwrap();
        let exchange = users.begin_scram(client.first().as_bytes()).unwrap();
        let (last, _) = client.challenged(&exchange.challenge()).unwrap().answer().unwrap();
        users.replace(accounts(replaced, vec![])).unwrap();
        let answer = users.end_scram(exchange, last.into(), LoginRequest::new("client"));
        let answer = tokio::time::timeout(DEADLINE, answer).await.expect("an answer before the deadline");
        assert_eq!(answer.err(), Some(Refusal::BadUserNameOrPassword));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_as_such() {
    let users = Users::new(vec![plain("plain", "right")], vec![]).unwrap();
    assert!(matches!(users.begin_scram(b"").err(), Some(Refusal::Scram(_))));
    let exchange = begin_as(&users, "plain").unwrap();
    let answer = users.end_scram(exchange, Bytes::from_static(b"c=biws"), LoginRequest::new("client"));
    assert!(matches!(answer.await.err(), Some(Refusal::Scram(_))));
}

#[test]
fn no_exchange_shows_a_password() {
    let users = Users::new(vec![plain("plain", "hunter2")], vec![]).unwrap();
    let shown = format!("{:?} {users:?}", begin_as(&users, "plain").unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}
