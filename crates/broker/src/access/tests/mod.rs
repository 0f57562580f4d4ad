//! What holds of access control as a whole.

mod hashing;
mod permissions;
mod scram;
mod users;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use argon2::Params;

use super::login::{Authenticating, Authenticator, Identity, LoginRequest, Refusal};
use super::password::{Password, hash_with};
use super::rule::Rule;
use super::users::{Accounts, Role, User, Users};

/// Longer than anything here takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Hashes cheaply, so that a test build without optimisation is quick.
fn cheap_hash(password: &str) -> String {
    hash_with(Params::new(8, 1, 1, None).unwrap(), password.as_bytes()).unwrap()
}

fn user(name: &str, password: Password, roles: &[&str]) -> User {
    User { name: name.to_owned(), password, roles: roles.iter().map(|role| (*role).to_owned()).collect() }
}

fn plain(name: &str, password: &str) -> User {
    user(name, Password::plain(password), &[])
}

fn hashed(name: &str, password: &str) -> User {
    user(name, Password::argon2id(&cheap_hash(password)).unwrap(), &[])
}

fn role(name: &str, allow: &[&str], deny: &[&str]) -> Role {
    Role { name: name.to_owned(), allow: rules(allow), deny: rules(deny) }
}

fn accounts(users: Vec<User>, roles: Vec<Role>) -> Accounts {
    Accounts { users, roles, anonymous_roles: None }
}

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| Rule::parse(text).unwrap()).collect()
}

fn login(username: &'static str, password: &'static str) -> LoginRequest {
    let mut login = LoginRequest::new("client");
    login.username = Some(username.into());
    login.password = Some(password.into());
    login
}

async fn try_login(users: &Users, login: LoginRequest) -> Result<Identity, Refusal> {
    finish(users.authenticate(login)).await
}

async fn refusal(users: &Users, login: LoginRequest) -> Option<Refusal> {
    try_login(users, login).await.err()
}

async fn finish(login: Authenticating<'_>) -> Result<Identity, Refusal> {
    tokio::time::timeout(DEADLINE, login).await.expect("an answer before the deadline")
}

/// Brings a login as far as it comes without waiting; returns the answer if there is one already.
fn begin(login: &mut Authenticating<'_>) -> Option<Result<Identity, Refusal>> {
    match Pin::new(login).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Waits until something holds, without sleeping longer than the deadline.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

/// Returns what a client of a user with one role may do.
fn permissions(
    allow: &[&str],
    deny: &[&str],
    username: &str,
    client_id: &str,
) -> Arc<super::permissions::Permissions> {
    let owner = user(username, Password::plain("p"), &["r"]);
    let users = Users::new(vec![owner], vec![role("r", allow, deny)]).unwrap();
    users.permissions_for(Some(username), client_id).unwrap()
}
