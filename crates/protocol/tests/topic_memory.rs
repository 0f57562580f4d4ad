//! What a subscription and a retained topic cost in memory. Alone in its process: it counts every allocation.

use std::alloc::System;

use crosspoint_protocol::topic::{FilterTree, TopicTree};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a broker keeps for a subscription: options, identifier, a position in a table.
type Subscription = [u32; 4];

fn bytes_held(region: &Region<'_, System>) -> isize {
    let stats = region.change();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

fn allocations(region: &Region<'_, System>) -> usize {
    region.change().allocations + region.change().reallocations
}

// One test, since tests of one process run side by side and would count each other's memory.
#[test]
fn subscriptions_and_topics_stay_small_and_give_their_memory_back() {
    a_wildcard_subscription_costs_less_than_500_bytes();
    matching_allocates_nothing();
    a_retained_topic_costs_less_than_250_bytes();
}

/// Filters that share nothing but their first level, which is what costs most.
fn wildcard_filter(number: usize) -> String {
    if number.is_multiple_of(2) { format!("area/s{number}/+/f1") } else { format!("area/s{number}/f2/#") }
}

fn a_wildcard_subscription_costs_less_than_500_bytes() {
    const SUBSCRIPTIONS: usize = 100_000;
    let region = Region::new(ALLOCATOR);
    let mut tree: FilterTree<u32, Subscription> = FilterTree::new();
    for number in 0..SUBSCRIPTIONS {
        tree.insert(&wildcard_filter(number), number as u32, [1; 4]);
    }
    let each = bytes_held(&region) / SUBSCRIPTIONS as isize;
    println!("{each} bytes a wildcard subscription");
    assert!(each < 500, "{each} bytes");
    for number in 0..SUBSCRIPTIONS {
        tree.remove(&wildcard_filter(number), &(number as u32));
    }
    let left = bytes_held(&region);
    println!("{left} bytes left of {SUBSCRIPTIONS} subscriptions");
    assert!(left < 512 * 1024, "{left} bytes are left");
}

fn matching_allocates_nothing() {
    let mut tree = FilterTree::new();
    for number in 0..1_000 {
        tree.insert(&wildcard_filter(number), number as u32, ());
        tree.insert(&format!("area/s{number}/f2/state"), number as u32, ());
    }
    tree.insert("#", 0, ());
    let region = Region::new(ALLOCATOR);
    let mut matched = 0;
    for topic in ["area/s21/f2/state", "area/s22/x/f1", "nothing"] {
        tree.for_each_match(topic, |_, ()| matched += 1);
        let mut lists = smallvec::SmallVec::new();
        tree.matching(topic, &mut lists);
        matched += lists.len();
    }
    assert_eq!(allocations(&region), 0);
    assert_eq!(matched, 2 * (3 + 2 + 1));
}

fn a_retained_topic_costs_less_than_250_bytes() {
    const TOPICS: usize = 1_000_000;
    let topic = |number: usize| format!("plant/line{:04}/d{number:08}/temp", number % 1_000);
    let region = Region::new(ALLOCATOR);
    let mut tree: TopicTree<u64> = TopicTree::new();
    let mut most = 0;
    for number in 0..TOPICS {
        let topic = topic(number);
        assert!((28..=32).contains(&topic.len()));
        tree.insert(&topic, 1);
        if number >= TOPICS / 2 && number.is_multiple_of(TOPICS / 100) {
            most = most.max(bytes_held(&region) / number as isize);
        }
    }
    let each = bytes_held(&region) / TOPICS as isize;
    println!("{each} bytes a topic, {most} at most from half that number on");
    assert!(each < 250, "{each} bytes");
    for number in 0..TOPICS {
        tree.remove(&topic(number));
    }
    let left = bytes_held(&region);
    println!("{left} bytes left of {TOPICS} topics");
    assert!(left < 512 * 1024, "{left} bytes are left");
}
