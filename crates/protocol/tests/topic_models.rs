//! Matching, covering, overlapping and both trees against definitions that are too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use crosspoint_protocol::topic::{FilterTree, TopicFilter, TopicName, TopicTree};
use proptest::prelude::*;
use smallvec::SmallVec;

/// The definition: one level after the other, with the rest left to itself.
fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
        ([level, filter @ ..], [other, topic @ ..]) => level == other && levels_match(filter, topic),
        ([], []) => true,
        _ => false,
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    let is_hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    !is_hidden && levels_match(&filter, &topic)
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Every topic of up to five levels over an alphabet that has a level which no filter names. It tells apart all
/// filters of up to four levels.
fn all_topics() -> Vec<String> {
    let mut all = Vec::new();
    let mut last = vec![String::new()];
    for depth in 0..5 {
        let prefixes = std::mem::take(&mut last);
        for prefix in prefixes {
            for level in ["", "a", "$", "z"] {
                last.push(if depth == 0 { level.to_owned() } else { format!("{prefix}/{level}") });
            }
        }
        all.extend(last.iter().filter(|topic| !topic.is_empty()).cloned());
    }
    all
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        Just(""),
        Just("a"),
        Just("b"),
        Just("$"),
        Just("$SYS"),
        Just("long level of a topic, 30")
    ];
    let topic = prop::collection::vec(level, 1..6).prop_map(|levels| levels.join("/"));
    topic.prop_filter("a topic has a character", |topic| !topic.is_empty())
}

fn any_filter(levels_max: usize, level: &'static [&'static str]) -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop::sample::select(level), 0..=levels_max);
    let text = (levels, any::<bool>()).prop_map(|(mut levels, open)| {
        levels.extend(open.then_some("#"));
        levels.join("/")
    });
    text.prop_filter("a filter has a character", |filter| !filter.is_empty())
}

fn tree_filter() -> impl Strategy<Value = String> {
    any_filter(5, &["", "a", "b", "$", "+", "+", "$SYS", "long level of a topic, 30"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 512 } else { 4096 }))]

    #[test]
    fn a_filter_matches_as_defined(text in tree_filter(), topic in topic()) {
        prop_assert_eq!(filter(&text).matches(&topic), matches(&text, &topic));
        prop_assert!(TopicName::parse(topic).is_ok());
    }

    #[test]
    fn covers_and_overlaps_say_what_all_topics_say(
        a in any_filter(3, &["", "a", "$", "+"]),
        b in any_filter(3, &["", "a", "$", "+"]),
    ) {
        let topics = all_topics();
        let of_b: Vec<&String> = topics.iter().filter(|topic| matches(&b, topic)).collect();
        let covers = of_b.iter().all(|topic| matches(&a, topic));
        let overlaps = of_b.iter().any(|topic| matches(&a, topic));
        prop_assert_eq!(filter(&a).covers(&filter(&b)), covers, "{} covers {}", a, b);
        prop_assert_eq!(filter(&a).overlaps(&filter(&b)), overlaps, "{} overlaps {}", a, b);
    }

    #[test]
    fn the_filter_tree_behaves_as_a_list_of_subscriptions(
        changes in prop::collection::vec((any::<bool>(), tree_filter(), 0_u32..24, any::<u8>()), 0..200),
        topics in prop::collection::vec(topic(), 1..20),
    ) {
        let mut tree = FilterTree::new();
        let mut model: HashMap<(String, u32), u8> = HashMap::new();
        for (is_insert, text, key, value) in changes {
            if is_insert {
                prop_assert_eq!(tree.insert(&text, key, value), model.insert((text, key), value));
            } else {
                prop_assert_eq!(tree.remove(&text, &key), model.remove(&(text, key)));
            }
            prop_assert_eq!(tree.len(), model.len());
        }
        for ((text, key), value) in &mut model {
            prop_assert_eq!(tree.get(text, key), Some(&*value));
            *value = value.wrapping_add(1);
            *tree.get_mut(text, key).unwrap() = *value;
        }
        let filters: BTreeSet<&str> = model.keys().map(|(text, _)| text.as_str()).collect();
        prop_assert!(tree.filters().eq(filters));
        for topic in topics {
            check_filter_tree(&tree, &model, &topic)?;
        }
        for (text, key) in model.keys() {
            tree.remove(text, key);
        }
        prop_assert!(tree.is_empty());
        prop_assert_eq!(tree.filters().count(), 0);
    }

    #[test]
    fn the_topic_tree_behaves_as_a_map(
        changes in prop::collection::vec((0_u8..3, topic(), any::<u8>()), 0..200),
        filters in prop::collection::vec(tree_filter(), 1..20),
    ) {
        let mut tree = TopicTree::new();
        let mut model: BTreeMap<String, u8> = BTreeMap::new();
        for (change, topic, value) in changes {
            if change > 0 {
                prop_assert_eq!(tree.insert(&topic, value), model.insert(topic, value));
            } else {
                prop_assert_eq!(tree.remove(&topic), model.remove(&topic));
            }
            prop_assert_eq!(tree.len(), model.len());
        }
        for (topic, value) in &model {
            prop_assert_eq!(tree.get(topic), Some(value));
        }
        for text in filters.iter().map(String::as_str).chain(["#", "+", "+/#", "$SYS/#"]) {
            check_topic_tree(&tree, &model, text)?;
        }
        for topic in model.keys() {
            tree.remove(topic);
        }
        prop_assert!(tree.is_empty());
        prop_assert_eq!(found(&tree, "#"), Vec::new());
    }
}

fn check_filter_tree(
    tree: &FilterTree<u32, u8>,
    model: &HashMap<(String, u32), u8>,
    topic: &str,
) -> Result<(), TestCaseError> {
    let wanted = model.iter().filter(|((text, _), _)| matches(text, topic));
    let mut wanted: Vec<(u32, u8)> = wanted.map(|((_, key), value)| (*key, *value)).collect();
    wanted.sort_unstable();

    let mut visited = Vec::new();
    tree.for_each_match(topic, |key, value| visited.push((*key, *value)));
    visited.sort_unstable();
    prop_assert_eq!(&visited, &wanted, "{}", topic);

    let mut lists = SmallVec::new();
    tree.matching(topic, &mut lists);
    let by_position = lists.iter().flat_map(|list| (0..list.len()).filter_map(|position| list.get(position)));
    let mut by_position: Vec<(u32, u8)> = by_position.map(|(key, value)| (*key, *value)).collect();
    by_position.sort_unstable();
    prop_assert_eq!(&by_position, &wanted, "{}", topic);
    if let Some(exact) = tree.entries(topic) {
        prop_assert!(
            lists.first().is_some_and(|first| std::ptr::eq(*first, exact)),
            "the exact filter's list comes first"
        );
    }
    Ok(())
}

fn found(tree: &TopicTree<u8>, text: &str) -> Vec<(String, u8)> {
    let mut found = Vec::new();
    let end = tree.for_each_matching(text, |topic, value| {
        found.push((topic.to_owned(), *value));
        ControlFlow::<()>::Continue(())
    });
    assert!(end.is_continue());
    found.sort_unstable();
    found
}

fn check_topic_tree(
    tree: &TopicTree<u8>,
    model: &BTreeMap<String, u8>,
    text: &str,
) -> Result<(), TestCaseError> {
    let wanted = model.iter().filter(|(topic, _)| matches(text, topic));
    let wanted: Vec<(String, u8)> = wanted.map(|(topic, value)| (topic.clone(), *value)).collect();
    prop_assert_eq!(found(tree, text), wanted, "{}", text);
    Ok(())
}
