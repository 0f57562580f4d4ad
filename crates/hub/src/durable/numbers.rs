//! The numbers of connectors: given out once, and kept over restarts, disabling and removal from the project. The outboxes
//! of kept subscriptions have numbers among them, under names that no connector can have.

use std::collections::BTreeMap;

use bytes::Bytes;
use crosspoint_store::{Batch, Error, Store, bytes_in::BytesIn};

use super::{CONNECTOR, FORM};

/// Returns the number of each of these connectors; those that have none get one.
///
/// # Errors
/// The store cannot keep a new number, or a row is of a form that this program does not know.
pub(crate) async fn assign<'a>(
    store: &Store,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, u64>, String> {
    let mut known = every(store)?;
    let mut highest = known.values().copied().max().unwrap_or_default();
    let mut batch = Batch::new();
    let mut numbers = BTreeMap::new();
    for name in names {
        let number = known.remove(name).unwrap_or_else(|| {
            highest += 1;
            batch.put(CONNECTOR, Bytes::copy_from_slice(name.as_bytes()), row(highest));
            highest
        });
        numbers.insert(name.to_owned(), number);
    }
    if !batch.is_empty() {
        batch.essential();
        store.commit(batch).await.map_err(|error: Error| error.to_string())?;
    }
    Ok(numbers)
}

/// What the names of outboxes of kept subscriptions begin with; the number follows.
const KEPT: &str = "$kept/";

/// Gives out a number that no connector has, for the outbox of a kept subscription.
///
/// # Errors
/// As [`assign`].
pub(crate) async fn assign_kept(store: &Store) -> Result<u64, String> {
    let number = every(store)?.values().copied().max().unwrap_or_default() + 1;
    let mut batch = Batch::new();
    batch.put(CONNECTOR, format!("{KEPT}{number}").into(), row(number));
    batch.essential();
    store.commit(batch).await.map_err(|error: Error| error.to_string())?;
    Ok(number)
}

/// Returns the numbers of the outboxes that are, or were, those of kept subscriptions.
///
/// # Errors
/// As [`assign`].
pub(crate) fn kept(store: &Store) -> Result<Vec<u64>, String> {
    let known = every(store)?;
    Ok(known.into_iter().filter(|(name, _)| name.starts_with(KEPT)).map(|(_, number)| number).collect())
}

/// Returns the connectors that the store knows and the project does not, with their numbers.
pub(crate) fn left_behind(store: &Store, is_in_project: impl Fn(&str) -> bool) -> Vec<(String, u64)> {
    let known = all(store).unwrap_or_default();
    known.into_iter().filter(|(name, _)| !is_in_project(name)).collect()
}

fn row(number: u64) -> Bytes {
    let mut value = vec![FORM];
    value.extend_from_slice(&number.to_le_bytes());
    value.into()
}

/// Returns the number of every connector that the store knows.
///
/// # Errors
/// A row is of a form that this program does not know.
pub(crate) fn all(store: &Store) -> Result<BTreeMap<String, u64>, String> {
    let mut known = every(store)?;
    known.retain(|name, _| !name.starts_with(KEPT));
    Ok(known)
}

fn every(store: &Store) -> Result<BTreeMap<String, u64>, String> {
    let mut known = BTreeMap::new();
    for (key, value) in store.scan(CONNECTOR, None, usize::MAX) {
        let name = String::from_utf8_lossy(&key).into_owned();
        match BytesIn::of_form(FORM, &value).and_then(|mut bytes| bytes.u64()) {
            Some(number) => known.insert(name, number),
            None => return Err(format!("what is kept of connector `{name}` was written by a newer version")),
        };
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use crosspoint_store::{Options, SimulatedDisk};

    use super::*;

    #[tokio::test]
    async fn a_number_is_kept_and_never_given_to_another() {
        let disk = SimulatedDisk::new();
        let store = Store::open(disk.clone(), Options::default()).unwrap();
        let first = assign(&store, ["a", "b"].into_iter()).await.unwrap();
        assert_eq!(first, [("a".to_owned(), 1), ("b".to_owned(), 2)].into());
        drop(store);

        let store = Store::open(disk.after_power_cut(1), Options::default()).unwrap();
        let later = assign(&store, ["b", "c"].into_iter()).await.unwrap();
        assert_eq!(later, [("b".to_owned(), 2), ("c".to_owned(), 3)].into());
        assert_eq!(left_behind(&store, |name| later.contains_key(name)), [("a".to_owned(), 1)]);
    }

    #[tokio::test]
    async fn an_outbox_of_a_kept_subscription_has_a_number_of_its_own_and_is_no_connector() {
        let store = Store::in_memory(Options::default()).unwrap();
        assign(&store, ["a"].into_iter()).await.unwrap();
        assert_eq!(assign_kept(&store).await.unwrap(), 2);
        assert_eq!(assign(&store, ["b"].into_iter()).await.unwrap(), [("b".to_owned(), 3)].into());
        assert_eq!(assign_kept(&store).await.unwrap(), 4);
        assert_eq!(kept(&store).unwrap(), [2, 4]);
        assert_eq!(all(&store).unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 3)].into());
        assert_eq!(left_behind(&store, |_| true), []);
        assert_eq!(left_behind(&store, |name| name == "a"), [("b".to_owned(), 3)]);
    }

    #[tokio::test]
    async fn a_row_of_a_newer_form_is_refused() {
        let store = Store::in_memory(Options::default()).unwrap();
        let mut batch = Batch::new();
        batch.put(CONNECTOR, Bytes::from_static(b"a"), Bytes::from_static(&[2, 1]));
        store.commit(batch).await.unwrap();
        assert!(assign(&store, ["b"].into_iter()).await.unwrap_err().contains("`a`"));
    }
}
