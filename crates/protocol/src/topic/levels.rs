//! A tree of levels, in which a node is found from its parent and its level by one hash probe.
//!
//! All nodes lie in one vector and name each other by number; the vacant ones are used again, and when most are
//! vacant the tree is laid out anew. Nothing here walks the tree, so nothing recurses, and dropping it is a loop.

use std::hash::BuildHasher;
use std::num::NonZeroU32;

use hashbrown::HashTable;

use super::hash::KeyedHasher;
use super::label::Label;

/// Fewer nodes than this are never laid out anew: their memory is not worth the work.
const COMPACTED_FROM: usize = 1024;

/// The number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(NonZeroU32);

impl NodeId {
    pub(super) const ROOT: Self = Self(NonZeroU32::MIN);

    /// Four billion nodes of 48 bytes do not fit into memory, so the number does not wrap.
    const fn at(slot: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(slot as u32))
    }

    const fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What a tree keeps in each node.
pub(super) trait Payload: Default {
    /// Replaces every node number that is kept here.
    fn renumber(&mut self, new: impl Fn(NodeId) -> NodeId);
}

struct Node<P> {
    label: Label,
    /// `None` for the root and for a vacant node.
    parent: Option<NodeId>,
    payload: P,
}

/// The nodes of a tree, its root among them.
pub(super) struct Levels<P> {
    nodes: Vec<Node<P>>,
    vacant: Vec<NodeId>,
    /// Every node that has a name, by its parent and its label.
    named: HashTable<NodeId>,
    hasher: KeyedHasher,
}

impl<P: Payload> Levels<P> {
    pub(super) fn new(hasher: KeyedHasher) -> Self {
        let root = Node { label: Label::empty(), parent: None, payload: P::default() };
        Self { nodes: vec![root], vacant: Vec::new(), named: HashTable::new(), hasher }
    }

    /// Adds a node that [`child`](Self::child) finds. The parent must not have one of that name.
    pub(super) fn add_named(&mut self, parent: NodeId, level: &str) -> NodeId {
        let id = self.add_unnamed(parent, level);
        let hash = named_hash(&self.hasher, parent, self.level_hash(level));
        self.named.insert_unique(hash, id, |id| node_hash(&self.nodes, &self.hasher, *id));
        id
    }

    /// Adds a node that has a label but is found only by its number.
    pub(super) fn add_unnamed(&mut self, parent: NodeId, level: &str) -> NodeId {
        let node = Node { label: Label::new(level.as_bytes()), parent: Some(parent), payload: P::default() };
        if let Some(id) = self.vacant.pop() {
            *self.node_mut(id) = node;
            return id;
        }
        grow_by_half(&mut self.nodes);
        self.nodes.push(node);
        NodeId::at(self.nodes.len() - 1)
    }

    /// Removes a node that has no children; returns its parent. The root stays.
    pub(super) fn remove(&mut self, id: NodeId) -> Option<NodeId> {
        let parent = self.parent(id)?;
        let hash = node_hash(&self.nodes, &self.hasher, id);
        if let Ok(found) = self.named.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        *self.node_mut(id) = Node { label: Label::empty(), parent: None, payload: P::default() };
        self.vacant.push(id);
        Some(parent)
    }

    /// Lays the tree out anew if three quarters of the nodes are vacant. Numbers change: `moved` gets a function
    /// from old to new ones.
    pub(super) fn compact(&mut self, moved: impl FnOnce(&dyn Fn(NodeId) -> NodeId)) {
        if self.nodes.len() < COMPACTED_FROM || self.vacant.len() < self.nodes.len() / 4 * 3 {
            return;
        }
        let (mut nodes, numbers) = self.take_live();
        let new = |id: NodeId| numbers.get(id.slot()).copied().unwrap_or(NodeId::ROOT);
        for node in &mut nodes {
            node.parent = node.parent.map(new);
            node.payload.renumber(new);
        }
        let mut named = HashTable::with_capacity(self.named.len());
        for id in self.named.iter().map(|id| new(*id)) {
            let hash = node_hash(&nodes, &self.hasher, id);
            named.insert_unique(hash, id, |id| node_hash(&nodes, &self.hasher, *id));
        }
        (self.nodes, self.named, self.vacant) = (nodes, named, Vec::new());
        moved(&new);
    }

    /// Moves the nodes in use into a vector of their own; returns their new numbers by their old ones.
    fn take_live(&mut self) -> (Vec<Node<P>>, Vec<NodeId>) {
        let mut live = Vec::with_capacity(self.nodes.len() - self.vacant.len());
        let mut numbers = Vec::with_capacity(self.nodes.len());
        for (slot, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            numbers.push(NodeId::at(live.len()));
            if slot == NodeId::ROOT.slot() || node.parent.is_some() {
                live.push(node);
            }
        }
        (live, numbers)
    }

    /// Returns the hash of a level, to look for it under several parents.
    pub(super) fn level_hash(&self, level: &str) -> u64 {
        level_hash(&self.hasher, level.as_bytes())
    }

    /// Finds the named child of a node; `level_hash` is the hash of `level`.
    pub(super) fn child(&self, parent: NodeId, level: &str, level_hash: u64) -> Option<NodeId> {
        let is_child = |id: &NodeId| {
            let node = self.node(*id);
            node.parent == Some(parent) && node.label.as_bytes() == level.as_bytes()
        };
        self.named.find(named_hash(&self.hasher, parent, level_hash), is_child).copied()
    }

    pub(super) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).parent
    }

    pub(super) fn label(&self, id: NodeId) -> &[u8] {
        self.node(id).label.as_bytes()
    }

    pub(super) fn payload(&self, id: NodeId) -> &P {
        &self.node(id).payload
    }

    pub(super) fn payload_mut(&mut self, id: NodeId) -> &mut P {
        &mut self.node_mut(id).payload
    }

    /// Returns the numbers of all nodes in use, the root first.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        let ids = (0..self.nodes.len()).map(NodeId::at);
        ids.filter(|id| *id == NodeId::ROOT || self.parent(*id).is_some())
    }

    /// Returns the number of nodes in use, the root among them.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.vacant.len()
    }

    #[expect(clippy::indexing_slicing, reason = "numbers come from here, and the slots behind them stay")]
    fn node(&self, id: NodeId) -> &Node<P> {
        &self.nodes[id.slot()]
    }

    #[expect(clippy::indexing_slicing, reason = "numbers come from here, and the slots behind them stay")]
    fn node_mut(&mut self, id: NodeId) -> &mut Node<P> {
        &mut self.nodes[id.slot()]
    }
}

/// Makes room for another element. Half again instead of twice as much, since these vectors are the memory of a
/// broker that keeps a million topics.
pub(super) fn grow_by_half<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact((vec.len() / 2).max(4));
    }
}

fn node_hash<P>(nodes: &[Node<P>], hasher: &KeyedHasher, id: NodeId) -> u64 {
    nodes.get(id.slot()).map_or(0, |node| {
        let parent = node.parent.unwrap_or(NodeId::ROOT);
        named_hash(hasher, parent, level_hash(hasher, node.label.as_bytes()))
    })
}

fn level_hash(hasher: &KeyedHasher, level: &[u8]) -> u64 {
    hasher.hash_one(level)
}

fn named_hash(hasher: &KeyedHasher, parent: NodeId, level_hash: u64) -> u64 {
    hasher.hash_one((parent.0.get(), level_hash))
}
