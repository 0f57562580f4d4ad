use crosspoint_protocol::TopicFilter;

use super::super::permissions::{Permissions, Subscribing};
use super::super::rule::{Rule, RuleFault};
use super::super::users::Users;
use super::super::{Authenticator, Password};
use super::{permissions, role, user};
use Subscribing::{Denied, Filtered, Granted};

const ALLOW: &[&str] = &["both a/#", "publish p/+", "subscribe s/+/t", "both x", "subscribe $SYS/broker/#"];
const DENY: &[&str] = &["subscribe a/secret/#", "publish a/fixed", "both a/none", "subscribe s/off/t"];

fn may_subscribe(permissions: &Permissions, filter: &str) -> Subscribing {
    permissions.may_subscribe(&TopicFilter::parse(filter).unwrap())
}

#[test]
fn publishing_follows_the_rules_for_it() {
    let permissions = permissions(ALLOW, DENY, "alice", "c");
    let cases = [
        ("a", true),
        ("a/b/c", true),
        ("a/secret/x", true), // Denied for subscribing only.
        ("a/fixed", false),
        ("a/fixed/x", true),
        ("a/none", false),
        ("p/1", true),
        ("p", false),
        ("p/1/2", false),
        ("s/1/t", false), // Allowed for subscribing only.
        ("x", true),
        ("x/", false),
        ("xy", false),
        ("", false),
        ("other", false),
        ("$SYS/broker/x", false),
    ];
    for (topic, expected) in cases {
        assert_eq!(permissions.may_publish(topic), expected, "{topic}");
    }
}

#[test]
fn receiving_follows_the_rules_for_subscribing() {
    let permissions = permissions(ALLOW, DENY, "alice", "c");
    let cases = [
        ("a", true),
        ("a/b", true),
        ("a/secret", false), // `a/secret/#` includes its parent.
        ("a/secret/x/y", false),
        ("a/secretive", true),
        ("a/fixed", true), // Denied for publishing only.
        ("a/none", false),
        ("p/1", false),
        ("s/1/t", true),
        ("s/off/t", false),
        ("s/1/u", false),
        ("$SYS/broker/uptime", true),
        ("$SYS/other", false),
    ];
    for (topic, expected) in cases {
        assert_eq!(permissions.may_receive(topic), expected, "{topic}");
    }
}

#[test]
fn subscribing_is_granted_filtered_or_denied() {
    let permissions = permissions(ALLOW, DENY, "alice", "c");
    let cases = [
        // Without wildcards there is nothing to filter.
        ("a/b", Granted),
        ("a/secret/x", Denied),
        ("a/none", Denied),
        ("p/1", Denied),
        ("x", Granted),
        ("other", Denied),
        // Wholly allowed, nothing denied.
        ("a/b/#", Granted),
        ("a/b/+", Granted),
        ("s/+/t", Filtered),
        ("s/on/t", Granted),
        // Allowed, but a part is denied.
        ("a/#", Filtered),
        ("a/+", Filtered),
        ("a/+/x", Filtered),
        // Only a part is allowed.
        ("#", Filtered),
        ("+", Filtered),
        ("s/#", Filtered),
        ("+/b", Filtered),
        ("$SYS/#", Filtered),
        ("$SYS/broker/+", Granted),
        // Nothing is allowed, or all of it is denied.
        ("a/secret/#", Denied),
        ("a/secret/+", Denied),
        ("p/+", Denied),
        ("other/#", Denied),
        ("$SYS/clients/#", Denied),
    ];
    for (filter, expected) in cases {
        assert_eq!(may_subscribe(&permissions, filter), expected, "{filter}");
        let shared = format!("$share/a/{filter}");
        assert_eq!(may_subscribe(&permissions, &shared), expected, "{shared}");
    }
}

#[test]
fn a_subscription_of_which_every_allowed_part_is_denied_is_denied() {
    let permissions = permissions(&["subscribe a/b"], &["subscribe a/#"], "alice", "c");
    assert_eq!(may_subscribe(&permissions, "+/b"), Denied);
    assert_eq!(may_subscribe(&permissions, "#"), Denied);
}

#[test]
fn a_granted_subscription_never_matches_what_may_not_be_received() {
    let permissions = permissions(ALLOW, DENY, "alice", "c");
    let filters =
        ["#", "+", "a/#", "a/+", "+/+", "a/b/#", "s/+/t", "s/#", "a/secret/+", "$SYS/#", "x", "+/none"];
    let topics =
        ["a", "a/b", "a/b/c", "a/secret", "a/secret/x", "a/none", "s/1/t", "s/off/t", "x", "$SYS/broker/x"];
    for filter in filters.map(|filter| TopicFilter::parse(filter).unwrap()) {
        let verdict = permissions.may_subscribe(&filter);
        for topic in topics.into_iter().filter(|topic| filter.matches(topic)) {
            let may_receive = permissions.may_receive(topic);
            assert!(may_receive || verdict != Granted, "{filter} is granted, {topic} may not be received");
            assert!(!may_receive || verdict != Denied, "{filter} is denied, {topic} may be received");
        }
    }
}

