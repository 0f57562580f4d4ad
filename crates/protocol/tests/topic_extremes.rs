//! The deepest, the widest and the longest: nothing recurses, nothing becomes slow, nothing is left behind.

use std::ops::ControlFlow;

use crosspoint_protocol::limits::STRING_BYTES_MAX;
use crosspoint_protocol::topic::{FilterTree, TopicFilter, TopicName, TopicTree};

/// Runs a test on a stack that a recursion over 65,536 levels would overflow, whatever its frames hold.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn(test);
    assert!(thread.is_ok_and(|thread| thread.join().is_ok()), "the test runs and passes");
}

fn keys(tree: &FilterTree<u32, ()>, topic: &str) -> Vec<u32> {
    let mut keys = Vec::new();
    tree.for_each_match(topic, |key, ()| keys.push(*key));
    keys.sort_unstable();
    keys
}

fn topics<'a, V>(tree: &'a TopicTree<V>, filter: &str) -> Vec<&'a str> {
    let mut topics = Vec::new();
    let end = tree.for_each_matching(filter, |topic, _| {
        topics.push(topic);
        ControlFlow::<()>::Continue(())
    });
    assert!(end.is_continue());
    topics.sort_unstable();
    topics
}

#[test]
fn a_name_or_filter_of_65535_slashes_is_refused() {
    on_a_small_stack(|| {
        let slashes = "/".repeat(STRING_BYTES_MAX);
        assert_eq!(TopicName::parse(slashes.clone()).expect_err("too deep").at, 199);
        assert_eq!(TopicFilter::parse(slashes).expect_err("too deep").at, 199);
        assert_eq!(TopicFilter::parse("+/".repeat(32_767)).expect_err("too deep").at, 399);
    });
}

#[test]
fn a_topic_of_65535_slashes_is_compared_without_recursion() {
    on_a_small_stack(|| {
        let slashes = "/".repeat(STRING_BYTES_MAX);
        let everything = TopicFilter::parse("#").expect("a filter");
        assert!(everything.matches(&slashes));
        assert!(!TopicFilter::parse("+/+").expect("a filter").matches(&slashes));
        let mut tree = FilterTree::new();
        for (key, filter) in ["#", "+/#", "/+", "//#"].into_iter().enumerate() {
            tree.insert(filter, key as u32, ());
        }
        assert_eq!(keys(&tree, &slashes), [0, 1, 3]);
    });
}

#[test]
fn trees_hold_65536_levels_without_recursion() {
    on_a_small_stack(|| {
        let slashes = "/".repeat(STRING_BYTES_MAX);
        let wildcards = "+/".repeat(STRING_BYTES_MAX / 2) + "+";
        let mut filters = FilterTree::new();
        for (key, filter) in [slashes.clone(), slashes.clone() + "/#", wildcards.clone()].iter().enumerate() {
            filters.insert(filter, key as u32, ());
        }
        assert_eq!(keys(&filters, &slashes), [0, 1]);
        assert_eq!(filters.remove(&(slashes.clone() + "/#"), &1), Some(()));
        assert_eq!(filters.remove(&wildcards, &2), Some(()));
        assert_eq!(keys(&filters, &slashes), [0]);

        let mut retained = TopicTree::new();
        retained.insert(&slashes, 1);
        retained.insert("/", 2);
        assert_eq!(topics(&retained, "#"), ["/", &slashes]);
        assert_eq!(topics(&retained, &("+/".repeat(STRING_BYTES_MAX) + "+")), [&slashes]);
        assert_eq!(retained.remove(&slashes), Some(1));
        assert_eq!(topics(&retained, "#"), ["/"]);
        retained.insert(&slashes, 3);
        drop(retained);
    });
}

#[test]
fn a_million_subscribers_of_one_filter_come_and_go_in_constant_time() {
    const SUBSCRIBERS: u32 = 1_000_000;
    for filter in ["plant/line/temperature", "plant/+/temperature"] {
        let mut tree = FilterTree::new();
        for key in 0..SUBSCRIBERS {
            assert_eq!(tree.insert(filter, key, ()), None);
        }
        assert_eq!(tree.entries(filter).map(|entries| entries.len()), Some(SUBSCRIBERS as usize));
        // From the front, which is what makes a list without an index look at every entry.
        for key in 0..SUBSCRIBERS - 1 {
            assert_eq!(tree.remove(filter, &key), Some(()));
        }
        assert_eq!(keys(&tree, "plant/line/temperature"), [SUBSCRIBERS - 1]);
        assert_eq!(tree.len(), 1);
    }
}

#[test]
fn a_query_stops_where_the_visitor_breaks() {
    let mut tree = TopicTree::new();
    for number in 0..100 {
        tree.insert(&format!("plant/{number}/state"), number);
    }
    let mut visited = 0;
    let end = tree.for_each_matching("plant/+/state", |topic, _| {
        visited += 1;
        if visited == 7 { ControlFlow::Break(topic) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(visited, 7);
    assert!(matches!(end, ControlFlow::Break(topic) if topic.starts_with("plant/")));
}

#[test]
fn topics_of_the_server_are_found_by_their_own_filters_only() {
    let mut tree = TopicTree::new();
    for topic in ["$SYS/a", "$SYS", "a", "a/$b", "$c", "b"] {
        tree.insert(topic, ());
    }
    assert_eq!(topics(&tree, "#"), ["a", "a/$b", "b"]);
    assert_eq!(topics(&tree, "+"), ["a", "b"]);
    assert_eq!(topics(&tree, "+/+"), ["a/$b"]);
    assert_eq!(topics(&tree, "$SYS/#"), ["$SYS", "$SYS/a"]);
    assert_eq!(topics(&tree, "$c"), ["$c"]);
    assert_eq!(tree.iter().len(), 6);
}
