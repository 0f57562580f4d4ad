//! Chapter 4.7 and 4.8 of the specification, statement by statement, with its own examples.

use crosspoint_protocol::limits::{STRING_BYTES_MAX, TOPIC_LEVELS_MAX};
use crosspoint_protocol::topic::{FilterTree, InvalidTopic, TopicFilter, TopicName};

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn name_fault(text: &str) -> (Option<&'static str>, usize) {
    place(text, TopicName::parse(text).err())
}

fn filter_fault(text: &str) -> (Option<&'static str>, usize) {
    place(text, TopicFilter::parse(text).err())
}

fn place(text: &str, fault: Option<InvalidTopic>) -> (Option<&'static str>, usize) {
    fault.map_or_else(|| panic!("{text} is taken"), |fault| (fault.rule, fault.at))
}

/// Compares a filter with topics, by itself and in a tree.
fn check(text: &str, matching: &[&str], others: &[&str]) {
    let filter = filter(text);
    let mut tree = FilterTree::new();
    tree.insert(filter.topic_part(), 1_u32, ());
    for (topics, expected) in [(matching, true), (others, false)] {
        for topic in topics {
            let mut found = false;
            tree.for_each_match(name(topic).as_str(), |_, ()| found = true);
            assert_eq!(filter.matches(topic), expected, "{text} and {topic}");
            assert_eq!(found, expected, "{text} in a tree and {topic}");
        }
    }
}

#[test]
fn mqtt_4_7_0_1_a_topic_name_holds_no_wildcard() {
    assert_eq!(name_fault("sport/+"), (Some("MQTT-4.7.0-1"), 6));
    assert_eq!(name_fault("#"), (Some("MQTT-4.7.0-1"), 0));
    assert_eq!(name_fault("a#b"), (Some("MQTT-4.7.0-1"), 1));
}

#[test]
fn mqtt_4_7_1_1_the_multi_level_wildcard_is_a_whole_level_and_the_last() {
    for text in ["#", "sport/tennis/#", "/#", "+/#", "$SYS/#"] {
        filter(text);
    }
    assert_eq!(filter_fault("sport/tennis#"), (Some("MQTT-4.7.1-1"), 12));
    assert_eq!(filter_fault("sport/tennis/#/ranking"), (Some("MQTT-4.7.1-1"), 13));
    assert_eq!(filter_fault("#/"), (Some("MQTT-4.7.1-1"), 0));
    assert_eq!(filter_fault("##"), (Some("MQTT-4.7.1-1"), 0));
    assert_eq!(filter_fault("$share/group/a#"), (Some("MQTT-4.7.1-1"), 14));
}

#[test]
fn mqtt_4_7_1_1_the_multi_level_wildcard_takes_its_parent_and_all_below() {
    check(
        "sport/tennis/player1/#",
        &["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"],
        &["sport/tennis/player12", "sport/tennis", "sport"],
    );
    check("sport/#", &["sport", "sport/", "sport/tennis"], &["sports", "/sport"]);
    check("#", &["a", "/", "a/b/c", "/a"], &[]);
}

#[test]
fn mqtt_4_7_1_2_the_single_level_wildcard_is_a_whole_level() {
    for text in ["+", "+/tennis/#", "sport/+/player1", "sport/+", "/+", "+/+"] {
        filter(text);
    }
    assert_eq!(filter_fault("sport+"), (Some("MQTT-4.7.1-2"), 5));
    assert_eq!(filter_fault("sport/+tennis"), (Some("MQTT-4.7.1-2"), 6));
    assert_eq!(filter_fault("++"), (Some("MQTT-4.7.1-2"), 0));
    assert_eq!(filter_fault("+#"), (Some("MQTT-4.7.1-2"), 0));
}

#[test]
fn mqtt_4_7_1_2_the_single_level_wildcard_takes_one_level() {
    check("sport/tennis/+", &["sport/tennis/player1", "sport/tennis/"], &["sport/tennis/player1/ranking"]);
    check("sport/+", &["sport/", "sport/tennis"], &["sport", "sport/tennis/player1"]);
    check("+/+", &["/finance", "a/b", "/"], &["finance", "/a/b"]);
    check("/+", &["/finance", "/"], &["finance", "a/finance"]);
    check("+", &["finance"], &["/finance", "a/b"]);
    check("+/tennis/#", &["sport/tennis", "/tennis/a/b"], &["tennis", "sport/golf"]);
}

