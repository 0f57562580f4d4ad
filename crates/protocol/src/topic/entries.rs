//! The entries of one filter.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use smallvec::SmallVec;

/// From this length on a hash index finds an entry; below, looking at each is faster and costs no memory.
const INDEXED_FROM: usize = 17;
/// Below this length the index goes again. The gap keeps a list that hovers at the limit from rebuilding it.
const UNINDEXED_BELOW: usize = 9;

/// Who subscribed to one filter: pairs of a key and a value, each key once.
///
/// Positions run from 0 without gaps, so a fan-out that is interrupted continues where it stopped. Adding and
/// removing take constant time whatever the length; removing moves the last entry to the place that fell vacant.
pub struct Entries<K, V> {
    /// One entry needs no allocation: most filters have one subscriber.
    list: SmallVec<[(K, V); 1]>,
    /// The positions in `list` by the hash of their key.
    index: Option<Box<HashTable<u32>>>,
}

impl<K, V> Entries<K, V> {
    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Tells whether there is no entry; never so for a list that a tree hands out.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the entry at a position below [`len`](Self::len).
    pub fn get(&self, position: usize) -> Option<(&K, &V)> {
        self.list.get(position).map(|(key, value)| (key, value))
    }

    /// Returns the entries in the order of their positions.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.list.iter().map(|(key, value)| (key, value))
    }
}

impl<K: Eq + Hash, V> Entries<K, V> {
    pub(super) fn new() -> Self {
        Self { list: SmallVec::new(), index: None }
    }

    /// Adds an entry; returns the value that the key had.
    pub(super) fn insert(&mut self, hasher: &impl BuildHasher, key: K, value: V) -> Option<V> {
        if let Some(old) = self.value_mut(hasher, &key) {
            return Some(std::mem::replace(old, value));
        }
        let hash = hasher.hash_one(&key);
        let position = position_id(self.list.len());
        self.list.push((key, value));
        match &mut self.index {
            Some(index) => _ = index.insert_unique(hash, position, hash_of(&self.list, hasher)),
            None if self.list.len() >= INDEXED_FROM => self.build_index(hasher),
            None => {}
        }
        None
    }

    /// Removes the entry of a key.
    pub(super) fn remove(&mut self, hasher: &impl BuildHasher, key: &K) -> Option<V> {
        let position = self.position(hasher, key)?;
        self.unindex(hasher, key, position);
        let (_, value) = self.list.swap_remove(position);
        self.shrink(hasher);
        Some(value)
    }

    pub(super) fn value(&self, hasher: &impl BuildHasher, key: &K) -> Option<&V> {
        let position = self.position(hasher, key)?;
        self.list.get(position).map(|(_, value)| value)
    }

    pub(super) fn value_mut(&mut self, hasher: &impl BuildHasher, key: &K) -> Option<&mut V> {
        let position = self.position(hasher, key)?;
        self.list.get_mut(position).map(|(_, value)| value)
    }

    fn position(&self, hasher: &impl BuildHasher, key: &K) -> Option<usize> {
        let Some(index) = &self.index else {
            return self.list.iter().position(|(other, _)| other == key);
        };
        let is_key =
            |position: &u32| self.list.get(*position as usize).is_some_and(|(other, _)| other == key);
        index.find(hasher.hash_one(key), is_key).map(|position| *position as usize)
    }

    fn build_index(&mut self, hasher: &impl BuildHasher) {
        let mut index = Box::new(HashTable::with_capacity(self.list.len()));
        for (position, (key, _)) in self.list.iter().enumerate() {
            index.insert_unique(hasher.hash_one(key), position_id(position), hash_of(&self.list, hasher));
        }
        self.index = Some(index);
    }

    /// Prepares the index for `swap_remove(position)`.
    fn unindex(&mut self, hasher: &impl BuildHasher, key: &K, position: usize) {
        let Some(index) = &mut self.index else { return };
        let vacant = position_id(position);
        if let Ok(found) = index.find_entry(hasher.hash_one(key), |other| *other == vacant) {
            found.remove();
        }
        let last = position_id(self.list.len() - 1);
        let Some((moved_key, _)) = self.list.last() else { return };
        if let Some(moved) = index.find_mut(hasher.hash_one(moved_key), |other| *other == last) {
            *moved = vacant;
        }
    }

    /// Gives memory back when three quarters of it are unused.
    fn shrink(&mut self, hasher: &impl BuildHasher) {
        let len = self.list.len();
        if len < UNINDEXED_BELOW {
            self.index = None;
        }
        if self.list.spilled() && len < self.list.capacity() / 4 {
            self.list.shrink_to_fit();
            if let Some(index) = &mut self.index {
                index.shrink_to(len * 2, hash_of(&self.list, hasher));
            }
        }
    }
}

/// Positions are kept in 32 bits: four billion entries of one filter do not fit into memory.
fn position_id(position: usize) -> u32 {
    position as u32
}

fn hash_of<K: Hash, V>(list: &[(K, V)], hasher: &impl BuildHasher) -> impl Fn(&u32) -> u64 {
    |position| list.get(*position as usize).map_or(0, |(key, _)| hasher.hash_one(key))
}
