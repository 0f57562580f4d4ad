//! The embedded broker's users, from the plan to the broker.

use std::collections::BTreeMap;

use crosspoint_broker::access::{Password, Role, Rule, User, Users};

use crate::config::plan::{Access, AclRule, Effect, UserPassword, UserPlan};
use crate::hub::HubError;

/// Makes the broker's users of those of the plan.
pub(crate) fn of_plan(plan: &BTreeMap<String, UserPlan>) -> Result<Users, HubError> {
    let (users, roles) = users_and_roles(plan)?;
    Users::new(users, roles).map_err(|error| HubError::Users(error.to_string()))
}

/// Replaces the users of a broker that runs.
pub(crate) fn replace(running: &Users, plan: &BTreeMap<String, UserPlan>) -> Result<(), HubError> {
    let (users, roles) = users_and_roles(plan)?;
    running.replace(users, roles).map_err(|error| HubError::Users(error.to_string()))
}

/// The plan has added up what a user's roles allow; so each user gets one role, of the same name.
fn users_and_roles(plan: &BTreeMap<String, UserPlan>) -> Result<(Vec<User>, Vec<Role>), HubError> {
    let (mut users, mut roles) = (Vec::new(), Vec::new());
    for (name, user) in plan {
        let named = |reason: String| HubError::Users(format!("user `{name}`: {reason}"));
        let password = match &user.password {
            UserPassword::Plain(secret) => Password::plain(secret.expose()),
            UserPassword::Argon2id(phc) => Password::argon2id(phc.expose_text().unwrap_or_default())
                .map_err(|error| named(error.to_string()))?,
        };
        let rules = |effect: Effect| -> Result<Vec<Rule>, HubError> {
            let wanted = user.rules.iter().filter(|rule| rule.effect == effect);
            wanted.map(|rule| Rule::parse(&text_of(rule)).map_err(|error| named(error.to_string()))).collect()
        };
        roles.push(Role { name: name.clone(), allow: rules(Effect::Allow)?, deny: rules(Effect::Deny)? });
        users.push(User { name: name.clone(), password, roles: vec![name.clone()] });
    }
    Ok((users, roles))
}

fn text_of(rule: &AclRule) -> String {
    let access = match rule.access {
        Access::Publish => "publish",
        Access::Subscribe => "subscribe",
        Access::Both => "both",
    };
    format!("{access} {}", rule.filter)
}