#[test]
fn mqtt_4_7_2_1_a_leading_wildcard_takes_no_topic_of_the_server() {
    check("#", &[], &["$SYS", "$SYS/monitor/Clients", "$"]);
    check("+", &[], &["$SYS"]);
    check("+/monitor/Clients", &["a/monitor/Clients"], &["$SYS/monitor/Clients"]);
    check("$SYS/#", &["$SYS", "$SYS/monitor/Clients"], &["SYS"]);
    check("$SYS/monitor/+", &["$SYS/monitor/Clients", "$SYS/monitor/$a"], &["$SYS/monitor/a/b"]);
    check("a/+", &["a/$SYS"], &[]);
    check("a/#", &["a/$SYS/b"], &[]);
    assert!(!filter("#").covers(&filter("$SYS/#")));
    assert!(!filter("+/a").overlaps(&filter("$SYS/+")));
    assert!(name("$SYS/a").is_reserved() && !name("a/$SYS").is_reserved());
}

#[test]
fn mqtt_4_7_3_1_a_topic_has_a_character() {
    assert_eq!(name_fault(""), (Some("MQTT-4.7.3-1"), 0));
    assert_eq!(filter_fault(""), (Some("MQTT-4.7.3-1"), 0));
    assert_eq!(name("/").levels().collect::<Vec<_>>(), ["", ""]);
}

#[test]
fn mqtt_4_7_3_2_a_topic_holds_no_null() {
    assert_eq!(name_fault("a/\0"), (Some("MQTT-4.7.3-2"), 2));
    assert_eq!(filter_fault("\0/#"), (Some("MQTT-4.7.3-2"), 0));
}

#[test]
fn mqtt_4_7_3_3_a_topic_has_at_most_65535_bytes() {
    let longest = "x".repeat(STRING_BYTES_MAX);
    assert_eq!(name(&longest).as_bytes().len(), STRING_BYTES_MAX);
    assert_eq!(filter(&longest).as_str(), longest);
    let longer = longest + "x";
    assert_eq!(name_fault(&longer), (Some("MQTT-4.7.3-3"), STRING_BYTES_MAX));
    assert_eq!(filter_fault(&longer), (Some("MQTT-4.7.3-3"), STRING_BYTES_MAX));
}

#[test]
fn mqtt_4_7_3_4_nothing_is_normalised() {
    check("ACCOUNTS", &["ACCOUNTS"], &["Accounts", "ACCOUNTS/", "/ACCOUNTS", "ACCOUNTS "]);
    check("\u{e9}/a", &["\u{e9}/a"], &["e\u{301}/a"]);
    check("a//b", &["a//b"], &["a/b"]);
    check("a/./b", &["a/./b"], &["a/b"]);
    check("\u{feff}a", &["\u{feff}a"], &["a"]);
}

#[test]
fn mqtt_4_8_2_1_a_share_name_has_a_character() {
    assert_eq!(filter_fault("$share//a"), (Some("MQTT-4.8.2-1"), 7));
    assert_eq!(filter_fault("$share/"), (Some("MQTT-4.8.2-1"), 7));
    let shared = filter("$share/consumer1//finance");
    assert_eq!((shared.share_name(), shared.topic_part()), (Some("consumer1"), "/finance"));
    assert!(shared.is_shared());
    assert_eq!(filter("$share/consumer1/sport/tennis/+").topic_part(), "sport/tennis/+");
}

#[test]
fn mqtt_4_8_2_2_a_share_name_holds_no_wildcard_and_a_filter_follows() {
    assert_eq!(filter_fault("$share/gr+up/a"), (Some("MQTT-4.8.2-2"), 9));
    assert_eq!(filter_fault("$share/#/a"), (Some("MQTT-4.8.2-2"), 7));
    assert_eq!(filter_fault("$share/group"), (Some("MQTT-4.8.2-2"), 12));
    assert_eq!(filter_fault("$share/group/"), (Some("MQTT-4.8.2-2"), 13));
}