#[test]
fn a_wildcard_at_the_start_does_not_open_dollar_topics() {
    let everything = permissions(&["both #"], &[], "alice", "c");
    assert!(everything.may_publish("a") && !everything.may_publish("$SYS/a"));
    assert_eq!([may_subscribe(&everything, "#"), may_subscribe(&everything, "$SYS/#")], [Granted, Denied]);
}

#[test]
fn unrestricted_lets_everything_pass() {
    let permissions = Permissions::unrestricted();
    assert!(permissions.is_unrestricted());
    assert!(permissions.may_publish("$SYS/a") && permissions.may_receive("a"));
    assert_eq!(may_subscribe(&permissions, "$SYS/#"), Granted);
}

#[test]
fn without_rules_nothing_passes() {
    let permissions = permissions(&[], &[], "alice", "c");
    assert!(!permissions.is_unrestricted());
    assert!(!permissions.may_publish("a") && !permissions.may_receive("a"));
    assert_eq!(may_subscribe(&permissions, "#"), Denied);
}

#[test]
fn roles_add_up_and_a_deny_of_any_wins() {
    let alice = user("alice", Password::plain("p"), &["reader", "writer", "careful"]);
    let roles = vec![
        role("reader", &["subscribe r/#"], &[]),
        role("writer", &["publish w/#"], &[]),
        role("careful", &[], &["both r/secret", "both w/secret"]),
        role("unused", &["both #"], &[]),
    ];
    let users = Users::new(vec![alice], roles).unwrap();
    let permissions = users.permissions_for(Some("alice"), "c").unwrap();
    assert!(permissions.may_receive("r/1") && permissions.may_publish("w/1"));
    assert!(!permissions.may_receive("r/secret") && !permissions.may_publish("w/secret"));
    assert!(
        !permissions.may_publish("r/1") && !permissions.may_receive("w/1") && !permissions.may_publish("z")
    );
}

#[test]
fn names_are_filled_in_once() {
    let rules = &["publish u/%u/#", "publish c/%c", "publish both/dev-%u_%c/x", "publish p/%/%x"];
    let alice = permissions(rules, &[], "alice", "7");
    for (topic, expected) in [
        ("u/alice/t", true),
        ("u/bob/t", false),
        ("u/%u/t", false),
        ("c/7", true),
        ("c/alice", false),
        ("both/dev-alice_7/x", true),
        ("p/%/%x", true),
    ] {
        assert_eq!(alice.may_publish(topic), expected, "{topic}");
    }
    let odd = permissions(&["publish u/%u"], &[], "%c", "7");
    assert!(odd.may_publish("u/%c") && !odd.may_publish("u/7"));
}

#[test]
fn a_hostile_name_widens_no_rule() {
    let hostile = ["#", "+", "a/#", "a+", "+/+", "a/b", "/", "a\0", "", "#/x"];
    for name in hostile {
        let client = permissions(&["both c/%c/#", "both d/x%c", "both own"], &[], "alice", name);
        for topic in ["c/a/b", "c/victim/x", "c//x", "c", "d/x", "d/xa/b", "d/x/b"] {
            assert!(!client.may_publish(topic) && !client.may_receive(topic), "{name:?} and {topic}");
        }
        assert_eq!(may_subscribe(&client, "c/#"), Denied, "{name:?}");
        assert!(client.may_publish("own"), "other rules still apply to {name:?}");
    }
    for name in hostile.into_iter().filter(|name| !name.is_empty()) {
        let client = permissions(&["both u/%u/#"], &[], name, "c");
        assert!(!client.may_publish("u/a/b") && may_subscribe(&client, "u/#") == Denied, "{name:?}");
    }
}

#[test]
fn a_name_reaches_no_dollar_topic_and_no_group() {
    for name in ["$SYS", "$share", "$"] {
        let client = permissions(&["both %c/#", "both %c/g/victim/#"], &[], "alice", name);
        for topic in ["$SYS/x", "$/x", "victim/x", "$share/g/victim/x"] {
            assert!(!client.may_publish(topic) && !client.may_receive(topic), "{name} and {topic}");
        }
    }
    let split = permissions(&["both $%c/g/victim"], &[], "alice", "share");
    assert!(!split.may_publish("victim"));
    assert_eq!([may_subscribe(&split, "victim"), may_subscribe(&split, "$share/g/victim")], [Denied, Denied]);
    let inside = permissions(&["both c/%c/#"], &[], "alice", "$SYS");
    assert!(inside.may_publish("c/$SYS/x"), "behind the first level `$` means nothing");
}

