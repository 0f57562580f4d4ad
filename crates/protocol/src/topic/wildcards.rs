//! The filters with wildcards, as a tree of their levels.

use std::hash::{BuildHasher, Hash};

use smallvec::SmallVec;

use super::entries::Entries;
use super::hash::KeyedHasher;
use super::levels::{Levels, NodeId, Payload};

/// Filters with wildcards and their entries.
///
/// A node stands for the levels from the root to it. A topic is walked level by level with all the nodes that it
/// reaches, so that it costs what matches and no more.
pub(super) struct WildcardTree<K, V> {
    levels: Levels<Filters<K, V>>,
}

/// What a node holds.
struct Filters<K, V> {
    /// The child that stands for `+`. It has no name, so no topic reaches it as a literal level.
    any: Option<NodeId>,
    /// The number of children, that one among them.
    children: u32,
    /// The entries of the filter that ends here.
    here: Option<Box<Entries<K, V>>>,
    /// The entries of the filter that ends with `#` behind this node.
    below: Option<Box<Entries<K, V>>>,
}

/// Which of the two filters of a node is meant.
#[derive(Clone, Copy)]
enum End {
    Here,
    Below,
}

impl<K: Eq + Hash, V> WildcardTree<K, V> {
    pub(super) fn new(hasher: KeyedHasher) -> Self {
        Self { levels: Levels::new(hasher) }
    }

    /// Returns the entries of a filter, made if there are none: one has to be added then.
    pub(super) fn entries_or_new(&mut self, filter: &str) -> &mut Entries<K, V> {
        let (path, end) = split(filter);
        let mut node = NodeId::ROOT;
        for level in path.into_iter().flat_map(|path| path.split('/')) {
            node = self.child(node, level).unwrap_or_else(|| self.add_child(node, level));
        }
        let entries = self.levels.payload_mut(node).end_mut(end);
        entries.get_or_insert_with(|| Box::new(Entries::new()))
    }

    /// Removes the entry of a key, and what of the filter is then not needed.
    pub(super) fn remove(&mut self, hasher: &impl BuildHasher, filter: &str, key: &K) -> Option<V> {
        let (node, end) = self.find(filter)?;
        let place = self.levels.payload_mut(node).end_mut(end);
        let entries = place.as_mut()?;
        let value = entries.remove(hasher, key)?;
        if entries.is_empty() {
            *place = None;
            self.prune(node);
        }
        Some(value)
    }

    pub(super) fn entries(&self, filter: &str) -> Option<&Entries<K, V>> {
        let (node, end) = self.find(filter)?;
        self.levels.payload(node).end(end)
    }

    pub(super) fn entries_mut(&mut self, filter: &str) -> Option<&mut Entries<K, V>> {
        let (node, end) = self.find(filter)?;
        self.levels.payload_mut(node).end_mut(end).as_deref_mut()
    }

    /// Calls `visit` with the entries of every filter that matches a topic.
    pub(super) fn for_each_match<'a>(&'a self, topic: &str, mut visit: impl FnMut(&'a Entries<K, V>)) {
        let mut reached: SmallVec<[NodeId; 16]> = SmallVec::new();
        let mut next: SmallVec<[NodeId; 16]> = SmallVec::new();
        reached.push(NodeId::ROOT);
        // [MQTT-4.7.2-1]
        let mut wildcards_match = !topic.starts_with('$');
        for level in topic.split('/') {
            let level_hash = self.levels.level_hash(level);
            for id in reached.drain(..) {
                let filters = self.levels.payload(id);
                if wildcards_match {
                    filters.below.as_deref().into_iter().for_each(&mut visit);
                    next.extend(filters.any);
                }
                if filters.children > u32::from(filters.any.is_some()) {
                    next.extend(self.levels.child(id, level, level_hash));
                }
            }
            std::mem::swap(&mut reached, &mut next);
            if reached.is_empty() {
                return;
            }
            wildcards_match = true;
        }
        for filters in reached.iter().map(|id| self.levels.payload(*id)) {
            filters.below.as_deref().into_iter().for_each(&mut visit);
            filters.here.as_deref().into_iter().for_each(&mut visit);
        }
    }

    /// Adds the text of every filter to `out`.
    pub(super) fn list(&self, out: &mut Vec<String>) {
        for id in self.levels.ids() {
            let filters = self.levels.payload(id);
            if filters.here.is_some() {
                out.push(self.text(id, End::Here));
            }
            if filters.below.is_some() {
                out.push(self.text(id, End::Below));
            }
        }
    }

    fn text(&self, mut id: NodeId, end: End) -> String {
        let mut path: Vec<&[u8]> = Vec::new();
        if matches!(end, End::Below) {
            path.push(b"#");
        }
        while let Some(parent) = self.levels.parent(id) {
            path.push(self.levels.label(id));
            id = parent;
        }
        path.reverse();
        String::from_utf8_lossy(&path.join(&b'/')).into_owned()
    }

    fn find(&self, filter: &str) -> Option<(NodeId, End)> {
        let (path, end) = split(filter);
        let mut levels = path.into_iter().flat_map(|path| path.split('/'));
        let node = levels.try_fold(NodeId::ROOT, |node, level| self.child(node, level))?;
        Some((node, end))
    }

    fn child(&self, parent: NodeId, level: &str) -> Option<NodeId> {
        if level == "+" {
            return self.levels.payload(parent).any;
        }
        self.levels.child(parent, level, self.levels.level_hash(level))
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let is_any = level == "+";
        let id = if is_any {
            self.levels.add_unnamed(parent, level)
        } else {
            self.levels.add_named(parent, level)
        };
        let filters = self.levels.payload_mut(parent);
        filters.children += 1;
        if is_any {
            filters.any = Some(id);
        }
        id
    }

    /// Removes a node that nothing needs, and those above it that only led to it.
    fn prune(&mut self, mut id: NodeId) {
        while self.levels.payload(id).is_vacant() {
            let Some(parent) = self.levels.remove(id) else { break };
            let filters = self.levels.payload_mut(parent);
            filters.children -= 1;
            if filters.any == Some(id) {
                filters.any = None;
            }
            id = parent;
        }
        self.levels.compact(|_| {});
    }

    /// Returns the number of nodes in use, the root among them.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.levels.len()
    }
}

/// Splits a filter into the levels that lead to a node, `None` for the root, and which of the node's filters it is.
fn split(filter: &str) -> (Option<&str>, End) {
    match filter.strip_suffix("/#") {
        Some(path) => (Some(path), End::Below),
        None if filter == "#" => (None, End::Below),
        None => (Some(filter), End::Here),
    }
}

impl<K, V> Filters<K, V> {
    fn end(&self, end: End) -> Option<&Entries<K, V>> {
        match end {
            End::Here => self.here.as_deref(),
            End::Below => self.below.as_deref(),
        }
    }

    fn end_mut(&mut self, end: End) -> &mut Option<Box<Entries<K, V>>> {
        match end {
            End::Here => &mut self.here,
            End::Below => &mut self.below,
        }
    }

    fn is_vacant(&self) -> bool {
        self.children == 0 && self.here.is_none() && self.below.is_none()
    }
}

impl<K, V> Default for Filters<K, V> {
    fn default() -> Self {
        Self { any: None, children: 0, here: None, below: None }
    }
}

impl<K, V> Payload for Filters<K, V> {
    fn renumber(&mut self, new: impl Fn(NodeId) -> NodeId) {
        self.any = self.any.map(new);
    }
}