#[test]
fn a_filter_that_only_looks_shared_is_an_ordinary_one() {
    for text in ["$share", "$Share/a/b", "a/$share/b", "$shared/a/b"] {
        let filter = filter(text);
        assert_eq!((filter.share_name(), filter.topic_part()), (None, text));
        assert!(!filter.is_shared());
    }
    assert_eq!(filter("$share/a/$share/b/c").topic_part(), "$share/b/c");
}

#[test]
fn the_group_does_not_count_when_filters_are_compared() {
    assert!(filter("$share/a/x/+").covers(&filter("x/y")));
    assert!(filter("x/+").overlaps(&filter("$share/a/x/y")));
    assert!(filter("$share/a/x/+").matches("x/y") && !filter("$share/a/x/+").matches("$share/a/x/y"));
    assert!(filter("$share/a/x/+").has_wildcards() && !filter("$share/a/x").has_wildcards());
}

#[test]
fn two_hundred_levels_are_taken_and_no_more() {
    let deepest = vec!["a"; TOPIC_LEVELS_MAX].join("/");
    assert_eq!(name(&deepest).levels().count(), TOPIC_LEVELS_MAX);
    assert_eq!(filter(&format!("$share/group/{deepest}")).levels().count(), TOPIC_LEVELS_MAX);
    let deeper = deepest.clone() + "/";
    assert_eq!(name_fault(&deeper), (None, deepest.len()));
    assert_eq!(filter_fault(&deeper), (None, deepest.len()));
    assert_eq!(filter_fault(&format!("$share/group/{deeper}")), (None, 13 + deepest.len()));
}

#[test]
fn a_fault_says_what_is_wrong_and_which_rule_it_breaks() {
    let error = TopicFilter::parse("a/#/b").expect_err("`#` is not last");
    assert_eq!(error.to_string(), "`#` is a whole level, and the last one [MQTT-4.7.1-1]");
    let error = TopicName::parse("/".repeat(200)).expect_err("201 levels");
    assert_eq!(error.to_string(), "a topic has at most 200 levels");
}

#[test]
fn a_compact_copy_is_equal_and_lies_elsewhere() {
    let buffer = crosspoint_protocol::ByteString::from("a/b/c".repeat(10));
    let topic = TopicName::parse(buffer.clone()).expect("a Topic Name");
    let copy = topic.compact();
    assert_eq!(topic, copy);
    assert_eq!(topic.as_bytes().as_ptr(), buffer.as_bytes().as_ptr());
    assert_ne!(copy.as_bytes().as_ptr(), buffer.as_bytes().as_ptr());
    let wildcard = filter("a/+");
    assert_eq!(wildcard.compact(), wildcard);
    assert_eq!(wildcard.into_inner(), "a/+");
}

#[test]
fn covering_and_overlapping_follow_what_can_match() {
    for (a, b) in [
        ("#", "+/#"),
        ("+/#", "#"),
        ("/+/#", "/#"),
        ("a/#", "a"),
        ("a/#", "a/+/#"),
        ("+/b", "a/b"),
        ("a", "a"),
    ] {
        assert!(filter(a).covers(&filter(b)), "{a} covers {b}");
    }
    for (a, b) in [("a/+/#", "a/#"), ("a/b", "a/+"), ("+", "#"), ("+/+/#", "#"), ("a/+", "a/b/c")] {
        assert!(!filter(a).covers(&filter(b)), "{a} does not cover {b}");
    }
    for (a, b) in [("a/+", "+/b"), ("a/#", "+"), ("+/b/#", "a/+/c"), ("#", "a/b")] {
        assert!(filter(a).overlaps(&filter(b)) && filter(b).overlaps(&filter(a)), "{a} and {b}");
    }
    for (a, b) in [("a/+", "b/+"), ("a", "a/b"), ("a/+/#", "a"), ("#", "$SYS/#")] {
        assert!(!filter(a).overlaps(&filter(b)) && !filter(b).overlaps(&filter(a)), "{a} and {b}");
    }
}
