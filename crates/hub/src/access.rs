//! Who may come into the embedded broker and what each may do, as the project file says it: for people who ask.
//!
//! What is allowed is judged by the broker's own users, made of the plan as for a broker that runs.

use std::net::SocketAddr;

use crosspoint_broker::access::Authenticator;
pub use crosspoint_broker::access::{Because, Explanation, Subscribing};
use crosspoint_protocol::{TopicFilter, TopicName};

use crate::config::Plan;
use crate::config::plan::{BrokerPlan, ConnectorPlan, MqttPlan};
use crate::hub::HubError;
use crate::users;

/// A user of the embedded broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub name: String,
    /// What the password is kept as, in a word.
    pub kept_as: &'static str,
    /// The roles, as they are written.
    pub roles: Vec<String>,
}

/// A listener that lets clients in without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The name of the listener.
    pub listener: String,
    /// Where it listens.
    pub bind: SocketAddr,
}

/// What somebody may want to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To publish to a topic.
    Publish(TopicName),
    /// To subscribe to a filter.
    Subscribe(TopicFilter),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The embedded broker is disabled.
    #[error("the embedded broker is disabled")]
    NoBroker,
    /// No user has the name.
    #[error("the embedded broker has no user \"{}\"", .0.escape_debug())]
    NoUser(String),
    /// Nobody comes in without a name.
    #[error("no listener lets a client in without a name")]
    NoDoor,
    /// The users of the plan do not fit together.
    #[error("{0}")]
    Users(String),
}

/// Returns the users of the embedded broker, in the order of their names.
pub fn accounts(plan: &Plan) -> Vec<Account> {
    let users = plan.broker.iter().flat_map(|broker| &broker.users);
    users
        .map(|(name, user)| Account {
            name: name.clone(),
            kept_as: user.password.kept_as(),
            roles: user.roles.clone(),
        })
        .collect()
}

/// Returns the listeners of the embedded broker that let clients in without a name.
pub fn open_doors(plan: &Plan) -> Vec<Door> {
    let listeners = plan.broker.iter().flat_map(|broker| &broker.listeners);
    let open = listeners.filter(|(_, listener)| listener.anonymous);
    open.map(|(name, listener)| Door { listener: name.clone(), bind: listener.bind }).collect()
}

/// Returns the connectors of the plan that come in at one of these listeners of their own hub without a name.
pub fn who_come_in(plan: &Plan, doors: &[Door]) -> Vec<String> {
    let comes_in = |mqtt: &MqttPlan| {
        mqtt.username.is_none()
            && mqtt.addresses.iter().any(|address| {
                matches!(&*address.host, "localhost" | "127.0.0.1" | "::1")
                    && doors.iter().any(|door| door.bind.port() == address.port)
            })
    };
    let connectors = plan.connectors.iter().filter_map(|(name, connector)| match connector {
        ConnectorPlan::Mqtt(mqtt) if comes_in(mqtt) => Some(name.clone()),
        _ => None,
    });
    connectors.collect()
}

/// Says whether somebody may do something at the embedded broker, and which rule decides it. `None` is a client without a name.
///
/// # Errors
/// There is no embedded broker, or nobody comes in like that.
pub fn explain_access(
    plan: &Plan,
    user: Option<&str>,
    client_id: &str,
    wish: &Wish,
) -> Result<Explanation, NoAnswer> {
    let broker = plan.broker.as_ref().ok_or(NoAnswer::NoBroker)?;
    if user.is_none() && open_doors(plan).is_empty() {
        return Err(NoAnswer::NoDoor);
    }
    let users = of(broker)?;
    let unknown = || NoAnswer::NoUser(user.unwrap_or_default().to_owned());
    let permissions = users.permissions_for(user, client_id).ok_or_else(unknown)?;
    Ok(match wish {
        Wish::Publish(topic) => permissions.explain_publish(topic.as_str()),
        Wish::Subscribe(filter) => permissions.explain_subscribe(filter),
    })
}

