//! Who wants a topic: the filters of many subscribers.

use std::fmt;
use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::entries::Entries;
use super::filter::has_wildcards;
use super::hash::{KeyedHasher, keyed_hasher};
use super::wildcards::WildcardTree;

/// Topic Filters, each with the entries of those who subscribed to it.
///
/// `K` says who subscribed and is small; `V` is the subscription. Filters are given as the topic part of a
/// [`TopicFilter`](super::TopicFilter), topics as the text of a [`TopicName`](super::TopicName); both have been
/// checked there.
///
/// A topic costs one hash probe for the filters without wildcards, and about one for each node of the wildcard
/// tree that its levels reach. Matching allocates only when more than 16 wildcard filters run side by side.
pub struct FilterTree<K, V> {
    exact: HashTable<Exact<K, V>>,
    wildcards: WildcardTree<K, V>,
    len: usize,
    hasher: KeyedHasher,
}

/// A filter without wildcards: it matches the one topic that reads as it does.
struct Exact<K, V> {
    topic: Box<str>,
    entries: Entries<K, V>,
}

impl<K: Eq + Hash + Clone, V> FilterTree<K, V> {
    /// Returns a tree without filters.
    pub fn new() -> Self {
        let hasher = keyed_hasher();
        Self { exact: HashTable::new(), wildcards: WildcardTree::new(hasher.clone()), len: 0, hasher }
    }

    /// Adds a subscription; returns the one that it replaces, of the same key to the same filter.
    pub fn insert(&mut self, filter: &str, key: K, value: V) -> Option<V> {
        let replaced = if has_wildcards(filter) {
            self.wildcards.entries_or_new(filter).insert(&self.hasher, key, value)
        } else {
            self.insert_exact(filter, key, value)
        };
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Removes the subscription of a key to a filter. A filter without subscriptions leaves nothing behind.
    pub fn remove(&mut self, filter: &str, key: &K) -> Option<V> {
        let removed = if has_wildcards(filter) {
            self.wildcards.remove(&self.hasher, filter, key)
        } else {
            self.remove_exact(filter, key)
        };
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Returns the subscription of a key to a filter.
    pub fn get(&self, filter: &str, key: &K) -> Option<&V> {
        self.entries(filter)?.value(&self.hasher, key)
    }

    /// Returns the subscription of a key to a filter, to change it.
    pub fn get_mut(&mut self, filter: &str, key: &K) -> Option<&mut V> {
        let entries = if has_wildcards(filter) {
            self.wildcards.entries_mut(filter)?
        } else {
            let hash = self.hasher.hash_one(filter);
            &mut self.exact.find_mut(hash, |exact| &*exact.topic == filter)?.entries
        };
        entries.value_mut(&self.hasher, key)
    }

    /// Returns the subscriptions to exactly this filter.
    pub fn entries(&self, filter: &str) -> Option<&Entries<K, V>> {
        if has_wildcards(filter) { self.wildcards.entries(filter) } else { self.exact_entries(filter) }
    }

    /// Calls `visit` with every subscription whose filter matches a topic: a key as often as it has such filters.
    pub fn for_each_match<'a>(&'a self, topic: &str, mut visit: impl FnMut(&'a K, &'a V)) {
        self.for_each_list(topic, |entries| entries.iter().for_each(|(key, value)| visit(key, value)));
    }

    /// Appends the entries of every filter that matches a topic to `out`: the filter without wildcards first.
    pub fn matching<'a>(&'a self, topic: &str, out: &mut SmallVec<[&'a Entries<K, V>; 4]>) {
        self.for_each_list(topic, |entries| out.push(entries));
    }

    /// Returns the number of subscriptions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the filters that have subscriptions, sorted. It copies them all: for listings, not for traffic.
    pub fn filters(&self) -> impl Iterator<Item = String> + use<K, V> {
        let mut filters: Vec<String> = self.exact.iter().map(|exact| exact.topic.to_string()).collect();
        self.wildcards.list(&mut filters);
        filters.sort_unstable();
        filters.into_iter()
    }

    /// Returns the number of nodes in use, the root among them.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.wildcards.nodes()
    }

    fn for_each_list<'a>(&'a self, topic: &str, mut visit: impl FnMut(&'a Entries<K, V>)) {
        if let Some(entries) = self.exact_entries(topic) {
            visit(entries);
        }
        self.wildcards.for_each_match(topic, visit);
    }

    fn exact_entries(&self, topic: &str) -> Option<&Entries<K, V>> {
        let exact = self.exact.find(self.hasher.hash_one(topic), |exact| &*exact.topic == topic)?;
        Some(&exact.entries)
    }

    fn insert_exact(&mut self, topic: &str, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(topic);
        let hasher = &self.hasher;
        let found =
            self.exact.entry(hash, |exact| &*exact.topic == topic, |exact| hasher.hash_one(&*exact.topic));
        let mut exact = found.or_insert_with(|| Exact { topic: topic.into(), entries: Entries::new() });
        exact.get_mut().entries.insert(hasher, key, value)
    }

    fn remove_exact(&mut self, topic: &str, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(topic);
        let mut found = self.exact.find_entry(hash, |exact| &*exact.topic == topic).ok()?;
        let value = found.get_mut().entries.remove(&self.hasher, key)?;
        if found.get().entries.is_empty() {
            found.remove();
            if self.exact.len() < self.exact.capacity() / 4 {
                self.exact.shrink_to(self.exact.len() * 2, |exact| self.hasher.hash_one(&*exact.topic));
            }
        }
        Some(value)
    }
}

impl<K: Eq + Hash + Clone, V> Default for FilterTree<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash + Clone, V> fmt::Debug for FilterTree<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterTree").field("len", &self.len).finish_non_exhaustive()
    }
}