#[test]
fn a_hostile_name_shakes_off_no_deny() {
    for name in ["a/b", "#", "", "+"] {
        let client = permissions(&["both #"], &["both audit/%c/log", "both x/%u"], "alice", name);
        assert!(!client.may_publish("audit/a/b/log"), "{name:?}");
        assert!(!client.may_publish("audit/a/log"), "what is unclear is denied, {name:?}");
        assert!(client.may_publish("other") && client.may_publish("x/bob") && !client.may_publish("x/alice"));
    }
    let first_level = permissions(&["both #"], &["both %c/log"], "alice", "a/b");
    assert!(!first_level.may_publish("a/b/log"));
}

#[test]
fn too_long_a_name_allows_nothing() {
    let long = "x".repeat(65_530);
    let client = permissions(&["both c/%c/%c"], &["both d/%c/%c"], "alice", &long);
    assert!(!client.may_publish(&format!("c/{long}/{long}")));
    assert!(!client.may_publish("d/x"));
}

#[test]
fn explanations_name_role_and_rule() {
    let rules = (&["publish s/%u/#", "subscribe s/#", "publish c/%c"], &["subscribe s/secret/#"]);
    let permissions = permissions(rules.0, rules.1, "alice", "a/b");
    let publish = |topic| permissions.explain_publish(topic).to_string();
    let subscribe = |filter| permissions.explain_subscribe(&TopicFilter::parse(filter).unwrap()).to_string();
    let cases = [
        (publish("s/alice/t"), "allowed: role `r` has `publish s/%u/#` in its allow list (here `s/alice/#`)"),
        (
            publish("s/bob/t"),
            "denied: no rule allows it; `publish c/%c` does not apply, since a name in it is missing or could widen it",
        ),
        (subscribe("s/t"), "allowed: role `r` has `subscribe s/#` in its allow list (here `s/#`)"),
        (
            subscribe("s/#"),
            "allowed in part, messages are filtered at delivery: role `r` has `subscribe s/secret/#` in its deny list (here `s/secret/#`)",
        ),
        (
            subscribe("s/secret/x"),
            "denied: role `r` has `subscribe s/secret/#` in its deny list (here `s/secret/#`)",
        ),
        (
            subscribe("#"),
            "allowed in part, messages are filtered at delivery: role `r` has `subscribe s/secret/#` in its deny list (here `s/secret/#`)",
        ),
        (
            Permissions::unrestricted().explain_publish("a").to_string(),
            "allowed: nothing is restricted, since there are no roles",
        ),
    ];
    for (explanation, expected) in cases {
        assert_eq!(explanation, expected);
    }
}

#[test]
fn explanations_and_answers_agree() {
    let permissions = permissions(ALLOW, DENY, "alice", "c");
    for text in
        ["a", "a/b", "a/fixed", "a/secret/x", "p/1", "x", "other", "a/#", "#", "s/+/t", "$SYS/#", "p/+"]
    {
        let filter = TopicFilter::parse(text).unwrap();
        assert_eq!(
            permissions.explain_subscribe(&filter).verdict,
            permissions.may_subscribe(&filter),
            "{text}"
        );
        let expected = if permissions.may_publish(text) { Granted } else { Denied };
        assert_eq!(permissions.explain_publish(text).verdict, expected, "{text}");
    }
}

#[test]
fn rules_are_read_and_written_alike() {
    for text in ["publish a", "subscribe sensors/#", "both chat/+/%u", "both a b/c"] {
        assert_eq!(Rule::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Rule::parse("  both \t a/# ").unwrap().to_string(), "both a/#");
}

#[test]
fn wrong_rules_are_refused_with_their_place() {
    let fault = |text: &str| {
        let invalid = Rule::parse(text).unwrap_err();
        (invalid.fault.to_string(), invalid.at)
    };
    let words = |word: &str| RuleFault::Access(word.to_owned()).to_string();
    assert_eq!(fault("read a/#"), (words("read"), 0));
    assert_eq!(fault("  Publish a"), (words("Publish"), 2));
    assert_eq!(fault(""), (words(""), 0));
    assert_eq!(fault("publish"), (RuleFault::NoTopics.to_string(), 7));
    assert_eq!(fault("subscribe $share/g/a"), (RuleFault::Shared.to_string(), 10));
    assert_eq!(fault("subscribe a/b#").1, 13);
    assert_eq!(fault("subscribe   a/%u+").1, 16);
    assert!(matches!(Rule::parse("publish a/#/b").unwrap_err().fault, RuleFault::Topics(_)));
}
