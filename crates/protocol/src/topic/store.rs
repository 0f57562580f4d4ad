//! What is kept for a topic: one value a topic, found by name or by filter.

use std::fmt;
use std::hash::BuildHasher;
use std::ops::ControlFlow;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::filter::{Pattern, has_wildcards};
use super::hash::{KeyedHasher, keyed_hasher};
use super::levels::{Levels, NodeId, Payload, grow_by_half};

/// With fewer topics than this no memory is given back: there is too little of it.
const SHRUNK_FROM: usize = 1024;

/// One value for each Topic Name, asked by name or by Topic Filter: the table of retained messages.
///
/// Asking by name is one hash probe. Asking by filter visits the topics that match and the levels that lead to
/// them: a level without wildcard is one probe, a `+` looks at each child. It allocates nothing, however many match.
pub struct TopicTree<V> {
    topics: Vec<Topic<V>>,
    by_name: HashTable<TopicId>,
    levels: Levels<Links>,
    hasher: KeyedHasher,
}

struct Topic<V> {
    name: Box<str>,
    node: NodeId,
    value: V,
}

/// The position in `topics`. Four billion topics do not fit into memory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TopicId(u32);

/// What a node holds: the topic that ends here, and the list of its children.
#[derive(Default)]
struct Links {
    topic: Option<TopicId>,
    first_child: Option<NodeId>,
    next: Option<NodeId>,
    previous: Option<NodeId>,
}

impl<V> TopicTree<V> {
    /// Returns a tree without topics.
    pub fn new() -> Self {
        let hasher = keyed_hasher();
        Self { topics: Vec::new(), by_name: HashTable::new(), levels: Levels::new(hasher.clone()), hasher }
    }

    /// Sets the value of a topic, the text of a [`TopicName`](super::TopicName); returns the one that it had.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(topic) {
            return Some(std::mem::replace(old, value));
        }
        let id = TopicId(self.topics.len() as u32);
        let node = self.make_path(topic);
        self.levels.payload_mut(node).topic = Some(id);
        grow_by_half(&mut self.topics);
        self.topics.push(Topic { name: topic.into(), node, value });
        let hash = self.hasher.hash_one(topic);
        self.by_name.insert_unique(hash, id, |id| name_hash(&self.topics, &self.hasher, *id));
        None
    }

    /// Removes a topic; returns its value. The levels that only led to it go as well.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        let id = self.find(topic)?;
        self.forget_name(topic, id);
        let last = TopicId(self.topics.len() as u32 - 1);
        let removed = self.topics.swap_remove(id.0 as usize);
        if id != last {
            self.rename(last, id);
        }
        self.levels.payload_mut(removed.node).topic = None;
        self.prune(removed.node);
        self.shrink();
        Some(removed.value)
    }

    /// Returns the value of a topic.
    pub fn get(&self, topic: &str) -> Option<&V> {
        let id = self.find(topic)?;
        self.topics.get(id.0 as usize).map(|topic| &topic.value)
    }

    /// Returns the value of a topic, to change it.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        let id = self.find(topic)?;
        self.topics.get_mut(id.0 as usize).map(|topic| &mut topic.value)
    }

    /// Calls `visit` with every topic that matches a filter, the topic part of a
    /// [`TopicFilter`](super::TopicFilter), until it breaks; returns what it broke with.
    ///
    /// The order is that of the tree; the same calls before give the same order.
    pub fn for_each_matching<'a, B>(
        &'a self,
        filter: &str,
        mut visit: impl FnMut(&'a str, &'a V) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let topics: &mut dyn Iterator<Item = TopicId> = if has_wildcards(filter) {
            &mut Walk::new(&self.levels, filter)
        } else {
            &mut self.find(filter).into_iter()
        };
        topics
            .filter_map(|id| self.topics.get(id.0 as usize))
            .try_for_each(|topic| visit(&topic.name, &topic.value))
    }

    /// Returns all topics with their values, those that begin with `$` among them, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &V)> {
        self.topics.iter().map(|topic| (&*topic.name, &topic.value))
    }

    /// Returns the number of topics.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Tells whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    fn find(&self, topic: &str) -> Option<TopicId> {
        let is_topic =
            |id: &TopicId| self.topics.get(id.0 as usize).is_some_and(|other| &*other.name == topic);
        self.by_name.find(self.hasher.hash_one(topic), is_topic).copied()
    }

    fn make_path(&mut self, topic: &str) -> NodeId {
        let mut node = NodeId::ROOT;
        for level in topic.split('/') {
            let child = self.levels.child(node, level, self.levels.level_hash(level));
            node = child.unwrap_or_else(|| self.add_child(node, level));
        }
        node
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let id = self.levels.add_named(parent, level);
        let next = self.levels.payload_mut(parent).first_child.replace(id);
        self.levels.payload_mut(id).next = next;
        if let Some(next) = next {
            self.levels.payload_mut(next).previous = Some(id);
        }
        id
    }

    fn forget_name(&mut self, topic: &str, id: TopicId) {
        if let Ok(found) = self.by_name.find_entry(self.hasher.hash_one(topic), |other| *other == id) {
            found.remove();
        }
    }

    /// Makes the topic that moved from position `old` to `new` found there.
    fn rename(&mut self, old: TopicId, new: TopicId) {
        let Some(moved) = self.topics.get(new.0 as usize) else { return };
        if let Some(id) = self.by_name.find_mut(self.hasher.hash_one(&*moved.name), |id| *id == old) {
            *id = new;
        }
        self.levels.payload_mut(moved.node).topic = Some(new);
    }

    /// Removes a node that nothing needs, and those above it that only led to it.
    fn prune(&mut self, mut id: NodeId) {
        while self.levels.payload(id).is_vacant() {
            let Links { next, previous, .. } = *self.levels.payload(id);
            let Some(parent) = self.levels.remove(id) else { break };
            match previous {
                Some(previous) => self.levels.payload_mut(previous).next = next,
                None => self.levels.payload_mut(parent).first_child = next,
            }
            if let Some(next) = next {
                self.levels.payload_mut(next).previous = previous;
            }
            id = parent;
        }
        let topics = &mut self.topics;
        self.levels.compact(|new| topics.iter_mut().for_each(|topic| topic.node = new(topic.node)));
    }

    fn shrink(&mut self) {
        let capacity = self.topics.capacity();
        if capacity >= SHRUNK_FROM && self.topics.len() < capacity / 4 {
            self.topics.shrink_to(capacity / 2);
            self.by_name.shrink_to(capacity / 2, |id| name_hash(&self.topics, &self.hasher, *id));
        }
    }

    /// Returns the number of nodes in use, the root among them.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.levels.len()
    }
}

