//! What must hold for any text that claims to be a topic or a filter.

use std::ops::ControlFlow;

use super::{FilterTree, TopicFilter, TopicName, TopicTree};
use crate::limits::{STRING_BYTES_MAX, TOPIC_LEVELS_MAX};

/// More filters than this in one input find nothing new: each is compared with each.
const FILTERS_MAX: usize = 16;

/// Reads the input as a Topic Name; what is one can be stored, found by every filter that matches, and removed.
pub(crate) fn topic(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(name) = TopicName::parse(text) else {
        check_filter_is_no_name(text);
        return;
    };
    assert!((1..=STRING_BYTES_MAX).contains(&text.len()), "a name has a length that is allowed");
    assert!(name.levels().count() <= TOPIC_LEVELS_MAX, "a name is not too deep");
    assert_eq!(name.compact(), name, "a copy is equal");
    let mut tree = TopicTree::new();
    tree.insert(text, 1);
    for filter in
        [text.to_owned(), format!("{text}/#"), text.split('/').map(|_| "+").collect::<Vec<_>>().join("/")]
    {
        let is_match = TopicFilter::parse(filter.as_str()).is_ok_and(|parsed| {
            assert_eq!(parsed.matches(text), is_found(&tree, parsed.topic_part()), "{filter}");
            parsed.matches(text)
        });
        let may_differ = text.starts_with('$') || text.len() + 2 > STRING_BYTES_MAX;
        assert!(is_match || may_differ || name.levels().count() == TOPIC_LEVELS_MAX, "{filter}");
    }
    assert_eq!(tree.remove(text), Some(1), "what was stored is removed");
    assert!(tree.is_empty(), "nothing is left");
}

/// Reads the input as lines, Topic Filters and Topic Names alike, and compares each with each.
pub(crate) fn filter(input: &[u8]) {
    let lines = input.split(|byte| *byte == b'\n').take(FILTERS_MAX);
    let texts: Vec<&str> = lines.filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let filters: Vec<TopicFilter> = texts.iter().filter_map(|text| TopicFilter::parse(*text).ok()).collect();
    let names = texts.iter().filter_map(|text| TopicName::parse(*text).ok());
    let mut tree = FilterTree::new();
    for (key, filter) in filters.iter().enumerate() {
        check_alone(filter);
        tree.insert(filter.topic_part(), key, ());
    }
    for name in names {
        check_name(&tree, &filters, name.as_str());
    }
    for (key, filter) in filters.iter().enumerate() {
        assert_eq!(tree.remove(filter.topic_part(), &key), Some(()), "what was added is removed");
    }
    assert!(tree.is_empty() && tree.filters().next().is_none(), "nothing is left");
}

/// What a name may not be, a filter may only be because of a wildcard or its group.
fn check_filter_is_no_name(text: &str) {
    if let Ok(filter) = TopicFilter::parse(text) {
        assert!(filter.has_wildcards() || filter.is_shared(), "{filter}");
    }
}

fn check_alone(filter: &TopicFilter) {
    assert!(filter.levels().count() <= TOPIC_LEVELS_MAX, "a filter is not too deep");
    assert_eq!(filter.share_name().is_some(), filter.is_shared(), "a group has a name");
    assert!(filter.as_str().ends_with(filter.topic_part()), "the topic part is the end of the filter");
    assert!(!filter.topic_part().is_empty(), "something can match");
    assert!(filter.covers(filter) && filter.overlaps(filter), "a filter covers itself");
}

fn check_name(tree: &FilterTree<usize, ()>, filters: &[TopicFilter], name: &str) {
    let mut found = Vec::new();
    tree.for_each_match(name, |key, ()| found.push(*key));
    for (key, filter) in filters.iter().enumerate() {
        assert_eq!(filter.matches(name), found.contains(&key), "{filter} and {name}");
        for other in filters {
            let (is_match, is_other_match) = (filter.matches(name), other.matches(name));
            assert!(is_match || !is_other_match || !filter.covers(other), "{filter} covers {other}");
            assert!(!is_match || !is_other_match || filter.overlaps(other), "{filter} overlaps {other}");
            assert_eq!(filter.overlaps(other), other.overlaps(filter), "{filter} and {other}");
        }
    }
}

fn is_found(tree: &TopicTree<u8>, filter: &str) -> bool {
    tree.for_each_matching(filter, |_, _| ControlFlow::Break(())).is_break()
}
