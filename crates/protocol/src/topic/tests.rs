//! What cannot be seen from outside: that vacant nodes go, and that laying a tree out anew changes nothing.

use std::ops::ControlFlow;

use super::entries::Entries;
use super::hash::keyed_hasher;
use super::label::Label;
use super::{FilterTree, TopicTree};

/// Enough that most of the nodes become vacant and the tree is laid out anew, several times over.
const MANY: u32 = 20_000;

fn filter_of(number: u32) -> String {
    format!("site/{}/+/{number}/#", number % 100)
}

fn topic_of(number: u32) -> String {
    format!("site/{}/x/{number}/state", number % 100)
}

#[test]
fn removing_a_filter_removes_the_levels_that_led_to_it() {
    let mut tree = FilterTree::new();
    tree.insert("a/+/c", 1, ());
    tree.insert("a/+/c", 2, ());
    tree.insert("a/+/c/d/#", 1, ());
    tree.insert("a/#", 1, ());
    assert_eq!(tree.nodes(), 5);
    tree.remove("a/+/c/d/#", &1);
    assert_eq!(tree.nodes(), 4);
    tree.remove("a/+/c", &1);
    assert_eq!(tree.nodes(), 4);
    tree.remove("a/+/c", &2);
    assert_eq!(tree.nodes(), 2);
    tree.remove("a/#", &1);
    assert_eq!(tree.nodes(), 1);
}

#[test]
fn asking_for_what_is_not_there_leaves_no_node() {
    let mut tree: FilterTree<u32, ()> = FilterTree::new();
    assert_eq!(tree.remove("a/+/b", &1), None);
    assert_eq!(tree.get("a/#", &1), None);
    assert_eq!(tree.nodes(), 1);
}

#[test]
fn removing_a_topic_removes_the_levels_that_led_to_it() {
    let mut tree = TopicTree::new();
    for topic in ["a/b/c", "a/b", "a/d", "e"] {
        tree.insert(topic, ());
    }
    assert_eq!(tree.nodes(), 6);
    for (topic, nodes) in [("a/b", 6), ("a/b/c", 4), ("e", 3), ("a/d", 1)] {
        tree.remove(topic);
        assert_eq!(tree.nodes(), nodes, "{topic}");
    }
}

#[test]
fn a_filter_tree_that_was_laid_out_anew_finds_the_same() {
    let mut tree = FilterTree::new();
    for number in 0..MANY {
        tree.insert(&filter_of(number), number, number);
    }
    for number in (0..MANY).filter(|number| number % 50 != 7) {
        assert_eq!(tree.remove(&filter_of(number), &number), Some(number));
    }
    assert_eq!(tree.filters().count(), MANY as usize / 50);
    for number in 0..MANY {
        let mut found = Vec::new();
        tree.for_each_match(&topic_of(number), |key, _| found.push(*key));
        assert_eq!(found, if number % 50 == 7 { vec![number] } else { vec![] });
    }
    for number in (0..MANY).filter(|number| number % 50 == 7) {
        assert_eq!(tree.remove(&filter_of(number), &number), Some(number));
    }
    assert_eq!(tree.nodes(), 1);
}

#[test]
fn a_topic_tree_that_was_laid_out_anew_finds_the_same() {
    let mut tree = TopicTree::new();
    for number in 0..MANY {
        tree.insert(&topic_of(number), number);
    }
    for number in (0..MANY).filter(|number| number % 50 != 7) {
        assert_eq!(tree.remove(&topic_of(number)), Some(number));
    }
    let mut found = Vec::new();
    let end = tree.for_each_matching("site/+/x/+/state", |topic, number| {
        assert_eq!(topic, topic_of(*number));
        found.push(*number);
        ControlFlow::<()>::Continue(())
    });
    assert!(end.is_continue());
    found.sort_unstable();
    assert!(found.iter().copied().eq((0..MANY).filter(|number| number % 50 == 7)));
    for number in found {
        assert_eq!(tree.get(&topic_of(number)), Some(&number));
        assert_eq!(tree.remove(&topic_of(number)), Some(number));
    }
    assert_eq!(tree.nodes(), 1);
}

#[test]
fn entries_are_found_with_and_without_an_index() {
    let hasher = keyed_hasher();
    let mut entries = Entries::new();
    // Up and down across both limits at which the index comes and goes.
    for most in [3_u32, 17, 18, 40, 1_000] {
        for key in 0..most {
            assert_eq!(entries.insert(&hasher, key, key), None);
            assert_eq!(entries.insert(&hasher, key, key + 1), Some(key));
        }
        assert_eq!(entries.len(), most as usize);
        for key in (0..most).rev().step_by(2).chain((0..most).rev().skip(1).step_by(2)) {
            assert_eq!(entries.value(&hasher, &key), Some(&(key + 1)));
            assert_eq!(entries.remove(&hasher, &key), Some(key + 1));
            assert_eq!(entries.remove(&hasher, &key), None);
        }
        assert!(entries.is_empty());
    }
}

#[test]
fn labels_keep_every_length() {
    for len in 0..40 {
        let level = vec![b'x'; len];
        assert_eq!(Label::new(&level).as_bytes(), level);
    }
}

#[test]
fn the_fuzz_targets_hold_for_what_once_was_hard() {
    for input in
        ["", "#", "a/#", "$share/g/a/+\na/b", "+/#\n$SYS/a", "/\n//\n+/+\n#", "$share//x", "a\0", "+"]
    {
        super::fuzz::topic(input.as_bytes());
        super::fuzz::filter(input.as_bytes());
    }
    super::fuzz::topic(&[b'/'; 65_535]);
    super::fuzz::filter(&[b'/'; 65_535]);
    super::fuzz::filter(&[0xff, b'\n', 0xc0, 0x80]);
}
