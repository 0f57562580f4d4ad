//! The embedded broker's users, from the plan to the broker.

use std::collections::BTreeMap;

use crosspoint_broker::access::{self, Accounts, Password, Role, Rule, User, Users};

use crate::config::Secret;
use crate::config::plan::{Access, AclRule, BrokerPlan, Effect, UserPassword, UserPlan};
use crate::hub::HubError;

/// A role without rules, which every user has, and clients without a name where they are restricted: somebody without any
/// role could do everything.
const NOTHING: &str = "#nothing";

/// What a password is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordHash {
    /// Argon2id: the hardest to guess, and the password has to be sent.
    Argon2id,
    /// What SCRAM-SHA-256 needs: the password is never sent. It is good for a password in CONNECT too.
    ScramSha256,
}

/// Hashes a password of a user of the embedded broker, as it stands in the project file.
///
/// It takes milliseconds to tens of them of the calling thread.
///
/// # Errors
/// Why the password cannot be used, or that the system gave no randomness or memory.
pub fn hash_password(password: &Secret, kind: PasswordHash) -> Result<String, String> {
    let hashed = match kind {
        PasswordHash::Argon2id => access::hash_password(password.expose()),
        PasswordHash::ScramSha256 => access::hash_password_for_scram(password.expose()),
    };
    hashed.map_err(|error| error.to_string())
}

/// Makes the broker's users of those of the plan.
pub(crate) fn of_plan(plan: &BrokerPlan) -> Result<Users, HubError> {
    Users::of_accounts(accounts(plan)?).map_err(|error| HubError::Users(error.to_string()))
}

/// Replaces the users of a broker that runs.
pub(crate) fn replace(running: &Users, plan: &BrokerPlan) -> Result<(), HubError> {
    running.replace(accounts(plan)?).map_err(|error| HubError::Users(error.to_string()))
}

/// The plan has added up what roles allow; each rule bears the name of its role.
fn accounts(plan: &BrokerPlan) -> Result<Accounts, HubError> {
    let mut accounts = Accounts::default();
    let mut roles = BTreeMap::from([(NOTHING, Vec::new())]);
    for (name, user) in &plan.users {
        let password = password(user).map_err(|reason| named(name, &reason))?;
        let theirs = roles_of(&user.rules, &mut roles);
        accounts.users.push(User { name: name.clone(), password, roles: theirs });
    }
    accounts.anonymous_roles = plan.anonymous_rules.as_ref().map(|rules| roles_of(rules, &mut roles));
    let made = roles.into_iter().map(|(name, rules)| role(name, &rules));
    accounts.roles = made.collect::<Result<_, _>>()?;
    Ok(accounts)
}

/// Returns the roles of somebody with these rules, and notes what each of them holds.
fn roles_of<'a>(rules: &'a [AclRule], roles: &mut BTreeMap<&'a str, Vec<&'a AclRule>>) -> Vec<String> {
    let mut theirs = vec![NOTHING.to_owned()];
    for rule in rules {
        if !theirs.contains(&rule.role) {
            let same = rules.iter().filter(|other| other.role == rule.role);
            roles.insert(&rule.role, same.collect());
            theirs.push(rule.role.clone());
        }
    }
    theirs
}

fn password(user: &UserPlan) -> Result<Password, String> {
    let hashed = match &user.password {
        UserPassword::Plain(secret) => return Ok(Password::plain(secret.expose())),
        UserPassword::Argon2id(hash) => Password::argon2id(hash.expose_text().unwrap_or_default()),
        UserPassword::Crypted(hash) => Password::crypted(hash.expose_text().unwrap_or_default()),
        UserPassword::Scram(hash) => Password::scram(hash.expose_text().unwrap_or_default()),
    };
    hashed.map_err(|error| error.to_string())
}

fn role(name: &str, rules: &[&AclRule]) -> Result<Role, HubError> {
    let rules = |effect: Effect| -> Result<Vec<Rule>, HubError> {
        let wanted = rules.iter().filter(|rule| rule.effect == effect);
        wanted
            .map(|rule| Rule::parse(&text_of(rule)).map_err(|error| unusable(name, &error.to_string())))
            .collect()
    };
    Ok(Role { name: name.to_owned(), allow: rules(Effect::Allow)?, deny: rules(Effect::Deny)? })
}

fn unusable(role: &str, reason: &str) -> HubError {
    HubError::Users(format!("role `{role}`: {reason}"))
}

fn named(name: &str, reason: &str) -> HubError {
    HubError::Users(format!("user `{name}`: {reason}"))
}

fn text_of(rule: &AclRule) -> String {
    let access = match rule.access {
        Access::Publish => "publish",
        Access::Subscribe => "subscribe",
        Access::Both => "both",
    };
    format!("{access} {}", rule.filter)
}