fn of(broker: &BrokerPlan) -> Result<crosspoint_broker::access::Users, NoAnswer> {
    users::of_plan(broker).map_err(|error| match error {
        HubError::Users(what) => NoAnswer::Users(what),
        other => NoAnswer::Users(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const BROKER: &str = "\
[broker.listener.main]
bind = \"127.0.0.1:1883\"
[broker.user.alice]
password = \"$7$101$AAECAwQFBgcICQoL$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\"
roles = [\"plant\", \"guest\"]
[broker.user.bob]
password = \"secret\"
[broker.role.plant]
allow = [\"publish sensors/%u/#\", \"subscribe sensors/#\"]
deny = [\"subscribe sensors/secret\"]
[broker.role.guest]
allow = [\"both public/#\"]
";

    fn plan(text: &str) -> Plan {
        parse(text, "crosspoint.toml", None).unwrap().0
    }

    fn publish(topic: &str) -> Wish {
        Wish::Publish(TopicName::parse(topic).unwrap())
    }

    fn subscribe(filter: &str) -> Wish {
        Wish::Subscribe(TopicFilter::parse(filter.to_owned()).unwrap())
    }

    #[track_caller]
    fn answer(plan: &Plan, user: Option<&str>, wish: &Wish) -> String {
        explain_access(plan, user, "c", wish).unwrap().to_string()
    }

    #[test]
    fn the_rule_that_decides_is_named_with_its_role() {
        let plan = plan(BROKER);
        for (wish, expected) in [
            (
                publish("sensors/alice/1"),
                "allowed: role `plant` has `publish sensors/%u/#` in its allow list (here `sensors/alice/#`)",
            ),
            (publish("sensors/bob/1"), "denied: no rule allows it"),
            (
                publish("public/x"),
                "allowed: role `guest` has `both public/#` in its allow list (here `public/#`)",
            ),
            (publish("$SYS/x"), "denied: only the broker itself publishes below $SYS/"),
            (
                subscribe("sensors/secret"),
                "denied: role `plant` has `subscribe sensors/secret` in its deny list (here `sensors/secret`)",
            ),
            (
                subscribe("sensors/#"),
                "allowed in part, messages are filtered at delivery: role `plant` has `subscribe sensors/secret` in its deny list (here `sensors/secret`)",
            ),
        ] {
            assert_eq!(answer(&plan, Some("alice"), &wish), expected);
        }
        assert_eq!(
            answer(&plan, Some("bob"), &publish("a")),
            "denied: no rule allows it",
            "without roles nothing"
        );
    }

    #[test]
    fn who_cannot_come_in_gets_no_answer() {
        let (plan, wish) = (plan(BROKER), publish("a"));
        let why = |user| explain_access(&plan, user, "c", &wish).unwrap_err().to_string();
        assert_eq!(why(Some("carol")), "the embedded broker has no user \"carol\"");
        assert_eq!(why(None), "no listener lets a client in without a name");
    }

    #[test]
    fn without_a_name_the_anonymous_roles_hold_and_else_everything_is_allowed() {
        let open = BROKER.replace(":1883\"\n", ":1883\"\nanonymous = true\n");
        assert!(answer(&plan(&open), None, &publish("a")).starts_with("allowed: "));
        let restricted = plan(&format!("[broker]\nanonymous_roles = [\"guest\"]\n{open}"));
        assert_eq!(answer(&restricted, None, &publish("a")), "denied: no rule allows it");
        assert!(answer(&restricted, None, &publish("public/a")).contains("role `guest`"));
    }

    #[test]
    fn accounts_and_doors_are_those_of_the_plan() {
        let listed: Vec<_> = accounts(&plan(BROKER));
        let kept: Vec<_> = listed.iter().map(|one| (&*one.name, one.kept_as, one.roles.join(" "))).collect();
        assert_eq!(
            kept,
            [("alice", "mosquitto_passwd", "plant guest".to_owned()), ("bob", "password", String::new())]
        );
        assert!(open_doors(&plan(BROKER)).is_empty(), "there are users");
        let here =
            "[connector.here]\nurl = \"mqtt://127.0.0.1:1883\"\n[connector.there]\nurl = \"mqtt://h:1883\"\n";
        let open = plan(&format!("[broker.listener.main]\nbind = \"127.0.0.1:1883\"\n{here}"));
        let doors = open_doors(&open);
        assert_eq!(doors, [Door { listener: "main".to_owned(), bind: ([127, 0, 0, 1], 1883).into() }]);
        assert_eq!(who_come_in(&open, &doors), ["here"]);
    }
}