/// The walk over the topics that match a filter.
///
/// It keeps one node and goes on from it by its links, to the first child, the next sibling or the parent, so it
/// needs no stack whatever the depth or the width.
struct Walk<'a, 'f> {
    levels: &'a Levels<Links>,
    wanted: SmallVec<[&'f str; 16]>,
    /// Any number of levels may follow the wanted ones.
    open: bool,
    /// The node to look at next, and the number of levels that lead to it.
    node: Option<NodeId>,
    depth: usize,
}

impl<'a, 'f> Walk<'a, 'f> {
    fn new(levels: &'a Levels<Links>, filter: &'f str) -> Self {
        let pattern = Pattern::of(filter);
        let wanted = pattern.levels.split('/').collect();
        Self { levels, wanted, open: pattern.open, node: Some(NodeId::ROOT), depth: 0 }
    }

    /// Returns the first child of a node that may lead to a match.
    fn down(&self, id: NodeId) -> Option<NodeId> {
        match self.wanted.get(self.depth) {
            Some(&"+") => self.permitted(self.levels.payload(id).first_child, self.depth + 1),
            Some(level) => self.levels.child(id, level, self.levels.level_hash(level)),
            None if self.open => self.levels.payload(id).first_child,
            None => None,
        }
    }

    /// Returns the next sibling of a node that may lead to a match.
    fn across(&self, id: NodeId) -> Option<NodeId> {
        match self.wanted.get(self.depth - 1) {
            Some(&"+") | None => self.permitted(self.levels.payload(id).next, self.depth),
            Some(_) => None,
        }
    }

    /// Passes over the siblings that a wildcard must not match [MQTT-4.7.2-1].
    fn permitted(&self, mut id: Option<NodeId>, depth: usize) -> Option<NodeId> {
        while depth == 1 && self.levels.label(id?).starts_with(b"$") {
            id = self.levels.payload(id?).next;
        }
        id
    }

    fn advance(&mut self, mut id: NodeId) {
        self.node = self.down(id);
        if self.node.is_some() {
            self.depth += 1;
            return;
        }
        while self.depth > 0 {
            self.node = self.across(id);
            let Some(parent) = self.levels.parent(id) else { return };
            if self.node.is_some() {
                return;
            }
            id = parent;
            self.depth -= 1;
        }
    }
}

impl Iterator for Walk<'_, '_> {
    type Item = TopicId;

    fn next(&mut self) -> Option<TopicId> {
        loop {
            let id = self.node?;
            let is_match = self.depth == self.wanted.len() || self.open && self.depth > self.wanted.len();
            let topic = self.levels.payload(id).topic.filter(|_| is_match);
            self.advance(id);
            if topic.is_some() {
                return topic;
            }
        }
    }
}

impl Links {
    fn is_vacant(&self) -> bool {
        self.topic.is_none() && self.first_child.is_none()
    }
}

impl Payload for Links {
    fn renumber(&mut self, new: impl Fn(NodeId) -> NodeId) {
        for link in [&mut self.first_child, &mut self.next, &mut self.previous] {
            *link = link.map(&new);
        }
    }
}

impl<V> Default for TopicTree<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> fmt::Debug for TopicTree<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicTree").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn name_hash<V>(topics: &[Topic<V>], hasher: &KeyedHasher, id: TopicId) -> u64 {
    topics.get(id.0 as usize).map_or(0, |topic| hasher.hash_one(&*topic.name))
}
